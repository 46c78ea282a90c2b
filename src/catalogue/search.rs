//! A search and its consequences: what it showed is taken in, what it should have shown and did not is
//! judged.
//!
//! An interaction is gone when the API answers so for its GUID, or when two complete searches of its
//! window missed it. A search with filters can't tell: the server may read a filter more narrowly than
//! we do, or the interaction may have ceased to match. So what such a search misses is only asked for by
//! GUID, a few at a time. A page with objects that could not be read judges nobody either.

use std::collections::HashSet;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use lru::LruCache;
use tokio::time::Instant;

use super::schedule::{self, LONGEST, LONGEST_IF_REFUSED, Purpose};
use super::walk::{Walk, WalkError, Walked, blocking};
use super::{Catalogue, CatalogueError, Listing};
use crate::model::{Guid, SearchFilter, TimeWindow};
use crate::remote::{Class, Remote, RemoteError, RetryBudget, Terms};

/// The note in the catalogue that the server refused a window of seven days.
const REFUSED: &str = "seven_days_refused";

/// Up to how many missed interactions are asked for one by one; for more, their window is searched again.
const FEW: usize = 3;

/// Up to how many are asked for after a search with filters, where a second search would prove nothing.
const FEW_WITH_FILTERS: usize = 20;

/// How often an interaction that a filtered search misses is asked for at most.
const ASK_AGAIN: SignedDuration = SignedDuration::from_hours(23);

const MOST_ASKED: NonZeroUsize = NonZeroUsize::MIN.saturating_add(4095);

/// Makes searches.
pub(super) struct Searcher {
    pub(super) remote: Arc<dyn Remote>,
    pub(super) catalogue: Arc<Catalogue>,
    filter: SearchFilter,
    longest: Mutex<SignedDuration>,
    asked: Mutex<LruCache<Guid, Timestamp>>,
}

/// How urgent the next request is.
pub(super) type Urgency = dyn Fn() -> (Class, Duration) + Send + Sync;

impl Searcher {
    pub(super) fn new(
        remote: Arc<dyn Remote>,
        catalogue: Arc<Catalogue>,
        filter: SearchFilter,
    ) -> Self {
        let was_refused = catalogue.store.learnt(REFUSED).ok().flatten().is_some();
        Self {
            remote,
            catalogue,
            filter,
            longest: Mutex::new(if was_refused {
                LONGEST_IF_REFUSED
            } else {
                LONGEST
            }),
            asked: Mutex::new(LruCache::new(MOST_ASKED)),
        }
    }

