//! [`HttpRemote`]: token, pace, retries and wire put together.
//!
//! A call is a [`Trial`]: each of its attempts gets a token and a permit, and what an attempt fails with
//! decides, in one place, whether and when there is another.

mod trial;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt};
use jiff::Timestamp;
use reqwest::Client;
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::content::{self, past_end};
use super::counters::{Counters, Kind, RecentError, Tally};
use super::pacer::Pacer;
use super::search::{self, Query};
use super::secret::SecretSlot;
use super::status::Verdict;
use super::token::{Account, AuthMethod, Tokens};
use super::wire::{self, Body, Room, SetupError, drain, read_long_body};
use super::{
    Class, Conditions, ContentAnswer, ContentRequest, Endpoints, Remote, RemoteError, SearchPage,
    SearchRequest, Terms,
};
use crate::model::{BadInteraction, Guid, Interaction};
use trial::{Failure, Trial};

/// The largest page that is read: a thousand interactions of 64 KiB.
const PAGE_MAX: usize = 64 << 20;
const INTERACTION_MAX: usize = 16 << 20;

/// JSON longer than this is parsed off the runtime's threads: a full page takes milliseconds.
const LONG_JSON: usize = 32 << 10;

/// How the client is set up.
///
/// `Debug` leaves out the client id, as it does the secret.
#[derive(Clone)]
pub struct Settings {
    /// Where the API is.
    pub endpoints: Endpoints,
    /// The client id.
    pub client_id: String,
    /// The client secret; can be replaced at run time.
    pub secret: SecretSlot,
    /// How id and secret are sent.
    pub auth_method: AuthMethod,
    /// Certificates to trust beside the system's, PEM.
    pub ca_file: Option<PathBuf>,
    /// Requests in any 60 s, over all processes that share the ledger; at least 1.
    pub requests_per_minute: u32,
    /// The pace file that processes of this user on this account share; `None` counts this process only.
    pub ledger: Option<PathBuf>,
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings")
            .field("endpoints", &self.endpoints)
            .field("auth_method", &self.auth_method)
            .field("requests_per_minute", &self.requests_per_minute)
            .finish_non_exhaustive()
    }
}

/// The API over HTTP.
pub struct HttpRemote {
    endpoints: Endpoints,
    client: Client,
    pacer: Arc<Pacer>,
    tokens: Tokens,
    tally: Arc<Tally>,
    room: Room,
}

impl HttpRemote {
    /// A client. Makes no request yet, but needs files and threads: not for the runtime's own threads.
    ///
    /// # Errors
    /// [`SetupError`], with a text for the user, when the settings can't be used.
    pub fn new(settings: Settings) -> Result<Arc<Self>, SetupError> {
        let endpoints = settings.endpoints.checked()?;
        if settings.client_id.trim().is_empty() {
            return Err(SetupError::ClientId);
        }
        let (client, tokens_client) = wire::clients(&endpoints, settings.ca_file.as_deref())?;
        let pacer = Pacer::new(settings.requests_per_minute, settings.ledger)
            .map_err(|_| SetupError::Thread)?;
        let pacer = Arc::new(pacer);
        let tally = Arc::new(Tally::default());
        let account = Account {
            endpoint: endpoints.auth.clone(),
            client_id: settings.client_id,
            secret: settings.secret,
            method: settings.auth_method,
        };
        let tokens = Tokens::new(
            account,
            tokens_client,
            Arc::clone(&pacer),
            Arc::clone(&tally),
        );
        Ok(Arc::new(Self {
            endpoints,
            client,
            pacer,
            tokens,
            tally,
            room: Room::for_one(),
        }))
    }

    /// Sees to it that there is a token: whether the credentials are good.
    ///
    /// # Errors
    /// [`RemoteError::Unauthorized`] when they are refused, else why that could not be found out.
    pub async fn check_credentials(&self, terms: Terms) -> Result<(), RemoteError> {
        let token = self.tokens.get(terms.deadline).await;
        self.noted(Kind::Token, token).map(drop)
    }

