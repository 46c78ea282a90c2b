//! The interactions that memory holds: the least recently used leave first.
//!
//! Bounded by what they weigh, not by how many they are: one interaction may have a hundred thousand
//! items. A reader that looked something up while it was being changed can't put the old state back:
//! it says which generation it read in.

use std::sync::Arc;

use jiff::Timestamp;
use lru::LruCache;

use super::Known;
use crate::model::Guid;

/// About how many bytes all interactions in memory may take.
const WEIGHT_LIMIT: usize = 32 << 20;

/// An interaction in memory, and when the API showed it last.
#[derive(Clone, Debug)]
pub(super) struct Remembered {
    /// The interaction.
    pub(super) known: Arc<Known>,
    /// When it was last seen, to the hour.
    pub(super) seen: Timestamp,
}

/// The interactions in memory.
#[derive(Debug)]
pub(super) struct Recent {
    entries: LruCache<Guid, Remembered>,
    weight: usize,
    limit: usize,
    generation: u64,
}

impl Recent {
    pub(super) fn new() -> Self {
        Self::with_limit(WEIGHT_LIMIT)
    }

    pub(super) fn with_limit(limit: usize) -> Self {
        Self {
            entries: LruCache::unbounded(),
            weight: 0,
            limit,
            generation: 0,
        }
    }

    /// Grows with every change; see [`Self::put_read`].
    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    pub(super) fn get(&mut self, guid: Guid) -> Option<Remembered> {
        self.entries.get(&guid).cloned()
    }

    /// Keeps what a reader found, unless something changed since it began reading at `generation`.
    pub(super) fn put_read(&mut self, generation: u64, remembered: Remembered) {
        if generation == self.generation {
            self.put(remembered);
        }
    }

    /// Takes the new state of an interaction after a write.
    pub(super) fn changed(&mut self, remembered: Remembered) {
        self.generation += 1;
        self.put(remembered);
    }

    /// Drops an interaction after its removal.
    pub(super) fn removed(&mut self, guid: Guid) {
        self.generation += 1;
        self.pop(guid);
    }

    /// Something was written that isn't in memory.
    pub(super) fn written(&mut self) {
        self.generation += 1;
    }

    /// All that is held.
    pub(super) fn all(&self) -> Vec<Remembered> {
        self.entries.iter().map(|(_, held)| held.clone()).collect()
    }

    fn put(&mut self, remembered: Remembered) {
        let guid = remembered.known.interaction.guid;
        self.pop(guid);
        let weight = weight(&remembered.known);
        if weight > self.limit / 2 {
            // One giant isn't worth all the others.
            return;
        }
        self.weight += weight;
        self.entries.put(guid, remembered);
        while self.weight > self.limit
            && let Some((_, oldest)) = self.entries.pop_lru()
        {
            self.weight = self.weight.saturating_sub(self::weight(&oldest.known));
        }
    }

    fn pop(&mut self, guid: Guid) {
        if let Some(old) = self.entries.pop(&guid) {
            self.weight = self.weight.saturating_sub(weight(&old.known));
        }
    }
}

/// About how many bytes an interaction takes: its text, and its items with their names and table places.
fn weight(known: &Known) -> usize {
    1024 + known.interaction.json.reveal().len() + 600 * known.interaction.items.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::testing::{interaction, known};

    fn remembered(number: u32) -> Remembered {
        Remembered {
            known: known(interaction(number, 1_000)),
            seen: Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn the_least_recently_used_leaves_when_the_weight_is_reached() {
        let one = weight(&remembered(1).known);
        let mut recent = Recent::with_limit(one * 2 + one / 2);
        for number in 1..=2 {
            recent.changed(remembered(number));
        }
        let guid = |number| remembered(number).known.interaction.guid;
        assert!(recent.get(guid(1)).is_some());
        recent.changed(remembered(3));
        assert!(recent.get(guid(1)).is_some());
        assert!(recent.get(guid(2)).is_none());
        assert!(recent.get(guid(3)).is_some());
    }

    #[test]
    fn what_was_read_before_a_change_is_not_kept() {
        let mut recent = Recent::new();
        let generation = recent.generation();
        recent.removed(remembered(1).known.interaction.guid);
        recent.put_read(generation, remembered(1));
        assert!(recent.get(remembered(1).known.interaction.guid).is_none());
        recent.put_read(recent.generation(), remembered(1));
        assert!(recent.get(remembered(1).known.interaction.guid).is_some());
    }
}
