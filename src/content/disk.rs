//! The disk tier: a sparse data file for each version, a map of checksums beside it, accounts of all.
//!
//! Promise: a crash can lose, never lie. Nothing is synced, because a block counts only if its checksum,
//! which covers version and place, agrees; what this process wrote itself counts as verified. Several
//! processes may share the directory: they write the same bytes to the same places, and removal unlinks,
//! which leaves open files readable. Whatever goes wrong with the disk, reads go on without it: for good when it
//! fails, for as long as it lasts when it doesn't answer.
//!
//! One thread writes, from a bounded queue, and keeps the accounts. Starting up scans nothing.

mod accounts;
mod entry;
pub mod inspect;
mod map;
mod store;

pub use store::own_directory;

use std::collections::{HashMap, HashSet};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

pub(super) use self::entry::Entry;
use self::entry::{Closing, Write};

use self::accounts::Accounts;
use self::store::Files;
use super::{DiskSettings, Traits};
use crate::disk_watch::DiskWatch;
use crate::model::{ContentId, ContentKey, Guid};

/// Blocks that may wait to be written: enough to outlast the disk's shorter pauses. Most of them are in
/// the memory tier too, and share its bytes.
const QUEUE: usize = 256;

/// Neighbouring blocks written at once.
const BATCH: usize = 16;

/// How often the accounts are written.
const ACCOUNTING: Duration = Duration::from_secs(3);

/// So many bytes written bring the accounting forward, so that the bound is kept between times.
const ACCOUNTED_BYTES: u64 = 64 << 20;

/// When, once in a mount, files are looked for that the accounts don't know: a crash can leave some.
const SWEEP_AFTER: Duration = Duration::from_secs(60);

/// Files younger than this may be another process's, which hasn't accounted for them yet.
const SWEPT_AGE: Duration = Duration::from_secs(600);

/// A version, as the accounts know it: nothing in it names anything.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Identity {
    fingerprint: u128,
    guid: u64,
    key: u64,
    is_video: bool,
    sort: &'static str,
    modified: Option<i64>,
}

impl Identity {
    fn new(id: &ContentId, traits: Traits) -> Self {
        Self {
            fingerprint: id.fingerprint(),
            guid: guid_hash(id.guid),
            key: key_hash(&id.key),
            is_video: traits.is_video,
            sort: traits.sort,
            modified: id.version.last_modified.map(jiff::Timestamp::as_second),
        }
    }
}

pub(super) fn guid_hash(guid: Guid) -> u64 {
    xxhash_rust::xxh3::xxh3_64(guid.as_bytes())
}

fn key_hash(key: &ContentKey) -> u64 {
    xxhash_rust::xxh3::xxh3_64(key.as_str().as_bytes())
}

enum Job {
    Write(Write),
    Remove(u128),
    /// Takes a damaged block out of the map.
    Strike {
        files: Arc<Files>,
        index: u64,
    },
    Forget {
        guid: u64,
        key: Option<u64>,
    },
    /// There are files to be closed.
    Close,
    Flush(mpsc::Sender<()>),
}

/// The disk tier of one account.
#[derive(Debug)]
pub(super) struct Disk {
    settings: DiskSettings,
    accounts: Accounts,
    queue: mpsc::Sender<Job>,
    room: Arc<Semaphore>,
    works: AtomicBool,
    /// The calls that wait for it.
    watch: DiskWatch,
    /// The writer's queue was full for too long; until there is room, nobody waits for it.
    lags: AtomicBool,
    entries: Mutex<HashMap<u128, Weak<Entry>>>,
    /// True sizes that metadata don't give.
    sizes: Mutex<HashMap<u128, u64>>,
    bytes: AtomicU64,
    /// The same by type, largest first.
    types: Mutex<Vec<(String, u64)>>,
    evictions: AtomicU64,
    refused_blocks: AtomicU64,
    /// Versions whose files are of no use any more and wait to be removed: nothing is loaded from them.
    condemned: Mutex<HashSet<u128>>,
    /// Files that are no longer used: the last close of a removed one is work for the disk. Closed by the writer before whatever
    /// else waits, so that they don't add up.
    closing: Mutex<Vec<Closing>>,
    /// Whole versions that are to be verified.
    verifying: entry::Queue,
}

