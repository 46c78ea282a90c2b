//! Interactions that somebody asks for by GUID.
//!
//! One request serves all who ask for the same GUID at the same time; it is a task of its own, so that
//! no asker's departure strands another. That there is none is remembered for one refresh, that it may
//! not be seen for ten minutes.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use jiff::Timestamp;
use lru::LruCache;
use tokio::time::{Instant, timeout};

use super::walk::{WalkError, blocking, blocking_in};
use super::{Catalogue, CatalogueError, Known};
use crate::disk_watch::PATIENCE;
use crate::lane;
use crate::model::{Guid, NameTable};
use crate::remote::{Class, Remote, RemoteError, RetryBudget, Terms};

/// How many answers that gave nothing are remembered.
const MOST_SETTLED: NonZeroUsize = NonZeroUsize::MIN.saturating_add(16_383);

/// How many GUIDs may be asked for at once.
const MOST_ASKED: usize = 1024;

/// For how long it is remembered that an interaction may not be seen.
const FORBIDDEN_FOR: Duration = Duration::from_secs(600);

type Answer = Result<Option<Arc<Known>>, RemoteError>;

/// The questions under way, and the answers that gave nothing.
pub(super) struct Demands {
    remote: Arc<dyn Remote>,
    catalogue: Arc<Catalogue>,
    refresh: Duration,
    asked: Mutex<HashMap<Guid, Shared<BoxFuture<'static, Answer>>>>,
    settled: Mutex<LruCache<Guid, (Timestamp, Answer)>>,
}

impl Demands {
    pub(super) fn new(
        remote: Arc<dyn Remote>,
        catalogue: Arc<Catalogue>,
        refresh: Duration,
    ) -> Self {
        Self {
            remote,
            catalogue,
            refresh,
            asked: Mutex::default(),
            settled: Mutex::new(LruCache::new(MOST_SETTLED)),
        }
    }

    /// What the catalogue knows of an interaction.
    pub(super) async fn known(&self, guid: Guid) -> Answer {
        let stuck = || Err(for_askers(CatalogueError("its disk doesn't answer".into())));
        self.stored(guid).await.unwrap_or_else(stuck)
    }

    /// What the catalogue knows of an interaction; `None` if its disk doesn't answer.
    async fn stored(&self, guid: Guid) -> Option<Answer> {
        if let Some(known) = self.catalogue.remembered(guid) {
            return Some(Ok(Some(known)));
        }
        let catalogue = self.catalogue.clone();
        let looking = blocking_in(&lane::INTERACTIONS, move || catalogue.interaction(guid));
        tokio::select! {
            biased;
            () = self.catalogue.stuck() => None,
            stored = looking => Some(stored.map_err(for_askers)),
        }
    }

    /// What the catalogue knows, else what is remembered of the API's answer, else what it answers.
    pub(super) async fn find(self: &Arc<Self>, guid: Guid, deadline: Instant) -> Answer {
        if let Some(known) = self.stored(guid).await.transpose()?.flatten() {
            return Ok(Some(known));
        }
        if let Some(answer) = self.settled(guid) {
            return answer;
        }
        self.ask_unless(true, guid, deadline).await
    }

    /// What the API answers now.
    pub(super) async fn ask(self: &Arc<Self>, guid: Guid, deadline: Instant) -> Answer {
        self.ask_unless(false, guid, deadline).await
    }

    async fn ask_unless(
        self: &Arc<Self>,
        known_will_do: bool,
        guid: Guid,
        deadline: Instant,
    ) -> Answer {
        loop {
            let (question, is_mine) = self.join(known_will_do, guid, deadline)?;
            let Ok(answer) = tokio::time::timeout_at(deadline, question).await else {
                return Err(RemoteError::DeadlinePassed);
            };
            let was_hurried = matches!(
                answer,
                Err(RemoteError::DeadlinePassed | RemoteError::NoBudget)
            );
            // Whoever asked first may have had less time than we have.
            if is_mine || !was_hurried || Instant::now() >= deadline {
                return answer;
            }
        }
    }

