//! Searches: how one is asked for, and how a page is read (API reference, section 5).

use std::borrow::Cow;
use std::fmt::Write;

use jiff::{Timestamp, ToSpan, Unit};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::{Continuation, RemoteError, SearchPage, SearchRequest};
use crate::model::{
    AgentId, ContentKey, Direction, Guid, Interaction, Personal, SearchFilter, for_each_element,
};

/// The largest page that the API makes; its default is not documented.
const PAGE_SIZE: u32 = 1000;

/// No search has more pages than this: 5 million interactions.
const PAGES_MAX: u32 = 5000;

/// A page of more objects is none: several times what is asked for.
const OBJECTS_MAX: usize = 10_000;

/// The most items and agents on one page, because each costs memory: a hundred and fifty for each interaction.
const PARTS_MAX: usize = 150_000;

/// The longest continuation token: it is sent back in the head of a request.
const TOKEN_MAX: usize = 64 << 10;

/// How far ahead of the clock a search's end may lie: clocks differ, and what a search for the future
/// answers is not documented.
const AHEAD_SECONDS: i64 = 60;

/// All but RFC 3986's unreserved characters: right in a path segment and in a query alike, and a `+`
/// stays a plus.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// One path segment or query value.
pub(super) fn encode(text: &str) -> Cow<'_, str> {
    utf8_percent_encode(text, ENCODED).into()
}

/// The path of one interaction, below the API's base.
pub(super) fn interaction_path(guid: Guid) -> String {
    format!("interactions/{guid}")
}

/// The path of one item, below the API's base; `None` for the keys `.` and `..`, which no URL can carry in
/// any encoding: the URL standard resolves them away.
pub(super) fn content_path(guid: Guid, key: &ContentKey) -> Option<String> {
    let key = key.as_str();
    let is_carried = !matches!(key, "" | "." | "..");
    is_carried.then(|| format!("interactions/{guid}/content/{}", encode(key)))
}

/// A search as it is sent.
pub(super) struct Query {
    /// Path and query, below the API's base.
    pub(super) path: String,
    /// The end that was sent; later pages must send the same.
    end: String,
}

/// The query of one page, or `None` when there is nothing to search: an empty window, or one that lies in
/// the future.
///
/// The end is at most a minute ahead of `now`. A continuation carries the end that its first page sent,
/// because it is of use with the same query only.
pub(super) fn query(request: &SearchRequest, now: Timestamp) -> Option<Query> {
    let window = &request.window;
    let (end, token) = match &request.continuation {
        Some(continuation) => {
            let text: &str = continuation.0.reveal();
            let (end, token) = text.split_once('\n').unwrap_or(("", text));
            let end = if end.is_empty() {
                time(window.to, true)
            } else {
                end.to_owned()
            };
            (end, Some(token))
        }
        None => {
            let latest = now.checked_add(AHEAD_SECONDS.seconds()).unwrap_or(now);
            let to = window.to.min(latest);
            if window.from >= to {
                return None;
            }
            (time(to, true), None)
        }
    };
    let mut path = format!(
        "interactions?start={}&end={}&limit={PAGE_SIZE}",
        encode(&time(window.from, false)),
        encode(&end)
    );
    let filter = &request.filter;
    let parameters = [
        (
            "handlingAgentId",
            filter.agent.as_ref().map(AgentId::as_str),
        ),
        (
            "direction",
            filter.direction.as_ref().map(Direction::as_str),
        ),
        (
            "connectFrom",
            filter.connect_from.as_ref().map(|t| &**t.reveal()),
        ),
        (
            "connectTo",
            filter.connect_to.as_ref().map(|t| &**t.reveal()),
        ),
        ("continuationToken", token),
    ];
    for (name, value) in parameters {
        if let Some(value) = value {
            // Writing to a string can't fail.
            let _ = write!(path, "&{name}={}", encode(value));
        }
    }
    Some(Query { path, end })
}

