//! The pace file: what all processes of this user on one account have been granted.
//!
//! A ring of grant times behind a small header, read and written in place under `flock`, so that a
//! grant costs a few small system calls however long the ring is. Times are microseconds of
//! `CLOCK_BOOTTIME`, which all processes share until the machine starts again; the header names the boot.
//! A file that is damaged, foreign or of an earlier boot is begun anew.

use std::cell::Cell;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FlockOperation, flock};
use xxhash_rust::xxh3::xxh3_64;

use super::rules::{GrantLog, PAUSE_MAX, Record};

const MAGIC: u64 = u64::from_le_bytes(*b"ifspace1");
/// Words in the header.
const WORDS: usize = 12;
const RING_OFFSET: u64 = 4096;
/// Slots in the ring: more than the highest limit. The file is sparse until they are used.
const SLOTS: u64 = 1 << 17;
/// No time in the file can be further ahead than the longest pause, in µs; a grant not even a second.
const AHEAD_MAX: u64 = PAUSE_MAX + 1_000_000;
const GRANT_AHEAD_MAX: u64 = 1_000_000;

/// The open pace file.
#[derive(Debug)]
pub(super) struct Ledger {
    path: PathBuf,
    file: Arc<File>,
    boot: [u64; 2],
}

/// The pace file while it is locked.
pub(super) struct LockedLedger<'a> {
    file: &'a File,
    pushed: u64,
    /// The first failure of a read or write, which the log's methods can't return.
    failure: Cell<Option<io::Error>>,
}

impl Ledger {
    /// Opens or makes the file, 0600, and its directory, 0700.
    ///
    /// # Errors
    /// When it can't be opened, is no regular file, or belongs to somebody else.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            file: open_file(path)?,
            boot: boot_id()?,
        })
    }

    /// Runs `work` on the log and the record while no other process can touch them, and writes back what
    /// it changed. `clock` tells the time, and is asked only then: what others wrote while this process waited for
    /// the lock isn't from the future.
    ///
    /// # Errors
    /// Of the system calls; what `work` decided must then not be used.
    pub(super) fn locked_at<R>(
        &mut self,
        clock: impl FnOnce() -> u64,
        work: impl FnOnce(&mut LockedLedger<'_>, &mut Record) -> R,
    ) -> io::Result<R> {
        let _lock = loop {
            let lock = Lock::take(Arc::clone(&self.file))?;
            // Somebody emptied the cache directory: go on with the others, in the new file.
            if self.file.metadata()?.nlink() > 0 {
                break lock;
            }
            drop(lock);
            self.file = open_file(&self.path)?;
        };
        let (mut record, pushed) = self.read_header(clock())?.unwrap_or_default();
        let before = (record, pushed);
        let mut log = LockedLedger {
            file: &self.file,
            pushed,
            failure: Cell::new(None),
        };
        let result = work(&mut log, &mut record);
        if let Some(failure) = log.failure.take() {
            return Err(failure);
        }
        let pushed = log.pushed;
        if (record, pushed) != before {
            self.write_header(&record, pushed)?;
        }
        Ok(result)
    }

    /// `None` when the file is new, damaged, foreign or of an earlier boot.
    fn read_header(&self, now: u64) -> io::Result<Option<(Record, u64)>> {
        let mut bytes = [0; WORDS * 8];
        match self.file.read_exact_at(&mut bytes, 0) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            other => other?,
        }
        let mut words = [0; WORDS];
        for (word, chunk) in words.iter_mut().zip(bytes.chunks_exact(8)) {
            *word = chunk.try_into().map_or(0, u64::from_le_bytes);
        }
        let is_ours = words[0] == MAGIC
            && words[1..3] == self.boot
            && words[WORDS - 1] == xxh3_64(&bytes[..(WORDS - 1) * 8]);
        if !is_ours {
            return Ok(None);
        }
        let record = Record {
            paused_until: words[4],
            lowered_to: words[5],
            ceiling: words[6],
            lowered_at: words[7],
            streak: words[8],
            throttled_at: words[9],
            reader_waits_until: words[10],
        };
        let log = LockedLedger {
            file: &self.file,
            pushed: words[3],
            failure: Cell::new(None),
        };
        let is_plausible = record.paused_until <= now + AHEAD_MAX
            && record.lowered_at <= now + AHEAD_MAX
            && record.reader_waits_until <= now + AHEAD_MAX
            && record.throttled_at <= now + GRANT_AHEAD_MAX
            && log
                .latest(1)
                .is_none_or(|grant| grant <= now + GRANT_AHEAD_MAX);
        Ok(is_plausible.then_some((record, words[3])))
    }

    fn write_header(&self, record: &Record, pushed: u64) -> io::Result<()> {
        let words = [
            MAGIC,
            self.boot[0],
            self.boot[1],
            pushed,
            record.paused_until,
            record.lowered_to,
            record.ceiling,
            record.lowered_at,
            record.streak,
            record.throttled_at,
            record.reader_waits_until,
        ];
        let mut bytes = [0; WORDS * 8];
        for (chunk, word) in bytes.chunks_exact_mut(8).zip(words) {
            chunk.copy_from_slice(&word.to_le_bytes());
        }
        let sum = xxh3_64(&bytes[..(WORDS - 1) * 8]);
        bytes[(WORDS - 1) * 8..].copy_from_slice(&sum.to_le_bytes());
        self.file.write_all_at(&bytes, 0)
    }
}

