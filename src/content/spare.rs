//! Buffers of one block, used again: a fresh one costs a page fault for every 4 KiB of it.
//!
//! Keeps a few that nobody uses just now, within a bound, whatever was lent.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use super::block::BLOCK;

/// Buffers that are kept: what a stream fills between two that its readers let go of.
const KEPT: usize = 64;

/// Lends buffers of [`BLOCK`] bytes.
#[derive(Debug, Default)]
pub(super) struct Spare(Mutex<Vec<Vec<u8>>>);

/// A buffer that is filled; goes back when it is dropped.
#[derive(Debug)]
pub(super) struct Buffer {
    bytes: Vec<u8>,
    home: Arc<Spare>,
}

impl Spare {
    /// An empty buffer, which takes memory for a block when the first byte comes.
    pub(super) fn lend(self: &Arc<Self>) -> Buffer {
        Buffer {
            bytes: Vec::new(),
            home: Arc::clone(self),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Buffer {
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
    }

    /// Leaves the first `length` bytes at most.
    pub(super) fn truncate(&mut self, length: usize) {
        self.bytes.truncate(length);
    }

    /// Appends `more`, which a block has room for.
    pub(super) fn extend(&mut self, more: &[u8]) {
        if self.bytes.capacity() == 0 {
            let used = self.home.lock().pop();
            self.bytes = used.unwrap_or_else(|| Vec::with_capacity(BLOCK as usize));
        }
        self.bytes.extend_from_slice(more);
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        &self.bytes
    }

    /// The bytes, not to be changed any more. A block that is short takes no more than its bytes.
    pub(super) fn freeze(self) -> Bytes {
        if (self.bytes.len() as u64) < BLOCK {
            return Bytes::copy_from_slice(&self.bytes);
        }
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut bytes = std::mem::take(&mut self.bytes);
        if bytes.capacity() == 0 {
            return;
        }
        bytes.clear();
        let mut kept = self.home.lock();
        if kept.len() < KEPT {
            kept.push(bytes);
        } else {
            // Not under the lock: giving memory back can take a while.
            drop(kept);
            drop(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_when_the_last_slice_of_it_is_dropped() {
        let spare = Arc::new(Spare::default());
        let mut buffer = spare.lend();
        buffer.extend(&[7; BLOCK as usize]);
        let whole = buffer.freeze();
        let slice = whole.slice(10..20);
        drop(whole);
        assert_eq!(spare.lock().len(), 0);
        assert_eq!(slice[..], [7; 10]);
        drop(slice);
        assert_eq!(spare.lock().len(), 1);
        let mut anew = spare.lend();
        anew.extend(b"new");
        assert_eq!((spare.lock().len(), anew.as_slice()), (0, &b"new"[..]));
    }

    #[test]
    fn a_short_block_holds_no_more_memory_than_its_bytes() {
        let spare = Arc::new(Spare::default());
        let mut buffer = spare.lend();
        buffer.extend(b"short");
        let bytes = buffer.freeze();
        assert_eq!(spare.lock().len(), 1, "the buffer is free at once");
        assert_eq!(bytes, "short");
    }

    #[test]
    fn no_more_than_a_few_are_kept() {
        let spare = Arc::new(Spare::default());
        let mut lent: Vec<Buffer> = (0..2 * KEPT).map(|_| spare.lend()).collect();
        for buffer in &mut lent {
            buffer.extend(b"some");
        }
        drop(lent);
        assert_eq!(spare.lock().len(), KEPT);
    }
}
