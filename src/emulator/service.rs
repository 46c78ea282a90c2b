//! From a request to its answer: limit, fault, token, version, endpoint, in this order.
//!
//! Nothing here waits or touches a socket; how an answer is sent stands in its `Delivery`.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use tokio::sync::Semaphore;
use tokio::time::Instant;
use uuid::Uuid;

use super::account::Account;
use super::content;
use super::delete;
use super::errors::{self, V3};
use super::faults::{Fault, Faults};
use super::http::{Answer, Request};
use super::log::{Endpoint, Entry, Outcome, RequestLog};
use super::pace::{Pace, too_many};
use super::path::{API_PATH, Origin, Target};
use super::search;
use super::switches::{Redirect, Switches};
use super::token::{self, Credentials, Tokens};

/// The emulator's state, shared by all connections.
pub(super) struct Service {
    pub(super) account: Account,
    pub(super) faults: Faults,
    pub(super) log: RequestLog,
    pub(super) tokens: Tokens,
    pub(super) credentials: Credentials,
    pub(super) protected: Mutex<HashSet<Uuid>>,
    switches: RwLock<Arc<Switches>>,
    pace: Pace,
    deletions: Pace,
    /// Deletions go one at a time (reference, section 9).
    deleting: Arc<Semaphore>,
    /// What redirects point at.
    tickets: Mutex<HashMap<String, (Uuid, String)>>,
    /// `scheme://host:port` of the API and of where redirects lead to.
    pub(super) api_origin: String,
    pub(super) storage_origin: String,
    /// What continuations and tickets are made with.
    secret: u64,
    answers: AtomicU64,
}

impl Service {
    pub(super) fn new(
        account: Account,
        credentials: Credentials,
        switches: Switches,
        origins: (String, String),
        secret: u64,
    ) -> Self {
        let (api_origin, storage_origin) = origins;
        Self {
            account,
            faults: Faults::default(),
            log: RequestLog::default(),
            tokens: Tokens::new(secret.rotate_left(32)),
            credentials,
            protected: Mutex::default(),
            switches: RwLock::new(Arc::new(switches)),
            pace: Pace::default(),
            deletions: Pace::default(),
            deleting: Arc::new(Semaphore::new(1)),
            tickets: Mutex::default(),
            api_origin,
            storage_origin,
            secret,
            answers: AtomicU64::new(0),
        }
    }

