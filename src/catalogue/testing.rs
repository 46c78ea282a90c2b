//! What the tests of the catalogue share.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use futures::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};

use super::{Change, Changes, Known, Unremembered};
use crate::model::{Guid, Interaction, NameTable, Personal, TimeWindow};
use crate::remote::{
    Class, Conditions, ContentAnswer, ContentRequest, Continuation, Remote, RemoteError,
    SearchPage, SearchRequest, Terms,
};

/// When the tests' clock begins.
pub(super) fn base() -> Timestamp {
    "2026-11-22T12:00:00Z".parse().unwrap()
}

/// A time some seconds after a far past.
pub(super) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_000_000_000 + second).unwrap()
}

pub(super) fn span(from: i64, to: i64) -> TimeWindow {
    TimeWindow {
        from: at(from),
        to: at(to),
    }
}

pub(super) fn guid(number: u32) -> Guid {
    format!("{number:08x}-77aa-4d10-9c51-6f0d3b2a9e44")
        .parse()
        .unwrap()
}

/// An interaction with a recording, which starts `second` seconds after [`at`]'s zero.
pub(super) fn interaction(number: u32, second: i64) -> Interaction {
    build(number, at(second), "inbound", &["7"], &["callRecording"])
}

pub(super) fn build(
    number: u32,
    start: Timestamp,
    direction: &str,
    agents: &[&str],
    keys: &[&str],
) -> Interaction {
    let agents: Vec<_> = agents
        .iter()
        .map(|id| serde_json::json!({"id": id}))
        .collect();
    let content: Vec<_> = keys
        .iter()
        .map(|key| {
            serde_json::json!({"contentKey": key, "type": key.split('-').next().unwrap(),
                "contentType": "application/json", "contentLength": 10,
                "lastModified": "2024-03-05T09:20:31Z"})
        })
        .collect();
    let json = serde_json::json!({"guid": guid(number).to_string(), "start": start.to_string(),
        "connectFrom": format!("+44{number:08}"), "direction": direction, "handlingAgents": agents,
        "content": content});
    Interaction::from_json(&json.to_string()).unwrap()
}

pub(super) fn known(interaction: Interaction) -> Arc<Known> {
    let names = NameTable::assign(&interaction.items, None);
    Arc::new(Known { interaction, names })
}

/// Keeps the changes it is told.
#[derive(Default)]
pub(super) struct Heard(Mutex<Vec<Change>>);

impl Changes for Heard {
    fn changed(&self, change: Change) {
        self.0.lock().unwrap().push(change);
    }
}

impl Heard {
    /// The changes since the last call, as words.
    pub(super) fn take(&self) -> Vec<String> {
        let changes = std::mem::take(&mut *self.0.lock().unwrap());
        let words = |change: &Change| match change {
            Change::Added(guid, _) => vec![format!("added {guid:?}")],
            Change::Updated { now, .. } => vec![format!("updated {:?}", now.interaction.guid)],
            Change::Removed(known) => vec![format!("removed {:?}", known.interaction.guid)],
            Change::Unremembered(changed) => changed
                .iter()
                .map(|Unremembered { guid, now }| match now {
                    Some(_) => format!("updated unremembered {guid:?}"),
                    None => format!("removed unremembered {guid:?}"),
                })
                .collect(),
        };
        changes.iter().flat_map(words).collect()
    }
}

/// A search that the server was asked for.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) window: TimeWindow,
    pub(super) first: bool,
    pub(super) class: Class,
}

/// How the server departs from the rules; each takes a page of what it would have answered.
pub(super) type Lie =
    Box<dyn Fn(&SearchRequest, usize) -> Option<Result<SearchPage, RemoteError>> + Send + Sync>;

#[derive(Default)]
pub(super) struct Account {
    pub(super) interactions: BTreeMap<Guid, Interaction>,
    pub(super) searches: Vec<Asked>,
    pub(super) reads: Vec<Guid>,
    pub(super) failing: Option<RemoteError>,
    pub(super) lie: Option<Lie>,
    pub(super) page_size: usize,
}

/// A server with an account, in memory.
#[derive(Default)]
pub(super) struct FakeRemote {
    pub(super) account: Mutex<Account>,
    /// While set, answers wait for a permit.
    pub(super) gate: Mutex<Option<Arc<tokio::sync::Semaphore>>>,
    /// The next search of a window that holds this breaks down.
    pub(super) breaks_at: Mutex<Option<Timestamp>>,
}

