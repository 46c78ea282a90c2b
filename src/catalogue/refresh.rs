//! The task that keeps the catalogue fresh, and what the rest of the program may ask of it.
//!
//! One task looks at the schedule, begins what is due, and sleeps until more is. Searches are tasks of
//! their own. All of them end with the last [`Refresher`].

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Notify, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

use super::demand::Demands;
use super::schedule::{self, PAGE_FILL, Present, Purpose, Search};
use super::search::Searcher;
use super::state::{Now, State};
use super::walk::{WalkError, blocking};
use super::{Catalogue, CatalogueError, Changes, Clock, KeptDay, Known, Progress, Settings};
use crate::model::{Day, Guid, TimeWindow};
use crate::remote::{Class, Remote, RemoteError};

/// How long the task sleeps at most: the system's clock may jump while it does.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);

/// How long [`Refresher::progressed`] waits at most while a search is under way: what happened between a
/// caller's look and its wait must not be missed.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// For how long a waiting reader's page is of use.
const READERS_PATIENCE: Duration = Duration::from_secs(60);

/// For how long a page is of use that nobody waits for.
const PATIENCE: Duration = Duration::from_secs(600);

/// How fresh the catalogue is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Freshness {
    /// Up to when new interactions are known: the beginning of the last search for them.
    pub newest: Option<Timestamp>,
    /// When that part of the last 24 hours was searched that was searched longest ago.
    pub last_day: Option<Timestamp>,
    /// When that part of the listed window was searched that was searched longest ago.
    pub window: Option<Timestamp>,
    /// Objects that the last searches showed and that were no interactions.
    pub unreadable: u64,
    /// Why the last search failed, if none made it good since.
    pub error: Option<RemoteError>,
    /// Whether a search is under way.
    pub searching: bool,
    /// When the next one begins.
    pub next: Option<Timestamp>,
}

/// The schedule of searches, and the answers to demands.
#[derive(Debug)]
pub struct Refresher {
    shared: Arc<Shared>,
    task: Option<JoinHandle<()>>,
}

struct Shared {
    catalogue: Arc<Catalogue>,
    searcher: Searcher,
    demands: Arc<Demands>,
    /// Held so that the catalogue's weak reference lives as long as this.
    _changes: Arc<dyn Changes>,
    settings: Settings,
    refresh: SignedDuration,
    clock: Clock,
    state: Mutex<State>,
    kick: Notify,
    version: watch::Sender<u64>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shared")
    }
}

impl Drop for Refresher {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

impl Refresher {
    /// Starts refreshing on the current tokio runtime; ends when the last `Arc` is dropped.
    pub fn start(
        catalogue: Arc<Catalogue>,
        remote: Arc<dyn Remote>,
        changes: Arc<dyn Changes>,
        settings: Settings,
    ) -> Arc<Self> {
        Self::start_at_clock(catalogue, remote, changes, settings, Clock::System)
    }

    /// Like [`Self::start`], by another clock.
    pub fn start_at_clock(
        catalogue: Arc<Catalogue>,
        remote: Arc<dyn Remote>,
        changes: Arc<dyn Changes>,
        settings: Settings,
        clock: Clock,
    ) -> Arc<Self> {
        catalogue.attach(&settings, clock, Some(Arc::downgrade(&changes)));
        // Read here, so that a listing right after the start is answered from what is known.
        let coverage = catalogue
            .coverage(&settings.filter)
            .unwrap_or_else(|error| {
                tracing::warn!(%error, "what was searched before is not known");
                super::coverage::Coverage::default()
            });
        let shared = Arc::new(Shared {
            searcher: Searcher::new(remote.clone(), catalogue.clone(), settings.filter.clone()),
            demands: Arc::new(Demands::new(remote, catalogue.clone(), settings.refresh)),
            catalogue,
            _changes: changes,
            refresh: SignedDuration::try_from(settings.refresh)
                .unwrap_or(SignedDuration::MAX)
                .max(SignedDuration::from_secs(1)),
            clock,
            state: Mutex::new(State::new(coverage)),
            kick: Notify::new(),
            version: watch::Sender::new(0),
            settings,
        });
        let task = (!shared.settings.offline).then(|| tokio::spawn(run(shared.clone())));
        Arc::new(Self { shared, task })
    }

    /// The window that the root lists just now.
    pub fn window(&self) -> TimeWindow {
        self.shared.settings.window.at(self.shared.clock.now())
    }