    pub(super) fn switches(&self) -> Arc<Switches> {
        let switches = self.switches.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&switches)
    }

    pub(super) fn set_switches(&self, switches: Switches) {
        let mut known = self
            .switches
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        *known = Arc::new(switches);
    }

    pub(super) fn forget_pace(&self) {
        self.pace.clear();
        self.deletions.clear();
    }

    /// Enters a request in the log and answers it. The number is the log's.
    pub(super) fn answer(
        &self,
        request: &Request,
        origin: Origin,
        connection: u64,
    ) -> (u64, Answer) {
        let mut switches = self.switches();
        let target = Target::parse(origin, &request.path, switches.guid_any_case);
        let entry = self.entry(request, &target, connection);
        let (endpoint, guid, key) = (entry.endpoint, entry.guid, entry.key.clone());
        let sequence = self.log.begin(entry);
        if let Err(refusal) = self.admit(origin, &switches) {
            return (sequence, with_pace(*refusal, &switches));
        }
        let fault = self.faults.find(endpoint, guid, key.as_deref());
        match fault {
            Some(Fault::IgnoreRange) => Arc::make_mut(&mut switches).ignore_ranges = true,
            Some(Fault::RedirectElsewhere) => {
                Arc::make_mut(&mut switches).redirect = Redirect::OtherHost;
            }
            _ => {}
        }
        let instead = match fault {
            Some(Fault::RedirectLoop) => {
                let own = format!("{}{}?{}", self.origin(origin), request.path, request.query);
                Some(Answer::empty(302).with("location", own))
            }
            Some(fault) => fault.instead(),
            None => None,
        };
        let answer = instead.unwrap_or_else(|| self.dispatch(request, origin, &target, &switches));
        let mut answer = with_pace(answer, &switches);
        if let Some(fault) = fault {
            fault.spoil(&mut answer);
        }
        if request.method == "HEAD" {
            // An answer to HEAD never has a body, not even an error's.
            answer.body.end = answer.body.start;
        }
        (sequence, answer)
    }

    fn admit(&self, origin: Origin, switches: &Switches) -> Result<(), Box<Answer>> {
        // What a redirect leads to is no part of the API, so not of its limit.
        if origin == Origin::Storage {
            return Ok(());
        }
        let limit = switches.requests_per_minute;
        self.pace
            .admit(Instant::now(), limit, switches.count_refused)
            .map_err(|wait| Box::new(too_many(wait, switches.retry_after)))
    }

    fn dispatch(
        &self,
        request: &Request,
        origin: Origin,
        target: &Target,
        switches: &Switches,
    ) -> Answer {
        if *target == Target::Token {
            return token::answer(request, &self.credentials, &self.tokens, switches);
        }
        if *target == Target::Unknown {
            return errors::message(404, "Not Found");
        }
        if !target.allows(&request.method) {
            return errors::message(405, "Method Not Allowed");
        }
        let token = token::bearer(request);
        if origin == Origin::Storage {
            // Like a store of signed URLs: two ways to authenticate at once are an error. A client that
            // carries the token to another origin is found out here.
            if request.header("authorization").is_some() {
                return errors::html(400);
            }
        } else if let Err(refusal) = self.check(request, target, token) {
            return *refusal;
        }
        match target {
            Target::Search => {
                let token = token.unwrap_or_default();
                search::answer(&request.query, token, &self.account, switches, self.secret)
            }
            Target::Interaction(Err(complaint)) | Target::Content(Err(complaint), _) => {
                errors::message(400, complaint)
            }
            Target::Interaction(Ok(guid)) if request.method == "DELETE" => {
                self.delete(switches, || delete::one(*guid, &self.account))
            }
            Target::Interaction(Ok(guid)) => self.interaction(*guid, switches),
            Target::Content(Ok(guid), key) => self.content(request, *guid, key, switches),
            Target::DeleteBatch => self.delete(switches, || {
                let protected = self
                    .protected
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner);
                delete::batch(request, &self.account, &protected)
            }),
            Target::Stored(ticket) => self.stored(request, ticket, switches),
            Target::Token | Target::Unknown => errors::message(404, "Not Found"),
        }
    }

    fn check(
        &self,
        request: &Request,
        target: &Target,
        token: Option<&str>,
    ) -> Result<(), Box<Answer>> {
        let deletes = target.endpoint(&request.method) == Endpoint::Delete;
        let scope = if deletes { token::DELETE } else { token::READ };
        self.tokens.check(token, scope)?;
        check_version(request.header("accept"))
    }

    fn interaction(&self, guid: Uuid, switches: &Switches) -> Answer {
        match self.account.get(guid) {
            Some(interaction) if !interaction.content.is_empty() => {
                let mut body = Vec::new();
                interaction.write_json(switches, &mut body);
                errors::json(200, body)
            }
            _ => errors::message(404, "The interaction does not exist"),
        }
    }

    fn content(&self, request: &Request, guid: Uuid, key: &str, switches: &Switches) -> Answer {
        let interaction = self.account.get(guid);
        let item = interaction
            .as_ref()
            .and_then(|interaction| content::find(interaction, key, switches));
        let Some(item) = item else {
            return errors::message(404, "The content does not exist");
        };
        let place = match switches.redirect {
            Redirect::No => {
                let count = self.answers.fetch_add(1, Ordering::Relaxed);
                return content::answer(request, guid, item, switches, count);
            }
            _ if item.forbidden => return errors::message(403, "Access to this content is denied"),
            Redirect::OtherHost => format!("{}/stored/", self.storage_origin),
            Redirect::SameHost => format!("{}{API_PATH}/stored/", self.api_origin),
        };
        Answer::empty(302).with("location", place + &self.ticket(guid, &item.key))
    }

    fn ticket(&self, guid: Uuid, key: &str) -> String {
        let what = format!("{guid}/{key}");
        let hash = xxhash_rust::xxh3::xxh3_128_with_seed(what.as_bytes(), self.secret);
        let ticket = format!("{hash:032x}");
        let mut tickets = self.tickets.lock().unwrap_or_else(PoisonError::into_inner);
        tickets.insert(ticket.clone(), (guid, key.to_owned()));
        ticket
    }

    fn stored(&self, request: &Request, ticket: &str, switches: &Switches) -> Answer {
        let found = {
            let tickets = self.tickets.lock().unwrap_or_else(PoisonError::into_inner);
            tickets.get(ticket).cloned()
        };
        match found {
            Some((guid, key)) => {
                let here = Switches {
                    redirect: Redirect::No,
                    ..switches.clone()
                };
                self.content(request, guid, &key, &here)
            }
            None => errors::message(404, "Not Found"),
        }
    }

    /// Deletes within the deletion limit, and never two at a time: the permit is held until the answer is
    /// sent.
    fn delete(&self, switches: &Switches, delete: impl FnOnce() -> Answer) -> Answer {
        let Ok(permit) = Arc::clone(&self.deleting).try_acquire_owned() else {
            return too_many(std::time::Duration::from_secs(1), switches.retry_after);
        };
        let limit = switches.deletes_per_minute;
        if let Err(wait) = (self.deletions).admit(Instant::now(), limit, switches.count_refused) {
            return too_many(wait, switches.retry_after);
        }
        let mut answer = delete();
        answer.permit = Some(permit);
        answer
    }

    fn origin(&self, origin: Origin) -> &str {
        match origin {
            Origin::Api => &self.api_origin,
            Origin::Storage => &self.storage_origin,
        }
    }

    fn entry(&self, request: &Request, target: &Target, connection: u64) -> Entry {
        let (guid, key) = match target {
            Target::Interaction(guid) => (guid.as_ref().ok().copied(), None),
            Target::Content(guid, key) => (guid.as_ref().ok().copied(), Some(key.clone())),
            Target::Stored(ticket) => {
                let tickets = self.tickets.lock().unwrap_or_else(PoisonError::into_inner);
                match tickets.get(ticket) {
                    Some((guid, key)) => (Some(*guid), Some(key.clone())),
                    None => (None, None),
                }
            }
            _ => (None, None),
        };
        let header = |name| request.header(name).map(str::to_owned);
        Entry {
            sequence: 0,
            time: std::time::Duration::ZERO,
            connection,
            endpoint: target.endpoint(&request.method),
            method: request.method.clone(),
            guid,
            key,
            query: request.query.clone(),
            range: header("range"),
            if_range: header("if-range"),
            accept: header("accept"),
            token: token::bearer(request).map(str::to_owned),
            status: None,
            bytes_sent: 0,
            outcome: Outcome::Pending,
        }
    }
}

fn with_pace(mut answer: Answer, switches: &Switches) -> Answer {
    answer.delivery.delay = switches.latency;
    answer.delivery.rate = switches.bandwidth;
    answer
}

/// `Accept` must name version 3. A list may, among others.
fn check_version(accept: Option<&str>) -> Result<(), Box<Answer>> {
    const VENDOR: &str = "application/vnd.newvoicemedia.v";
    let accept = accept.unwrap_or_default().to_ascii_lowercase();
    let mut types = accept
        .split(',')
        .map(|media_type| media_type.split(';').next().unwrap_or_default().trim());
    if types.clone().any(|media_type| media_type == V3) {
        return Ok(());
    }
    let is_wrong = types.any(|media_type| media_type.starts_with(VENDOR));
    Err(Box::new(errors::api_version(is_wrong)))
}
