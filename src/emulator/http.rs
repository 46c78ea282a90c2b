//! Requests as they are read, answers as they are meant to be sent.
//!
//! HTTP/1.1 is spoken here by hand, because the emulator's work is to break its rules on demand: promise
//! more than comes, reset in the middle, name the wrong range. A correct HTTP library refuses to.

use std::time::Duration;

use percent_encoding::percent_decode_str;

use super::bytes::Source;

/// The largest request head that is taken, in bytes. Tokens may be several KiB.
pub(super) const LARGEST_HEAD: usize = 64 * 1024;

/// The most headers that a request may have.
const MOST_HEADERS: usize = 64;

/// A request's head and body.
#[derive(Clone, Debug, Default)]
pub(super) struct Request {
    pub(super) method: String,
    /// As sent, still percent-encoded.
    pub(super) path: String,
    /// As sent, without the question mark.
    pub(super) query: String,
    headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
    /// Whether the connection may be used again.
    pub(super) keep_alive: bool,
}

/// Why a head can't be read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BadHead;

impl Request {
    /// Reads a head from the beginning of `bytes`: the request and the head's length, or `None` if it isn't
    /// complete.
    pub(super) fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, BadHead> {
        let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
        let mut parsed = httparse::Request::new(&mut headers);
        let length = match parsed.parse(bytes) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) if bytes.len() < LARGEST_HEAD => return Ok(None),
            _ => return Err(BadHead),
        };
        let target = parsed.path.unwrap_or_default();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let mut request = Self {
            method: parsed.method.unwrap_or_default().to_owned(),
            path: path.to_owned(),
            query: query.to_owned(),
            headers: Vec::with_capacity(parsed.headers.len()),
            body: Vec::new(),
            keep_alive: parsed.version == Some(1),
        };
        for header in parsed.headers.iter() {
            let value = std::str::from_utf8(header.value).map_err(|_| BadHead)?;
            (request.headers).push((header.name.to_owned(), value.trim().to_owned()));
        }
        let connection = request.header("connection").unwrap_or_default();
        let connection = connection.to_ascii_lowercase();
        for option in connection.split(',').map(str::trim) {
            match option {
                "close" => request.keep_alive = false,
                "keep-alive" => request.keep_alive = true,
                _ => {}
            }
        }
        Ok(Some((request, length)))
    }

    /// A header's value, by its name in any case.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// How many bytes of body follow the head; `Err` if that isn't told by `Content-Length`.
    pub(super) fn body_length(&self) -> Result<usize, BadHead> {
        if self.header("transfer-encoding").is_some() {
            return Err(BadHead);
        }
        self.header("content-length")
            .map_or(Ok(0), |length| length.parse().map_err(|_| BadHead))
    }
}

/// Decodes `a=b&c=d`, percent signs and pluses; `None` if something isn't UTF-8 or has no `=`.
pub(super) fn parse_form(text: &str) -> Option<Vec<(String, String)>> {
    text.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=')?;
            Some((decode_form(name)?, decode_form(value)?))
        })
        .collect()
}

/// Decodes one form value.
pub(super) fn decode_form(text: &str) -> Option<String> {
    decode_segment(&text.replace('+', " "))
}

/// Decodes one path segment.
pub(super) fn decode_segment(text: &str) -> Option<String> {
    let decoded = percent_decode_str(text).decode_utf8().ok()?;
    Some(decoded.into_owned())
}

/// An answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Body,
    pub(super) delivery: Delivery,
    /// Given back when the answer has been sent.
    pub(super) permit: Option<tokio::sync::OwnedSemaphorePermit>,
}

/// A part of a source.
#[derive(Clone, Debug)]
pub(super) struct Body {
    pub(super) source: Source,
    pub(super) start: u64,
    pub(super) end: u64,
}

