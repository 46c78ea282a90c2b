//! The `Retry-After` header: how long a server asks to be left alone.

use std::time::{Duration, SystemTime};

use reqwest::header::{DATE, HeaderMap, HeaderName, RETRY_AFTER};

/// The time to wait, from seconds or an HTTP date; `None` when there is no such header or it is neither.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: HeaderName| headers.get(name)?.to_str().ok();
    // A date is one of the server's clock, and ours may be wrong by hours.
    let now = text(DATE).and_then(|date| httpdate::parse_http_date(date.trim()).ok());
    parse(text(RETRY_AFTER)?, now.unwrap_or_else(SystemTime::now))
}

fn parse(text: &str, now: SystemTime) -> Option<Duration> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than a number has are a very long time too; the pacer caps it.
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX / 2)));
    }
    // Fractions are not of the standard, but some gateways send them.
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    #[test]
    fn a_date_is_one_of_the_servers_clock() {
        let mut headers = HeaderMap::new();
        let at = HeaderValue::from_static;
        headers.insert(RETRY_AFTER, at("Sun, 06 Nov 1994 08:49:47 GMT"));
        assert_eq!(retry_after(&headers), Some(Duration::ZERO), "long ago");
        headers.insert(DATE, at("Sun, 06 Nov 1994 08:49:37 GMT"));
        assert_eq!(retry_after(&headers), Some(Duration::from_secs(10)));
    }

    #[test]
    fn seconds_and_dates_are_understood() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        let seconds = |text| parse(text, now).map(|time| time.as_secs());
        assert_eq!(seconds("120"), Some(120));
        assert_eq!(seconds(" 0 "), Some(0));
        assert_eq!(seconds("Sun, 06 Nov 1994 08:49:47 GMT"), Some(10));
        assert_eq!(seconds("Sun, 06 Nov 1994 08:00:00 GMT"), Some(0));
        assert_eq!(seconds("1.5"), Some(1));
        assert_eq!(seconds("99999999999999999999"), Some(u64::MAX / 2));
        for bad in ["", "soon", "-1", "NaN"] {
            assert_eq!(seconds(bad), None, "{bad}");
        }
    }
}
