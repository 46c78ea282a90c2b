//! HTTP as this client uses it: the connection pool, error words, bodies with a cap.
//!
//! HTTP/1.1 only, by choice: over HTTP/2 all answers from a host share one connection, so a cap or a
//! loss on it would slow every reader, and a reader that pauses would hold the flow-control window of the
//! others. Here each answer under way has a connection of its own, and TCP is its backpressure.

use std::error::Error as StdError;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{self, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Certificate, Client, ClientBuilder, Response, redirect, retry};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::RemoteError;
use super::counters::Tally;
use super::endpoints::{Endpoints, is_loopback};
use super::names::Names;

/// The media type that every call asks for, also when the answer is sound (API reference, section 4).
pub(super) const MEDIA_TYPE: HeaderValue =
    HeaderValue::from_static("application/vnd.newvoicemedia.v3+json");

/// Names the program to the API, and nobody who uses it.
pub(super) const APPLICATION: (HeaderName, HeaderValue) = (
    HeaderName::from_static("x-nvm-application"),
    HeaderValue::from_static("interactionfs"),
);

/// How long one connection may take to come about.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// How long an answer's head may take before the request is made again.
pub(super) const HEAD_LIMIT: Duration = Duration::from_secs(30);

/// How long a body may bring no byte while somebody waits for one.
pub(super) const STALL_LIMIT: Duration = Duration::from_secs(10);

/// Beyond this a body is a long one: several times what a page of a thousand interactions takes.
const LONG_BODY: usize = 8 << 20;

/// As many idle connections are kept as there may be parallel readers.
const IDLE_CONNECTIONS: usize = 64;

/// Gateways commonly cut idle connections after a minute; one that was just cut costs a failed try.
const IDLE_LIMIT: Duration = Duration::from_secs(50);

/// Why the client can't be set up.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// A URL can't be used.
    #[error("{0}")]
    Endpoint(#[from] super::BadEndpoint),
    /// The client id is empty or can't be sent.
    #[error("the client id is empty")]
    ClientId,
    /// The file of certificates can't be read.
    #[error("the CA file {} can't be read: {}", path.display(), error.kind())]
    CaFile {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The file of certificates holds none, or what is none.
    #[error("the CA file {} holds no usable certificate: PEM is needed", path.display())]
    CaFormat {
        /// The file.
        path: PathBuf,
    },
    /// TLS could not be set up, mostly because the system has no root certificates.
    #[error("TLS can't be set up: are the system's root certificates installed (ca-certificates)?")]
    Tls,
    /// The system gives no thread.
    #[error("a thread could not be started")]
    Thread,
}

/// The connection pools, for the API and for tokens: one for both, unless only one of them is on this machine. What is
/// must not go through a proxy: there it would be in the clear on the network.
pub(super) fn clients(
    endpoints: &Endpoints,
    ca_file: Option<&Path>,
) -> Result<(Client, Client), SetupError> {
    let is_local = is_loopback(&endpoints.api);
    let api = client(is_local, ca_file)?;
    let auth = if is_loopback(&endpoints.auth) == is_local {
        api.clone()
    } else {
        client(!is_local, ca_file)?
    };
    Ok((api, auth))
}

fn client(is_local: bool, ca_file: Option<&Path>) -> Result<Client, SetupError> {
    // Only the first call in a process installs it; a provider that somebody else installed serves too.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let certificates = match ca_file {
        Some(path) => certificates(path)?,
        None => Vec::new(),
    };
    let client = builder(is_local)
        .tls_certs_merge(certificates.clone())
        .build();
    match client {
        Ok(client) => Ok(client),
        // A system without root certificates can still speak plain http to itself, as the demo does.
        Err(_) if is_local => builder(is_local)
            .tls_certs_only(certificates)
            .build()
            .map_err(|_| SetupError::Tls),
        Err(_) => Err(SetupError::Tls),
    }
}

