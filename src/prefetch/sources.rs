//! What prefetching needs of the layers below, as narrow traits, and what keeps them in a real process.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use crate::catalogue::{
    Catalogue, CatalogueError, KeptDay, Known, Listed, Listing, Progress as SearchProgress,
    Refresher,
};
use crate::content::{ContentError, Engine, Missing, Traits};
use crate::lane;
use crate::model::{ContentId, Day, Guid, TimeWindow};
use crate::remote::{Class, HttpRemote, Remote, RemoteError, RetryBudget, Terms};

/// How long a question about one interaction may wait for its turn and its answer.
const PATIENCE: Duration = Duration::from_secs(600);

/// A window that moves with the clock is taken for the listed one up to this difference.
const SAME: SignedDuration = SignedDuration::from_mins(2);

/// What exists.
pub trait Interactions: Send + Sync + 'static {
    /// The window that the mount lists just now.
    fn window(&self) -> TimeWindow;
    /// Waits until windows are known, by searches in the background.
    ///
    /// # Errors
    /// Why one can't be searched.
    fn searched(&self, windows: Vec<TimeWindow>) -> BoxFuture<'_, Result<(), RemoteError>>;
    /// Interactions of a window behind the row `after`. May read the disk.
    ///
    /// # Errors
    /// When the catalogue can't be read.
    fn page(&self, window: TimeWindow, after: u64) -> Result<Vec<Listed>, CatalogueError>;
    /// One that is known. May read the disk.
    ///
    /// # Errors
    /// When the catalogue can't be read.
    fn interaction(&self, guid: Guid) -> Result<Option<Arc<Known>>, CatalogueError>;
    /// One that is known, or that the API knows.
    ///
    /// # Errors
    /// When the API can't tell.
    fn find(&self, guid: Guid) -> BoxFuture<'_, Result<Option<Arc<Known>>, RemoteError>>;
    /// Grows when something may have changed.
    fn version(&self) -> u64;
    /// Waits until something may have changed, at most until the deadline.
    fn changed(&self, deadline: Instant) -> BoxFuture<'_, ()>;
}

/// The bytes of content versions.
pub trait Contents: Send + Sync + 'static {
    /// What is missing of one, and as many requests as it takes to have it.
    fn missing(&self, id: &ContentId, traits: Traits) -> BoxFuture<'static, Missing>;
    /// Fetches what is missing. Dropping the future calls it off.
    fn fetch(
        &self,
        id: &ContentId,
        traits: Traits,
        terms: Terms,
    ) -> BoxFuture<'static, Result<(), ContentError>>;
    /// Bytes of one that are held. Never blocks for long.
    fn held(&self, id: &ContentId) -> u64;
    /// Bytes that can be kept on disk; `None` when nothing can.
    fn room(&self) -> Option<u64>;
}

/// The request budget.
pub trait Pace: Send + Sync + 'static {
    /// How it stands.
    fn budget(&self) -> Budget;
    /// How long so many requests in the lowest class take, if nobody else asks.
    fn time_for(&self, requests: u64) -> Duration;
    /// From asking to an answer's first byte.
    fn latency(&self) -> Duration;
}

/// The request budget just now.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Budget {
    /// Requests a minute as set.
    pub configured: u32,
    /// Requests a minute as allowed now.
    pub limit: u32,
    /// Requests left in the present minute.
    pub left: u32,
}

/// The catalogue, what keeps it fresh, and the API for GUIDs that it doesn't know.
pub struct FreshInteractions {
    catalogue: Arc<Catalogue>,
    refresher: Arc<Refresher>,
    remote: Arc<dyn Remote>,
    fresh_for: SignedDuration,
}

impl std::fmt::Debug for FreshInteractions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FreshInteractions").finish_non_exhaustive()
    }
}

impl FreshInteractions {
    /// Puts them together. A listed window that reaches the present is known if it was last searched no longer
    /// ago than `fresh_for`.
    pub fn new(
        catalogue: Arc<Catalogue>,
        refresher: Arc<Refresher>,
        remote: Arc<dyn Remote>,
        fresh_for: Duration,
    ) -> Self {
        Self {
            catalogue,
            refresher,
            remote,
            fresh_for: SignedDuration::try_from(fresh_for).unwrap_or(SignedDuration::MAX),
        }
    }

