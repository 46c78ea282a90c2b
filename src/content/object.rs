//! An object: one version of one item, shared by all who read it.
//!
//! Owns what is known of the version (its size, what pins it, what just failed), the flights that bring
//! its bytes, and who waits for which block. The promise: whoever waits for a block is either in the path of a
//! flight, or is told to plan again. Bytes themselves are in the two tiers.
//!
//! Lock order: an object's state, then the memory tier or the disk entry. Never across an await or I/O.

mod fetch;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::block::{self, Blocks};
use super::disk::Entry;
use super::flight::{Delivery, State, outcome_without_bytes};
use super::history::History;
use super::plan::{self, Fetch, Kind};
use super::shared::{Shared, Stuck};
use super::version_check::Pinned;
use super::{ContentError, Object, Traits};
use crate::model::ContentId;
use crate::remote::{Class, RemoteError, Terms};

/// How long after a failure no stream is started that nobody waits for.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

impl Object {
    pub(super) fn new(shared: Arc<Shared>, id: ContentId, traits: Traits) -> Arc<Self> {
        let fingerprint = id.fingerprint();
        let disk = shared.disk.as_ref().map(|disk| disk.entry(&id, traits));
        let learnt = shared
            .disk
            .as_ref()
            .and_then(|disk| disk.learnt_size(fingerprint));
        let state = State {
            // A listed length of 0 is worth nothing until an answer confirms it: see `Object::size`.
            size: learnt.or(id.version.length.filter(|&length| length > 0)),
            size_is_learnt: learnt.is_some(),
            disk_is_known: disk.is_none(),
            ..State::default()
        };
        Arc::new(Self {
            place: shared.next_place(),
            settling: tokio::sync::Mutex::new(()),
            shared,
            id,
            disk,
            state: Mutex::new(state),
        })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The disk's entry, if there is a disk tier.
    pub(super) fn entry(&self) -> Option<&Arc<Entry>> {
        self.disk.as_ref()
    }

    /// Looks up, once, what the disk holds of this version. While the disk is stuck that remains to be found out.
    pub(super) async fn look_at_disk(self: &Arc<Self>) {
        let Some(entry) = self.disk.clone() else {
            return;
        };
        if self.lock().disk_is_known {
            return;
        }
        let looking = self.shared.on_disk(move || {
            entry.load();
            entry.stored()
        });
        let Ok(found) = looking.await else { return };
        let mut learnt = None;
        let mut state = self.lock();
        if state.disk_is_known {
            return;
        }
        state.disk_is_known = true;
        let (Some(Some(stored)), Some(entry)) = (found, &self.disk) else {
            return;
        };
        // The server may have said something while the disk didn't answer: then both must be of one version.
        let was_answered = !state.flights.is_empty()
            || state.pinned != Pinned::default()
            || !self.shared.memory.held(self.place).is_empty();
        if was_answered {
            let differs = state
                .pinned
                .compare(&stored.validator, Some(stored.size), state.size);
            if !differs.is_none() {
                entry.reset();
                return;
            }
        } else if state.size != Some(stored.size) {
            // Learnt by the mount that wrote it.
            state.size = Some(stored.size);
            state.size_is_learnt = true;
            learnt = Some(stored.size);
        }
        if state.pinned == Pinned::default() {
            state.pinned = Pinned::restored(stored.validator);
        }
        entry.admit();
        drop(state);
        if let Some(size) = learnt {
            self.announce_size(size);
        }
    }

    /// The size; when not known, by one request for all, whose bytes are kept.
    pub(super) async fn size_within(self: &Arc<Self>, terms: &Terms) -> Result<u64, ContentError> {
        self.look_at_disk().await;
        loop {
            let delivery = {
                let now = Instant::now();
                let mut state = self.lock();
                if let Some(size) = state.size {
                    return Ok(size);
                }
                if state.is_stale {
                    return Err(ContentError::Stale);
                }
                if let Some(error) = state.failures.of(0, now) {
                    return Err(error);
                }
                if !state.flights.iter().any(|flight| flight.end == u64::MAX) {
                    let all = Fetch {
                        start: 0,
                        end: u64::MAX,
                        kind: Kind::Bounded,
                    };
                    self.launch(&mut state, all, terms.clone());
                }
                state.hurry(0, terms.class);
                let (sender, delivery) = oneshot::channel();
                state.size_waiters.push(sender);
                delivery
            };
            if let Some(error) = outcome_without_bytes(delivery, terms.deadline).await {
                self.lock().failures.note(0, &error, Instant::now());
                return Err(error);
            }
        }
    }

    /// Whether a block is in either tier.
    pub(super) fn has(&self, index: u64) -> bool {
        self.shared.memory.contains(self.place, index) || self.disk_contains(index)
    }

    /// Whether the disk tier has a block, or is about to.
    pub(super) fn disk_contains(&self, index: u64) -> bool {
        let counts = self.shared.counts_on_disk();
        self.disk
            .as_ref()
            .is_some_and(|disk| disk.contains(index, counts))
    }

    /// Reads a block from disk into memory; for a sequential reader, has the kernel read on.
    /// `None` if it proved damaged, or the disk is stuck: then it is to be fetched.
    async fn read_disk(
        self: &Arc<Self>,
        index: u64,
        cursor: Option<u64>,
    ) -> Result<Option<Bytes>, ContentError> {
        let Some(entry) = self.disk.clone() else {
            return Ok(None);
        };
        let goes_on = {
            let state = self.lock();
            cursor
                .and_then(|cursor| state.cursors.get(&cursor))
                .is_some_and(History::is_sequential)
        };
        let reading = self.shared.on_disk(move || entry.read(index, goes_on));
        let found = match reading.await {
            Ok(Some(found)) => found,
            // The runtime ends.
            Ok(None) => return Err(RemoteError::Interrupted.into()),
            Err(Stuck) => return Ok(None),
        };
        if let Some(bytes) = &found {
            self.shared.counters.served_from_disk(bytes.len() as u64);
            self.shared.memory.insert(self.place, index, bytes.clone());
        }
        Ok(found)
    }

    /// Whether all of it is held in either tier.
    pub(super) fn is_whole(&self) -> bool {
        self.size()
            .is_some_and(|size| self.held().len() >= block::count_of(size))
    }

    /// Which blocks are held in either tier.
    pub(super) fn held(&self) -> Blocks {
        let mut held = self.shared.memory.held(self.place);
        if let Some(entry) = &self.disk {
            held.extend(&entry.present(self.shared.counts_on_disk()));
        }
        held
    }

    /// Ends a flight: whoever waited for what it didn't bring is told.
    pub(super) fn land(&self, number: u64, outcome: Result<(), ContentError>, deadline: Instant) {
        let mut state = self.lock();
        state.flights.retain(|flight| flight.number != number);
        if outcome.is_err() {
            state.no_stream_before = Some(Instant::now() + AFTER_FAILURE);
        }
        let told = match outcome {
            Ok(()) => Delivery::Again,
            Err(error) => Delivery::Failed(error, deadline),
        };
        state.tell_orphans(&told);
        if !state.flights.iter().any(|flight| flight.end == u64::MAX) {
            state.tell_size_waiters(&told);
        }
    }

    /// The true size is known now, where none was.
    pub(super) fn learn(&self, total: u64) {
        {
            let mut state = self.lock();
            state.size = Some(total);
            state.size_is_learnt = true;
            for flight in &mut state.flights {
                if flight.end == u64::MAX {
                    flight.end = total;
                    if total > plan::WHOLE && flight.urgency.class() == Class::Reader {
                        flight.kind = Kind::Stream;
                    }
                }
            }
            state.tell_size_waiters(&Delivery::Again);
        }
        self.announce_size(total);
    }

    /// The listed size was wrong. What was kept under it is let go, as the last block may be cut short;
    /// flight `number` goes on, the others end.
    pub(super) fn resize(&self, total: u64, number: u64) {
        {
            let mut state = self.lock();
            // Together with the size: whoever publishes a block looks at both.
            self.shared.memory.forget(self.place);
            if let Some(entry) = &self.disk {
                entry.reset();
            }
            let listed = state.size.replace(total).unwrap_or(u64::MAX);
            state.size_is_learnt = true;
            for flight in &mut state.flights {
                flight.end = if flight.number != number {
                    flight.position
                } else if flight.end >= listed {
                    total
                } else {
                    flight.end.min(total)
                };
                flight.changed.notify_one();
            }
            let waiting: Vec<u64> = state.waiters.keys().copied().collect();
            for index in waiting {
                state.tell(index, &Delivery::Again);
            }
        }
        self.announce_size(total);
    }

    /// Also where it is the listed one: another may have been announced before.
    fn announce_size(&self, total: u64) {
        if let Some(disk) = &self.shared.disk {
            disk.note_size(&self.id, total);
        }
        self.shared.discoveries.resized(&self.id, total);
    }

    /// The version is no more: whoever needs its bytes is told, now and later.
    pub(super) fn become_stale(&self) {
        self.lock().is_stale = true;
        self.give_way();
    }

    /// Other bytes have come in the place of this version's, under the same inode.
    pub(super) fn become_overwritten(&self) {
        {
            let mut state = self.lock();
            state.is_stale = true;
            state.is_overwritten = true;
        }
        // After this no READ brings old bytes into the kernel's pages; before a new open can bring new ones.
        self.shared.discoveries.replaced(&self.id);
        self.give_way();
    }

    /// Makes room for what comes after this version, and then tells whoever waits.
    fn give_way(&self) {
        // Before anybody is told, who would open it anew and find what is here.
        if let Some(entry) = &self.disk {
            entry.retire();
        }
        if let Some(disk) = &self.shared.disk {
            disk.forget_size(&self.id);
        }
        self.shared.table.forget(&self.id);
        let mut state = self.lock();
        for flight in &mut state.flights {
            flight.end = flight.position;
            flight.changed.notify_one();
        }
        let told = Delivery::Failed(ContentError::Stale, Instant::now());
        state.tell_orphans(&told);
        state.tell_size_waiters(&told);
    }
}

impl Drop for Object {
    fn drop(&mut self) {
        self.shared.memory.forget(self.place);
    }
}
