//! The rules, played through: simulated accounts, checked by brute force.

use proptest::prelude::*;

use super::*;
use crate::remote::pacer::memory::MemoryLog;

const SECOND: u64 = 1_000_000;

/// A simulated account: grants at the earliest time the rules allow.
struct Simulation {
    log: MemoryLog,
    record: Record,
    configured: u32,
    now: u64,
    grants: Vec<u64>,
}

impl Simulation {
    fn new(configured: u32) -> Self {
        Self {
            log: MemoryLog::default(),
            record: Record::default(),
            configured,
            now: 1_000 * SECOND,
            grants: Vec::new(),
        }
    }

    fn pace(&mut self) -> Pace<'_, MemoryLog> {
        Pace {
            log: &mut self.log,
            record: &mut self.record,
            configured: self.configured,
            now: self.now,
        }
    }

    /// Waits until a request of the class may go, and makes it: how long that took.
    fn grant(&mut self, class: Class) -> u64 {
        let asked = self.now;
        loop {
            let at = self.pace().earliest(class);
            if at <= self.now {
                break;
            }
            self.now = at;
        }
        let now = self.now;
        self.log.push(now);
        self.grants.push(now);
        now - asked
    }

    /// The most grants in any 60 s, by brute force.
    fn worst_minute(&self) -> usize {
        self.grants
            .iter()
            .map(|from| {
                self.grants
                    .iter()
                    .filter(|at| (*from..=from + 60 * SECOND).contains(at))
                    .count()
            })
            .max()
            .unwrap_or(0)
    }
}

#[test]
fn half_goes_at_once_and_the_rest_within_about_a_second_each() {
    let mut account = Simulation::new(150);
    for _ in 0..75 {
        assert_eq!(account.grant(Class::Reader), 0);
    }
    let mut longest = 0;
    for _ in 0..600 {
        longest = longest.max(account.grant(Class::Reader));
    }
    assert!(longest < 1_100_000, "{longest} µs");
    assert!(account.worst_minute() <= 150);
}

#[test]
fn the_whole_limit_is_used_in_the_long_run() {
    let mut account = Simulation::new(150);
    let begin = account.now;
    for _ in 0..1500 {
        account.grant(Class::Reader);
    }
    let minutes = (account.now - begin) / (60 * SECOND);
    assert!(minutes <= 10, "1500 requests took {minutes} minutes");
    assert!(account.worst_minute() <= 150);
}

#[test]
fn background_leaves_a_reserve_for_readers() {
    for (class, most) in [(Class::Prefetch, 90), (Class::Refresh, 120)] {
        let mut account = Simulation::new(150);
        let begin = account.now;
        while account.now < begin + 59 * SECOND {
            account.grant(class);
        }
        let used = account
            .grants
            .iter()
            .filter(|at| **at < begin + 59 * SECOND)
            .count();
        assert!(used <= most, "{class:?} used {used}");
    }
}

#[test]
fn a_readers_wait_anywhere_holds_background_back() {
    let mut account = Simulation::new(150);
    account.record.reader_waits_until = account.now + SECOND;
    let now = account.now;
    assert!(account.pace().earliest(Class::Reader) <= now);
    assert_eq!(account.pace().earliest(Class::Prefetch), now + SECOND);
}

#[test]
fn a_429_pauses_everyone_and_one_burst_of_them_lowers_the_limit_once() {
    let mut account = Simulation::new(150);
    for _ in 0..60 {
        account.grant(Class::Reader);
    }
    let granted_at = account.now;
    account.now += SECOND;
    for _ in 0..20 {
        account.pace().throttled(granted_at, Some(3 * SECOND), 0.0);
    }
    let now = account.now;
    assert!(account.pace().earliest(Class::Reader) >= now + 3 * SECOND);
    assert_eq!(account.pace().limit(), 75);
    account.now += 10 * 60 * SECOND;
    assert_eq!(account.pace().limit(), 150, "it recovers");
}

#[test]
fn a_pause_is_as_long_as_told_but_not_for_ever() {
    let mut account = Simulation::new(150);
    let now = account.now;
    account.pace().throttled(now, Some(u64::MAX), 0.0);
    assert_eq!(account.record.paused_until, now + PAUSE_MAX);
    let mut account = Simulation::new(150);
    account.pace().throttled(now, Some(0), 0.0);
    assert_eq!(account.record.paused_until, now + PAUSE_MIN);
}

#[test]
fn untold_pauses_double() {
    let mut account = Simulation::new(150);
    let mut pauses = Vec::new();
    for _ in 0..6 {
        let now = account.now;
        account.pace().throttled(now, None, 0.0);
        pauses.push((account.record.paused_until - now) / SECOND);
        account.now = account.record.paused_until + 1;
    }
    assert_eq!(pauses, [2, 4, 8, 16, 32, 32]);
}

/// A server that allows 60 a minute, while we are set up with 150, as when others use the account.
#[test]
fn in_steady_state_hardly_any_answer_is_a_429() {
    let mut account = Simulation::new(150);
    let mut accepted: Vec<u64> = Vec::new();
    let (mut asked, mut refused) = (0_u32, 0_u32);
    let begin = account.now;
    while account.now < begin + 8 * 3600 * SECOND {
        account.grant(Class::Reader);
        let now = account.now;
        accepted.retain(|at| at + 60 * SECOND > now);
        let settled = now > begin + 1200 * SECOND;
        asked += u32::from(settled);
        if accepted.len() >= 60 {
            refused += u32::from(settled);
            account.pace().throttled(now, Some(2 * SECOND), 0.0);
        } else {
            accepted.push(now);
        }
    }
    assert!(refused * 100 < asked, "{refused} of {asked}");
    assert!(asked > 8 * 60 * 45, "{asked}");
}

#[test]
fn a_hundred_thousand_a_minute_is_granted_in_bunches() {
    let mut account = Simulation::new(100_000);
    for _ in 0..50_000 {
        assert_eq!(account.grant(Class::Reader), 0);
    }
    let begin = account.now;
    for _ in 0..10_000 {
        account.grant(Class::Reader);
    }
    let rate = 10_000 * SECOND / (account.now - begin);
    assert!(rate > 700, "{rate} a second");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_minute_ever_holds_more_than_the_limit(
        configured in 1u32..40,
        steps in prop::collection::vec((0u64..30_000_000, 0u8..3, 0u8..40), 1..200),
    ) {
        let mut account = Simulation::new(configured);
        for (idle, class, event) in steps {
            account.now += if event < 10 { idle } else { idle / 1000 };
            let class = [Class::Reader, Class::Refresh, Class::Prefetch][usize::from(class)];
            account.grant(class);
            if event == 39 {
                let now = account.now;
                account.pace().throttled(now, None, 0.5);
            }
        }
        prop_assert!(account.worst_minute() <= configured as usize);
    }

    #[test]
    fn the_counted_window_is_what_was_granted(
        gaps in prop::collection::vec(0u64..5_000_000, 0..100),
    ) {
        let mut account = Simulation::new(LIMIT_MAX);
        for gap in gaps {
            account.now += gap;
            let now = account.now;
            account.log.push(now);
            account.grants.push(now);
        }
        let now = account.now;
        let expected = account.grants.iter().filter(|at| **at + WINDOW > now).count();
        prop_assert_eq!(account.pace().granted() as usize, expected);
    }
}
