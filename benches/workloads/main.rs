//! The workloads that the read engine is judged by, on real mounts of the bundled emulator.
//!
//! `cargo bench --bench workloads` runs all of them; `cargo bench --bench workloads -- W1 W6` some. Each is done by
//! raw HTTP, by the peers that are installed, by an older build where one is named, and by interactionfs, from the
//! same server and by turns. Below stands each figure that has a limit beside it; one that is missed ends the bench
//! with 1. Seconds are the best of the rounds, requests and bytes the most. They hold only for the machine and the
//! hour, and limits for a machine that does nothing else.
//!
//! It needs /dev/fuse; as root it drops the page cache where a row says so, and takes 4 GiB of disk below the
//! temporary directory. W3m runs where ffmpeg is installed.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::cast_precision_loss,
    reason = "it fails by panicking, and prints its figures with a few digits"
)]

mod again;
mod bench;
mod ceiling;
mod cleanup;
#[path = "../../tests/common/mod.rs"]
mod common;
mod corpus;
mod index;
mod job;
mod limits;
mod measure;
mod peers;
mod raw;
mod table;
mod usage;
mod workload;

use std::cell::RefCell;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use bench::Bench;
use common::{Server, can_mount};
use corpus::{Corpus, MIB};

const WORKLOADS: [&str; 16] = [
    "W1", "W1b", "W8", "W2", "W3", "W3n", "W3m", "W4", "W5", "W6", "W6t", "W6n", "W7", "W7s",
    "P64", "P64n",
];

const USAGE: &str = "\
cargo bench --bench workloads -- [WORKLOAD…] [--rounds=3] [--no-peers] [--list-peers] [--requests]

WORKLOAD     W1 W1b W8 W2 W3 W3n W3m W4 W5 W6 W6t W6n W7 W7s P64 P64n; all if none is named
--rounds=N   do each so often, and show the best
--no-peers   without rclone and httpdirfs, which take most of the time
--list-peers let them list everything before they are measured, as interactionfs has; else their mounts are fresh
--requests   print what the server was asked for

RCLONE and HTTPDIRFS name the peers' programs where they are not on the PATH, and INTERACTIONFS_BASELINE
another build of interactionfs to compare with.";

/// What was asked for.
struct Options {
    wanted: Vec<String>,
    rounds: u32,
    with_peers: bool,
    lists_peers: bool,
    tells_requests: bool,
}

fn main() -> ExitCode {
    if std::env::args().any(|argument| argument == "--help") {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    let Some(options) = options() else {
        println!("{USAGE}");
        return ExitCode::from(2);
    };
    let baseline = std::env::var_os("INTERACTIONFS_BASELINE").map(PathBuf::from);
    if let Some(missing) = baseline.as_ref().filter(|program| !program.is_file()) {
        eprintln!("INTERACTIONFS_BASELINE: {} is no file", missing.display());
        return ExitCode::from(2);
    }
    if !can_mount() {
        return ExitCode::SUCCESS;
    }
    let place = cleanup::prepare();
    let missed = measure_all(&options, baseline);
    drop(place);
    if missed.is_empty() {
        println!("no limit was missed");
        return ExitCode::SUCCESS;
    }
    println!("{} limits were missed:", missed.len());
    for missed in missed {
        println!("    {missed}");
    }
    ExitCode::FAILURE
}

/// `None` if what was asked for is not known.
fn options() -> Option<Options> {
    let mut options = Options {
        wanted: Vec::new(),
        rounds: 3,
        with_peers: true,
        lists_peers: false,
        tells_requests: false,
    };
    for argument in std::env::args().skip(1) {
        match &*argument {
            // Cargo's own.
            "--bench" => {}
            "--no-peers" => options.with_peers = false,
            "--list-peers" => options.lists_peers = true,
            "--requests" => options.tells_requests = true,
            other => match other.strip_prefix("--rounds=") {
                Some(rounds) => options.rounds = rounds.parse().ok().filter(|&n| n > 0)?,
                None if WORKLOADS.contains(&other) => options.wanted.push(argument),
                None => return None,
            },
        }
    }
    Some(options)
}

fn measure_all(options: &Options, baseline: Option<PathBuf>) -> Vec<String> {
    let server = Server::generated(corpus::spec());
    let corpus = Corpus::of(&server);
    let bench = Bench {
        server,
        peers: if options.with_peers {
            peers::installed()
        } else {
            Vec::new()
        },
        baseline,
        rounds: options.rounds,
        lists_peers: options.lists_peers,
        tells_requests: options.tells_requests,
        missed: RefCell::default(),
    };
    let wants = |name: &str| {
        options.wanted.is_empty() || options.wanted.iter().any(|wanted| wanted == name)
    };
    table::head();
    for workload in workload::all(&corpus) {
        if workload.name == "W3m" && Command::new("ffprobe").arg("-version").output().is_err() {
            println!("W3m: not measured, ffmpeg is not installed");
        } else if wants(workload.name) {
            bench.run(&workload);
        }
        if workload.name == "W1b" && wants("W8") {
            bench.again(&corpus.recordings(1024 * MIB, 1)[0]);
        }
    }
    bench.missed.take()
}