    /// How far a window has been searched. One that is neither the listed window's nor a demanded day's is
    /// never searched, so its state doesn't change. Offline, neither does any: what lies behind the last search
    /// is taken for the future, but a stretch that was never searched has failed.
    ///
    /// Asking is taken as waiting: it hurries the search, and has one that failed some seconds ago
    /// tried again.
    pub fn progress(&self, window: &TimeWindow) -> Progress {
        let now = self.shared.now();
        if self.shared.settings.offline {
            return self.shared.state().progress_offline(window, &now);
        }
        let (progress, kick) = self.shared.state().progress(window, &now);
        if kick {
            self.shared.kick.notify_one();
        }
        progress
    }

    /// Like [`Self::progress`], without being taken as waiting.
    pub fn standing(&self, window: &TimeWindow) -> Progress {
        let now = self.shared.now();
        let state = self.shared.state();
        if self.shared.settings.offline {
            state.progress_offline(window, &now)
        } else {
            state.standing(window, &now)
        }
    }

    /// Waits until [`Self::progress`] may have changed or rows may have come, at most until the deadline.
    /// May return early.
    pub async fn progressed(&self, deadline: Instant) {
        let mut version = self.shared.version.subscribe();
        let until = if self.shared.settings.offline {
            deadline
        } else {
            deadline.min(Instant::now() + LOOK_AGAIN)
        };
        // A passed deadline is no error here.
        let _ = tokio::time::timeout_at(until, version.changed()).await;
    }

    /// A counter that grows whenever [`Self::progress`] may have changed or rows may have come: subscribed
    /// to before a look, it misses nothing.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.shared.version.subscribe()
    }

    /// An interaction, asked of the API if no listing showed it; `None` if there is none, which is remembered for
    /// one refresh, or if the mount is offline and doesn't know it. Asked once for all who want it at the same time.
    ///
    /// # Errors
    /// [`RemoteError`] when the API can't tell before the deadline.
    pub async fn find(
        &self,
        guid: Guid,
        deadline: Instant,
    ) -> Result<Option<Arc<Known>>, RemoteError> {
        let demands = &self.shared.demands;
        if self.shared.settings.offline {
            return demands.known(guid, deadline).await;
        }
        demands.find(guid, deadline).await
    }

    /// Asks the API for an interaction, also for one that is known: after an item of it proved gone or
    /// changed. What it answers is announced like any other change.
    ///
    /// # Errors
    /// [`RemoteError`] when the API can't tell before the deadline.
    pub async fn reread(
        &self,
        guid: Guid,
        deadline: Instant,
    ) -> Result<Option<Arc<Known>>, RemoteError> {
        if self.shared.settings.offline {
            return Err(RemoteError::Offline);
        }
        self.shared.demands.ask(guid, deadline).await
    }

    /// Sees to it that a day outside the window has been searched; rows come as pages arrive ([`Self::progress`]
    /// of the day's window tells). Returns at once.
    pub fn demand_day(&self, day: Day) {
        if self.shared.settings.offline {
            return;
        }
        let now = self.shared.now();
        if self.shared.state().demand(day, &now) {
            self.shared.kick.notify_one();
        }
    }

    /// Sees to it that days of which content is cached are searched once a day, and days that are only known once
    /// a week, at the lowest class, so that what is gone upstream leaves here too. To be told about once an
    /// hour. Returns at once.
    pub fn sweep(&self, days: impl IntoIterator<Item = KeptDay>) {
        if self.shared.settings.offline {
            return;
        }
        let now = self.shared.now();
        self.shared.state().sweep(days.into_iter(), &now);
        self.shared.kick.notify_one();
    }

