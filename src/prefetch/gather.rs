//! From an order to a plan: what there is, what of it is wanted, and what of that is held.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::stream::{self, StreamExt};
use jiff::Timestamp;
use tokio::sync::mpsc;

use super::order::{Unreadable, Wanted};
use super::plan::{self, Candidate, PARALLEL, Plan, Types};
use super::{Event, Order, Planned, Prefetcher};
use crate::catalogue::CatalogueError;
use crate::lane;
use crate::model::{Guid, TimeWindow};
use crate::remote::RemoteError;

/// How often it is told how many were found.
const TELL: Duration = Duration::from_secs(1);

/// Files of which the disk is asked at once what it holds.
const LOOKS: usize = 32;

/// Why there is no plan.
pub(super) struct Halt {
    pub(super) reason: String,
    /// Trying again is of no use until somebody does something.
    pub(super) is_final: bool,
}

impl From<RemoteError> for Halt {
    fn from(error: RemoteError) -> Self {
        Self {
            reason: error.to_string(),
            is_final: matches!(
                error,
                RemoteError::Unauthorized { .. } | RemoteError::Offline
            ),
        }
    }
}

impl From<CatalogueError> for Halt {
    fn from(error: CatalogueError) -> Self {
        Self {
            reason: error.to_string(),
            is_final: false,
        }
    }
}

impl From<Unreadable> for Halt {
    fn from(error: Unreadable) -> Self {
        Self {
            reason: error.to_string(),
            is_final: true,
        }
    }
}

/// What was found so far.
#[derive(Default)]
struct Found {
    guids: HashSet<Guid>,
    unknown: u64,
    candidates: Vec<Candidate>,
}

impl Prefetcher {
    /// The plan of an order, as things stand.
    pub(super) async fn gather(
        &self,
        order: &Order,
        events: &mpsc::Sender<Event>,
    ) -> Result<Plan, Halt> {
        let count = AtomicU64::new(0);
        let look = self.look(order, &count);
        tokio::pin!(look);
        let mut tick = tokio::time::interval(TELL);
        loop {
            tokio::select! {
                biased;
                plan = &mut look => return plan,
                _ = tick.tick() => {
                    let interactions = count.load(Ordering::Relaxed);
                    // A listener that is slow misses nothing by missing one.
                    let _ = events.try_send(Event::Looking { interactions });
                }
            }
        }
    }

    async fn look(&self, order: &Order, count: &AtomicU64) -> Result<Plan, Halt> {
        let types = Arc::new(Types {
            named: order.types.clone(),
            shown: self.shown.clone(),
        });
        let (windows, guids) = match order.at(Timestamp::now())? {
            Wanted::Windows(windows, guids) => (windows, guids),
            Wanted::Listed => (vec![self.interactions.window()], Vec::new()),
        };
        let mut found = Found::default();
        self.find(guids, &types, &mut found, count).await?;
        self.interactions.searched(windows.clone()).await?;
        for window in windows {
            self.list(window, &types, &mut found, count).await?;
        }
        let looked = stream::iter(found.candidates)
            .map(|candidate| {
                let missing = self.contents.missing(&candidate.id, candidate.traits);
                async move { (candidate, missing.await) }
            })
            .buffer_unordered(LOOKS)
            .collect()
            .await;
        Ok(Plan {
            interactions: found.guids.len() as u64,
            unknown: found.unknown,
            ..Plan::of(looked)
        })
    }

    /// Those that were named by GUID.
    async fn find(
        &self,
        guids: Vec<Guid>,
        types: &Types,
        found: &mut Found,
        count: &AtomicU64,
    ) -> Result<(), Halt> {
        let mut answers = stream::iter(guids)
            .map(|guid| self.interactions.find(guid))
            .buffer_unordered(PARALLEL);
        while let Some(answer) = answers.next().await {
            match answer {
                Ok(Some(known)) => {
                    if found.guids.insert(known.interaction.guid) {
                        found
                            .candidates
                            .extend(plan::candidates(&known.interaction, types));
                    }
                }
                // One that may not be seen is as little of use as one that isn't there.
                Ok(None) | Err(RemoteError::Forbidden) => found.unknown += 1,
                Err(error) => return Err(error.into()),
            }
            count.store(found.guids.len() as u64, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Those of a window.
    async fn list(
        &self,
        window: TimeWindow,
        types: &Arc<Types>,
        found: &mut Found,
        count: &AtomicU64,
    ) -> Result<(), Halt> {
        let mut after = 0;
        loop {
            let interactions = Arc::clone(&self.interactions);
            let types = Arc::clone(types);
            let page = lane::CATALOGUE.run(move || {
                let mut page = Vec::new();
                for row in interactions.page(window, after)? {
                    let known = interactions.interaction(row.guid)?;
                    let candidates: Vec<Candidate> = known
                        .iter()
                        .flat_map(|known| plan::candidates(&known.interaction, &types))
                        .collect();
                    page.push((row.sequence, row.guid, candidates));
                }
                Ok::<_, CatalogueError>(page)
            });
            let page = page
                .await
                .ok_or(RemoteError::Protocol("a task ended early"))??;
            let Some((last, ..)) = page.last() else {
                return Ok(());
            };
            after = *last;
            for (_, guid, candidates) in page {
                if found.guids.insert(guid) {
                    found.candidates.extend(candidates);
                }
            }
            count.store(found.guids.len() as u64, Ordering::Relaxed);
        }
    }

    /// The plan in numbers.
    pub(super) fn planned(&self, plan: &Plan) -> Planned {
        let overhead = if plan.items.is_empty() {
            0
        } else {
            self.overhead
        };
        let requests = plan.requests + overhead;
        let room = self.contents.room().unwrap_or(0);
        let time = plan::time_left(
            self.pace.time_for(requests),
            self.pace.latency(),
            requests,
            plan.bytes,
            None,
        );
        Planned {
            interactions: plan.interactions,
            unknown: plan.unknown,
            files: plan.items.len() as u64 + plan.held,
            held: plan.held,
            requests,
            bytes: plan.bytes,
            bytes_wanted: plan.bytes_wanted,
            sizes_unknown: plan.sizes_unknown,
            seconds: time
                .as_millis()
                .div_ceil(1000)
                .try_into()
                .unwrap_or(u64::MAX),
            requests_per_minute: self.pace.budget().configured,
            cache_bytes: room,
            too_large: plan.bytes_wanted > room,
        }
    }
}
