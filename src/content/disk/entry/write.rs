//! Writing blocks, on the writer's thread.

use std::fs::File;
use std::io::IoSlice;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;
use rustix::fs::{FallocateFlags, fallocate};
use tokio::sync::OwnedSemaphorePermit;

use super::Entry;
use crate::content::disk::map::{self, Header};

/// A block on its way to the disk.
pub(in crate::content::disk) struct Write {
    pub(in crate::content::disk) entry: Arc<Entry>,
    pub(in crate::content::disk) generation: u64,
    pub(in crate::content::disk) index: u64,
    pub(in crate::content::disk) bytes: Bytes,
    pub(in crate::content::disk) sum: u64,
    pub(in crate::content::disk) header: Header,
    pub(in crate::content::disk) _room: OwnedSemaphorePermit,
}

impl Write {
    pub(in crate::content::disk) fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// Whether `next` is the block behind this one, of the same version.
    pub(in crate::content::disk) fn is_followed_by(&self, next: &Self) -> bool {
        Arc::ptr_eq(&self.entry, &next.entry)
            && self.generation == next.generation
            && self.header.size == next.header.size
            && self.index + 1 == next.index
    }
}

/// Writes neighbouring blocks, then their checksums. In that order only for the sake of other processes: a
/// crash in between, in either order, leaves blocks that fail their checksums.
pub(in crate::content::disk) fn write(batch: &[Write]) {
    let Some(first) = batch.first() else { return };
    let entry = Arc::clone(&first.entry);
    let (generation, from) = (first.generation, first.index);
    let blocks = from..from + batch.len() as u64;
    if entry.lock().generation != generation || entry.disk.has_failed() {
        entry.forget_pending(blocks, generation);
        return;
    }
    let _call = entry.disk.watch.begin_write();
    let written = stored(&entry, batch).and_then(|stored| {
        let sums: Vec<u64> = stored.iter().map(|block| block.sum).collect();
        let encoded: Vec<u8> = sums.iter().flat_map(|sum| sum.to_le_bytes()).collect();
        let Some(files) = entry.files_for(&first.header, generation)? else {
            return Ok(None);
        };
        write_data(&files.data, &stored)?;
        files.map.write_all_at(&encoded, map::offset_of(from))?;
        Ok(Some(sums))
    });
    match written {
        Ok(None) => entry.forget_pending(blocks, generation),
        Ok(Some(sums)) => {
            let mut state = entry.lock();
            if state.generation != generation {
                return;
            }
            for (index, sum) in blocks.clone().zip(sums) {
                if let Some(kept) = state.checksums.get_mut(index as usize) {
                    *kept = sum;
                }
                state.pending.remove(&index);
            }
            state.present.insert(blocks.clone());
            state.verified.insert(blocks);
            let bytes = state.held_bytes();
            drop(state);
            entry.complete();
            entry.disk.accounts.holds(entry.identity, bytes, true);
        }
        Err(error) => {
            entry.forget_pending(blocks, generation);
            // Too many open files are no fault of the disk, and don't stay so.
            if !is_want_of_descriptors(&error) {
                entry.disk.give_up(&error.kind().to_string());
            }
        }
    }
}

fn is_want_of_descriptors(error: &std::io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}

/// A block as it is written.
struct Stored {
    bytes: Bytes,
    sum: u64,
    at: u64,
}

fn stored(entry: &Entry, batch: &[Write]) -> std::io::Result<Vec<Stored>> {
    let store = |write: &Write| {
        let is_sealed = entry.sealer.is_some();
        let at = map::slot_of(write.index, write.header.size, is_sealed).start;
        let Some(sealer) = &entry.sealer else {
            return Ok(Stored {
                bytes: write.bytes.clone(),
                sum: write.sum,
                at,
            });
        };
        let sealed = sealer
            .seal(write.index, &write.bytes)
            .map_err(std::io::Error::other)?;
        Ok(Stored {
            sum: map::checksum(write.header.fingerprint, write.index, &sealed),
            bytes: sealed.into(),
            at,
        })
    };
    batch.iter().map(store).collect()
}

/// Writes neighbouring blocks with one call where the disk takes them at once.
fn write_data(data: &File, blocks: &[Stored]) -> std::io::Result<()> {
    let Some(first) = blocks.first() else {
        return Ok(());
    };
    let pieces: Vec<IoSlice<'_>> = blocks
        .iter()
        .map(|block| IoSlice::new(&block.bytes))
        .collect();
    let total: usize = blocks.iter().map(|block| block.bytes.len()).sum();
    if blocks.len() > 1 {
        // Room for all of them at once: as they are written, ext4 would reserve it page by page, at a quarter of the write's
        // cost. A file system that can't do it says so, and one that has no room says so again to the write.
        let _ = fallocate(data, FallocateFlags::KEEP_SIZE, first.at, total as u64);
    }
    let written = rustix::io::pwritev(data, &pieces, first.at)?;
    if written < total {
        // Cut short, by a signal or a disk that is nearly full: the rest one by one, which says why.
        for block in blocks {
            data.write_all_at(&block.bytes, block.at)?;
        }
    }
    Ok(())
}
