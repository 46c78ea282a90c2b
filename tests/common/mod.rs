//! What the mount tests share: an emulator in this process, a mount of it by the real binary, and guards
//! that unmount and end what was started, also when a test panics.

#![allow(
    dead_code,
    reason = "each test binary compiles its own copy and uses a part of it"
)]
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says what it skips"
)]

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use interactionfs::emulator::{
    self, Corpus, Endpoint, GeneratedSpec, Interaction, Item, Options, Running, Switches,
};
use tempfile::TempDir;

/// Far beyond what anything here takes on a loaded machine: reaching it means that something hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// Whether mounts are possible here. Says loudly when they are not.
pub(crate) fn can_mount() -> bool {
    let possible = Path::new("/dev/fuse").exists();
    if !possible {
        eprintln!("SKIPPED: /dev/fuse is missing, so no mount test ran");
    }
    possible
}

/// Says loudly what was not tested, and why.
pub(crate) fn skipped(why: &str) {
    eprintln!("SKIPPED: {why}");
}

/// An emulator on its own runtime.
pub(crate) struct Server {
    runtime: tokio::runtime::Runtime,
    running: Option<Running>,
}

impl Server {
    /// The bundled samples, at any pace.
    pub(crate) fn samples() -> Self {
        Self::with(Corpus::Samples)
    }

    /// A computed corpus, at any pace.
    pub(crate) fn generated(spec: GeneratedSpec) -> Self {
        Self::with(Corpus::Generated(spec))
    }

    fn with(corpus: Corpus) -> Self {
        Self::start(Options {
            corpus,
            switches: Switches {
                requests_per_minute: None,
                ..Switches::default()
            },
            ..Options::default()
        })
    }

    /// An emulator with these options.
    pub(crate) fn start(options: Options) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let running = runtime.block_on(emulator::start(options)).unwrap();
        Self {
            runtime,
            running: Some(running),
        }
    }

    /// The running emulator: its log, faults and account.
    pub(crate) fn api(&self) -> &Running {
        self.running.as_ref().unwrap()
    }

    /// Requests so far, all together.
    pub(crate) fn all_requests(&self) -> u64 {
        self.api().log().total()
    }

    /// Requests so far to an endpoint.
    pub(crate) fn requests(&self, endpoint: Endpoint) -> u64 {
        self.api().log().count(endpoint)
    }

    /// What was asked for, a line each.
    pub(crate) fn describe(&self) -> String {
        let lines: Vec<String> = self
            .api()
            .log()
            .entries()
            .iter()
            .map(|entry| {
                format!(
                    "{:?} {:?} {} {}",
                    entry.endpoint,
                    entry.status,
                    entry.key.as_deref().unwrap_or(&entry.query),
                    entry.range.as_deref().unwrap_or("-"),
                )
            })
            .collect();
        lines.join("\n")
    }

    /// Bytes of bodies sent so far, of the latest 20,000 requests.
    pub(crate) fn bytes_sent(&self) -> u64 {
        self.api()
            .log()
            .entries()
            .iter()
            .map(|entry| entry.bytes_sent)
            .sum()
    }

    /// Plays another wire from the next request on.
    pub(crate) fn set_wire(&self, latency: Duration, bandwidth: Option<u64>) {
        self.api().change_switches(|switches| {
            switches.latency = latency;
            switches.bandwidth = bandwidth;
        });
    }

    /// What an item holds.
    pub(crate) fn expected(&self, guid: &str, key: &str) -> Vec<u8> {
        self.api()
            .account()
            .expected(guid.parse().unwrap(), key, 0..u64::MAX)
            .unwrap()
    }

    /// Adds an interaction that has just happened, with a transcript.
    pub(crate) fn add_interaction(&self, guid: &str, transcript: &[u8]) {
        let start = jiff::Timestamp::now() - jiff::SignedDuration::from_secs(1);
        let item = Item::new(
            "transcript",
            "transcript",
            "application/json",
            start,
            transcript.to_vec(),
        );
        self.api()
            .account()
            .put(Interaction::new(guid.parse().unwrap(), start).with(item));
    }

    /// Replaces an item's bytes; it was modified later than before.
    pub(crate) fn replace_item(&self, guid: &str, key: &str, bytes: &[u8]) {
        let guid = guid.parse().unwrap();
        let before = self.api().account().get(guid).unwrap();
        let known = before.item(key).unwrap();
        let later = known.last_modified + jiff::SignedDuration::from_secs(1);
        let item = Item::new(
            key,
            &known.item_type,
            &known.media_type,
            later,
            bytes.to_vec(),
        );
        assert!(self.api().account().put_item(guid, item));
    }

    /// Runs a future on the emulator's runtime.
    pub(crate) fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            self.runtime.block_on(running.stop());
        }
    }
}