    /// What time the server says it is, by the `Date` of its answer to a request without credentials; `None` if it
    /// doesn't say.
    ///
    /// # Errors
    /// When no answer could be had within the terms.
    pub async fn server_time(&self, terms: Terms) -> Result<Option<Timestamp>, RemoteError> {
        let url = self
            .endpoints
            .api_url("interactions")
            .ok_or(RemoteError::Protocol("an address that can't be asked"))?;
        let _permit = self.pacer.acquire(terms.class, terms.deadline).await?;
        let answer = tokio::time::timeout_at(terms.deadline, self.client.get(url).send())
            .await
            .map_err(|_| RemoteError::DeadlinePassed)?
            .map_err(|error| wire::failure(&error))?;
        let date = answer.headers().get(reqwest::header::DATE);
        Ok(date
            .and_then(|value| value.to_str().ok())
            .and_then(|text| httpdate::parse_http_date(text).ok())
            .and_then(|time| Timestamp::try_from(time).ok()))
    }

    /// What has been asked and answered so far. Never blocks on disk or network.
    pub fn counters(&self) -> Counters {
        self.tally.read(self.pacer.counters())
    }

    /// How long the pace takes to let `requests` of `class` go, if nobody else asks meanwhile. Never blocks on disk
    /// or network.
    pub fn time_for(&self, class: Class, requests: u64) -> Duration {
        self.pacer.time_for(class, requests)
    }

    /// The latest ways in which calls failed, newest first.
    pub fn recent_errors(&self) -> Vec<RecentError> {
        self.tally.errors()
    }

    /// An outcome as it is, after its trouble was taken note of.
    fn noted<T>(&self, kind: Kind, outcome: Result<T, RemoteError>) -> Result<T, RemoteError> {
        outcome.inspect_err(|error| self.tally.trouble(kind, error))
    }

    async fn search_page(
        &self,
        request: &SearchRequest,
        terms: Terms,
    ) -> Result<SearchPage, RemoteError> {
        let Some(query) = search::query(request, Timestamp::now()) else {
            return Ok(SearchPage::empty());
        };
        let query = Arc::new(query);
        let mut trial = Trial::new(self, Kind::Search, &query.path, terms)?;
        loop {
            match self.try_search(&mut trial, &query, request).await {
                Ok(page) => return Ok(page),
                Err(failure) => trial.absorb(failure).await?,
            }
        }
    }

    async fn try_search(
        &self,
        trial: &mut Trial<'_>,
        query: &Arc<Query>,
        request: &SearchRequest,
    ) -> Result<SearchPage, Failure> {
        let response = trial.send(reqwest::header::HeaderMap::new()).await?;
        match Verdict::of(response.status()) {
            Verdict::Empty => return Ok(SearchPage::empty()),
            Verdict::Answered => {}
            _ => return Err(trial.refused(response).await),
        }
        let body = trial
            .within_deadline(read_long_body(response, PAGE_MAX, &self.tally, &self.room))
            .await?
            .map_err(Failure::transient)?;
        let query = Arc::clone(query);
        let filter = request.filter.clone();
        off_the_reactor(body, move |body| query.read(body, &filter))
            .await
            .map_err(Failure::transient)
    }

    async fn one_interaction(&self, guid: Guid, terms: Terms) -> Result<Interaction, RemoteError> {
        let path = search::interaction_path(guid);
        let mut trial = Trial::new(self, Kind::Interaction, &path, terms)?;
        loop {
            match self.try_interaction(&mut trial, guid).await {
                Ok(interaction) => return Ok(interaction),
                Err(failure) => trial.absorb(failure).await?,
            }
        }
    }

    async fn try_interaction(
        &self,
        trial: &mut Trial<'_>,
        guid: Guid,
    ) -> Result<Interaction, Failure> {
        let response = trial.send(reqwest::header::HeaderMap::new()).await?;
        match Verdict::of(response.status()) {
            Verdict::Empty => return Err(Failure::Final(RemoteError::Gone)),
            Verdict::Answered => {}
            _ => return Err(trial.refused(response).await),
        }
        let body = trial
            .within_deadline(read_long_body(
                response,
                INTERACTION_MAX,
                &self.tally,
                &self.room,
            ))
            .await?
            .map_err(Failure::transient)?;
        off_the_reactor(body, move |body| read_interaction(body, guid))
            .await
            .map_err(Failure::transient)
    }