impl Disk {
    /// Opens the tier and starts its writer.
    ///
    /// # Errors
    /// Why the directory is of no use, without its path.
    pub(super) fn open(settings: DiskSettings) -> Result<Arc<Self>, String> {
        store::own_directory(&settings.directory).map_err(|error| error.kind().to_string())?;
        store::own_directory(&settings.directory.join("blocks"))
            .map_err(|error| error.kind().to_string())?;
        let accounts = Accounts::open(&settings.directory)?;
        let sizes = accounts.true_sizes().unwrap_or_default();
        let types = accounts.by_type().unwrap_or_default();
        let bytes = types.iter().map(|(_, bytes)| bytes).sum();
        let (queue, jobs) = mpsc::channel();
        let disk = Arc::new(Self {
            settings,
            accounts,
            queue,
            room: Arc::new(Semaphore::new(QUEUE)),
            works: AtomicBool::new(true),
            watch: DiskWatch::new("cache"),
            lags: AtomicBool::new(false),
            entries: Mutex::default(),
            sizes: Mutex::new(sizes.into_iter().collect()),
            bytes: AtomicU64::new(bytes),
            types: Mutex::new(types),
            evictions: AtomicU64::new(0),
            refused_blocks: AtomicU64::new(0),
            condemned: Mutex::default(),
            closing: Mutex::default(),
            verifying: entry::Queue::default(),
        });
        let weak = Arc::downgrade(&disk);
        std::thread::Builder::new()
            .name("cache-writer".to_owned())
            .spawn(move || write_all(&weak, &jobs))
            .map_err(|error| error.kind().to_string())?;
        Ok(disk)
    }

    /// A version's entry. Touches no disk.
    pub(super) fn entry(self: &Arc<Self>, id: &ContentId, traits: Traits) -> Arc<Entry> {
        let identity = Identity::new(id, traits);
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = entries.get(&identity.fingerprint).and_then(Weak::upgrade)
            && !entry.is_retired()
        {
            return entry;
        }
        if entries.len() > 10_000 {
            entries.retain(|_, entry| entry.strong_count() > 0);
        }
        let entry = Arc::new(Entry::new(Arc::clone(self), identity));
        entries.insert(identity.fingerprint, Arc::downgrade(&entry));
        entry
    }

    /// Whether the disk is of use just now.
    pub(super) fn works(&self) -> bool {
        !self.has_failed() && self.answers()
    }

    /// Whether it is of no use any more.
    pub(super) fn has_failed(&self) -> bool {
        !self.works.load(Ordering::Relaxed)
    }

    /// The calls that wait for it.
    pub(super) fn watch(&self) -> &DiskWatch {
        &self.watch
    }

    /// The most bytes it keeps.
    pub(super) fn capacity(&self) -> u64 {
        self.settings.size_bytes
    }

    /// Goes on without the disk; says so once.
    fn give_up(&self, why: &str) {
        if self.works.swap(false, Ordering::Relaxed) {
            tracing::warn!(why, "the cache's disk is of no use: going on without it");
        }
    }

    /// Whether the disk answers: while it doesn't, it is as if nothing were on it.
    pub(super) fn answers(&self) -> bool {
        !self.watch.is_stuck()
    }

