//! Reading blocks: from the queue, or from the data file, verified and opened.

use std::io::IoSliceMut;
use std::num::NonZeroU64;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use rustix::fs::Advice;
use rustix::io::ReadWriteFlags;

use super::{Entry, Job};
use crate::content::block;
use crate::content::disk::map;
use crate::model::ByteRange;

/// How far ahead of a sequential reader the kernel is asked to read.
const READAHEAD: Option<NonZeroU64> = NonZeroU64::new(8 << 20);

impl Entry {
    /// A part of a block, if that takes no waiting for the disk.
    pub(crate) fn read_now(&self, index: u64, part: ByteRange) -> Option<Bytes> {
        let (files, is_verified, size, generation) = {
            let state = self.lock();
            let skipped = (part.start() - block::start_of(index)) as usize;
            if let Some(bytes) = state.pending.get(&index) {
                let end = skipped + part.len() as usize;
                return (end <= bytes.len()).then(|| bytes.slice(skipped..end));
            }
            // To open a sealed block takes too long for a session thread, and is worth being kept in memory.
            if !state.is_admitted || !state.present.contains(index) || self.sealer.is_some() {
                return None;
            }
            let files = Arc::clone(state.files.as_ref()?);
            (
                files,
                state.verified.contains(index),
                state.size,
                state.generation,
            )
        };
        // Only what is verified can be read in part.
        let wanted = if is_verified {
            part.start()..part.end()
        } else {
            block::start_of(index)..block::end_of(index, size)
        };
        let mut buffer = vec![0; wanted.end.saturating_sub(wanted.start) as usize];
        let read = rustix::io::preadv2(
            &files.data,
            &mut [IoSliceMut::new(&mut buffer)],
            wanted.start,
            ReadWriteFlags::NOWAIT,
        )
        .ok()?;
        if read != buffer.len() || part.end() > wanted.end {
            return None;
        }
        let bytes = Bytes::from(buffer);
        if !is_verified && !self.verify(index, &bytes, generation) {
            return None;
        }
        let skipped = (part.start() - wanted.start) as usize;
        Some(bytes.slice(skipped..skipped + part.len() as usize))
    }

    /// Reads a block, verified. If the reader goes on, the kernel is asked to read what follows, so that
    /// it can be answered without waiting for the disk. Blocks.
    pub(crate) fn read(&self, index: u64, goes_on: bool) -> Option<Bytes> {
        let _call = self.disk.watch.begin();
        let files = self.lock().files.clone();
        if goes_on && let Some(files) = files {
            let from = map::slot_of(index + 1, u64::MAX, self.sealer.is_some()).start;
            let _ = rustix::fs::fadvise(&files.data, from, READAHEAD, Advice::WillNeed);
        }
        self.read_one(index)
    }

    pub(super) fn read_one(&self, index: u64) -> Option<Bytes> {
        let (files, is_verified, slot, generation) = {
            let state = self.lock();
            if let Some(bytes) = state.pending.get(&index) {
                return Some(bytes.clone());
            }
            if !state.is_admitted || !state.present.contains(index) {
                return None;
            }
            let slot = map::slot_of(index, state.size, self.sealer.is_some());
            let files = Arc::clone(state.files.as_ref()?);
            (
                files,
                state.verified.contains(index),
                slot,
                state.generation,
            )
        };
        let mut buffer = vec![0; (slot.end - slot.start) as usize];
        if files.data.read_exact_at(&mut buffer, slot.start).is_err() {
            self.refuse(index, generation);
            return None;
        }
        self.opened(index, buffer, is_verified, generation)
    }

    /// A block as it came, of what is stored of it: verified if it wasn't, and opened if it is sealed.
    fn opened(
        &self,
        index: u64,
        stored: Vec<u8>,
        is_verified: bool,
        generation: u64,
    ) -> Option<Bytes> {
        if !is_verified && !self.verify(index, &stored, generation) {
            return None;
        }
        let Some(sealer) = &self.sealer else {
            return Some(stored.into());
        };
        let opened = sealer.open(index, stored);
        if opened.is_none() {
            // Sound, and yet it doesn't open: another key sealed it, and then all of it.
            self.reset();
        }
        opened.map(Bytes::from)
    }

    /// Whether a block's bytes are what its checksum says; records the outcome.
    fn verify(&self, index: u64, bytes: &[u8], generation: u64) -> bool {
        let sum = map::checksum(self.identity.fingerprint, index, bytes);
        {
            let mut state = self.lock();
            if state.generation != generation {
                return false;
            }
            if state.checksums.get(index as usize) == Some(&sum) {
                state.verified.insert(index..index + 1);
                return true;
            }
        }
        self.refuse(index, generation);
        false
    }

    /// Takes a block out that is not what it should be.
    fn refuse(&self, index: u64, generation: u64) {
        let files = {
            let mut state = self.lock();
            if state.generation != generation {
                return;
            }
            state.present.remove(index..index + 1);
            state.verified.remove(index..index + 1);
            state.complete = None;
            if let Some(sum) = state.checksums.get_mut(index as usize) {
                *sum = 0;
            }
            state.files.clone()
        };
        self.disk.refused_blocks.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(
            block = index,
            "a block in the cache is damaged: it is fetched again"
        );
        if let Some(files) = files {
            // Not here: this may be a thread that must not wait for the disk.
            let _ = self.disk.queue.send(Job::Strike { files, index });
        }
    }
}
