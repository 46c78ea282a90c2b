//! One call's attempts: what each needs, and what comes after one that failed.

use std::future::Future;
use std::time::Duration;

use reqwest::Response;
use reqwest::header::{AUTHORIZATION, HeaderMap, LOCATION};
use tokio::time::{Instant, timeout, timeout_at};

use super::HttpRemote;
use crate::remote::counters::{Kind, Outcome};
use crate::remote::redirect::{Hop, REDIRECT_LIMIT};
use crate::remote::retry_after::retry_after;
use crate::remote::status::Verdict;
use crate::remote::token::Token;
use crate::remote::wire::{self, APPLICATION, HEAD_LIMIT, drain};
use crate::remote::{RemoteError, Terms, Urgency};

/// How an attempt failed.
pub(super) enum Failure {
    /// Trying again would change nothing.
    Final(RemoteError),
    /// Another attempt may succeed, not sooner than the server asked.
    Transient {
        error: RemoteError,
        told: Option<Duration>,
    },
    /// 429: the pacer knows, and holds the next attempt back.
    Throttled,
    /// 401 or 403, with this token.
    Denied(RemoteError, Token),
}

impl Failure {
    /// A failure that another attempt may cure.
    pub(super) fn transient(error: RemoteError) -> Self {
        Self::Transient { error, told: None }
    }
}

/// A call under way.
pub(super) struct Trial<'a> {
    remote: &'a HttpRemote,
    kind: Kind,
    target: Hop,
    terms: Terms,
    urgency: Urgency,
    /// The token of the attempt under way.
    token: Option<Token>,
    /// A token was replaced because of this call.
    has_renewed: bool,
}

impl<'a> Trial<'a> {
    /// A call of `path` below the API's base.
    pub(super) fn new(
        remote: &'a HttpRemote,
        kind: Kind,
        path: &str,
        terms: Terms,
    ) -> Result<Self, RemoteError> {
        let url = remote
            .endpoints
            .api_url(path)
            .ok_or(RemoteError::Protocol("a request that no URL can carry"))?;
        Ok(Self {
            remote,
            kind,
            target: Hop { url, is_api: true },
            urgency: Urgency::of(terms.class),
            terms,
            token: None,
            has_renewed: false,
        })
    }

    /// The same call, as urgent as others make it.
    pub(super) fn joined(self, urgency: Urgency) -> Self {
        Self { urgency, ..self }
    }

    /// One attempt, up to an answer's head: follows redirects, counts requests, reports 429s.
    pub(super) async fn send(&mut self, headers: HeaderMap) -> Result<Response, Failure> {
        let deadline = self.terms.deadline;
        let mut hop = self.target.clone();
        for _ in 0..=REDIRECT_LIMIT {
            let response = if hop.is_api {
                self.ask_api(&hop, &headers).await?
            } else {
                let request = self.remote.client.get(hop.url.clone());
                self.head(request.headers(headers.clone())).await?
            };
            match Verdict::of(response.status()) {
                Verdict::Elsewhere => {
                    let location = response.headers().get(LOCATION);
                    let next = hop
                        .follow(location.and_then(|value| value.to_str().ok()))
                        .map_err(Failure::Final)?;
                    drain(response, &self.remote.tally).await;
                    hop = next;
                }
                // Another host's limit says nothing of the API's, nor does its refusal of the token.
                Verdict::Throttled if !hop.is_api => {
                    return Err(Failure::Transient {
                        told: retry_after(response.headers()),
                        error: RemoteError::Status(429),
                    });
                }
                Verdict::Denied if !hop.is_api => {
                    // A signed URL that has expired: the API gives a new one.
                    let status = response.status().as_u16();
                    return Err(Failure::transient(RemoteError::Status(status)));
                }
                _ if Instant::now() >= deadline => {
                    return Err(Failure::Final(RemoteError::DeadlinePassed));
                }
                _ => return Ok(response),
            }
        }
        Err(Failure::Final(RemoteError::Protocol("too many redirects")))
    }

