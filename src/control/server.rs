//! The mount's side of the control socket.

use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{BoxStream, StreamExt};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tracing::debug;

use super::directory::{candidates, prepare, socket_name};
use super::protocol::{Answer, Answers, Line, REQUEST_LIMIT, Request};

/// Connections served at once; more wait. All are the user's own.
const CONNECTIONS: usize = 64;

/// A bound control socket. Dropping it removes the socket's file.
#[derive(Debug)]
pub struct Server {
    listener: UnixListener,
    path: PathBuf,
    /// Device and number of its file.
    identity: (u64, u64),
}

impl Server {
    /// Binds the socket of the mount that stands at `mountpoint`, on the current tokio runtime. The one that is there is
    /// replaced: its daemon is dead, or was unmounted and still ends, which takes as long as a file is open.
    ///
    /// # Errors
    /// No directory can be used.
    pub fn bind(mountpoint: &Path) -> io::Result<Self> {
        Self::bind_in(&candidates(), mountpoint)
    }

    pub(super) fn bind_in(directories: &[PathBuf], mountpoint: &Path) -> io::Result<Self> {
        let mut refusal = io::Error::from(io::ErrorKind::NotFound);
        for directory in directories {
            match prepare(directory) {
                Ok(()) => return Self::bind_at(directory.join(socket_name(mountpoint))),
                Err(error) => refusal = error,
            }
        }
        Err(refusal)
    }

    fn bind_at(path: PathBuf) -> io::Result<Self> {
        let new = path.with_extension("new");
        match std::fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            // What is left of a daemon that was killed just then.
            _ => {}
        }
        let listener = UnixListener::bind(&new)?;
        // The directory is closed to others already; this says the same of the socket.
        std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o600))?;
        let identity = identity(&new)?;
        std::fs::rename(&new, &path)?;
        Ok(Self {
            listener,
            path,
            identity,
        })
    }

    /// Answers until dropped.
    pub async fn serve(self, answers: Arc<dyn Answers>) {
        let room = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            let Ok(permit) = Arc::clone(&room).acquire_owned().await else {
                return;
            };
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let answers = Arc::clone(&answers);
                    tokio::spawn(async move {
                        if let Err(error) = converse(stream, answers).await {
                            debug!(kind = ?error.kind(), "a control connection broke");
                        }
                        drop(permit);
                    });
                }
                Err(error) => {
                    // Out of descriptors: they come back when others close theirs.
                    debug!(kind = ?error.kind(), "no control connection could be accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The mount that came after this one may have a socket there by now.
        if identity(&self.path).is_ok_and(|there| there == self.identity) {
            // Nothing is lost if this fails: the next daemon replaces a socket that nobody answers.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn identity(socket: &Path) -> io::Result<(u64, u64)> {
    std::fs::symlink_metadata(socket).map(|metadata| (metadata.dev(), metadata.ino()))
}

async fn converse(stream: UnixStream, answers: Arc<dyn Answers>) -> io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    let mut line = String::new();
    loop {
        line.clear();
        let length = (&mut reader)
            .take(REQUEST_LIMIT)
            .read_line(&mut line)
            .await?;
        if length == 0 {
            return Ok(());
        }
        let answer = match serde_json::from_str::<Line>(&line) {
            Ok(request) if request.command == Request::Prefetch => {
                match answers.prefetch(request.order) {
                    Ok(events) => return report(reader, writer, events).await,
                    Err(reason) => Answer::Error(reason),
                }
            }
            Ok(request) => answer(request.command, &answers).await,
            Err(_) => Answer::Error("the request is not one that this version knows".to_owned()),
        };
        say(&mut writer, &answer).await?;
    }
}

async fn say(writer: &mut OwnedWriteHalf, answer: &Answer) -> io::Result<()> {
    let mut answer = serde_json::to_vec(answer)?;
    answer.push(b'\n');
    writer.write_all(&answer).await
}

/// Tells how it goes until it is done, or until the other side has gone: then it ends too.
async fn report(
    mut reader: BufReader<OwnedReadHalf>,
    mut writer: OwnedWriteHalf,
    mut events: BoxStream<'static, Value>,
) -> io::Result<()> {
    loop {
        let event = tokio::select! {
            event = events.next() => event,
            // Nothing more is asked on such a connection: whatever comes is its end.
            _ = reader.read_u8() => return Ok(()),
        };
        let Some(event) = event else {
            return Ok(());
        };
        say(&mut writer, &Answer::Ok(event)).await?;
    }
}

async fn answer(request: Request, answers: &Arc<dyn Answers>) -> Answer {
    match request {
        Request::Status => Answer::Ok(answers.status()),
        Request::Reload => {
            let answers = Arc::clone(answers);
            match tokio::task::spawn_blocking(move || answers.reload()).await {
                Ok(Ok(())) => Answer::Ok(Value::Null),
                Ok(Err(reason)) => Answer::Error(reason),
                Err(_) => Answer::Error("a defect prevented it".to_owned()),
            }
        }
        Request::Stop => {
            answers.stop();
            Answer::Ok(Value::Null)
        }
        // Answered by many lines, above.
        Request::Prefetch => Answer::Ok(Value::Null),
    }
}
