//! The token endpoint, and the tokens that it gave out.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use tokio::time::Instant;

use super::bytes::next_random;
use super::errors;
use super::http::{Answer, Request, decode_form, parse_form};
use super::switches::Switches;

/// The scope that reading needs.
pub(super) const READ: &str = "interaction-content:read";
/// The scope that deleting needs.
pub(super) const DELETE: &str = "interaction-content:delete";

/// A client's id and secret, and what it may ask for.
#[derive(Clone)]
pub(super) struct Credentials {
    pub(super) id: String,
    pub(super) secret: String,
    pub(super) scopes: Vec<String>,
}

/// The access tokens that are valid just now.
#[derive(Debug)]
pub struct Tokens {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    valid: HashMap<String, Grant>,
    random: u64,
}

#[derive(Debug)]
struct Grant {
    expires: Instant,
    scopes: Vec<String>,
}

impl Tokens {
    pub(super) fn new(random: u64) -> Self {
        Self {
            state: Mutex::new(State {
                valid: HashMap::new(),
                random,
            }),
        }
    }

    /// Makes every token invalid that was given out so far, as if it had expired.
    pub fn revoke_all(&self) {
        self.with(|state| state.valid.clear());
    }

    /// Makes one token invalid.
    pub fn revoke(&self, token: &str) {
        self.with(|state| state.valid.remove(token));
    }

    /// How many tokens are valid.
    pub fn valid(&self) -> usize {
        let now = Instant::now();
        self.with(|state| state.valid.values().filter(|g| g.expires > now).count())
    }

    fn issue(&self, scopes: Vec<String>, switches: &Switches) -> String {
        let now = Instant::now();
        self.with(|state| {
            if switches.one_token_at_a_time {
                state.valid.clear();
            }
            state.valid.retain(|_, grant| grant.expires > now);
            let mut bytes = Vec::new();
            while bytes.len() < switches.token_length.max(16) {
                bytes.extend_from_slice(&next_random(&mut state.random).to_le_bytes());
            }
            let mut token = URL_SAFE_NO_PAD.encode(bytes);
            token.truncate(switches.token_length.max(16));
            let grant = Grant {
                expires: now + whole_seconds(switches.token_life),
                scopes,
            };
            state.valid.insert(token.clone(), grant);
            token
        })
    }

    /// Checks a request's token: the refusal, if it is no good for the scope.
    pub(super) fn check(&self, token: Option<&str>, scope: &str) -> Result<(), Box<Answer>> {
        let now = Instant::now();
        let allowed = self.with(|state| {
            let grant = state.valid.get(token?)?;
            (grant.expires > now).then(|| grant.scopes.iter().any(|known| known == scope))
        });
        match allowed {
            Some(true) => Ok(()),
            Some(false) => {
                let refusal = errors::message(403, "The access token lacks the scope");
                Err(Box::new(refusal))
            }
            None => Err(Box::new(errors::unauthorized())),
        }
    }

    fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The token behind `Bearer` in a request.
pub(super) fn bearer(request: &Request) -> Option<&str> {
    let (scheme, token) = request.header("authorization")?.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then_some(token.trim())
}

/// Answers a request for a token.
pub(super) fn answer(
    request: &Request,
    credentials: &Credentials,
    tokens: &Tokens,
    switches: &Switches,
) -> Answer {
    match grant(request, credentials) {
        Ok(scopes) => {
            let body = serde_json::json!({
                "access_token": tokens.issue(scopes, switches),
                "expires_in": whole_seconds(switches.token_life).as_secs(),
                "token_type": "Bearer",
            });
            errors::json(200, body.to_string()).with("cache-control", "no-store")
        }
        Err(refusal) => *refusal,
    }
}

/// The scopes that a request for a token is granted, or the refusal.
fn grant(request: &Request, credentials: &Credentials) -> Result<Vec<String>, Box<Answer>> {
    let refuse = |error, description| Box::new(errors::oauth(400, error, description));
    let bad_request = |description| refuse("invalid_request", description);
    if request.method != "POST" {
        let refusal = errors::message(405, "Method Not Allowed").with("allow", "POST");
        return Err(Box::new(refusal));
    }
    let content_type = request.header("content-type").unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return Err(bad_request("The body must be a form"));
    }
    let fields = std::str::from_utf8(&request.body)
        .ok()
        .and_then(parse_form)
        .ok_or_else(|| bad_request("The body is not a form"))?;
    let field = |name: &str| {
        let mut values = fields.iter().filter(|(known, _)| known == name);
        match (values.next(), values.next()) {
            (Some(_), Some(_)) => Err(bad_request("A parameter is given twice")),
            (value, _) => Ok(value.map(|(_, value)| value.as_str())),
        }
    };
    if field("grant_type")? != Some("client_credentials") {
        return Err(refuse("unsupported_grant_type", "Invalid grant_type"));
    }
    let (id, secret) = (field("client_id")?, field("client_secret")?);
    let is_known = match request.header("authorization") {
        Some(_) if id.is_some() || secret.is_some() => {
            return Err(bad_request("More than one way to authenticate"));
        }
        Some(header) => basic_matches(header, credentials),
        None => id == Some(credentials.id.as_str()) && secret == Some(credentials.secret.as_str()),
    };
    if !is_known {
        // OAuth demands 401 where an Authorization header was tried (RFC 6749, 5.2).
        return Err(match request.header("authorization") {
            Some(_) => Box::new(
                errors::oauth(401, "invalid_client", "Invalid client")
                    .with("www-authenticate", "Basic"),
            ),
            None => refuse("invalid_client", "Invalid client"),
        });
    }
    let bad_scope = |description| refuse("invalid_scope", description);
    let scopes: Vec<String> = field("scope")?
        .unwrap_or_default()
        .split(' ')
        .filter(|scope| !scope.is_empty())
        .map(str::to_owned)
        .collect();
    if scopes.is_empty() {
        return Err(bad_scope("You must specify a scope"));
    }
    if !scopes
        .iter()
        .all(|scope| credentials.scopes.contains(scope))
    {
        return Err(bad_scope("The scope is not allowed"));
    }
    Ok(scopes)
}

/// Whether Basic credentials are right: percent-encoded, as OAuth has it, or as they are, as most
/// programs send them.
fn basic_matches(header: &str, credentials: &Credentials) -> bool {
    let pair = header
        .split_once(' ')
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("basic"))
        .and_then(|(_, encoded)| STANDARD.decode(encoded.trim()).ok())
        .and_then(|bytes| String::from_utf8(bytes).ok());
    let Some((id, secret)) = pair.as_deref().and_then(|pair| pair.split_once(':')) else {
        return false;
    };
    let is = |sent: &str, known: &str| {
        sent == known || decode_form(sent).is_some_and(|decoded| decoded == known)
    };
    is(id, &credentials.id) && is(secret, &credentials.secret)
}

fn whole_seconds(life: Duration) -> Duration {
    Duration::from_secs(life.as_secs())
}
