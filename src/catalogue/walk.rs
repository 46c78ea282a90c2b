//! One search from its first page to its last, whatever the server does.
//!
//! Pages go into the catalogue as they come. A walk that returns showed all of its window; one that can't
//! be sure of that ends in an error. It never loops: a token that comes again, too many pages, and pages
//! without end that bring nothing new end it (API reference, 5.3).

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use super::schedule::LONGEST_IF_REFUSED;
use super::{Catalogue, CatalogueError};
use crate::lane::{self, Lane};
use crate::model::{Interaction, SearchFilter, TimeWindow};
use crate::remote::{Class, Remote, RemoteError, RetryBudget, SearchPage, SearchRequest, Terms};

/// The most pages of one window.
const MOST_PAGES: usize = 10_000;

/// The most pages in a row that show nothing the walk hasn't met.
const MOST_PAGES_WITHOUT_NEWS: usize = 200;

/// What a walk needs.
pub(super) struct Walk<'a> {
    pub(super) remote: &'a Arc<dyn Remote>,
    pub(super) catalogue: &'a Arc<Catalogue>,
    pub(super) filter: &'a SearchFilter,
    /// How urgent the next page is, and how long it is of use.
    pub(super) urgency: &'a (dyn Fn() -> (Class, Duration) + Sync),
    /// Told after each page is in the catalogue.
    pub(super) page_came: &'a (dyn Fn() + Sync),
}

/// A walk that was made to the end.
#[derive(Debug)]
pub(super) struct Walked {
    /// What was asked for: whole seconds.
    pub(super) window: TimeWindow,
    /// When the first page was asked for.
    pub(super) at: Timestamp,
    /// The sequences of the interactions it showed, sorted.
    pub(super) seen: Vec<i64>,
    /// How many objects were no interactions.
    pub(super) unreadable: usize,
}

/// Why a walk didn't come to its end.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum WalkError {
    /// The API's doing.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// The disk's.
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
    /// The server refuses windows of this length.
    #[error("the window is too long for the server")]
    TooLong,
}

impl WalkError {
    /// As whoever waits for a listing is told.
    pub(super) fn for_readers(&self) -> RemoteError {
        match self {
            Self::Remote(error) => error.clone(),
            Self::Catalogue(_) => RemoteError::Protocol("the catalogue could not take it in"),
            Self::TooLong => RemoteError::Status(400),
        }
    }
}

impl Walk<'_> {
    /// Searches a window to its last page.
    pub(super) async fn make(&self, window: &TimeWindow) -> Result<Walked, WalkError> {
        let window = whole_seconds(window);
        match self.once(window).await {
            // A refused token: the window is started over, never resumed with a guess.
            Err(Stopped::TokenRefused) => match self.once(window).await {
                Err(Stopped::TokenRefused) => {
                    Err(RemoteError::Protocol("a continuation token was refused twice").into())
                }
                Err(Stopped::Error(error)) => Err(error),
                Ok(walked) => Ok(walked),
            },
            Err(Stopped::Error(error)) => Err(error),
            Ok(walked) => Ok(walked),
        }
    }

    async fn once(&self, window: TimeWindow) -> Result<Walked, Stopped> {
        let at = self.catalogue.now();
        let mut request = SearchRequest {
            window,
            filter: self.filter.clone(),
            continuation: None,
        };
        let mut tokens: HashSet<u64> = HashSet::new();
        let mut seen: HashSet<i64> = HashSet::new();
        let mut unreadable = 0;
        let mut without_news = 0;
        let mut page = self.page(&request).await?;
        for _ in 0..MOST_PAGES {
            unreadable += page.unreadable;
            let is_last = page.continuation.is_none();
            let next = page.continuation.filter(|next| {
                tokens.insert(xxhash_rust::xxh3::xxh3_64(next.0.reveal().as_bytes()))
            });
            let has_next = next.is_some();
            request.continuation = next;
            let met = seen.len();
            // The next page is on its way while this one is written.
            let (taken, following) = tokio::join!(self.take_in(page.interactions), async {
                match has_next {
                    true => self.page(&request).await.map(Some),
                    false => Ok(None),
                }
            });
            seen.extend(taken?);
            if is_last {
                let mut seen: Vec<i64> = seen.into_iter().collect();
                seen.sort_unstable();
                return Ok(Walked {
                    window,
                    at,
                    seen,
                    unreadable,
                });
            }
            page = following?.ok_or_else(|| broken("a continuation token came again"))?;
            without_news = if seen.len() == met {
                without_news + 1
            } else {
                0
            };
            if without_news >= MOST_PAGES_WITHOUT_NEWS {
                return Err(broken("page after page brings nothing new"));
            }
        }
        Err(broken("a search does not end"))
    }

    async fn take_in(&self, interactions: Vec<Interaction>) -> Result<Vec<i64>, CatalogueError> {
        let mut sequences = Vec::new();
        if !interactions.is_empty() {
            let catalogue = self.catalogue.clone();
            sequences = blocking(move || catalogue.take_in(&interactions)).await?;
        }
        (self.page_came)();
        Ok(sequences)
    }

    async fn page(&self, request: &SearchRequest) -> Result<SearchPage, Stopped> {
        let (class, patience) = (self.urgency)();
        let terms = Terms {
            class,
            deadline: Instant::now() + patience,
            retries: RetryBudget::standard(),
        };
        let length = request.window.to.duration_since(request.window.from);
        match self.remote.search(request, terms).await {
            Ok(page) => Ok(page),
            Err(RemoteError::Status(400)) if request.continuation.is_some() => {
                Err(Stopped::TokenRefused)
            }
            Err(RemoteError::Status(400)) if length > LONGEST_IF_REFUSED => {
                Err(WalkError::TooLong.into())
            }
            Err(error) => Err(WalkError::from(error).into()),
        }
    }
}

enum Stopped {
    TokenRefused,
    Error(WalkError),
}

impl<E: Into<WalkError>> From<E> for Stopped {
    fn from(error: E) -> Self {
        Self::Error(error.into())
    }
}

fn broken(how: &'static str) -> Stopped {
    RemoteError::Protocol(how).into()
}

/// Runs what may block on the disk where that is allowed.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, CatalogueError> + Send + 'static,
) -> Result<T, CatalogueError> {
    blocking_in(&lane::CATALOGUE, work).await
}

/// The same on the threads of a lane.
pub(super) async fn blocking_in<T: Send + 'static>(
    lane: &'static Lane,
    work: impl FnOnce() -> Result<T, CatalogueError> + Send + 'static,
) -> Result<T, CatalogueError> {
    let done = lane.run(work).await;
    done.unwrap_or_else(|| Err(CatalogueError("a task ended early".into())))
}

/// The least window of whole seconds around another: what is sent is what is judged.
fn whole_seconds(window: &TimeWindow) -> TimeWindow {
    let floor = |time: Timestamp| {
        Timestamp::from_second(time.as_nanosecond().div_euclid(1_000_000_000) as i64)
            .unwrap_or(time)
    };
    let to = floor(window.to);
    TimeWindow {
        from: floor(window.from),
        to: if to < window.to {
            to.checked_add(SignedDuration::from_secs(1))
                .unwrap_or(window.to)
        } else {
            to
        },
    }
}
