//! An HTTP server that answers as a test tells it to, and remembers what it was asked.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use super::super::{AuthMethod, Class, Endpoints, RetryBudget, SecretSlot, Terms};
use super::{HttpRemote, Settings};

/// What was asked.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) method: String,
    pub(super) target: String,
    pub(super) headers: HashMap<String, String>,
    pub(super) body: String,
}

impl Asked {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

/// What is answered, byte for byte, and what happens to the connection then.
pub(super) struct Reply {
    bytes: Vec<u8>,
    then: Then,
}

#[derive(Clone, Copy, PartialEq)]
enum Then {
    Keep,
    Close,
    Hang,
}

impl Reply {
    /// A status, headers (a line each), and a body with its length.
    pub(super) fn new(status: u16, headers: &[&str], body: impl AsRef<[u8]>) -> Self {
        let body = body.as_ref();
        let mut reply = Self::bare(status, headers);
        let head = format!("content-length: {}\r\n\r\n", body.len());
        reply.bytes.extend_from_slice(head.as_bytes());
        reply.bytes.extend_from_slice(body);
        reply
    }

    pub(super) fn json(body: impl AsRef<[u8]>) -> Self {
        Self::new(200, &["content-type: application/json"], body)
    }

    /// A status and headers, without the line that ends them.
    fn bare(status: u16, headers: &[&str]) -> Self {
        let mut head = format!("HTTP/1.1 {status} Whatever\r\n");
        for header in headers {
            head.push_str(header);
            head.push_str("\r\n");
        }
        Self {
            bytes: head.into_bytes(),
            then: Then::Keep,
        }
    }

    /// An answer whose body is these chunks; `ends` says whether the last, empty one is sent.
    pub(super) fn chunked(status: u16, headers: &[&str], chunks: &[&[u8]], ends: bool) -> Self {
        let mut reply = Self::bare(status, headers);
        reply
            .bytes
            .extend_from_slice(b"transfer-encoding: chunked\r\n\r\n");
        for chunk in chunks {
            reply
                .bytes
                .extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            reply.bytes.extend_from_slice(chunk);
            reply.bytes.extend_from_slice(b"\r\n");
        }
        if ends {
            reply.bytes.extend_from_slice(b"0\r\n\r\n");
        } else {
            reply.then = Then::Close;
        }
        reply
    }

    /// Promises more bytes than it sends, then closes the connection, or falls silent.
    pub(super) fn short(status: u16, headers: &[&str], body: &[u8], then_hangs: bool) -> Self {
        let mut reply = Self::bare(status, headers);
        reply.bytes.extend_from_slice(b"\r\n");
        reply.bytes.extend_from_slice(body);
        reply.then = if then_hangs { Then::Hang } else { Then::Close };
        reply
    }

    /// A status alone.
    pub(super) fn bodiless(status: u16) -> Self {
        let mut reply = Self::bare(status, &[]);
        reply.bytes.extend_from_slice(b"\r\n");
        reply
    }

    /// No answer, for ever.
    pub(super) fn silence() -> Self {
        Self {
            bytes: Vec::new(),
            then: Then::Hang,
        }
    }

    /// Closes the connection without an answer.
    pub(super) fn nothing() -> Self {
        Self {
            bytes: Vec::new(),
            then: Then::Close,
        }
    }
}

/// The server. Tokens are given out by itself (`token-1`, `token-2`, …) unless `on_token` says otherwise.
pub(super) struct Scripted {
    pub(super) port: u16,
    asked: Arc<Mutex<Vec<Asked>>>,
    task: tokio::task::JoinHandle<()>,
}

type Script = dyn Fn(&Asked, usize) -> Reply + Send + Sync;

impl Scripted {
    /// `script` gets each request but those for tokens, and how many came before it.
    pub(super) async fn start(
        script: impl Fn(&Asked, usize) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::with_tokens(script, |_, n| {
            Reply::json(format!(
                r#"{{"access_token":"token-{}","expires_in":7200,"token_type":"Bearer"}}"#,
                n + 1
            ))
        })
        .await
    }

    pub(super) async fn with_tokens(
        script: impl Fn(&Asked, usize) -> Reply + Send + Sync + 'static,
        on_token: impl Fn(&Asked, usize) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let script: [Arc<Script>; 2] = [Arc::new(script), Arc::new(on_token)];
        let log = Arc::clone(&asked);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&log), script.clone()));
            }
        });
        Self { port, asked, task }
    }

    pub(super) fn endpoints(&self) -> Endpoints {
        let host = format!("http://127.0.0.1:{}", self.port);
        Endpoints::parse(
            &format!("{host}/interaction-content"),
            &format!("{host}/Auth/connect/token"),
        )
        .unwrap()
    }

    pub(super) fn settings(&self) -> Settings {
        Settings {
            endpoints: self.endpoints(),
            client_id: "client".to_owned(),
            secret: SecretSlot::new("s3cr3t".into()),
            auth_method: AuthMethod::Basic,
            ca_file: None,
            requests_per_minute: 100_000,
            ledger: None,
        }
    }

    pub(super) fn remote(&self) -> Arc<HttpRemote> {
        HttpRemote::new(self.settings()).unwrap()
    }

    /// All requests but those for tokens.
    pub(super) fn asked(&self) -> Vec<Asked> {
        self.all()
            .into_iter()
            .filter(|asked| asked.method == "GET")
            .collect()
    }

    /// The requests for tokens.
    pub(super) fn tokens(&self) -> Vec<Asked> {
        self.all()
            .into_iter()
            .filter(|asked| asked.method == "POST")
            .collect()
    }

    fn all(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(super) fn terms() -> Terms {
    terms_of(Duration::from_secs(60), 5)
}

pub(super) fn terms_of(within: Duration, tries: usize) -> Terms {
    Terms {
        class: Class::Reader,
        deadline: Instant::now() + within,
        retries: RetryBudget::with_tries(tries),
    }
}

async fn serve(mut stream: TcpStream, log: Arc<Mutex<Vec<Asked>>>, script: [Arc<Script>; 2]) {
    let mut buffer = Vec::new();
    while let Some(asked) = read_request(&mut stream, &mut buffer).await {
        let is_token = asked.method == "POST";
        let before = {
            let mut log = log.lock().unwrap();
            let before = log
                .iter()
                .filter(|earlier| (earlier.method == "POST") == is_token)
                .count();
            log.push(asked.clone());
            before
        };
        let reply = script[usize::from(is_token)](&asked, before);
        if stream.write_all(&reply.bytes).await.is_err() || reply.then == Then::Close {
            return;
        }
        if reply.then == Then::Hang {
            // Until the client goes away.
            let _ = stream.read(&mut [0; 1]).await;
            return;
        }
    }
}

async fn read_request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Asked> {
    let head_end = loop {
        if let Some(at) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break at;
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(buffer[..head_end].to_vec()).unwrap();
    buffer.drain(..head_end + 4);
    let mut lines = head.lines();
    let mut words = lines.next()?.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let headers: HashMap<_, _> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let length = headers
        .get("content-length")
        .map_or(0, |length| length.parse().unwrap());
    while buffer.len() < length {
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
    let body = String::from_utf8(buffer.drain(..length).collect()).unwrap();
    Some(Asked {
        method,
        target,
        headers,
        body,
    })
}
