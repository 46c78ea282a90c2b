//! One version on disk: which blocks are there, which of them are verified, which still wait to be written.
//!
//! A block that waits to be written is served from the queue. A block from an earlier mount is verified when
//! it is read first; one that fails is taken out of the map and fetched again.

mod read;
mod verify;
mod write;

use std::collections::HashMap;
use std::fs::File;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;

pub(super) use self::verify::Queue;
pub(super) use self::write::{Write, write};
use super::map::{self, Header};
use super::store::{self, Files};
use super::{Disk, Identity, Job};
use crate::content::block::{self, Blocks};
use crate::remote::Validator;
use crate::seal::Sealer;

/// How long a stream waits for room in the writer's queue: a disk that takes nothing for so long doesn't keep up.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(crate) struct Entry {
    disk: Arc<Disk>,
    identity: Identity,
    /// What its blocks are sealed with, if they are.
    sealer: Option<Sealer>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    is_loaded: bool,
    /// The version is no more, or another entry took over.
    is_retired: bool,
    /// Counts clearings, so that what was begun before one is not recorded after it.
    generation: u64,
    files: Option<Arc<Files>>,
    /// What the files held when they were found is of the version that is being read: it was compared, or made here.
    is_admitted: bool,
    size: u64,
    validator: Validator,
    checksums: Vec<u64>,
    /// Blocks in the data file.
    present: Blocks,
    verified: Blocks,
    /// Blocks in the writer's queue.
    pending: HashMap<u64, Bytes>,
    complete: Option<Arc<File>>,
    is_verifying: bool,
}

/// Files to be closed, if nobody else has them.
#[derive(Debug)]
pub(super) struct Closing {
    _files: Option<Arc<Files>>,
    _complete: Option<Arc<File>>,
}

/// What the map of an earlier mount said.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) size: u64,
    pub(crate) validator: Validator,
}

