//! A client of a few lines: one request a connection, everything read to the end.

use std::net::SocketAddr;

use base64::Engine;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::super::{Running, errors::V3};

/// An answer, or what came of it.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: Vec<u8>,
    /// How the connection broke, if it did.
    pub(super) broken: Option<std::io::ErrorKind>,
}

impl Reply {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (known, value) = line.split_once(':')?;
            known.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(super) fn message(&self) -> String {
        self.json()["message"].as_str().unwrap().to_owned()
    }

    /// Fewer bytes came than the head promised.
    pub(super) fn is_short(&self) -> bool {
        let promised: usize = self.header("content-length").unwrap().parse().unwrap();
        self.body.len() < promised
    }
}

/// Sends bytes and reads until the connection ends.
pub(super) async fn exchange(address: SocketAddr, request: &str) -> Reply {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    let broken = loop {
        match stream.read_buf(&mut bytes).await {
            Ok(0) => break None,
            Ok(_) => {}
            Err(error) => break Some(error.kind()),
        }
    };
    parse(&bytes, broken)
}

pub(super) fn parse(bytes: &[u8], broken: Option<std::io::ErrorKind>) -> Reply {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
    let (head, body) = end.map_or((bytes, &[][..]), |end| (&bytes[..end], &bytes[end + 4..]));
    let head = String::from_utf8(head.to_vec()).unwrap();
    let status = head
        .split(' ')
        .nth(1)
        .map_or(0, |text| text.parse().unwrap());
    let mut reply = Reply {
        status,
        head,
        body: body.to_vec(),
        broken,
    };
    if reply.header("transfer-encoding").is_some() {
        reply.body = unchunk(body);
    }
    reply
}

fn unchunk(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|two| two == b"\r\n").unwrap();
        let length = std::str::from_utf8(&rest[..end]).unwrap();
        let length = usize::from_str_radix(length, 16).unwrap();
        if length == 0 {
            return body;
        }
        body.extend_from_slice(&rest[end + 2..end + 2 + length]);
        rest = &rest[end + 4 + length..];
    }
}

/// Asks the token endpoint; the headers end each in a line break.
pub(super) async fn ask_token(running: &Running, headers: &str, body: &str) -> Reply {
    let length = body.len();
    let request = format!(
        "POST /Auth/connect/token HTTP/1.1\r\nhost: h\r\nconnection: close\r\n{headers}\
         content-type: application/x-www-form-urlencoded\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    exchange(running.address(), &request).await
}

/// Basic credentials as the vendor's sample sends them.
pub(super) fn basic(id: &str, secret: &str) -> String {
    let pair = base64::engine::general_purpose::STANDARD.encode(format!("{id}:{secret}"));
    format!("authorization: Basic {pair}\r\n")
}

/// A token for reading and deleting.
pub(super) async fn token(running: &Running) -> String {
    let headers = basic(running.client_id(), running.client_secret());
    let scopes = "interaction-content%3Aread+interaction-content%3Adelete";
    let body = format!("grant_type=client_credentials&scope={scopes}");
    let reply = ask_token(running, &headers, &body).await;
    assert_eq!(reply.status, 200);
    reply.json()["access_token"].as_str().unwrap().to_owned()
}

/// An API request with a token and the right `Accept`.
pub(super) async fn api(
    running: &Running,
    token: &str,
    method: &str,
    path: &str,
    headers: &str,
) -> Reply {
    let headers = format!("accept: {V3}\r\nauthorization: Bearer {token}\r\n{headers}");
    bare(running, method, path, &headers).await
}

/// An API request with these headers alone.
pub(super) async fn bare(running: &Running, method: &str, path: &str, headers: &str) -> Reply {
    let request = format!(
        "{method} /interaction-content{path} HTTP/1.1\r\nhost: h\r\nconnection: close\r\n{headers}\r\n"
    );
    exchange(running.address(), &request).await
}
