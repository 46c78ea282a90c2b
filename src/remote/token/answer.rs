//! The token endpoint's answers, read.

use std::time::Duration;

use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::Value;
use tokio::time::Instant;

use super::Token;
use crate::remote::RemoteError;

/// A token is taken to live this long when the answer doesn't say (API reference, 3.2).
const DOCUMENTED_LIFE: f64 = 7200.0;

/// No token is trusted for longer, whatever the answer says.
const LIFE_MAX: f64 = 30.0 * 86_400.0;

#[derive(Deserialize)]
struct WireToken {
    access_token: SecretText,
    expires_in: Option<Value>,
    token_type: Option<String>,
}

/// Deserialised straight into a box that is wiped when dropped.
struct SecretText(SecretString);

impl<'de> Deserialize<'de> for SecretText {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(text.into()))
    }
}

/// Reads the endpoint's answer to a request that was sent at `sent_at`.
pub(super) fn read_token(
    body: &[u8],
    sent_at: Instant,
    serial: u64,
    generation: u64,
) -> Result<Token, RemoteError> {
    const BAD: RemoteError = RemoteError::Protocol("the token endpoint's answer holds no token");
    let wire: WireToken = serde_json::from_slice(body).map_err(|_| BAD)?;
    let is_bearer = wire
        .token_type
        .is_none_or(|word| word.eq_ignore_ascii_case("bearer"));
    let token = wire.access_token.0.expose_secret();
    if !is_bearer || token.is_empty() {
        return Err(BAD);
    }
    let mut header = HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| BAD)?;
    header.set_sensitive(true);
    let life = match wire.expires_in {
        Some(Value::Number(number)) => number.as_f64(),
        Some(Value::String(text)) => text.parse().ok(),
        _ => None,
    };
    let life = life
        .filter(|life| life.is_finite())
        .unwrap_or(DOCUMENTED_LIFE)
        .clamp(0.0, LIFE_MAX);
    // Counted from when it was asked for: how long the answer was under way is not known.
    let after = |share: f64| sent_at + Duration::from_secs_f64(life * share);
    Ok(Token {
        header,
        serial,
        generation,
        renew_at: after(0.9),
        // A request must arrive before the token expires.
        expires_at: after(0.99),
    })
}

/// Why the endpoint refuses, in a word from a fixed list: the body's own text may quote the id.
pub(super) fn refusal(status: u16, body: &[u8]) -> RemoteError {
    #[derive(Deserialize)]
    struct Refused {
        error: Option<Value>,
    }
    const CODES: [&str; 6] = [
        "invalid_client",
        "invalid_scope",
        "invalid_grant",
        "invalid_request",
        "unauthorized_client",
        "unsupported_grant_type",
    ];
    let code = serde_json::from_slice::<Refused>(body)
        .ok()
        .and_then(|refused| refused.error);
    let reason = code
        .as_ref()
        .and_then(Value::as_str)
        .and_then(|code| CODES.into_iter().find(|known| *known == code))
        .unwrap_or(match status {
            400 => "status 400",
            403 => "status 403",
            _ => "status 401",
        });
    RemoteError::Unauthorized { reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str, now: Instant) -> Result<Token, RemoteError> {
        read_token(json.as_bytes(), now, 1, 1)
    }

    #[test]
    fn a_token_is_renewed_at_nine_tenths_of_the_life_that_came() {
        let now = Instant::now();
        for (expires_in, seconds) in [("1000", 900), ("\"100\"", 90), ("null", 6480), ("-5", 0)] {
            let json = format!(
                r#"{{"access_token":"t","expires_in":{expires_in},"token_type":"bEARER"}}"#
            );
            let token = read(&json, now).unwrap();
            assert_eq!(token.renew_at - now, Duration::from_secs(seconds));
            assert!(token.expires_at >= token.renew_at);
            assert!(token.header.is_sensitive());
        }
    }

    #[test]
    fn what_is_no_token_is_refused() {
        for bad in [
            "<html>",
            "{}",
            r#"{"access_token":""}"#,
            r#"{"access_token":"a\nb"}"#,
            r#"{"access_token":"t","token_type":"mac"}"#,
        ] {
            assert!(read(bad, Instant::now()).is_err(), "{bad}");
        }
    }
}