    /// One request to the API itself, with token and permit.
    async fn ask_api(&mut self, hop: &Hop, headers: &HeaderMap) -> Result<Response, Failure> {
        let deadline = self.terms.deadline;
        let remote = self.remote;
        // The token first: waiting for one with a permit in hand would make the request later than granted.
        let token = remote.tokens.get(deadline).await.map_err(Failure::Final)?;
        let permit = loop {
            let class = self.urgency.class();
            tokio::select! {
                biased;
                permit = remote.pacer.acquire(class, deadline) => break permit.map_err(Failure::Final)?,
                () = self.urgency.raised_above(class) => {}
            }
        };
        // The turn may have come long after: what was denied to others meanwhile need not be denied once more.
        let token = remote.tokens.at_hand().unwrap_or(token);
        let request = remote
            .client
            .get(hop.url.clone())
            .headers(headers.clone())
            .header(AUTHORIZATION, token.header.clone())
            .header(APPLICATION.0, APPLICATION.1);
        self.token = Some(token);
        let sent_at = Instant::now();
        let answer = self.head(request).await;
        let outcome = answer.as_ref().map_or(Outcome::Broken, |response| {
            match Verdict::of(response.status()) {
                Verdict::Answered | Verdict::Empty | Verdict::Elsewhere | Verdict::PastEnd => {
                    Outcome::Answered
                }
                Verdict::Denied => Outcome::Denied,
                Verdict::Gone => Outcome::Gone,
                Verdict::Throttled => Outcome::Throttled,
                Verdict::Troubled | Verdict::Refused => Outcome::Failed,
            }
        });
        remote.tally.request(self.kind, outcome);
        let response = answer?;
        if self.kind == Kind::Content && outcome == Outcome::Answered {
            remote.tally.head_took(sent_at.elapsed());
        }
        if outcome == Outcome::Throttled {
            let told = retry_after(response.headers());
            remote.pacer.throttled(permit, told);
            tracing::debug!(kind = ?self.kind, ?told, "the API asks for a slower pace");
            drain(response, &remote.tally).await;
            return Err(Failure::Throttled);
        }
        Ok(response)
    }

    async fn head(&self, request: reqwest::RequestBuilder) -> Result<Response, Failure> {
        let sent = timeout(HEAD_LIMIT, request.send());
        match timeout_at(self.terms.deadline, sent).await {
            Ok(Ok(Ok(response))) => Ok(response),
            Ok(Ok(Err(error))) => {
                let error = wire::failure(&error);
                Err(if wire::may_pass(&error) {
                    Failure::transient(error)
                } else {
                    Failure::Final(error)
                })
            }
            Ok(Err(_)) => Err(Failure::transient(RemoteError::Connection("timed out"))),
            Err(_) => Err(Failure::Final(RemoteError::DeadlinePassed)),
        }
    }

    /// What an answer without anything usable means.
    pub(super) async fn refused(&self, response: Response) -> Failure {
        let status = response.status();
        let told = retry_after(response.headers());
        drain(response, &self.remote.tally).await;
        let error = RemoteError::Status(status.as_u16());
        match Verdict::of(status) {
            Verdict::Gone => Failure::Final(RemoteError::Gone),
            Verdict::Troubled => Failure::Transient { error, told },
            Verdict::Denied => {
                let error = if status.as_u16() == 401 {
                    RemoteError::Unauthorized {
                        reason: "status 401",
                    }
                } else {
                    RemoteError::Forbidden
                };
                match self.token.clone() {
                    Some(token) => Failure::Denied(error, token),
                    None => Failure::Final(error),
                }
            }
            _ => Failure::Final(error),
        }
    }

    /// Runs `work` until the deadline at the longest.
    pub(super) async fn within_deadline<T>(
        &self,
        work: impl Future<Output = T>,
    ) -> Result<T, Failure> {
        timeout_at(self.terms.deadline, work)
            .await
            .map_err(|_| Failure::Final(RemoteError::DeadlinePassed))
    }

    /// Waits until the next attempt is due.
    ///
    /// # Errors
    /// With what the call fails, when there is no next attempt.
    pub(super) async fn absorb(&mut self, failure: Failure) -> Result<(), RemoteError> {
        match failure {
            Failure::Final(error) => Err(error),
            // A 429 takes none of the few retries: the pace spaces the attempts, the deadline ends them.
            Failure::Throttled => Ok(()),
            Failure::Denied(error, token) => {
                if self.has_renewed {
                    self.remote.tokens.denied_afresh(&token, &error);
                    return Err(error);
                }
                self.has_renewed = true;
                if self.remote.tokens.reject(&token, &error) {
                    tracing::debug!(kind = ?self.kind, "denied: a new token is tried");
                    Ok(())
                } else {
                    Err(error)
                }
            }
            Failure::Transient { error, told } => {
                let Some(delay) = self.terms.retries.take() else {
                    return Err(error);
                };
                let due = Instant::now() + delay.max(told.unwrap_or_default().min(MAX_TOLD));
                if due >= self.terms.deadline {
                    return Err(error);
                }
                self.remote.tally.retry();
                tracing::debug!(kind = ?self.kind, %error, "the request is made again");
                tokio::time::sleep_until(due).await;
                Ok(())
            }
        }
    }
}

/// A longer `Retry-After` than any deadline is as good as for ever, and can be added to a time.
const MAX_TOLD: Duration = Duration::from_secs(86_400);
