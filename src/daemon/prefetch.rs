//! Prefetching without a mount: the same parts, with nothing mounted on top.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;

use super::ending::{Endings, Hangup};
use super::parts::Purpose;
use super::{assembled, descriptors, forbid_core_dumps, privileges, runtime};
use crate::config::Config;
use crate::failure::Failure;
use crate::prefetch::{Event, Order};

/// How long the last bytes that came may take to be on disk.
const LAST_WRITES: Duration = Duration::from_secs(10);

/// A listing that was searched within this time is taken as it stands, so that a run makes no requests for it beside
/// those that it named; a watch searches as often as a mount.
const LISTING_HOLDS: Duration = Duration::from_secs(15 * 60);

/// Fetches what an order says, and passes on how it goes. Ends early on SIGINT and SIGTERM, and when its terminal hangs
/// up: then the last event is no [`Event::End`]. Blocks.
///
/// # Errors
/// Why it could not be begun.
pub fn prefetch(
    mut config: Config,
    order: Order,
    tell: impl FnMut(Event) + Send,
) -> Result<(), Failure> {
    forbid_core_dumps();
    if !order.watch {
        config.refresh = config.refresh.max(LISTING_HOLDS);
    }
    descriptors::take_all();
    privileges::give_up(&config, false);
    let runtime = runtime()?;
    let result = runtime.block_on(run(config, order, tell));
    runtime.shutdown_background();
    result
}

async fn run(
    config: Config,
    order: Order,
    mut tell: impl FnMut(Event) + Send,
) -> Result<(), Failure> {
    let mut endings = Endings::new(Hangup::Ends)
        .map_err(|error| Failure::found(format!("signals can't be received ({error})")))?;
    let config = Arc::new(config);
    let parts = assembled(&config, Purpose::Prefetch);
    let parts = endings.unless_signalled(parts).await?;
    let mut events = match parts.prefetch(order) {
        Ok(events) => events,
        Err(reason) => {
            parts.end(LAST_WRITES).await;
            return Err(Failure::found(reason));
        }
    };
    tokio::select! {
        () = async {
            while let Some(event) = events.next().await {
                tell(event);
            }
        } => {}
        _ = endings.wait(|| parts.reload()) => {}
    }
    drop(events);
    parts.end(LAST_WRITES).await;
    Ok(())
}
