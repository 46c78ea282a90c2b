//! The raw limit: the same bytes by plain HTTP on keep-alive connections, without a filesystem.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Instant;

use interactionfs::emulator::Redirect;

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

/// Seconds that these requests take on so many connections, each taking the next when it is free.
pub(crate) fn read(server: &Server, connections: usize, asks: Vec<Ask>) -> f64 {
    let token = token(server);
    let queue = Mutex::new(asks.into_iter());
    let start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..connections {
            let (queue, token) = (&queue, &token);
            scope.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .unwrap();
                let client = reqwest::Client::new();
                loop {
                    let next = queue.lock().unwrap().next();
                    let Some(ask) = next else { break };
                    runtime.block_on(one(&client, server, token, &ask));
                }
            });
        }
    });
    start.elapsed().as_secs_f64()
}

/// URLs of the same files that carry their own permission, as the server redirects to where it is told to.
pub(crate) fn signed(server: &Server, paths: &[PathBuf]) -> Vec<String> {
    let token = token(server);
    server
        .api()
        .change_switches(|switches| switches.redirect = Redirect::OtherHost);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
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
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
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
