//! The memory tier: the blocks used last, of all objects, within one bound of bytes.
//!
//! Owns the blocks and knows of each version which ones it holds. Blocks never change; a clone of one
//! shares its bytes. One short lock, never held across I/O.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use lru::LruCache;

use super::block::Blocks;

/// An object's number and a block of it.
type Place = (u64, u64);

#[derive(Debug)]
pub(super) struct Memory {
    capacity: u64,
    tier: Mutex<Tier>,
}

#[derive(Debug)]
struct Tier {
    blocks: LruCache<Place, Bytes>,
    held: HashMap<u64, Blocks>,
    bytes: u64,
    evictions: u64,
}

impl Memory {
    /// A tier that keeps at most `capacity` bytes.
    pub(super) fn new(capacity: u64) -> Self {
        Self {
            capacity,
            tier: Mutex::new(Tier {
                blocks: LruCache::unbounded(),
                held: HashMap::new(),
                bytes: 0,
                evictions: 0,
            }),
        }
    }

    /// The most bytes it keeps.
    pub(super) fn capacity(&self) -> u64 {
        self.capacity
    }

    /// A block, which counts as used.
    pub(super) fn get(&self, version: u64, block: u64) -> Option<Bytes> {
        self.lock().blocks.get(&(version, block)).cloned()
    }

    /// Whether a block is held; doesn't count as use.
    pub(super) fn contains(&self, version: u64, block: u64) -> bool {
        self.lock().blocks.contains(&(version, block))
    }

    /// Keeps a block, and lets go of what was used longest ago.
    pub(super) fn insert(&self, version: u64, block: u64, bytes: Bytes) {
        let mut tier = self.lock();
        tier.bytes += bytes.len() as u64;
        tier.held
            .entry(version)
            .or_default()
            .insert(block..block + 1);
        if let Some(old) = tier.blocks.put((version, block), bytes) {
            tier.bytes -= old.len() as u64;
        }
        while tier.bytes > self.capacity {
            let Some((place, bytes)) = tier.blocks.pop_lru() else {
                break;
            };
            tier.evictions += 1;
            tier.dropped(place, bytes.len() as u64);
        }
    }

    /// Lets go of some blocks of a version.
    pub(super) fn remove(&self, version: u64, blocks: Range<u64>) {
        let mut removed = Vec::new();
        {
            let mut tier = self.lock();
            for block in blocks {
                if let Some(bytes) = tier.blocks.pop(&(version, block)) {
                    tier.dropped((version, block), bytes.len() as u64);
                    removed.push(bytes);
                }
            }
        }
        // Not under the lock: their memory is given back.
        drop(removed);
    }

    /// Which blocks of a version are held.
    pub(super) fn held(&self, version: u64) -> Blocks {
        self.lock().held.get(&version).cloned().unwrap_or_default()
    }

    /// Lets go of all blocks of a version.
    pub(super) fn forget(&self, version: u64) {
        let mut tier = self.lock();
        let Some(held) = tier.held.remove(&version) else {
            return;
        };
        for block in held.iter().flatten() {
            if let Some(bytes) = tier.blocks.pop(&(version, block)) {
                tier.bytes -= bytes.len() as u64;
            }
        }
    }

    /// Bytes held, and blocks let go of so far for want of room.
    pub(super) fn usage(&self) -> (u64, u64) {
        let tier = self.lock();
        (tier.bytes, tier.evictions)
    }

    fn lock(&self) -> MutexGuard<'_, Tier> {
        self.tier.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tier {
    fn dropped(&mut self, (version, block): Place, bytes: u64) {
        self.bytes -= bytes;
        if let Some(held) = self.held.get_mut(&version) {
            held.remove(block..block + 1);
            if held.is_empty() {
                self.held.remove(&version);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stays_within_its_bytes_and_lets_go_of_the_least_recently_used() {
        let memory = Memory::new(30);
        for block in 0..3 {
            memory.insert(1, block, Bytes::from(vec![block as u8; 10]));
        }
        assert!(memory.get(1, 0).is_some());
        memory.insert(2, 7, Bytes::from(vec![9; 10]));
        assert!(!memory.contains(1, 1), "block 1 was used longest ago");
        assert!(memory.contains(1, 0));
        assert_eq!(memory.usage(), (30, 1));
        assert_eq!(memory.held(1).iter().flatten().collect::<Vec<_>>(), [0, 2]);
    }

    #[test]
    fn what_is_removed_is_no_more_held() {
        let memory = Memory::new(100);
        for block in 0..5 {
            memory.insert(1, block, Bytes::from(vec![0; 10]));
        }
        memory.remove(1, 1..4);
        memory.remove(1, 3..9);
        assert_eq!(memory.usage(), (10, 0));
        assert_eq!(memory.held(1).iter().flatten().collect::<Vec<_>>(), [0]);
    }

    #[test]
    fn a_block_put_twice_counts_once_and_a_forgotten_version_not_at_all() {
        let memory = Memory::new(100);
        memory.insert(1, 0, Bytes::from(vec![0; 40]));
        memory.insert(1, 0, Bytes::from(vec![0; 40]));
        assert_eq!(memory.usage().0, 40);
        memory.forget(1);
        assert_eq!(memory.usage().0, 0);
        assert!(memory.held(1).is_empty());
    }
}