fn builder(is_local: bool) -> ClientBuilder {
    let mut headers = HeaderMap::new();
    headers.insert(header::ACCEPT, MEDIA_TYPE);
    // So that lengths and ranges mean the stored bytes.
    headers.insert(
        header::ACCEPT_ENCODING,
        HeaderValue::from_static("identity"),
    );
    let builder = Client::builder()
        .default_headers(headers)
        .http1_only()
        .tcp_nodelay(true)
        .tcp_keepalive(Duration::from_secs(30))
        .connect_timeout(CONNECT_LIMIT)
        .dns_resolver(Arc::new(Names::of_the_system()))
        .pool_max_idle_per_host(IDLE_CONNECTIONS)
        .pool_idle_timeout(IDLE_LIMIT)
        .referer(false)
        // Both would make requests that the pace doesn't know of, and carry headers where they must not go.
        .redirect(redirect::Policy::none())
        .retry(retry::never());
    if is_local {
        builder.no_proxy()
    } else {
        builder
    }
}

fn certificates(path: &Path) -> Result<Vec<Certificate>, SetupError> {
    let pem = std::fs::read(path).map_err(|error| SetupError::CaFile {
        path: path.to_owned(),
        error,
    })?;
    Certificate::from_pem_bundle(&pem)
        .ok()
        .filter(|certificates| !certificates.is_empty())
        .ok_or_else(|| SetupError::CaFormat {
            path: path.to_owned(),
        })
}

/// What went wrong with a connection.
pub(super) fn failure(error: &reqwest::Error) -> RemoteError {
    let word = word(error);
    if error.is_connect() {
        RemoteError::Unreachable(word)
    } else {
        RemoteError::Connection(word)
    }
}

/// Whether another try might end better.
pub(super) fn may_pass(error: &RemoteError) -> bool {
    *error != RemoteError::Unreachable(BAD_CERTIFICATE)
}

/// In one of a few words: an error's own text may hold the URL.
fn word(error: &reqwest::Error) -> &'static str {
    let mut source: Option<&(dyn StdError + 'static)> = error.source();
    let mut word = None;
    while let Some(cause) = source {
        if let Some(io) = cause.downcast_ref::<io::Error>() {
            let tls: Option<&rustls::Error> = io.get_ref().and_then(|inner| inner.downcast_ref());
            if let Some(tls) = tls {
                return tls_word(tls);
            }
            word = io_word(io.kind()).or(word);
        } else if let Some(tls) = cause.downcast_ref::<rustls::Error>() {
            return tls_word(tls);
        } else if cause.to_string().starts_with("dns error") {
            return "name lookup";
        }
        source = cause.source();
    }
    match word {
        Some(word) => word,
        None if error.is_timeout() => "timed out",
        None if error.is_connect() => "not established",
        None => "broken off",
    }
}

fn io_word(kind: io::ErrorKind) -> Option<&'static str> {
    Some(match kind {
        io::ErrorKind::ConnectionRefused => "refused",
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::UnexpectedEof => "reset",
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => "unreachable",
        io::ErrorKind::TimedOut => "timed out",
        _ => return None,
    })
}

/// The one connection error that no other try can cure.
const BAD_CERTIFICATE: &str = "the server's certificate is not trusted";

fn tls_word(error: &rustls::Error) -> &'static str {
    match error {
        rustls::Error::InvalidCertificate(_) => BAD_CERTIFICATE,
        _ => "tls",
    }
}

/// Reads a whole body of at most `cap` bytes.
///
/// # Errors
/// [`RemoteError::Interrupted`] when it breaks off or stalls, [`RemoteError::Protocol`] when it is longer.
pub(super) async fn read_body(
    response: Response,
    cap: usize,
    tally: &Tally,
) -> Result<Vec<u8>, RemoteError> {
    let body = read_with(response, cap, tally, None).await?;
    Ok(body.bytes)
}

/// Room for one long body at a time, so that several searches at once take no more memory than one.
#[derive(Debug)]
pub(super) struct Room(Arc<Semaphore>);

impl Room {
    pub(super) fn for_one() -> Self {
        Self(Arc::new(Semaphore::new(1)))
    }
}

/// A body, and the room that it takes up while it lives, if it is a long one.
pub(super) struct Body {
    pub(super) bytes: Vec<u8>,
    _room: Option<OwnedSemaphorePermit>,
}