    /// How fresh the catalogue is. Never blocks.
    pub fn freshness(&self) -> Freshness {
        let now = self.shared.now();
        let clip = schedule::clip(&now.listed, now.time);
        let day_ago = now
            .time
            .checked_sub(SignedDuration::from_hours(24))
            .unwrap_or(Timestamp::MIN);
        let last_day = TimeWindow {
            from: clip.from.max(day_ago),
            to: clip.to,
        };
        let state = self.shared.state();
        Freshness {
            newest: state.coverage.frontier(&clip, Timestamp::MIN),
            last_day: state.coverage.oldest(&last_day),
            window: state.coverage.oldest(&clip),
            unreadable: state.unreadable,
            error: state.error(),
            searching: state.is_searching(),
            next: state.next,
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Now {
        // Whole seconds, as they are sent: a window of exactly seven days must not become longer.
        let time = self.clock.now();
        let time = Timestamp::from_second(time.as_second()).unwrap_or(time);
        Now {
            time,
            refresh: self.refresh,
            listed: self.settings.window.at(time),
            longest: self.searcher.longest(),
        }
    }

    fn changed(&self) {
        self.version.send_modify(|version| *version += 1);
    }

    /// What is due, with fresh numbers from the catalogue.
    async fn plan(&self, now: &Now) -> Result<Vec<Search>, CatalogueError> {
        let catalogue = self.catalogue.clone();
        let filter = self.settings.filter.clone();
        let time = now.time;
        let (others_wrote, coverage, reach, per_day) = blocking(move || {
            let others_wrote = catalogue.keep_house()?;
            let day = TimeWindow {
                from: time
                    .checked_sub(SignedDuration::from_hours(24))
                    .unwrap_or(Timestamp::MIN),
                to: time,
            };
            Ok((
                others_wrote,
                catalogue.coverage(&filter)?,
                catalogue.store.start_of_rank(PAGE_FILL, time)?,
                catalogue.store.count(Some(&day))?,
            ))
        })
        .await?;
        let mut plan = schedule::plan(&Present {
            now: time,
            window: now.listed,
            coverage: &coverage,
            refresh: now.refresh,
            reach,
            per_day,
            longest: now.longest,
        });
        let mut state = self.state();
        state.coverage = coverage;
        if others_wrote {
            state.others = Some(now.time);
        }
        // Mounts that share a catalogue would all search at the same moment: the first spares the others.
        let is_shared = state.others.is_some_and(|others| {
            now.time.duration_since(others) < SignedDuration::from_mins(10).max(now.refresh * 2)
        });
        if is_shared {
            let turn = SignedDuration::from_secs(i64::from(std::process::id() % 8));
            for search in plan.iter_mut().filter(|s| s.purpose != Purpose::Missing) {
                search.due = search.due.checked_add(turn).unwrap_or(search.due);
            }
        }
        Ok(plan)
    }

    /// How urgent a page of a search is.
    fn urgency(&self, search: &Search) -> (Class, Duration) {
        let is_newest = search.window.to >= self.clock.now();
        let somebody_waits = || self.state().somebody_waits(self.clock.now());
        match search.purpose {
            Purpose::Day => (Class::Reader, READERS_PATIENCE),
            Purpose::Missing if is_newest || somebody_waits() => (Class::Reader, READERS_PATIENCE),
            Purpose::CachedDay => (Class::Prefetch, PATIENCE),
            _ => (Class::Refresh, PATIENCE),
        }
    }

    async fn search(self: Arc<Self>, search: Search) -> Result<usize, WalkError> {
        let urgency = {
            let shared = self.clone();
            move || shared.urgency(&search)
        };
        let page_came = || self.changed();
        self.searcher
            .search(&search.window, search.purpose, &urgency, &page_came)
            .await
    }

    /// Takes the end of a search into the state, so that readers see it at once.
    async fn ended(&self, search: &Search, result: Result<usize, WalkError>) {
        let catalogue = self.catalogue.clone();
        let filter = self.settings.filter.clone();
        let coverage = blocking(move || catalogue.coverage(&filter)).await;
        let now = self.now();
        let mut state = self.state();
        let result = match (result, coverage) {
            (Ok(unreadable), Ok(coverage)) => {
                state.coverage = coverage;
                if unreadable > 0 || search.purpose != Purpose::Newest {
                    state.unreadable = unreadable as u64;
                }
                Ok(())
            }
            (Err(error), _) => Err(error),
            (_, Err(error)) => Err(error.into()),
        };
        if let Err(error) = &result {
            tracing::warn!(%error, purpose = ?search.purpose, "a search failed");
        }
        state.ended(search, &result, &now);
        drop(state);
        self.changed();
    }
}

async fn run(shared: Arc<Shared>) {
    let mut searches = JoinSet::new();
    let mut under_way = HashMap::new();
    loop {
        let now = shared.now();
        match shared.plan(&now).await {
            Ok(plan) => {
                let begun = shared.state().begin(plan, &now);
                for search in begun {
                    let task = searches.spawn(shared.clone().search(search));
                    under_way.insert(task.id(), search);
                }
            }
            Err(error) => {
                tracing::warn!(%error, "the schedule can't be made");
                shared.state().cannot_plan(error, &now);
                shared.changed();
            }
        }
        let next = shared.state().next;
        let sleep = next.map_or(LONGEST_SLEEP, |next| {
            // The schedule counts whole seconds: a fraction earlier nothing would be due yet.
            let next = Timestamp::from_second(next.as_second() + 1).unwrap_or(next);
            Duration::try_from(next.duration_since(shared.clock.now()))
                .unwrap_or_default()
                .clamp(Duration::from_millis(10), LONGEST_SLEEP)
        });
        tokio::select! {
            () = tokio::time::sleep(sleep) => {}
            () = shared.kick.notified() => {}
            Some(ended) = searches.join_next_with_id(), if !searches.is_empty() => {
                let (task, result) = ended.unwrap_or_else(|error| {
                    (error.id(), Err(CatalogueError("a search broke down".into()).into()))
                });
                if let Some(search) = under_way.remove(&task) {
                    shared.ended(&search, result).await;
                }
            }
        }
    }
}