    /// The days of `windows` that nobody searches unasked.
    fn days_outside(
        windows: &[TimeWindow],
        listed: &TimeWindow,
        now: Timestamp,
    ) -> Vec<(Day, TimeWindow)> {
        let is_listed = |part: &TimeWindow| {
            let (early, late) = (
                listed.from.duration_since(part.from),
                part.to.duration_since(listed.to.max(listed.from)),
            );
            !listed.is_empty() && early <= SAME && late <= SAME
        };
        let begun = |window: &TimeWindow| TimeWindow {
            from: window.from,
            to: window.to.min(now),
        };
        windows
            .iter()
            .map(begun)
            .flat_map(|window| {
                window
                    .days()
                    .into_iter()
                    .map(move |day| (day, day.window().intersection(&window)))
            })
            .filter(|(_, part)| !part.is_empty() && !is_listed(part))
            .collect()
    }

    async fn wait_until_searched(&self, windows: Vec<TimeWindow>) -> Result<(), RemoteError> {
        let now = Timestamp::now();
        let listed = self.refresher.window();
        let outside = Self::days_outside(&windows, &listed, now);
        // Content of them is about to be kept.
        self.refresher.sweep(outside.iter().map(|(day, _)| KeptDay {
            day: *day,
            is_cached: true,
        }));
        let mut parts: Vec<TimeWindow> = outside.iter().map(|(_, part)| *part).collect();
        parts.extend(
            windows
                .iter()
                .map(|window| window.intersection(&listed))
                .filter(|part| !part.is_empty()),
        );
        // Also up to the present, where the listed window ends there.
        let is_live = listed.to >= now.checked_sub(SAME).unwrap_or(now)
            && parts.iter().any(|part| part.to >= listed.to.min(now));
        loop {
            let mut is_complete = true;
            for part in &parts {
                match self.refresher.progress(part) {
                    SearchProgress::Complete => {}
                    SearchProgress::Searching => is_complete = false,
                    SearchProgress::Failed(error) => return Err(error),
                }
            }
            if is_complete && (!is_live || self.is_fresh()?) {
                return Ok(());
            }
            self.refresher
                .progressed(Instant::now() + Duration::from_secs(1))
                .await;
        }
    }

    fn is_fresh(&self) -> Result<bool, RemoteError> {
        let freshness = self.refresher.freshness();
        let is_fresh = freshness
            .newest
            .is_some_and(|newest| Timestamp::now().duration_since(newest) <= self.fresh_for);
        match freshness.error {
            Some(error) if !is_fresh && !freshness.searching => Err(error),
            _ => Ok(is_fresh),
        }
    }

    async fn known_or_asked(&self, guid: Guid) -> Result<Option<Arc<Known>>, RemoteError> {
        let catalogue = Arc::clone(&self.catalogue);
        if let Some(known) = off_the_runtime(move || catalogue.interaction(guid)).await? {
            return Ok(Some(known));
        }
        let terms = Terms {
            class: Class::Prefetch,
            deadline: Instant::now() + PATIENCE,
            retries: RetryBudget::standard(),
        };
        let interaction = match self.remote.interaction(guid, terms).await {
            Ok(interaction) => interaction,
            Err(RemoteError::Gone) => return Ok(None),
            Err(error) => return Err(error),
        };
        let catalogue = Arc::clone(&self.catalogue);
        off_the_runtime(move || {
            catalogue.observe(interaction);
            catalogue.interaction(guid)
        })
        .await
    }
}

async fn off_the_runtime<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, CatalogueError> + Send + 'static,
) -> Result<T, RemoteError> {
    lane::CATALOGUE
        .run(work)
        .await
        .and_then(Result::ok)
        .ok_or(RemoteError::Protocol("the catalogue could not be used"))
}

impl Interactions for FreshInteractions {
    fn window(&self) -> TimeWindow {
        self.refresher.window()
    }

