//! What has just failed, so that the kernel's repetition of a READ costs no request.
//!
//! The kernel repeats a failed READ page by page; each must get the same error at once (design, section 5).
//! A refusal of the whole object is remembered for longer.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use super::ContentError;
use crate::remote::RemoteError;

/// How long a block's failure is repeated.
const REPEATED: Duration = Duration::from_secs(1);

/// How long a 403 holds.
const REFUSED: Duration = Duration::from_secs(600);

/// The failures of one object.
#[derive(Debug, Default)]
pub(super) struct Failures {
    blocks: HashMap<u64, (ContentError, Instant)>,
    refused: Option<Instant>,
}

impl Failures {
    /// Remembers that `block` could not be had.
    pub(super) fn note(&mut self, block: u64, error: &ContentError, now: Instant) {
        if *error == ContentError::Remote(RemoteError::Forbidden) {
            self.refused = Some(now + REFUSED);
        }
        self.blocks.retain(|_, (_, until)| *until > now);
        self.blocks.insert(block, (error.clone(), now + REPEATED));
    }

    /// Why nothing of the object can be had just now, as far as that is known.
    pub(super) fn of_all(&self, now: Instant) -> Option<ContentError> {
        self.refused
            .is_some_and(|until| until > now)
            .then(|| RemoteError::Forbidden.into())
    }

    /// Why `block` can't be had just now, if it has just failed.
    pub(super) fn of(&self, block: u64, now: Instant) -> Option<ContentError> {
        let of_block = || {
            self.blocks
                .get(&block)
                .filter(|(_, until)| *until > now)
                .map(|(error, _)| error.clone())
        };
        self.of_all(now).or_else(of_block)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_failure_is_repeated_for_a_second_and_a_refusal_for_ten_minutes() {
        let mut failures = Failures::default();
        let broken = ContentError::Remote(RemoteError::Interrupted);
        failures.note(3, &broken, Instant::now());
        assert_eq!(failures.of(3, Instant::now()), Some(broken));
        assert_eq!(failures.of(4, Instant::now()), None);
        tokio::time::advance(Duration::from_millis(1001)).await;
        assert_eq!(failures.of(3, Instant::now()), None);

        let refused = ContentError::Remote(RemoteError::Forbidden);
        failures.note(0, &refused, Instant::now());
        tokio::time::advance(Duration::from_secs(599)).await;
        assert_eq!(failures.of(9, Instant::now()), Some(refused));
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(failures.of(9, Instant::now()), None);
    }
}
