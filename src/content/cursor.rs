//! An open handle's reads.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Bytes, BytesMut};
use tokio::time::Instant;

use super::block::{self, BLOCK};
use super::flight::State;
use super::history::{History, OUTSTANDING};
use super::pace;
use super::{ContentError, Cursor, Object};
use crate::model::ByteRange;
use crate::remote::{Class, RemoteError, RetryBudget, Terms};

impl Cursor {
    pub(super) fn new(object: Arc<Object>) -> Self {
        let number = object.shared.next_place();
        object.lock().cursors.insert(number, History::default());
        Self {
            object,
            number,
            released: AtomicU64::new(0),
        }
    }

    pub(super) fn now(&self, offset: u64, length: u32) -> Option<Bytes> {
        let object = &self.object;
        let size = {
            let state = object.lock();
            if state.is_overwritten {
                return None;
            }
            state.size?
        };
        let Some(range) = ByteRange::of_read(offset, u64::from(length), size) else {
            return (!self.is_past_a_new_end(offset, size)).then(Bytes::new);
        };
        let blocks = block::blocks_of(range);
        let mut pieces = Vec::with_capacity(1);
        let mut is_from_disk = false;
        for index in blocks.clone() {
            let part = part_of(range, index)?;
            let piece = if let Some(bytes) = object.shared.memory.get(object.place, index) {
                slice(&bytes, part, index)?
            } else {
                is_from_disk = true;
                object.entry()?.read_now(index, part)?
            };
            pieces.push(piece);
        }
        if is_from_disk {
            object.shared.counters.served_from_disk(range.len());
        } else {
            object.shared.counters.served_from_memory(range.len());
        }
        let next = blocks.end;
        let is_at_edge = next < block::count_of(size) && !object.has(next);
        let is_ahead_due = self.note(range) && is_at_edge;
        if is_ahead_due {
            object.go_ahead(
                self.number,
                range,
                Instant::now() + std::time::Duration::from_secs(60),
            );
        }
        Some(joined(pieces, range))
    }

    pub(super) async fn within(
        &self,
        offset: u64,
        length: u32,
        deadline: Instant,
    ) -> Result<Bytes, ContentError> {
        let object = &self.object;
        let terms = Terms {
            class: Class::Reader,
            deadline,
            retries: RetryBudget::standard(),
        };
        tokio::time::timeout_at(deadline, object.look_at_disk())
            .await
            .map_err(|_| ContentError::DeadlinePassed)?;
        let mut is_noted = false;
        loop {
            if object.lock().is_overwritten {
                return Err(ContentError::Stale);
            }
            let Some(size) = object.size() else {
                object.size_within(&terms).await?;
                continue;
            };
            let Some(range) = ByteRange::of_read(offset, u64::from(length), size) else {
                if self.is_past_a_new_end(offset, size) {
                    return Err(RemoteError::Protocol("a file that is shorter than it was").into());
                }
                return Ok(Bytes::new());
            };
            if !is_noted {
                is_noted = true;
                self.note(range);
                object.shared.counters.missed();
            }
            let found = object.blocks(range, Some(self.number), &terms).await?;
            let Some(found) = found.filter(|_| object.size() == Some(size)) else {
                // The size proved wrong meanwhile.
                continue;
            };
            object.go_ahead(self.number, range, deadline);
            let pieces = block::blocks_of(range)
                .zip(found)
                .map(|(index, bytes)| {
                    let part = part_of(range, index)?;
                    slice(&bytes, part, index)
                })
                .collect::<Option<Vec<_>>>();
            if let Some(pieces) = pieces {
                return Ok(joined(pieces, range));
            }
            if Instant::now() >= deadline {
                return Err(ContentError::DeadlinePassed);
            }
            tokio::task::yield_now().await;
        }
    }

    /// Whether a READ lies wholly behind the end of a file that proved shorter than listed. The kernel sends it only
    /// while it believes the listed length; an empty answer would tell it that the file ends at this place, and
    /// the READ that shows the true end would come too late to correct that: it would fill up with noughts.
    fn is_past_a_new_end(&self, offset: u64, size: u64) -> bool {
        offset > size
            && self
                .object
                .id
                .version
                .length
                .is_some_and(|listed| listed > size)
    }

    /// Notes a READ in the history, wakes the streams that may run on; whether the run is sequential.
    fn note(&self, range: ByteRange) -> bool {
        let object = &self.object;
        let capacity = object.shared.capacity_ahead();
        let has_disk = object.shared.has_working_disk();
        let mut state = object.lock();
        let State {
            cursors,
            flights,
            backward_seeks,
            ..
        } = &mut *state;
        let history = cursors.entry(self.number).or_default();
        if history.note(range) {
            *backward_seeks += 1;
        }
        for flight in flights.iter() {
            if pace::is_worth_waking(flight, history.front(), capacity, has_disk) {
                flight.changed.notify_one();
            }
        }
        let history = *history;
        drop(state);
        let is_sequential = history.is_sequential();
        if is_sequential {
            self.release_behind(&history);
        }
        is_sequential
    }

    /// Lets go of what lies behind a reader that goes on and is on the disk, too. Who reads it again gets it from there,
    /// mostly out of the kernel's page cache; kept here as well, it would take twice the memory, and every block
    /// that comes would need fresh memory where it can have that of one just read.
    fn release_behind(&self, history: &History) {
        let object = &self.object;
        let Some(entry) = object.entry() else { return };
        if !object.shared.disk_outlasts_memory() {
            return;
        }
        let first = block::index_of(history.start());
        let behind = block::index_of(history.front().saturating_sub(OUTSTANDING));
        let mut from = self.released.load(Ordering::Relaxed);
        if !(first..=behind).contains(&from) {
            from = first;
        }
        let upto = entry.written_upto(from, behind);
        if upto > from {
            object.shared.memory.remove(object.place, from..upto);
        }
        self.released.store(upto.max(from), Ordering::Relaxed);
    }
}

impl Drop for Cursor {
    fn drop(&mut self) {
        let mut state = self.object.lock();
        state.cursors.remove(&self.number);
        for flight in &state.flights {
            flight.changed.notify_one();
        }
    }
}

/// What `range` wants of a block, as a range of the file.
fn part_of(range: ByteRange, index: u64) -> Option<ByteRange> {
    let start = block::start_of(index);
    range.intersection(ByteRange::new(start, start.saturating_add(BLOCK))?)
}

/// A part of a block, without a copy; `None` if the block is shorter than the file was thought to be.
fn slice(block: &Bytes, part: ByteRange, index: u64) -> Option<Bytes> {
    let start = (part.start() - block::start_of(index)) as usize;
    let end = (part.end() - block::start_of(index)) as usize;
    (end <= block.len()).then(|| block.slice(start..end))
}

/// One piece as it is; several as one, since the kernel takes one slice.
fn joined(mut pieces: Vec<Bytes>, range: ByteRange) -> Bytes {
    if pieces.len() == 1 {
        return pieces.pop().unwrap_or_default();
    }
    let mut whole = BytesMut::with_capacity(range.len() as usize);
    for piece in pieces {
        whole.extend_from_slice(&piece);
    }
    whole.freeze()
}