/// How a mount is started.
pub(crate) struct MountBuilder<'a> {
    server: &'a Server,
    program: PathBuf,
    arguments: Vec<String>,
    cache: Option<PathBuf>,
    secret: Option<String>,
    api_url: Option<String>,
}

/// A mounted tree. Dropping it unmounts, ends the daemon and removes its directories.
pub(crate) struct Mount {
    directory: TempDir,
    cache: PathBuf,
    child: Option<Child>,
    log: PathBuf,
}

impl<'a> MountBuilder<'a> {
    /// A mount of `server` with a cache of its own and a pace that no test meets.
    pub(crate) fn new(server: &'a Server) -> Self {
        Self {
            server,
            program: env!("CARGO_BIN_EXE_interactionfs").into(),
            arguments: vec!["--requests-per-minute=100000".into()],
            cache: None,
            secret: None,
            api_url: None,
        }
    }

    /// Adds an option; later ones win where they may be repeated.
    pub(crate) fn option(mut self, argument: impl Into<String>) -> Self {
        let argument = argument.into();
        if let Some((name, _)) = argument.split_once('=') {
            let prefix = format!("{name}=");
            self.arguments.retain(|known| !known.starts_with(&prefix));
        }
        self.arguments.push(argument);
        self
    }

    /// Mounts with this program in place of ours.
    pub(crate) fn program(mut self, program: &Path) -> Self {
        self.program = program.to_owned();
        self
    }

    /// Uses this cache directory, which outlives the mount.
    pub(crate) fn cache(mut self, directory: &Path) -> Self {
        self.cache = Some(directory.to_owned());
        self
    }

    /// Uses this secret in place of the right one.
    pub(crate) fn secret(mut self, secret: &str) -> Self {
        self.secret = Some(secret.to_owned());
        self
    }

    /// Looks for the API at this address in place of the right one.
    pub(crate) fn api_url(mut self, url: impl Into<String>) -> Self {
        self.api_url = Some(url.into());
        self
    }

    /// The command that mounts, without having run it.
    pub(crate) fn command(&self, mountpoint: &Path, cache: &Path) -> Command {
        let api = self.server.api();
        let api_url = self.api_url.clone().unwrap_or_else(|| api.api_url());
        let mut command = Command::new(&self.program);
        command
            .arg("mount")
            .arg(mountpoint)
            .arg(format!("--api-url={api_url}"))
            .arg(format!("--auth-url={}", api.auth_url()))
            .arg(format!("--client-id={}", api.client_id()))
            .arg(format!("--cache-dir={}", cache.display()))
            .args(&self.arguments)
            .env(
                "INTERACTIONFS_CLIENT_SECRET",
                self.secret.as_deref().unwrap_or(api.client_secret()),
            )
            .stdin(Stdio::null());
        command
    }

    /// Mounts, and waits until the daemon says that it is ready.
    pub(crate) fn mount(self) -> Mount {
        self.try_mount().unwrap_or_else(|output| {
            panic!("the mount failed: {}", String::from_utf8_lossy(&output))
        })
    }

    /// Mounts; what the daemon wrote to standard error if it ended instead.
    pub(crate) fn try_mount(self) -> Result<Mount, Vec<u8>> {
        let directory = TempDir::new().unwrap();
        let mountpoint = directory.path().join("mnt");
        std::fs::create_dir(&mountpoint).unwrap();
        let cache = self
            .cache
            .clone()
            .unwrap_or_else(|| directory.path().join("cache"));
        let log = directory.path().join("log");
        let socket_path = directory.path().join("notify");
        let socket = UnixDatagram::bind(&socket_path).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_millis(100)))
            .unwrap();
        let mut child = self
            .command(&mountpoint, &cache)
            .arg("--foreground")
            .env("NOTIFY_SOCKET", &socket_path)
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let patience = Instant::now() + PATIENCE;
        loop {
            let mut message = [0; 512];
            match socket.recv(&mut message) {
                Ok(length) if String::from_utf8_lossy(&message[..length]).contains("READY=1") => {
                    break;
                }
                _ => {}
            }
            if child.try_wait().unwrap().is_some() {
                return Err(std::fs::read(&log).unwrap_or_default());
            }
            if Instant::now() > patience {
                let _ = child.kill();
                let _ = child.wait();
                panic!("the mount did not get ready: {}", read_text(&log));
            }
        }
        Ok(Mount {
            directory,
            cache,
            child: Some(child),
            log,
        })
    }
}

