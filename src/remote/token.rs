//! The access token: fetched once for all, renewed before it expires, never shown.
//!
//! One request for a token is under way at a time, as a task of its own, so that a caller who goes away
//! takes nobody's token along. While the old token is still good, a renewal happens behind the callers.
//! A refused secret is not tried again for a while, because lock-out policies are not known.

mod answer;
#[cfg(test)]
mod fuzz;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt, Shared};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use reqwest::{Client, Response};
use secrecy::{ExposeSecret, SecretString};
use tokio::time::{Instant, timeout, timeout_at};
use url::Url;

use super::counters::{Kind, Outcome, Tally};
use super::pacer::{Pacer, Permit};
use super::retry_after::retry_after;
use super::secret::SecretSlot;
use super::status::Verdict;
use super::wire::{self, HEAD_LIMIT, drain, read_body};
use super::{Class, RemoteError, RetryBudget};
use answer::{read_token, refusal};

/// How a client proves who it is at the token endpoint.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum AuthMethod {
    /// Id and secret in the `Authorization` header, which is logged less often than bodies are.
    #[default]
    Basic,
    /// Id and secret as form fields.
    Form,
}

/// The only scope that a reader needs.
const SCOPE: &str = "interaction-content:read";

/// How long all tries for one token may take together, once it is the first one's turn.
const FLIGHT_LIMIT: Duration = Duration::from_secs(60);

/// How long the first try may wait for its turn: longer than any pause.
const TURN_LIMIT: Duration = Duration::from_secs(2 * 86_400);

/// How long a refused secret is not tried again.
const REFUSAL_HOLDS: Duration = Duration::from_secs(60);

/// How long after a renewal failed the next one begins, while the old token is still good.
const RENEWAL_PAUSE: Duration = Duration::from_secs(10);

/// How long a fresh token's 401 or 403 stands for others with the same token: a second new token
/// wouldn't change it, but one day a third might.
const DENIAL_HOLDS: Duration = Duration::from_secs(60);

const BODY_MAX: usize = 64 << 10;
const ERROR_BODY_MAX: usize = 8 << 10;

/// Form encoding's unreserved characters; the space becomes `%20`, which every decoder knows.
const FORM: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// A token, ready to be sent.
#[derive(Clone)]
pub(super) struct Token {
    /// The `Authorization` header, marked as sensitive.
    pub(super) header: HeaderValue,
    /// Tells tokens apart.
    pub(super) serial: u64,
    generation: u64,
    renew_at: Instant,
    expires_at: Instant,
}

/// Who we are, and where that is proved.
pub(super) struct Account {
    pub(super) endpoint: Url,
    pub(super) client_id: String,
    pub(super) secret: SecretSlot,
    pub(super) method: AuthMethod,
}

/// The account's tokens.
pub(super) struct Tokens {
    inner: Arc<Inner>,
}

struct Inner {
    account: Account,
    client: Client,
    pacer: Arc<Pacer>,
    tally: Arc<Tally>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    current: Option<Token>,
    flight: Option<Flight>,
    refusal: Option<Refusal>,
    renewal_not_before: Option<Instant>,
    denial: Option<Denial>,
    serial: u64,
}

type Flight = Shared<BoxFuture<'static, Result<Token, RemoteError>>>;

/// A fresh token that the API has denied, and how long that stands.
struct Denial {
    serial: u64,
    until: Instant,
    error: RemoteError,
}

/// A secret that the endpoint has refused.
struct Refusal {
    generation: u64,
    until: Instant,
    error: RemoteError,
}

/// How one try for a token failed.
enum Failure {
    Final(RemoteError),
    Transient(RemoteError),
    Throttled,
}

impl Tokens {
    pub(super) fn new(
        account: Account,
        client: Client,
        pacer: Arc<Pacer>,
        tally: Arc<Tally>,
    ) -> Self {
        Self {
            inner: Arc::new(Inner {
                account,
                client,
                pacer,
                tally,
                state: Mutex::default(),
            }),
        }
    }

