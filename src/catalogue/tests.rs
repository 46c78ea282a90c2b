//! The catalogue as a whole, against a server in memory and on paused time.

mod damage;
mod demand;
mod disk;
mod fresh;
mod lies;
mod life;
mod listing;

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use super::testing::{FakeRemote, Heard, base, build, guid, page_of};
use super::*;
use crate::model::Day;

const REFRESH: Duration = Duration::from_secs(60);

fn settings() -> Settings {
    Settings {
        window: WindowSpec::Days(7),
        filter: SearchFilter::default(),
        refresh: REFRESH,
        offline: false,
        max_age: Duration::from_secs(30 * 86_400),
    }
}

/// An interaction that started `minutes` before the tests' clock began.
fn ago(number: u32, minutes: i64) -> Interaction {
    let start = base() - SignedDuration::from_mins(minutes);
    build(number, start, "inbound", &["7"], &["callRecording"])
}

fn day_of(minutes: i64) -> Day {
    Day::of(base() - SignedDuration::from_mins(minutes))
}

struct Mount {
    catalogue: Arc<Catalogue>,
    remote: Arc<FakeRemote>,
    heard: Arc<Heard>,
    refresher: Arc<Refresher>,
}

impl Mount {
    fn new(remote: &Arc<FakeRemote>, settings: Settings) -> Self {
        Self::on(Catalogue::in_memory().unwrap(), remote, settings, base())
    }

    fn on(
        catalogue: Catalogue,
        remote: &Arc<FakeRemote>,
        settings: Settings,
        now: Timestamp,
    ) -> Self {
        let catalogue = Arc::new(catalogue);
        let heard = Arc::new(Heard::default());
        let refresher = Refresher::start_at_clock(
            catalogue.clone(),
            remote.clone(),
            heard.clone(),
            settings,
            Clock::following_tokio(now),
        );
        Self {
            catalogue,
            remote: remote.clone(),
            heard,
            refresher,
        }
    }

    /// Waits until a window is no longer being searched.
    async fn settled(&self, window: &TimeWindow) -> Progress {
        let deadline = Instant::now() + Duration::from_secs(3600);
        loop {
            match self.refresher.progress(window) {
                Progress::Searching => {
                    assert!(Instant::now() < deadline, "it never settles");
                    self.refresher.progressed(deadline).await;
                }
                settled => return settled,
            }
        }
    }

    async fn listed(&self) -> Vec<Guid> {
        let window = self.refresher.window();
        assert_eq!(self.settled(&window).await, Progress::Complete);
        self.rows(&window)
    }

    fn rows(&self, window: &TimeWindow) -> Vec<Guid> {
        let listing = Listing {
            window: *window,
            agent: None,
        };
        let mut guids = Vec::new();
        let mut after = 0;
        loop {
            let page = self.catalogue.page(&listing, after, 7).unwrap();
            let Some(last) = page.last() else {
                return guids;
            };
            after = last.sequence;
            guids.extend(page.iter().map(|row| row.guid));
        }
    }

    /// Lets time pass, and the searches that begin in it end.
    async fn pass(&self, time: Duration) {
        tokio::time::sleep(time).await;
        while self.refresher.freshness().searching {
            self.refresher.progressed(Instant::now() + REFRESH).await;
        }
    }

    fn requests(&self) -> usize {
        self.remote.searches().len() + self.remote.reads()
    }
}
