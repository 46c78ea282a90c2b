//! A small account and every byte of it, as the generator says it is.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use interactionfs::emulator::{Corpus, GeneratedSpec, Options, Switches};

use crate::common::{Mount, Server};

/// A content file: where it is in the tree, and what it holds.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) below: PathBuf,
    pub(crate) bytes: Arc<[u8]>,
    /// Whether it lies in an interaction to which faults happen that take names away.
    pub(crate) is_unlucky: bool,
}

/// An account that is served.
pub(crate) struct World {
    pub(crate) server: Server,
    pub(crate) files: Vec<Known>,
}

impl World {
    /// An account of so many interactions, with recordings of these lengths among them.
    pub(crate) fn new(interactions: u64, big_recordings: Vec<u64>) -> Self {
        let server = Server::start(Options {
            corpus: Corpus::Generated(GeneratedSpec {
                interactions,
                days: 6,
                recording_bytes: 700_001,
                big_recordings,
                transcript_bytes: 20_000,
                screen_bytes: 400_003,
                ..GeneratedSpec::default()
            }),
            switches: Switches {
                requests_per_minute: None,
                ..Switches::default()
            },
            ..Options::default()
        });
        let account = server.api().account();
        let mut files = Vec::new();
        for guid in account.guids() {
            for item in account.get(guid).unwrap().content {
                let extension = match item.key.as_str() {
                    "transcript" => "json",
                    "callRecording" => "wav",
                    _ => "webm",
                };
                files.push(Known {
                    below: format!("{guid}/{}.{extension}", item.key).into(),
                    bytes: item.body.open().read(0..u64::MAX).into(),
                    is_unlucky: false,
                });
            }
        }
        Self { server, files }
    }

    /// Reads every file of a mount; what was wrong, if anything was. A file that can't be read is no lie; `must_read`
    /// says whether it is allowed all the same.
    pub(crate) fn verify(&self, mount: &Mount, must_read: bool) -> Verified {
        let mut outcome = Verified::default();
        for known in &self.files {
            match std::fs::read(mount.path(&known.below)) {
                Ok(bytes) if *bytes == *known.bytes => outcome.right += 1,
                Ok(bytes) => outcome.complain(format!(
                    "{}: {} bytes in place of {}, first difference at {:?}",
                    known.below.display(),
                    bytes.len(),
                    known.bytes.len(),
                    bytes.iter().zip(&*known.bytes).position(|(a, b)| a != b)
                )),
                Err(error) if must_read => {
                    outcome.complain(format!("{}: {error}", known.below.display()));
                }
                Err(_) => outcome.unread += 1,
            }
        }
        outcome
    }
}

/// What a verification of a whole mount found.
#[derive(Clone, Debug, Default)]
pub(crate) struct Verified {
    /// Files that were right to the last byte.
    pub(crate) right: u64,
    /// Files that could not be read.
    pub(crate) unread: u64,
    pub(crate) wrong: Vec<String>,
}

impl Verified {
    fn complain(&mut self, what: String) {
        self.wrong.push(what);
    }
}

/// How long a system call may take before it counts as hung: far beyond all deadlines set here, because the machine may be
/// loaded, too.
pub(crate) const HUNG: Duration = Duration::from_secs(120);
