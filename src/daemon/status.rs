//! What a mount says of itself: the JSON of `status --json` and `stats.json`. Its keys are documented in
//! `docs/operator.md`; programs rely on them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::catalogue::{Catalogue, Progress, Refresher};
use crate::config::Config;
use crate::content::{Engine, Usage};
use crate::remote::{Counters, HttpRemote, Remote as _, RequestCounters};

/// What the status is made of.
pub(super) struct Sources {
    pub(super) config: Arc<Config>,
    pub(super) http: Option<Arc<HttpRemote>>,
    pub(super) engine: Arc<Engine>,
    pub(super) catalogue: Arc<Catalogue>,
    pub(super) refresher: Arc<Refresher>,
}

/// The status of a mount.
pub(super) struct Status {
    sources: Sources,
    started: Instant,
    /// In the catalogue: counting takes a while when it is large, so it is done whenever rows may have come.
    interactions: Arc<AtomicU64>,
}

impl Status {
    /// Starts counting, on the current tokio runtime, until the refresher is gone.
    pub(super) fn new(sources: Sources) -> Self {
        let interactions = Arc::new(AtomicU64::new(0));
        tokio::spawn(keep_count(
            Arc::clone(&sources.catalogue),
            sources.refresher.subscribe(),
            Arc::clone(&interactions),
        ));
        Self {
            sources,
            started: Instant::now(),
            interactions,
        }
    }

    /// The status just now. Never blocks.
    pub(super) fn to_json(&self) -> Value {
        let Sources {
            config,
            http,
            engine,
            refresher,
            ..
        } = &self.sources;
        let window = refresher.window();
        let counters = http
            .as_ref()
            .map(|http| http.counters())
            .unwrap_or_default();
        let content = engine.counters();
        let usage = engine.usage();
        // A tree that is complete is stale nevertheless when it can't be searched again.
        let (state, error) = match (http, refresher.standing(&window)) {
            (None, _) => ("offline", None),
            (_, Progress::Failed(error)) => ("stale", Some(error)),
            (Some(http), progress) => {
                match http.refusal().or_else(|| refresher.freshness().error) {
                    Some(error) => ("stale", Some(error)),
                    None if progress == Progress::Complete => ("fresh", None),
                    None => ("searching", None),
                }
            }
        };
        let reason = error.map(|error| error.to_string());
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "pid": std::process::id(),
            "mountpoint": config.mountpoint.display().to_string(),
            "state": state,
            "reason": reason,
            "uptime_seconds": self.started.elapsed().as_secs(),
            "tree": {
                "interactions_known": self.interactions.load(Ordering::Relaxed),
                "window_from": window.from.to_string(),
                "window_to": window.to.to_string(),
                "searched_ago": searched(refresher),
            },
            "requests": requests(&counters),
            "budget": {
                "requests_per_minute": counters.pace.configured,
                "limit_now": counters.pace.limit,
                "used_last_minute": counters.pace.granted,
                "left": counters.pace.limit.saturating_sub(counters.pace.granted),
                "waiting": counters.pace.waiting,
                "shared": counters.pace.shared,
            },
            "reads": {
                "memory_bytes": content.memory_bytes,
                "disk_bytes": content.disk_bytes,
                "wire_bytes": content.wire_bytes,
                "hits": content.hits,
                "misses": content.misses,
                "hit_ratio": ratio(content.hits, content.hits + content.misses),
                "requests": content.requests,
                "streams": usage.streams,
            },
            "cache": {
                "memory_bytes": usage.memory_bytes,
                "memory_limit_bytes": config.memory_bytes,
                "memory_evictions": content.memory_evictions,
                "disk_bytes": usage.disk_bytes,
                "disk_limit_bytes": config.disk.as_ref().map(|disk| disk.size_bytes),
                "disk_evictions": content.disk_evictions,
                "disk_blocks_refused": content.disk_blocks_refused,
                "disk_works": usage.has_working_disk,
                "types": by_type(&usage),
            },
            "errors": errors(http.as_deref()),
        })
    }
}

/// Counts anew after changes. Rests twenty times as long as it takes: during the first search of a large account there
/// are changes all the time, and each count goes over all that is known.
async fn keep_count(
    catalogue: Arc<Catalogue>,
    mut changes: watch::Receiver<u64>,
    count: Arc<AtomicU64>,
) {
    loop {
        let catalogue = Arc::clone(&catalogue);
        let begun = Instant::now();
        let counted = tokio::task::spawn_blocking(move || catalogue.known()).await;
        if let Ok(Ok(known)) = counted {
            count.store(known, Ordering::Relaxed);
        }
        tokio::time::sleep(begun.elapsed() * 20).await;
        if changes.changed().await.is_err() {
            return;
        }
    }
}

/// How long ago what is listed was searched, in seconds; `null` for what was not searched yet.
fn searched(refresher: &Refresher) -> Value {
    let freshness = refresher.freshness();
    let now = Timestamp::now();
    let ago = |time: Option<Timestamp>| time.map(|time| now.duration_since(time).as_secs().max(0));
    json!({
        "new": ago(freshness.newest),
        "last_day": ago(freshness.last_day),
        "window": ago(freshness.window),
    })
}

/// Bytes on disk by type of content.
fn by_type(usage: &Usage) -> Value {
    let named = |sort: &str| if sort.is_empty() { "unknown" } else { sort }.to_owned();
    usage
        .disk_types
        .iter()
        .map(|(sort, bytes)| (named(sort), Value::from(*bytes)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// The latest ways in which calls failed, in words.
fn errors(http: Option<&HttpRemote>) -> Value {
    http.map(HttpRemote::recent_errors)
        .unwrap_or_default()
        .into_iter()
        .map(|error| {
            json!({
                "kind": error.kind,
                "what": error.error.to_string(),
                "count": error.count,
                "seconds_ago": error.ago.as_secs(),
            })
        })
        .collect()
}

fn requests(counters: &Counters) -> Value {
    let of = |kind: &RequestCounters| {
        json!({
            "answered": kind.answered,
            "denied": kind.denied,
            "gone": kind.gone,
            "throttled": kind.throttled,
            "failed": kind.failed,
            "broken": kind.broken,
        })
    };
    json!({
        "total": counters.requests(),
        "retries": counters.retries,
        "throttled": counters.throttled,
        "received_bytes": counters.bytes_received,
        "token": of(&counters.token),
        "search": of(&counters.search),
        "interaction": of(&counters.interaction),
        "content": of(&counters.content),
    })
}

#[allow(clippy::cast_precision_loss, reason = "shown with three digits")]
fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| (part as f64 / whole as f64 * 1000.0).round() / 1000.0)
}
