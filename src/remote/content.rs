//! Content answers: the head checked against the question, the body counted (API reference, section 8).
//!
//! Promises that what comes out of an answer's body is what its head says, byte for byte, or ends in an
//! error.

use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use reqwest::header::{self, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Response, StatusCode};
use tokio::time::timeout;

use super::content_range::{ContentRange, number};
use super::counters::Tally;
use super::wire::STALL_LIMIT;
use super::{ContentRequest, RemoteError, Validator};

/// What a usable answer says of itself; offsets in bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Head {
    pub(super) start: u64,
    pub(super) end: Option<u64>,
    pub(super) total: Option<u64>,
    pub(super) validator: Validator,
}

impl ContentRequest {
    /// Whether a part is asked for. The whole file is asked for without a range.
    fn is_ranged(&self) -> bool {
        self.start > 0 || self.end.is_some()
    }

    /// The headers that say which part is asked for. `If-Range` carries strong ETags only: anything else
    /// makes a server answer with the whole file each time.
    pub(super) fn headers(&self) -> Result<HeaderMap, RemoteError> {
        const BAD: RemoteError = RemoteError::Protocol("a range or ETag that can't be sent");
        let mut headers = HeaderMap::new();
        if !self.is_ranged() {
            return Ok(headers);
        }
        let range = match self.end {
            Some(end) if end > self.start => format!("bytes={}-{}", self.start, end - 1),
            Some(_) => return Err(BAD),
            None => format!("bytes={}-", self.start),
        };
        headers.insert(header::RANGE, range.try_into().map_err(|_| BAD)?);
        let etag = self.validator.as_ref().and_then(|v| v.etag.as_deref());
        if let Some(etag) = etag.filter(|etag| is_strong(etag)) {
            let etag = HeaderValue::from_str(etag).map_err(|_| BAD)?;
            headers.insert(header::IF_RANGE, etag);
        }
        Ok(headers)
    }

    /// Checks the head of an answer with status 200, 204 or 206.
    ///
    /// # Errors
    /// [`RemoteError::Protocol`] when the answer isn't one to this request, or contradicts itself.
    pub(super) fn check(
        &self,
        status: StatusCode,
        headers: &HeaderMap,
    ) -> Result<Head, RemoteError> {
        // The HTTP library only puts chunks together: what was compressed on its way comes out compressed.
        let is_plain = only(headers, &header::CONTENT_ENCODING, "identity")
            && only(headers, &header::TRANSFER_ENCODING, "chunked");
        if !is_plain {
            return Err(RemoteError::Protocol(
                "content in an encoding not asked for",
            ));
        }
        let validator = Validator {
            etag: text(headers, &header::ETAG)
                .filter(|etag| is_strong(etag))
                .map(Into::into),
            last_modified: text(headers, &header::LAST_MODIFIED).map(Into::into),
        };
        let length = match text(headers, &header::CONTENT_LENGTH) {
            Some(digits) => Some(
                number(digits.trim())
                    .ok_or(RemoteError::Protocol("a Content-Length that is no number"))?,
            ),
            None => None,
        };
        match status {
            StatusCode::NO_CONTENT => Ok(Head {
                start: 0,
                end: Some(0),
                total: Some(0),
                validator,
            }),
            StatusCode::OK => Ok(Head {
                start: 0,
                end: length,
                total: length,
                validator,
            }),
            StatusCode::PARTIAL_CONTENT => {
                let (end, total) = self.check_part(headers, length)?;
                Ok(Head {
                    start: self.start,
                    end: Some(end),
                    total,
                    validator,
                })
            }
            _ => Err(RemoteError::Protocol("a status that is no answer to this")),
        }
    }

    fn check_part(
        &self,
        headers: &HeaderMap,
        length: Option<u64>,
    ) -> Result<(u64, Option<u64>), RemoteError> {
        if !self.is_ranged() {
            return Err(RemoteError::Protocol("a part, though all was asked for"));
        }
        let is_multipart = text(headers, &header::CONTENT_TYPE)
            .is_some_and(|media_type| media_type.to_ascii_lowercase().starts_with("multipart/"));
        if is_multipart {
            return Err(RemoteError::Protocol(
                "several ranges, though one was asked for",
            ));
        }
        let mut values = headers.get_all(header::CONTENT_RANGE).iter();
        let range = match (values.next(), values.next()) {
            (Some(value), None) => value.to_str().ok().and_then(ContentRange::parse),
            _ => None,
        };
        let Some(ContentRange::Part { start, end, total }) = range else {
            return Err(RemoteError::Protocol(
                "a part without a usable Content-Range",
            ));
        };
        if start != self.start || self.end.is_some_and(|asked| end > asked) {
            return Err(RemoteError::Protocol("another range than was asked for"));
        }
        if length.is_some_and(|length| length != end - start) {
            return Err(RemoteError::Protocol(
                "a Content-Length that contradicts the Content-Range",
            ));
        }
        Ok((end, total))
    }
}

/// The true length that a 416 tells of.
pub(super) fn past_end(headers: &HeaderMap) -> RemoteError {
    let range = text(headers, &header::CONTENT_RANGE).and_then(ContentRange::parse);
    RemoteError::PastEnd {
        total: match range {
            Some(ContentRange::None { total }) => Some(total),
            _ => None,
        },
    }
}

/// Whether a header, if it is there, says this and nothing else.
fn only(headers: &HeaderMap, name: &HeaderName, said: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .all(|value| value.as_bytes().eq_ignore_ascii_case(said.as_bytes()))
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// A strong ETag: quoted, without `W/` before it.
fn is_strong(etag: &str) -> bool {
    etag.len() >= 2 && etag.starts_with('"') && etag.ends_with('"')
}

struct Body {
    response: Response,
    /// Bytes still to come, when the head says so.
    left: Option<u64>,
    is_over: bool,
    tally: Arc<Tally>,
}

/// The body of an answer: the connection's own buffers, passed on as they are.
///
/// Nothing is read before it is asked for, so a reader that pauses pauses the connection; and the clock
/// for stalls runs only while somebody asks.
pub(super) fn body(
    response: Response,
    head: &Head,
    tally: Arc<Tally>,
) -> BoxStream<'static, Result<Bytes, RemoteError>> {
    let body = Body {
        response,
        left: head.end.map(|end| end - head.start),
        is_over: false,
        tally,
    };
    stream::unfold(body, |mut body| async move {
        if body.is_over {
            return None;
        }
        let item = body.next().await;
        body.is_over = !matches!(item, Some(Ok(_)));
        item.map(|item| (item, body))
    })
    .boxed()
}

impl Body {
    async fn next(&mut self) -> Option<Result<Bytes, RemoteError>> {
        loop {
            let chunk = match timeout(STALL_LIMIT, self.response.chunk()).await {
                Ok(Ok(chunk)) => chunk,
                Ok(Err(_)) | Err(_) => return Some(Err(RemoteError::Interrupted)),
            };
            let Some(chunk) = chunk else {
                let is_short = self.left.is_some_and(|left| left > 0);
                return is_short.then_some(Err(RemoteError::Interrupted));
            };
            self.tally.received(chunk.len());
            if let Some(left) = &mut self.left {
                match left.checked_sub(chunk.len() as u64) {
                    Some(rest) => *left = rest,
                    None => {
                        return Some(Err(RemoteError::Protocol("more bytes than were promised")));
                    }
                }
            }
            if !chunk.is_empty() {
                return Some(Ok(chunk));
            }
        }
    }
}

#[cfg(test)]
mod tests;
