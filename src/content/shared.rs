//! What all objects of an engine share: the wire, the tiers, the counters.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use lru::LruCache;
use rustix::process::{Resource, getrlimit};
use tokio::runtime::Handle;
use tokio::time::Instant;

use super::block::BLOCK;
use super::disk::Disk;
use super::memory::Memory;
use super::spare::Spare;
use super::version_check::EtagTrust;
use super::{ContentError, Discoveries, Object};
use crate::lane;
use crate::model::{ContentId, ContentKey, Guid};
use crate::remote::Remote;

/// Objects that nobody holds but that are remembered, with their blocks in memory: at most so many.
const REMEMBERED: NonZeroUsize = NonZeroUsize::MIN.saturating_add(4095);

/// Descriptors for all but cached content: connections, databases, the kernel.
const OTHER_DESCRIPTORS: u64 = 128;

/// Descriptors for each object that is remembered: three for its files, and some that it may be slow to close.
const DESCRIPTORS: u64 = 4;

pub(super) struct Shared {
    pub(super) remote: Arc<dyn Remote>,
    pub(super) discoveries: Arc<dyn Discoveries>,
    pub(super) memory: Memory,
    pub(super) spare: Arc<Spare>,
    pub(super) disk: Option<Arc<Disk>>,
    pub(super) table: Table,
    pub(super) counters: Counters,
    pub(super) etag_trust: EtagTrust,
    runtime: Handle,
    /// What one connection brings, bytes a second; 0 before any was measured.
    rate: AtomicU64,
    flights: Arc<AtomicUsize>,
    places: AtomicU64,
}

/// All objects, by version. Strong references are kept of those used last only.
pub(super) struct Table {
    remembered: NonZeroUsize,
    entries: Mutex<Entries>,
}

struct Entries {
    by_id: HashMap<ContentId, Weak<Object>>,
    recent: LruCache<ContentId, Arc<Object>>,
}

/// What was served from where, since the engine started.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) memory_bytes: AtomicU64,
    pub(super) disk_bytes: AtomicU64,
    pub(super) wire_bytes: AtomicU64,
    pub(super) hits: AtomicU64,
    pub(super) misses: AtomicU64,
    pub(super) requests: AtomicU64,
}

/// Ends a flight when its task ends, also by a panic.
pub(super) struct Landing {
    object: Arc<Object>,
    number: u64,
    deadline: Instant,
    is_landed: bool,
    _in_flight: InFlight,
}

/// The disk doesn't answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Stuck;

/// Counts a flight while it lives.
pub(super) struct InFlight(Arc<AtomicUsize>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Landing {
    pub(super) fn new(
        object: Arc<Object>,
        number: u64,
        deadline: Instant,
        in_flight: InFlight,
    ) -> Self {
        Self {
            object,
            number,
            deadline,
            is_landed: false,
            _in_flight: in_flight,
        }
    }

    /// Ends the flight as it went.
    pub(super) fn land(mut self, outcome: Result<(), ContentError>) {
        self.is_landed = true;
        self.object.land(self.number, outcome, self.deadline);
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        if !self.is_landed {
            let error = crate::remote::RemoteError::Interrupted.into();
            self.object.land(self.number, Err(error), self.deadline);
        }
    }
}

impl Shared {
    pub(super) fn new(
        remote: Arc<dyn Remote>,
        discoveries: Arc<dyn Discoveries>,
        memory_bytes: u64,
        disk: Option<Arc<Disk>>,
    ) -> Self {
        Self {
            remote,
            discoveries,
            memory: Memory::new(memory_bytes),
            spare: Arc::default(),
            disk,
            table: Table::new(remembered(getrlimit(Resource::Nofile).current)),
            counters: Counters::default(),
            etag_trust: EtagTrust::default(),
            runtime: Handle::current(),
            rate: AtomicU64::new(0),
            flights: Arc::new(AtomicUsize::new(0)),
            places: AtomicU64::new(0),
        }
    }

    /// A number for an object's blocks in memory, never given twice: bytes of an object that proved stale
    /// can't be met by its successor.
    pub(super) fn next_place(&self) -> u64 {
        self.places.fetch_add(1, Ordering::Relaxed)
    }

    /// Starts a task. From any thread: the kernel's session threads are not the runtime's.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.runtime.spawn(task);
    }

    /// Runs what waits for the disk; `None` if the runtime ends.
    ///
    /// # Errors
    /// [`Stuck`], also before `work` has begun; begun work goes on. Not if only the disk can help: then it is waited for.
    pub(super) async fn on_disk<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<Option<T>, Stuck> {
        let Some(disk) = &self.disk else {
            return Ok(None);
        };
        if self.only_disk_helps() {
            return Ok(lane::CONTENT.run(work).await);
        }
        if disk.watch().is_stuck() {
            return Err(Stuck);
        }
        tokio::select! {
            biased;
            done = lane::CONTENT.run(work) => Ok(done),
            () = disk.watch().stuck() => Err(Stuck),
        }
    }

    /// Whether what is on disk is to be read from there: it answers, or nobody else would.
    pub(super) fn counts_on_disk(&self) -> bool {
        self.disk.as_ref().is_some_and(|disk| disk.answers()) || self.only_disk_helps()
    }

    fn only_disk_helps(&self) -> bool {
        self.remote.is_offline() || self.remote.refusal().is_some()
    }

    /// Returns when the disk, if there is one, isn't stuck.
    pub(super) async fn disk_answers(&self) {
        if let Some(disk) = &self.disk {
            disk.watch().answers().await;
        }
    }

    /// Whether there is a disk that doesn't answer.
    pub(super) fn disk_is_stuck(&self) -> bool {
        self.disk
            .as_ref()
            .is_some_and(|disk| disk.watch().is_stuck())
    }

    pub(super) fn flight_begins(&self) -> InFlight {
        self.flights.fetch_add(1, Ordering::Relaxed);
        InFlight(Arc::clone(&self.flights))
    }

    pub(super) fn flights(&self) -> usize {
        self.flights.load(Ordering::Relaxed)
    }

    /// Bytes that one flight may have in memory ahead of its readers: together they leave half of the
    /// memory tier to what was read.
    pub(super) fn capacity_ahead(&self) -> u64 {
        let flights = self.flights().max(1) as u64;
        (self.memory.capacity() / 2 / (flights + 1)).max(BLOCK)
    }

    /// Bytes that are kept of one object, however many are asked for.
    pub(super) fn keeps(&self) -> u64 {
        if self.has_working_disk() {
            u64::MAX
        } else {
            self.memory.capacity() / 2
        }
    }

    /// Whether there is a disk that has not failed, whether or not it answers just now.
    pub(super) fn has_disk(&self) -> bool {
        self.disk.as_ref().is_some_and(|disk| !disk.has_failed())
    }

    pub(super) fn has_working_disk(&self) -> bool {
        self.disk.as_ref().is_some_and(|disk| disk.works())
    }

    /// Whether what is on disk stays there longer than what is in memory stays in memory.
    pub(super) fn disk_outlasts_memory(&self) -> bool {
        self.disk
            .as_ref()
            .is_some_and(|disk| disk.works() && disk.capacity() / 4 >= self.memory.capacity())
    }

    pub(super) fn rate(&self) -> Option<u64> {
        Some(self.rate.load(Ordering::Relaxed)).filter(|&rate| rate > 0)
    }

    /// Notes a measured rate: the last one counts for a quarter.
    pub(super) fn note_rate(&self, rate: u64) {
        let old = self.rate.load(Ordering::Relaxed);
        let new = if old == 0 {
            rate
        } else {
            old / 4 * 3 + rate / 4
        };
        self.rate.store(new.max(1), Ordering::Relaxed);
    }
}

