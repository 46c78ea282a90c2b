//! The API of a mount that makes no requests.

use std::time::Duration;

use futures::future::{self, BoxFuture, FutureExt};

use super::{
    Conditions, ContentAnswer, ContentRequest, Remote, RemoteError, SearchPage, SearchRequest,
    Terms,
};
use crate::model::{Guid, Interaction};

/// Answers every call with [`RemoteError::Offline`] and opens no connection: for `--offline`.
#[derive(Clone, Copy, Debug, Default)]
pub struct OfflineRemote;

impl Remote for OfflineRemote {
    fn search<'a>(
        &'a self,
        _request: &'a SearchRequest,
        _terms: Terms,
    ) -> BoxFuture<'a, Result<SearchPage, RemoteError>> {
        future::ready(Err(RemoteError::Offline)).boxed()
    }

    fn interaction(
        &self,
        _guid: Guid,
        _terms: Terms,
    ) -> BoxFuture<'_, Result<Interaction, RemoteError>> {
        future::ready(Err(RemoteError::Offline)).boxed()
    }

    fn content(
        &self,
        _request: ContentRequest,
        _terms: Terms,
    ) -> BoxFuture<'_, Result<ContentAnswer, RemoteError>> {
        future::ready(Err(RemoteError::Offline)).boxed()
    }

    fn is_offline(&self) -> bool {
        true
    }

    fn conditions(&self) -> Conditions {
        Conditions {
            budget_left: 0,
            budget_is_idle: false,
            latency: Duration::ZERO,
        }
    }
}
