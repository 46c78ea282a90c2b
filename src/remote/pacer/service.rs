//! The queue and the thread that serves it.
//!
//! A round looks at who waits, decides under the ledger's lock what may go, and hands out the grants. No
//! lock of this process is held while the ledger is locked.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use super::forecast::Standing;
use super::ledger::Ledger;
use super::rules::{GrantLog, Pace, Record, WINDOW};
use super::{LEDGER_PATIENCE, PaceCounters, Shared, State, now_micros, warn_unshared};
use crate::remote::{Class, RemoteError};

/// How often a waiting process looks what others did to the ledger.
const LOOK: Duration = Duration::from_millis(250);

/// How often is looked whether a ledger that failed is of use again.
const LOOK_AGAIN: Duration = if cfg!(test) {
    Duration::from_millis(10)
} else {
    Duration::from_secs(10)
};

/// A refresh that waited this long, in µs, goes as a reader does, once in [`AGED_EVERY`].
const AGED: u64 = 30_000_000;
const AGED_EVERY: u64 = 5_000_000;

/// How long other processes' background work yields after a round in which a reader had to wait, in µs.
const YIELD: u64 = 2_000_000;

/// Most grants of one round, so that other processes get at the ledger.
const ROUND_MAX: usize = 256;

/// When the budget is ample, a round takes a thousandth of what may go at once ahead of demand, so that
/// the next callers need no thread and no system call. At the API's real limit that is none.
const AHEAD_SHARE: u32 = 1000;

/// How long grants taken ahead are good for, in µs: less than the second by which [`WINDOW`] is longer than
/// the API's, so that they are never used too late for what they were counted for.
const AHEAD_HOLDS: u64 = 500_000;

/// A snapshot older than this, in µs, is renewed when somebody looks at it.
const SNAPSHOT_AGE: u64 = 250_000;

/// The classes, most urgent first.
const CLASSES: [Class; 3] = [Class::Reader, Class::Refresh, Class::Prefetch];

/// One call that waits for its turn; times in µs.
pub(super) struct Waiter {
    /// Gets the time of the grant.
    pub(super) answer: oneshot::Sender<Result<u64, RemoteError>>,
    pub(super) deadline: u64,
    pub(super) since: u64,
}

/// A 429.
#[derive(Clone, Copy)]
pub(super) struct Throttle {
    pub(super) granted_at: u64,
    pub(super) told: Option<u64>,
    pub(super) jitter: f64,
}

/// The account as it was last seen.
#[derive(Clone, Copy, Default)]
pub(super) struct Snapshot {
    pub(super) granted: u32,
    pub(super) at: u64,
}

/// Who waits, by class.
#[derive(Default)]
pub(super) struct Queue {
    waiting: [VecDeque<Waiter>; 3],
    /// When a refresh last went as a reader does.
    aged_at: u64,
}

/// What a round needs to know of the queue.
struct Demand {
    deadlines: [Vec<u64>; 3],
    refresh_is_aged: bool,
    /// This process has told others that a reader waits.
    has_marked: bool,
    /// Whether grants may be taken ahead.
    takes_ahead: bool,
}

/// What a round decided.
struct Decision {
    grants: Vec<Class>,
    /// How many more grants were taken ahead of demand.
    ahead: u32,
    aged: bool,
    /// When the next grant can be made, if somebody waits.
    next: Option<u64>,
    /// Waiters whose turn certainly comes after their deadline, by class and place, last first.
    hopeless: Vec<(Class, usize)>,
    snapshot: Snapshot,
}

impl Queue {
    fn demand(&mut self, now: u64, has_marked: bool, takes_ahead: bool) -> Demand {
        for class in &mut self.waiting {
            class.retain(|waiter| !waiter.answer.is_closed());
        }
        let refresh_is_aged = self.waiting[Class::Refresh as usize]
            .front()
            .is_some_and(|waiter| now.saturating_sub(waiter.since) > AGED)
            && now.saturating_sub(self.aged_at) > AGED_EVERY;
        let deadlines = self
            .waiting
            .each_ref()
            .map(|class| class.iter().map(|waiter| waiter.deadline).collect());
        Demand {
            deadlines,
            refresh_is_aged,
            has_marked,
            takes_ahead,
        }
    }

    fn len(&self) -> usize {
        self.waiting.iter().map(VecDeque::len).sum()
    }

