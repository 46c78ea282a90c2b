//! The raw limit: the same bytes by plain HTTP on keep-alive connections, without a filesystem.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use interactionfs::emulator::Redirect;
use tokio::runtime::Runtime;

use super::common::Server;

/// One request.
pub(crate) struct Ask {
    guid: String,
    key: String,
    range: Option<(u64, u64)>,
}

impl Ask {
    /// All of the file at this path of the mount.
    pub(crate) fn whole(path: &Path) -> Self {
        Self::of(path, None)
    }

    /// `length` bytes from `start`.
    pub(crate) fn range(path: &Path, start: u64, length: u64) -> Self {
        Self::of(path, Some((start, start + length)))
    }

    fn url(&self, server: &Server) -> String {
        format!(
            "{}/interactions/{}/content/{}",
            server.api().api_url(),
            self.guid,
            self.key
        )
    }

    fn of(path: &Path, range: Option<(u64, u64)>) -> Self {
        let parts: PathBuf = path.iter().rev().take(2).collect();
        let mut parts = parts.iter();
        let name = parts.next().and_then(|part| part.to_str()).unwrap();
        let guid = parts.next().and_then(|part| part.to_str()).unwrap();
        let key = name.split('.').next().unwrap();
        Self {
            guid: guid.to_owned(),
            key: key.to_owned(),
            range,
        }
    }
}

/// Connections that are made when they are first needed, and a token for them.
pub(crate) struct Client<'a> {
    server: &'a Server,
    token: String,
    connections: Vec<(Runtime, reqwest::Client)>,
}

impl<'a> Client<'a> {
    pub(crate) fn new(server: &'a Server, connections: usize) -> Self {
        let token = token(server);
        let connections = (0..connections)
            .map(|_| (runtime(), reqwest::Client::new()))
            .collect();
        Self {
            server,
            token,
            connections,
        }
    }

    /// Makes these requests, each on the next connection that is free.
    pub(crate) fn read(&self, asks: &[Ask]) {
        let next = &AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for (runtime, client) in &self.connections {
                scope.spawn(move || {
                    while let Some(ask) = asks.get(next.fetch_add(1, Ordering::Relaxed)) {
                        runtime.block_on(one(client, self.server, &self.token, ask));
                    }
                });
            }
        });
    }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

/// URLs of the same files that carry their own permission, as the server redirects to where it is told to.
pub(crate) fn signed(server: &Server, paths: &[PathBuf]) -> Vec<String> {
    let token = token(server);
    server
        .api()
        .change_switches(|switches| switches.redirect = Redirect::OtherHost);
    let runtime = runtime();
    let client = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .unwrap();
    let urls = paths
        .iter()
        .map(|path| {
            let request = client
                .get(Ask::whole(path).url(server))
                .header("Accept", "application/vnd.newvoicemedia.v3+json")
                .bearer_auth(&token);
            let answer = runtime.block_on(request.send()).unwrap();
            answer.headers()["location"].to_str().unwrap().to_owned()
        })
        .collect();
    server
        .api()
        .change_switches(|switches| switches.redirect = Redirect::No);
    urls
}

fn token(server: &Server) -> String {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let api = server.api();
    let runtime = runtime();
    let answer = runtime.block_on(async {
        let body = "grant_type=client_credentials&scope=interaction-content%3Aread";
        reqwest::Client::new()
            .post(api.auth_url())
            .header("Content-Type", "application/x-www-form-urlencoded")
            .basic_auth(escaped(api.client_id()), Some(escaped(api.client_secret())))
            .body(body)
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap()
    });
    let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
    answer["access_token"].as_str().unwrap().to_owned()
}

/// As OAuth wants it in a Basic header.
fn escaped(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

async fn one(client: &reqwest::Client, server: &Server, token: &str, ask: &Ask) {
    let mut request = client
        .get(ask.url(server))
        .header("Accept", "application/vnd.newvoicemedia.v3+json")
        .bearer_auth(token);
    if let Some((start, end)) = ask.range {
        request = request.header("Range", format!("bytes={start}-{}", end - 1));
    }
    let mut response = request.send().await.unwrap();
    assert!(response.status().is_success());
    while response.chunk().await.unwrap().is_some() {}
}