impl Entry {
    pub(super) fn new(disk: Arc<Disk>, identity: Identity) -> Self {
        let place = identity.fingerprint.to_le_bytes();
        let key = disk.settings.key.as_ref();
        let sealer = key.map(|key| key.sealer(b"block", &place));
        Self {
            disk,
            identity,
            sealer,
            state: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_retired(&self) -> bool {
        self.lock().is_retired
    }

    /// Reads the map of an earlier mount, once. Nothing of it can be read before [`Self::admit`]. Blocks.
    pub(crate) fn load(&self) {
        if self.lock().is_loaded {
            return;
        }
        let _call = self.disk.watch.begin();
        let fingerprint = self.identity.fingerprint;
        let directory = &self.disk.settings.directory;
        let found = if self.disk.is_condemned(fingerprint) {
            None
        } else if self.disk.is_expired(fingerprint) {
            self.disk.condemn(fingerprint);
            None
        } else {
            // What is not sealed can't be ours when there is a key, whatever its checksums say.
            store::load(directory, fingerprint)
                .filter(|found| found.header.is_sealed == self.sealer.is_some())
        };
        let mut state = self.lock();
        if state.is_loaded || state.is_retired || state.files.is_some() {
            state.is_loaded = true;
            return;
        }
        state.is_loaded = true;
        if let Some(found) = found {
            state.take(found);
            let bytes = state.held_bytes();
            drop(state);
            // Said anew, because a crash may have lost the account.
            self.disk.accounts.holds(self.identity, bytes, false);
        }
    }

    /// What the loaded map says of the version, if one was loaded.
    pub(crate) fn stored(&self) -> Option<Stored> {
        let state = self.lock();
        state.files.as_ref()?;
        Some(Stored {
            size: state.size,
            validator: state.validator.clone(),
        })
    }

    /// What was loaded is of the version that is being read.
    pub(crate) fn admit(&self) {
        self.lock().is_admitted = true;
    }

    /// Notes that somebody opens the version.
    pub(crate) fn note_use(&self) {
        if self.disk.works() {
            let holds_any = !self.lock().present.is_empty();
            if holds_any {
                self.disk.accounts.used(self.identity);
            }
        }
    }

    /// Which blocks can be read here; without the disk, those that still wait to be written.
    pub(crate) fn present(&self, with_disk: bool) -> Blocks {
        let state = self.lock();
        let mut present = if with_disk && state.is_admitted {
            state.present.clone()
        } else {
            Blocks::default()
        };
        for &index in state.pending.keys() {
            present.insert(index..index + 1);
        }
        present
    }

    /// Behind the last of the blocks from `from` on, before `end`, that are all safely in the file.
    pub(crate) fn written_upto(&self, from: u64, end: u64) -> u64 {
        if !self.disk.answers() {
            return from;
        }
        let written = self.lock().verified.run_at(from);
        written.map_or(from, |run| run.end.min(end))
    }

    /// Whether a block can be read here; without the disk, whether it still waits to be written.
    pub(crate) fn contains(&self, index: u64, with_disk: bool) -> bool {
        let state = self.lock();
        (with_disk && state.is_admitted && state.present.contains(index))
            || state.pending.contains_key(&index)
    }

    /// A block that still waits to be written.
    pub(crate) fn pending(&self, index: u64) -> Option<Bytes> {
        self.lock().pending.get(&index).cloned()
    }

    /// Bytes here; `None` if nothing was looked up yet.
    pub(super) fn held_bytes(&self) -> Option<u64> {
        let state = self.lock();
        state.is_loaded.then(|| state.held_bytes())
    }

    /// Room in the writer's queue, if there is some now: also while the disk doesn't answer, which may be over soon.
    pub(crate) fn try_permit(&self) -> Option<OwnedSemaphorePermit> {
        if self.disk.has_failed() {
            return None;
        }
        let room = Arc::clone(&self.disk.room).try_acquire_owned().ok()?;
        self.disk.lags.store(false, Ordering::Relaxed);
        Some(room)
    }

    /// Room in the writer's queue; `None` if there is none for too long.
    pub(crate) async fn permit(&self) -> Option<OwnedSemaphorePermit> {
        if !self.disk.works() || self.disk.lags.load(Ordering::Relaxed) {
            return self.try_permit();
        }
        let room = Arc::clone(&self.disk.room);
        tokio::select! {
            room = room.acquire_owned() => room.ok(),
            () = self.disk.watch.stuck() => None,
            () = tokio::time::sleep(PATIENCE) => {
                if !self.disk.lags.swap(true, Ordering::Relaxed) {
                    tracing::warn!("the cache's disk doesn't keep up: not everything is kept");
                }
                None
            }
        }
    }

    /// What counts the clearings.
    pub(crate) fn generation(&self) -> u64 {
        self.lock().generation
    }

    /// Queues a block of a version of `size` bytes; it can be read from here at once. `generation` is what it was when the
    /// version had that size: after a clearing, or with another length than such a block has, it is not taken.
    pub(crate) fn enqueue(
        self: &Arc<Self>,
        index: u64,
        bytes: Bytes,
        size: u64,
        validator: &Validator,
        generation: u64,
        room: OwnedSemaphorePermit,
    ) {
        let length = block::end_of(index, size).saturating_sub(block::start_of(index));
        if size > store::LARGEST || bytes.len() as u64 != length {
            return;
        }
        // Here, where the processor still has the bytes at hand, and not when the writer comes to them.
        // A sealed block's checksum is of what is stored, which is made by the writer.
        let sum = if self.sealer.is_some() {
            0
        } else {
            map::checksum(self.identity.fingerprint, index, &bytes)
        };
        {
            let mut state = self.lock();
            if state.is_retired || state.generation != generation {
                return;
            }
            state.pending.insert(index, bytes.clone());
        }
        let write = Write {
            entry: Arc::clone(self),
            generation,
            index,
            sum,
            bytes,
            header: Header {
                fingerprint: self.identity.fingerprint,
                size,
                is_sealed: self.sealer.is_some(),
                validator: validator.clone(),
            },
            _room: room,
        };
        if self.disk.queue.send(Job::Write(write)).is_err() {
            self.lock().pending.remove(&index);
        }
    }

    /// Puts a block where those are that wait to be written, and has nobody write it.
    #[cfg(test)]
    pub(crate) fn hold_pending(&self, index: u64, bytes: Bytes) {
        self.lock().pending.insert(index, bytes);
    }

    /// The files to write to, made if there are none; `None` if there was a clearing meanwhile.
    fn files_for(&self, header: &Header, generation: u64) -> std::io::Result<Option<Arc<Files>>> {
        {
            let mut state = self.lock();
            if state.size == header.size
                && (state.is_admitted || !state.validator.contradicts(&header.validator))
                && let Some(files) = state.files.clone()
            {
                state.is_admitted = true;
                return Ok(Some(files));
            }
        }
        let loaded = store::create(&self.disk.settings.directory, header)?;
        let mut state = self.lock();
        if state.generation != generation {
            // Whoever cleared it has the files removed.
            return Ok(None);
        }
        state.take(loaded);
        state.is_loaded = true;
        state.is_admitted = true;
        Ok(state.files.clone())
    }

    /// The whole version as one file, once all of it is verified and the file was opened for this. Has that done on
    /// another thread if that is all that is missing.
    pub(crate) fn complete_file(self: &Arc<Self>) -> Option<Arc<File>> {
        // A sealed file is of no use to anybody else.
        if self.sealer.is_some() {
            return None;
        }
        let mut state = self.lock();
        if let Some(file) = &state.complete {
            return Some(Arc::clone(file));
        }
        let count = block::count_of(state.size);
        if state.size == 0 || state.present.len() != count || state.is_retired || !state.is_admitted
        {
            return None;
        }
        if !state.is_verifying {
            state.is_verifying = true;
            drop(state);
            verify::soon(self);
        }
        None
    }

    /// Opens the file that is handed out, if all of it is there and verified. Blocks.
    fn complete(&self) {
        if self.sealer.is_some() {
            return;
        }
        let (files, size, generation) = {
            let state = self.lock();
            let count = block::count_of(state.size);
            if state.complete.is_some() || state.size == 0 || state.verified.len() != count {
                return;
            }
            let Some(files) = state.files.clone() else {
                return;
            };
            (files, state.size, state.generation)
        };
        if !files.data.metadata().is_ok_and(|found| found.len() == size) {
            return;
        }
        // A descriptor of its own that can't write, whatever it is handed to.
        let path = format!(
            "/proc/self/fd/{}",
            std::os::fd::AsRawFd::as_raw_fd(&files.data)
        );
        let Ok(file) = File::open(path) else { return };
        let mut state = self.lock();
        if state.generation == generation && state.verified.len() == block::count_of(size) {
            state.complete = Some(Arc::new(file));
        }
    }

    /// The files are gone, or soon will be; later blocks make new ones.
    pub(crate) fn clear(&self) {
        let mut state = self.lock();
        let empty = State {
            is_loaded: true,
            is_retired: state.is_retired,
            generation: state.generation + 1,
            ..State::default()
        };
        let over = std::mem::replace(&mut *state, empty);
        drop(state);
        self.close(over);
    }

    /// Has the files of a state that is over closed by the writer.
    fn close(&self, over: State) {
        if over.files.is_some() {
            self.disk.close(Closing {
                _files: over.files,
                _complete: over.complete,
            });
        }
    }

    /// Removes what is here, in the background, and begins anew.
    pub(crate) fn reset(&self) {
        let had_any = {
            let state = self.lock();
            state.files.is_some() || !state.pending.is_empty()
        };
        self.clear();
        if had_any {
            self.disk.condemn(self.identity.fingerprint);
        }
    }

    /// Removes what is here, for good: nothing is added any more.
    pub(crate) fn retire(&self) {
        let had_any = {
            let mut state = self.lock();
            // The writer may be at work on what is pending, and about to make the files.
            let had_any = state.files.is_some() || !state.pending.is_empty();
            state.is_retired = true;
            state.pending.clear();
            state.generation += 1;
            had_any
        };
        if had_any {
            self.disk.condemn(self.identity.fingerprint);
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        // On whatever thread the last handle was let go of.
        let over = std::mem::take(&mut *self.lock());
        self.close(over);
    }
}

impl State {
    fn held_bytes(&self) -> u64 {
        (self.present.len() * block::BLOCK).min(self.size)
    }

    fn take(&mut self, loaded: store::Loaded) {
        self.size = loaded.header.size;
        self.validator = loaded.header.validator;
        self.present = Blocks::default();
        self.verified = Blocks::default();
        self.complete = None;
        for (index, &sum) in loaded.checksums.iter().enumerate() {
            if sum != 0 {
                self.present.insert(index as u64..index as u64 + 1);
            }
        }
        self.checksums = loaded.checksums;
        self.files = Some(Arc::new(loaded.files));
    }
}

impl Entry {
    fn forget_pending(&self, blocks: std::ops::Range<u64>, generation: u64) {
        let mut state = self.lock();
        if state.generation == generation {
            for index in blocks {
                state.pending.remove(&index);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::disk::tests::disk_with_the_files_of;

    #[test]
    fn what_the_writer_was_at_work_on_is_removed_with_the_version() {
        let directory = tempfile::tempdir().unwrap();
        let disk = disk_with_the_files_of(7, directory.path());
        let identity = Identity {
            fingerprint: 7,
            guid: 1,
            key: 2,
            is_video: false,
            modified: None,
            sort: "",
        };
        let entry = Entry::new(Arc::clone(&disk), identity);
        let block = Bytes::from_static(&[7; 1000]);
        // As the writer stands between its look at the generation and its look at the state.
        entry.lock().pending.insert(0, block);
        entry.retire();
        disk.flush();
        assert_eq!(store::all(directory.path()).unwrap(), [] as [u128; 0]);
    }

    #[test]
    fn what_was_cut_for_another_size_or_before_a_clearing_is_not_taken() {
        let directory = tempfile::tempdir().unwrap();
        let disk = disk_with_the_files_of(7, directory.path());
        let identity = Identity {
            fingerprint: 8,
            guid: 1,
            key: 2,
            is_video: false,
            modified: None,
            sort: "",
        };
        let entry = Arc::new(Entry::new(disk, identity));
        let enqueue = |size, generation| {
            let room = entry.try_permit().unwrap();
            let bytes = Bytes::from(vec![7; 1000]);
            entry.enqueue(0, bytes, size, &Validator::default(), generation, room);
            entry.contains(0, true)
        };
        let generation = entry.generation();
        assert!(!enqueue(2000, generation));
        entry.reset();
        assert!(!enqueue(1000, generation));
        assert!(enqueue(1000, entry.generation()));
    }
}
