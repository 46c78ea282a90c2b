//! What a measurement is held against: limits of its own, raw HTTP, the best peer, and an older build.

use super::measure::Measured;

/// What is measured beside ours in the same run.
#[derive(Default)]
pub(crate) struct Beside {
    /// Seconds of raw HTTP.
    pub(crate) raw: Option<f64>,
    /// The fastest peer, and its seconds.
    pub(crate) peer: Option<(&'static str, f64)>,
    /// Who reads the same without our daemon, and their seconds.
    pub(crate) native: Option<(&'static str, f64)>,
    /// Bytes that the job reads.
    pub(crate) read: u64,
}

/// What our mount may take at most.
#[derive(Clone, Copy)]
pub(crate) enum Limit {
    Requests(u64),
    Seconds(f64),
    /// Times the seconds of raw HTTP.
    Raw(f64),
    /// The seconds of raw HTTP and so many more.
    RawAnd(f64),
    /// Times the seconds of the best peer.
    Peer(f64),
    /// Times the seconds of who reads the same without our daemon.
    Native(f64),
    /// Times the bytes that are read.
    Fetched(f64),
    FetchedBytes(u64),
    /// Times the median reader.
    Slowest(f64),
}

/// A figure beside its limit.
pub(crate) struct Verdict {
    pub(crate) text: String,
    pub(crate) holds: bool,
}

impl Verdict {
    /// Where ours did not do its job.
    pub(crate) fn nothing() -> Self {
        Self {
            text: "no measurement   MISSED".to_owned(),
            holds: false,
        }
    }

    fn of(measured: f64, limit: f64, unit: &str, why: &str) -> Self {
        let digits = if unit == "s" { 3 } else { 1 };
        let digits = if measured.fract() == 0.0 && limit.fract() == 0.0 {
            0
        } else {
            digits
        };
        let holds = measured <= limit;
        let missed = if holds { "" } else { "   MISSED" };
        Self {
            text: format!("{measured:.digits$} {unit} ≤ {limit:.digits$}{why}{missed}"),
            holds,
        }
    }
}

impl Limit {
    /// `None` where there is nothing to compare with.
    pub(crate) fn judge(self, ours: &Measured, beside: &Beside) -> Option<Verdict> {
        let mib = |bytes: u64| bytes as f64 / (1 << 20) as f64;
        let seconds = |limit, why: &str| Verdict::of(ours.seconds, limit, "s", why);
        Some(match self {
            Self::Requests(most) => Verdict::of(ours.requests as f64, most as f64, "requests", ""),
            Self::Seconds(most) => seconds(most, ""),
            Self::Raw(times) => seconds(beside.raw? * times, &format!(" ({times} × raw)")),
            Self::RawAnd(more) => {
                let why = format!(" (raw and {} ms)", more * 1000.0);
                seconds(beside.raw? + more, &why)
            }
            Self::Peer(times) => {
                let (name, best) = beside.peer?;
                seconds(best * times, &format!(" ({times} × {name})"))
            }
            Self::Native(times) => {
                let (name, best) = beside.native?;
                seconds(best * times, &format!(" ({times} × {name})"))
            }
            Self::Fetched(times) => {
                let why = format!(" ({times} × read)");
                Verdict::of(mib(ours.sent), mib(beside.read) * times, "MiB", &why)
            }
            Self::FetchedBytes(most) => Verdict::of(mib(ours.sent), mib(most), "MiB", ""),
            Self::Slowest(times) => Verdict::of(ours.slowest?, times, "× the median reader", ""),
        })
    }
}

/// How far two measurements of the same may lie apart, as a factor: cold, and again from a disk that others use.
pub(crate) const COLD_NOISE: f64 = 1.1;
pub(crate) const DISK_NOISE: f64 = 1.35;

/// Ours beside an older build: worse are more requests, and time or bytes beyond noise.
pub(crate) fn against(what: &str, ours: &Measured, baseline: &Measured, noise: f64) -> Verdict {
    let beyond =
        |ours: f64, theirs: f64, least: f64| ours > theirs * noise && ours > theirs + least;
    let worse: Vec<&str> = [
        (beyond(ours.seconds, baseline.seconds, 0.010), "time"),
        (ours.requests > baseline.requests, "requests"),
        (
            beyond(ours.sent as f64, baseline.sent as f64, (1 << 20) as f64),
            "bytes",
        ),
    ]
    .into_iter()
    .filter_map(|(worse, what)| worse.then_some(what))
    .collect();
    let mark = if worse.is_empty() {
        String::new()
    } else {
        format!("   WORSE: {}", worse.join(", "))
    };
    Verdict {
        text: format!(
            "{what}{:.2} × the baseline's seconds, {} requests to its {}{mark}",
            ours.seconds / baseline.seconds,
            ours.requests,
            baseline.requests,
        ),
        holds: worse.is_empty(),
    }
}
