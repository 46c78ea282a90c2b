//! The Interaction Content API as the rest of the program sees it.
//!
//! [`Remote`] is the whole of it: search a window, read one interaction, read bytes of one item. Its
//! implementation, [`HttpRemote`], owns the token, the pace and the retries of everything up to an
//! answer's first byte; HTTP types stay below this module. What it promises: an answer's bytes are
//! exactly those that were promised, in order, beginning where it says, or the body ends in an error.
//! It knows no block, no cache and no inode.

mod content;
mod content_range;
mod counters;
mod endpoints;
#[cfg(test)]
mod fuzz;
mod http;
mod names;
mod offline;
mod pacer;
mod redirect;
mod retry;
mod retry_after;
mod search;
mod secret;
mod status;
mod token;
mod urgency;
mod wire;

use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use tokio::time::Instant;

pub use counters::{Counters, PaceCounters, RecentError, RequestCounters};
pub use endpoints::{BadEndpoint, Endpoints};
pub use http::{HttpRemote, Settings};
pub use offline::OfflineRemote;
pub use retry::RetryBudget;
pub use search::PageGuard;
pub use secret::SecretSlot;
pub use token::AuthMethod;
pub use urgency::Urgency;
pub use wire::SetupError;

use crate::model::{ContentKey, Guid, Interaction, SearchFilter, TimeWindow};

/// Why a request is made. Waiting readers come before refreshes, refreshes before prefetches.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Class {
    /// A program waits for the answer.
    Reader,
    /// The catalogue keeps itself fresh.
    Refresh,
    /// Nobody has asked yet.
    Prefetch,
}

/// On what terms a call is made: how urgent it is, until when it is of use, and what retries are left.
///
/// Clones share one retry budget: whoever resumes a broken body draws on what the first byte's retries
/// left over.
#[derive(Clone, Debug)]
pub struct Terms {
    /// How urgent the call is.
    pub class: Class,
    /// When the caller stops waiting.
    pub deadline: Instant,
    /// Retries left, shared by all that serves one operation.
    pub retries: RetryBudget,
}

/// What to search.
#[derive(Clone, Debug)]
pub struct SearchRequest {
    /// At most seven days; both ends are sent, and the caller decides who belongs to it.
    pub window: TimeWindow,
    /// The filters, sent with every page.
    pub filter: SearchFilter,
    /// `None` for the first page.
    pub continuation: Option<Continuation>,
}

/// Where the next page of a search begins. Opaque, and of use only with the same window and filter.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Continuation(pub(crate) crate::model::Personal<Box<str>>);

/// One page of a search.
#[derive(Clone, Debug)]
pub struct SearchPage {
    /// The interactions on it, in the server's order. May be empty with more pages to come.
    pub interactions: Vec<Interaction>,
    /// How many objects on the page were no interactions: the tree is not complete without them.
    pub unreadable: usize,
    /// The next page, or `None` after the last.
    pub continuation: Option<Continuation>,
}

/// Which bytes of an item to read.
#[derive(Clone, Debug)]
pub struct ContentRequest {
    /// The interaction.
    pub guid: Guid,
    /// The item.
    pub key: ContentKey,
    /// The first byte wanted.
    pub start: u64,
    /// The offset behind the last byte wanted; `None` for all to the end of the file.
    pub end: Option<u64>,
    /// What the answer must still be, sent as `If-Range`: another version then answers 200 and is seen.
    pub validator: Option<Validator>,
    /// How urgent it is, in place of the terms' class: it may be raised while the request waits for its turn.
    pub urgency: Urgency,
}

/// What a server says about the version that it serves.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Validator {
    /// A strong ETag, quotes included; weak ones are not kept.
    pub etag: Option<Box<str>>,
    /// `Last-Modified`, as sent.
    pub last_modified: Option<Box<str>>,
}

impl Validator {
    /// Whether both have an ETag, and not the same.
    pub fn differs_in_etag(&self, other: &Self) -> bool {
        differ(self.etag.as_deref(), other.etag.as_deref())
    }

    /// Whether both have a `Last-Modified`, and not the same.
    pub fn differs_in_last_modified(&self, other: &Self) -> bool {
        differ(
            self.last_modified.as_deref(),
            other.last_modified.as_deref(),
        )
    }

    /// Whether they can't be of the same bytes, if each of them means something.
    pub fn contradicts(&self, other: &Self) -> bool {
        self.differs_in_etag(other) || self.differs_in_last_modified(other)
    }
}

/// What an answer lacks is no difference.
fn differ(a: Option<&str>, b: Option<&str>) -> bool {
    matches!((a, b), (Some(a), Some(b)) if a != b)
}