/// Reads a whole body that may be long: beyond [`LONG_BODY`] it waits for room.
///
/// # Errors
/// As [`read_body`].
pub(super) async fn read_long_body(
    response: Response,
    cap: usize,
    tally: &Tally,
    room: &Room,
) -> Result<Body, RemoteError> {
    read_with(response, cap, tally, Some(room)).await
}

async fn read_with(
    mut response: Response,
    cap: usize,
    tally: &Tally,
    room: Option<&Room>,
) -> Result<Body, RemoteError> {
    const TOO_LONG: RemoteError = RemoteError::Protocol("a body longer than any that is expected");
    let promised = response
        .content_length()
        .and_then(|length| usize::try_from(length).ok());
    if promised.is_some_and(|length| length > cap) {
        return Err(TOO_LONG);
    }
    // What a header promises is not reserved before it comes.
    let mut bytes = Vec::with_capacity(promised.unwrap_or(0).min(1 << 20));
    let mut taken = None;
    loop {
        match timeout(STALL_LIMIT, response.chunk()).await {
            Ok(Ok(Some(chunk))) => {
                tally.received(chunk.len());
                if bytes.len() + chunk.len() > cap {
                    return Err(TOO_LONG);
                }
                if let Some(Room(room)) = room
                    && taken.is_none()
                    && bytes.len() + chunk.len() > LONG_BODY
                {
                    // Never closed, so there is room some time; the call's deadline bounds the wait.
                    taken = Arc::clone(room).acquire_owned().await.ok();
                }
                bytes.extend_from_slice(&chunk);
            }
            Ok(Ok(None)) => {
                return Ok(Body {
                    bytes,
                    _room: taken,
                });
            }
            Ok(Err(_)) | Err(_) => return Err(RemoteError::Interrupted),
        }
    }
}

/// Reads the rest of a short error body, so that its connection can be used again. Its text is not
/// looked at: it may quote what was asked.
pub(super) async fn drain(response: Response, tally: &Tally) {
    const SHORT: usize = 8 << 10;
    if response
        .content_length()
        .is_some_and(|length| length <= SHORT as u64)
    {
        let reading = read_body(response, SHORT, tally);
        // Slower than this, a new connection is the cheaper way.
        let _ = timeout(Duration::from_millis(250), reading).await;
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;

    async fn read(length: usize, room: &Room) -> Result<Body, RemoteError> {
        let response = hyper::Response::new(reqwest::Body::from(vec![b' '; length]));
        read_long_body(response.into(), 2 * LONG_BODY, &Tally::default(), room).await
    }

    #[tokio::test]
    async fn there_is_room_for_one_long_body_at_a_time_and_for_any_number_of_short_ones() {
        let room = Room::for_one();
        let held = read(LONG_BODY + 1, &room).await.unwrap();
        let mut next = pin!(read(LONG_BODY + 2, &room));
        assert!(futures::poll!(&mut next).is_pending());
        let short = read(LONG_BODY, &room).await.unwrap();
        assert_eq!(short.bytes.len(), LONG_BODY);
        drop(held);
        assert_eq!(next.await.unwrap().bytes.len(), LONG_BODY + 2);
    }

    #[test]
    fn no_proxy_is_asked_for_what_is_on_this_machine() {
        let proxied = |api, auth| {
            let endpoints = Endpoints::parse(api, auth).unwrap();
            let (api, auth) = clients(&endpoints, None).unwrap();
            [api, auth].map(|client| format!("{client:?}").contains("proxies"))
        };
        let (here, there) = ("http://127.0.0.1:1/x", "https://example.com/x");
        assert_eq!(proxied(here, here), [false, false]);
        assert_eq!(proxied(here, there), [false, true]);
        assert_eq!(proxied(there, here), [true, false]);
        assert_eq!(proxied(there, there), [true, true]);
    }

    #[tokio::test]
    async fn a_body_beyond_the_cap_takes_no_room() {
        let room = Room::for_one();
        assert!(read(2 * LONG_BODY + 1, &room).await.is_err());
        assert!(read(LONG_BODY + 1, &room).await.is_ok());
    }
}
