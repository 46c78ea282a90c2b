//! The same over https, whose resets must be resets too.

use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::super::{Corpus, Fault, Options, Rule, Target, TlsFiles, start};
use super::client::parse;

/// For `localhost`; nobody else trusts it.
const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----
MIIBZTCCAQqgAwIBAgIBATAKBggqhkjOPQQDAjAUMRIwEAYDVQQDDAlsb2NhbGhv
c3QwIBcNMjAwMTAxMDAwMDAwWhgPMjEyMDAxMDEwMDAwMDBaMBQxEjAQBgNVBAMM
CWxvY2FsaG9zdDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABNh9yV9jQBTdiqL0
sfACPdo66pz1OMuoB+q7dxnMUwnLmzjhhj2HyH6KMdpdPFboYyx5hXm0aRK+9s5o
ldojphmjSzBJMBoGA1UdEQQTMBGCCWxvY2FsaG9zdIcEfwAAATAMBgNVHRMBAf8E
AjAAMB0GA1UdDgQWBBTxNiMO6aV0lyaobyjdbX/SOR7sdDAKBggqhkjOPQQDAgNJ
ADBGAiEAqXzz5HN3CC+hE7R0YO8I0tGvWJBhmQ6a8NoRBiESlCoCIQC3WaF7vsKb
GaIyl0DCGOmRMZBUqsK6OO1cgIkjtbZufQ==
-----END CERTIFICATE-----
";

const KEY: &str = "-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgzybkUQLBkKYD6cLY
6OUkTxxzXbDJsJX4ai+eAjs/vayhRANCAATYfclfY0AU3Yqi9LHwAj3aOuqc9TjL
qAfqu3cZzFMJy5s44YY9h8h+ijHaXTxW6GMseYV5tGkSvvbOaJXaI6YZ
-----END PRIVATE KEY-----
";

async fn connect(address: std::net::SocketAddr) -> TlsStream<TcpStream> {
    let mut roots = rustls::RootCertStore::empty();
    let certificate = CertificateDer::from_pem_slice(CERTIFICATE.as_bytes()).unwrap();
    roots.add(certificate).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let connector = TlsConnector::from(Arc::new(config));
    connector.connect(name, stream).await.unwrap()
}

#[tokio::test]
async fn https_is_spoken_and_broken_on_demand() {
    let directory = tempfile::tempdir().unwrap();
    let (cert, key) = (directory.path().join("c"), directory.path().join("k"));
    std::fs::write(&cert, CERTIFICATE).unwrap();
    std::fs::write(&key, KEY).unwrap();
    let options = Options {
        corpus: Corpus::Empty,
        tls: Some(TlsFiles { cert, key }),
        ..Options::default()
    };
    let running = start(options).await.unwrap();
    assert!(running.api_url().starts_with("https://"));
    let request = b"GET /interaction-content/interactions HTTP/1.1\r\nconnection: close\r\n\r\n";
    let mut bytes = Vec::new();
    let mut stream = connect(running.address()).await;
    stream.write_all(request).await.unwrap();
    stream.read_to_end(&mut bytes).await.unwrap();
    assert_eq!(parse(&bytes, None).status, 401);
    let reset = Rule::new(Target::Search, Fault::ResetBeforeHead);
    running.faults().add(reset);
    let mut stream = connect(running.address()).await;
    stream.write_all(request).await.unwrap();
    let error = stream.read_to_end(&mut bytes).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_certificate_that_is_none_stops_the_start() {
    let missing = TlsFiles {
        cert: "/nowhere/c".into(),
        key: "/nowhere/k".into(),
    };
    let options = Options {
        tls: Some(missing),
        ..Options::default()
    };
    assert!(start(options).await.is_err());
}
