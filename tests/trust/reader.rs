//! Readers of all manners, each of which compares what it reads with the generator.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use crate::random::Random;
use crate::world::{HUNG, Known};

/// A small read.
const PAGE: usize = 4096;

/// What all readers together have seen.
#[derive(Default)]
pub(crate) struct Tally {
    /// Reads that gave bytes, all of them right.
    pub(crate) reads: AtomicU64,
    pub(crate) bytes: AtomicU64,
    pub(crate) opens: AtomicU64,
    pub(crate) listings: AtomicU64,
    pub(crate) hung: AtomicU64,
    pub(crate) wrong: Mutex<Vec<String>>,
    /// System calls that failed, and how often.
    pub(crate) failed: Mutex<BTreeMap<Call, u64>>,
    pub(crate) ends: AtomicBool,
}

/// A system call that failed.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Call {
    pub(crate) what: &'static str,
    pub(crate) errno: i32,
    /// What it was about.
    pub(crate) below: PathBuf,
}

impl Tally {
    /// Adds what others have seen.
    pub(crate) fn add(&self, other: Self) {
        let sums = [
            (&self.reads, other.reads),
            (&self.bytes, other.bytes),
            (&self.opens, other.opens),
            (&self.listings, other.listings),
            (&self.hung, other.hung),
        ];
        for (sum, more) in sums {
            sum.fetch_add(more.into_inner(), Ordering::Relaxed);
        }
        let mut wrong = other.wrong.into_inner().unwrap();
        self.wrong.lock().unwrap().append(&mut wrong);
        let mut failed = self.failed.lock().unwrap();
        for (call, times) in other.failed.into_inner().unwrap() {
            *failed.entry(call).or_default() += times;
        }
    }

    fn fail(&self, what: &'static str, below: &Path, error: &io::Error) {
        let call = Call {
            what,
            errno: error.raw_os_error().unwrap_or(0),
            below: below.to_owned(),
        };
        *self.failed.lock().unwrap().entry(call).or_default() += 1;
    }

    fn timed<T>(&self, call: impl FnOnce() -> T) -> T {
        let began = Instant::now();
        let outcome = call();
        if began.elapsed() > HUNG {
            self.hung.fetch_add(1, Ordering::Relaxed);
        }
        outcome
    }

    /// Compares what a read at `offset` gave; whether it was right.
    fn check(&self, how: &str, known: &Known, offset: usize, wanted: usize, found: &[u8]) -> bool {
        let expected = &known.bytes[offset.min(known.bytes.len())..];
        let expected = &expected[..wanted.min(expected.len())];
        if found != expected {
            let difference = found.iter().zip(expected).position(|(a, b)| a != b);
            self.wrong.lock().unwrap().push(format!(
                "{how} of {} at {offset}: {} bytes in place of {}, first difference {difference:?}",
                known.below.display(),
                found.len(),
                expected.len()
            ));
            return false;
        }
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(found.len() as u64, Ordering::Relaxed);
        true
    }
}

/// Reads in one manner after another, from one file after another, until the tally says that it ends.
pub(crate) fn read_on(root: &Path, files: &[Known], seed: u64, tally: &Tally) {
    let mut random = Random::new(seed);
    let goes_on = || !tally.ends.load(Ordering::Relaxed);
    while goes_on() {
        let known = random.pick(files);
        let path = root.join(&known.below);
        let manner = random.below(16);
        if manner == 0 {
            list(root, files, &mut random, tally);
            continue;
        }
        let is_direct = manner == 1;
        let mut how = File::options();
        how.read(true);
        if is_direct {
            how.custom_flags(libc::O_DIRECT);
        }
        let file = match tally.timed(|| how.open(&path)) {
            Ok(file) => file,
            Err(error) => {
                tally.fail("open", &known.below, &error);
                continue;
            }
        };
        tally.opens.fetch_add(1, Ordering::Relaxed);
        if manner.is_multiple_of(2) {
            // What the kernel keeps is right already: what it asks for is to be tested.
            let _ = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed);
        }
        match manner {
            2 | 3 => mapped(&file, known, &mut random, tally),
            4..=8 => sequential(&file, known, &mut random, tally),
            _ => at_random(&file, known, &mut random, is_direct, tally),
        }
    }
}

fn sequential(file: &File, known: &Known, random: &mut Random, tally: &Tally) {
    let mut buffer = vec![0; *random.pick(&[PAGE, PAGE, 3001, 65_536, 262_144])];
    let mut at = 0;
    while at <= known.bytes.len() && !tally.ends.load(Ordering::Relaxed) {
        match tally.timed(|| read_fully(file, &mut buffer, at)) {
            Ok(length) => {
                let found = &buffer[..length];
                if !tally.check("sequential", known, at, buffer.len(), found) {
                    return;
                }
                at += length;
                if length < buffer.len() {
                    return;
                }
            }
            Err(error) => return tally.fail("read", &known.below, &error),
        }
    }
}