    fn searched(&self, windows: Vec<TimeWindow>) -> BoxFuture<'_, Result<(), RemoteError>> {
        self.wait_until_searched(windows).boxed()
    }

    fn page(&self, window: TimeWindow, after: u64) -> Result<Vec<Listed>, CatalogueError> {
        let listing = Listing {
            window,
            agent: None,
        };
        self.catalogue.page(&listing, after, 1000)
    }

    fn interaction(&self, guid: Guid) -> Result<Option<Arc<Known>>, CatalogueError> {
        self.catalogue.interaction(guid)
    }

    fn find(&self, guid: Guid) -> BoxFuture<'_, Result<Option<Arc<Known>>, RemoteError>> {
        self.known_or_asked(guid).boxed()
    }

    fn version(&self) -> u64 {
        *self.refresher.subscribe().borrow()
    }

    fn changed(&self, deadline: Instant) -> BoxFuture<'_, ()> {
        let mut version = self.refresher.subscribe();
        async move {
            // A passed deadline is no error here.
            let _ = tokio::time::timeout_at(deadline, version.changed()).await;
        }
        .boxed()
    }
}

/// The read engine, and how much its disk may hold.
#[derive(Debug)]
pub struct KeptContents {
    engine: Arc<Engine>,
    disk_bytes: Option<u64>,
}

impl KeptContents {
    /// Puts them together; `disk_bytes` is `None` without a disk tier.
    pub fn new(engine: Arc<Engine>, disk_bytes: Option<u64>) -> Self {
        Self { engine, disk_bytes }
    }
}

impl Contents for KeptContents {
    fn missing(&self, id: &ContentId, traits: Traits) -> BoxFuture<'static, Missing> {
        let object = self.engine.object(id, traits);
        async move { object.missing().await }.boxed()
    }

    fn fetch(
        &self,
        id: &ContentId,
        traits: Traits,
        terms: Terms,
    ) -> BoxFuture<'static, Result<(), ContentError>> {
        let object = self.engine.object(id, traits);
        async move { object.fetch_for_later(terms).await }.boxed()
    }

    fn held(&self, id: &ContentId) -> u64 {
        self.engine.held_at_hand(id).unwrap_or(0)
    }

    fn room(&self) -> Option<u64> {
        self.disk_bytes.filter(|_| self.engine.usage().has_disk)
    }
}

/// The pace of an account.
#[derive(Debug)]
pub struct SharedPace(pub Arc<HttpRemote>);

impl Pace for SharedPace {
    fn budget(&self) -> Budget {
        let pace = self.0.counters().pace;
        Budget {
            configured: pace.configured,
            limit: pace.limit,
            left: pace.limit.saturating_sub(pace.granted),
        }
    }

    fn time_for(&self, requests: u64) -> Duration {
        self.0.time_for(Class::Prefetch, requests)
    }

    fn latency(&self) -> Duration {
        self.0.conditions().latency
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(from: &str, to: &str) -> TimeWindow {
        TimeWindow {
            from: from.parse().unwrap(),
            to: to.parse().unwrap(),
        }
    }

    #[test]
    fn only_days_outside_the_listed_window_are_asked_for() {
        let now: Timestamp = "2026-11-28T12:00:00Z".parse().unwrap();
        let listed = window("2026-11-22T00:00:00Z", "2026-11-29T00:00:00Z");
        let outside = |windows: &[TimeWindow]| {
            FreshInteractions::days_outside(windows, &listed, now)
                .into_iter()
                .map(|(day, _)| day.to_string())
                .collect::<Vec<_>>()
        };
        assert_eq!(outside(&[listed]), [] as [&str; 0]);
        let drifted = window("2026-11-21T23:59:30Z", "2026-11-29T00:00:00Z");
        assert_eq!(outside(&[drifted]), [] as [&str; 0]);
        let longer = window("2026-11-20T00:00:00Z", "2026-11-29T00:00:00Z");
        assert_eq!(outside(&[longer]), ["2026-11-21", "2026-11-20"]);
        let future = window("2026-12-01T00:00:00Z", "2026-12-02T00:00:00Z");
        assert_eq!(outside(&[future]), [] as [&str; 0]);
    }
}
