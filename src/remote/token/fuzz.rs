//! Hostile token answers.

use std::time::Duration;

use tokio::time::Instant;

use super::answer::{read_token, refusal};
use crate::mutation::fuzz;

#[test]
fn token_answers() {
    let inputs = [
        r#"{"access_token":"abc","expires_in":7200,"token_type":"Bearer"}"#,
        r#"{"access_token":"abc","expires_in":"7200"}"#,
        r#"{"access_token":"abc","expires_in":1e308,"token_type":"bearer"}"#,
        r#"{"access_token":"abc","expires_in":-5,"extra":[1,{"a":null}]}"#,
        r#"{"error":"invalid_client","error_description":"no such client"}"#,
    ];
    let inputs = inputs.map(|text| text.as_bytes().to_vec());
    let now = Instant::now();
    fuzz("token answers", inputs, 10_000, |body| {
        let refused = refusal(400, body);
        let Ok(token) = read_token(body, now, 1, 1) else {
            return (None, format!("{refused}"));
        };
        assert!(now <= token.renew_at && token.renew_at <= token.expires_at);
        assert!(token.expires_at <= now + Duration::from_secs(30 * 86_400));
        let life = token.expires_at - now;
        (life.as_secs().checked_ilog2(), String::new())
    });
}
