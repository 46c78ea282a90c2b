//! UTC days.

use std::fmt;
use std::str::FromStr;

use jiff::civil::Date;
use jiff::tz::Offset;
use jiff::{Timestamp, ToSpan};

use super::TimeWindow;

/// A UTC day, shown as `2026-11-22`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Day(Date);

/// The text is not a date of the form `2026-11-22`, or it lies outside the years 1970 to 9998.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a date: YYYY-MM-DD is needed")]
pub struct NotADay;

impl Day {
    /// The day in which `time` lies.
    pub fn of(time: Timestamp) -> Self {
        Self(Offset::UTC.to_datetime(time).date())
    }

    /// Its first instant.
    pub fn start(self) -> Timestamp {
        // `FromStr` and `of` admit only days whose midnight is a timestamp.
        Offset::UTC
            .to_timestamp(self.0.at(0, 0, 0, 0))
            .unwrap_or(Timestamp::MAX)
    }

    /// The day after.
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1.day()))
    }

    /// The day `days` earlier.
    pub fn before(self, days: u32) -> Self {
        Self(self.0.saturating_sub(i64::from(days).days()))
    }

    /// From its first instant to the next day's.
    pub fn window(self) -> TimeWindow {
        TimeWindow {
            from: self.start(),
            to: self.next().start(),
        }
    }
}

impl FromStr for Day {
    type Err = NotADay;

    fn from_str(text: &str) -> Result<Self, NotADay> {
        let bytes = text.as_bytes();
        let shaped = bytes.len() == 10
            && bytes.iter().enumerate().all(|(at, byte)| match at {
                4 | 7 => *byte == b'-',
                _ => byte.is_ascii_digit(),
            });
        if !shaped {
            return Err(NotADay);
        }
        let date: Date = text.parse().map_err(|_| NotADay)?;
        (1970..=9998)
            .contains(&date.year())
            .then_some(Self(date))
            .ok_or(NotADay)
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_utc_and_strict() {
        let day: Day = "2026-11-22".parse().unwrap();
        assert_eq!(day.to_string(), "2026-11-22");
        assert_eq!(day.start().to_string(), "2026-11-22T00:00:00Z");
        assert_eq!(day.next().to_string(), "2026-11-23");
        assert_eq!(day.before(22).to_string(), "2026-10-31");
        assert_eq!(Day::of("2026-11-22T23:59:59.9Z".parse().unwrap()), day);
        for bad in [
            "2026-11-31",
            "2026-1-1",
            "20261122",
            "2026-11-22T",
            "1969-12-31",
            "-026-11-22",
        ] {
            assert!(bad.parse::<Day>().is_err(), "{bad}");
        }
    }
}
