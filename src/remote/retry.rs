//! How often, and after how long, a failed request is tried again.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

/// The tries that one operation has left, over all layers: clones draw on the same budget.
///
/// Delays grow exponentially and carry jitter, so that readers who failed together don't come back
/// together.
#[derive(Clone)]
pub struct RetryBudget {
    delays: Arc<Mutex<ExponentialBackoff>>,
}

impl RetryBudget {
    /// Five more tries after the first, 0.1 s to 5 s apart before jitter.
    pub fn standard() -> Self {
        Self::with_tries(5)
    }

    /// `tries` more tries after the first.
    pub fn with_tries(tries: usize) -> Self {
        let delays = ExponentialBuilder::new()
            .with_min_delay(Duration::from_millis(100))
            .with_max_delay(Duration::from_secs(5))
            .with_max_times(tries)
            .with_jitter()
            .build();
        Self {
            delays: Arc::new(Mutex::new(delays)),
        }
    }

    /// Takes one retry: how long to wait before it, or `None` when the budget is used up.
    pub fn take(&self) -> Option<Duration> {
        self.delays
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .next()
    }
}

impl fmt::Debug for RetryBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RetryBudget")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_share_one_budget() {
        let budget = RetryBudget::with_tries(2);
        let clone = budget.clone();
        assert!(budget.take().is_some());
        assert!(clone.take().is_some());
        assert_eq!(budget.take(), None);
        assert_eq!(clone.take(), None);
    }
}
