//! The wall clock that the schedule runs by.
//!
//! A clock is a value, so that a day can be lived through in a moment: one that follows tokio's time
//! stands still, and jumps, with it.

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// Where the present time comes from.
#[derive(Clone, Copy, Debug)]
pub enum Clock {
    /// The system's clock.
    System,
    /// Tokio's clock, which began at `started` when it was `base`. For simulations.
    Tokio {
        /// The time at `started`.
        base: Timestamp,
        /// When the clock began.
        started: Instant,
    },
}

impl Clock {
    /// A clock that follows tokio's time and shows `base` now.
    pub fn following_tokio(base: Timestamp) -> Self {
        Self::Tokio {
            base,
            started: Instant::now(),
        }
    }

    /// The present time.
    pub fn now(&self) -> Timestamp {
        match self {
            Self::System => Timestamp::now(),
            Self::Tokio { base, started } => {
                let passed =
                    SignedDuration::try_from(started.elapsed()).unwrap_or(SignedDuration::MAX);
                base.checked_add(passed).unwrap_or(Timestamp::MAX)
            }
        }
    }
}