    /// A version's true length where the metadata gives none or another.
    pub(super) fn learnt_size(&self, fingerprint: u128) -> Option<u64> {
        self.sizes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&fingerprint)
            .copied()
    }

    /// Remembers such a length, also for later mounts.
    pub(super) fn note_size(&self, id: &ContentId, size: u64) {
        let identity = Identity::new(id, Traits::default());
        self.sizes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(identity.fingerprint, size);
        self.accounts.sized(identity, size);
    }

    /// Forgets such a length, of a version that is no more; its account goes with its files.
    pub(super) fn forget_size(&self, id: &ContentId) {
        self.sizes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&id.fingerprint());
    }

    /// Bytes of a version that are held. Blocks.
    pub(super) fn held_bytes(&self, fingerprint: u128) -> u64 {
        let entry = self
            .entries
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&fingerprint)
            .and_then(Weak::upgrade);
        match entry.and_then(|entry| entry.held_bytes()) {
            Some(bytes) => bytes,
            None => {
                let _call = self.watch.begin();
                self.accounts.bytes_of(fingerprint).unwrap_or(0)
            }
        }
    }

    /// Removes all versions of an item, or of all of an interaction's items, in the background.
    pub(super) fn forget(&self, guid: Guid, key: Option<&ContentKey>) {
        let _ = self.queue.send(Job::Forget {
            guid: guid_hash(guid),
            key: key.map(key_hash),
        });
    }

    /// The hashes of the interactions of which bytes are held. Blocks.
    pub(super) fn held_guids(&self) -> HashSet<u64> {
        let held = self
            .accounts
            .flush()
            .and_then(|()| self.accounts.held_guids());
        held.unwrap_or_default()
    }

    /// Bytes held, and versions removed so far for want of room or for their age.
    pub(super) fn usage(&self) -> (u64, u64, u64) {
        (
            self.bytes.load(Ordering::Relaxed),
            self.evictions.load(Ordering::Relaxed),
            self.refused_blocks.load(Ordering::Relaxed),
        )
    }

    /// Bytes held by type, as of the last accounting, largest first; the type is empty where it is not known.
    pub(super) fn types(&self) -> Vec<(String, u64)> {
        self.types
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Waits until all that is queued is written, the accounts too. Blocks.
    pub(super) fn flush(&self) {
        let (done, is_done) = mpsc::channel();
        if self.queue.send(Job::Flush(done)).is_ok() {
            // A stuck disk must not hold up the end.
            let _ = is_done.recv_timeout(Duration::from_secs(10));
        }
    }

    /// Has files closed by the writer.
    fn close(&self, files: Closing) {
        self.closing().push(files);
        // Without a writer they are closed with the tier.
        let _ = self.queue.send(Job::Close);
    }

    fn close_all(&self) {
        let files = std::mem::take(&mut *self.closing());
        if !files.is_empty() {
            let _call = self.watch.begin_write();
            drop(files);
        }
    }

    fn closing(&self) -> MutexGuard<'_, Vec<Closing>> {
        self.closing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has a version's files removed in the background; from now on nothing is loaded from them.
    fn condemn(&self, fingerprint: u128) {
        self.condemned().insert(fingerprint);
        let _ = self.queue.send(Job::Remove(fingerprint));
    }

    fn is_condemned(&self, fingerprint: u128) -> bool {
        self.condemned().contains(&fingerprint)
    }

    fn condemned(&self) -> MutexGuard<'_, HashSet<u128>> {
        self.condemned
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn is_expired(&self, fingerprint: u128) -> bool {
        let max_age = i64::try_from(self.settings.max_age.as_secs()).unwrap_or(i64::MAX / 2);
        self.accounts
            .is_expired(fingerprint, max_age)
            .unwrap_or(false)
    }

    fn account(&self) {
        let max_age = i64::try_from(self.settings.max_age.as_secs()).unwrap_or(i64::MAX / 2);
        let outcome = self.accounts.flush().and_then(|()| {
            let evicted = self.accounts.evict(self.settings.size_bytes, max_age)?;
            self.evictions
                .fetch_add(evicted.len() as u64, Ordering::Relaxed);
            self.take_out(&evicted);
            let types = self.accounts.by_type()?;
            let bytes = types.iter().map(|(_, bytes)| bytes).sum();
            self.bytes.store(bytes, Ordering::Relaxed);
            *self.types.lock().unwrap_or_else(PoisonError::into_inner) = types;
            Ok(())
        });
        if let Err(error) = outcome {
            if accounts::is_damage(&error) {
                // The next mount begins new ones.
                accounts::discard(&self.settings.directory);
            }
            self.give_up("the accounts can't be kept");
        }
    }

    /// Removes the files of versions; entries in use begin anew.
    fn take_out(&self, fingerprints: &[u128]) {
        for &fingerprint in fingerprints {
            let entry = self
                .entries
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .get(&fingerprint)
                .and_then(Weak::upgrade);
            if let Some(entry) = entry {
                entry.clear();
            }
            store::remove(&self.settings.directory, fingerprint);
        }
    }

    fn forget_all(&self, guid: u64, key: Option<u64>) {
        let outcome = self
            .accounts
            .flush()
            .and_then(|()| self.accounts.forget(guid, key));
        match outcome {
            Ok(forgotten) => {
                let mut sizes = self.sizes.lock().unwrap_or_else(PoisonError::into_inner);
                for fingerprint in &forgotten {
                    sizes.remove(fingerprint);
                }
                drop(sizes);
                self.take_out(&forgotten);
            }
            Err(_) => self.give_up("the accounts can't be kept"),
        }
    }
}

