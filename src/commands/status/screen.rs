//! A mount's status as a person reads it. Pure: a status in, lines out.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

/// Kinds of requests, and how they end: the keys of `requests`.
const KINDS: [&str; 4] = ["token", "search", "interaction", "content"];
const RESULTS: [&str; 6] = [
    "answered",
    "denied",
    "gone",
    "throttled",
    "failed",
    "broken",
];

/// How many cells a bar has.
const BAR: u64 = 20;

/// The status of a mount; with an earlier one and the time since, also how fast it goes.
pub(super) fn screen(
    mountpoint: &Path,
    status: &Value,
    earlier: Option<(&Value, Duration)>,
) -> String {
    let mut text = String::new();
    let mut line = |words: String| {
        text.push_str(words.trim_end());
        text.push('\n');
    };
    line(format!(
        "{}  {}, mounted for {}",
        mountpoint.display(),
        word(status, "/state"),
        duration(number(status, "/uptime_seconds")),
    ));
    if let Some(reason) = status.pointer("/reason").and_then(Value::as_str) {
        line(labelled("", reason));
    }
    line(labelled(
        "tree",
        &format!(
            "{} interactions, {} to {}",
            number(status, "/tree/interactions_known"),
            word(status, "/tree/window_from"),
            word(status, "/tree/window_to")
        ),
    ));
    line(labelled("searched", &searched(status)));
    line(labelled("budget", &budget(status)));
    let waiting = number(status, "/budget/waiting");
    if waiting > 0 {
        line(labelled(
            "",
            &match waiting {
                1 => "1 call waits for its turn".to_owned(),
                _ => format!("{waiting} calls wait for their turn"),
            },
        ));
    }
    for row in requests(status) {
        line(row);
    }
    let retries = number(status, "/requests/retries");
    if retries > 0 {
        line(labelled(
            "",
            &format!("{retries} of them made again after a failure"),
        ));
    }
    line(labelled(
        "read",
        &format!(
            "{} from memory, {} from disk, {} from the wire",
            size(number(status, "/reads/memory_bytes")),
            size(number(status, "/reads/disk_bytes")),
            size(number(status, "/reads/wire_bytes"))
        ),
    ));
    line(labelled("", &hits(status)));
    if let Some((earlier, time)) = earlier {
        line(labelled("just now", &speed(status, earlier, time)));
    }
    line(labelled(
        "memory",
        &held(
            number(status, "/cache/memory_bytes"),
            number(status, "/cache/memory_limit_bytes"),
        ),
    ));
    line(labelled("disk", &disk(status)));
    for (kind, bytes) in object(status, "/cache/types") {
        line(format!(
            "{:12}{kind:<22}{:>11}",
            "",
            size(bytes.as_u64().unwrap_or_default())
        ));
    }
    for (at, trouble) in troubles(status).into_iter().enumerate() {
        line(labelled(if at == 0 { "errors" } else { "" }, &trouble));
    }
    text
}

fn labelled(label: &str, words: &str) -> String {
    format!("  {label:<10}{words}")
}

fn searched(status: &Value) -> String {
    let ago = |path| {
        status
            .pointer(path)
            .and_then(Value::as_u64)
            .map_or_else(|| "not yet".to_owned(), |s| format!("{} ago", duration(s)))
    };
    format!(
        "new ones {}, the last day {}, all of the window {}",
        ago("/tree/searched_ago/new"),
        ago("/tree/searched_ago/last_day"),
        ago("/tree/searched_ago/window"),
    )
}

fn budget(status: &Value) -> String {
    let used = number(status, "/budget/used_last_minute");
    let limit = number(status, "/budget/limit_now");
    let configured = number(status, "/budget/requests_per_minute");
    if word(status, "/state") == "offline" {
        return "no request is made".to_owned();
    }
    let mut words = format!(
        "{} {used} of {limit} requests in the last minute, {} left",
        bar(used, limit),
        number(status, "/budget/left")
    );
    if limit < configured {
        let _ = write!(words, " (slowed down from {configured})");
    }
    if status.pointer("/budget/shared") == Some(&Value::Bool(false)) {
        words.push_str(" (this mount's alone)");
    }
    words
}

/// A table of the results that occurred.
fn requests(status: &Value) -> Vec<String> {
    let count = |kind: &str, result: &str| number(status, &format!("/requests/{kind}/{result}"));
    let columns: Vec<_> = RESULTS
        .into_iter()
        .filter(|result| {
            *result == "answered" || KINDS.into_iter().any(|kind| count(kind, result) > 0)
        })
        .collect();
    let mut head = labelled("requests", &format!("{:<12}", ""));
    for column in &columns {
        let _ = write!(head, "{column:>10}");
    }
    let mut rows = vec![head];
    for kind in KINDS {
        if RESULTS.into_iter().all(|result| count(kind, result) == 0) {
            continue;
        }
        let mut row = labelled("", &format!("{kind:<12}"));
        for column in &columns {
            let _ = write!(row, "{:>10}", count(kind, column));
        }
        rows.push(row);
    }
    if rows.len() == 1 {
        return vec![labelled("requests", "none")];
    }
    rows
}

fn hits(status: &Value) -> String {
    let streams = number(status, "/reads/streams");
    let flying = match streams {
        0 => "nothing in flight".to_owned(),
        1 => "1 stream in flight".to_owned(),
        _ => format!("{streams} streams in flight"),
    };
    match status.pointer("/reads/hit_ratio").and_then(Value::as_f64) {
        Some(ratio) => format!("{:.1} % of the blocks were there; {flying}", ratio * 100.0),
        None => flying,
    }
}

