//! Which metrics there are: a table, each row a path into `stats.json`.
//!
//! Names follow Prometheus' conventions: a prefix, base units, `_total` for what only grows.

use prometheus::core::Collector;
use prometheus::{CounterVec, GaugeVec, Opts, Registry, TextEncoder};
use serde_json::Value;

/// What a metric is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// It only grows while the mount lives.
    Counter,
    /// It goes up and down.
    Gauge,
}

/// Where a metric's values lie in `stats.json`.
#[derive(Clone, Copy, Debug)]
pub enum Series {
    /// Numbers (or yes and no, as 1 and 0), each with its labels' values.
    Values(&'static [(&'static [&'static str], &'static str)]),
    /// An object whose keys are the values of the one label.
    Each(&'static str),
    /// A word of this list: 1 for the one it is, 0 for the others.
    State(&'static str, &'static [&'static str]),
    /// A word that becomes the label's value, with 1: for versions.
    Info(&'static str),
}

/// One metric.
#[derive(Clone, Copy, Debug)]
pub struct Family {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// What it means, for people.
    pub help: &'static str,
    /// Names of its labels.
    pub labels: &'static [&'static str],
    /// Where its values come from.
    pub series: Series,
}

const fn family(
    name: &'static str,
    kind: Kind,
    help: &'static str,
    labels: &'static [&'static str],
    series: Series,
) -> Family {
    Family {
        name,
        kind,
        help,
        labels,
        series,
    }
}

use Kind::{Counter, Gauge};
use Series::{Each, Info, State, Values};

macro_rules! results {
    ($($kind:literal),*) => {
        &[$(
            (&[$kind, "answered"], concat!("/requests/", $kind, "/answered")),
            (&[$kind, "denied"], concat!("/requests/", $kind, "/denied")),
            (&[$kind, "gone"], concat!("/requests/", $kind, "/gone")),
            (&[$kind, "throttled"], concat!("/requests/", $kind, "/throttled")),
            (&[$kind, "failed"], concat!("/requests/", $kind, "/failed")),
            (&[$kind, "broken"], concat!("/requests/", $kind, "/broken")),
        )*]
    };
}

/// Every metric, in the order in which they are served.
pub const FAMILIES: &[Family] = &[
    family(
        "interactionfs_build_info",
        Gauge,
        "The running version; always 1.",
        &["version"],
        Info("/version"),
    ),
    family(
        "interactionfs_uptime_seconds",
        Gauge,
        "Time since the mount began.",
        &[],
        Values(&[(&[], "/uptime_seconds")]),
    ),
    family(
        "interactionfs_state",
        Gauge,
        "1 for the state that the mount is in, 0 for the others.",
        &["state"],
        State("/state", &["fresh", "searching", "stale", "offline"]),
    ),
    family(
        "interactionfs_interactions",
        Gauge,
        "Interactions in the catalogue.",
        &[],
        Values(&[(&[], "/tree/interactions_known")]),
    ),
    family(
        "interactionfs_search_age_seconds",
        Gauge,
        "How long ago each part of what is listed was searched: new interactions, the last day, the whole window.",
        &["part"],
        Values(&[
            (&["new"], "/tree/searched_ago/new"),
            (&["last_day"], "/tree/searched_ago/last_day"),
            (&["window"], "/tree/searched_ago/window"),
        ]),
    ),
    family(
        "interactionfs_requests_total",
        Counter,
        "Requests sent to the API, by kind and by how they were answered.",
        &["kind", "result"],
        Values(results!("token", "search", "interaction", "content")),
    ),
    family(
        "interactionfs_request_retries_total",
        Counter,
        "Requests made again after one that failed, without those after a 429.",
        &[],
        Values(&[(&[], "/requests/retries")]),
    ),
    family(
        "interactionfs_received_bytes_total",
        Counter,
        "Bytes of answers' bodies.",
        &[],
        Values(&[(&[], "/requests/received_bytes")]),
    ),
    family(
        "interactionfs_budget_configured_requests",
        Gauge,
        "Requests in any 60 s that the mount was set up with.",
        &[],
        Values(&[(&[], "/budget/requests_per_minute")]),
    ),
    family(
        "interactionfs_budget_limit_requests",
        Gauge,
        "Requests in any 60 s that are allowed just now; lower after a 429.",
        &[],
        Values(&[(&[], "/budget/limit_now")]),
    ),
    family(
        "interactionfs_budget_used_requests",
        Gauge,
        "Requests granted within the last 60 s, over all mounts that share the pace.",
        &[],
        Values(&[(&[], "/budget/used_last_minute")]),
    ),
    family(
        "interactionfs_budget_waiting_calls",
        Gauge,
        "Calls of this mount that wait for their turn.",
        &[],
        Values(&[(&[], "/budget/waiting")]),
    ),
    family(
        "interactionfs_budget_shared",
        Gauge,
        "1 if the pace is shared with the other mounts on the account.",
        &[],
        Values(&[(&[], "/budget/shared")]),
    ),
    family(
        "interactionfs_read_bytes_total",
        Counter,
        "Bytes that programs read through the daemon, by where they came from.",
        &["source"],
        Values(&[
            (&["memory"], "/reads/memory_bytes"),
            (&["disk"], "/reads/disk_bytes"),
            (&["wire"], "/reads/wire_bytes"),
        ]),
    ),
    family(
        "interactionfs_block_lookups_total",
        Counter,
        "Blocks of 128 KiB that reads needed, by whether they were there.",
        &["result"],
        Values(&[(&["hit"], "/reads/hits"), (&["miss"], "/reads/misses")]),
    ),
    family(
        "interactionfs_streams",
        Gauge,
        "Answers with content that are being received.",
        &[],
        Values(&[(&[], "/reads/streams")]),
    ),
    family(
        "interactionfs_cache_bytes",
        Gauge,
        "Bytes of content held.",
        &["tier"],
        Values(&[
            (&["memory"], "/cache/memory_bytes"),
            (&["disk"], "/cache/disk_bytes"),
        ]),
    ),
    family(
        "interactionfs_cache_type_bytes",
        Gauge,
        "Bytes of content held on disk, by type of content.",
        &["type"],
        Each("/cache/types"),
    ),
    family(
        "interactionfs_cache_limit_bytes",
        Gauge,
        "Bytes of content that may be held; no disk tier, no value.",
        &["tier"],
        Values(&[
            (&["memory"], "/cache/memory_limit_bytes"),
            (&["disk"], "/cache/disk_limit_bytes"),
        ]),
    ),
    family(
        "interactionfs_cache_evictions_total",
        Counter,
        "What made room: blocks in memory, versions of files on disk.",
        &["tier"],
        Values(&[
            (&["memory"], "/cache/memory_evictions"),
            (&["disk"], "/cache/disk_evictions"),
        ]),
    ),
    family(
        "interactionfs_cache_refused_blocks_total",
        Counter,
        "Blocks that the disk did not take in time.",
        &[],
        Values(&[(&[], "/cache/disk_blocks_refused")]),
    ),
    family(
        "interactionfs_cache_disk_works",
        Gauge,
        "1 while the cache's disk is of use; reads go on without it.",
        &[],
        Values(&[(&[], "/cache/disk_works")]),
    ),
];

/// The metrics of a status (the JSON of `stats.json`) in the text format. A value that is not there is left out.
///
/// # Errors
/// Names in the table that Prometheus does not allow: a defect.
pub fn exposition(status: &Value) -> prometheus::Result<String> {
    let mut text = String::new();
    let encoder = TextEncoder::new();
    for family in FAMILIES {
        // A registry each, because one for all would sort them by name.
        let registry = Registry::new();
        registry.register(collected(family, status)?)?;
        encoder.encode_utf8(&registry.gather(), &mut text)?;
    }
    Ok(text)
}

fn collected(family: &Family, status: &Value) -> prometheus::Result<Box<dyn Collector>> {
    let options = Opts::new(family.name, family.help);
    Ok(match family.kind {
        Kind::Counter => {
            let counter = CounterVec::new(options, family.labels)?;
            for (labels, value) in values(&family.series, status) {
                counter.get_metric_with_label_values(&labels)?.inc_by(value);
            }
            Box::new(counter)
        }
        Kind::Gauge => {
            let gauge = GaugeVec::new(options, family.labels)?;
            for (labels, value) in values(&family.series, status) {
                gauge.get_metric_with_label_values(&labels)?.set(value);
            }
            Box::new(gauge)
        }
    })
}

fn values<'a>(series: &Series, status: &'a Value) -> Vec<(Vec<&'a str>, f64)> {
    match *series {
        Values(values) => values
            .iter()
            .filter_map(|(labels, path)| {
                let value = number(status.pointer(path)?)?;
                Some((labels.to_vec(), value))
            })
            .collect(),
        Each(path) => status
            .pointer(path)
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
            .filter_map(|(key, value)| Some((vec![key.as_str()], number(value)?)))
            .collect(),
        State(path, states) => {
            let Some(now) = status.pointer(path).and_then(Value::as_str) else {
                return Vec::new();
            };
            let mut values: Vec<_> = states
                .iter()
                .map(|state| (vec![*state], f64::from(u8::from(*state == now))))
                .collect();
            if !states.contains(&now) {
                values.push((vec![now], 1.0));
            }
            values
        }
        Info(path) => status
            .pointer(path)
            .and_then(Value::as_str)
            .map(|word| (vec![word], 1.0))
            .into_iter()
            .collect(),
    }
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Bool(yes) => Some(f64::from(u8::from(*yes))),
        _ => value.as_f64(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_keep_the_conventions() {
        for (at, family) in FAMILIES.iter().enumerate() {
            let name = family.name;
            assert!(name.starts_with("interactionfs_"), "{name}");
            assert_eq!(
                name.ends_with("_total"),
                family.kind == Counter,
                "{name}: what only grows, and nothing else, ends so"
            );
            assert!(family.help.ends_with('.'), "{name}");
            assert!(
                FAMILIES[..at].iter().all(|other| other.name != name),
                "{name}"
            );
            for unit in ["_ms", "_kb", "_mib", "_minutes", "_percent"] {
                assert!(!name.contains(unit), "{name}: base units only");
            }
        }
    }

    #[test]
    fn numbers_switches_words_and_objects_become_samples() {
        let text = exposition(&json!({
            "version": "1.2.3",
            "state": "stale",
            "budget": {"shared": true},
            "requests": {"search": {"answered": 3}},
            "cache": {"disk_limit_bytes": null},
        }))
        .unwrap();
        for line in [
            "# TYPE interactionfs_requests_total counter",
            "interactionfs_build_info{version=\"1.2.3\"} 1",
            "interactionfs_state{state=\"stale\"} 1",
            "interactionfs_state{state=\"fresh\"} 0",
            "interactionfs_budget_shared 1",
            "interactionfs_requests_total{kind=\"search\",result=\"answered\"} 3",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
        }
        assert!(
            !text.contains("cache_limit"),
            "what is not there is left out"
        );
        let other = exposition(&json!({"state": "confused"})).unwrap();
        assert!(other.contains("interactionfs_state{state=\"confused\"} 1"));
        let each = values(&Each("/a"), &json!({"a": {"x": 1, "y": 2.5}})).len();
        assert_eq!(each, 2);
    }
}
