//! Continuation tokens: opaque, and of no use with another query.
//!
//! A token holds the last interaction's place in the order, so that pages are found without a list kept
//! per search, and a walk goes on although the account changes. As base64 they hold `+`, `/` and `=`, so
//! that a client has to encode them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::account::{Position, Query};
use super::bytes::next_random;

/// Time, GUID, phase, and whether there is a position at all.
const PAYLOAD: usize = 16 + 16 + 4 + 2;

/// Where a page begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Continuation {
    /// The last interaction before it.
    pub(super) after: Option<Position>,
    /// Counts the pages of a walk.
    pub(super) phase: u32,
}

/// Writes and reads the tokens of one query.
pub(super) struct Seal {
    secret: u64,
}

impl Seal {
    pub(super) fn new(secret: u64, query: &Query, access_token: Option<&str>) -> Self {
        let bound = format!("{query:?}{access_token:?}");
        Self {
            secret: xxh3_64_with_seed(bound.as_bytes(), secret),
        }
    }

    pub(super) fn close(&self, place: Continuation) -> String {
        let (time, guid) = place.after.unwrap_or((Timestamp::UNIX_EPOCH, Uuid::nil()));
        let mut bytes = Vec::with_capacity(PAYLOAD + 8);
        bytes.extend_from_slice(&time.as_nanosecond().to_le_bytes());
        bytes.extend_from_slice(guid.as_bytes());
        bytes.extend_from_slice(&place.phase.to_le_bytes());
        bytes.extend_from_slice(&[u8::from(place.after.is_some()), 3]);
        let check = xxh3_64_with_seed(&bytes, self.secret);
        self.mask(&mut bytes, check);
        bytes.extend_from_slice(&check.to_le_bytes());
        STANDARD.encode(bytes)
    }

    pub(super) fn open(&self, text: &str) -> Option<Continuation> {
        let mut bytes = STANDARD.decode(text).ok()?;
        let check = u64::from_le_bytes(*bytes.last_chunk()?);
        bytes.truncate(bytes.len() - 8);
        self.mask(&mut bytes, check);
        if bytes.len() != PAYLOAD || xxh3_64_with_seed(&bytes, self.secret) != check {
            return None;
        }
        let (time, rest) = bytes.split_first_chunk()?;
        let (guid, rest) = rest.split_first_chunk()?;
        let (phase, rest) = rest.split_first_chunk()?;
        let time = Timestamp::from_nanosecond(i128::from_le_bytes(*time)).ok()?;
        Some(Continuation {
            after: (*rest.first()? == 1).then_some((time, Uuid::from_bytes(*guid))),
            phase: u32::from_le_bytes(*phase),
        })
    }

    /// Hides what a token holds; the same again shows it.
    fn mask(&self, bytes: &mut [u8], check: u64) {
        let mut state = self.secret ^ check;
        for chunk in bytes.chunks_mut(8) {
            let mask = next_random(&mut state).to_le_bytes();
            for (byte, mask) in chunk.iter_mut().zip(mask) {
                *byte ^= mask;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(second: i64) -> Query {
        Query {
            start: Timestamp::from_second(second).unwrap(),
            end: Timestamp::from_second(9).unwrap(),
            end_inclusive: true,
            agent: None,
            connect_from: None,
            connect_to: None,
            direction: None,
        }
    }

    #[test]
    fn a_token_opens_for_its_own_query_only() {
        let seal = Seal::new(1, &query(0), None);
        let place = Continuation {
            after: Some((Timestamp::from_second(5).unwrap(), Uuid::from_u128(6))),
            phase: 7,
        };
        let token = seal.close(place);
        assert_eq!(seal.open(&token), Some(place));
        assert_eq!(Seal::new(1, &query(1), None).open(&token), None);
        assert_eq!(Seal::new(1, &query(0), Some("t")).open(&token), None);
        assert_eq!(Seal::new(2, &query(0), None).open(&token), None);
        for bad in ["", "x", "AAAA", &token[4..]] {
            assert_eq!(seal.open(bad), None);
        }
    }
}
