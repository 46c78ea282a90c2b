//! The rate limit: so many requests in any 60 seconds, no more credit than that.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::errors;
use super::http::Answer;
use super::switches::RetryAfterForm;

const WINDOW: Duration = Duration::from_secs(60);

/// A sliding window over the requests of the last minute.
#[derive(Debug, Default)]
pub(super) struct Pace {
    recent: Mutex<VecDeque<Instant>>,
}

impl Pace {
    /// Takes a request if the limit allows; else tells how long it takes until one is free.
    ///
    /// # Errors
    /// The wait, when the last 60 s have seen `limit` requests.
    pub(super) fn admit(
        &self,
        now: Instant,
        limit: Option<u32>,
        count_refused: bool,
    ) -> Result<(), Duration> {
        let Some(limit) = limit else { return Ok(()) };
        let limit = limit as usize;
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        while recent.front().is_some_and(|first| now - *first >= WINDOW) {
            recent.pop_front();
        }
        let refused = recent.len() >= limit;
        if !refused || count_refused {
            recent.push_back(now);
        }
        // Only the last `limit` of them decide, so no flood can grow the list.
        while recent.len() > limit {
            recent.pop_front();
        }
        if refused {
            let first = recent.front().copied().unwrap_or(now);
            return Err(WINDOW.saturating_sub(now - first));
        }
        Ok(())
    }

    /// Forgets the last minute.
    pub(super) fn clear(&self) {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.clear();
    }
}

/// The answer over the limit.
pub(super) fn too_many(wait: Duration, form: RetryAfterForm) -> Answer {
    let answer = errors::message(429, "Too Many Requests");
    match retry_after(wait, form) {
        Some(value) => answer.with("retry-after", value),
        None => answer,
    }
}

/// A `Retry-After` value: rounded up, so that who obeys isn't refused again.
pub(super) fn retry_after(wait: Duration, form: RetryAfterForm) -> Option<String> {
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    match form {
        RetryAfterForm::Absent => None,
        RetryAfterForm::Seconds => Some(seconds.to_string()),
        RetryAfterForm::Date => {
            let then = SystemTime::now() + Duration::from_secs(seconds + 1);
            Some(httpdate::fmt_http_date(then))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_slides() {
        let pace = Pace::default();
        let start = Instant::now();
        let at = |second| start + Duration::from_secs(second);
        assert_eq!(pace.admit(at(0), Some(2), false), Ok(()));
        assert_eq!(pace.admit(at(30), Some(2), false), Ok(()));
        let refused = pace.admit(at(59), Some(2), false);
        assert_eq!(refused, Err(Duration::from_secs(1)));
        assert_eq!(pace.admit(at(60), Some(2), false), Ok(()));
        assert!(pace.admit(at(61), Some(2), false).is_err());
        assert_eq!(pace.admit(at(61), None, false), Ok(()));
    }

    #[test]
    fn refused_requests_count_if_told_to() {
        let pace = Pace::default();
        let start = Instant::now();
        let at = |second| start + Duration::from_secs(second);
        assert_eq!(pace.admit(at(0), Some(1), true), Ok(()));
        assert_eq!(pace.admit(at(59), Some(1), true), Err(WINDOW));
        assert!(pace.admit(at(61), Some(1), true).is_err());
        assert_eq!(pace.admit(at(121), Some(1), true), Ok(()));
    }

    #[test]
    fn retry_after_never_sends_back_too_soon() {
        let wait = Duration::from_millis(1_001);
        let value = retry_after(wait, RetryAfterForm::Seconds);
        assert_eq!(value.as_deref(), Some("2"));
        let date = retry_after(wait, RetryAfterForm::Date).unwrap();
        let date = httpdate::parse_http_date(&date).unwrap();
        assert!(date >= SystemTime::now());
    }
}