/// How many objects to remember where so many descriptors may be open; `None` stands for any number.
fn remembered(descriptors: Option<u64>) -> NonZeroUsize {
    let most = descriptors.map_or(usize::MAX, |most| {
        usize::try_from(most.saturating_sub(OTHER_DESCRIPTORS) / DESCRIPTORS).unwrap_or(usize::MAX)
    });
    NonZeroUsize::new(most)
        .unwrap_or(NonZeroUsize::MIN)
        .min(REMEMBERED)
}

impl Table {
    fn new(remembered: NonZeroUsize) -> Self {
        Self {
            remembered,
            entries: Mutex::new(Entries {
                by_id: HashMap::new(),
                recent: LruCache::new(remembered),
            }),
        }
    }

    /// The object of a version; made by `make` if there is none.
    pub(super) fn get_or_make(
        &self,
        id: &ContentId,
        make: impl FnOnce() -> Arc<Object>,
    ) -> Arc<Object> {
        // Dropped after the lock is: an object's end takes the memory tier's lock.
        let mut dropped = None;
        let mut entries = self.lock();
        if let Some(object) = entries.by_id.get(id).and_then(Weak::upgrade) {
            entries.recent.promote(id);
            if !entries.recent.contains(id) {
                dropped = entries.recent.push(id.clone(), Arc::clone(&object));
            }
            drop(entries);
            drop(dropped);
            return object;
        }
        let object = make();
        entries.by_id.insert(id.clone(), Arc::downgrade(&object));
        dropped = entries
            .recent
            .push(id.clone(), Arc::clone(&object))
            .or(dropped);
        if entries.by_id.len() > 2 * self.remembered.get() {
            entries.by_id.retain(|_, object| object.strong_count() > 0);
        }
        drop(entries);
        drop(dropped);
        object
    }

    /// The object of a version, if there is one.
    pub(super) fn get(&self, id: &ContentId) -> Option<Arc<Object>> {
        self.lock().by_id.get(id).and_then(Weak::upgrade)
    }

    /// All objects of an item, or of all of an interaction's items.
    pub(super) fn of(&self, guid: Guid, key: Option<&ContentKey>) -> Vec<Arc<Object>> {
        self.lock()
            .by_id
            .iter()
            .filter(|(id, _)| id.guid == guid && key.is_none_or(|key| *key == id.key))
            .filter_map(|(_, object)| object.upgrade())
            .collect()
    }

    /// The next to ask for this version gets a new object.
    pub(super) fn forget(&self, id: &ContentId) {
        let mut entries = self.lock();
        entries.by_id.remove(id);
        let object = entries.recent.pop(id);
        drop(entries);
        drop(object);
    }

    /// Lets go of all objects that nobody else holds.
    pub(super) fn clear(&self) {
        let mut entries = self.lock();
        let recent = std::mem::replace(&mut entries.recent, LruCache::new(self.remembered));
        drop(entries);
        drop(recent);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counters {
    pub(super) fn request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn wire(&self, bytes: u64) {
        self.wire_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn served_from_memory(&self, bytes: u64) {
        self.hits.fetch_add(1, Ordering::Relaxed);
        self.memory_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn served_from_disk(&self, bytes: u64) {
        self.hits.fetch_add(1, Ordering::Relaxed);
        self.disk_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn missed(&self) {
        self.misses.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_objects_are_remembered_than_descriptors_allow() {
        let most = |descriptors| remembered(descriptors).get();
        assert_eq!(
            [
                most(Some(100)),
                most(Some(1024)),
                most(Some(1 << 20)),
                most(None)
            ],
            [1, 224, 4096, 4096]
        );
    }
}
