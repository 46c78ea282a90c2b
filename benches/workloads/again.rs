//! W8: the gigabyte of W1 again, from the cache on disk: against the same bytes read natively from there, and, through
//! the daemon as an ordinary user reads it, against the FUSE ceiling.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::bench::{Bench, drop_page_cache};
use super::ceiling::{Ceiling, Source};
use super::common::Mount;
use super::corpus::{LOCAL, Listed};
use super::job::{self, read_through};
use super::limits::{Beside, Limit};
use super::measure::{Failed, Measured, counted, measure};
use super::table::Row;

/// The kernel's own readahead window, in KiB: an ordinary user's mount can't widen it.
const WINDOW_KIB: &str = "128";

/// Somebody's times, the best of all rounds.
struct Reader<'a> {
    name: &'static str,
    read: Box<dyn Fn() -> Result<Measured, Failed> + 'a>,
    best: Option<Result<Measured, Failed>>,
}

impl Bench {
    /// Does it, and prints what it took.
    pub(crate) fn again(&self, file: &Listed) {
        self.wire(LOCAL);
        if rustix::process::geteuid().is_root() {
            self.passed_through(file);
        } else {
            println!("W8  as root: not measured, we are not");
        }
        self.through_the_daemon(file);
    }

    /// Complete files are handed to the kernel.
    fn passed_through(&self, file: &Listed) {
        let mount = Mount::of(&self.server);
        if let Err(Failed(why)) = self.ours(&mount, file) {
            return println!("W8  {why}");
        }
        let native = largest_file(mount.cache());
        let states: [(&str, &dyn Fn()); 2] = [
            ("page cache dropped", &drop_page_cache),
            ("page cache warm", &|| {}),
        ];
        for (title, prepare) in states {
            println!("W8  1 GiB again, {title}; ideally 0 requests");
            let mut readers = [
                self.native("the same natively", native.clone()),
                Reader::of("interactionfs", || self.ours(&mount, file)),
            ];
            self.by_turns(&mut readers, prepare, file.size);
            self.against("W8", &readers, 1.1);
        }
    }

    /// They are not where the daemon may not, or where a handle is open from before the file was complete. The latter
    /// can be had as root. What is read then lies on the disk, or in the page cache as part of the cache's file.
    fn through_the_daemon(&self, file: &Listed) {
        let mount = Mount::of(&self.server);
        let ours = mount.path(&file.path);
        let kept = File::open(&ours);
        if let Err(Failed(why)) = self.ours(&mount, file) {
            return println!("W8u {why}");
        }
        narrow(&mount.root());
        let native = largest_file(mount.cache());
        let memory = Ceiling::mount(Source::memory(), file.size, 1);
        let disk = File::open(&native)
            .and_then(|native| Ceiling::mount(Source::File(native), file.size, 1));
        let (Ok(memory), Ok(disk)) = (memory, disk) else {
            return println!("W8u the FUSE ceiling can't be mounted");
        };
        println!("W8u 1 GiB again as an ordinary user, page cache dropped; ideally 0 requests");
        let mut readers = [
            self.native("FUSE ceiling, the same file", disk.file()),
            Reader::of("interactionfs", || self.ours(&mount, file)),
        ];
        self.by_turns(&mut readers, &drop_page_cache, file.size);
        self.against("W8u", &readers, 1.2);
        println!("W8u 1 GiB again as an ordinary user, the cache's file in memory");
        let mut readers = [
            self.native("FUSE ceiling, from memory", memory.file()),
            self.native("FUSE ceiling, the same file", disk.file()),
            Reader::of("interactionfs", || self.ours(&mount, file)),
        ];
        let only_ours = || {
            for path in [&memory.file(), &disk.file(), &ours] {
                forget(path);
            }
            let _ = read_through(&native);
        };
        self.by_turns(&mut readers, &only_ours, file.size);
        self.against("W8u", &readers, 1.2);
        drop(kept);
    }

    fn ours(&self, mount: &Mount, file: &Listed) -> Result<Measured, Failed> {
        let files = [file.path.clone()];
        measure(&self.server, mount, &files, &job::through())
    }

    fn native(&self, name: &'static str, path: PathBuf) -> Reader<'_> {
        Reader::of(name, move || {
            counted(&self.server, || {
                read_through(&path)?;
                Ok(Vec::new())
            })
        })
    }

    fn by_turns(&self, readers: &mut [Reader<'_>], prepare: &dyn Fn(), size: u64) {
        for _ in 0..self.rounds {
            for reader in readers.iter_mut() {
                prepare();
                reader.take_turn();
            }
        }
        for reader in readers {
            Row {
                name: reader.name,
                cold: reader.best.as_ref(),
                again: None,
                read: size,
            }
            .print();
        }
    }

    /// The last reader, ours, beside the first.
    fn against(&self, name: &str, readers: &[Reader<'_>], times: f64) {
        let best = |reader: Option<&Reader<'_>>| reader?.best.clone()?.ok();
        let (Some(ours), Some(other)) = (best(readers.last()), best(readers.first())) else {
            return;
        };
        let beside = Beside {
            native: Some((readers[0].name, other.seconds)),
            ..Beside::default()
        };
        for limit in [Limit::Requests(0), Limit::Native(times)] {
            if let Some(verdict) = limit.judge(&ours, &beside) {
                self.judged(name, &verdict);
            }
        }
    }
}

impl<'a> Reader<'a> {
    fn of(name: &'static str, read: impl Fn() -> Result<Measured, Failed> + 'a) -> Self {
        Self {
            name,
            read: Box::new(read),
            best: None,
        }
    }

    fn take_turn(&mut self) {
        let now = (self.read)();
        self.best = Some(match self.best.take() {
            Some(Ok(before)) => now.map(|now| now.or_better(before)),
            Some(failed) => failed,
            None => now,
        });
    }
}

/// Drops what the page cache holds of one file.
fn forget(path: &Path) {
    let Ok(file) = File::open(path) else { return };
    let _ = rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed);
}

/// Gives the mount the window that an ordinary user's has.
fn narrow(mountpoint: &Path) {
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let device = table.lines().find_map(|line| {
        let mut fields = line.split(' ').skip(2);
        let device = fields.next()?;
        (fields.nth(1) == mountpoint.to_str()).then_some(device)
    });
    if let Some(device) = device {
        // Where we may not write it, it was not widened either.
        let _ = std::fs::write(format!("/sys/class/bdi/{device}/read_ahead_kb"), WINDOW_KIB);
    }
}

/// The data file of the cache, by what it takes of the disk.
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