    /// The longest window that the server takes, as far as is known.
    pub(super) fn longest(&self) -> SignedDuration {
        *self.longest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Searches `window` to the end, and notes that in the catalogue. Returns how many objects could not
    /// be read.
    pub(super) async fn search(
        &self,
        window: &TimeWindow,
        purpose: Purpose,
        urgency: &Urgency,
        page_came: &(dyn Fn() + Sync),
    ) -> Result<usize, WalkError> {
        let walk = Walk {
            remote: &self.remote,
            catalogue: &self.catalogue,
            filter: &self.filter,
            urgency,
            page_came,
        };
        let walked = match walk.make(window).await {
            Err(WalkError::TooLong) => {
                let mut unreadable = 0;
                for piece in schedule::cut(window, LONGEST_IF_REFUSED) {
                    let walked = walk.make(&piece).await?;
                    unreadable += walked.unreadable;
                    self.conclude(&walk, &walked, purpose, urgency).await?;
                    // Only now is it known that the length was the matter.
                    self.shorten().await?;
                }
                return Ok(unreadable);
            }
            walked => walked?,
        };
        self.conclude(&walk, &walked, purpose, urgency).await?;
        Ok(walked.unreadable)
    }

    /// Remembers that seven days are too long.
    async fn shorten(&self) -> Result<(), CatalogueError> {
        if self.longest() == LONGEST_IF_REFUSED {
            return Ok(());
        }
        *self.longest.lock().unwrap_or_else(PoisonError::into_inner) = LONGEST_IF_REFUSED;
        tracing::info!("the server refuses a search of seven days; shorter ones are used");
        let catalogue = self.catalogue.clone();
        blocking(move || catalogue.learn(REFUSED, 1)).await
    }

    async fn conclude(
        &self,
        walk: &Walk<'_>,
        walked: &Walked,
        purpose: Purpose,
        urgency: &Urgency,
    ) -> Result<(), WalkError> {
        if walked.unreadable > 0 {
            tracing::warn!(
                objects = walked.unreadable,
                "a search showed objects that are no interactions; the listing lacks them"
            );
        }
        let suspects = self.judge(walked, purpose).await?;
        self.note(walked).await?;
        let few = if self.filter.is_empty() {
            FEW
        } else {
            FEW_WITH_FILTERS
        };
        if suspects.len() <= few {
            self.ask(suspects.iter().map(|(guid, _)| *guid), urgency)
                .await?;
        } else if let Some(hull) = hull(&suspects) {
            let again = walk.make(&hull.intersection(&walked.window)).await?;
            self.judge(&again, purpose).await?;
        }
        Ok(())
    }

    async fn note(&self, walked: &Walked) -> Result<(), CatalogueError> {
        let catalogue = self.catalogue.clone();
        let filter = self.filter.clone();
        let (window, at) = (walked.window, walked.at);
        blocking(move || catalogue.searched(&filter, window, at)).await
    }

    /// Counts what was missed. Returns those that no search will soon look for again.
    async fn judge(
        &self,
        walked: &Walked,
        purpose: Purpose,
    ) -> Result<Vec<(Guid, Timestamp)>, CatalogueError> {
        if walked.unreadable > 0 {
            return Ok(Vec::new());
        }
        let catalogue = self.catalogue.clone();
        let window = schedule::clip(&walked.window, walked.at);
        let (seen, at) = (walked.seen.clone(), walked.at);
        if self.filter.is_empty() {
            let suspects = blocking(move || catalogue.judge(&window, &seen, at)).await?;
            return Ok(match purpose {
                // The same window is searched again within minutes.
                Purpose::Newest | Purpose::Late => Vec::new(),
                _ => suspects,
            });
        }
        if purpose == Purpose::Newest {
            return Ok(Vec::new());
        }
        let missed = blocking(move || missed_by_filtered(&catalogue, &window, &seen)).await?;
        let now = self.catalogue.now();
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let mut suspects = Vec::new();
        for (guid, start) in missed {
            let is_due = asked
                .peek(&guid)
                .is_none_or(|asked| now.duration_since(*asked) >= ASK_AGAIN);
            if is_due && suspects.len() < FEW_WITH_FILTERS {
                asked.put(guid, now);
                suspects.push((guid, start));
            }
        }
        Ok(suspects)
    }

    /// Asks for interactions by GUID, and believes the answers that say something.
    async fn ask(
        &self,
        guids: impl Iterator<Item = Guid>,
        urgency: &Urgency,
    ) -> Result<(), CatalogueError> {
        for guid in guids {
            let (class, patience) = urgency();
            let terms = Terms {
                class: class.max(Class::Refresh),
                deadline: Instant::now() + patience,
                retries: RetryBudget::standard(),
            };
            let answer = self.remote.interaction(guid, terms).await;
            let catalogue = self.catalogue.clone();
            match answer {
                Ok(interaction) => {
                    blocking(move || catalogue.take_in(&[interaction])).await?;
                }
                Err(RemoteError::Gone) => {
                    blocking(move || {
                        catalogue.gone(guid);
                        Ok(())
                    })
                    .await?;
                }
                // The next search of the window tells.
                Err(_) => {}
            }
        }
        Ok(())
    }
}

/// The least window that holds all of them.
fn hull(suspects: &[(Guid, Timestamp)]) -> Option<TimeWindow> {
    let starts = suspects.iter().map(|(_, start)| *start);
    let last = starts.clone().max()?;
    Some(TimeWindow {
        from: starts.min()?,
        to: last.checked_add(SignedDuration::from_secs(1)).ok()?,
    })
}

/// What the filters admit of a window and is not among `seen`.
fn missed_by_filtered(
    catalogue: &Catalogue,
    window: &TimeWindow,
    seen: &[i64],
) -> Result<Vec<(Guid, Timestamp)>, CatalogueError> {
    let seen: HashSet<u64> = seen
        .iter()
        .map(|sequence| sequence.unsigned_abs())
        .collect();
    let listing = Listing {
        window: *window,
        agent: None,
    };
    let mut missed = Vec::new();
    let mut after = 0;
    loop {
        let page = catalogue.page(&listing, after, 4096)?;
        let Some(last) = page.last() else {
            return Ok(missed);
        };
        after = last.sequence;
        missed.extend(
            page.iter()
                .filter(|row| !seen.contains(&row.sequence))
                .map(|row| (row.guid, row.start)),
        );
    }
}
