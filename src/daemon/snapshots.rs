//! A sealed catalogue lives in memory: what it learns is written to disk now and then, and at the end.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tracing::warn;

use crate::catalogue::Catalogue;

/// How long what was learnt may wait before it is written: all of the catalogue is.
const EVERY: Duration = Duration::from_secs(60);

/// Writes the catalogue after changes, for as long as it is polled.
pub(super) async fn keep(catalogue: Arc<Catalogue>, mut changes: watch::Receiver<u64>) {
    while changes.changed().await.is_ok() {
        tokio::time::sleep(EVERY).await;
        write(&catalogue).await;
    }
}

/// Writes the catalogue now, if it has changed.
pub(super) async fn write(catalogue: &Arc<Catalogue>) {
    let catalogue = Arc::clone(catalogue);
    if let Ok(Err(error)) = tokio::task::spawn_blocking(move || catalogue.save()).await {
        warn!(%error, "the catalogue could not be written: the next mount searches again");
    }
}
