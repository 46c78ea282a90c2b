//! What the mount lists, and how its catalogue keeps fresh.

use std::time::Duration;

use jiff::Timestamp;

use crate::model::{Day, SearchFilter, TimeWindow};

/// What the mount shows.
#[derive(Clone, Debug)]
pub enum WindowSpec {
    /// Whole UTC days: today and the `n - 1` before it. At least 1.
    Days(u32),
    /// The time up to now, exactly.
    Last(Duration),
    /// From an instant to another, or to now.
    Fixed {
        /// The first instant.
        from: Timestamp,
        /// The instant behind the last; `None` for now.
        to: Option<Timestamp>,
    },
}

/// How the catalogue keeps fresh.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The listed window.
    pub window: WindowSpec,
    /// Filters sent with every search of the listed window.
    pub filter: SearchFilter,
    /// How often new interactions are searched for.
    pub refresh: Duration,
    /// Make no request at all.
    pub offline: bool,
    /// When offline: show nothing that was last seen longer ago than this.
    pub max_age: Duration,
}

impl WindowSpec {
    /// The window at `now`.
    pub fn at(&self, now: Timestamp) -> TimeWindow {
        match self {
            Self::Days(days) => {
                let today = Day::of(now);
                TimeWindow {
                    from: today.before(days.saturating_sub(1)).start(),
                    to: today.next().start(),
                }
            }
            Self::Last(time) => TimeWindow {
                from: now.checked_sub(*time).unwrap_or(Timestamp::UNIX_EPOCH),
                to: now,
            },
            Self::Fixed { from, to } => TimeWindow {
                from: *from,
                to: to.unwrap_or(now),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seven_days_are_today_and_the_six_before() {
        let window = WindowSpec::Days(7).at("2026-11-22T13:00:00Z".parse().unwrap());
        assert_eq!(window.from, "2026-11-16T00:00:00Z".parse().unwrap());
        assert_eq!(window.to, "2026-11-23T00:00:00Z".parse().unwrap());
    }
}