/// How an answer is sent. The default is: at once, whole and correctly.
#[derive(Clone, Debug, Default)]
pub(super) struct Delivery {
    /// Wait this long before the head.
    pub(super) delay: Duration,
    /// Wait before the head until tests release it.
    pub(super) hold: bool,
    /// Body bytes per second.
    pub(super) rate: Option<u64>,
    /// How the body's length is told.
    pub(super) framing: Framing,
    /// What happens on the way.
    pub(super) accident: Option<Accident>,
}

/// How a body's length is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Framing {
    /// By its true length.
    #[default]
    Length,
    /// By chunks.
    Chunked,
}

/// What happens while an answer is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Accident {
    /// A TCP reset instead of the head.
    ResetBeforeHead,
    /// A TCP reset after so many body bytes.
    Reset(u64),
    /// An orderly end after so many body bytes, whatever was promised.
    Close(u64),
    /// An orderly end after the whole answer.
    CloseAfter,
    /// After so many body bytes nothing more comes until tests release it.
    Stall(u64),
}

impl Answer {
    /// An answer without a body.
    pub(super) fn empty(status: u16) -> Self {
        Self::new(status, Source::Stored(bytes::Bytes::new()))
    }

    /// An answer with the whole of a source.
    pub(super) fn new(status: u16, source: Source) -> Self {
        let end = source.length();
        Self {
            status,
            headers: Vec::new(),
            body: Body {
                source,
                start: 0,
                end,
            },
            delivery: Delivery::default(),
            permit: None,
        }
    }

    /// The answer with one more header.
    #[must_use]
    pub(super) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Sets a header that is there at most once.
    pub(super) fn set(&mut self, name: &'static str, value: String) {
        self.headers.retain(|(known, _)| *known != name);
        self.headers.push((name, value));
    }

    /// The head as it is sent. `promised` is the length that it tells.
    pub(super) fn head(&self, promised: u64, keep_alive: bool) -> Vec<u8> {
        let mut head = format!("HTTP/1.1 {} {}\r\n", self.status, reason(self.status));
        for (name, value) in &self.headers {
            head.push_str(name);
            head.push_str(": ");
            head.push_str(value);
            head.push_str("\r\n");
        }
        if !self.headers.iter().any(|(name, _)| *name == "date") {
            head.push_str("date: ");
            head.push_str(&httpdate::fmt_http_date(std::time::SystemTime::now()));
            head.push_str("\r\n");
        }
        match self.delivery.framing {
            // These never have a body, so they must not tell a length (RFC 9110, 8.6).
            _ if matches!(self.status, 204 | 304) => {}
            Framing::Length => head.push_str(&format!("content-length: {promised}\r\n")),
            Framing::Chunked => head.push_str("transfer-encoding: chunked\r\n"),
        }
        if !keep_alive {
            head.push_str("connection: close\r\n");
        }
        head.push_str("\r\n");
        head.into_bytes()
    }
}

impl Body {
    /// Length in bytes.
    pub(super) fn length(&self) -> u64 {
        self.end.saturating_sub(self.start)
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        204 => "No Content",
        206 => "Partial Content",
        302 => "Found",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        416 => "Range Not Satisfiable",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "Status",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_once_it_is_complete() {
        let text = b"GET /a%20b?x=1%2B+2&y= HTTP/1.1\r\nHost: h\r\nACCEPT:  z \r\n\r\nrest";
        for cut in 0..text.len() - 4 {
            assert!(Request::parse(&text[..cut]).unwrap().is_none(), "{cut}");
        }
        let (request, length) = Request::parse(text).unwrap().unwrap();
        assert_eq!(length, text.len() - 4);
        assert_eq!(request.header("accept"), Some("z"));
        assert_eq!(decode_segment(&request.path).unwrap(), "/a b");
        let form = parse_form(&request.query).unwrap();
        assert_eq!(form[0], ("x".to_owned(), "1+ 2".to_owned()));
        assert!(request.keep_alive);
        assert!(Request::parse(b"\0\0\0").is_err());
    }
}
