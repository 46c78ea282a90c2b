//! The other side: commands that ask a running mount. Blocking, with a deadline.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use super::directory::{candidates, is_trusted, socket_name};
use super::protocol::{Answer, Line, REQUEST_LIMIT, Request};

/// How long a mount may take to answer: it answers from memory.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long a mount that is at work may say nothing: it speaks every few seconds.
const LONGEST_SILENCE: Duration = Duration::from_secs(30);

/// The longest answer, in bytes.
const ANSWER_LIMIT: u64 = 16 << 20;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Unanswered {
    /// No daemon of this user's serves this mountpoint.
    #[error("no running mount of yours answers for it")]
    NotRunning,
    /// It runs, but does not answer in time or not in words that this version knows.
    #[error("the mount does not answer ({0})")]
    Silent(io::Error),
    /// It answers that it can't.
    #[error("{0}")]
    Refused(String),
}

/// Asks the mount at `mountpoint`. Blocks for up to five seconds.
///
/// # Errors
/// [`Unanswered`].
pub fn ask(mountpoint: &Path, request: Request) -> Result<Value, Unanswered> {
    ask_in(&candidates(), mountpoint, request)
}

pub(super) fn ask_in(
    directories: &[PathBuf],
    mountpoint: &Path,
    request: Request,
) -> Result<Value, Unanswered> {
    let stream = connect(directories, mountpoint).ok_or(Unanswered::NotRunning)?;
    match exchange(&stream, request).map_err(Unanswered::Silent)? {
        Answer::Ok(value) => Ok(value),
        Answer::Error(reason) => Err(Unanswered::Refused(reason)),
    }
}

/// Has the mount at `mountpoint` fetch what an order says, and passes on what it tells until it has no more to say.
/// The work ends with this process. Blocks.
///
/// # Errors
/// [`Unanswered`]; also when the mount says nothing for half a minute.
pub fn prefetch(
    mountpoint: &Path,
    order: Value,
    tell: impl FnMut(Value),
) -> Result<(), Unanswered> {
    prefetch_in(&candidates(), mountpoint, order, tell)
}

pub(super) fn prefetch_in(
    directories: &[PathBuf],
    mountpoint: &Path,
    order: Value,
    mut tell: impl FnMut(Value),
) -> Result<(), Unanswered> {
    let mut stream = connect(directories, mountpoint).ok_or(Unanswered::NotRunning)?;
    let mut line = serde_json::to_vec(&Line {
        command: Request::Prefetch,
        order,
    })
    .map_err(|error| Unanswered::Silent(error.into()))?;
    line.push(b'\n');
    if line.len() as u64 > REQUEST_LIMIT {
        return Err(Unanswered::Refused(
            "there are too many GUIDs for one order: split them".to_owned(),
        ));
    }
    stream
        .set_read_timeout(Some(LONGEST_SILENCE))
        .and_then(|()| stream.set_write_timeout(Some(PATIENCE)))
        .and_then(|()| stream.write_all(&line))
        .map_err(Unanswered::Silent)?;
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = String::new();
        let length = (&mut reader)
            .take(ANSWER_LIMIT)
            .read_line(&mut line)
            .map_err(Unanswered::Silent)?;
        if length == 0 {
            return Ok(());
        }
        match serde_json::from_str(&line) {
            Ok(Answer::Ok(value)) => tell(value),
            Ok(Answer::Error(reason)) => return Err(Unanswered::Refused(reason)),
            Err(error) => return Err(Unanswered::Silent(error.into())),
        }
    }
}

/// A connection that ends when the mount's daemon does; `None` if there is no daemon.
pub fn lifeline(mountpoint: &Path) -> Option<Lifeline> {
    connect(&candidates(), mountpoint).map(Lifeline)
}

/// A connection that ends when the mount's daemon does.
#[derive(Debug)]
pub struct Lifeline(UnixStream);

impl Lifeline {
    /// Waits for the daemon's end, at most for `patience`; whether it came.
    pub fn wait(mut self, patience: Duration) -> bool {
        self.0
            .set_read_timeout(Some(patience))
            .and_then(|()| self.0.read(&mut [0]))
            .is_ok_and(|length| length == 0)
    }
}

/// Removes the socket that a daemon which was killed left behind. A living one's stays.
pub fn sweep(mountpoint: &Path) {
    sweep_in(&candidates(), mountpoint);
}

pub(super) fn sweep_in(directories: &[PathBuf], mountpoint: &Path) {
    let name = socket_name(mountpoint);
    for directory in directories.iter().filter(|directory| is_trusted(directory)) {
        let socket = directory.join(&name);
        if UnixStream::connect(&socket)
            .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
        {
            // What can't be removed is replaced by the next daemon.
            let _ = std::fs::remove_file(socket);
        }
    }
}

fn connect(directories: &[PathBuf], mountpoint: &Path) -> Option<UnixStream> {
    let name = socket_name(mountpoint);
    directories
        .iter()
        .filter(|directory| is_trusted(directory))
        .find_map(|directory| UnixStream::connect(directory.join(&name)).ok())
}

fn exchange(mut stream: &UnixStream, request: Request) -> io::Result<Answer> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut line = serde_json::to_vec(&Line {
        command: request,
        order: Value::Null,
    })?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut answer = String::new();
    BufReader::new(stream.take(ANSWER_LIMIT)).read_line(&mut answer)?;
    Ok(serde_json::from_str(&answer)?)
}
