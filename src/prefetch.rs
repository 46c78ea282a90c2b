//! Prefetching: having content here before anybody reads it.
//!
//! An [`Order`] says what; [`Prefetcher::start`] does it and tells how it goes, as [`Event`]s. A running mount does it
//! when it is asked over its control socket, and the command does it by itself without a mount; both by this
//! module, which knows what exists, what is held and the pace only as narrow traits (`sources`). It promises that
//! what is held is not asked for again, that a file costs one request for each hole in what is held of it, and that
//! dropping the events ends the work.
//!
//! - `order`: what is asked for, as it goes over the socket;
//! - `plan`: which items, which are held, how many requests, how long (pure);
//! - `report`: how it goes, as it goes over the socket;
//! - `sources`: what is needed of the layers below;
//! - `gather`: from an order to a plan;
//! - `work`: from a plan to bytes on disk, several files at a time;
//! - `lowest`: the API with every request in the lowest class.

mod gather;
mod lowest;
mod order;
mod plan;
mod report;
mod sources;
#[cfg(test)]
mod tests;
mod work;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, BoxStream, StreamExt};
use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

pub use lowest::LowestClass;
pub use order::{Order, Span, What};
pub use report::{Event, Outcome, Planned, Progress};
pub use sources::{
    Budget, Contents, FreshInteractions, Interactions, KeptContents, Pace, SharedPace,
};

use crate::model::ItemType;
use plan::Settled;

/// Events that may wait to be taken.
const EVENTS: usize = 16;

/// How long a watch rests at least between two looks.
const SHORTEST_REST: Duration = Duration::from_secs(1);

/// How long at most, when nothing is said to have changed: what was evicted meanwhile comes back.
const LONGEST_REST: Duration = Duration::from_secs(600);

/// How often at least something is told, so that whoever listens knows that it goes on.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// A look may take this share of a watch's time: in a window of a million it is not free.
const REST_FOR_LOOK: u32 = 20;

/// Does what orders say.
pub struct Prefetcher {
    interactions: Arc<dyn Interactions>,
    contents: Arc<dyn Contents>,
    pace: Arc<dyn Pace>,
    /// The types that the mount shows; others are fetched only when they are named.
    shown: Option<BTreeSet<ItemType>>,
    /// Requests that a run makes beside those for content.
    overhead: u64,
}

impl std::fmt::Debug for Prefetcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Prefetcher").finish_non_exhaustive()
    }
}

/// Ends a task when it is dropped.
struct Ends(JoinHandle<()>);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Prefetcher {
    /// Puts the parts together. `shown` are the types that the mount shows, and `overhead` the requests that a run
    /// makes beside those for content, such as the one for a token of its own.
    pub fn new(
        interactions: Arc<dyn Interactions>,
        contents: Arc<dyn Contents>,
        pace: Arc<dyn Pace>,
        shown: Option<BTreeSet<ItemType>>,
        overhead: u64,
    ) -> Arc<Self> {
        Arc::new(Self {
            interactions,
            contents,
            pace,
            shown,
            overhead,
        })
    }

    /// Begins, on the current tokio runtime. The events end with [`Event::End`]; dropping them ends the work.
    ///
    /// # Errors
    /// Why it is no use to begin, in words for the user.
    pub fn start(self: &Arc<Self>, order: Order) -> Result<BoxStream<'static, Event>, String> {
        if self.contents.room().is_none() {
            return Err(
                "there is no disk cache to keep content in (--no-disk-cache, or its disk failed): prefetch needs one"
                    .to_owned(),
            );
        }
        order.at(Timestamp::now()).map_err(|why| why.to_string())?;
        let (sender, receiver) = mpsc::channel(EVENTS);
        let prefetcher = Arc::clone(self);
        let task = tokio::spawn(async move {
            let outcome = prefetcher.carry_out(&order, &sender).await;
            // Who has left needs no answer.
            let _ = sender.send(Event::End(outcome)).await;
        });
        Ok(
            stream::unfold((receiver, Ends(task)), |(mut receiver, task)| async move {
                let event = receiver.recv().await?;
                Some((event, (receiver, task)))
            })
            .boxed(),
        )
    }

    async fn carry_out(&self, order: &Order, events: &mpsc::Sender<Event>) -> Outcome {
        let mut settled = Settled::default();
        if !order.watch {
            return self.once(order, &mut settled, events).await.0;
        }
        let mut seen = self.interactions.version();
        loop {
            let (outcome, look) = self.once(order, &mut settled, events).await;
            if outcome.refused {
                return outcome;
            }
            let _ = events.send(Event::Round(outcome)).await;
            seen = self.rest(seen, look, events).await;
        }
    }

    /// Waits until it is worth looking again; the version of what is known then.
    async fn rest(&self, seen: u64, look: Duration, events: &mpsc::Sender<Event>) -> u64 {
        let began = Instant::now();
        let not_before = began + SHORTEST_REST.max(look * REST_FOR_LOOK);
        let until = not_before.max(began + LONGEST_REST);
        loop {
            let now = Instant::now();
            let version = self.interactions.version();
            if now >= not_before && (version != seen || now >= until) {
                return version;
            }
            let _ = events.send(Event::Waiting).await;
            let next = (now + HEARTBEAT).min(until);
            if now < not_before {
                tokio::time::sleep_until(next.min(not_before)).await;
            } else {
                self.interactions.changed(next).await;
            }
        }
    }

    /// One look at what there is, and the fetching of what is missing; how long the look took.
    async fn once(
        &self,
        order: &Order,
        settled: &mut Settled,
        events: &mpsc::Sender<Event>,
    ) -> (Outcome, Duration) {
        let began = Instant::now();
        let gathered = self.gather(order, events).await;
        let look = began.elapsed();
        let plan = match gathered {
            Ok(plan) => plan.leaving_alone(settled, began),
            Err(halt) => {
                let outcome = Outcome {
                    refused: halt.is_final,
                    stopped: Some(halt.reason),
                    ..Outcome::default()
                };
                return (outcome, look);
            }
        };
        let planned = self.planned(&plan);
        let outcome = Outcome {
            held: planned.held,
            unknown: planned.unknown,
            ..Outcome::default()
        };
        let has_work = !plan.items.is_empty();
        if !order.watch || has_work {
            let _ = events.send(Event::Plan(planned)).await;
        }
        if order.dry_run {
            return (outcome, look);
        }
        let (outcome, ids) = self.work(plan, outcome, events).await;
        settled.note(ids, Instant::now());
        (outcome, look)
    }
}
