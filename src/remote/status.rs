//! What an answer's status means for the request: the one table of it (API reference, sections 8 to 10).

use reqwest::StatusCode;

/// What a status says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// 200, 206: there is a body to look at.
    Answered,
    /// 204: there is nothing, successfully.
    Empty,
    /// 301, 302, 303, 307, 308: it is somewhere else.
    Elsewhere,
    /// 401, 403: perhaps the token is stale, so another may help, once.
    Denied,
    /// 404, 410: there is no such thing.
    Gone,
    /// 416: the range begins behind the end.
    PastEnd,
    /// 429: too fast.
    Throttled,
    /// 5xx, and 408, by which servers end a connection that was idle: try again.
    Troubled,
    /// Anything else: trying again would change nothing.
    Refused,
}

impl Verdict {
    /// What `status` says.
    pub(super) fn of(status: StatusCode) -> Self {
        match status.as_u16() {
            200 | 206 => Self::Answered,
            204 => Self::Empty,
            301 | 302 | 303 | 307 | 308 => Self::Elsewhere,
            401 | 403 => Self::Denied,
            404 | 410 => Self::Gone,
            416 => Self::PastEnd,
            429 => Self::Throttled,
            408 | 500..=599 => Self::Troubled,
            _ => Self::Refused,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_change_is_tried_again() {
        let of = |code| Verdict::of(StatusCode::from_u16(code).unwrap());
        for code in [400, 402, 405, 406, 409, 415, 201, 304, 418, 600] {
            assert_eq!(of(code), Verdict::Refused, "{code}");
        }
        for code in [500, 501, 502, 503, 504, 505, 507, 520, 530, 599] {
            assert_eq!(of(code), Verdict::Troubled, "{code}");
        }
        assert_eq!(of(408), Verdict::Troubled);
        assert_eq!(of(401), Verdict::Denied);
        assert_eq!(of(403), Verdict::Denied);
        assert_eq!(of(410), Verdict::Gone);
        assert_eq!(of(429), Verdict::Throttled);
    }
}
