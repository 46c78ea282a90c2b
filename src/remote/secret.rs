//! The client secret, replaceable while the mount runs.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use secrecy::SecretString;

/// Where the client secret lies. Clones share it: replacing it in one replaces it in all, so that a
/// renewed secret is taken up without a remount.
#[derive(Clone)]
pub struct SecretSlot {
    held: Arc<RwLock<Held>>,
}

struct Held {
    secret: SecretString,
    generation: u64,
}

impl SecretSlot {
    /// A slot that holds `secret`.
    pub fn new(secret: SecretString) -> Self {
        let held = Held {
            secret,
            generation: 1,
        };
        Self {
            held: Arc::new(RwLock::new(held)),
        }
    }

    /// Puts another secret in its place. Tokens that the old one got are not used any more, and a refusal
    /// of the old one is forgotten.
    pub fn replace(&self, secret: SecretString) {
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        held.secret = secret;
        held.generation += 1;
    }

    /// The secret, and which one it is.
    pub(super) fn current(&self) -> (SecretString, u64) {
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        (held.secret.clone(), held.generation)
    }

    /// Which secret the slot holds; grows with every replacement.
    pub(super) fn generation(&self) -> u64 {
        self.held
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .generation
    }
}

impl fmt::Debug for SecretSlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}