    /// Hands the decision out. A grant whose caller has just left goes to the next of its class, or is
    /// lost: it was counted.
    fn settle(&mut self, decision: &Decision, now: u64) {
        for (class, place) in &decision.hopeless {
            if let Some(waiter) = self.waiting[*class as usize].remove(*place) {
                // Who has left needs no answer.
                let _ = waiter.answer.send(Err(RemoteError::NoBudget));
            }
        }
        if decision.aged {
            self.aged_at = now;
        }
        for class in &decision.grants {
            while let Some(waiter) = self.waiting[*class as usize].pop_front() {
                if waiter.answer.send(Ok(now)).is_ok() {
                    break;
                }
            }
        }
    }
}

/// Decides one round.
fn decide<L: GrantLog>(pace: &mut Pace<'_, L>, demand: &Demand) -> Decision {
    let mut granted = [0; 3];
    let mut grants = Vec::new();
    let mut aged = false;
    let now = pace.now;
    if demand.has_marked {
        // Set again below if a reader still waits; another process sets its own again within `LOOK`.
        pace.record.reader_waits_until = 0;
    }
    let waits = |class: Class, granted: &[usize; 3]| {
        demand.deadlines[class as usize].len() > granted[class as usize]
    };
    let mut next = None;
    loop {
        let (class, as_class) = if demand.refresh_is_aged && !aged {
            (Class::Refresh, Class::Reader)
        } else if let Some(class) = CLASSES.into_iter().find(|class| waits(*class, &granted)) {
            (class, class)
        } else {
            break;
        };
        let at = pace.earliest(as_class);
        if at > now || grants.len() >= ROUND_MAX {
            next = Some(at);
            break;
        }
        aged |= class != as_class;
        pace.log.push(now);
        grants.push(class);
        granted[class as usize] += 1;
    }
    let mut hopeless = Vec::new();
    if let Some(next) = next {
        for class in CLASSES {
            let deadlines = demand.deadlines[class as usize]
                .iter()
                .enumerate()
                .skip(granted[class as usize]);
            for (ahead, (place, deadline)) in deadlines.enumerate() {
                let ahead = u32::try_from(ahead).unwrap_or(u32::MAX);
                if pace.is_hopeless(class, ahead, next, *deadline) {
                    hopeless.push((class, place));
                }
            }
        }
        hopeless.reverse();
    }
    if waits(Class::Reader, &granted) {
        pace.record.reader_waits_until = now + YIELD;
    }
    let granted = pace.granted();
    let mut ahead = 0;
    if demand.takes_ahead && next.is_none() && !grants.is_empty() {
        ahead = (pace.limit() / 2).saturating_sub(granted) / AHEAD_SHARE;
        for _ in 0..ahead {
            pace.log.push(now);
        }
    }
    Decision {
        aged,
        ahead,
        next,
        hopeless,
        snapshot: Snapshot {
            granted: granted + ahead,
            at: now,
        },
        grants,
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a waiter in the queue. Without a ledger its turn is decided at once, on the caller's thread.
    pub(super) fn enqueue(&self, class: Class, waiter: Waiter, now: u64) {
        let mut state = self.lock();
        if state.ahead > 0 && now < state.ahead_until && state.queue.len() == 0 {
            state.ahead -= 1;
            // Who has left already leaves a grant behind that was counted.
            let _ = waiter.answer.send(Ok(now));
            return;
        }
        state.queue.waiting[class as usize].push_back(waiter);
        state.has_arrivals = true;
        if !state.is_shared && self.serve_from_memory(&mut state, now).is_none() {
            return;
        }
        drop(state);
        self.wake.notify_one();
    }

    /// Takes note of a 429.
    pub(super) fn throttled(&self, throttle: Throttle, now: u64) {
        let mut state = self.lock();
        state.throttles.push(throttle);
        state.ahead = 0;
        if state.is_shared {
            // The ledger's record follows; should the ledger hang just now, this process pauses all the same.
            let State { own, record, .. } = &mut *state;
            let configured = self.configured;
            let mut pace = Pace {
                log: own,
                record,
                configured,
                now,
            };
            pace.throttled(throttle.granted_at, throttle.told, throttle.jitter);
        } else {
            self.serve_from_memory(&mut state, now);
        }
        drop(state);
        self.wake.notify_one();
    }

    /// Ends the thread.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.wake.notify_one();
    }

    pub(super) fn counters(&self, now: u64) -> PaceCounters {
        let mut state = self.lock();
        if !state.is_shared {
            self.serve_from_memory(&mut state, now);
        }
        let snapshot = state.snapshot;
        let age = now.saturating_sub(snapshot.at);
        let mut record = state.record;
        let own = Pace {
            log: &mut state.own,
            record: &mut record,
            configured: self.configured,
            now,
        };
        let (own_granted, limit) = (own.granted(), own.limit());
        // An old snapshot's grants leave the window, on average evenly.
        let left = WINDOW.saturating_sub(age);
        let granted = u64::from(snapshot.granted) * left / WINDOW;
        let counters = PaceCounters {
            granted: u32::try_from(granted).unwrap_or(u32::MAX).max(own_granted),
            limit,
            configured: self.configured,
            waiting: u32::try_from(state.queue.len()).unwrap_or(u32::MAX),
            shared: state.is_shared,
        };
        let renew = state.is_shared && age > SNAPSHOT_AGE && !state.wants_snapshot;
        state.wants_snapshot |= renew;
        drop(state);
        if renew {
            self.wake.notify_one();
        }
        counters
    }

    /// The pace as it stands, for a forecast.
    pub(super) fn standing(&self, granted: u32, now: u64) -> Standing {
        let state = self.lock();
        Standing {
            own: state.own.all(),
            granted,
            record: state.record,
            configured: self.configured,
            now,
        }
    }

    /// One round on this process's own grants: when the next is due, if somebody waits.
    fn serve_from_memory(&self, state: &mut State, now: u64) -> Option<u64> {
        state.has_arrivals = false;
        let demand = state.queue.demand(now, true, false);
        let mut pace = Pace {
            log: &mut state.own,
            record: &mut state.record,
            configured: self.configured,
            now,
        };
        for throttle in std::mem::take(&mut state.throttles) {
            pace.throttled(throttle.granted_at, throttle.told, throttle.jitter);
        }
        let decision = decide(&mut pace, &demand);
        self.publish(state, &decision, now);
        decision.next
    }

    fn publish(&self, state: &mut State, decision: &Decision, now: u64) {
        state.snapshot = decision.snapshot;
        state.queue.settle(decision, now);
        let until = state.record.paused_until;
        self.paused_until
            .send_if_modified(|known| std::mem::replace(known, until) != until);
    }
}