/// The head of a content answer, checked against the request, and the body behind it.
pub struct ContentAnswer {
    /// The offset of the body's first byte. Equals the request's `start`, unless the server ignored the
    /// range and sent the file from its beginning: then 0.
    pub start: u64,
    /// The offset behind the body's last byte, when the server says so.
    pub end: Option<u64>,
    /// The file's true length in bytes, when the server says so.
    pub total: Option<u64>,
    /// The version served.
    pub validator: Validator,
    /// The bytes. Ends with an error if they are fewer or more than promised, or stall.
    pub body: BoxStream<'static, Result<Bytes, RemoteError>>,
}

impl std::fmt::Debug for ContentAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ContentAnswer")
            .field("start", &self.start)
            .field("end", &self.end)
            .field("total", &self.total)
            .finish_non_exhaustive()
    }
}

/// What a planner of requests needs to know of the wire just now.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Conditions {
    /// Requests that the pace still allows in the present minute.
    pub budget_left: u32,
    /// More than half of the minute's budget is left and nobody waits for it.
    pub budget_is_idle: bool,
    /// From asking to the first byte of an answer, smoothed; a guess before the first answer.
    pub latency: Duration,
}

/// Why a call failed, after everything worth trying was tried.
///
/// Texts name no URL, token, address or body: they may be logged and shown.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RemoteError {
    /// 404, 410, or 204 where there should be an object: it does not exist, or no longer.
    #[error("it does not exist on the server")]
    Gone,
    /// 403 on this object, also with a fresh token.
    #[error("these credentials may not see it")]
    Forbidden,
    /// The credentials themselves are refused: by the token endpoint, or by 401 with a fresh token.
    #[error("the credentials are refused ({reason})")]
    Unauthorized {
        /// The OAuth error code, or the status: a word from a fixed list.
        reason: &'static str,
    },
    /// 416: the file ends before the range begins.
    #[error("the file is shorter than was known")]
    PastEnd {
        /// The file's true length in bytes, when the server says so.
        total: Option<u64>,
    },
    /// The pace leaves no request before the deadline.
    #[error("the request budget is used up until after the deadline")]
    NoBudget,
    /// The deadline passed.
    #[error("the deadline passed")]
    DeadlinePassed,
    /// No connection came about: nobody was asked anything.
    #[error("the server can't be reached ({0})")]
    Unreachable(&'static str),
    /// The connection broke before an answer came.
    #[error("the connection failed ({0})")]
    Connection(&'static str),
    /// An answer ended early or stopped coming.
    #[error("the answer broke off")]
    Interrupted,
    /// The server answers with an error that retries did not cure.
    #[error("the server answered with status {0}")]
    Status(u16),
    /// The server's answer breaks HTTP's or the API's rules; nothing of it was used.
    #[error("the server's answer is not usable: {0}")]
    Protocol(&'static str),
    /// The mount makes no requests.
    #[error("the mount is offline")]
    Offline,
}

/// The API.
pub trait Remote: Send + Sync + 'static {
    /// One page of a search. Retried within the terms. An empty window, or one in the future, costs no
    /// request and is an empty page.
    ///
    /// `Status(400)` with a continuation says that the server no longer takes it: the window is to be
    /// searched from its beginning. Walks go through a [`PageGuard`].
    fn search<'a>(
        &'a self,
        request: &'a SearchRequest,
        terms: Terms,
    ) -> BoxFuture<'a, Result<SearchPage, RemoteError>>;

    /// One interaction; [`RemoteError::Gone`] if there is none. Retried within the terms.
    fn interaction(
        &self,
        guid: Guid,
        terms: Terms,
    ) -> BoxFuture<'_, Result<Interaction, RemoteError>>;

    /// Bytes of one item; all of the file is asked for without a range. Retried within the terms up to the answer's head; a body that breaks off is
    /// the caller's to resume, with the same terms.
    fn content(
        &self,
        request: ContentRequest,
        terms: Terms,
    ) -> BoxFuture<'_, Result<ContentAnswer, RemoteError>>;

    /// The wire just now. Never blocks.
    fn conditions(&self) -> Conditions;

    /// Why every request would be refused just now, as far as that is known: the credentials were refused, and
    /// nothing was accepted since. Never blocks.
    fn refusal(&self) -> Option<RemoteError> {
        None
    }

    /// Whether no request is ever made. Never blocks.
    fn is_offline(&self) -> bool {
        false
    }

    /// Sees to it that the next request has credentials. At once while they are good; else it gets them, which costs
    /// what the next request would cost anyway.
    fn admission(&self, _deadline: Instant) -> BoxFuture<'_, Result<(), RemoteError>> {
        Box::pin(std::future::ready(Ok(())))
    }
}