    /// A token that is good now.
    ///
    /// # Errors
    /// [`RemoteError::Unauthorized`] when the credentials are refused, also from memory;
    /// [`RemoteError::NoBudget`] and [`RemoteError::DeadlinePassed`] by the caller's deadline; else what the
    /// request for it failed with.
    pub(super) async fn get(&self, deadline: Instant) -> Result<Token, RemoteError> {
        loop {
            let flight = match self.inner.held()? {
                Held::Token(token) => return Ok(token),
                Held::Flight(flight) => flight,
            };
            let result = tokio::select! {
                biased;
                result = flight => result,
                () = self.inner.pacer.paused_past(deadline) => Err(RemoteError::NoBudget),
                () = tokio::time::sleep_until(deadline) => Err(RemoteError::DeadlinePassed),
            };
            // A pause that is too long for the tries of one flight may be short for this caller: the next
            // flight's first try waits for its end.
            let may_wait = matches!(result, Err(RemoteError::NoBudget))
                && !self.inner.pacer.is_paused_past(deadline)
                && Instant::now() < deadline;
            if !may_wait {
                return result;
            }
        }
    }

    /// The token that is good now, if there is one. Never waits.
    pub(super) fn at_hand(&self) -> Option<Token> {
        let generation = self.inner.account.secret.generation();
        self.inner.lock().good(generation, Instant::now())
    }

    /// Takes note that the API denied a request made with `token`. Whether another token is worth a try:
    /// each token is replaced at most once, but that it may not see one object says nothing of a token that is
    /// refused later.
    pub(super) fn reject(&self, token: &Token, error: &RemoteError) -> bool {
        let mut state = self.inner.lock();
        let stands = state.denial.as_ref().is_some_and(|denial| {
            denial.serial == token.serial
                && Instant::now() < denial.until
                && (denial.error != RemoteError::Forbidden || denial.error == *error)
        });
        if stands {
            return false;
        }
        state
            .current
            .take_if(|current| current.serial == token.serial);
        true
    }

    /// Takes note that a token that had just been renewed for a denial was denied too.
    pub(super) fn denied_afresh(&self, token: &Token, error: &RemoteError) {
        self.inner.lock().denial = Some(Denial {
            serial: token.serial,
            until: Instant::now() + DENIAL_HOLDS,
            error: error.clone(),
        });
    }

    /// Why no request would be accepted just now: the endpoint refused the present secret and no token came
    /// since, or the API will have nothing of a fresh token. A 403 may concern one object only.
    pub(super) fn refusal(&self) -> Option<RemoteError> {
        let generation = self.inner.account.secret.generation();
        let now = Instant::now();
        let state = self.inner.lock();
        let refused = state
            .refusal
            .as_ref()
            .filter(|refusal| refusal.generation == generation)
            .map(|refusal| &refusal.error);
        let denied = state
            .denial
            .as_ref()
            .filter(|denial| now < denial.until)
            .map(|denial| &denial.error)
            .filter(|error| matches!(error, RemoteError::Unauthorized { .. }));
        refused.or(denied).cloned()
    }
}

impl State {
    fn good(&self, generation: u64, now: Instant) -> Option<Token> {
        self.current
            .clone()
            .filter(|token| token.generation == generation && now < token.expires_at)
    }
}

enum Held {
    Token(Token),
    Flight(Flight),
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn held(self: &Arc<Self>) -> Result<Held, RemoteError> {
        let generation = self.account.secret.generation();
        let now = Instant::now();
        let mut state = self.lock();
        if let Some(token) = state.good(generation, now) {
            let is_due = now >= token.renew_at
                && state.flight.is_none()
                && state.renewal_not_before.is_none_or(|at| now >= at);
            if is_due {
                state.flight = Some(self.start());
            }
            return Ok(Held::Token(token));
        }
        let refusal = state
            .refusal
            .as_ref()
            .filter(|refusal| refusal.generation == generation && now < refusal.until);
        if let Some(refusal) = refusal {
            return Err(refusal.error.clone());
        }
        let flight = state.flight.get_or_insert_with(|| self.start()).clone();
        Ok(Held::Flight(flight))
    }

    fn start(self: &Arc<Self>) -> Flight {
        let inner = Arc::clone(self);
        let task = tokio::spawn(async move {
            let result = inner.fetch().await;
            let mut state = inner.lock();
            state.flight = None;
            match &result {
                Ok(token) => {
                    state.current = Some(token.clone());
                    state.refusal = None;
                    state.renewal_not_before = None;
                }
                Err(_) => state.renewal_not_before = Some(Instant::now() + RENEWAL_PAUSE),
            }
            result
        });
        async move {
            task.await
                .unwrap_or(Err(RemoteError::Connection("the client is shut down")))
        }
        .boxed()
        .shared()
    }