impl LockedLedger<'_> {
    /// Writes where the next grant will stand, and grants nothing: on a full disk that fails.
    pub(super) fn rehearse(&mut self) {
        let pushed = self.pushed;
        self.push(0);
        self.pushed = pushed;
    }
}

impl GrantLog for LockedLedger<'_> {
    fn latest(&self, n: u32) -> Option<u64> {
        let n = u64::from(n);
        if n == 0 || n > self.pushed.min(SLOTS) {
            return None;
        }
        let mut bytes = [0; 8];
        match self.file.read_exact_at(&mut bytes, slot(self.pushed - n)) {
            Ok(()) => Some(u64::from_le_bytes(bytes)),
            Err(failure) => {
                self.failure.set(Some(failure));
                None
            }
        }
    }

    fn push(&mut self, at: u64) {
        // The slot before the header: a process that dies in between has granted nothing.
        match self.file.write_all_at(&at.to_le_bytes(), slot(self.pushed)) {
            Ok(()) => self.pushed += 1,
            Err(failure) => self.failure.set(Some(failure)),
        }
    }
}

fn slot(index: u64) -> u64 {
    RING_OFFSET + index % SLOTS * 8
}

/// An exclusive `flock`, given back when dropped.
struct Lock(Arc<File>);

impl Lock {
    fn take(file: Arc<File>) -> io::Result<Self> {
        loop {
            match flock(&file, FlockOperation::LockExclusive) {
                Ok(()) => return Ok(Self(file)),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if flock(&self.0, FlockOperation::Unlock).is_err() {
            tracing::debug!("the pace file could not be unlocked");
        }
    }
}

fn open_file(path: &Path) -> io::Result<Arc<File>> {
    if let Some(directory) = path.parent().filter(|parent| !parent.exists()) {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)?;
    }
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC | libc::O_NONBLOCK)
        .open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() || metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err(io::Error::from(io::ErrorKind::PermissionDenied));
    }
    Ok(Arc::new(file))
}

