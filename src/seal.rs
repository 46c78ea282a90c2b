//! Sealing: what is written to disk so that only the holder of a key can read it.
//!
//! AES-256-GCM by `ring`, with a key for each purpose and place derived (HKDF, SHA-256) from the one that the user
//! keeps in a file, and a random nonce for each piece. Owns the key, which can't be printed. Promises that a piece
//! opens only under the key, in the place and with the bytes that it was sealed with.

use std::fmt;

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce};
use ring::hkdf::{HKDF_SHA256, KeyType, Okm, Prk, Salt};
use ring::rand::{SecureRandom, SystemRandom};

/// By how many bytes a sealed piece is longer.
pub const OVERHEAD: usize = NONCE_LEN + 16;

/// The least that a key file must hold, in bytes: 128 random bits as hexadecimal digits are twice that.
pub const SHORTEST: usize = 16;

/// Bytes of a key's name.
const NAME: usize = 16;

/// The system gives no random numbers, or a piece is longer than can be sealed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the system gives no random numbers")]
pub struct Unsealable;

/// The key that a cache is sealed with.
#[derive(Clone)]
pub struct CacheKey(Prk);

/// Seals and opens the pieces of one place: a file, or the catalogue.
pub struct Sealer(LessSafeKey);

impl fmt::Debug for CacheKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CacheKey")
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealer")
    }
}

impl CacheKey {
    /// The key that a file's bytes stand for; `None` if they are too few to be one. Whatever their form, all of them
    /// count.
    pub fn of(material: &[u8]) -> Option<Self> {
        (material.len() >= SHORTEST)
            .then(|| Self(Salt::new(HKDF_SHA256, b"interactionfs cache").extract(material)))
    }

    /// A name that tells this key from others, and nothing else of it: 32 hexadecimal digits.
    pub fn name(&self) -> String {
        let mut bytes = [0; NAME];
        // The buffer has the length that was asked for, which is all that is checked.
        let _ = self.derive(&[b"name"], NameLength).fill(&mut bytes);
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// What seals the pieces of one place.
    pub fn sealer(&self, purpose: &[u8], place: &[u8]) -> Sealer {
        let info = [b"seal ".as_slice(), purpose, b" ", place];
        Sealer(LessSafeKey::new(self.derive(&info, &AES_256_GCM).into()))
    }

    #[allow(
        clippy::expect_used,
        reason = "HKDF refuses only lengths above 255 hashes, and both that are asked for are one"
    )]
    fn derive<'a, L: KeyType>(&'a self, info: &'a [&'a [u8]], length: L) -> Okm<'a, L> {
        self.0
            .expand(info, length)
            .expect("less than HKDF can give")
    }
}

struct NameLength;

impl KeyType for NameLength {
    fn len(&self) -> usize {
        NAME
    }
}

impl Sealer {
    /// Seals a piece. `number` is its place among the pieces, and must be the same when it is opened.
    ///
    /// # Errors
    /// [`Unsealable`].
    pub fn seal(&self, number: u64, bytes: &[u8]) -> Result<Vec<u8>, Unsealable> {
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new()
            .fill(&mut nonce)
            .map_err(|_| Unsealable)?;
        let mut sealed = Vec::with_capacity(bytes.len() + OVERHEAD);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(bytes);
        let tag = self
            .0
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(number.to_le_bytes()),
                &mut sealed[NONCE_LEN..],
            )
            .map_err(|_| Unsealable)?;
        sealed.extend_from_slice(tag.as_ref());
        Ok(sealed)
    }

    /// Opens a piece; `None` if it is not one that was sealed here under `number`.
    pub fn open(&self, number: u64, mut sealed: Vec<u8>) -> Option<Vec<u8>> {
        let nonce = Nonce::try_assume_unique_for_key(sealed.get(..NONCE_LEN)?).ok()?;
        let aad = Aad::from(number.to_le_bytes());
        let length = self
            .0
            .open_within(nonce, aad, &mut sealed, NONCE_LEN..)
            .ok()?
            .len();
        sealed.truncate(length);
        Some(sealed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(material: &[u8]) -> CacheKey {
        CacheKey::of(material).unwrap()
    }

    #[test]
    fn a_piece_opens_only_where_and_as_it_was_sealed() {
        let sealer = key(b"0123456789abcdef").sealer(b"block", b"7");
        let sealed = sealer.seal(3, b"what was said").unwrap();
        assert_eq!(sealed.len(), b"what was said".len() + OVERHEAD);
        assert!(!sealed.windows(4).any(|part| part == b"what"));
        assert_eq!(sealer.open(3, sealed.clone()).unwrap(), b"what was said");
        assert_eq!(sealer.open(4, sealed.clone()), None, "another place");
        let other = key(b"0123456789abcdef").sealer(b"block", b"8");
        assert_eq!(other.open(3, sealed.clone()), None, "another file");
        let other = key(b"0123456789abcdeg").sealer(b"block", b"7");
        assert_eq!(other.open(3, sealed.clone()), None, "another key");
        for bit in 0..sealed.len() * 8 {
            let mut broken = sealed.clone();
            broken[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(sealer.open(3, broken), None, "bit {bit}");
        }
        for length in 0..sealed.len() {
            assert_eq!(sealer.open(3, sealed[..length].to_vec()), None);
        }
        assert_eq!(sealer.open(0, sealer.seal(0, b"").unwrap()).unwrap(), b"");
    }

    #[test]
    fn the_same_bytes_are_sealed_differently_each_time() {
        let sealer = key(b"0123456789abcdef").sealer(b"block", b"7");
        assert_ne!(sealer.seal(0, b"bytes"), sealer.seal(0, b"bytes"));
    }

    #[test]
    fn keys_have_names_and_no_other_face() {
        assert!(CacheKey::of(b"too short").is_none());
        let (one, two) = (key(b"0123456789abcdef"), key(b"0123456789abcdeg"));
        assert_eq!(one.name().len(), 32);
        assert_eq!(one.name(), key(b"0123456789abcdef").name());
        assert_ne!(one.name(), two.name());
        assert_eq!(format!("{one:?}"), "CacheKey");
    }
}