impl Disk {
    /// Removes files that no account knows, so that the cache's bound holds after crashes, too.
    fn sweep(&self, age: Duration) {
        let directory = &self.settings.directory;
        let (Ok(rows), Ok(found)) = (self.accounts.rows(), store::all(directory)) else {
            return;
        };
        let known: HashSet<u128> = rows.iter().map(|row| row.fingerprint).collect();
        for fingerprint in found {
            let is_in_use = self
                .entries
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .get(&fingerprint)
                .is_some_and(|entry| entry.strong_count() > 0);
            if !known.contains(&fingerprint)
                && !is_in_use
                && store::age(directory, fingerprint).is_some_and(|found| found >= age)
            {
                store::remove(directory, fingerprint);
            }
        }
    }
}

/// The writer thread: ends when the tier is dropped.
fn write_all(disk: &Weak<Disk>, jobs: &mpsc::Receiver<Job>) {
    let started = Instant::now();
    let mut is_swept = false;
    let mut accounted = started;
    let mut since = 0_u64;
    let mut next = None;
    loop {
        let job = match next.take() {
            Some(job) => Ok(job),
            None => jobs.recv_timeout(ACCOUNTING),
        };
        let Some(disk) = disk.upgrade() else { return };
        disk.close_all();
        match job {
            Ok(Job::Write(write)) => {
                let mut batch = vec![write];
                while batch.len() < BATCH
                    && let Ok(job) = jobs.try_recv()
                {
                    match job {
                        Job::Write(write)
                            if batch.last().is_some_and(|last| last.is_followed_by(&write)) =>
                        {
                            batch.push(write);
                        }
                        other => {
                            next = Some(other);
                            break;
                        }
                    }
                }
                since += batch.iter().map(Write::len).sum::<u64>();
                entry::write(&batch);
            }
            Ok(Job::Remove(fingerprint)) => {
                let _ = disk.accounts.flush();
                // A length that was learnt is worth knowing without the bytes.
                let _ = if disk.learnt_size(fingerprint).is_some() {
                    disk.accounts.empty(&[fingerprint])
                } else {
                    disk.accounts.delete(&[fingerprint])
                };
                store::remove(&disk.settings.directory, fingerprint);
                disk.condemned().remove(&fingerprint);
            }
            Ok(Job::Strike { files, index }) => {
                let _call = disk.watch.begin_write();
                // A block that stays in the map fails its checksum again.
                let _ = files.map.write_all_at(&[0; 8], map::offset_of(index));
            }
            Ok(Job::Forget { guid, key }) => disk.forget_all(guid, key),
            Ok(Job::Close) => {}
            Ok(Job::Flush(done)) => {
                disk.account();
                let _ = done.send(());
            }
            Err(RecvTimeoutError::Timeout) => {
                if !is_swept && started.elapsed() >= SWEEP_AFTER {
                    is_swept = true;
                    disk.sweep(SWEPT_AGE);
                }
            }
            Err(RecvTimeoutError::Disconnected) => return,
        }
        let enough = ACCOUNTED_BYTES
            .min(disk.settings.size_bytes / 8)
            .max(1 << 20);
        if since >= enough || accounted.elapsed() >= ACCOUNTING {
            disk.account();
            accounted = Instant::now();
            since = 0;
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::path::Path;

    use super::*;

    /// A tier, and in it the files of one version that no account knows.
    pub(in crate::content::disk) fn disk_with_the_files_of(
        fingerprint: u128,
        directory: &Path,
    ) -> Arc<Disk> {
        let disk = Disk::open(DiskSettings {
            directory: directory.to_owned(),
            size_bytes: 1 << 30,
            max_age: Duration::from_secs(1000),
            key: None,
        })
        .unwrap();
        let header = map::Header {
            fingerprint,
            size: 1000,
            is_sealed: false,
            validator: crate::remote::Validator::default(),
        };
        store::create(directory, &header).unwrap();
        disk
    }

    #[test]
    fn files_that_no_account_knows_are_swept_up() {
        let directory = tempfile::tempdir().unwrap();
        let disk = disk_with_the_files_of(7, directory.path());
        disk.sweep(SWEPT_AGE);
        assert_eq!(store::all(directory.path()).unwrap(), [7], "too young");
        disk.sweep(Duration::ZERO);
        assert_eq!(store::all(directory.path()).unwrap(), [] as [u128; 0]);
    }
}
