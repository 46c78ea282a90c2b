//! How an object gets at its blocks: from a tier, from a flight under way, or by a new one.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::try_join_all;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use crate::content::block::{self, BLOCK};
use crate::content::flight::{Delivery, Flight, State, Waiter, outcome};
use crate::content::history::History;
use crate::content::plan::{self, Fetch, FlightView, Kind, Plan, Situation};
use crate::content::{ContentError, Object, stream};
use crate::model::ByteRange;
use crate::remote::{Class, RetryBudget, Terms, Urgency};

/// What was found about a block while the state was locked.
enum Step {
    Have(Bytes),
    OnDisk,
    PastEnd,
    Wait(oneshot::Receiver<Delivery>),
}

impl Object {
    /// Blocks `range` touches, each from a tier or a flight; `None` when the file proved shorter.
    pub(in crate::content) async fn blocks(
        self: &Arc<Self>,
        range: ByteRange,
        cursor: Option<u64>,
        terms: &Terms,
    ) -> Result<Option<Vec<Bytes>>, ContentError> {
        let all = block::blocks_of(range)
            .map(|index| self.block(index, range.end(), cursor, terms))
            .collect::<Vec<_>>();
        Ok(try_join_all(all).await?.into_iter().collect())
    }

    pub(in crate::content) async fn block(
        self: &Arc<Self>,
        index: u64,
        want_end: u64,
        cursor: Option<u64>,
        terms: &Terms,
    ) -> Result<Option<Bytes>, ContentError> {
        loop {
            match self.step(index, want_end, cursor, terms)? {
                Step::Have(bytes) => return Ok(Some(bytes)),
                Step::PastEnd => return Ok(None),
                Step::OnDisk => {
                    let read = self.read_disk(index, cursor);
                    if let Some(bytes) = tokio::time::timeout_at(terms.deadline, read)
                        .await
                        .map_err(|_| ContentError::DeadlinePassed)??
                    {
                        return Ok(Some(bytes));
                    }
                    // It is to be looked for elsewhere, but never round and round on a thread that others need.
                    tokio::task::yield_now().await;
                    if Instant::now() >= terms.deadline {
                        return Err(ContentError::DeadlinePassed);
                    }
                }
                Step::Wait(delivery) => {
                    let error = match outcome(delivery, terms.deadline).await {
                        Ok(Some(bytes)) => return Ok(Some(bytes)),
                        Ok(None) => continue,
                        Err(error) => error,
                    };
                    self.lock().failures.note(index, &error, Instant::now());
                    return Err(error);
                }
            }
        }
    }

    /// One look at a block: where it is, or who will bring it.
    fn step(
        self: &Arc<Self>,
        index: u64,
        want_end: u64,
        cursor: Option<u64>,
        terms: &Terms,
    ) -> Result<Step, ContentError> {
        let now = Instant::now();
        let mut state = self.lock();
        let Some(size) = state.size else {
            return Ok(Step::PastEnd);
        };
        if index >= block::count_of(size) {
            return Ok(Step::PastEnd);
        }
        if let Some(bytes) = self.shared.memory.get(self.place, index) {
            return Ok(Step::Have(bytes));
        }
        // Here whatever the disk does.
        if let Some(bytes) = self.disk.as_ref().and_then(|disk| disk.pending(index)) {
            return Ok(Step::Have(bytes));
        }
        if self.disk_contains(index) {
            return Ok(Step::OnDisk);
        }
        if state.is_stale {
            return Err(ContentError::Stale);
        }
        if let Some(error) = state.failures.of(index, now) {
            return Err(error);
        }
        if now >= terms.deadline {
            return Err(ContentError::DeadlinePassed);
        }
        let start = block::start_of(index);
        let want = ByteRange::new(start, want_end.clamp(start + 1, size.max(start + 1)))
            .ok_or(ContentError::Stale)?;
        let plan = if state.brings_soon(index) {
            Plan::Wait
        } else if cursor.is_none() {
            self.plan_whole(&state, index, size)
        } else {
            self.with_situation(&state, want, size, cursor, plan::plan)
        };
        self.carry_out(&mut state, plan, terms);
        let (sender, delivery) = oneshot::channel();
        let upto = want.end().min(block::end_of(index, size));
        let waiter = Waiter { upto, sender };
        state.waiters.entry(index).or_default().push(waiter);
        state.wake_paused(index);
        state.hurry(index, terms.class);
        Ok(Step::Wait(delivery))
    }

