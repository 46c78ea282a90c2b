//! Error answers and their bodies: `{"message"}` for the API, OAuth's form for the token endpoint.

use super::bytes::Source;
use super::http::Answer;

/// The media type that every API request has to accept.
pub(super) const V3: &str = "application/vnd.newvoicemedia.v3+json";

/// A JSON answer.
pub(super) fn json(status: u16, body: impl Into<bytes::Bytes>) -> Answer {
    Answer::new(status, Source::Stored(body.into()))
        .with("content-type", "application/json; charset=utf-8")
}

/// The API's error form.
pub(super) fn message(status: u16, text: &str) -> Answer {
    json(status, serde_json::json!({ "message": text }).to_string())
}

/// The token endpoint's error form.
pub(super) fn oauth(status: u16, error: &str, description: &str) -> Answer {
    let body = serde_json::json!({ "error": error, "error_description": description });
    json(status, body.to_string()).with("cache-control", "no-store")
}

/// A gateway's page.
pub(super) fn html(status: u16) -> Answer {
    const PAGE: &str =
        "<html>\r\n<head><title>Error</title></head>\r\n<body><h1>Error</h1></body>\r\n</html>\r\n";
    Answer::new(
        status,
        Source::Stored(bytes::Bytes::from_static(PAGE.as_bytes())),
    )
    .with("content-type", "text/html")
}

/// 400 for an `Accept` without a version (`wrong` is false) or with a wrong one.
pub(super) fn api_version(wrong: bool) -> Answer {
    const V2: &str = "application/vnd.newvoicemedia.v2+json";
    let valid = if wrong {
        format!("'{V3}'")
    } else {
        format!("'{V2}', '{V3}'")
    };
    message(400, &format!("Invalid api-version! Valid values: {valid}"))
}

/// 401 of the API.
pub(super) fn unauthorized() -> Answer {
    message(401, "The access token is missing, invalid or expired")
        .with("www-authenticate", "Bearer error=\"invalid_token\"")
}
