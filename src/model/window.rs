//! Windows of time, and how a search cuts them.

use jiff::{SignedDuration, Timestamp};

use super::Day;

/// From an instant, which is in the window, to a later one, which is not.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct TimeWindow {
    /// The first instant.
    pub from: Timestamp,
    /// The instant behind the last.
    pub to: Timestamp,
}

/// The longest window that the API searches at once (API reference, 5.2).
const SEARCH_LIMIT: SignedDuration = SignedDuration::from_hours(7 * 24);

impl TimeWindow {
    /// Whether `time` lies in the window.
    pub fn contains(&self, time: Timestamp) -> bool {
        self.from <= time && time < self.to
    }

    /// Whether nothing lies in the window.
    pub fn is_empty(&self) -> bool {
        self.from >= self.to
    }

    /// What both windows have, perhaps nothing.
    pub fn intersection(&self, other: &Self) -> Self {
        Self {
            from: self.from.max(other.from),
            to: self.to.min(other.to),
        }
    }

    /// The windows to search, newest first, each at most seven days: the fewest that cover this one.
    /// Neighbours share their boundary instant, because whether the API's `end` is inclusive is not
    /// known (API reference, 5.2).
    pub fn searches(&self) -> Vec<Self> {
        let mut searches = Vec::new();
        let mut to = self.to;
        while self.from < to {
            let from = to
                .checked_sub(SEARCH_LIMIT)
                .map_or(self.from, |from| from.max(self.from));
            searches.push(Self { from, to });
            to = from;
        }
        searches
    }

    /// The UTC days that the window touches, newest first.
    pub fn days(&self) -> Vec<Day> {
        let mut days = Vec::new();
        if self.is_empty() {
            return days;
        }
        let first = Day::of(self.from);
        let mut day = Day::of(self.to);
        if day.start() == self.to {
            day = day.before(1);
        }
        while day >= first {
            days.push(day);
            if day == first {
                break;
            }
            day = day.before(1);
        }
        days
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(from: &str, to: &str) -> TimeWindow {
        TimeWindow {
            from: from.parse().unwrap(),
            to: to.parse().unwrap(),
        }
    }

    #[test]
    fn seven_days_are_one_search() {
        let week = window("2026-11-16T00:00:00Z", "2026-11-22T13:00:00Z");
        assert_eq!(week.searches(), [week]);
        let exact = window("2026-11-15T00:00:00Z", "2026-11-22T00:00:00Z");
        assert_eq!(exact.searches(), [exact]);
    }

    #[test]
    fn longer_windows_are_cut_newest_first_and_share_boundaries() {
        let month = window("2026-10-23T06:00:00Z", "2026-11-22T00:00:00Z");
        let searches = month.searches();
        assert_eq!(searches.len(), 5);
        assert_eq!(searches[0].to, month.to);
        assert_eq!(searches[4].from, month.from);
        for pair in searches.windows(2) {
            assert_eq!(pair[0].from, pair[1].to);
        }
        assert!(
            window("2026-11-22T00:00:00Z", "2026-11-22T00:00:00Z")
                .searches()
                .is_empty()
        );
    }

    #[test]
    fn days_are_those_touched() {
        let days = window("2026-11-20T23:59:59Z", "2026-11-22T00:00:00Z").days();
        let names: Vec<_> = days.iter().map(ToString::to_string).collect();
        assert_eq!(names, ["2026-11-21", "2026-11-20"]);
    }
}
