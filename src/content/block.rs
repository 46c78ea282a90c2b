//! Blocks: how a file is cut, and sets of them.
//!
//! Both tiers keep whole blocks of [`BLOCK`] bytes; only a file's last one is shorter. 128 KiB, because the
//! kernel's READs are at most that and aligned when sequential, so a READ usually needs exactly one
//! block and is answered without a copy. Plain arithmetic: no I/O, no lock.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::model::ByteRange;

/// Bytes of a block.
pub(super) const BLOCK: u64 = 128 * 1024;

/// The block that holds the byte at `offset`.
pub(super) fn index_of(offset: u64) -> u64 {
    offset / BLOCK
}

/// The offset of a block's first byte.
pub(super) fn start_of(block: u64) -> u64 {
    block.saturating_mul(BLOCK)
}

/// The offset behind a block's last byte, in a file of `size` bytes.
pub(super) fn end_of(block: u64, size: u64) -> u64 {
    start_of(block).saturating_add(BLOCK).min(size)
}

/// `offset` rounded up to a block's boundary, at most `size`.
pub(super) fn round_up(offset: u64, size: u64) -> u64 {
    offset.div_ceil(BLOCK).saturating_mul(BLOCK).min(size)
}

/// The blocks that a range of bytes touches.
pub(super) fn blocks_of(range: ByteRange) -> Range<u64> {
    index_of(range.start())..range.end().div_ceil(BLOCK)
}

/// How many blocks a file of `size` bytes has.
pub(super) fn count_of(size: u64) -> u64 {
    size.div_ceil(BLOCK)
}

/// A set of blocks, kept as disjoint runs: a file that is whole is one entry, whatever its size.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Blocks {
    /// First block of each run → the block behind its last. Runs neither overlap nor touch.
    runs: BTreeMap<u64, u64>,
    count: u64,
}

impl Blocks {
    /// How many blocks are in the set.
    pub(super) fn len(&self) -> u64 {
        self.count
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether `block` is in the set.
    pub(super) fn contains(&self, block: u64) -> bool {
        self.run_at(block).is_some()
    }

    /// The run that holds `block`.
    pub(super) fn run_at(&self, block: u64) -> Option<Range<u64>> {
        let (&start, &end) = self.runs.range(..=block).next_back()?;
        (block < end).then_some(start..end)
    }

    /// The last run that begins before `block`.
    fn run_before(&self, block: u64) -> Option<Range<u64>> {
        self.runs
            .range(..block)
            .next_back()
            .map(|(&start, &end)| start..end)
    }

    /// Adds `blocks`.
    pub(super) fn insert(&mut self, blocks: Range<u64>) {
        if blocks.is_empty() {
            return;
        }
        let (mut start, mut end) = (blocks.start, blocks.end);
        if let Some(before) = self.run_before(start)
            && before.end >= start
        {
            start = before.start;
            end = end.max(before.end);
        }
        let touched: Vec<u64> = self.runs.range(start..=end).map(|(&s, _)| s).collect();
        for run in touched {
            if let Some(run_end) = self.runs.remove(&run) {
                self.count -= run_end - run;
                end = end.max(run_end);
            }
        }
        self.runs.insert(start, end);
        self.count += end - start;
    }

    /// Takes `blocks` out.
    pub(super) fn remove(&mut self, blocks: Range<u64>) {
        if blocks.is_empty() {
            return;
        }
        let first = self
            .run_at(blocks.start)
            .map_or(blocks.start, |run| run.start);
        let touched: Vec<u64> = self
            .runs
            .range(first..blocks.end)
            .map(|(&s, _)| s)
            .collect();
        for start in touched {
            let Some(end) = self.runs.remove(&start) else {
                continue;
            };
            self.count -= end - start;
            for (from, to) in [(start, blocks.start.min(end)), (blocks.end.max(start), end)] {
                if from < to {
                    self.runs.insert(from, to);
                    self.count += to - from;
                }
            }
        }
    }

    /// Adds all of `other`.
    pub(super) fn extend(&mut self, other: &Self) {
        for run in other.iter() {
            self.insert(run);
        }
    }

    /// The runs, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        self.runs.iter().map(|(&start, &end)| start..end)
    }

    /// The hole around `block` in a file of `count` blocks: the longest run without a member of the set;
    /// `None` if `block` is a member or not in the file.
    pub(super) fn hole_at(&self, block: u64, count: u64) -> Option<Range<u64>> {
        if block >= count || self.contains(block) {
            return None;
        }
        let start = self.run_before(block).map_or(0, |run| run.end);
        let end = self
            .runs
            .range(block..)
            .next()
            .map_or(count, |(&next, _)| next.min(count));
        Some(start..end)
    }

    /// The first block from `block` on that is not in the set.
    pub(super) fn first_missing(&self, block: u64) -> u64 {
        self.run_at(block).map_or(block, |run| run.end)
    }

    /// All holes in a file of `count` blocks, in order.
    pub(super) fn holes(&self, count: u64) -> Vec<Range<u64>> {
        let mut holes = Vec::new();
        let mut from = 0;
        for run in self.iter() {
            if run.start >= count {
                break;
            }
            if from < run.start {
                holes.push(from..run.start);
            }
            from = run.end;
        }
        if from < count {
            holes.push(from..count);
        }
        holes
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_read_touches_the_blocks_of_its_first_and_last_byte() {
        let range = ByteRange::new(BLOCK - 1, BLOCK + 1).unwrap();
        assert_eq!(blocks_of(range), 0..2);
        assert_eq!(blocks_of(ByteRange::new(0, BLOCK).unwrap()), 0..1);
        assert_eq!(end_of(1, BLOCK + 5), BLOCK + 5);
        assert_eq!(round_up(BLOCK + 1, 10 * BLOCK), 2 * BLOCK);
        assert_eq!(round_up(BLOCK + 1, BLOCK + 5), BLOCK + 5);
    }

    proptest! {
        #[test]
        fn blocks_behave_like_a_plain_set(steps in prop::collection::vec((any::<bool>(), 0u64..60, 0u64..12), 0..60)) {
            let mut blocks = Blocks::default();
            let mut model = BTreeSet::new();
            for (adds, start, length) in steps {
                if adds {
                    blocks.insert(start..start + length);
                    model.extend(start..start + length);
                } else {
                    blocks.remove(start..start + length);
                    model.retain(|block| !(start..start + length).contains(block));
                }
                prop_assert_eq!(blocks.len(), model.len() as u64);
                for block in 0..80 {
                    prop_assert_eq!(blocks.contains(block), model.contains(&block));
                }
                let listed: Vec<u64> = blocks.iter().flatten().collect();
                prop_assert_eq!(listed, model.iter().copied().collect::<Vec<_>>());
                let holes: Vec<u64> = blocks.holes(80).into_iter().flatten().collect();
                prop_assert_eq!(holes, (0..80).filter(|b| !model.contains(b)).collect::<Vec<_>>());
                for block in 0..80 {
                    if let Some(hole) = blocks.hole_at(block, 80) {
                        prop_assert!(hole.contains(&block));
                        prop_assert!(hole.clone().all(|b| !model.contains(&b)));
                        prop_assert!(hole.start == 0 || model.contains(&(hole.start - 1)));
                        prop_assert!(hole.end == 80 || model.contains(&hole.end));
                    }
                }
            }
        }
    }
}