    /// For those who want all: whatever hole there is, in one request.
    fn plan_whole(&self, state: &State, index: u64, size: u64) -> Plan {
        if state.covers(index) {
            return Plan::Wait;
        }
        let mut taken = self.held();
        for flight in &state.flights {
            taken.insert(block::index_of(flight.position)..flight.end.div_ceil(BLOCK));
        }
        let count = block::count_of(size);
        let hole = taken.hole_at(index, count).unwrap_or(index..index + 1);
        Plan::Fetch(vec![Fetch {
            start: block::start_of(hole.start),
            end: block::start_of(hole.end).min(size),
            kind: Kind::Bounded,
        }])
    }

    fn with_situation<T>(
        &self,
        state: &State,
        want: ByteRange,
        size: u64,
        cursor: Option<u64>,
        decide: impl FnOnce(&Situation<'_>) -> T,
    ) -> T {
        let present = self.held();
        let flights: Vec<FlightView> = state
            .flights
            .iter()
            .map(|flight| FlightView {
                number: flight.number,
                kind: flight.kind,
                begin: flight.begin,
                position: block::start_of(block::index_of(flight.position)),
                end: flight.end.min(size),
                is_sent: flight.is_sent,
            })
            .filter(|flight| flight.position < flight.end)
            .collect();
        decide(&Situation {
            size,
            want,
            present: &present,
            flights: &flights,
            history: cursor
                .and_then(|cursor| state.cursors.get(&cursor))
                .copied()
                .unwrap_or_default(),
            bounded_fetches: state.bounded_fetches,
            backward_seeks: state.backward_seeks,
            rate: self.shared.rate(),
            conditions: self.shared.remote.conditions(),
            capacity: self.shared.capacity_ahead(),
            keeps: self.shared.keeps(),
            keeps_everything: self.shared.has_working_disk(),
        })
    }

    /// Starts a stream ahead of a sequential reader if it is time for one.
    pub(in crate::content) fn go_ahead(
        self: &Arc<Self>,
        cursor: u64,
        range: ByteRange,
        deadline: Instant,
    ) {
        let mut state = self.lock();
        let Some(size) = state.size else { return };
        if size <= plan::WHOLE
            || state.is_stale
            || (!state.disk_is_known && !self.shared.disk_is_stuck())
            || !state
                .cursors
                .get(&cursor)
                .is_some_and(History::is_sequential)
            || state
                .no_stream_before
                .is_some_and(|time| time > Instant::now())
            || state.covers(block::index_of(range.end()))
            // In the midst of what is held there is nothing to plan, and the look at all of it would cost.
            || self.has(range.end().div_ceil(BLOCK))
        {
            return;
        }
        let class = Class::Reader;
        let ahead = self.with_situation(&state, range, size, Some(cursor), plan::plan_ahead);
        if let Some(fetch) = ahead {
            let terms = Terms {
                class,
                deadline,
                retries: RetryBudget::standard(),
            };
            self.carry_out(&mut state, Plan::Fetch(vec![fetch]), &terms);
        }
    }

    pub(in crate::content) fn carry_out(
        self: &Arc<Self>,
        state: &mut State,
        plan: Plan,
        terms: &Terms,
    ) {
        match plan {
            Plan::Wait => {}
            Plan::Extend { number, begin, end } => {
                if let Some(flight) = state.flight(number) {
                    flight.begin = begin;
                    flight.position = begin;
                    flight.end = end;
                }
            }
            Plan::Fetch(fetches) => {
                for (index, fetch) in fetches.into_iter().enumerate() {
                    let terms = Terms {
                        retries: if index == 0 {
                            terms.retries.clone()
                        } else {
                            RetryBudget::standard()
                        },
                        ..terms.clone()
                    };
                    self.launch(state, fetch, terms);
                }
                state.release_orphans();
            }
        }
    }

    /// Starts a flight; those that have its bytes in their path end where it begins.
    pub(in crate::content) fn launch(
        self: &Arc<Self>,
        state: &mut State,
        fetch: Fetch,
        terms: Terms,
    ) {
        for flight in &mut state.flights {
            if flight.position < fetch.end && fetch.start < flight.end {
                flight.end = fetch.start.max(flight.position.min(flight.end));
                flight.changed.notify_one();
            }
        }
        state.bounded_fetches += u64::from(fetch.kind == Kind::Bounded);
        let number = state.next_number;
        state.next_number += 1;
        let changed = Arc::new(Notify::new());
        state.flights.push(Flight {
            number,
            kind: fetch.kind,
            begin: fetch.start,
            position: fetch.start,
            end: fetch.end,
            is_sent: false,
            urgency: Urgency::of(terms.class),
            is_paused: false,
            reader_is_slow: false,
            changed: Arc::clone(&changed),
        });
        stream::spawn(Arc::clone(self), number, changed, terms);
    }
}
