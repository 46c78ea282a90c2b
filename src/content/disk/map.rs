//! The map beside a data file: whose bytes it holds, and a checksum for each block that is there.
//!
//! In the data file a block is as it came, or sealed by the user's key: the map says which, and its checksums are of
//! what is stored, so that they can be verified without the key.
//!
//! A header of [`HEADER`] bytes, then 8 bytes for each block: 0 if it isn't there, else its checksum,
//! seeded with the version's fingerprint and the block's index. So a block that was torn, zeroed, swapped with
//! another or put there from another file fails like a flipped bit. Pure: bytes in, bytes out.

use std::ops::Range;

use twox_hash::XxHash3_64;
use xxhash_rust::xxh3::xxh3_64;

use crate::content::block::{self, BLOCK};
use crate::remote::Validator;
use crate::seal::OVERHEAD;

/// Bytes before the first checksum.
pub(crate) const HEADER: u64 = 512;

const MAGIC: [u8; 8] = *b"ifsblock";
const FORMAT: u32 = 1;
/// The same, with sealed blocks.
const SEALED: u32 = 2;
/// Where the validator's texts begin, and the most bytes that they may have together.
const TEXTS: usize = 48;
const TEXTS_END: usize = HEADER as usize - 8;

/// What a map's header says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Header {
    pub(crate) fingerprint: u128,
    /// The version's true length in bytes.
    pub(crate) size: u64,
    /// Whether its blocks are sealed.
    pub(crate) is_sealed: bool,
    /// What pinned the version when the bytes were fetched.
    pub(crate) validator: Validator,
}

impl Header {
    /// The header as it is written.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![0; HEADER as usize];
        bytes[..8].copy_from_slice(&MAGIC);
        let format = if self.is_sealed { SEALED } else { FORMAT };
        bytes[8..12].copy_from_slice(&format.to_le_bytes());
        bytes[12..16].copy_from_slice(&(BLOCK as u32).to_le_bytes());
        bytes[16..32].copy_from_slice(&self.fingerprint.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.size.to_le_bytes());
        let mut at = TEXTS;
        let texts = [&self.validator.etag, &self.validator.last_modified];
        for (index, text) in texts.into_iter().enumerate() {
            let text = text.as_deref().unwrap_or_default().as_bytes();
            if at + text.len() > TEXTS_END {
                continue;
            }
            let length = (text.len() as u16).to_le_bytes();
            bytes[40 + 2 * index..42 + 2 * index].copy_from_slice(&length);
            bytes[at..at + text.len()].copy_from_slice(text);
            at += text.len();
        }
        let sum = xxh3_64(&bytes[..TEXTS_END]);
        bytes[TEXTS_END..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// Reads a header; `None` if it is not one, or damaged.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; HEADER as usize] = bytes.get(..HEADER as usize)?.try_into().ok()?;
        let number = |at: usize| bytes[at..at + 8].try_into().ok().map(u64::from_le_bytes);
        let is_sealed = bytes[8..12] == SEALED.to_le_bytes();
        let sound = bytes[..8] == MAGIC
            && (is_sealed || bytes[8..12] == FORMAT.to_le_bytes())
            && bytes[12..16] == (BLOCK as u32).to_le_bytes()
            && number(TEXTS_END)? == xxh3_64(&bytes[..TEXTS_END]);
        if !sound {
            return None;
        }
        let mut at = TEXTS;
        let mut text = |index: usize| {
            let length = usize::from(u16::from_le_bytes([
                bytes[40 + 2 * index],
                bytes[41 + 2 * index],
            ]));
            let found = bytes.get(at..at + length)?;
            at += length;
            std::str::from_utf8(found)
                .ok()
                .filter(|text| !text.is_empty())
                .map(Into::into)
        };
        Some(Self {
            fingerprint: u128::from_le_bytes(bytes[16..32].try_into().ok()?),
            size: number(32)?,
            is_sealed,
            validator: Validator {
                etag: text(0),
                last_modified: text(1),
            },
        })
    }
}

/// Where a block of a version of `size` bytes lies in the data file.
pub(crate) fn slot_of(block: u64, size: u64, is_sealed: bool) -> Range<u64> {
    let overhead = if is_sealed { OVERHEAD as u64 } else { 0 };
    let start = block * (BLOCK + overhead);
    let length = block::end_of(block, size).saturating_sub(block::start_of(block));
    start..start + length + overhead
}

/// The length of the data file of a version of `size` bytes.
pub(crate) fn stored_length(size: u64, is_sealed: bool) -> u64 {
    match block::count_of(size) {
        0 => 0,
        count => slot_of(count - 1, size, is_sealed).end,
    }
}

/// Where a block's checksum is in the map.
pub(crate) fn offset_of(block: u64) -> u64 {
    HEADER + 8 * block
}

/// A block's checksum; never 0. By the crate that finds out at run time how wide the processor's registers are:
/// every byte that comes passes here.
pub(crate) fn checksum(fingerprint: u128, block: u64, bytes: &[u8]) -> u64 {
    let mut place = [0; 24];
    place[..16].copy_from_slice(&fingerprint.to_le_bytes());
    place[16..].copy_from_slice(&block.to_le_bytes());
    XxHash3_64::oneshot_with_seed(xxh3_64(&place), bytes).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        Header {
            fingerprint: 7 << 100,
            size: 12345,
            is_sealed: false,
            validator: Validator {
                etag: Some("\"abc\"".into()),
                last_modified: Some("Sun, 22 Nov 2026 10:15:00 GMT".into()),
            },
        }
    }

    #[test]
    fn a_header_survives_and_every_flipped_bit_is_seen() {
        let bytes = header().encode();
        assert_eq!(Header::decode(&bytes), Some(header()));
        for bit in 0..bytes.len() * 8 {
            let mut broken = bytes.clone();
            broken[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Header::decode(&broken), None, "bit {bit}");
        }
        assert_eq!(Header::decode(&bytes[..511]), None);
    }

    #[test]
    fn a_header_says_whether_its_blocks_are_sealed() {
        let sealed = Header {
            is_sealed: true,
            ..header()
        };
        assert_eq!(Header::decode(&sealed.encode()), Some(sealed));
    }

    #[test]
    fn slots_of_sealed_blocks_are_longer_and_never_meet() {
        assert_eq!(slot_of(1, 3 * BLOCK, false), BLOCK..2 * BLOCK);
        let size = 2 * BLOCK + 5;
        let slots: Vec<_> = (0..3).map(|index| slot_of(index, size, true)).collect();
        assert_eq!(slots[0].end, slots[1].start);
        assert_eq!(slots[1].end, slots[2].start);
        assert_eq!(slots[2].end - slots[2].start, 5 + OVERHEAD as u64);
        assert_eq!(stored_length(size, true), slots[2].end);
        assert_eq!(stored_length(size, false), size);
        assert_eq!(stored_length(0, true), 0);
    }

    #[test]
    fn a_checksum_is_bound_to_version_place_and_length() {
        let sum = checksum(1, 2, b"bytes");
        assert_ne!(sum, checksum(2, 2, b"bytes"));
        assert_ne!(sum, checksum(1, 3, b"bytes"));
        assert_ne!(sum, checksum(1, 2, b"bytes\0"));
        assert_ne!(checksum(0, 0, b""), 0);
    }
}
