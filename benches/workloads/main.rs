//! The workloads that the read engine is judged by, on a real mount of the bundled emulator.
//!
//! `cargo bench --bench workloads` runs all of them; `cargo bench --bench workloads -- W1 W6` some, and
//! `--requests` prints what each asked for. Every row shows
//! what the mount took next to what raw HTTP took for the same bytes from the same server in the same run.
//! Times hold only for the machine and the hour: compare columns, not runs.
//!
//! Below it, where there is one, stands what `rclone mount` took for the same job.
//!
//! It needs /dev/fuse; as root it drops the page cache where a row says so, and takes 3 GiB of disk below the
//! temporary directory. W3m runs where ffmpeg is installed.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "it fails by panicking"
)]

#[path = "../../tests/common/mod.rs"]
mod common;
mod peers;
mod raw;
mod usage;

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{Mount, MountBuilder, Server, can_mount};
use interactionfs::emulator::GeneratedSpec;
use usage::Usage;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// The corpus: 500 interactions of three files, with a few large recordings among them.
fn corpus() -> GeneratedSpec {
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
struct Wire {
    latency: Duration,
    bytes_per_second: Option<u64>,
}

const LOCAL: Wire = Wire {
    latency: Duration::ZERO,
    bytes_per_second: None,
};
const FAR: Wire = Wire {
    latency: Duration::from_millis(30),
    bytes_per_second: None,
};
const NARROW: Wire = Wire {
    latency: Duration::from_millis(30),
    bytes_per_second: Some(10_000_000),
};
const MIDDLE: Wire = Wire {
    latency: Duration::from_millis(30),
    bytes_per_second: Some(50_000_000),
};

/// What one job took.
struct Measured {
    seconds: f64,
    requests: u64,
    sent: u64,
    usage: Usage,
}

struct Bench {
    server: Server,
    wanted: Vec<String>,
    /// Print what was asked for, job by job.
    tells_requests: bool,
    rclone: Option<PathBuf>,
}

fn main() {
    if !can_mount() {
        return;
    }
    let wanted = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    let bench = Bench {
        server: Server::generated(corpus()),
        wanted,
        tells_requests: std::env::args().any(|argument| argument == "--requests"),
        rclone: peers::rclone(),
    };
    println!(
        "{:<34} {:>8} {:>8} {:>6} {:>9} {:>9} {:>9} {:>7} {:>8}",
        "workload",
        "seconds",
        "raw s",
        "ratio",
        "requests",
        "allowed",
        "sent/read",
        "cpu s",
        "rss MiB"
    );
    bench.sequential();
    bench.first_bytes();
    bench.seeks();
    bench.media();
    bench.listing();
    bench.walk();
    bench.random();
    bench.parallel();
    bench.many_readers();
}

impl Bench {
    fn wants(&self, name: &str) -> bool {
        self.wanted.is_empty() || self.wanted.iter().any(|wanted| wanted == name)
    }

    fn wire(&self, wire: Wire) {
        self.server.set_wire(wire.latency, wire.bytes_per_second);
    }

    /// A cold mount with everything listed, so that jobs pay for content only.
    fn mount(&self, options: &[&str]) -> Mount {
        self.wire(LOCAL);
        let mut builder = MountBuilder::new(&self.server);
        for option in options {
            builder = builder.option(*option);
        }
        let mount = builder.mount();
        mount.shell("ls -lR . > /dev/null");
        mount
    }

    /// The same job on a cold mount by each peer.
    fn peers(&self, wire: Wire, paths: &[PathBuf], read: u64, job: impl Fn(&[PathBuf])) {
        let Some(rclone) = &self.rclone else { return };
        for mode in peers::MODES {
            self.wire(LOCAL);
            let peer = peers::Peer::mount(rclone, &self.server, paths, mode);
            self.wire(wire);
            let paths = peer.paths();
            let done = self.measure_process(peer.pid(), || job(&paths));
            row(
                &format!("    rclone, cache {mode}"),
                &done,
                f64::NAN,
                "",
                read,
            );
        }
    }

    fn measure(&self, mount: &Mount, job: impl FnOnce()) -> Measured {
        self.measure_process(mount.pid(), job)
    }

    fn measure_process(&self, process: u32, job: impl FnOnce()) -> Measured {
        let requests = self.server.all_requests();
        let sent = self.server.bytes_sent();
        let before = Usage::of(process);
        let start = Instant::now();
        job();
        let seconds = start.elapsed().as_secs_f64();
        if self.tells_requests {
            let asked = self.server.describe();
            let skip = usize::try_from(requests).unwrap_or(0);
            for line in asked.lines().skip(skip) {
                println!("    {line}");
            }
        }
        Measured {
            seconds,
            requests: self.server.all_requests() - requests,
            sent: self.server.bytes_sent() - sent,
            usage: Usage::of(process).since(&before),
        }
    }

    /// Seconds that raw HTTP takes for the same.
    fn raw(&self, wire: Wire, connections: usize, asks: Vec<raw::Ask>) -> f64 {
        self.wire(wire);
        raw::read(&self.server, connections, asks)
    }

    fn sequential(&self) {
        for (name, wire) in [("W1", LOCAL), ("W1b", FAR)] {
            if !self.wants(name) {
                continue;
            }
            let mount = self.mount(&[]);
            let path = recording(&mount, 1024 * MIB, 0);
            let raw = self.raw(wire, 1, vec![raw::Ask::whole(&path)]);
            let cold = self.measure(&mount, || read_through(&path));
            row(
                &format!("{name} 1 GiB front to end, cold"),
                &cold,
                raw,
                "2",
                1024 * MIB,
            );
            if name == "W1" {
                self.warm(&mount, &path);
            }
            self.peers(wire, &[path], 1024 * MIB, |paths| read_through(&paths[0]));
        }
    }

    /// The gigabyte again: from the disk, and from the page cache.
    fn warm(&self, mount: &Mount, path: &Path) {
        let native = largest_file(mount.cache());
        drop_page_cache();
        let start = Instant::now();
        read_through(&native);
        let natively = start.elapsed().as_secs_f64();
        drop_page_cache();
        let again = self.measure(mount, || read_through(path));
        row(
            "W1 again, page cache dropped (raw: native)",
            &again,
            natively,
            "0",
            1024 * MIB,
        );
        let start = Instant::now();
        read_through(&native);
        let natively = start.elapsed().as_secs_f64();
        let warm = self.measure(mount, || read_through(path));
        row(
            "W1 again, page cache warm (raw: native)",
            &warm,
            natively,
            "0",
            1024 * MIB,
        );
    }

    fn first_bytes(&self) {
        if !self.wants("W2") {
            return;
        }
        let mount = self.mount(&[]);
        let path = recording(&mount, 10 * MIB, 0);
        let raw = self.raw(FAR, 1, vec![raw::Ask::range(&path, 0, 4 * KIB)]);
        let done = self.measure(&mount, || read_pieces(&path, &[(0, 4 * KIB)]));
        row("W2 first 4 KiB of 10 MiB", &done, raw, "1", 4 * KIB);
        self.peers(FAR, &[path], 4 * KIB, |paths| {
            read_pieces(&paths[0], &[(0, 4 * KIB)]);
        });
    }

    fn seeks(&self) {
        let pieces: Vec<(u64, u64)> = std::iter::once((0, 4 * KIB))
            .chain([10, 30, 50, 70, 90].map(|percent| (percent * MIB, 256 * KIB)))
            .collect();
        for (name, wire) in [("W3", FAR), ("W3n", NARROW)] {
            if !self.wants(name) {
                continue;
            }
            let mount = self.mount(&[]);
            let path = recording(&mount, 100 * MIB, 0);
            let asks = pieces
                .iter()
                .map(|(start, length)| raw::Ask::range(&path, *start, *length))
                .collect();
            let raw = self.raw(wire, 1, asks);
            let done = self.measure(&mount, || read_pieces(&path, &pieces));
            row(
                &format!("{name} header and 5 seeks in 100 MiB"),
                &done,
                raw,
                "6",
                4 * KIB + 5 * 256 * KIB,
            );
            self.peers(wire, &[path], 4 * KIB + 5 * 256 * KIB, |paths| {
                read_pieces(&paths[0], &pieces);
            });
        }
    }

    fn media(&self) {
        let missing = Command::new("ffprobe").arg("-version").output().is_err();
        if !self.wants("W3m") || missing {
            return;
        }
        let mount = self.mount(&[]);
        let path = recording(&mount, 100 * MIB, 0);
        self.wire(FAR);
        let job = || {
            run(Command::new("ffprobe").args(["-v", "error"]).arg(&path));
            run(Command::new("ffmpeg")
                .args(["-v", "error", "-ss", "300", "-t", "5", "-i"])
                .arg(&path)
                .args(["-f", "null", "-"]));
        };
        let cold = self.measure(&mount, job);
        let held = self.measure(&mount, job);
        row(
            "W3m ffprobe, ffmpeg -ss 300 (raw: held)",
            &cold,
            held.seconds,
            "3",
            0,
        );
    }

    fn listing(&self) {
        if !self.wants("W4") {
            return;
        }
        self.wire(FAR);
        let mount = MountBuilder::new(&self.server).mount();
        let done = self.measure(&mount, || {
            mount.shell("ls -lR . > /dev/null");
        });
        row("W4 ls -lR of 500 x 3 files", &done, f64::NAN, "2", 0);
    }

    fn walk(&self) {
        if !self.wants("W5") {
            return;
        }
        let mount = self.mount(&[]);
        let asks = transcripts(&mount)
            .iter()
            .map(|path| raw::Ask::whole(path))
            .collect();
        let raw = self.raw(FAR, 8, asks);
        let done = self.measure(&mount, || {
            mount.shell_output("grep -rl refund --include=transcript.json . > /dev/null");
        });
        row(
            "W5 grep in 500 transcripts (raw: 8)",
            &done,
            raw,
            "502",
            500 * 20_000,
        );
    }

    fn random(&self) {
        let mut random = 0x2545_f491_4f6c_dd1d_u64;
        let pieces: Vec<(u64, u64)> = (0..200)
            .map(|_| {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                (random % (100 * MIB - 64 * KIB), 64 * KIB)
            })
            .collect();
        for (name, wire, threads, allowed) in [
            ("W6", FAR, 1, "12"),
            ("W6t", FAR, 4, "12"),
            ("W6n", NARROW, 1, "16"),
        ] {
            if !self.wants(name) {
                continue;
            }
            let mount = self.mount(&[]);
            let path = recording(&mount, 100 * MIB, 0);
            let asks = pieces
                .iter()
                .map(|(start, length)| raw::Ask::range(&path, *start, *length))
                .collect();
            let raw = self.raw(wire, threads, asks);
            let job = |path: &Path| {
                std::thread::scope(|scope| {
                    for part in pieces.chunks(pieces.len() / threads) {
                        scope.spawn(move || read_pieces(path, part));
                    }
                });
            };
            let done = self.measure(&mount, || job(&path));
            row(
                &format!("{name} 200 random 64 KiB, {threads} thread(s)"),
                &done,
                raw,
                allowed,
                200 * 64 * KIB,
            );
            self.peers(wire, &[path], 200 * 64 * KIB, |paths| job(&paths[0]));
        }
    }

    fn parallel(&self) {
        for (name, options, allowed) in [
            ("W7", &[][..], "20"),
            ("W7s", &["--requests-per-minute=60"][..], "8"),
        ] {
            if !self.wants(name) {
                continue;
            }
            let mount = self.mount(options);
            let paths: Vec<PathBuf> = (0..4).map(|n| recording(&mount, 100 * MIB, n)).collect();
            let asks = paths.iter().map(|path| raw::Ask::whole(path)).collect();
            let raw = self.raw(MIDDLE, 4, asks);
            let done = self.measure(&mount, || read_all(&paths, None));
            row(
                &format!("{name} 4 x 100 MiB at 50 MB/s each"),
                &done,
                raw,
                allowed,
                400 * MIB,
            );
            if name == "W7" {
                self.peers(MIDDLE, &paths, 400 * MIB, |paths| read_all(paths, None));
            }
        }
    }

    fn many_readers(&self) {
        if !self.wants("P64") {
            return;
        }
        let mount = self.mount(&[]);
        let paths: Vec<PathBuf> = (0..64).map(|n| recording(&mount, 10 * MIB, n)).collect();
        let asks = paths.iter().map(|path| raw::Ask::whole(path)).collect();
        let raw = self.raw(LOCAL, 16, asks);
        let mut times = Vec::new();
        let done = self.measure(&mount, || read_all(&paths, Some(&mut times)));
        times.sort_by(f64::total_cmp);
        row(
            "P64 64 readers of 10 MiB (raw: 16)",
            &done,
            raw,
            "128",
            640 * MIB,
        );
        println!(
            "{:<34} {:>8.2}",
            "    slowest reader / median",
            times[63] / times[32]
        );
        self.peers(LOCAL, &paths, 640 * MIB, |paths| read_all(paths, None));
    }
}

fn row(name: &str, measured: &Measured, raw: f64, allowed: &str, read: u64) {
    #[allow(clippy::cast_precision_loss, reason = "shown with two digits")]
    let fetched = if read == 0 {
        f64::NAN
    } else {
        measured.sent as f64 / read as f64
    };
    println!(
        "{name:<34} {:>8.3} {raw:>8.3} {:>6.2} {:>9} {allowed:>9} {fetched:>9.2} {:>7.2} {:>8}",
        measured.seconds,
        measured.seconds / raw,
        measured.requests,
        measured.usage.cpu_seconds,
        measured.usage.peak_rss_mib,
    );
}

/// The nth recording of about this size in the tree.
fn recording(mount: &Mount, size: u64, nth: usize) -> PathBuf {
    let found = mount.shell(&format!(
        "find . -name callRecording.wav -size -{}c -size +{}c | sort",
        size + 1,
        size - 1
    ));
    let line = found
        .lines()
        .nth(nth)
        .unwrap_or_else(|| panic!("no recording {nth} of {size} bytes"));
    mount.path(&line[2..])
}

fn transcripts(mount: &Mount) -> Vec<PathBuf> {
    mount
        .shell("find . -name transcript.json")
        .lines()
        .map(|line| mount.path(&line[2..]))
        .collect()
}

fn read_through(path: &Path) {
    let mut file = File::open(path).unwrap();
    let mut buffer = vec![0; 512 << 10];
    while file.read(&mut buffer).unwrap() > 0 {}
}

fn read_pieces(path: &Path, pieces: &[(u64, u64)]) {
    let file = File::open(path).unwrap();
    for (start, length) in pieces {
        let mut buffer = vec![0; usize::try_from(*length).unwrap()];
        file.read_exact_at(&mut buffer, *start).unwrap();
    }
}

fn read_all(paths: &[PathBuf], times: Option<&mut Vec<f64>>) {
    let measured: Vec<f64> = std::thread::scope(|scope| {
        let readers: Vec<_> = paths
            .iter()
            .map(|path| {
                scope.spawn(move || {
                    let start = Instant::now();
                    read_through(path);
                    start.elapsed().as_secs_f64()
                })
            })
            .collect();
        readers
            .into_iter()
            .map(|reader| reader.join().unwrap())
            .collect()
    });
    if let Some(times) = times {
        *times = measured;
    }
}

fn run(command: &mut Command) {
    let status = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
}

fn largest_file(directory: &Path) -> PathBuf {
    let output = Command::new("find")
        .arg(directory)
        .args(["-type", "f", "-printf", "%b %p\\n"])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let line = text
        .lines()
        .max_by_key(|line| line.split(' ').next().and_then(|n| n.parse::<u64>().ok()))
        .unwrap();
    PathBuf::from(line.split_once(' ').unwrap().1)
}

/// As root; elsewhere the rows that need it show the warm cache.
fn drop_page_cache() {
    rustix::fs::sync();
    let _ = std::fs::write("/proc/sys/vm/drop_caches", "3");
}