    async fn fetch(&self) -> Result<Token, RemoteError> {
        // A reader may be waiting for it, whoever asked first. All who wait give up by deadlines of their own.
        let turn = Instant::now() + TURN_LIMIT;
        let mut permit = self.pacer.acquire(Class::Reader, turn).await?;
        let deadline = Instant::now() + FLIGHT_LIMIT;
        let retries = RetryBudget::standard();
        let (secret, generation) = self.account.secret.current();
        loop {
            let attempt = self.attempt(&secret, generation, permit);
            let failure = match timeout_at(deadline, attempt).await {
                Ok(Ok(token)) => {
                    tracing::debug!("a token was fetched");
                    return Ok(token);
                }
                Ok(Err(failure)) => failure,
                Err(_) => return Err(RemoteError::DeadlinePassed),
            };
            match failure {
                Failure::Throttled => {}
                Failure::Final(error) => {
                    if matches!(error, RemoteError::Unauthorized { .. }) {
                        tracing::warn!(%error, "no token");
                        self.lock().refusal = Some(Refusal {
                            generation,
                            until: Instant::now() + REFUSAL_HOLDS,
                            error: error.clone(),
                        });
                    }
                    return Err(error);
                }
                Failure::Transient(error) => {
                    let delay = retries.take().ok_or_else(|| error.clone())?;
                    if Instant::now() + delay >= deadline {
                        return Err(error);
                    }
                    self.tally.retry();
                    tracing::debug!(%error, "the request for a token is made again");
                    tokio::time::sleep(delay).await;
                }
            }
            permit = self.pacer.acquire(Class::Reader, deadline).await?;
        }
    }

    async fn attempt(
        &self,
        secret: &SecretString,
        generation: u64,
        permit: Permit,
    ) -> Result<Token, Failure> {
        let sent_at = Instant::now();
        let count = |outcome| self.tally.request(Kind::Token, outcome);
        let response = match timeout(HEAD_LIMIT, self.request(secret).send()).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => {
                count(Outcome::Broken);
                let error = wire::failure(&error);
                return Err(if wire::may_pass(&error) {
                    Failure::Transient(error)
                } else {
                    Failure::Final(error)
                });
            }
            Err(_) => {
                count(Outcome::Broken);
                return Err(Failure::Transient(RemoteError::Connection("timed out")));
            }
        };
        let status = response.status();
        match Verdict::of(status) {
            Verdict::Answered => count(Outcome::Answered),
            Verdict::Throttled => {
                count(Outcome::Throttled);
                self.pacer
                    .throttled(permit, retry_after(response.headers()));
                drain(response, &self.tally).await;
                return Err(Failure::Throttled);
            }
            Verdict::Denied => {
                count(Outcome::Denied);
                return Err(Failure::Final(self.refused(response).await));
            }
            _ if status.as_u16() == 400 => {
                count(Outcome::Denied);
                return Err(Failure::Final(self.refused(response).await));
            }
            verdict => {
                count(match verdict {
                    Verdict::Gone => Outcome::Gone,
                    _ => Outcome::Failed,
                });
                drain(response, &self.tally).await;
                let error = RemoteError::Status(status.as_u16());
                return Err(if verdict == Verdict::Troubled {
                    Failure::Transient(error)
                } else {
                    Failure::Final(error)
                });
            }
        }
        let body = read_body(response, BODY_MAX, &self.tally)
            .await
            .map_err(Failure::Transient)?;
        let serial = {
            let mut state = self.lock();
            state.serial += 1;
            state.serial
        };
        read_token(&body, sent_at, serial, generation).map_err(Failure::Transient)
    }

    fn request(&self, secret: &SecretString) -> reqwest::RequestBuilder {
        let encode = |text: &str| utf8_percent_encode(text, FORM).to_string();
        let account = &self.account;
        let id = encode(&account.client_id);
        let secret = encode(secret.expose_secret());
        let mut form = format!("grant_type=client_credentials&scope={}", encode(SCOPE));
        let mut request = self
            .client
            .post(account.endpoint.clone())
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        match account.method {
            // OAuth encodes both before they are joined (RFC 6749, 2.3.1): either may hold a colon.
            AuthMethod::Basic => request = request.basic_auth(id, Some(secret)),
            AuthMethod::Form => {
                form.push_str(&format!("&client_id={id}&client_secret={secret}"));
            }
        }
        request.body(form)
    }

    async fn refused(&self, response: Response) -> RemoteError {
        let status = response.status().as_u16();
        let body = read_body(response, ERROR_BODY_MAX, &self.tally)
            .await
            .unwrap_or_default();
        refusal(status, &body)
    }
}
