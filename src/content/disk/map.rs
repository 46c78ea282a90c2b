//! The map beside a data file: whose bytes it holds, and a checksum for each block that is there.
//!
//! A header of [`HEADER`] bytes, then 8 bytes for each block: 0 if it isn't there, else its checksum,
//! seeded with the version's fingerprint and the block's index. So a block that was torn, zeroed, swapped with
//! another or put there from another file fails like a flipped bit. Pure: bytes in, bytes out.

use twox_hash::XxHash3_64;
use xxhash_rust::xxh3::xxh3_64;

use crate::remote::Validator;

/// Bytes before the first checksum.
pub(crate) const HEADER: u64 = 512;

const MAGIC: [u8; 8] = *b"ifsblock";
const FORMAT: u32 = 1;
/// Where the validator's texts begin, and the most bytes that they may have together.
const TEXTS: usize = 48;
const TEXTS_END: usize = HEADER as usize - 8;

/// What a map's header says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Header {
    pub(crate) fingerprint: u128,
    /// The version's true length in bytes.
    pub(crate) size: u64,
    /// What pinned the version when the bytes were fetched.
    pub(crate) validator: Validator,
}

impl Header {
    /// The header as it is written.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![0; HEADER as usize];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&FORMAT.to_le_bytes());
        bytes[12..16].copy_from_slice(&(super::super::block::BLOCK as u32).to_le_bytes());
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
        let sound = bytes[..8] == MAGIC
            && bytes[8..12] == FORMAT.to_le_bytes()
            && bytes[12..16] == (super::super::block::BLOCK as u32).to_le_bytes()
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
            validator: Validator {
                etag: text(0),
                last_modified: text(1),
            },
        })
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
    fn a_checksum_is_bound_to_version_place_and_length() {
        let sum = checksum(1, 2, b"bytes");
        assert_ne!(sum, checksum(2, 2, b"bytes"));
        assert_ne!(sum, checksum(1, 3, b"bytes"));
        assert_ne!(sum, checksum(1, 2, b"bytes\0"));
        assert_ne!(checksum(0, 0, b""), 0);
    }
}
