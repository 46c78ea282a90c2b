//! The API with every request in the lowest class: for a process that does nothing but prefetch, so that also its
//! searches give way to whoever reads.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::time::Instant;

use crate::model::{Guid, Interaction};
use crate::remote::{
    Class, Conditions, ContentAnswer, ContentRequest, Remote, RemoteError, SearchPage,
    SearchRequest, Terms,
};

/// How long a request may wait for its turn: nobody waits for the answer, and the lowest class's share of a
/// minute may be used up.
const PATIENCE: Duration = Duration::from_secs(600);

/// Another remote, asked in the lowest class only.
pub struct LowestClass(pub Arc<dyn Remote>);

impl std::fmt::Debug for LowestClass {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LowestClass")
    }
}

fn lowered(terms: Terms) -> Terms {
    Terms {
        class: Class::Prefetch,
        deadline: terms.deadline.max(Instant::now() + PATIENCE),
        retries: terms.retries,
    }
}

impl Remote for LowestClass {
    fn search<'a>(
        &'a self,
        request: &'a SearchRequest,
        terms: Terms,
    ) -> BoxFuture<'a, Result<SearchPage, RemoteError>> {
        self.0.search(request, lowered(terms))
    }

    fn interaction(
        &self,
        guid: Guid,
        terms: Terms,
    ) -> BoxFuture<'_, Result<Interaction, RemoteError>> {
        self.0.interaction(guid, lowered(terms))
    }

    fn content(
        &self,
        request: ContentRequest,
        terms: Terms,
    ) -> BoxFuture<'_, Result<ContentAnswer, RemoteError>> {
        self.0.content(request, lowered(terms))
    }

    fn conditions(&self) -> Conditions {
        self.0.conditions()
    }
}