/// Starts the thread that serves the queue.
pub(super) fn start(shared: Arc<Shared>, ledger: Option<Ledger>, epoch: u64) -> io::Result<()> {
    std::thread::Builder::new()
        .name("pace".to_owned())
        .spawn(move || run(&shared, ledger, epoch))
        .map(drop)
}

fn run(shared: &Arc<Shared>, mut ledger: Option<Ledger>, mut epoch: u64) {
    let mut has_marked = false;
    let mut next: Option<u64> = None;
    // What 429s said and what was granted while the ledger hung, until it is told.
    let mut untold: Option<(Record, Vec<u64>)> = None;
    let mut state = shared.lock();
    loop {
        if state.is_closed || state.epoch != epoch {
            return;
        }
        let now = now_micros();
        let Some(file) = &mut ledger else {
            next = shared.serve_from_memory(&mut state, now);
            state = wait(shared, state, next);
            continue;
        };
        // All that keeps `wait` from waiting is in it, or this would go round for ever.
        let has_work = state.queue.len() > 0
            || state.has_arrivals
            || !state.throttles.is_empty()
            || state.wants_snapshot
            || has_marked;
        if has_work {
            let demand = state.queue.demand(now, has_marked, true);
            state.has_arrivals = false;
            let throttles = std::mem::take(&mut state.throttles);
            drop(state);
            shared.in_ledger_since.store(now.max(1), Ordering::Relaxed);
            let served = file.locked_at(now_micros, |log, record| {
                // Only now: waiting for the lock may have taken a while, and grants must not be antedated.
                let now = now_micros();
                if let Some((known, granted)) = untold.take() {
                    record.learn(&known);
                    for at in granted {
                        // In order, though others were granted some meanwhile.
                        log.push(at.max(log.latest(1).unwrap_or(0)));
                    }
                }
                let mut pace = Pace {
                    log,
                    record,
                    configured: shared.configured,
                    now,
                };
                for throttle in &throttles {
                    pace.throttled(throttle.granted_at, throttle.told, throttle.jitter);
                }
                let decision = decide(&mut pace, &demand);
                (decision, *record, now)
            });
            shared.in_ledger_since.store(0, Ordering::Relaxed);
            state = shared.lock();
            if state.epoch == epoch
                && let Err(error) = &served
            {
                state.throttles.extend(throttles);
                go_on_without(shared, state, error);
                state = shared.lock();
            }
            if state.epoch != epoch {
                // Others went on without the ledger, because it hung or failed. It is back, so this thread
                // serves again; what it decided for the queue of then is void, if counted.
                if served.is_err() {
                    drop(state);
                    wait_until_it_works(shared, file);
                    state = shared.lock();
                }
                if state.is_closed {
                    return;
                }
                state.epoch += 1;
                epoch = state.epoch;
                state.is_shared = true;
                let granted = state.own.all().into_iter();
                let granted = granted.filter(|at| *at >= state.left_at);
                untold = Some((state.record, granted.collect()));
                shared.wake.notify_all();
                tracing::info!("the pace file answers again: the request budget is shared again");
                continue;
            }
            if let Ok((decision, record, now)) = served {
                state.record = record;
                state.wants_snapshot = false;
                has_marked = record.reader_waits_until > now
                    && demand.deadlines[Class::Reader as usize].len()
                        > decision
                            .grants
                            .iter()
                            .filter(|class| **class == Class::Reader)
                            .count();
                for _ in 0..decision.grants.len() + decision.ahead as usize {
                    state.own.push(now);
                }
                if decision.ahead > 0 {
                    state.ahead = decision.ahead;
                    state.ahead_until = now.saturating_add(AHEAD_HOLDS);
                }
                shared.publish(&mut state, &decision, now);
                next = decision.next;
            }
        }
        state = wait(shared, state, next);
    }
}

