//! What the fields of a phrase, word or message are called, and what they say (API reference, 12.7 rule 3).

use std::time::Duration;

use jiff::{SignedDuration, Timestamp, civil::DateTime, tz::TimeZone};
use serde_json::{Map, Value};

use super::html;
use super::safe::safe;
use super::time_unit::{RawTime, Unit};
use super::words;

/// Keys that hold what was said, those most likely whole first.
const TEXT_KEYS: &[&str] = &[
    "text",
    "transcript",
    "phrase",
    "sentence",
    "utterance",
    "content",
    "message",
    "body",
    "display",
    "displaytext",
    "caption",
    "value",
    "word",
    "w",
];

/// `from` comes last, because it may hold a telephone number.
const START_KEYS: &[&str] = &[
    "start",
    "starttime",
    "startoffset",
    "offset",
    "begin",
    "time",
    "timestamp",
    "ts",
    "t",
    "from",
];

const END_KEYS: &[&str] = &["end", "endtime", "endoffset", "to"];

/// More words than this are no phrase but a transcript, and better read word by word.
const JOINED_LIMIT: usize = 100;

/// Text-like values may hold objects that hold text; deeper ones are met as lists of their own.
const TEXT_DEPTH: usize = 4;

/// A key as it is compared: lower case, without `_` and `-`. Long ones are none of those known.
pub(super) fn normal_key(key: &str) -> String {
    if key.len() > 64 {
        return String::new();
    }
    key.chars()
        .filter(|c| !matches!(c, '_' | '-'))
        .flat_map(char::to_lowercase)
        .collect()
}

/// Whether a key, compared as [`normal_key`], holds what was said.
pub(super) fn is_text_key(normal: &str) -> bool {
    TEXT_KEYS.contains(&normal)
}

/// What an object says: reduced from HTML, safe, never blank.
pub(super) fn text_of(fields: &Map<String, Value>) -> Option<String> {
    text_within(fields, TEXT_DEPTH)
}

fn text_within(fields: &Map<String, Value>, depth: usize) -> Option<String> {
    let mut ranked: Vec<(usize, &Value)> = fields
        .iter()
        .filter_map(|(key, value)| {
            let normal = normal_key(key);
            let rank = TEXT_KEYS.iter().position(|known| *known == normal)?;
            Some((rank, value))
        })
        .collect();
    ranked.sort_by_key(|(rank, _)| *rank);
    ranked
        .into_iter()
        .find_map(|(_, value)| text_of_value(value, depth))
}

fn text_of_value(value: &Value, depth: usize) -> Option<String> {
    match value {
        Value::String(text) => clean(text),
        Value::Array(parts) if depth > 0 => joined(parts, depth - 1),
        Value::Object(fields) if depth > 0 => text_within(fields, depth - 1),
        _ => None,
    }
}

/// A text given as a list of its words. A list of phrases is none: it is met as a list of its own.
fn joined(parts: &[Value], depth: usize) -> Option<String> {
    if parts.len() > JOINED_LIMIT {
        return None;
    }
    let mut text = String::new();
    let mut objects = 0;
    for part in parts {
        let said = match part {
            Value::String(said) => clean(said),
            Value::Object(fields) => {
                objects += 1;
                text_within(fields, depth)
            }
            _ => None,
        };
        if let Some(said) = said {
            words::append(&mut text, &said);
        }
    }
    let is_phrases = objects > 0 && text.split_whitespace().count() * 2 > objects * 3;
    (!text.is_empty() && !is_phrases).then_some(text)
}

/// Text as it may be shown; `None` if nothing is left.
pub(super) fn clean(text: &str) -> Option<String> {
    let text = safe(&html::to_text(text));
    let trimmed = text.trim();
    if trimmed.is_empty() {
        None
    } else if trimmed.len() == text.len() {
        Some(text)
    } else {
        Some(trimmed.to_owned())
    }
}

/// The times that an object names, as they stand there.
#[derive(Clone, Copy, Default, PartialEq, Debug)]
pub(super) struct RawTimes {
    pub(super) start: Option<RawTime>,
    pub(super) end: Option<RawTime>,
    pub(super) duration: Option<RawTime>,
}

/// Reads the times of an object.
pub(super) fn times_of(fields: &Map<String, Value>) -> RawTimes {
    times_within(fields, 1)
}

fn times_within(fields: &Map<String, Value>, depth: usize) -> RawTimes {
    let mut start: Option<(usize, RawTime)> = None;
    let mut end: Option<(usize, RawTime)> = None;
    let mut times = RawTimes::default();
    let mut nested = RawTimes::default();
    for (key, value) in fields {
        let normal = normal_key(key);
        let (name, unit) = Unit::of_key(&normal);
        let started = START_KEYS.iter().position(|known| *known == name);
        let ended = END_KEYS.iter().position(|known| *known == name);
        if let Value::Object(inner) = value {
            let is_span = matches!(
                name,
                "span" | "offsets" | "timestamps" | "timing" | "interval"
            );
            if depth > 0 && (started.is_some() || is_span) {
                nested = times_within(inner, depth - 1);
            }
            continue;
        }
        let Some(time) = raw_time(value, unit) else {
            continue;
        };
        if let Some(rank) = started {
            if start.is_none_or(|(best, _)| rank < best) {
                start = Some((rank, time));
            }
        } else if let Some(rank) = ended {
            if end.is_none_or(|(best, _)| rank < best) {
                end = Some((rank, time));
            }
        } else if name == "duration" {
            times.duration = Some(time);
        }
    }
    times.start = start.map(|(_, time)| time).or(nested.start);
    times.end = end.map(|(_, time)| time).or(nested.end);
    times.duration = times.duration.or(nested.duration);
    times
}

