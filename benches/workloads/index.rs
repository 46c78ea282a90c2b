//! The server's files as a tree of HTML pages, for filesystems that can neither search nor ask for tokens.
//!
//! A small listener makes the pages and answers HEAD; for a file's bytes it sends on to a URL of the server that needs
//! no token. Pages and HEAD come as late as the server's answers do, and count as requests; being sent on costs nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use super::common::Server;
use super::corpus::Listed;
use super::raw;

/// A running listener.
pub(crate) struct Index {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    files: BTreeMap<String, File>,
    latency: Mutex<Duration>,
    asked: AtomicU64,
    ended: AtomicBool,
}

struct File {
    url: String,
    size: u64,
}

impl Index {
    /// Serves these files until it is dropped.
    pub(crate) fn of(server: &Server, listed: &[Listed]) -> Self {
        let paths: Vec<_> = listed.iter().map(|file| file.path.clone()).collect();
        let files = raw::signed(server, &paths)
            .into_iter()
            .zip(listed)
            .map(|(url, file)| {
                let path = format!("/{}", file.path.display());
                let size = file.size;
                (path, File { url, size })
            })
            .collect();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let index = Self {
            address: listener.local_addr().unwrap(),
            shared: Arc::new(Shared {
                files,
                latency: Mutex::default(),
                asked: AtomicU64::new(0),
                ended: AtomicBool::new(false),
            }),
        };
        let shared = Arc::clone(&index.shared);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if shared.ended.load(Ordering::Relaxed) {
                    return;
                }
                let shared = Arc::clone(&shared);
                thread::spawn(move || shared.serve(stream));
            }
        });
        index
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Answers so late from now on.
    pub(crate) fn set_latency(&self, latency: Duration) {
        *self.shared.latency.lock().unwrap() = latency;
    }

    /// How many pages and HEADs were asked for so far.
    pub(crate) fn asked(&self) -> u64 {
        self.shared.asked.load(Ordering::Relaxed)
    }
}

impl Drop for Index {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        // Wakes the listener, which then sees it.
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    /// Answers the requests of one connection; ends when the client does.
    fn serve(&self, mut stream: TcpStream) -> std::io::Result<()> {
        stream.set_nodelay(true)?;
        let mut lines = BufReader::new(stream.try_clone()?).lines();
        while let Some(request) = lines.next() {
            let request = request?;
            for header in lines.by_ref() {
                if header?.is_empty() {
                    break;
                }
            }
            let mut words = request.split(' ');
            let is_head = words.next() == Some("HEAD");
            let path = words.next().unwrap_or_default();
            stream.write_all(self.answer(is_head, path).as_bytes())?;
        }
        Ok(())
    }

    fn answer(&self, is_head: bool, path: &str) -> String {
        let file = self.files.get(path);
        if let (Some(file), false) = (file, is_head) {
            let url = &file.url;
            return format!(
                "HTTP/1.1 307 Temporary Redirect\r\nLocation: {url}\r\nContent-Length: 0\r\n\r\n"
            );
        }
        self.asked.fetch_add(1, Ordering::Relaxed);
        let latency = *self.latency.lock().unwrap();
        thread::sleep(latency);
        if let Some(file) = file {
            return format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nAccept-Ranges: bytes\r\n\
                 Last-Modified: Sun, 22 Nov 2026 10:15:00 GMT\r\nContent-Length: {}\r\n\r\n",
                file.size
            );
        }
        let Some(page) = self.page(path) else {
            return "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_owned();
        };
        format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\n\r\n{}",
            page.len(),
            if is_head { "" } else { &page }
        )
    }

    /// The page of a directory; `None` if there is nothing in it.
    fn page(&self, path: &str) -> Option<String> {
        let directory = format!("{}/", path.trim_end_matches('/'));
        let names: BTreeSet<&str> = self
            .files
            .range(directory.clone()..)
            .map_while(|(path, _)| path.strip_prefix(&directory))
            .map(|rest| rest.split_inclusive('/').next().unwrap_or(rest))
            .collect();
        let mut page = String::new();
        for name in &names {
            let _ = writeln!(page, "<a href=\"{name}\">{name}</a>");
        }
        (!names.is_empty()).then(|| format!("<html><body>\n{page}</body></html>\n"))
    }
}
