//! What bare numbers mean, and where a transcript's clock begins (API reference, 12.7 rule 7).

use std::time::Duration;

use jiff::Timestamp;

use super::fields::RawTimes;

/// Words a second that people can speak at, over a whole call with its silences.
const SPEECH: std::ops::RangeInclusive<f64> = 0.5..=6.0;

/// Later than this is no time within an interaction, and not shown.
const LIMIT: Duration = Duration::from_secs(366 * 24 * 3600);

/// Dates may begin this long after the interaction did; else the first of them is the beginning.
const NEAR_START_SECONDS: i64 = 24 * 3600;

/// What a number counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Unit {
    Seconds,
    Milliseconds,
    /// 100 nanoseconds, as .NET counts.
    Ticks,
}

impl Unit {
    const ALL: [Self; 3] = [Self::Seconds, Self::Milliseconds, Self::Ticks];

    fn seconds(self) -> f64 {
        match self {
            Self::Seconds => 1.0,
            Self::Milliseconds => 1e-3,
            Self::Ticks => 1e-7,
        }
    }

    /// A key without the unit that it ends in, and that unit.
    pub(super) fn of_key(normal: &str) -> (&str, Option<Self>) {
        const ENDINGS: &[(&str, Unit)] = &[
            ("milliseconds", Unit::Milliseconds),
            ("millis", Unit::Milliseconds),
            ("ms", Unit::Milliseconds),
            ("seconds", Unit::Seconds),
            ("secs", Unit::Seconds),
            ("sec", Unit::Seconds),
            ("ticks", Unit::Ticks),
        ];
        for (ending, unit) in ENDINGS {
            if let Some(name) = normal.strip_suffix(ending).filter(|name| !name.is_empty()) {
                let bare = name.strip_suffix("in").filter(|_| name != "begin");
                return (bare.unwrap_or(name), Some(*unit));
            }
        }
        (normal, None)
    }
}

/// A time as it stands in the file.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum RawTime {
    /// A number, and its unit where the key names it.
    Number(f64, Option<Unit>),
    /// Counted from the beginning.
    Offset(Duration),
    /// By the calendar.
    Date(Timestamp),
}

impl RawTime {
    /// A number as a time; `None` if it can't be one.
    pub(super) fn number(value: f64, unit: Option<Unit>) -> Option<Self> {
        value.is_finite().then_some(Self::Number(value, unit))
    }
}

/// How the numbers and dates of one list of phrases are to be read.
pub(super) struct Clock {
    bare: Bare,
    origin: Timestamp,
}

/// How numbers without a named unit are read.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Bare {
    Unit(Unit),
    /// Since 1970, in the unit.
    Epoch(Unit),
    Unknown,
}

impl Clock {
    /// Finds out from all elements: their times, and how many words each has. `start` is the interaction's.
    pub(super) fn of(elements: &[(RawTimes, usize)], start: Timestamp) -> Self {
        let bare = Bare::of(elements);
        let first = elements
            .iter()
            .filter_map(|(times, _)| match times.start? {
                RawTime::Date(date) => Some(date),
                RawTime::Number(value, None) => bare.date(value),
                RawTime::Number(..) | RawTime::Offset(_) => None,
            })
            .min();
        let origin = match first {
            Some(first) => {
                let late = first.as_second().saturating_sub(start.as_second());
                if (0..=NEAR_START_SECONDS).contains(&late) && first >= start {
                    start
                } else {
                    first
                }
            }
            None => start,
        };
        Self { bare, origin }
    }

    /// Start and end, counted from the beginning.
    pub(super) fn read(&self, times: RawTimes) -> (Option<Duration>, Option<Duration>) {
        let start = times.start.and_then(|time| self.offset(time));
        let end = times.end.and_then(|time| self.offset(time)).or_else(|| {
            let length = match times.duration? {
                RawTime::Number(value, None) => {
                    in_unit(value, self.unit_of_length(value, times.start)?)
                }
                time => self.offset(time),
            };
            start?.checked_add(length?)
        });
        let is_within = |time: &Duration| *time <= LIMIT;
        let start = start.filter(is_within);
        let end = end
            .filter(is_within)
            .filter(|end| start.is_none_or(|start| start <= *end));
        (start, end)
    }

    /// The unit of a bare duration: seconds if it is fractional, else that of the start.
    fn unit_of_length(&self, value: f64, start: Option<RawTime>) -> Option<Unit> {
        if value.fract() != 0.0 {
            return Some(Unit::Seconds);
        }
        match (self.bare, start) {
            (Bare::Unit(unit) | Bare::Epoch(unit), _)
            | (Bare::Unknown, Some(RawTime::Number(_, Some(unit)))) => Some(unit),
            (Bare::Unknown, _) => None,
        }
    }

    fn offset(&self, time: RawTime) -> Option<Duration> {
        match time {
            RawTime::Offset(offset) => Some(offset),
            RawTime::Date(date) => Some(self.since_origin(date)),
            RawTime::Number(value, Some(unit)) => in_unit(value, unit),
            RawTime::Number(value, None) => match self.bare {
                Bare::Unit(unit) => in_unit(value, unit),
                Bare::Epoch(_) => Some(self.since_origin(self.bare.date(value)?)),
                Bare::Unknown => None,
            },
        }
    }

    fn since_origin(&self, date: Timestamp) -> Duration {
        // What seems to lie before the beginning is shown at the beginning.
        date.duration_since(self.origin)
            .try_into()
            .unwrap_or(Duration::ZERO)
    }
}