fn boot_id() -> io::Result<[u64; 2]> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    let id = uuid::Uuid::try_parse(text.trim())
        .map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
    let (high, low) = id.as_u64_pair();
    Ok([high, low])
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 500_000_000;

    impl Ledger {
        fn locked<R>(
            &mut self,
            now: u64,
            work: impl FnOnce(&mut LockedLedger<'_>, &mut Record) -> R,
        ) -> io::Result<R> {
            self.locked_at(|| now, work)
        }
    }

    fn push(ledger: &mut Ledger, at: u64) {
        ledger.locked(NOW, |log, _| log.push(at)).unwrap();
    }

    fn latest(ledger: &mut Ledger, n: u32) -> Option<u64> {
        ledger.locked(NOW, |log, _| log.latest(n)).unwrap()
    }

    #[test]
    fn two_openers_see_one_log_and_one_record() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("deep/pace");
        let mut one = Ledger::open(&path).unwrap();
        let mut other = Ledger::open(&path).unwrap();
        push(&mut one, 7);
        push(&mut other, 9);
        assert_eq!(latest(&mut one, 1), Some(9));
        assert_eq!(latest(&mut other, 2), Some(7));
        assert_eq!(latest(&mut other, 3), None);
        one.locked(NOW, |_, record| record.paused_until = 77)
            .unwrap();
        assert_eq!(
            other.locked(NOW, |_, record| record.paused_until).unwrap(),
            77
        );
        assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o600);
    }

    #[test]
    fn the_ring_goes_round() {
        let directory = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::open(&directory.path().join("pace")).unwrap();
        ledger
            .locked(NOW, |log, _| {
                log.pushed = SLOTS - 1;
                log.push(1);
                log.push(2);
            })
            .unwrap();
        assert_eq!(latest(&mut ledger, 1), Some(2));
        assert_eq!(latest(&mut ledger, 2), Some(1));
    }

    #[test]
    fn what_is_damaged_foreign_or_from_the_future_is_begun_anew() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pace");
        for damage in [&b"junk that is no ledger"[..], &[0xff; 200], b""] {
            std::fs::write(&path, damage).unwrap();
            let mut ledger = Ledger::open(&path).unwrap();
            assert_eq!(latest(&mut ledger, 1), None);
            push(&mut ledger, 5);
            assert_eq!(latest(&mut ledger, 1), Some(5));
            let mut bytes = std::fs::read(&path).unwrap();
            bytes[40] ^= 1;
            std::fs::write(&path, bytes).unwrap();
            assert_eq!(latest(&mut ledger, 1), None, "a flipped bit");
        }
        let mut ledger = Ledger::open(&path).unwrap();
        push(&mut ledger, NOW + 2 * GRANT_AHEAD_MAX);
        assert_eq!(latest(&mut ledger, 1), None);
        push(&mut ledger, 5);
        ledger.boot[0] ^= 1;
        assert_eq!(latest(&mut ledger, 1), None, "another boot");
    }

    #[test]
    fn a_deleted_file_is_made_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pace");
        let mut one = Ledger::open(&path).unwrap();
        push(&mut one, 5);
        std::fs::remove_file(&path).unwrap();
        push(&mut one, 6);
        let mut other = Ledger::open(&path).unwrap();
        assert_eq!(latest(&mut other, 1), Some(6));
    }

    #[test]
    fn a_directory_that_was_deleted_is_made_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("account/pace");
        let mut one = Ledger::open(&path).unwrap();
        push(&mut one, 5);
        std::fs::remove_dir_all(directory.path().join("account")).unwrap();
        push(&mut one, 6);
        let mut other = Ledger::open(&path).unwrap();
        assert_eq!(latest(&mut other, 1), Some(6));
    }

    #[test]
    fn the_clock_is_read_only_when_nobody_else_can_write() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pace");
        let mut ledger = Ledger::open(&path).unwrap();
        let other = open_file(&path).unwrap();
        let mut is_held = false;
        let clock = || {
            is_held = flock(&other, FlockOperation::NonBlockingLockExclusive).is_err();
            NOW
        };
        ledger.locked_at(clock, |log, _| log.push(5)).unwrap();
        assert!(is_held);
    }

    #[test]
    fn a_link_is_not_followed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pace");
        std::fs::write(directory.path().join("target"), "").unwrap();
        std::os::unix::fs::symlink("target", &path).unwrap();
        assert!(Ledger::open(&path).is_err());
    }
}
