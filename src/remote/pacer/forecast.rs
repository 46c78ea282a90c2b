//! How long requests that nobody waits for will take: the pace's own rules, played ahead.
//!
//! Pure. What other processes were granted is known as a number only and taken as evenly spread.

use std::time::Duration;

use super::memory::MemoryLog;
use super::rules::{GrantLog, Pace, Record, WINDOW};
use crate::remote::Class;

/// So many windows are played through; those behind them are taken to be like the last.
const WINDOWS: u64 = 4;

/// Above so many requests a minute, single grants aren't played through.
const AMPLE: u32 = 3_000;

/// The pace as it stands, as far as it decides what comes.
pub(super) struct Standing {
    /// This process's grants, oldest first, in µs.
    pub(super) own: Vec<u64>,
    /// Grants of all processes in the last window.
    pub(super) granted: u32,
    pub(super) record: Record,
    pub(super) configured: u32,
    pub(super) now: u64,
}

/// How long until `requests` of `class` are granted, if nobody else asks meanwhile.
pub(super) fn time_for(standing: &Standing, class: Class, requests: u64) -> Duration {
    let now = standing.now;
    let mut log = log(standing);
    let mut record = Record {
        reader_waits_until: 0,
        ..standing.record
    };
    let mut pace = Pace {
        log: &mut log,
        record: &mut record,
        configured: standing.configured,
        now,
    };
    let share = u64::from(pace.share_of(class));
    if standing.configured > AMPLE {
        let burst = share
            .min(u64::from(pace.limit() / 2))
            .saturating_sub(u64::from(pace.granted()));
        let paused = pace.record.paused_until.saturating_sub(now);
        return Duration::from_micros(paused + window_share(requests.saturating_sub(burst), share));
    }
    let played = requests.min(share * WINDOWS);
    for _ in 0..played {
        loop {
            let at = pace.earliest(class);
            if at <= pace.now {
                break;
            }
            pace.now = at;
        }
        let at = pace.now;
        pace.log.push(at);
    }
    let behind = window_share(requests - played, u64::from(pace.share_of(class)));
    Duration::from_micros(pace.now - now + behind)
}

/// How long `requests` take at `share` a window, in µs.
fn window_share(requests: u64, share: u64) -> u64 {
    requests.saturating_mul(WINDOW) / share.max(1)
}

fn log(standing: &Standing) -> MemoryLog {
    let now = standing.now;
    let own = standing.own.iter().filter(|at| **at + WINDOW > now);
    let mut all: Vec<u64> = own.copied().collect();
    let others = u64::from(standing.granted).saturating_sub(all.len() as u64);
    all.extend((0..others).map(|nth| now.saturating_sub(WINDOW * nth / others)));
    all.sort_unstable();
    let mut log = MemoryLog::default();
    for at in all {
        log.push(at);
    }
    log
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 10_000 * 1_000_000;

    fn seconds(granted: u32, configured: u32, requests: u64) -> u64 {
        let standing = Standing {
            own: Vec::new(),
            granted,
            record: Record::default(),
            configured,
            now: NOW,
        };
        time_for(&standing, Class::Prefetch, requests).as_secs()
    }

    #[test]
    fn a_burst_goes_at_once_and_the_rest_at_three_fifths_of_the_limit() {
        assert_eq!(seconds(0, 150, 75), 0);
        // 90 in each window of 61 s: what comes behind them waits for the next.
        assert!((1..20).contains(&seconds(0, 150, 90)));
        assert!((61..70).contains(&seconds(0, 150, 91)));
        for (requests, windows) in [(900_u64, 10_u64), (9_000, 100), (900_000, 10_000)] {
            let expected = windows * 61;
            let found = seconds(0, 150, requests);
            assert!(
                found.abs_diff(expected) <= 62,
                "{requests}: {found}, about {expected}"
            );
        }
    }

    #[test]
    fn what_others_used_is_waited_for() {
        let used_up = seconds(150, 150, 1);
        assert!((1..61).contains(&used_up), "{used_up}");
        assert!(seconds(150, 150, 300) >= seconds(0, 150, 300));
    }

    #[test]
    fn an_ample_limit_is_not_played_through() {
        assert_eq!(seconds(0, 100_000, 50_000), 0);
        let found = seconds(0, 100_000, 6_050_000);
        assert!((5_990..6_110).contains(&found), "{found}");
    }

    #[test]
    fn a_pause_after_a_429_is_in_it() {
        let standing = Standing {
            own: vec![NOW - 1],
            granted: 1,
            record: Record {
                paused_until: NOW + 30_000_000,
                ..Record::default()
            },
            configured: 150,
            now: NOW,
        };
        assert_eq!(time_for(&standing, Class::Prefetch, 1).as_secs(), 30);
    }
}
