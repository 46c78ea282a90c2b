//! What is read: the server's generated interactions, and the wire to them.

use std::path::PathBuf;
use std::time::Duration;

use interactionfs::emulator::GeneratedSpec;

use super::common::{Mount, Server};

pub(crate) const KIB: u64 = 1 << 10;
pub(crate) const MIB: u64 = 1 << 20;

/// 500 interactions of three files, with a few large recordings among them.
pub(crate) fn spec() -> GeneratedSpec {
    let mut big = vec![1024 * MIB, 10 * MIB];
    big.extend([100 * MIB; 6]);
    big.extend([10 * MIB; 64]);
    GeneratedSpec {
        interactions: 500,
        days: 6,
        recording_bytes: 400 * KIB,
        big_recordings: big,
        transcript_bytes: 20_000,
        screen_bytes: MIB,
        ..GeneratedSpec::default()
    }
}

/// The wire that the server plays.
#[derive(Clone, Copy)]
pub(crate) struct Wire {
    pub(crate) latency: Duration,
    /// Of each connection.
    pub(crate) bytes_per_second: Option<u64>,
}

pub(crate) const LOCAL: Wire = Wire::of(0, None);
pub(crate) const FAR: Wire = Wire::of(30, None);
pub(crate) const NARROW: Wire = Wire::of(30, Some(10_000_000));
pub(crate) const MIDDLE: Wire = Wire::of(30, Some(50_000_000));

impl Wire {
    const fn of(milliseconds: u64, bytes_per_second: Option<u64>) -> Self {
        Self {
            latency: Duration::from_millis(milliseconds),
            bytes_per_second,
        }
    }
}

/// A file of the server, by its path in a mount.
#[derive(Clone, Debug)]
pub(crate) struct Listed {
    pub(crate) path: PathBuf,
    pub(crate) size: u64,
}

/// All content files, in the order of their paths.
pub(crate) struct Corpus(Vec<Listed>);

impl Corpus {
    /// As a mount shows them.
    pub(crate) fn of(server: &Server) -> Self {
        let mount = Mount::of(server);
        let found =
            mount.shell("find . -type f ! -name interaction.json -printf '%s %P\\n' | sort -k 2");
        let files = found.lines().map(|line| {
            let (size, path) = line.split_once(' ').unwrap();
            Listed {
                path: path.into(),
                size: size.parse().unwrap(),
            }
        });
        Self(files.collect())
    }

    pub(crate) fn all(&self) -> Vec<Listed> {
        self.0.clone()
    }

    /// The first `count` recordings of exactly this size.
    pub(crate) fn recordings(&self, size: u64, count: usize) -> Vec<Listed> {
        let found: Vec<_> = self
            .named("callRecording.wav")
            .filter(|file| file.size == size)
            .take(count)
            .cloned()
            .collect();
        assert_eq!(found.len(), count, "recordings of {size} bytes");
        found
    }

    pub(crate) fn transcripts(&self) -> Vec<Listed> {
        self.named("transcript.json").cloned().collect()
    }

    fn named(&self, name: &str) -> impl Iterator<Item = &Listed> {
        self.0.iter().filter(move |file| file.path.ends_with(name))
    }
}
