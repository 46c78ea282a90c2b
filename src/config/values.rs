//! How values are typed: durations, sizes, modes, ages, times, addresses. Pure; each error says what the
//! value must look like, and never repeats it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytesize::ByteSize;
use jiff::Timestamp;
use url::{Host, Url};

use crate::catalogue::WindowSpec;
use crate::model::Day;

/// What a value must look like.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct Expected(pub &'static str);

const DURATION: Expected =
    Expected("a time such as 90s, 15m, 24h, 7d or 2w is needed, more than 0");
const AGE: Expected =
    Expected("an age such as 7d or 2w (whole UTC days), 24h or 90m is needed, at most 3660d");
const TIME: Expected =
    Expected("a date such as 2026-11-22 or a time such as 2026-11-22T10:15:00Z is needed");
const SIZE: Expected = Expected("a size such as 256MiB or 10GiB is needed");

/// The longest age, in days: every seven days are a search.
const AGE_LIMIT: u32 = 3660;

/// A whole number and its unit.
fn number_and_unit(text: &str) -> Option<(u64, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    Some((number.parse().ok()?, unit))
}

/// `90s 15m 24h 7d 2w`, more than nothing.
///
/// # Errors
/// Anything else.
pub fn duration(text: &str) -> Result<Duration, Expected> {
    let (number, unit) = number_and_unit(text).ok_or(DURATION)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        "w" => 7 * 86_400,
        _ => return Err(DURATION),
    };
    // A hundred years are for ever, and far from any overflow of instants.
    number
        .checked_mul(seconds)
        .filter(|seconds| (1..=36_525 * 86_400).contains(seconds))
        .map(Duration::from_secs)
        .ok_or(DURATION)
}

/// A duration as it is typed, in the largest unit that divides it.
pub fn duration_text(duration: Duration) -> String {
    let seconds = duration.as_secs();
    for (unit, length) in [("w", 7 * 86_400), ("d", 86_400), ("h", 3600), ("m", 60)] {
        if seconds != 0 && seconds.is_multiple_of(length) {
            return format!("{}{unit}", seconds / length);
        }
    }
    format!("{seconds}s")
}

/// `256MiB 10GiB`: bytes.
///
/// # Errors
/// No size, or one beyond 2^60.
pub fn size(text: &str) -> Result<u64, Expected> {
    let negative_or_odd = !text.starts_with(|first: char| first.is_ascii_digit());
    let bytes = text.parse::<ByteSize>().map_err(|_| SIZE)?.as_u64();
    (!negative_or_odd && bytes <= 1 << 60)
        .then_some(bytes)
        .ok_or(SIZE)
}

/// A size as it is typed.
pub fn size_text(bytes: u64) -> String {
    for (unit, shift) in [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)] {
        if bytes != 0 && bytes.trailing_zeros() >= shift {
            return format!("{}{unit}", bytes >> shift);
        }
    }
    format!("{bytes}B")
}

/// `0400`, `440` or `0o440`: permission bits.
///
/// # Errors
/// Not octal, or more than 0777.
pub fn mode(text: &str) -> Result<u16, Expected> {
    let expected = Expected("an octal mode such as 0440 is needed, at most 0777");
    let digits = text.strip_prefix("0o").unwrap_or(text);
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(expected);
    }
    u16::from_str_radix(digits, 8)
        .ok()
        .filter(|mode| *mode <= 0o777)
        .ok_or(expected)
}

/// A whole number in the type's range.
///
/// # Errors
/// Anything else.
pub fn number<T: std::str::FromStr>(text: &str) -> Result<T, Expected> {
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Expected("a whole number is needed"));
    }
    text.parse()
        .map_err(|_| Expected("a whole number is needed, and this one is empty or too large"))
}

/// `7d`, `2w`: whole UTC days; `24h`, `90m`: exactly.
///
/// # Errors
/// Anything else.
pub fn age(text: &str) -> Result<WindowSpec, Expected> {
    let (number, unit) = number_and_unit(text).ok_or(AGE)?;
    let days = match unit {
        "d" => Some(number),
        "w" => number.checked_mul(7),
        "h" | "m" => {
            let limit = Duration::from_secs(u64::from(AGE_LIMIT) * 86_400);
            let age = duration(text).map_err(|_| AGE)?;
            return (age <= limit).then_some(WindowSpec::Last(age)).ok_or(AGE);
        }
        _ => None,
    };
    days.and_then(|days| u32::try_from(days).ok())
        .filter(|days| (1..=AGE_LIMIT).contains(days))
        .map(WindowSpec::Days)
        .ok_or(AGE)
}

/// The first instant of a date, or a time as it is.
///
/// # Errors
/// Neither, or a time without its offset from UTC.
pub fn from_time(text: &str) -> Result<Timestamp, Expected> {
    match text.parse::<Day>() {
        Ok(day) => Ok(day.start()),
        Err(_) => exact_time(text),
    }
}

/// The instant behind a date's last, or a time as it is.
///
/// # Errors
/// Neither, or a time without its offset from UTC.
pub fn to_time(text: &str) -> Result<Timestamp, Expected> {
    match text.parse::<Day>() {
        Ok(day) => Ok(day.next().start()),
        Err(_) => exact_time(text),
    }
}

fn exact_time(text: &str) -> Result<Timestamp, Expected> {
    text.parse().map_err(|_| {
        if text.parse::<jiff::civil::DateTime>().is_ok() {
            Expected("this is neither a date nor a time with its offset: add Z for UTC")
        } else {
            TIME
        }
    })
}

/// The URL of an endpoint, without a slash at its end.
///
/// # Errors
/// No URL, plain http to another machine, or parts that have no place in it.
pub fn endpoint(text: &str) -> Result<Url, Expected> {
    let mut url: Url = text.parse().map_err(|_| {
        Expected("a URL such as https://emea.api.cc.vonage.com/interaction-content is needed")
    })?;
    match url.scheme() {
        "https" => {}
        "http" if is_loopback(&url) => {}
        "http" => {
            return Err(Expected(
                "plain http would send the credentials readable for everybody: use https (http goes to this \
                 machine only)",
            ));
        }
        _ => return Err(Expected("the URL must begin with https://")),
    }
    if url.host().is_none() {
        return Err(Expected("the URL names no host"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Expected(
            "the URL must not hold a name or a password: use --client-id and --client-secret-file",
        ));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(Expected("the URL must end with its path, without ? or #"));
    }
    let path = url.path().trim_end_matches('/').to_owned();
    url.set_path(&path);
    Ok(url)
}

/// `9464`, `localhost:9464`, `192.0.2.1:9464` or `[::1]:9464`: where to listen. A port alone is this machine's loopback.
///
/// # Errors
/// Anything else: a name would be whatever it resolves to at the time.
pub fn listen_address(text: &str) -> Result<SocketAddr, Expected> {
    let port = text.strip_prefix("localhost:").unwrap_or(text);
    if port.bytes().all(|byte| byte.is_ascii_digit())
        && let Ok(port) = port.parse()
    {
        return Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    }
    text.parse().map_err(|_| {
        Expected("a port such as 9464, or an address with its port such as 192.0.2.1:9464 or [::1]:9464, is needed")
    })
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::V6(address).is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests;
