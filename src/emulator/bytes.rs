//! Content bytes: stored, or computed so that gigabytes cost neither memory nor time.
//!
//! Computed bytes are 64 KiB tiles, each a slice of one shared megabyte of noise at a place that depends on
//! the item's seed and the tile's number. Sending them copies nothing but into the socket, yet a block
//! served at the wrong place, or of the wrong item, differs.

use std::ops::Range;
use std::sync::OnceLock;

use bytes::Bytes;

/// Length of one tile, in bytes.
const TILE: u64 = 64 * 1024;

/// How many places in the noise a tile can begin at.
const PLACES: u64 = 1024 * 1024;

/// The bytes of one content item.
#[derive(Clone, Debug)]
pub enum Source {
    /// Bytes held in memory.
    Stored(Bytes),
    /// A stored head (a file format's header; may be empty), then computed noise up to `length`.
    Computed {
        /// The first bytes; not longer than `length`.
        head: Bytes,
        /// What the noise depends on.
        seed: u64,
        /// Length of the whole, in bytes.
        length: u64,
    },
}

impl Source {
    /// Length in bytes.
    pub fn length(&self) -> u64 {
        match self {
            Self::Stored(bytes) => bytes.len() as u64,
            Self::Computed { length, .. } => *length,
        }
    }

    /// The longest run from the range's start that is one slice, at most up to the range's end. Empty only
    /// if the range is, or lies behind the end.
    pub fn run(&self, range: Range<u64>) -> Bytes {
        let end = range.end.min(self.length());
        if range.start >= end {
            return Bytes::new();
        }
        match self {
            Self::Stored(bytes) => slice(bytes, range.start, end),
            Self::Computed { head, seed, .. } => {
                let head_length = head.len() as u64;
                if range.start < head_length {
                    return slice(head, range.start, end.min(head_length));
                }
                let tile = range.start / TILE;
                let within = range.start % TILE;
                let length = (TILE - within).min(end - range.start);
                let place =
                    xxhash_rust::xxh3::xxh3_64_with_seed(&tile.to_le_bytes(), *seed) % PLACES;
                slice(noise(), place + within, place + within + length)
            }
        }
    }

    /// The bytes of a range, cut at the end. For comparing with what was served.
    pub fn read(&self, range: Range<u64>) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut at = range.start;
        loop {
            let run = self.run(at..range.end);
            if run.is_empty() {
                return bytes;
            }
            at += run.len() as u64;
            bytes.extend_from_slice(&run);
        }
    }
}

/// Offsets here are within stored bytes or the noise, so they fit a `usize`.
fn slice(bytes: &Bytes, start: u64, end: u64) -> Bytes {
    bytes.slice(start as usize..end as usize)
}

fn noise() -> &'static Bytes {
    static NOISE: OnceLock<Bytes> = OnceLock::new();
    NOISE.get_or_init(|| {
        let mut bytes = Vec::with_capacity((PLACES + TILE) as usize);
        let mut state = 0x5eed_u64;
        while bytes.len() < (PLACES + TILE) as usize {
            bytes.extend_from_slice(&next_random(&mut state).to_le_bytes());
        }
        Bytes::from(bytes)
    })
}

/// SplitMix64: the next of a repeatable sequence of well-mixed numbers.
pub(super) fn next_random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// The header of a WAV file of `length` bytes in all: 8 kHz, stereo, 16 bit. Shorter than a header: cut.
pub(super) fn wav_header(length: u64) -> Bytes {
    /// Up to the samples: RIFF, format and data chunk heads.
    const HEADER: u64 = 44;
    let clamp = |value: u64| u32::try_from(value).unwrap_or(u32::MAX).to_le_bytes();
    let mut header = Vec::with_capacity(HEADER as usize);
    header.extend_from_slice(b"RIFF");
    header.extend_from_slice(&clamp(length.saturating_sub(8)));
    header.extend_from_slice(b"WAVEfmt ");
    header.extend_from_slice(&16_u32.to_le_bytes());
    header.extend_from_slice(&1_u16.to_le_bytes());
    header.extend_from_slice(&2_u16.to_le_bytes());
    header.extend_from_slice(&8_000_u32.to_le_bytes());
    header.extend_from_slice(&32_000_u32.to_le_bytes());
    header.extend_from_slice(&4_u16.to_le_bytes());
    header.extend_from_slice(&16_u16.to_le_bytes());
    header.extend_from_slice(b"data");
    header.extend_from_slice(&clamp(length.saturating_sub(HEADER)));
    header.truncate(usize::try_from(length).unwrap_or(usize::MAX));
    Bytes::from(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn computed(seed: u64, length: u64) -> Source {
        Source::Computed {
            head: wav_header(length),
            seed,
            length,
        }
    }

    #[test]
    fn a_range_is_the_same_however_it_is_read() {
        let source = computed(7, 300_000);
        let whole = source.read(0..300_000);
        assert_eq!(whole.len(), 300_000);
        for start in [0, 43, 44, 45, 65_535, 65_536, 131_071, 299_999] {
            let end = (start + 70_001).min(300_000);
            assert_eq!(
                source.read(start..end),
                whole[start as usize..end as usize],
                "from {start}"
            );
        }
        assert!(source.read(300_000..400_000).is_empty());
    }

    #[test]
    fn tiles_and_items_differ() {
        let one = computed(1, 4 << 30);
        let other = computed(2, 4 << 30);
        let far = 3 << 30;
        assert_ne!(one.read(TILE..TILE + 16), one.read(2 * TILE..2 * TILE + 16));
        assert_ne!(one.read(far..far + 16), other.read(far..far + 16));
    }

    #[test]
    fn a_wav_header_holds_the_true_sizes() {
        let header = wav_header(44 + 32_000);
        assert_eq!(&header[4..8], &(36_u32 + 32_000).to_le_bytes());
        assert_eq!(&header[40..44], &32_000_u32.to_le_bytes());
        assert_eq!(wav_header(10).len(), 10);
    }
}
