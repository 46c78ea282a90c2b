//! The workloads: what is read over which wire, and what that may take.

use super::corpus::{Corpus, FAR, KIB, LOCAL, Listed, MIB, MIDDLE, NARROW, Wire};
use super::job::{self, Job, Piece};
use super::limits::Limit::{
    self, Fetched, FetchedBytes, Peer, Raw, RawAnd, Requests, Seconds, Slowest,
};
use super::raw::Ask;

/// A job, done on a cold mount, and once more on the same mount when the page cache has been dropped.
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) wire: Wire,
    pub(crate) options: &'static [&'static str],
    /// All that a peer sees.
    pub(crate) files: Vec<Listed>,
    pub(crate) job: Job,
    /// It starts at the root, not with the files.
    pub(crate) walks: bool,
    /// Ours has listed everything before, so that it pays for content only; what listing costs it, W4 says.
    pub(crate) listed: bool,
    /// Bytes that it reads, where it is known.
    pub(crate) read: u64,
    /// The fewest requests that the API makes possible.
    pub(crate) ideal: u64,
    /// The same by plain HTTP, on so many connections.
    pub(crate) raw: Option<(usize, Vec<Ask>)>,
    /// Whether the FUSE ceiling is measured beside, for files that are alike.
    pub(crate) has_ceiling: bool,
    pub(crate) limits: Vec<Limit>,
}

/// All of them, in the order in which they are done.
pub(crate) fn all(corpus: &Corpus) -> Vec<Workload> {
    let mut all = sequential(corpus);
    all.push(first_bytes(corpus));
    all.extend(seeks(corpus));
    all.push(media(corpus));
    all.extend(walks(corpus));
    all.extend(random(corpus));
    all.extend(parallel(corpus));
    all.extend(many_readers(corpus));
    all
}

/// Whole files, all at once, each on a connection of its own up to so many.
fn whole(name: &'static str, title: &'static str, files: Vec<Listed>, at_once: usize) -> Workload {
    Workload {
        name,
        title,
        wire: LOCAL,
        options: &[],
        job: job::all_at_once(),
        walks: false,
        listed: true,
        read: files.iter().map(|file| file.size).sum(),
        ideal: files.len() as u64,
        raw: Some((at_once, whole_asks(&files))),
        has_ceiling: false,
        limits: Vec::new(),
        files,
    }
}

/// Pieces of one file.
fn some(
    name: &'static str,
    title: &'static str,
    file: Vec<Listed>,
    pieces: &[Piece],
    threads: usize,
) -> Workload {
    let asks = pieces
        .iter()
        .map(|(start, length)| Ask::range(&file[0].path, *start, *length))
        .collect();
    Workload {
        wire: FAR,
        job: job::pieces(pieces.to_vec(), threads),
        read: pieces.iter().map(|(_, length)| length).sum(),
        ideal: pieces.len() as u64,
        raw: Some((threads, asks)),
        ..whole(name, title, file, 1)
    }
}

fn whole_asks(files: &[Listed]) -> Vec<Ask> {
    files.iter().map(|file| Ask::whole(&file.path)).collect()
}

fn sequential(corpus: &Corpus) -> Vec<Workload> {
    let file = corpus.recordings(1024 * MIB, 1);
    let near = Workload {
        job: job::through(),
        limits: vec![Requests(2), Raw(2.5), Peer(0.45)],
        ..whole("W1", "1 GiB front to end", file.clone(), 1)
    };
    let far = Workload {
        wire: FAR,
        job: job::through(),
        limits: vec![Requests(2)],
        ..whole("W1b", "1 GiB front to end, 30 ms away", file, 1)
    };
    vec![near, far]
}

fn first_bytes(corpus: &Corpus) -> Workload {
    let file = corpus.recordings(10 * MIB, 1);
    Workload {
        limits: vec![Requests(1), RawAnd(0.010)],
        ..some("W2", "first 4 KiB of 10 MiB", file, &[(0, 4 * KIB)], 1)
    }
}

