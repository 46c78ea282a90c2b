//! When a request may go: the pace as a pure function of what was granted before.
//!
//! No crate offers a sliding window that is shared between processes and serves classes, so the rules are
//! our own. They read no clock and do no I/O: times come in as microseconds of one clock, decisions go
//! out. They promise that no [`WINDOW`] ever holds more grants than the limit, whatever the log holds.

use crate::remote::Class;

/// The window that the limit counts over, in µs: the API's 60 s, and a second for what a network may
/// take from the distance between two requests.
pub(super) const WINDOW: u64 = 61_000_000;

/// The most requests a minute that can be configured.
pub(super) const LIMIT_MAX: u32 = 120_000;

/// The lowest that 429s bring the limit down to, in requests a minute.
const LIMIT_MIN: u32 = 10;

/// Grants closer together than this, in µs, are made in bunches: timers are not finer.
const BUNCH: u64 = 5_000;

/// The longest pause that a `Retry-After` can demand, in µs: a day. Longer ones are taken for this long.
pub(super) const PAUSE_MAX: u64 = 86_400_000_000;

/// The shortest pause after a 429, in µs, also when it says 0.
const PAUSE_MIN: u64 = 200_000;

/// The first pause after a 429 that doesn't say how long, in µs; doubles up to sixteen times that.
const PAUSE_UNTOLD: u64 = 2_000_000;

/// After this long without a 429, in µs, the next one is a first one.
const STREAK_END: u64 = 120_000_000;

const MINUTE: f64 = 60_000_000.0;

/// The grants made lately, newest first.
pub(super) trait GrantLog {
    /// When the `n`th latest grant was made, in µs; 1 is the latest. `None` when there are fewer.
    fn latest(&self, n: u32) -> Option<u64>;
    /// Records a grant, made at `at`.
    fn push(&mut self, at: u64);
}

/// What is known of the pace beside the grants; times in µs, 0 for never.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Record {
    /// No request may go before.
    pub(super) paused_until: u64,
    /// What the limit was lowered to at `lowered_at`; 0 when it never was.
    pub(super) lowered_to: u64,
    /// How many requests a minute proved too many; 0 when that isn't known.
    pub(super) ceiling: u64,
    /// From when on the limit recovers.
    pub(super) lowered_at: u64,
    /// How many times in a row a 429 came.
    pub(super) streak: u64,
    /// When a 429 last lowered the limit.
    pub(super) throttled_at: u64,
    /// Until then a reader of some process waits, and no background request may go.
    pub(super) reader_waits_until: u64,
}

impl Record {
    /// Takes over what `other`, a record of the same account, knows of 429s that came later.
    pub(super) fn learn(&mut self, other: &Self) {
        let paused_until = self.paused_until.max(other.paused_until);
        if other.throttled_at > self.throttled_at {
            let reader_waits_until = self.reader_waits_until;
            *self = Self {
                reader_waits_until,
                ..*other
            };
        }
        self.paused_until = paused_until;
    }
}

/// The pace at one instant.
pub(super) struct Pace<'a, L> {
    pub(super) log: &'a mut L,
    pub(super) record: &'a mut Record,
    /// Requests a minute that this process was set up with.
    pub(super) configured: u32,
    /// The time, in µs.
    pub(super) now: u64,
}

