//! The first words with the API, when there is no catalogue to show meanwhile: a mount that would have nothing to
//! show is not made, and whoever asked for it is told why.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::catalogue::{Catalogue, Progress, Refresher};
use crate::failure::Failure;
use crate::remote::{Class, HttpRemote, RemoteError, RetryBudget, Terms};

/// How long the first token may take, when there is no catalogue to show meanwhile.
const FIRST_TOKEN: Duration = Duration::from_secs(30);

/// How long the first page of a search may take, when there is no catalogue to show meanwhile. Longer than one
/// connection may take to come about.
const FIRST_PAGE: Duration = Duration::from_secs(12);

/// Gets the first token.
///
/// # Errors
/// Why there is none, in words for the user.
pub(super) async fn try_credentials(http: &HttpRemote) -> Result<(), Failure> {
    let terms = Terms {
        class: Class::Reader,
        deadline: Instant::now() + FIRST_TOKEN,
        retries: RetryBudget::with_tries(2),
    };
    http.check_credentials(terms).await.map_err(|error| {
        Failure::found(match error {
            RemoteError::Unauthorized { reason } => format!(
                "the credentials are refused ({reason}): check --client-id, the secret and the region"
            ),
            RemoteError::Unreachable(reason) | RemoteError::Connection(reason) => format!(
                "the token server can't be reached ({reason}): check the network, --region or --auth-url, and any proxy"
            ),
            RemoteError::Status(status @ 400..500) => format!(
                "no token could be had (status {status}): check --auth-url, which is the whole address of the token \
                 endpoint, or --region"
            ),
            other => format!("no token could be had: {other}; 'interactionfs doctor' looks closer"),
        })
    })
}

/// Waits for the first page of the search that the mount makes anyway: no request is made for this.
///
/// # Errors
/// When the API can't be reached, or will not have these credentials: then there will be nothing to show. What may
/// pass (a server in trouble or slow) is no reason not to mount.
pub(super) async fn await_first_page(
    http: &HttpRemote,
    catalogue: &Arc<Catalogue>,
    refresher: &Refresher,
) -> Result<(), Failure> {
    let deadline = Instant::now() + FIRST_PAGE;
    let window = refresher.window();
    let mut news = refresher.subscribe();
    loop {
        match refresher.standing(&window) {
            Progress::Complete => return Ok(()),
            Progress::Failed(error) => return nothing_to_show(&error).map_or(Ok(()), Err),
            Progress::Searching => {}
        }
        let catalogue = Arc::clone(catalogue);
        let is_empty = tokio::task::spawn_blocking(move || catalogue.is_empty()).await;
        if !is_empty.unwrap_or(false) {
            return Ok(());
        }
        match tokio::time::timeout_at(deadline, news.changed()).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Ok(()),
            Err(_) => {
                let search = http.counters().search;
                let is_silent = search.broken > 0 && search.total() == search.broken;
                let unreachable = RemoteError::Unreachable("timed out");
                return match nothing_to_show(&unreachable) {
                    Some(failure) if is_silent => Err(failure),
                    _ => Ok(()),
                };
            }
        }
    }
}

/// Why a mount whose first search failed is not made; `None` for what may pass.
fn nothing_to_show(error: &RemoteError) -> Option<Failure> {
    let message = match error {
        RemoteError::Unreachable(reason) => format!(
            "the API can't be reached ({reason}): check the network, --region or --api-url, and any proxy"
        ),
        RemoteError::Unauthorized { reason } => format!(
            "the API refuses the credentials ({reason}): check --region, and that the credentials are for this API"
        ),
        RemoteError::Forbidden => {
            "the credentials may not search: their user needs the permission to view \
             interaction content, and the scope interaction-content:read"
                .to_owned()
        }
        RemoteError::Gone => {
            "the API has no search at this address: check --region, or --api-url, which ends in \
             /interaction-content"
                .to_owned()
        }
        _ => return None,
    };
    Some(Failure::found(message))
}