impl FakeRemote {
    pub(super) fn new(interactions: impl IntoIterator<Item = Interaction>) -> Arc<Self> {
        let remote = Self::default();
        let mut account = remote.account.lock().unwrap();
        account.page_size = 1000;
        account.interactions = interactions.into_iter().map(|i| (i.guid, i)).collect();
        drop(account);
        Arc::new(remote)
    }

    pub(super) fn put(&self, interaction: Interaction) {
        let mut account = self.account.lock().unwrap();
        account.interactions.insert(interaction.guid, interaction);
    }

    pub(super) fn delete(&self, guid: Guid) {
        self.account.lock().unwrap().interactions.remove(&guid);
    }

    pub(super) fn lie(
        &self,
        lie: impl Fn(&SearchRequest, usize) -> Option<Result<SearchPage, RemoteError>>
        + Send
        + Sync
        + 'static,
    ) {
        self.account.lock().unwrap().lie = Some(Box::new(lie));
    }

    pub(super) fn fail(&self, error: Option<RemoteError>) {
        self.account.lock().unwrap().failing = error;
    }

    pub(super) fn searches(&self) -> Vec<Asked> {
        self.account.lock().unwrap().searches.clone()
    }

    pub(super) fn reads(&self) -> usize {
        self.account.lock().unwrap().reads.len()
    }

    async fn pass_gate(&self) {
        let gate = self.gate.lock().unwrap().clone();
        if let Some(gate) = gate {
            gate.acquire().await.unwrap().forget();
        }
    }

    fn answer(&self, request: &SearchRequest, class: Class) -> Result<SearchPage, RemoteError> {
        let mut account = self.account.lock().unwrap();
        let calls = account.searches.len();
        account.searches.push(Asked {
            window: request.window,
            first: request.continuation.is_none(),
            class,
        });
        if let Some(error) = &account.failing {
            return Err(error.clone());
        }
        if let Some(answer) = account.lie.as_ref().and_then(|lie| lie(request, calls)) {
            return answer;
        }
        assert!(
            request.window.to.duration_since(request.window.from)
                <= SignedDuration::from_hours(168)
        );
        let skip: usize = request
            .continuation
            .as_ref()
            .map_or(0, |token| token.0.reveal().parse().unwrap());
        let mut matching = account
            .interactions
            .values()
            .filter(|i| request.window.contains(i.start) && request.filter.admits(i))
            .skip(skip);
        let interactions: Vec<_> = matching.by_ref().take(account.page_size).cloned().collect();
        let more = matching.next().is_some();
        Ok(SearchPage {
            unreadable: 0,
            continuation: more.then(|| token(&(skip + interactions.len()).to_string())),
            interactions,
        })
    }
}

pub(super) fn token(text: &str) -> Continuation {
    Continuation(Personal::new(text.into()))
}

pub(super) fn page_of(
    interactions: impl IntoIterator<Item = Interaction>,
    next: Option<&str>,
) -> SearchPage {
    SearchPage {
        interactions: interactions.into_iter().collect(),
        unreadable: 0,
        continuation: next.map(token),
    }
}

impl Remote for FakeRemote {
    fn search<'a>(
        &'a self,
        request: &'a SearchRequest,
        terms: Terms,
    ) -> BoxFuture<'a, Result<SearchPage, RemoteError>> {
        Box::pin(async move {
            self.pass_gate().await;
            let breaks = {
                let mut at = self.breaks_at.lock().unwrap();
                at.take_if(|at| request.window.contains(*at)).is_some()
            };
            assert!(!breaks, "on purpose");
            self.answer(request, terms.class)
        })
    }

    fn interaction(
        &self,
        guid: Guid,
        _terms: Terms,
    ) -> BoxFuture<'_, Result<Interaction, RemoteError>> {
        Box::pin(async move {
            self.pass_gate().await;
            let mut account = self.account.lock().unwrap();
            account.reads.push(guid);
            if let Some(error) = &account.failing {
                return Err(error.clone());
            }
            account
                .interactions
                .get(&guid)
                .cloned()
                .ok_or(RemoteError::Gone)
        })
    }

    fn content(
        &self,
        _request: ContentRequest,
        _terms: Terms,
    ) -> BoxFuture<'_, Result<ContentAnswer, RemoteError>> {
        Box::pin(async { Err(RemoteError::Gone) })
    }

    fn conditions(&self) -> Conditions {
        Conditions {
            budget_left: 100,
            budget_is_idle: true,
            latency: std::time::Duration::from_millis(50),
        }
    }
}
