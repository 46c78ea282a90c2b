//! From a plan to bytes on disk, several files at a time.

use std::time::Duration;

use futures::stream::{FuturesUnordered, StreamExt};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};

use super::plan::{self, Fetch, PARALLEL, Plan};
use super::{Event, Outcome, Prefetcher, Progress};
use crate::content::ContentError;
use crate::model::ContentId;
use crate::remote::{Class, RemoteError, RetryBudget, Terms};

/// How often progress is told.
const TELL: Duration = Duration::from_millis(250);

/// How long one file may take, waiting for the pace included: only what hangs takes longer.
const PATIENCE: Duration = Duration::from_secs(24 * 3600);

/// So many failures without one success between them end a run: it is not the files.
const MOST_FAILURES: u64 = 32;

/// How long the wire is measured before its rate counts.
const MEASURED: Duration = Duration::from_secs(2);

/// A file under way.
struct UnderWay {
    place: usize,
    held_before: u64,
}

/// How far a run is.
struct Run {
    plan: Plan,
    began: Instant,
    under_way: Vec<UnderWay>,
    outcome: Outcome,
    /// Requests of the plan that are behind, also those of files that could not be had.
    requests: u64,
    done: u64,
    failures_in_a_row: u64,
    settled: Vec<ContentId>,
}

impl Prefetcher {
    /// Fetches what is planned; also gives the versions that came or proved that they can't. Dropping the future calls off what is under way.
    pub(super) async fn work(
        &self,
        plan: Plan,
        outcome: Outcome,
        events: &mpsc::Sender<Event>,
    ) -> (Outcome, Vec<ContentId>) {
        let mut run = Run {
            plan,
            began: Instant::now(),
            under_way: Vec::new(),
            outcome,
            requests: 0,
            done: 0,
            failures_in_a_row: 0,
            settled: Vec::new(),
        };
        let mut fetches = FuturesUnordered::new();
        let mut tick = tokio::time::interval(TELL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut next = 0;
        loop {
            while run.outcome.stopped.is_none()
                && fetches.len() < PARALLEL
                && let Some(item) = run.plan.items.get(next)
            {
                if self.contents.room().is_none() {
                    run.outcome.stopped = Some("the cache's disk is of no use any more".to_owned());
                    break;
                }
                run.under_way.push(UnderWay {
                    place: next,
                    held_before: self.contents.held(&item.id),
                });
                let fetch = self.contents.fetch(&item.id, item.traits, terms());
                let place = next;
                fetches.push(async move { (place, fetch.await) });
                next += 1;
            }
            if run.outcome.stopped.is_some() {
                // What is under way is called off with it.
                break;
            }
            tokio::select! {
                ended = fetches.next() => match ended {
                    Some((place, result)) => self.ended(&mut run, place, result),
                    None => break,
                },
                _ = tick.tick() => {
                    // A listener that is slow misses nothing by missing one.
                    let _ = events.try_send(Event::Progress(self.progress(&run)));
                }
            }
        }
        drop(fetches);
        let _ = events.send(Event::Progress(self.progress(&run))).await;
        run.outcome.seconds = run.began.elapsed().as_secs();
        (run.outcome, run.settled)
    }

    fn ended(&self, run: &mut Run, place: usize, result: Result<(), ContentError>) {
        let came = match run.under_way.iter().position(|one| one.place == place) {
            Some(at) => {
                let one = run.under_way.swap_remove(at);
                self.came(&run.plan.items[place], one.held_before)
            }
            None => 0,
        };
        let planned = run.plan.items[place].requests;
        let outcome = &mut run.outcome;
        run.done += 1;
        run.requests += planned;
        outcome.bytes += came;
        run.failures_in_a_row = match result {
            Ok(()) => {
                outcome.fetched += 1;
                outcome.requests += planned;
                0
            }
            Err(ContentError::Stale | ContentError::Remote(RemoteError::Gone)) => {
                outcome.gone += 1;
                0
            }
            Err(ContentError::Remote(RemoteError::Forbidden)) => {
                outcome.denied += 1;
                0
            }
            Err(error) => {
                outcome.failed += 1;
                let is_final = matches!(
                    error,
                    ContentError::Remote(RemoteError::Unauthorized { .. } | RemoteError::Offline)
                );
                if is_final || run.failures_in_a_row + 1 >= MOST_FAILURES {
                    outcome.refused = is_final;
                    outcome.stopped = Some(error.to_string());
                }
                run.failures_in_a_row + 1
            }
        };
        if run.failures_in_a_row == 0 {
            run.settled.push(run.plan.items[place].id.clone());
        }
    }

    fn came(&self, item: &Fetch, held_before: u64) -> u64 {
        self.contents.held(&item.id).saturating_sub(held_before)
    }

    fn progress(&self, run: &Run) -> Progress {
        let coming: u64 = run
            .under_way
            .iter()
            .map(|one| self.came(&run.plan.items[one.place], one.held_before))
            .sum();
        let bytes = run.outcome.bytes + coming;
        let elapsed = run.began.elapsed();
        let rate = (elapsed >= MEASURED)
            .then(|| u64::try_from(u128::from(bytes) * 1000 / elapsed.as_millis().max(1)).ok())
            .flatten();
        let requests_left = run.plan.requests.saturating_sub(run.requests);
        // Those under way are granted already, or as good as.
        let to_grant = requests_left.saturating_sub(run.under_way.len() as u64);
        let left = plan::time_left(
            self.pace.time_for(to_grant),
            self.pace.latency(),
            requests_left,
            run.plan.bytes.saturating_sub(bytes),
            rate,
        );
        let budget = self.pace.budget();
        Progress {
            files: run.done,
            files_planned: run.plan.items.len() as u64,
            bytes,
            bytes_planned: run.plan.bytes.max(bytes),
            requests: run.requests,
            requests_planned: run.plan.requests,
            failed: run.outcome.failed,
            budget_left: budget.left,
            budget: budget.limit,
            seconds_left: left
                .as_millis()
                .div_ceil(1000)
                .try_into()
                .unwrap_or(u64::MAX),
        }
    }
}

fn terms() -> Terms {
    Terms {
        class: Class::Prefetch,
        deadline: Instant::now() + PATIENCE,
        retries: RetryBudget::standard(),
    }
}
