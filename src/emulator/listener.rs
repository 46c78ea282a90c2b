//! Listening: accepts connections, speaks TLS if it has a certificate, and ends what it accepted.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::BytesMut;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::TlsFiles;
use super::connection::{Connection, Transport};
use super::path::Origin;
use super::service::Service;

/// Numbers the connections of all listeners.
static CONNECTIONS: AtomicU64 = AtomicU64::new(1);

/// Accepts connections until `closed` changes or its sender is gone; then ends them all.
pub(super) async fn run(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    service: Arc<Service>,
    origin: Origin,
    mut closed: watch::Receiver<bool>,
) {
    // Dropping the set aborts what runs in it.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            _ = closed.changed() => return,
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(serve(stream, tls.clone(), Arc::clone(&service), origin));
                }
                // Out of descriptors, most likely: others have to close theirs first.
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            },
        }
    }
}

async fn serve(stream: TcpStream, tls: Option<TlsAcceptor>, service: Arc<Service>, origin: Origin) {
    let _ = stream.set_nodelay(true);
    match tls {
        None => speak(stream, service, origin).await,
        Some(tls) => {
            if let Ok(stream) = tls.accept(stream).await {
                speak(stream, service, origin).await;
            }
        }
    }
}

async fn speak(stream: impl Transport, service: Arc<Service>, origin: Origin) {
    let connection = Connection {
        stream,
        service,
        origin,
        number: CONNECTIONS.fetch_add(1, Ordering::Relaxed),
        buffer: BytesMut::with_capacity(8 * 1024),
    };
    connection.serve().await;
}

/// What accepts TLS with a certificate: HTTP/1.1 only.
pub(super) fn tls(files: &TlsFiles) -> io::Result<TlsAcceptor> {
    let invalid = |error: &dyn std::fmt::Display| {
        let text = format!("the certificate or its key can't be used: {error}");
        io::Error::new(io::ErrorKind::InvalidData, text)
    };
    let certificates = CertificateDer::pem_file_iter(&files.cert)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| invalid(&error))?;
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|error| invalid(&error))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| invalid(&error))?
        .with_no_client_auth()
        .with_single_cert(certificates, key)
        .map_err(|error| invalid(&error))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
