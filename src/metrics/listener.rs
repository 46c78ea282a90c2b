//! The HTTP listener: `/metrics`, and nothing else of use.
//!
//! Bound before anything is mounted, so that an address in use is said at once. Each connection has one answer and a few
//! seconds: a scraper that hangs costs nothing.

use std::convert::Infallible;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tracing::{debug, info, warn};

use super::exposition;
use crate::failure::Failure;

/// Connections at once; more wait. Scrapers are few.
const CONNECTIONS: usize = 8;

/// How long a connection may take from its first byte to its last.
const PATIENCE: Duration = Duration::from_secs(10);

/// Tells the status, in the form of `stats.json`.
pub type Tell = Arc<dyn Fn() -> serde_json::Value + Send + Sync>;

/// A bound listener.
#[derive(Debug)]
pub struct Listener(TcpListener);

impl Listener {
    /// Binds the address, on the current tokio runtime.
    ///
    /// # Errors
    /// Why it can't be had, and what to do.
    pub async fn bind(address: SocketAddr) -> Result<Self, Failure> {
        let listener = TcpListener::bind(address)
            .await
            .map_err(|error| Failure::found(refusal(address, &error)))?;
        if !address.ip().is_loopback() {
            warn!(
                "metrics can be read by whoever reaches {}: nothing personal is in them, but neither is there a password",
                address
            );
        }
        Ok(Self(listener))
    }

    /// Answers until dropped.
    pub async fn serve(self, tell: Tell) {
        if let Ok(address) = self.0.local_addr() {
            info!("metrics are served at http://{address}/metrics");
        }
        let room = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            let Ok(permit) = Arc::clone(&room).acquire_owned().await else {
                return;
            };
            match self.0.accept().await {
                Ok((stream, _)) => {
                    let tell = Arc::clone(&tell);
                    tokio::spawn(async move {
                        if timeout(PATIENCE, converse(stream, tell)).await.is_err() {
                            debug!("a connection for metrics took too long");
                        }
                        drop(permit);
                    });
                }
                Err(error) => {
                    // Out of descriptors: they come back when others close theirs.
                    debug!(kind = ?error.kind(), "no connection for metrics could be accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

fn refusal(address: SocketAddr, error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::AddrInUse => format!(
            "--metrics-listen: another program listens on {address} already (another mount?): choose another port"
        ),
        ErrorKind::AddrNotAvailable => format!(
            "--metrics-listen: {} is not an address of this machine: 'ip address' shows those that are",
            address.ip()
        ),
        ErrorKind::PermissionDenied => format!(
            "--metrics-listen: port {} is closed to you: choose one from 1024 up",
            address.port()
        ),
        _ => format!("--metrics-listen: {address} can't be listened on ({error})"),
    }
}

async fn converse(stream: TcpStream, tell: Tell) {
    let service = service_fn(move |request| {
        let answer = answer(&request, &tell);
        async move { Ok::<_, Infallible>(answer) }
    });
    let connection = http1::Builder::new()
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = connection.await {
        debug!(%error, "a connection for metrics broke");
    }
}

fn answer(request: &Request<Incoming>, tell: &Tell) -> Response<Full<Bytes>> {
    let (status, kind, body) = match (request.method(), request.uri().path()) {
        (&Method::GET | &Method::HEAD, "/metrics") => match exposition(&tell()) {
            Ok(text) => (StatusCode::OK, prometheus::TEXT_FORMAT, text),
            Err(error) => {
                warn!(%error, "the metrics can't be put into words");
                (StatusCode::INTERNAL_SERVER_ERROR, PLAIN, String::new())
            }
        },
        (&Method::GET | &Method::HEAD, "/") => (
            StatusCode::OK,
            PLAIN,
            "interactionfs: the metrics are at /metrics\n".to_owned(),
        ),
        (&Method::GET | &Method::HEAD, _) => (
            StatusCode::NOT_FOUND,
            PLAIN,
            "only /metrics is here\n".to_owned(),
        ),
        _ => (
            StatusCode::METHOD_NOT_ALLOWED,
            PLAIN,
            "metrics can only be read\n".to_owned(),
        ),
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    if status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    response
}

const PLAIN: &str = "text/plain; charset=utf-8";