impl Bare {
    fn of(elements: &[(RawTimes, usize)]) -> Self {
        let numbers = |times: &RawTimes| {
            [times.start, times.end]
                .into_iter()
                .flatten()
                .filter_map(|time| match time {
                    RawTime::Number(value, None) => Some(value),
                    _ => None,
                })
                .collect::<Vec<_>>()
        };
        let (mut least, mut most, mut words) = (f64::INFINITY, f64::NEG_INFINITY, 0);
        let mut is_fractional = false;
        for (times, count) in elements {
            for value in numbers(times) {
                least = least.min(value);
                most = most.max(value);
                is_fractional |= value.fract() != 0.0;
            }
            words += count;
        }
        if !least.is_finite() {
            return Self::Unknown;
        }
        // Numbers as large as today's date, and no further apart than a call's: they count since 1970.
        let day = 86_400.0;
        if least >= 1e9 && most < 5e9 && most - least <= day {
            return Self::Epoch(Unit::Seconds);
        }
        if least >= 1e12 && most < 5e12 && most - least <= day * 1000.0 {
            return Self::Epoch(Unit::Milliseconds);
        }
        if is_fractional || most == 0.0 {
            return Self::Unit(Unit::Seconds);
        }
        let total = if most > least { most - least } else { most };
        Unit::ALL
            .into_iter()
            .find(|unit| SPEECH.contains(&(words as f64 / (total * unit.seconds()))))
            .map_or(Self::Unknown, Self::Unit)
    }

    fn date(self, value: f64) -> Option<Timestamp> {
        match self {
            Self::Epoch(unit) => {
                Timestamp::from_millisecond((value * unit.seconds() * 1000.0).round() as i64).ok()
            }
            Self::Unit(_) | Self::Unknown => None,
        }
    }
}

/// Rounded to milliseconds: binary fractions would else show as 1.199.
fn in_unit(value: f64, unit: Unit) -> Option<Duration> {
    let millis = (value.max(0.0) * unit.seconds() * 1000.0).round();
    (millis < 1e15).then(|| Duration::from_millis(millis as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(time: RawTime) -> RawTimes {
        RawTimes {
            start: Some(time),
            ..RawTimes::default()
        }
    }

    fn number(value: f64) -> RawTime {
        RawTime::Number(value, None)
    }

    /// Four phrases of ten words, ten seconds apart, counted in `scale` a second.
    fn starts(scale: f64) -> Vec<Option<Duration>> {
        let elements: Vec<_> = (0..4)
            .map(|place| (at(number(f64::from(place) * 10.0 * scale)), 10))
            .collect();
        let clock = Clock::of(&elements, Timestamp::UNIX_EPOCH);
        elements
            .iter()
            .map(|(times, _)| clock.read(*times).0)
            .collect()
    }

    #[test]
    fn the_unit_is_that_in_which_people_can_speak() {
        let expected: Vec<_> = (0..4)
            .map(|place| Some(Duration::from_secs(place * 10)))
            .collect();
        for scale in [1.0, 1e3, 1e7] {
            assert_eq!(starts(scale), expected, "{scale}");
        }
        assert_eq!(starts(60.0), [None, None, None, None]);
    }

    #[test]
    fn fractions_are_seconds_and_named_units_are_taken_at_their_word() {
        let elements = [(at(number(0.5)), 1), (at(number(900.0)), 1)];
        let clock = Clock::of(&elements, Timestamp::UNIX_EPOCH);
        assert_eq!(clock.read(elements[1].0).0, Some(Duration::from_secs(900)));
        assert_eq!(Unit::of_key("startms"), ("start", Some(Unit::Milliseconds)));
        assert_eq!(Unit::of_key("offsetinticks"), ("offset", Some(Unit::Ticks)));
        assert_eq!(Unit::of_key("ts"), ("ts", None));
        assert_eq!(Unit::of_key("beginms"), ("begin", Some(Unit::Milliseconds)));
        assert_eq!(
            Unit::of_key("begininms"),
            ("begin", Some(Unit::Milliseconds))
        );
        let named = at(RawTime::Number(1500.0, Some(Unit::Milliseconds)));
        assert_eq!(clock.read(named).0, Some(Duration::from_millis(1500)));
    }

    #[test]
    fn dates_count_from_the_start_or_else_from_the_first() {
        let start: Timestamp = "2026-11-20T16:20:00Z".parse().unwrap();
        let first = at(RawTime::Date("2026-11-20T16:20:05Z".parse().unwrap()));
        let second = at(RawTime::Date("2026-11-20T16:21:00Z".parse().unwrap()));
        let elements = [(first, 1), (second, 1)];
        let clock = Clock::of(&elements, start);
        assert_eq!(clock.read(second).0, Some(Duration::from_secs(60)));
        for other in ["2026-11-23T00:00:00Z", "2026-11-18T00:00:00Z"] {
            let clock = Clock::of(&elements, other.parse().unwrap());
            assert_eq!(clock.read(second).0, Some(Duration::from_secs(55)));
        }
    }

    #[test]
    fn numbers_since_1970_are_dates() {
        let start: Timestamp = "2026-11-20T16:20:00Z".parse().unwrap();
        let millis = start.as_millisecond() as f64;
        let elements = [
            (at(number(millis + 4000.0)), 1),
            (at(number(millis + 9000.0)), 1),
        ];
        let clock = Clock::of(&elements, start);
        assert_eq!(clock.read(elements[0].0).0, Some(Duration::from_secs(4)));
    }

    #[test]
    fn a_duration_ends_what_started() {
        let times = RawTimes {
            duration: Some(number(2.5)),
            ..at(number(1.5))
        };
        let clock = Clock::of(&[(times, 4)], Timestamp::UNIX_EPOCH);
        assert_eq!(clock.read(times).1, Some(Duration::from_secs(4)));
    }
}
