//! Interactions that somebody asks for by GUID.
//!
//! One request serves all who ask for the same GUID at the same time; it is a task of its own, so that
//! no asker's departure strands another. That there is none is remembered for one refresh, as is what could not be
//! written down; that it may not be seen for ten minutes. The catalogue knows better than what is remembered, so
//! while it can't be looked at, it is asked again whether there is one.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, Either, Shared, select};
use jiff::Timestamp;
use lru::LruCache;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use super::walk::{WalkError, blocking_in};
use super::{Catalogue, CatalogueError, Known};
use crate::lane::{self, Lane};
use crate::model::{Guid, Interaction, NameTable};
use crate::remote::{Class, Remote, RemoteError, RetryBudget, Terms};

/// How many answers that are in no catalogue are remembered.
const MOST_SETTLED: NonZeroUsize = NonZeroUsize::MIN.saturating_add(16_383);

/// How many GUIDs may be asked for at once.
const MOST_ASKED: usize = 1024;

/// How many answers may wait to be written down.
const MOST_UNWRITTEN: usize = 1024;

/// For how long it is remembered that an interaction may not be seen.
const FORBIDDEN_FOR: Duration = Duration::from_secs(600);

type Answer = Result<Option<Arc<Known>>, RemoteError>;

/// The questions under way, and the answers that are in no catalogue.
pub(super) struct Demands {
    remote: Arc<dyn Remote>,
    catalogue: Arc<Catalogue>,
    refresh: Duration,
    asked: Mutex<HashMap<Guid, Shared<BoxFuture<'static, Answer>>>>,
    settled: Mutex<LruCache<Guid, (Range<Timestamp>, Answer)>>,
    /// Where the catalogue is looked at, and where answers are written down.
    looks: &'static Lane,
    writes: &'static Lane,
    /// For answers that wait to be written down.
    places: Arc<Semaphore>,
}

/// Which of the answers that are remembered will do.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Remembered {
    /// It is to be asked now.
    None,
    /// Only that there is one: the catalogue couldn't be looked at, and may have been told of it since.
    Found,
    /// Any: the catalogue knows nothing.
    Any,
}

/// What came of writing an interaction down.
enum Kept {
    /// It was; `None` if it was removed at once.
    Done(Option<Arc<Known>>),
    /// It could not be; and what the catalogue has instead, if that can be told.
    Not(CatalogueError, Option<Option<Arc<Known>>>),
}

/// A question that is under way until this is dropped: one that broke down is no answer for ever.
struct Question {
    demands: Arc<Demands>,
    guid: Guid,
}