impl<L: GrantLog> Pace<'_, L> {
    /// Requests allowed in a window just now.
    ///
    /// After a 429 the limit climbs back by a fifth of the configured one a minute; slower around the
    /// number that proved too many, so that finding out again stays rare.
    pub(super) fn limit(&self) -> u32 {
        self.limit_at(self.now)
    }

    /// What the limit will be at `time`, in µs, if no 429 comes before: never less than it is now.
    fn limit_at(&self, time: u64) -> u32 {
        let record = &self.record;
        if record.lowered_to == 0 {
            return self.configured;
        }
        let configured = f64::from(self.configured);
        let (fast, slow) = (configured * 0.2 / MINUTE, configured * 0.003 / MINUTE);
        let mut level = small(record.lowered_to);
        let mut left = small(time.saturating_sub(record.lowered_at));
        let mut climb = |level: &mut f64, to: f64, speed: f64| {
            let time = ((to - *level) / speed).clamp(0.0, left);
            left -= time;
            *level += time * speed;
        };
        if record.ceiling > 0 {
            climb(&mut level, small(record.ceiling) * 0.95, fast);
            climb(&mut level, small(record.ceiling) * 1.05, slow);
        }
        climb(&mut level, configured, fast);
        whole(level).clamp(1, self.configured)
    }

    /// How many requests the last window holds; all that is above the configured limit is the same.
    pub(super) fn granted(&self) -> u32 {
        let since = self.now.saturating_sub(WINDOW);
        let in_window = |n: u32| self.log.latest(n).is_some_and(|at| at > since);
        let (mut low, mut high) = (0, self.configured + 1);
        if !in_window(1) {
            return 0;
        }
        while low + 1 < high {
            let middle = low + (high - low) / 2;
            if in_window(middle) {
                low = middle;
            } else {
                high = middle;
            }
        }
        low
    }

    /// How many of `limit` requests a class may use. Readers always find what refreshes leave, and
    /// refreshes what prefetches leave.
    fn share(class: Class, limit: u32) -> u32 {
        match class {
            Class::Reader => limit,
            Class::Refresh => limit * 4 / 5,
            Class::Prefetch => limit * 3 / 5,
        }
        .max(1)
    }

    /// How many requests a class may use in a window just now.
    pub(super) fn share_of(&self, class: Class) -> u32 {
        Self::share(class, self.limit())
    }

    /// Whether the request behind `ahead` others of its class certainly can't go by `deadline`; `next` is when the first
    /// of them may, as things stand.
    pub(super) fn is_hopeless(&self, class: Class, ahead: u32, next: u64, deadline: u64) -> bool {
        let limit = self.limit_at(deadline);
        // The evenly spread turn of the first reader, unless a limit that recovers brings it forward; for those behind,
        // and other classes, what the window alone says.
        let is_certain = class == Class::Reader && limit == self.limit();
        let first = if is_certain { next } else { 0 };
        self.not_before(class, ahead, limit).max(first) > deadline
    }

    /// Before when the request behind `ahead` others of its class certainly can't go at `limit`, by the window alone.
    fn not_before(&self, class: Class, ahead: u32, limit: u32) -> u64 {
        let share = Self::share(class, limit);
        let by_window = if ahead < share {
            self.log
                .latest(share - ahead)
                .map_or(0, |at| at.saturating_add(WINDOW))
        } else {
            self.now.saturating_add(WINDOW)
        };
        by_window.max(self.record.paused_until)
    }

    /// When the next request of `class` may go, if none goes before; not after `now` when it may go now.
    pub(super) fn earliest(&self, class: Class) -> u64 {
        let limit = self.limit();
        let mut at = self.not_before(class, 0, limit);
        if class != Class::Reader {
            at = at.max(self.record.reader_waits_until);
        }
        let burst = (limit / 2).max(1);
        let burst_is_used = self
            .log
            .latest(burst)
            .is_some_and(|grant| grant.saturating_add(WINDOW) > self.now);
        if burst_is_used {
            at = at.max(self.spread(limit));
        }
        at
    }

    /// When the next request may go if those that are left are spread evenly.
    ///
    /// The even distance is the shortest at which no later request will find the window full: behind the
    /// latest grant, `left` may follow, and one more each time an old one leaves the window. So the
    /// distance is the greatest of (when the j-th leaves) / (j + left). Sixteen of the j's are looked at;
    /// a distance that is a little too short costs evenness, never the limit.
    fn spread(&self, limit: u32) -> u64 {
        let granted = self.granted();
        let Some(latest) = self.log.latest(1) else {
            return 0;
        };
        let left = u64::from(limit.saturating_sub(granted));
        let mut distance = 0;
        for sample in 0..=16_u32 {
            let j = u32::try_from(u64::from(granted) * u64::from(sample) / 16)
                .unwrap_or(granted)
                .max(1);
            if j > granted {
                break;
            }
            if let Some(grant) = self.log.latest(granted - j + 1) {
                let leaves_in = grant.saturating_add(WINDOW).saturating_sub(latest);
                distance = distance.max(leaves_in / (u64::from(j) + left));
            }
        }
        if distance == 0 {
            return 0;
        }
        let bunch = u32::try_from(BUNCH.div_ceil(distance))
            .unwrap_or(1)
            .clamp(1, granted.max(1));
        self.log.latest(bunch).map_or(0, |grant| {
            grant.saturating_add(distance.saturating_mul(u64::from(bunch)))
        })
    }

    /// Takes note of a 429 to a request that was granted at `granted_at`.
    ///
    /// Pauses everything for as long as the answer says (`told`, µs), else for a time that doubles, with
    /// `jitter` (0 to 1) so that processes don't come back together. The limit is lowered to what the
    /// window held, less a tenth, but never by more than half at once: a 429 says little when others use
    /// the account too. Requests that were under way when the limit was lowered don't lower it again.
    pub(super) fn throttled(&mut self, granted_at: u64, told: Option<u64>, jitter: f64) {
        let limit = self.limit();
        let granted = self.granted();
        let (now, configured) = (self.now, self.configured);
        let record = &mut *self.record;
        let is_news = record.throttled_at == 0 || granted_at > record.throttled_at;
        if is_news {
            let is_first = now.saturating_sub(record.throttled_at) > STREAK_END;
            record.streak = if is_first || record.throttled_at == 0 {
                0
            } else {
                record.streak + 1
            };
        }
        let pause = told.map_or_else(
            || {
                let doubled = small(PAUSE_UNTOLD << record.streak.min(4));
                long(doubled * (1.0 + jitter.clamp(0.0, 1.0) / 4.0))
            },
            |told| told.clamp(PAUSE_MIN, PAUSE_MAX),
        );
        record.paused_until = record.paused_until.max(now.saturating_add(pause));
        if is_news {
            let by_count = granted * 9 / 10;
            let half = limit / 2;
            let (lowered, ceiling) = if by_count >= half {
                (by_count.min(limit), granted)
            } else {
                (half, 0)
            };
            record.lowered_to = u64::from(lowered.max(LIMIT_MIN).min(configured).max(1));
            record.ceiling = u64::from(ceiling);
            record.lowered_at = record.paused_until;
            record.throttled_at = now;
        }
    }
}

/// Exact for every time and count that occurs: they are far below 2^53.
#[allow(clippy::cast_precision_loss, reason = "values stay far below 2^53")]
fn small(value: u64) -> f64 {
    value as f64
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "`as` saturates, and the values are limits and pauses"
)]
fn whole(value: f64) -> u32 {
    value as u32
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "`as` saturates, and the values are pauses"
)]
fn long(value: f64) -> u64 {
    value as u64
}

#[cfg(test)]
mod tests;