fn seeks(corpus: &Corpus) -> Vec<Workload> {
    let file = corpus.recordings(100 * MIB, 1);
    let pieces: Vec<Piece> = std::iter::once((0, 4 * KIB))
        .chain([10, 30, 50, 70, 90].map(|percent| (percent * MIB, 256 * KIB)))
        .collect();
    let title = "header and 5 seeks of 256 KiB in 100 MiB";
    let fast = Workload {
        limits: vec![Requests(6), Raw(1.2), Fetched(8.0)],
        ..some("W3", title, file.clone(), &pieces, 1)
    };
    let narrow = Workload {
        wire: NARROW,
        limits: vec![Requests(6), Raw(1.3)],
        ..some("W3n", "the same at 10 MB/s", file, &pieces, 1)
    };
    vec![fast, narrow]
}

fn media(corpus: &Corpus) -> Workload {
    Workload {
        wire: FAR,
        job: job::media(),
        read: 0,
        ideal: 2,
        raw: None,
        limits: vec![Requests(3), Peer(0.4)],
        ..whole(
            "W3m",
            "ffprobe, then ffmpeg -ss 300 -t 5",
            corpus.recordings(100 * MIB, 1),
            1,
        )
    }
}

fn walks(corpus: &Corpus) -> Vec<Workload> {
    let list = Workload {
        wire: FAR,
        job: job::shell("ls -lR . > /dev/null"),
        walks: true,
        listed: false,
        read: 0,
        // The token, and one search.
        ideal: 2,
        raw: None,
        limits: vec![Requests(2), Seconds(0.3)],
        ..whole("W4", "ls -lR of 500 × 3 files", corpus.all(), 1)
    };
    let transcripts = corpus.transcripts();
    let grep = Workload {
        wire: FAR,
        job: job::shell("grep -rl refund --include=transcript.json . > /dev/null"),
        walks: true,
        read: transcripts.iter().map(|file| file.size).sum(),
        ideal: transcripts.len() as u64,
        raw: Some((8, whole_asks(&transcripts))),
        limits: vec![Requests(502), Raw(1.0)],
        ..whole("W5", "grep in 500 transcripts", corpus.all(), 8)
    };
    vec![list, grep]
}

fn random(corpus: &Corpus) -> Vec<Workload> {
    let file = corpus.recordings(100 * MIB, 1);
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let pieces: Vec<Piece> = (0..200)
        .map(|_| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            (random % (100 * MIB - 64 * KIB), 64 * KIB)
        })
        .collect();
    [
        ("W6", "200 random 64 KiB in 100 MiB", FAR, 1, 12),
        ("W6t", "the same, 4 threads", FAR, 4, 12),
        ("W6n", "the same, 1 thread at 10 MB/s", NARROW, 1, 16),
    ]
    .into_iter()
    .map(|(name, title, wire, threads, most)| Workload {
        wire,
        // The whole file in one.
        ideal: 1,
        limits: vec![Requests(most), Peer(1.0), FetchedBytes(100 * MIB)],
        ..some(name, title, file.clone(), &pieces, threads)
    })
    .collect()
}

fn parallel(corpus: &Corpus) -> Vec<Workload> {
    let files = corpus.recordings(100 * MIB, 4);
    let idle = Workload {
        wire: MIDDLE,
        limits: vec![Requests(20), Raw(0.5), Peer(1.0)],
        ..whole(
            "W7",
            "4 × 100 MiB at 50 MB/s a connection",
            files.clone(),
            4,
        )
    };
    let scarce = Workload {
        wire: MIDDLE,
        options: &["--requests-per-minute=60"],
        limits: vec![Requests(8), Raw(1.05)],
        ..whole("W7s", "the same with 60 requests a minute", files, 4)
    };
    vec![idle, scarce]
}

fn many_readers(corpus: &Corpus) -> Vec<Workload> {
    let files = corpus.recordings(10 * MIB, 64);
    let near = Workload {
        has_ceiling: true,
        limits: vec![Requests(128), Raw(1.3), Slowest(3.0)],
        ..whole("P64", "64 readers of 64 files of 10 MiB", files.clone(), 16)
    };
    let middle = Workload {
        wire: MIDDLE,
        limits: vec![Requests(128), Raw(1.3), Slowest(3.0)],
        ..whole("P64n", "the same at 50 MB/s a connection", files, 16)
    };
    vec![near, middle]
}
