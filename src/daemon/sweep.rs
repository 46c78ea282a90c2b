//! What is kept outside the window is searched again now and then, so that what is gone upstream leaves here too.
//!
//! Only the content cache knows what is cached, by hashes, and only the catalogue which day that is of: this
//! brings the two together. The refresher searches the days, in the lowest class, and what it misses leaves the
//! tree and the cache like anything else that is gone.

use std::sync::Arc;
use std::time::Duration;

use tracing::warn;

use crate::catalogue::{Catalogue, Refresher};
use crate::content::Engine;

/// How long after the mount it is looked for the first time: the first minutes are the reader's.
const FIRST: Duration = Duration::from_secs(600);

/// How often it is looked again which days are due.
const EVERY: Duration = Duration::from_secs(3600);

/// Looks for days to search.
#[derive(Debug)]
pub struct Sweep {
    /// What is known.
    pub catalogue: Arc<Catalogue>,
    /// What is cached.
    pub engine: Arc<Engine>,
    /// Who searches.
    pub refresher: Arc<Refresher>,
}

impl Sweep {
    /// Sweeps for as long as it is polled.
    pub(super) async fn keep(self) {
        let mut pause = FIRST;
        loop {
            tokio::time::sleep(pause).await;
            self.once().await;
            pause = EVERY;
        }
    }

    /// Has the days searched that are due. Returns when that is arranged, not when it is done.
    pub async fn once(&self) {
        let (catalogue, engine) = (Arc::clone(&self.catalogue), Arc::clone(&self.engine));
        let window = self.refresher.window();
        let kept = tokio::task::spawn_blocking(move || {
            let cached = engine.cached_interactions();
            catalogue.kept_outside(&window, &|guid| cached.contains(guid))
        });
        match kept.await {
            Ok(Ok(kept)) => self.refresher.sweep(kept),
            Ok(Err(error)) => warn!(%error, "what is kept outside the window is not known"),
            // The runtime is ending.
            Err(_) => {}
        }
    }
}
