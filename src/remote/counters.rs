//! What has been asked and answered, as numbers: for `status`, `stats.json` and the metrics.
//!
//! Numbers by kind and outcome only; no GUID, key or host can get in.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::RemoteError;

/// What kind of request it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Token,
    Search,
    Interaction,
    Content,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Search => "search",
            Self::Interaction => "interaction",
            Self::Content => "content",
        }
    }
}

/// How a request ended, up to its answer's head.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Outcome {
    Answered,
    Denied,
    Gone,
    Throttled,
    Failed,
    Broken,
}

/// Requests of one kind, by what was answered. Every request sent to the API is in exactly one of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RequestCounters {
    /// 2xx, 416 and redirects.
    pub answered: u64,
    /// 401 and 403; at the token endpoint 400 too.
    pub denied: u64,
    /// 404 and 410.
    pub gone: u64,
    /// 429.
    pub throttled: u64,
    /// Any other status.
    pub failed: u64,
    /// No answer: the connection failed, or its answer didn't begin in time.
    pub broken: u64,
}

impl RequestCounters {
    /// All requests of the kind.
    pub fn total(&self) -> u64 {
        self.answered + self.denied + self.gone + self.throttled + self.failed + self.broken
    }
}

/// A way in which calls failed lately, retries and all.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RecentError {
    /// What was asked for: `token`, `search`, `interaction` or `content`.
    pub kind: &'static str,
    /// What went wrong.
    pub error: RemoteError,
    /// How often.
    pub count: u64,
    /// How long ago it last did.
    pub ago: Duration,
}

/// How fast requests may go.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PaceCounters {
    /// Requests granted within the last 60 s, over all processes on the account, as far as known.
    pub granted: u32,
    /// Requests a minute allowed just now: lowered after a 429.
    pub limit: u32,
    /// Requests a minute that the mount was set up with.
    pub configured: u32,
    /// Calls of this process that wait for their turn.
    pub waiting: u32,
    /// Whether the pace is shared with other processes; not when there is no ledger, or it broke.
    pub shared: bool,
}

/// What the client has done since it was made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// Requests for a token.
    pub token: RequestCounters,
    /// Pages of searches.
    pub search: RequestCounters,
    /// Single interactions.
    pub interaction: RequestCounters,
    /// Content.
    pub content: RequestCounters,
    /// Requests that were made again after one that failed, without those after a 429.
    pub retries: u64,
    /// Answers with 429.
    pub throttled: u64,
    /// Bytes of answers' bodies.
    pub bytes_received: u64,
    /// The pace.
    pub pace: PaceCounters,
}

impl Counters {
    /// Requests of all kinds.
    pub fn requests(&self) -> u64 {
        self.token.total() + self.search.total() + self.interaction.total() + self.content.total()
    }
}

/// The running numbers.
#[derive(Debug, Default)]
pub(super) struct Tally {
    requests: [[AtomicU64; 6]; 4],
    retries: AtomicU64,
    bytes: AtomicU64,
    latency_micros: AtomicU64,
    errors: Mutex<VecDeque<(Kind, RemoteError, u64, Instant)>>,
}

/// How many ways of failing are remembered.
const ERRORS: usize = 8;

/// What an answer is taken to need before the first one came.
const LATENCY_GUESS: Duration = Duration::from_millis(80);

impl Tally {
    pub(super) fn request(&self, kind: Kind, outcome: Outcome) {
        self.requests[kind as usize][outcome as usize].fetch_add(1, Relaxed);
    }

    pub(super) fn retry(&self) {
        self.retries.fetch_add(1, Relaxed);
    }

    /// Takes note of a call that failed for good. What says something about one object only (gone, shorter than known) is
    /// no trouble of the mount's.
    pub(super) fn trouble(&self, kind: Kind, error: &RemoteError) {
        if matches!(
            error,
            RemoteError::Gone | RemoteError::PastEnd { .. } | RemoteError::Offline
        ) {
            return;
        }
        let mut errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        let known = errors
            .iter()
            .position(|(of, known, ..)| *of == kind && known == error);
        let before = known
            .and_then(|at| errors.remove(at))
            .map_or(0, |(_, _, count, _)| count);
        errors.truncate(ERRORS - 1);
        errors.push_front((kind, error.clone(), before + 1, Instant::now()));
    }

    /// The latest ways in which calls failed, newest first.
    pub(super) fn errors(&self) -> Vec<RecentError> {
        let errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        errors
            .iter()
            .map(|(kind, error, count, at)| RecentError {
                kind: kind.as_str(),
                error: error.clone(),
                count: *count,
                ago: at.elapsed(),
            })
            .collect()
    }

    pub(super) fn received(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Relaxed);
    }

    /// Takes note of how long an answer's head took. An old average weighs 7/8, as in TCP's.
    pub(super) fn head_took(&self, time: Duration) {
        let new = u64::try_from(time.as_micros()).unwrap_or(u64::MAX).max(1);
        // Two answers at once may lose one of the two: it is an estimate.
        let old = self.latency_micros.load(Relaxed);
        let next = if old == 0 {
            new
        } else {
            (old - old / 8).saturating_add(new / 8).max(1)
        };
        self.latency_micros.store(next, Relaxed);
    }

    pub(super) fn latency(&self) -> Duration {
        match self.latency_micros.load(Relaxed) {
            0 => LATENCY_GUESS,
            micros => Duration::from_micros(micros),
        }
    }

    pub(super) fn read(&self, pace: PaceCounters) -> Counters {
        let kind = |kind: Kind| {
            let of =
                |outcome: Outcome| self.requests[kind as usize][outcome as usize].load(Relaxed);
            RequestCounters {
                answered: of(Outcome::Answered),
                denied: of(Outcome::Denied),
                gone: of(Outcome::Gone),
                throttled: of(Outcome::Throttled),
                failed: of(Outcome::Failed),
                broken: of(Outcome::Broken),
            }
        };
        let mut counters = Counters {
            token: kind(Kind::Token),
            search: kind(Kind::Search),
            interaction: kind(Kind::Interaction),
            content: kind(Kind::Content),
            retries: self.retries.load(Relaxed),
            throttled: 0,
            bytes_received: self.bytes.load(Relaxed),
            pace,
        };
        counters.throttled = counters.token.throttled
            + counters.search.throttled
            + counters.interaction.throttled
            + counters.content.throttled;
        counters
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_trouble_is_counted_and_the_oldest_forgotten() {
        let tally = Tally::default();
        tally.trouble(Kind::Content, &RemoteError::Gone);
        assert!(
            tally.errors().is_empty(),
            "a name that is gone is no trouble"
        );
        for status in 500..520 {
            tally.trouble(Kind::Search, &RemoteError::Status(status));
        }
        tally.trouble(Kind::Content, &RemoteError::Status(519));
        tally.trouble(Kind::Search, &RemoteError::Status(515));
        let errors = tally.errors();
        assert_eq!(errors.len(), ERRORS);
        assert_eq!(
            (errors[0].kind, errors[0].count, &errors[0].error),
            ("search", 2, &RemoteError::Status(515))
        );
        assert_eq!((errors[1].kind, errors[1].count), ("content", 1));
    }
}
