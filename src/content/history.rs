//! What a cursor has read: is it going through the file, or jumping about in it?
//!
//! The kernel's readahead sends a window as up to eight READs at once, and several session threads let
//! them arrive out of order, so "the next READ begins where the last one ended" is no test. A run is
//! what stays within a tolerance of the furthest byte read so far. Pure: no clock, no I/O.

use crate::model::ByteRange;

/// How far a READ may be off the front of a run and still belong to it.
pub(super) const TOLERANCE: u64 = 8 << 20;

/// How far before a run's first READ another one of the same burst may be.
const AHEAD_OF_START: u64 = 2 << 20;

/// So much read in one run, and more asked for, is a program that goes on.
pub(super) const EVIDENCE: u64 = 1 << 20;

/// What the kernel's readahead may have sent that has not arrived yet.
pub(super) const OUTSTANDING: u64 = 1 << 20;

/// The run that a cursor is in.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct History {
    /// Where the run began.
    start: u64,
    /// The furthest byte read in it.
    front: u64,
    /// Bytes read in it, each READ counted.
    bytes: u64,
    /// How many runs there were: the first READ begins the first.
    runs: u32,
}

impl History {
    /// Notes a READ. True if it is a jump backwards, further than READs out of order explain.
    pub(super) fn note(&mut self, range: ByteRange) -> bool {
        let near = self.runs > 0
            && range.start() <= self.front.saturating_add(TOLERANCE)
            && range.start() >= self.start.min(self.front.saturating_sub(TOLERANCE));
        if near {
            let jumped_back = range.start().saturating_add(AHEAD_OF_START) < self.start;
            self.start = self.start.min(range.start());
            self.front = self.front.max(range.end());
            self.bytes = self.bytes.saturating_add(range.len());
            return jumped_back;
        }
        let jumped_back = self.runs > 0 && range.start() < self.front;
        *self = Self {
            start: range.start(),
            front: range.end(),
            bytes: range.len(),
            runs: self.runs.saturating_add(1),
        };
        jumped_back
    }

    /// Where the run began.
    pub(super) fn start(&self) -> u64 {
        self.start
    }

    /// The furthest byte read in the run.
    pub(super) fn front(&self) -> u64 {
        self.front
    }

    /// Bytes read in the run.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether the run is dense and long enough to expect that it goes on.
    pub(super) fn is_sequential(&self) -> bool {
        let span = self.front - self.start;
        self.bytes >= EVIDENCE
            && span > EVIDENCE
            && self.bytes >= span.saturating_sub(OUTSTANDING) / 4 * 3
    }

    /// Whether anything was read yet.
    pub(super) fn has_begun(&self) -> bool {
        self.runs > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: u64 = 1 << 10;
    const MIB: u64 = 1 << 20;

    fn read(history: &mut History, start: u64, length: u64) -> bool {
        history.note(ByteRange::new(start, start + length).unwrap())
    }

    #[test]
    fn out_of_order_readahead_is_one_sequential_run() {
        let mut history = History::default();
        for block in [0, 1, 2, 3, 12, 13, 4, 5, 9, 8, 7, 6, 11, 10] {
            read(&mut history, block * 128 * KIB, 128 * KIB);
        }
        assert!(history.is_sequential());
        assert_eq!((history.start(), history.front()), (0, 14 * 128 * KIB));
    }

    #[test]
    fn the_last_of_a_window_may_arrive_first() {
        let mut history = History::default();
        for block in [0, 1, 2, 3, 4, 5, 6, 7, 15] {
            read(&mut history, block * 128 * KIB, 128 * KIB);
        }
        assert!(history.is_sequential());
    }

    #[test]
    fn a_far_seek_begins_a_new_run_and_a_megabyte_is_no_evidence() {
        let mut history = History::default();
        assert!(!read(&mut history, 0, 4 * KIB));
        assert!(!read(&mut history, 50 * MIB, MIB));
        assert_eq!(history.start(), 50 * MIB);
        assert!(!history.is_sequential());
        assert!(read(&mut history, 20 * MIB, 64 * KIB), "a jump backwards");
    }

    #[test]
    fn small_reads_with_gaps_are_not_sequential() {
        let mut history = History::default();
        for step in 0..40 {
            read(&mut history, step * MIB, 64 * KIB);
        }
        assert!(!history.is_sequential());
    }
}