    /// The question for this GUID, and whether it is asked by this call.
    fn join(
        self: &Arc<Self>,
        known_will_do: bool,
        guid: Guid,
        deadline: Instant,
    ) -> Result<(Shared<BoxFuture<'static, Answer>>, bool), RemoteError> {
        let mut asked = self.asked();
        if let Some(question) = asked.get(&guid) {
            return Ok((question.clone(), false));
        }
        if known_will_do {
            // Whoever looked before an answer was kept may come after its question is gone. An answer is kept
            // first, so under this lock it is found.
            let known = self.catalogue.remembered(guid).map(|known| Ok(Some(known)));
            if let Some(answer) = known.or_else(|| self.settled(guid)) {
                return Ok((futures::future::ready(answer).boxed().shared(), true));
            }
        }
        if asked.len() >= MOST_ASKED {
            return Err(RemoteError::NoBudget);
        }
        let demands = self.clone();
        let task = tokio::spawn(async move {
            let answer = demands.answer(guid, deadline).await;
            demands.asked().remove(&guid);
            answer
        });
        let question = async move {
            task.await
                .unwrap_or(Err(RemoteError::Protocol("a task ended early")))
        }
        .boxed()
        .shared();
        asked.insert(guid, question.clone());
        Ok((question, true))
    }

    async fn answer(&self, guid: Guid, deadline: Instant) -> Answer {
        let terms = Terms {
            class: Class::Reader,
            deadline,
            retries: RetryBudget::standard(),
        };
        let answer = self.remote.interaction(guid, terms).await;
        let catalogue = self.catalogue.clone();
        match answer {
            Ok(interaction) if interaction.guid != guid => {
                Err(RemoteError::Protocol("it is another interaction"))
            }
            Ok(interaction) => {
                self.settlements().pop(&guid);
                let unkept = interaction.clone();
                let kept = blocking(move || {
                    catalogue.take_in(&[interaction])?;
                    catalogue.interaction(guid)
                });
                let error = match timeout(PATIENCE, kept).await {
                    Ok(Ok(known)) => return Ok(known),
                    Ok(Err(error)) => error,
                    Err(_) => CatalogueError("its disk doesn't answer".into()),
                };
                // It is known all the same, if not for long.
                tracing::warn!(%error, "an interaction could not be kept");
                let answer = Ok(Some(Arc::new(Known {
                    names: NameTable::assign(&unkept.items, None),
                    interaction: unkept,
                })));
                self.settle(guid, self.refresh, answer.clone());
                answer
            }
            Err(RemoteError::Gone) => {
                self.settle(guid, self.refresh, Ok(None));
                let removed = blocking(move || {
                    catalogue.gone(guid);
                    Ok(())
                });
                // What waits for the disk is done in the end; nobody need wait for it.
                if let Ok(removed) = timeout(PATIENCE, removed).await {
                    removed.map_err(for_askers)?;
                }
                Ok(None)
            }
            Err(RemoteError::Forbidden) => {
                self.settle(guid, FORBIDDEN_FOR, Err(RemoteError::Forbidden));
                Err(RemoteError::Forbidden)
            }
            Err(error) => Err(error),
        }
    }

    fn settle(&self, guid: Guid, time: Duration, answer: Answer) {
        let until = self
            .catalogue
            .now()
            .checked_add(time)
            .unwrap_or(Timestamp::MAX);
        self.settlements().put(guid, (until, answer));
    }

    fn settled(&self, guid: Guid) -> Option<Answer> {
        let now = self.catalogue.now();
        self.settlements()
            .get(&guid)
            .filter(|(until, _)| now < *until)
            .map(|(_, answer)| answer.clone())
    }

    fn asked(&self) -> MutexGuard<'_, HashMap<Guid, Shared<BoxFuture<'static, Answer>>>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn settlements(&self) -> MutexGuard<'_, LruCache<Guid, (Timestamp, Answer)>> {
        self.settled.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn for_askers(error: CatalogueError) -> RemoteError {
    tracing::warn!(%error, "an interaction could not be looked up");
    WalkError::from(error).for_readers()
}