impl Drop for Question {
    fn drop(&mut self) {
        self.demands.asked().remove(&self.guid);
    }
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
            looks: &lane::INTERACTIONS,
            writes: &lane::CATALOGUE,
            places: Arc::new(Semaphore::new(MOST_UNWRITTEN)),
        }
    }

    /// What the catalogue knows of an interaction. A disk that takes its time is waited for: nobody else can tell.
    pub(super) async fn known(&self, guid: Guid, deadline: Instant) -> Answer {
        if let Some(known) = self.catalogue.remembered(guid) {
            return Ok(Some(known));
        }
        timeout_at(deadline, self.look(guid))
            .await
            .unwrap_or(Err(RemoteError::DeadlinePassed))
    }

    /// Looks into the catalogue, however long its disk takes.
    async fn look(&self, guid: Guid) -> Answer {
        let catalogue = self.catalogue.clone();
        blocking_in(self.looks, move || catalogue.interaction(guid))
            .await
            .map_err(for_askers)
    }

    /// What the catalogue knows, else what is remembered of the API's answer, else what it answers.
    pub(super) async fn find(self: &Arc<Self>, guid: Guid, deadline: Instant) -> Answer {
        if let Some(known) = self.catalogue.remembered(guid) {
            return Ok(Some(known));
        }
        let mut looking = pin!(self.look(guid));
        let stored = tokio::select! {
            biased;
            () = self.catalogue.stuck() => None,
            stored = &mut looking => Some(stored?),
        };
        match stored {
            Some(Some(known)) => Ok(Some(known)),
            Some(None) => self.ask_unless(Remembered::Any, guid, deadline).await,
            None => {
                // Whoever can tell first does.
                let asking = pin!(self.ask_unless(Remembered::Found, guid, deadline));
                match select(asking, looking).await {
                    Either::Left((answer @ (Ok(_) | Err(RemoteError::Forbidden)), _)) => answer,
                    // The API can't: the disk may only be slow.
                    Either::Left((failed, looking)) => match timeout_at(deadline, looking).await {
                        Ok(Ok(Some(known))) => Ok(Some(known)),
                        _ => failed,
                    },
                    Either::Right((Ok(Some(known)), _)) => Ok(Some(known)),
                    Either::Right((_, asking)) => asking.await,
                }
            }
        }
    }

    /// What the API answers now.
    pub(super) async fn ask(self: &Arc<Self>, guid: Guid, deadline: Instant) -> Answer {
        self.ask_unless(Remembered::None, guid, deadline).await
    }

    async fn ask_unless(
        self: &Arc<Self>,
        remembered: Remembered,
        guid: Guid,
        deadline: Instant,
    ) -> Answer {
        if let Some(answer) = self.settled(remembered, guid) {
            return answer;
        }
        loop {
            let (question, is_mine) = self.join(remembered, guid, deadline)?;
            let Ok(answer) = timeout_at(deadline, question).await else {
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
        remembered: Remembered,
        guid: Guid,
        deadline: Instant,
    ) -> Result<(Shared<BoxFuture<'static, Answer>>, bool), RemoteError> {
        let mut asked = self.asked();
        if let Some(question) = asked.get(&guid) {
            return Ok((question.clone(), false));
        }
        if remembered != Remembered::None {
            // Whoever looked before an answer was kept may come after its question is gone. An answer is kept
            // first, so under this lock it is found.
            let known = self.catalogue.remembered(guid).map(|known| Ok(Some(known)));
            if let Some(answer) = known.or_else(|| self.settled(remembered, guid)) {
                return Ok((futures::future::ready(answer).boxed().shared(), true));
            }
        }
        if asked.len() >= MOST_ASKED {
            return Err(RemoteError::NoBudget);
        }
        let demands = self.clone();
        let task = tokio::spawn(async move {
            let question = Question { demands, guid };
            question.demands.answer(guid, deadline).await
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
        match self.remote.interaction(guid, terms).await {
            Ok(interaction) if interaction.guid != guid => {
                Err(RemoteError::Protocol("it is another interaction"))
            }
            Ok(interaction) => {
                let shown = self.settlements().pop(&guid);
                let shown = shown.and_then(|(_, answer)| answer.ok().flatten());
                match self.keep(interaction.clone(), deadline).await {
                    Kept::Done(known) => Ok(known),
                    Kept::Not(error, before) => self.unkept(interaction, shown, before, error),
                }
            }
            Err(RemoteError::Gone) => {
                self.settle(guid, self.refresh, Ok(None));
                let catalogue = self.catalogue.clone();
                let removed = self.written(move || {
                    catalogue.gone(guid);
                    Ok(())
                });
                // It is done in the end: nobody need wait for a disk that doesn't answer.
                match self.unless_stuck(deadline, removed).await {
                    Some(removed) => removed.map_err(for_askers).map(|()| None),
                    None => Ok(None),
                }
            }
            Err(RemoteError::Forbidden) => {
                self.settle(guid, FORBIDDEN_FOR, Err(RemoteError::Forbidden));
                Err(RemoteError::Forbidden)
            }
            Err(error) => Err(error),
        }
    }

    /// Writes an interaction down.
    async fn keep(&self, interaction: Interaction, deadline: Instant) -> Kept {
        let stuck = || Kept::Not(CatalogueError("its disk doesn't answer".into()), None);
        let Ok(place) = self.places.clone().try_acquire_owned() else {
            return stuck();
        };
        let catalogue = self.catalogue.clone();
        let kept = self.written(move || {
            let _place = place;
            let guid = interaction.guid;
            let taken = catalogue.take_in(&[interaction]);
            let now = catalogue.interaction(guid)?;
            Ok(match taken {
                Ok(_) => Kept::Done(now),
                Err(error) => Kept::Not(error, Some(now)),
            })
        });
        match self.unless_stuck(deadline, kept).await {
            Some(Ok(kept)) => kept,
            Some(Err(error)) => Kept::Not(error, None),
            None => stuck(),
        }
    }

    /// It is known all the same, if not for long; and under the names that it has, or not at all.
    fn unkept(
        &self,
        interaction: Interaction,
        shown: Option<Arc<Known>>,
        before: Option<Option<Arc<Known>>>,
        error: CatalogueError,
    ) -> Answer {
        let guid = interaction.guid;
        let items = &interaction.items;
        let is_told = before.is_some();
        let before = before
            .flatten()
            .or_else(|| self.catalogue.remembered(guid))
            .or(shown);
        let names = match before {
            Some(before) => NameTable::assign(items, Some(&before.names)),
            None if is_told => NameTable::assign(items, None),
            None => match NameTable::without_rivals(items) {
                Some(names) => names,
                None => return Err(for_askers(error)),
            },
        };
        tracing::warn!(%error, "an interaction could not be kept");
        let answer = Ok(Some(Arc::new(Known { interaction, names })));
        self.settle(guid, self.refresh, answer.clone());
        answer
    }

    /// Writes to the catalogue, whether or not anybody waits for that.
    async fn written<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, CatalogueError> + Send + 'static,
    ) -> Result<T, CatalogueError> {
        tokio::spawn(blocking_in(self.writes, work))
            .await
            .unwrap_or_else(|_| Err(CatalogueError("a task ended early".into())))
    }

    /// What comes of `work`; `None` if the disk doesn't answer, or not before the deadline. A machine that is merely busy is waited
    /// for.
    async fn unless_stuck<T>(&self, deadline: Instant, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            done = work => Some(done),
            () = self.catalogue.stuck() => None,
            () = tokio::time::sleep_until(deadline) => None,
        }
    }

    fn settle(&self, guid: Guid, time: Duration, answer: Answer) {
        let now = self.catalogue.now();
        let until = now.checked_add(time).unwrap_or(Timestamp::MAX);
        // From now on, too: a clock that is set back would have it hold for longer.
        self.settlements().put(guid, (now..until, answer));
    }

    fn settled(&self, remembered: Remembered, guid: Guid) -> Option<Answer> {
        let now = self.catalogue.now();
        self.settlements()
            .get(&guid)
            .filter(|(while_it_holds, _)| while_it_holds.contains(&now))
            .map(|(_, answer)| answer.clone())
            .filter(|answer| match remembered {
                Remembered::None => false,
                Remembered::Found => matches!(answer, Ok(Some(_))),
                Remembered::Any => true,
            })
    }

    fn asked(&self) -> MutexGuard<'_, HashMap<Guid, Shared<BoxFuture<'static, Answer>>>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn settlements(&self) -> MutexGuard<'_, LruCache<Guid, (Range<Timestamp>, Answer)>> {
        self.settled.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn for_askers(error: CatalogueError) -> RemoteError {
    tracing::warn!(%error, "an interaction could not be looked up");
    WalkError::from(error).for_readers()
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use jiff::SignedDuration;

    use crate::catalogue::testing::{FakeRemote, base, guid, interaction};
    use crate::catalogue::{Clock, Settings, WindowSpec};
    use crate::model::SearchFilter;

    const REFRESH: Duration = Duration::from_secs(60);

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    /// Work that takes the only place of a lane until what is returned is dropped.
    async fn taken(lane: &'static Lane) -> mpsc::Sender<()> {
        let (release, released) = mpsc::channel::<()>();
        let (begun, has_begun) = tokio::sync::oneshot::channel();
        tokio::spawn(lane.run(move || {
            begun.send(()).unwrap();
            let _ = released.recv();
        }));
        has_begun.await.unwrap();
        release
    }

    struct OnDisk {
        remote: Arc<FakeRemote>,
        catalogue: Arc<Catalogue>,
        demands: Arc<Demands>,
        _folder: tempfile::TempDir,
    }

    fn on_disk(looks: &'static Lane, writes: &'static Lane) -> OnDisk {
        let folder = tempfile::tempdir().unwrap();
        let catalogue = Catalogue::open(&folder.path().join("catalogue.db")).unwrap();
        let (remote, catalogue) = (FakeRemote::new([]), Arc::new(catalogue));
        let demands = Demands::new(remote.clone(), catalogue.clone(), REFRESH);
        OnDisk {
            demands: Arc::new(Demands {
                looks,
                writes,
                ..demands
            }),
            remote,
            catalogue,
            _folder: folder,
        }
    }

    #[tokio::test]
    async fn what_came_since_its_absence_was_remembered_is_found_without_the_disk() {
        static LOOKS: Lane = Lane::new(1);
        static WRITES: Lane = Lane::new(1);
        let on = on_disk(&LOOKS, &WRITES);
        let find = |number| {
            let demands = on.demands.clone();
            async move { demands.find(guid(number), soon()).await }
        };
        assert!(find(1).await.unwrap().is_none());
        on.remote.fail(Some(RemoteError::Forbidden));
        assert_eq!(find(2).await.unwrap_err(), RemoteError::Forbidden);
        on.remote.fail(None);
        for number in [1, 2] {
            on.remote.put(interaction(number, 5));
            on.catalogue.take_in(&[interaction(number, 5)]).unwrap();
            assert!(on.catalogue.remembered(guid(number)).is_none());
        }
        let _taken = taken(&LOOKS).await;
        let _call = on.catalogue.store.watch().begin_within(Duration::ZERO);
        for number in [1, 2] {
            assert!(find(number).await.unwrap().is_some());
        }
    }

    #[tokio::test]
    async fn an_absence_is_remembered_no_longer_when_the_clock_is_set_back() {
        static LANE: Lane = Lane::new(1);
        let on = on_disk(&LANE, &LANE);
        let set = |now| {
            let clock = Clock::following_tokio(now);
            let settings = Settings {
                window: WindowSpec::Days(7),
                filter: SearchFilter::default(),
                refresh: REFRESH,
                offline: false,
                max_age: REFRESH,
            };
            on.catalogue.attach(&settings, clock, None);
        };
        set(base() + SignedDuration::from_hours(1));
        assert!(on.demands.find(guid(1), soon()).await.unwrap().is_none());
        on.remote.put(interaction(1, 5));
        assert!(on.demands.find(guid(1), soon()).await.unwrap().is_none());
        set(base());
        assert!(on.demands.find(guid(1), soon()).await.unwrap().is_some());
    }

    #[tokio::test]
    async fn a_question_that_breaks_down_is_asked_anew() {
        static LANE: Lane = Lane::new(1);
        let on = on_disk(&LANE, &LANE);
        let remote = on.remote.clone();
        let broken = std::thread::spawn(move || {
            let _account = remote.account.lock().unwrap();
            panic!("on purpose");
        });
        broken.join().unwrap_err();
        on.demands.ask(guid(1), soon()).await.unwrap_err();
        on.remote.account.clear_poison();
        on.remote.put(interaction(1, 5));
        assert!(on.demands.ask(guid(1), soon()).await.unwrap().is_some());
    }

    #[tokio::test]
    async fn what_is_gone_is_removed_in_the_end_however_long_the_disk_takes() {
        static LOOKS: Lane = Lane::new(1);
        static WRITES: Lane = Lane::new(1);
        let on = on_disk(&LOOKS, &WRITES);
        on.catalogue.take_in(&[interaction(1, 5)]).unwrap();
        let taken = taken(&WRITES).await;
        let call = on.catalogue.store.watch().begin_within(Duration::ZERO);
        let answer = on.demands.ask(guid(1), soon()).await;
        assert!(answer.unwrap().is_none());
        assert!(on.catalogue.interaction(guid(1)).unwrap().is_some());
        drop((call, taken));
        let removed = async {
            while on.catalogue.interaction(guid(1)).unwrap().is_some() {
                WRITES.run(|| ()).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), removed)
            .await
            .unwrap();
    }
}