/// Waits for something new, or until the next grant is due.
fn wait<'a>(
    shared: &Shared,
    state: MutexGuard<'a, State>,
    next: Option<u64>,
) -> MutexGuard<'a, State> {
    let has_news = state.is_closed
        || (state.is_shared
            && (state.has_arrivals || state.wants_snapshot || !state.throttles.is_empty()));
    if has_news {
        return state;
    }
    if state.queue.len() == 0 {
        return shared
            .wake
            .wait(state)
            .unwrap_or_else(PoisonError::into_inner);
    }
    let due = next.map_or(Duration::ZERO, |next| {
        Duration::from_micros(next.saturating_sub(now_micros()))
    });
    if due.is_zero() {
        return state;
    }
    shared
        .wake
        .wait_timeout(state, due.min(LOOK))
        .unwrap_or_else(PoisonError::into_inner)
        .0
}

/// Returns when grants can be recorded again, or the pacer is closed.
fn wait_until_it_works(shared: &Shared, ledger: &mut Ledger) {
    while !shared.lock().is_closed {
        std::thread::sleep(LOOK_AGAIN);
        if ledger
            .locked_at(now_micros, |log, _| log.rehearse())
            .is_ok()
        {
            return;
        }
    }
}

/// Goes on without the ledger when its thread has been stuck in it for too long.
pub(super) fn leave_stuck_ledger(shared: &Arc<Shared>) {
    let since = shared.in_ledger_since.load(Ordering::Relaxed);
    let patience = u64::try_from(LEDGER_PATIENCE.as_micros()).unwrap_or(u64::MAX);
    if since == 0 || now_micros().saturating_sub(since) < patience {
        return;
    }
    let state = shared.lock();
    if !state.is_shared {
        return;
    }
    // The thread that is stuck is no longer the one that serves.
    shared.in_ledger_since.store(0, Ordering::Relaxed);
    go_on_without(shared, state, &io::ErrorKind::TimedOut.into());
}

/// Has a new thread serve the queue, by this process's own grants.
fn go_on_without(shared: &Arc<Shared>, mut state: MutexGuard<'_, State>, error: &io::Error) {
    state.is_shared = false;
    state.left_at = now_micros();
    state.epoch += 1;
    let epoch = state.epoch;
    drop(state);
    warn_unshared(error);
    if start(Arc::clone(shared), None, epoch).is_err() {
        tracing::warn!("no thread can be started: waiting requests go at the next call only");
    }
}

#[cfg(test)]
mod tests;