/// `2026-11-22T10:15:00Z`, with milliseconds where there are any; what is finer is rounded outwards.
fn time(time: Timestamp, up: bool) -> String {
    let mode = if up {
        jiff::RoundMode::Ceil
    } else {
        jiff::RoundMode::Floor
    };
    let rounding = jiff::TimestampRound::new()
        .smallest(Unit::Millisecond)
        .mode(mode);
    let time = time.round(rounding).unwrap_or(time);
    let form = if time.subsec_nanosecond() == 0 {
        "%Y-%m-%dT%H:%M:%SZ"
    } else {
        "%Y-%m-%dT%H:%M:%S.%3fZ"
    };
    time.strftime(form).to_string()
}

#[derive(Deserialize)]
struct WirePage<'a> {
    #[serde(borrow)]
    items: Option<&'a RawValue>,
    #[serde(borrow)]
    meta: Option<WireMeta<'a>>,
}

#[derive(Deserialize)]
struct WireMeta<'a> {
    #[serde(borrow, rename = "nextContinuationToken")]
    next: Option<&'a RawValue>,
}

const NOT_A_PAGE: RemoteError = RemoteError::Protocol("a page that is not JSON of a page's shape");

impl Query {
    /// Reads a page. What the filter doesn't admit is left out; what is no interaction is counted.
    ///
    /// # Errors
    /// [`RemoteError::Protocol`] when it is no page, or one with far more on it than was asked for.
    pub(super) fn read(
        &self,
        body: &[u8],
        filter: &SearchFilter,
    ) -> Result<SearchPage, RemoteError> {
        let page: WirePage<'_> = serde_json::from_slice(body).map_err(|_| NOT_A_PAGE)?;
        let items = page
            .items
            .ok_or(RemoteError::Protocol("a page without items"))?;
        let continuation = match page.meta.and_then(|meta| meta.next) {
            Some(token) => read_token(token.get())?,
            None => None,
        };
        let mut read = SearchPage::empty();
        let (mut objects, mut parts) = (0, 0);
        for_each_element(items.get(), |object| {
            objects += 1;
            // What is too much is an error below; until then it is not to be held.
            if objects > OBJECTS_MAX || parts > PARTS_MAX {
                return;
            }
            match Interaction::from_json(object.get()) {
                Ok(interaction) if filter.admits(&interaction) => {
                    parts += interaction.items.len() + interaction.agents.len();
                    read.interactions.push(interaction);
                }
                Ok(_) => {}
                Err(_) => read.unreadable += 1,
            }
        })
        .ok_or(NOT_A_PAGE)?;
        if objects > OBJECTS_MAX || parts > PARTS_MAX {
            return Err(RemoteError::Protocol("a page with more on it than any has"));
        }
        read.continuation = continuation
            .map(|token| Continuation(Personal::new(format!("{}\n{token}", self.end).into())));
        Ok(read)
    }
}

/// A continuation token: a string or a number. The empty one and null are none.
fn read_token(raw: &str) -> Result<Option<String>, RemoteError> {
    const BAD: RemoteError = RemoteError::Protocol("a continuation token that is none");
    if raw.starts_with(['[', '{']) || raw.len() > TOKEN_MAX {
        return Err(BAD);
    }
    match serde_json::from_str(raw).map_err(|_| BAD)? {
        Value::Null => Ok(None),
        Value::String(token) => Ok((!token.is_empty()).then_some(token)),
        Value::Number(token) => Ok(Some(token.to_string())),
        _ => Err(BAD),
    }
}

impl SearchPage {
    /// A page with nothing on it, and none after it.
    pub(super) fn empty() -> Self {
        Self {
            interactions: Vec::new(),
            unreadable: 0,
            continuation: None,
        }
    }
}

/// Sees to it that a walk over a search's pages comes to an end (API reference, 5.3).
#[derive(Clone, Debug, Default)]
pub struct PageGuard {
    last: Option<Continuation>,
    pages: u32,
}

impl PageGuard {
    /// Takes note of a page.
    ///
    /// # Errors
    /// [`RemoteError::Protocol`] when it leads to itself, or pages don't end.
    pub fn admit(&mut self, page: &SearchPage) -> Result<(), RemoteError> {
        self.pages += 1;
        if self.pages > PAGES_MAX {
            return Err(RemoteError::Protocol("a search whose pages don't end"));
        }
        if page.continuation.is_some() && page.continuation == self.last {
            return Err(RemoteError::Protocol("a page that leads to itself"));
        }
        self.last.clone_from(&page.continuation);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
