//! Rounds, decided without a clock.

use super::*;
use crate::remote::pacer::memory::MemoryLog;
use crate::remote::pacer::rules::Record;

const SECOND: u64 = 1_000_000;

fn demand(waiting: [usize; 3], deadline: u64) -> Demand {
    Demand {
        deadlines: waiting.map(|count| vec![deadline; count]),
        refresh_is_aged: false,
        has_marked: true,
        takes_ahead: true,
    }
}

/// An account of 150 a minute whose burst was used at second 1000.
struct Account {
    log: MemoryLog,
    record: Record,
    now: u64,
}

impl Account {
    fn used() -> Self {
        let mut log = MemoryLog::default();
        for _ in 0..75 {
            log.push(1000 * SECOND);
        }
        Self {
            log,
            record: Record::default(),
            now: 1000 * SECOND,
        }
    }

    fn decide(&mut self, demand: &Demand) -> Decision {
        let mut pace = Pace {
            log: &mut self.log,
            record: &mut self.record,
            configured: 150,
            now: self.now,
        };
        decide(&mut pace, demand)
    }
}

#[test]
fn readers_go_before_refreshes_before_prefetches() {
    let mut account = Account::used();
    let mut waiting = [2, 2, 1];
    let mut order = Vec::new();
    while order.len() < 5 {
        let decision = account.decide(&demand(waiting, u64::MAX));
        for class in &decision.grants {
            waiting[*class as usize] -= 1;
            order.push(*class);
        }
        account.now = decision.next.unwrap_or(account.now);
    }
    let (reader, refresh) = (Class::Reader, Class::Refresh);
    assert_eq!(order, [reader, reader, refresh, refresh, Class::Prefetch]);
}

#[test]
fn a_refresh_that_waited_long_goes_once_before_readers() {
    let mut account = Account::used();
    account.now += SECOND;
    let mut aged = demand([5, 1, 0], u64::MAX);
    aged.refresh_is_aged = true;
    let decision = account.decide(&aged);
    assert_eq!(decision.grants, [Class::Refresh]);
    assert!(decision.aged);
}

#[test]
fn other_processes_learn_that_a_reader_waits_and_that_none_does_any_more() {
    let mut account = Account::used();
    account.decide(&demand([1, 0, 0], u64::MAX));
    assert!(account.record.reader_waits_until > account.now);
    account.now += SECOND;
    account.decide(&demand([1, 0, 0], u64::MAX));
    assert_eq!(account.record.reader_waits_until, 0);
}

#[test]
fn whose_turn_comes_too_late_is_told_at_once() {
    let mut account = Account::used();
    // 75 may still go in this window: those behind them certainly not before the next.
    let decision = account.decide(&demand([100, 0, 3], account.now + 30 * SECOND));
    let places: Vec<_> = decision.hopeless.iter().map(|(_, place)| *place).collect();
    assert_eq!(decision.hopeless.len(), 25);
    assert_eq!(places, (75..100).rev().collect::<Vec<_>>());
}

#[test]
fn a_limit_that_recovers_before_the_deadline_is_waited_for() {
    let mut account = Account::used();
    account.now += SECOND;
    let mut pace = Pace {
        log: &mut account.log,
        record: &mut account.record,
        configured: 150,
        now: account.now,
    };
    pace.throttled(1000 * SECOND, None, 0.0);
    assert_eq!(pace.limit(), pace.granted(), "what is allowed is used up");
    let reader = |seconds: u64| demand([1, 0, 0], (1001 + seconds) * SECOND);
    assert_eq!(account.decide(&reader(15)).hopeless, []);
    assert_eq!(account.decide(&reader(1)).hopeless.len(), 1, "it pauses");
    account.now += 12 * SECOND;
    assert_eq!(account.decide(&reader(15)).grants, [Class::Reader]);
}

#[test]
fn a_grant_whose_caller_left_goes_to_the_next_of_its_class() {
    let mut queue = Queue::default();
    let mut turns = Vec::new();
    for _ in 0..2 {
        let (answer, turn) = oneshot::channel();
        queue.waiting[Class::Reader as usize].push_back(Waiter {
            answer,
            deadline: u64::MAX,
            since: 0,
        });
        turns.push(turn);
    }
    let mut account = Account::used();
    account.now += SECOND;
    let decision = account.decide(&queue.demand(account.now, false, true));
    assert_eq!(decision.grants.len(), 1);
    drop(turns.remove(0));
    queue.settle(&decision, account.now);
    assert_eq!(turns[0].try_recv().unwrap(), Ok(account.now));
    assert_eq!(queue.len(), 0);
}

#[test]
fn grants_are_taken_ahead_only_where_they_are_ample_and_are_counted() {
    let mut account = Account {
        log: MemoryLog::default(),
        record: Record::default(),
        now: 1000 * SECOND,
    };
    assert_eq!(account.decide(&demand([1, 0, 0], u64::MAX)).ahead, 0);
    let mut pace = Pace {
        log: &mut account.log,
        record: &mut account.record,
        configured: 100_000,
        now: account.now,
    };
    let decision = decide(&mut pace, &demand([1, 0, 0], u64::MAX));
    assert_eq!(decision.ahead, 49);
    assert_eq!(pace.granted(), 1 + 1 + 49);
    let nobody = decide(&mut pace, &demand([0, 0, 0], u64::MAX));
    assert_eq!(nobody.ahead, 0);
}