/// Whether a value can only be a time: a number, a clock's or a calendar's, but no number in quotes, which may be a
/// telephone's.
pub(super) fn is_time(value: &Value) -> bool {
    value.is_number()
        || matches!(
            raw_time(value, None),
            Some(RawTime::Offset(_) | RawTime::Date(_))
        )
}

/// A value as a time, if it is one.
fn raw_time(value: &Value, unit: Option<Unit>) -> Option<RawTime> {
    match value {
        Value::Number(number) => RawTime::number(number.as_f64()?, unit),
        Value::String(text) => {
            let text = text.trim();
            if text.is_empty() || text.len() > 64 {
                return None;
            }
            if let Ok(number) = text.parse::<f64>() {
                return RawTime::number(number, unit);
            }
            clock(text)
                .map(RawTime::Offset)
                .or_else(|| date(text).map(RawTime::Date))
                .or_else(|| iso_duration(text).map(RawTime::Offset))
        }
        _ => None,
    }
}

/// `HH:MM:SS`, `MM:SS`, each with a fraction behind `.` or `,`.
fn clock(text: &str) -> Option<Duration> {
    let parts: Vec<&str> = text.split(':').collect();
    let (hours, minutes, seconds) = match parts[..] {
        [minutes, seconds] => ("0", minutes, seconds),
        [hours, minutes, seconds] => (hours, minutes, seconds),
        _ => return None,
    };
    let whole = |text: &str| -> Option<u64> {
        let is_short = (1..=4).contains(&text.len());
        (is_short && text.bytes().all(|b| b.is_ascii_digit()))
            .then(|| text.parse().ok())
            .flatten()
    };
    let seconds = seconds.replace(',', ".");
    let (seconds, fraction) = seconds.split_once('.').unwrap_or((&seconds, "0"));
    if !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let fraction: f64 = format!("0.{fraction}").parse().ok()?;
    let seconds = whole(hours)? * 3600 + whole(minutes)? * 60 + whole(seconds)?;
    Some(Duration::from_secs(seconds) + Duration::from_millis((fraction * 1000.0).round() as u64))
}

fn date(text: &str) -> Option<Timestamp> {
    text.parse().ok().or_else(|| {
        // Without a zone it is UTC, as all times of this API are.
        let civil: DateTime = text.parse().ok()?;
        TimeZone::UTC.to_timestamp(civil).ok()
    })
}

/// `PT1M2.5S`, and `2.5s` as some services write it.
fn iso_duration(text: &str) -> Option<Duration> {
    let duration: SignedDuration = text.parse().ok()?;
    duration.try_into().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn times(value: &Value) -> RawTimes {
        times_of(value.as_object().unwrap())
    }

    fn text(value: &Value) -> Option<String> {
        text_of(value.as_object().unwrap())
    }

    #[test]
    fn text_is_found_under_the_likeliest_key() {
        assert_eq!(
            text(&json!({"w": "a", "Display_Text": "b"})).as_deref(),
            Some("b")
        );
        assert_eq!(
            text(&json!({"content": [{"w": "Well"}, {"w": ","}, {"w": "yes"}, {"w": "!"}]}))
                .as_deref(),
            Some("Well, yes!")
        );
        assert_eq!(
            text(&json!({"message": {"body": "x"}})).as_deref(),
            Some("x")
        );
        assert_eq!(text(&json!({"text": " ", "id": "x y"})), None);
    }

    #[test]
    fn times_are_read_in_their_many_forms() {
        let offset = |millis| Some(RawTime::Offset(Duration::from_millis(millis)));
        assert_eq!(times(&json!({"start": "00:01:02.5"})).start, offset(62_500));
        assert_eq!(times(&json!({"begin": "01:02,250"})).start, offset(62_250));
        assert_eq!(times(&json!({"time": "PT1M2.5S"})).start, offset(62_500));
        assert_eq!(times(&json!({"startTime": "2.5s"})).start, offset(2_500));
        assert_eq!(
            times(&json!({"end_ms": 5})).end,
            RawTime::number(5.0, Some(Unit::Milliseconds))
        );
        assert_eq!(
            times(&json!({"offsets": {"from": 5, "to": 9}})).end,
            RawTime::number(9.0, None)
        );
        let at = RawTime::Date("2026-11-20T16:20:04Z".parse().unwrap());
        assert_eq!(times(&json!({"ts": "2026-11-20T16:20:04"})).start, Some(at));
        assert_eq!(
            times(&json!({"ts": "2026-11-20T17:20:04+01:00"})).start,
            Some(at)
        );
        assert_eq!(
            times(&json!({"from": "Dana", "t": "soon"})),
            RawTimes::default()
        );
    }
}