    async fn read_content(
        &self,
        request: ContentRequest,
        terms: Terms,
    ) -> Result<ContentAnswer, RemoteError> {
        let path = search::content_path(request.guid, &request.key)
            .ok_or(RemoteError::Protocol("a key that no URL can carry"))?;
        let headers = request.headers()?;
        let mut trial =
            Trial::new(self, Kind::Content, &path, terms)?.joined(request.urgency.clone());
        loop {
            match self.try_content(&mut trial, &request, &headers).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => trial.absorb(failure).await?,
            }
        }
    }

    async fn try_content(
        &self,
        trial: &mut Trial<'_>,
        request: &ContentRequest,
        headers: &reqwest::header::HeaderMap,
    ) -> Result<ContentAnswer, Failure> {
        let response = trial.send(headers.clone()).await?;
        match Verdict::of(response.status()) {
            Verdict::Answered | Verdict::Empty => {}
            Verdict::PastEnd => {
                let error = past_end(response.headers());
                drain(response, &self.tally).await;
                return Err(Failure::Final(error));
            }
            _ => return Err(trial.refused(response).await),
        }
        let head = request
            .check(response.status(), response.headers())
            .map_err(Failure::transient)?;
        let body = content::body(response, &head, Arc::clone(&self.tally));
        Ok(ContentAnswer {
            start: head.start,
            end: head.end,
            total: head.total,
            validator: head.validator,
            body,
        })
    }
}

impl std::fmt::Debug for HttpRemote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpRemote")
            .field("endpoints", &self.endpoints)
            .finish_non_exhaustive()
    }
}

impl Remote for HttpRemote {
    fn search<'a>(
        &'a self,
        request: &'a SearchRequest,
        terms: Terms,
    ) -> BoxFuture<'a, Result<SearchPage, RemoteError>> {
        async move { self.noted(Kind::Search, self.search_page(request, terms).await) }.boxed()
    }

    fn interaction(
        &self,
        guid: Guid,
        terms: Terms,
    ) -> BoxFuture<'_, Result<Interaction, RemoteError>> {
        async move { self.noted(Kind::Interaction, self.one_interaction(guid, terms).await) }
            .boxed()
    }

    fn content(
        &self,
        request: ContentRequest,
        terms: Terms,
    ) -> BoxFuture<'_, Result<ContentAnswer, RemoteError>> {
        async move { self.noted(Kind::Content, self.read_content(request, terms).await) }.boxed()
    }

    fn refusal(&self) -> Option<RemoteError> {
        self.tokens.refusal()
    }

    fn admission(&self, deadline: Instant) -> BoxFuture<'_, Result<(), RemoteError>> {
        async move { self.tokens.get(deadline).await.map(drop) }.boxed()
    }

    fn conditions(&self) -> Conditions {
        let pace = self.pacer.counters();
        let budget_left = pace.limit.saturating_sub(pace.granted);
        Conditions {
            budget_left,
            budget_is_idle: budget_left > pace.limit / 2 && pace.waiting == 0,
            latency: self.tally.latency(),
        }
    }
}

fn read_interaction(body: &[u8], guid: Guid) -> Result<Interaction, RemoteError> {
    // Taken as one value first: what stands behind it, as in two answers run together, is an error.
    let json: &RawValue = serde_json::from_slice(body)
        .map_err(|_| RemoteError::Protocol("an interaction that is not JSON"))?;
    let interaction = Interaction::from_json(json.get()).map_err(|error| {
        RemoteError::Protocol(match error {
            BadInteraction::TooLarge => "an object larger than any interaction",
            _ => "an object that is no interaction",
        })
    })?;
    if interaction.guid == guid {
        Ok(interaction)
    } else {
        Err(RemoteError::Protocol(
            "another interaction than was asked for",
        ))
    }
}

/// Parses a body, on a thread for blocking work if it is long.
async fn off_the_reactor<T: Send + 'static>(
    body: Body,
    parse: impl FnOnce(&[u8]) -> Result<T, RemoteError> + Send + 'static,
) -> Result<T, RemoteError> {
    if body.bytes.len() < LONG_JSON {
        return parse(&body.bytes);
    }
    tokio::task::spawn_blocking(move || parse(&body.bytes))
        .await
        .unwrap_or(Err(RemoteError::Protocol(
            "a body that could not be parsed",
        )))
}

#[cfg(test)]
mod scripted;
#[cfg(test)]
mod tests;
