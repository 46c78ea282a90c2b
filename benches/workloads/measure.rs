//! One measurement: what a job took, of a filesystem that may be slow, may fail and may hang.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use super::common::Server;
use super::job::Job;
use super::usage::Usage;

/// A job that takes longer than this is given up, and its filesystem ended.
const PATIENCE: Duration = Duration::from_secs(90);

/// How long is waited for answers that are under way when a job has ended: they count, too.
const SETTLING: Duration = Duration::from_secs(3);

/// What one job took.
#[derive(Clone, Debug)]
pub(crate) struct Measured {
    pub(crate) seconds: f64,
    pub(crate) requests: u64,
    pub(crate) sent: u64,
    /// Of the process that serves the files.
    pub(crate) usage: Option<Usage>,
    /// The slowest of several readers over the median.
    pub(crate) slowest: Option<f64>,
}

impl Measured {
    /// Of two measurements of the same job: the shorter time, the more requests and bytes.
    pub(crate) fn or_better(self, other: Self) -> Self {
        let (requests, sent) = (self.requests.max(other.requests), self.sent.max(other.sent));
        let faster = if self.seconds <= other.seconds {
            self
        } else {
            other
        };
        Self {
            requests,
            sent,
            ..faster
        }
    }
}

/// Why there is no measurement, in a few words.
#[derive(Clone, Debug)]
pub(crate) struct Failed(pub(crate) String);

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        Self(format!("failed: {error}"))
    }
}

/// A mounted filesystem. Dropping it unmounts it and ends its process.
pub(crate) trait Mounted {
    fn root(&self) -> PathBuf;
    /// The process that serves it.
    fn pid(&self) -> u32;
    /// Requests so far that did not come to the server.
    fn asked_elsewhere(&self) -> u64 {
        0
    }
    /// Ends it at once, so that who waits for it waits no longer.
    fn give_up(&self) {
        unmount(&self.root());
        let pid = i32::try_from(self.pid()).ok();
        if let Some(pid) = pid.and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
}

/// Takes a mount out of the tree, whether or not somebody uses it.
pub(crate) fn unmount(path: &std::path::Path) {
    let lazily = rustix::mount::UnmountFlags::DETACH;
    if rustix::mount::unmount(path, lazily).is_err() {
        let _ = std::process::Command::new("fusermount3")
            .args(["-u", "-q", "-z", "--"])
            .arg(path)
            .stderr(std::process::Stdio::null())
            .status();
    }
}

/// Does the job with files of the mount and counts what it took.
pub(crate) fn measure(
    server: &Server,
    mounted: &dyn Mounted,
    files: &[PathBuf],
    job: &Job,
) -> Result<Measured, Failed> {
    let root = mounted.root();
    let paths = if files.is_empty() {
        vec![root]
    } else {
        files.iter().map(|file| root.join(file)).collect()
    };
    let elsewhere = mounted.asked_elsewhere();
    let before = Usage::of(mounted.pid());
    let mut measured = counted(server, || bounded(job, paths, || mounted.give_up()))?;
    measured.requests += mounted.asked_elsewhere() - elsewhere;
    measured.usage = before.and_then(|before| Some(Usage::of(mounted.pid())?.since(&before)));
    Ok(measured)
}

/// Counts what the server is asked meanwhile.
pub(crate) fn counted(
    server: &Server,
    job: impl FnOnce() -> Result<Vec<f64>, Failed>,
) -> Result<Measured, Failed> {
    let log = server.api().log();
    log.clear();
    let start = Instant::now();
    let readers = job()?;
    let seconds = start.elapsed().as_secs_f64();
    server.block_on(async {
        let _ = tokio::time::timeout(SETTLING, log.wait_idle()).await;
    });
    Ok(Measured {
        seconds,
        requests: server.all_requests(),
        sent: server.bytes_sent(),
        usage: None,
        slowest: slowest(readers),
    })
}

/// Does the job, or gives up.
fn bounded(job: &Job, paths: Vec<PathBuf>, give_up: impl FnOnce()) -> Result<Vec<f64>, Failed> {
    let (sender, receiver) = mpsc::channel();
    let job = Arc::clone(job);
    std::thread::spawn(move || {
        let _ = sender.send(job(&paths));
    });
    match receiver.recv_timeout(PATIENCE) {
        Ok(done) => Ok(done?),
        Err(RecvTimeoutError::Disconnected) => Err(Failed("failed".to_owned())),
        Err(RecvTimeoutError::Timeout) => {
            give_up();
            // With its filesystem gone, the job fails; where it does not even then, it is left behind.
            let _ = receiver.recv_timeout(Duration::from_secs(10));
            Err(Failed(format!("did not end in {} s", PATIENCE.as_secs())))
        }
    }
}

fn slowest(mut readers: Vec<f64>) -> Option<f64> {
    readers.sort_by(f64::total_cmp);
    Some(readers.last()? / readers[readers.len() / 2])
}