#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "shown with two digits"
)]
fn speed(status: &Value, earlier: &Value, time: Duration) -> String {
    let rate = |path: &str| {
        let more = number(status, path).saturating_sub(number(earlier, path));
        size((more as f64 / time.as_secs_f64().max(0.001)) as u64)
    };
    format!(
        "{}/s received, {}/s from disk, {}/s from memory",
        rate("/requests/received_bytes"),
        rate("/reads/disk_bytes"),
        rate("/reads/memory_bytes"),
    )
}

fn disk(status: &Value) -> String {
    match status
        .pointer("/cache/disk_limit_bytes")
        .and_then(Value::as_u64)
    {
        None => "not used".to_owned(),
        Some(_) if status.pointer("/cache/disk_works") == Some(&Value::Bool(false)) => {
            "fails, and is left out: see the log".to_owned()
        }
        Some(limit) => held(number(status, "/cache/disk_bytes"), limit),
    }
}

fn held(bytes: u64, limit: u64) -> String {
    format!("{} {} of {}", bar(bytes, limit), size(bytes), size(limit))
}

fn bar(part: u64, whole: u64) -> String {
    let full = if whole == 0 {
        0
    } else {
        // Something is never shown as nothing.
        part.saturating_mul(BAR).div_ceil(whole).min(BAR)
    };
    (0..BAR)
        .map(|cell| if cell < full { '█' } else { '░' })
        .collect()
}

fn troubles(status: &Value) -> Vec<String> {
    let listed = status.pointer("/errors").and_then(Value::as_array);
    let lines: Vec<_> = listed
        .into_iter()
        .flatten()
        .map(|error| {
            let times = match number(error, "/count") {
                0 | 1 => String::new(),
                count => format!(", {count} times"),
            };
            format!(
                "{} ago, {}: {}{times}",
                duration(number(error, "/seconds_ago")),
                word(error, "/kind"),
                word(error, "/what"),
            )
        })
        .collect();
    if lines.is_empty() {
        vec!["none".to_owned()]
    } else {
        lines
    }
}

fn number(status: &Value, path: &str) -> u64 {
    status
        .pointer(path)
        .and_then(Value::as_u64)
        .unwrap_or_default()
}

fn word<'a>(status: &'a Value, path: &str) -> &'a str {
    status
        .pointer(path)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

fn object<'a>(status: &'a Value, path: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    status
        .pointer(path)
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
}

fn size(bytes: u64) -> String {
    bytesize::ByteSize(bytes).display().iec().to_string()
}

fn duration(seconds: u64) -> String {
    // From an hour on, nobody counts the seconds.
    let shown = if seconds < 3600 {
        seconds
    } else {
        seconds / 60 * 60
    };
    humantime::format_duration(Duration::from_secs(shown)).to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn status() -> Value {
        json!({
            "state": "stale",
            "reason": "the server answered with status 500",
            "uptime_seconds": 3725,
            "tree": {
                "interactions_known": 1204,
                "window_from": "2026-11-22T00:00:00Z", "window_to": "2026-11-29T00:00:00Z",
                "searched_ago": {"new": 12, "last_day": 300, "window": null},
            },
            "requests": {
                "retries": 2, "received_bytes": 4 << 20,
                "token": {"answered": 1},
                "search": {"answered": 12, "failed": 3},
            },
            "budget": {"requests_per_minute": 150, "limit_now": 75, "used_last_minute": 16, "left": 59, "waiting": 1,
                "shared": true},
            "reads": {"memory_bytes": 0, "disk_bytes": 1 << 20, "wire_bytes": 3 << 20, "hit_ratio": 0.975, "streams": 1},
            "cache": {"memory_bytes": 64 << 20, "memory_limit_bytes": 256 << 20, "disk_bytes": 1,
                "disk_limit_bytes": 10_u64 << 30, "disk_works": true, "types": {"callRecording": 3 << 20}},
            "errors": [{"kind": "search", "what": "the deadline passed", "count": 3, "seconds_ago": 61}],
        })
    }

    #[test]
    fn a_status_reads_like_this() {
        let expected = "\
/mnt  stale, mounted for 1h 2m
            the server answered with status 500
  tree      1204 interactions, 2026-11-22T00:00:00Z to 2026-11-29T00:00:00Z
  searched  new ones 12s ago, the last day 5m ago, all of the window not yet
  budget    █████░░░░░░░░░░░░░░░ 16 of 75 requests in the last minute, 59 left (slowed down from 150)
            1 call waits for its turn
  requests                answered    failed
            token                1         0
            search              12         3
            2 of them made again after a failure
  read      0 B from memory, 1.0 MiB from disk, 3.0 MiB from the wire
            97.5 % of the blocks were there; 1 stream in flight
  memory    █████░░░░░░░░░░░░░░░ 64.0 MiB of 256.0 MiB
  disk      █░░░░░░░░░░░░░░░░░░░ 1 B of 10.0 GiB
            callRecording             3.0 MiB
  errors    1m 1s ago, search: the deadline passed, 3 times
";
        assert_eq!(screen(Path::new("/mnt"), &status(), None), expected);
    }

    #[test]
    fn a_later_look_says_how_fast_it_goes() {
        let mut later = status();
        later["requests"]["received_bytes"] = json!(10 << 20);
        let text = screen(
            Path::new("/mnt"),
            &later,
            Some((&status(), Duration::from_secs(2))),
        );
        assert!(
            text.contains("just now  3.0 MiB/s received, 0 B/s from disk"),
            "{text}"
        );
    }

    #[test]
    fn an_offline_mount_without_figures_still_reads() {
        let text = screen(Path::new("/mnt"), &json!({"state": "offline"}), None);
        for words in [
            "no request is made",
            "requests  none",
            "disk      not used",
            "errors    none",
        ] {
            assert!(text.contains(words), "{words} in {text}");
        }
    }
}