impl Mount {
    /// A mount of `server` with the default options of tests.
    pub(crate) fn of(server: &Server) -> Self {
        MountBuilder::new(server).mount()
    }

    /// The mountpoint.
    pub(crate) fn root(&self) -> PathBuf {
        self.directory.path().join("mnt")
    }

    /// A path in the tree.
    pub(crate) fn path(&self, below: impl AsRef<Path>) -> PathBuf {
        self.root().join(below)
    }

    /// The cache directory.
    pub(crate) fn cache(&self) -> &Path {
        &self.cache
    }

    /// A directory beside the mountpoint, for what programs write.
    pub(crate) fn scratch(&self) -> PathBuf {
        let scratch = self.directory.path().join("scratch");
        std::fs::create_dir_all(&scratch).unwrap();
        scratch
    }

    /// What the daemon wrote so far.
    pub(crate) fn log(&self) -> String {
        read_text(&self.log)
    }

    /// The daemon's process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// Sends the daemon a signal.
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(i32::try_from(self.pid()).unwrap()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Waits for the daemon to end; its exit status.
    pub(crate) fn wait(&mut self) -> std::process::ExitStatus {
        let child = self.child.as_mut().unwrap();
        let status = wait_for_exit(child);
        self.child = None;
        status
    }

    /// Unmounts as a user does, and waits for the daemon's end.
    pub(crate) fn unmount(mut self) {
        let output = Command::new(env!("CARGO_BIN_EXE_interactionfs"))
            .arg("unmount")
            .arg(self.root())
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        self.wait();
        assert!(!is_mounted(&self.root()));
    }

    /// Runs a shell command with the mountpoint as its directory; fails unless it exits with 0.
    pub(crate) fn shell(&self, script: &str) -> String {
        let output = self.shell_output(script);
        assert!(
            output.status.success(),
            "`{script}` failed: {}\n{}\nlog: {}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
            self.log()
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Runs a shell command with the mountpoint as its directory.
    pub(crate) fn shell_output(&self, script: &str) -> Output {
        Command::new("bash")
            .arg("-c")
            .arg(script)
            .current_dir(self.root())
            .env("SCRATCH", self.scratch())
            .env("LC_ALL", "C.UTF-8")
            .env("TZ", "UTC")
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let root = self.root();
        if is_mounted(&root)
            && rustix::mount::unmount(&root, rustix::mount::UnmountFlags::DETACH).is_err()
        {
            // Only root may.
            let _ = Command::new("fusermount3").arg("-uz").arg(&root).status();
        }
        if let Some(child) = self.child.as_mut() {
            let patience = Instant::now() + Duration::from_secs(10);
            while matches!(child.try_wait(), Ok(None)) {
                if Instant::now() > patience {
                    let _ = child.kill();
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        if std::thread::panicking() {
            eprintln!("the daemon's log:\n{}", self.log());
        }
    }
}

/// Whether something is mounted at this path.
pub(crate) fn is_mounted(path: &Path) -> bool {
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    table
        .lines()
        .any(|line| line.split(' ').nth(4) == path.to_str())
}

/// Asks again and again until `question` answers `true`; fails when it never does.
pub(crate) fn eventually(what: &str, mut question: impl FnMut() -> bool) {
    let patience = Instant::now() + PATIENCE;
    while !question() {
        assert!(Instant::now() < patience, "never happened: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Waits for a process's end; kills it and fails when it never comes.
pub(crate) fn wait_for_exit(child: &mut Child) -> std::process::ExitStatus {
    let patience = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if Instant::now() > patience {
            let _ = child.kill();
            panic!("process {} did not end", child.id());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The errno that an I/O result carries.
pub(crate) fn errno<T: std::fmt::Debug>(result: io::Result<T>) -> i32 {
    result.unwrap_err().raw_os_error().unwrap()
}

fn read_text(path: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned()
}

/// Reads all of a file past the kernel's own pages.
pub(crate) fn direct(path: &Path) -> io::Result<Vec<u8>> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_DIRECT)
        .open(path)?;
    let mut bytes = Vec::new();
    let mut piece = vec![0; 1 << 20];
    loop {
        match file.read_at(&mut piece, bytes.len() as u64)? {
            0 => return Ok(bytes),
            length => bytes.extend_from_slice(&piece[..length]),
        }
    }
}
