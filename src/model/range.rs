//! Byte ranges.

use std::fmt;

/// A non-empty, half-open range of bytes of a file: `start` is in it, `end` is not.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ByteRange {
    start: u64,
    end: u64,
}

impl ByteRange {
    /// The range from `start` up to, not including, `end`; `None` if it would be empty.
    pub fn new(start: u64, end: u64) -> Option<Self> {
        (start < end).then_some(Self { start, end })
    }

    /// What a read of `length` bytes at `offset` can get of a file of `size` bytes; `None` at or past
    /// its end.
    pub fn of_read(offset: u64, length: u64, size: u64) -> Option<Self> {
        Self::new(offset, offset.saturating_add(length).min(size))
    }

    /// The first byte's offset.
    pub fn start(self) -> u64 {
        self.start
    }

    /// The offset behind the last byte.
    pub fn end(self) -> u64 {
        self.end
    }

    /// How many bytes, never 0.
    #[allow(
        clippy::len_without_is_empty,
        reason = "a byte range is never empty, by construction"
    )]
    pub fn len(self) -> u64 {
        self.end - self.start
    }

    /// Whether every byte of `other` is in this range.
    pub fn contains(self, other: Self) -> bool {
        self.start <= other.start && other.end <= self.end
    }

    /// The bytes that both ranges have, if any.
    pub fn intersection(self, other: Self) -> Option<Self> {
        Self::new(self.start.max(other.start), self.end.min(other.end))
    }
}

impl fmt::Debug for ByteRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.start, self.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_is_clamped_to_the_file() {
        assert_eq!(ByteRange::of_read(0, 10, 4), ByteRange::new(0, 4));
        assert_eq!(ByteRange::of_read(4, 10, 4), None);
        assert_eq!(ByteRange::of_read(0, 0, 4), None);
        assert_eq!(ByteRange::of_read(2, u64::MAX, 4), ByteRange::new(2, 4));
    }
}