fn at_random(file: &File, known: &Known, random: &mut Random, is_direct: bool, tally: &Tally) {
    // O_DIRECT wants aligned memory where the kernel reads the cache's own file.
    let mut memory = vec![0; 2 * PAGE];
    let shift = memory.as_ptr().align_offset(PAGE);
    let buffer = &mut memory[shift..shift + PAGE];
    for _ in 0..200 {
        if tally.ends.load(Ordering::Relaxed) {
            return;
        }
        let mut at = usize::try_from(random.below(known.bytes.len() as u64 + 10)).unwrap();
        if is_direct {
            at -= at % PAGE;
        }
        let outcome = tally.timed(|| {
            if is_direct {
                file.read_at(buffer, at as u64)
            } else {
                read_fully(file, buffer, at)
            }
        });
        match outcome {
            Ok(length) => {
                if !tally.check("random", known, at, PAGE, &buffer[..length]) {
                    return;
                }
            }
            Err(error) => return tally.fail("read", &known.below, &error),
        }
    }
}

/// Like `read_exact_at`, but says where the file ends.
fn read_fully(file: &File, buffer: &mut [u8], at: usize) -> io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match file.read_at(&mut buffer[length..], (at + length) as u64) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}

/// Reads through a mapping. A page that can't be had would kill the process, so the kernel copies it to a file in memory:
/// that fails in place of it.
fn mapped(file: &File, known: &Known, random: &mut Random, tally: &Tally) {
    let length = known.bytes.len();
    let Ok(copy) = rustix::fs::memfd_create("page", rustix::fs::MemfdFlags::CLOEXEC) else {
        return;
    };
    let copy = File::from(copy);
    // SAFETY: a new read-only mapping at a place that the kernel chooses, unmapped below; no reference to it is made.
    #[allow(unsafe_code, reason = "mapping memory has no safe interface")]
    let start = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            length,
            libc::PROT_READ,
            libc::MAP_SHARED,
            file.as_raw_fd(),
            0,
        )
    };
    if start == libc::MAP_FAILED {
        return tally.fail("mmap", &known.below, &io::Error::last_os_error());
    }
    let mut page = vec![0; PAGE];
    for _ in 0..50 {
        if tally.ends.load(Ordering::Relaxed) {
            break;
        }
        let at = usize::try_from(random.below(length as u64)).unwrap();
        let at = at - at % PAGE;
        let wanted = PAGE.min(length - at);
        // SAFETY: the kernel reads `wanted` bytes within the mapping, and answers EFAULT where it can't.
        #[allow(unsafe_code, reason = "only so a page that can't be had doesn't kill")]
        let written = tally
            .timed(|| unsafe { libc::pwrite(copy.as_raw_fd(), start.byte_add(at), wanted, 0) });
        let Ok(written) = usize::try_from(written) else {
            tally.fail("mapped read", &known.below, &io::Error::last_os_error());
            break;
        };
        copy.read_exact_at(&mut page[..written], 0).unwrap();
        if !tally.check("mmap", known, at, wanted, &page[..written]) {
            break;
        }
    }
    // SAFETY: the mapping made above, to which nothing points any more.
    #[allow(unsafe_code, reason = "unmapping memory has no safe interface")]
    unsafe {
        libc::munmap(start, length);
    }
}

/// Lists the root and looks at some files' sizes.
fn list(root: &Path, files: &[Known], random: &mut Random, tally: &Tally) {
    let entries = tally.timed(|| std::fs::read_dir(root)?.collect::<io::Result<Vec<_>>>());
    match entries {
        Ok(entries) => {
            tally.listings.fetch_add(1, Ordering::Relaxed);
            let listed = |known: &Known| {
                let directory = known.below.parent().unwrap();
                entries.iter().any(|entry| entry.file_name() == directory)
            };
            if let Some(known) = files
                .iter()
                .find(|known| !known.is_unlucky && !listed(known))
            {
                let what = format!("{} is not listed", known.below.display());
                tally.wrong.lock().unwrap().push(what);
            }
        }
        Err(error) => tally.fail("readdir", Path::new(""), &error),
    }
    for _ in 0..10 {
        let known = random.pick(files);
        match tally.timed(|| std::fs::metadata(root.join(&known.below))) {
            Ok(found) if found.len() == known.bytes.len() as u64 => {}
            Ok(found) => tally.wrong.lock().unwrap().push(format!(
                "{} says {} bytes in place of {}",
                known.below.display(),
                found.len(),
                known.bytes.len()
            )),
            Err(error) => tally.fail("stat", &known.below, &error),
        }
    }
}
