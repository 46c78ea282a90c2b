//! Orders carried out against the simplest things that keep the traits.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::StreamExt;
use tokio::sync::watch;
use tokio::time::Instant;

use super::*;
use crate::catalogue::{CatalogueError, Known, Listed};
use crate::content::{ContentError, Missing, Traits};
use crate::model::{ContentId, Guid, Interaction, NameTable, TimeWindow};
use crate::remote::{Class, RemoteError, Terms};

/// What exists, what is held, and what was asked for.
struct World {
    interactions: Mutex<BTreeMap<u64, Interaction>>,
    held: Mutex<HashSet<ContentId>>,
    asked: Mutex<Vec<ContentId>>,
    errors: Mutex<HashMap<Guid, ContentError>>,
    room: Mutex<Option<u64>>,
    /// Fetches never end.
    hangs: bool,
    /// Alive as long as a fetch is under way.
    under_way: Arc<()>,
    search_error: Mutex<Option<RemoteError>>,
    version: watch::Sender<u64>,
}

const SIZE: u64 = 1000;

fn guid(number: u64) -> Guid {
    let mut bytes = [0; 16];
    bytes[8..].copy_from_slice(&number.to_be_bytes());
    Guid::from_bytes(bytes)
}

fn interaction(number: u64) -> Interaction {
    let item = |item_type: &str, media_type: &str| {
        format!(
            r#"{{"contentKey":"{item_type}","type":"{item_type}","contentType":"{media_type}","contentLength":{SIZE},
            "lastModified":"2026-11-22T10:16:00Z"}}"#
        )
    };
    Interaction::from_json(&format!(
        r#"{{"guid":"{}","start":"2026-11-22T10:{:02}:00Z","content":[{},{}]}}"#,
        guid(number),
        number % 60,
        item("transcript", "application/json"),
        item("callRecording", "audio/wav"),
    ))
    .unwrap()
}

impl World {
    fn of(interactions: u64) -> Self {
        Self {
            interactions: Mutex::new((1..=interactions).map(|n| (n, interaction(n))).collect()),
            held: Mutex::default(),
            asked: Mutex::default(),
            errors: Mutex::default(),
            room: Mutex::new(Some(1 << 30)),
            hangs: false,
            under_way: Arc::new(()),
            search_error: Mutex::default(),
            version: watch::Sender::new(0),
        }
    }

    fn add(&self, number: u64) {
        self.interactions
            .lock()
            .unwrap()
            .insert(number, interaction(number));
        self.version.send_modify(|version| *version += 1);
    }

    fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

struct Shim(Arc<World>);

impl Interactions for Shim {
    fn window(&self) -> TimeWindow {
        TimeWindow {
            from: "2026-11-22T00:00:00Z".parse().unwrap(),
            to: "2026-11-23T00:00:00Z".parse().unwrap(),
        }
    }

    fn searched(&self, _: Vec<TimeWindow>) -> BoxFuture<'_, Result<(), RemoteError>> {
        let error = self.0.search_error.lock().unwrap().clone();
        async move { error.map_or(Ok(()), Err) }.boxed()
    }

    fn page(&self, window: TimeWindow, after: u64) -> Result<Vec<Listed>, CatalogueError> {
        let interactions = self.0.interactions.lock().unwrap();
        Ok(interactions
            .range(after + 1..)
            .filter(|(_, known)| window.contains(known.start))
            .take(7)
            .map(|(sequence, known)| Listed {
                sequence: *sequence,
                guid: known.guid,
                start: known.start,
                direction: known.direction.clone(),
            })
            .collect())
    }

    fn interaction(&self, guid: Guid) -> Result<Option<Arc<Known>>, CatalogueError> {
        let interactions = self.0.interactions.lock().unwrap();
        let found = interactions.values().find(|known| known.guid == guid);
        Ok(found.map(|interaction| {
            Arc::new(Known {
                interaction: interaction.clone(),
                names: NameTable::default(),
            })
        }))
    }

    fn find(&self, guid: Guid) -> BoxFuture<'_, Result<Option<Arc<Known>>, RemoteError>> {
        async move { Ok(self.interaction(guid).unwrap()) }.boxed()
    }

    fn version(&self) -> u64 {
        *self.0.version.borrow()
    }

    fn changed(&self, deadline: Instant) -> BoxFuture<'_, ()> {
        let mut version = self.0.version.subscribe();
        async move {
            let _ = tokio::time::timeout_at(deadline, version.changed()).await;
        }
        .boxed()
    }
}

impl Contents for Shim {
    fn missing(&self, id: &ContentId, _: Traits) -> BoxFuture<'static, Missing> {
        let is_held = self.0.held.lock().unwrap().contains(id);
        let missing = Missing {
            requests: u64::from(!is_held),
            bytes: if is_held { 0 } else { SIZE },
            size: Some(SIZE),
        };
        async move { missing }.boxed()
    }

    fn fetch(
        &self,
        id: &ContentId,
        _: Traits,
        terms: Terms,
    ) -> BoxFuture<'static, Result<(), ContentError>> {
        assert_eq!(terms.class, Class::Prefetch);
        let (world, id) = (Arc::clone(&self.0), id.clone());
        let under_way = Arc::clone(&world.under_way);
        async move {
            let _under_way = under_way;
            world.asked.lock().unwrap().push(id.clone());
            tokio::time::sleep(Duration::from_millis(50)).await;
            if world.hangs {
                std::future::pending::<()>().await;
            }
            if let Some(error) = world.errors.lock().unwrap().get(&id.guid) {
                return Err(error.clone());
            }
            world.held.lock().unwrap().insert(id);
            Ok(())
        }
        .boxed()
    }

    fn held(&self, id: &ContentId) -> u64 {
        if self.0.held.lock().unwrap().contains(id) {
            SIZE
        } else {
            0
        }
    }

    fn room(&self) -> Option<u64> {
        *self.0.room.lock().unwrap()
    }
}

impl Pace for Shim {
    fn budget(&self) -> Budget {
        Budget {
            configured: 150,
            limit: 150,
            left: 80,
        }
    }

    fn time_for(&self, requests: u64) -> Duration {
        Duration::from_secs(requests)
    }

    fn latency(&self) -> Duration {
        Duration::from_millis(50)
    }
}

fn prefetcher(world: &Arc<World>) -> Arc<Prefetcher> {
    let shim = || Arc::new(Shim(Arc::clone(world)));
    Prefetcher::new(shim(), shim(), shim(), None, 1)
}

fn order() -> Order {
    Order {
        what: What::Window(Span::Listed),
        types: None,
        dry_run: false,
        watch: false,
    }
}

/// The plan and the outcome of an order.
async fn carried_out(world: &Arc<World>, order: Order) -> (Option<Planned>, Outcome) {
    let mut events = prefetcher(world).start(order).unwrap();
    let mut planned = None;
    while let Some(event) = events.next().await {
        match event {
            Event::Plan(plan) => planned = Some(plan),
            Event::End(outcome) => return (planned, outcome),
            _ => {}
        }
    }
    panic!("it ended without an end");
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_names_what_a_run_then_makes() {
    let world = Arc::new(World::of(40));
    let dry_run = Order {
        dry_run: true,
        ..order()
    };
    let (planned, outcome) = carried_out(&world, dry_run).await;
    let planned = planned.unwrap();
    assert_eq!((world.asked(), outcome.fetched), (0, 0));
    assert_eq!(
        (planned.files, planned.held, planned.bytes),
        (40, 0, 40 * SIZE)
    );
    assert_eq!(planned.requests, 41, "and one for a token");
    assert_eq!(planned.seconds, 41, "as long as the pace takes");

    let (again, outcome) = carried_out(&world, order()).await;
    assert_eq!(again, Some(planned));
    assert_eq!(
        (outcome.fetched, outcome.requests, outcome.bytes),
        (40, 40, 40 * SIZE)
    );
    assert_eq!(world.asked(), 40);
    assert!(
        world
            .asked
            .lock()
            .unwrap()
            .iter()
            .all(|id| id.key.as_str() == "transcript")
    );

    let (last, outcome) = carried_out(&world, order()).await;
    assert_eq!(last.unwrap().requests, 0, "nor a token");
    assert_eq!((outcome.fetched, outcome.held, world.asked()), (0, 40, 40));
}

#[tokio::test(start_paused = true)]
async fn names_and_types_narrow_it_down() {
    let world = Arc::new(World::of(5));
    let named = Order {
        what: What::Named {
            days: BTreeSet::new(),
            guids: [guid(2), guid(4), guid(77)]
                .iter()
                .map(ToString::to_string)
                .collect(),
        },
        types: Some(BTreeSet::from(["callRecording".to_owned()])),
        ..order()
    };
    let (planned, outcome) = carried_out(&world, named).await;
    assert_eq!(planned.unwrap().unknown, 1);
    assert_eq!((outcome.fetched, outcome.unknown), (2, 1));
    assert!(
        world
            .asked
            .lock()
            .unwrap()
            .iter()
            .all(|id| id.key.as_str() == "callRecording")
    );
    let day = |day: &str| Order {
        what: What::Named {
            days: BTreeSet::from([day.to_owned()]),
            guids: BTreeSet::new(),
        },
        ..order()
    };
    assert_eq!(carried_out(&world, day("2026-11-21")).await.1.fetched, 0);
    assert_eq!(carried_out(&world, day("2026-11-22")).await.1.fetched, 5);
}

#[tokio::test(start_paused = true)]
async fn dropping_the_events_ends_the_work() {
    let mut world = World::of(40);
    world.hangs = true;
    let world = Arc::new(world);
    let mut events = prefetcher(&world).start(order()).unwrap();
    while !matches!(events.next().await, Some(Event::Progress(_))) {}
    assert!(Arc::strong_count(&world.under_way) > 1);
    drop(events);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(Arc::strong_count(&world.under_way), 1);
    assert_eq!(world.asked(), 16, "no more than are fetched at a time");
}

#[tokio::test(start_paused = true)]
async fn files_that_fail_are_counted_and_the_rest_comes() {
    let world = Arc::new(World::of(10));
    for (number, error) in [
        (1, ContentError::Stale),
        (2, RemoteError::Forbidden.into()),
        (3, RemoteError::Interrupted.into()),
    ] {
        world.errors.lock().unwrap().insert(guid(number), error);
    }
    let outcome = carried_out(&world, order()).await.1;
    assert_eq!(
        (
            outcome.gone,
            outcome.denied,
            outcome.failed,
            outcome.fetched
        ),
        (1, 1, 1, 7)
    );
    assert!(!outcome.is_complete() && outcome.stopped.is_none());
}

#[tokio::test(start_paused = true)]
async fn what_would_fail_for_all_ends_the_run() {
    for (error, most) in [
        (
            RemoteError::Unauthorized {
                reason: "invalid_client",
            },
            16,
        ),
        (RemoteError::Connection("refused"), 48),
    ] {
        let world = Arc::new(World::of(200));
        for number in 1..=200 {
            world
                .errors
                .lock()
                .unwrap()
                .insert(guid(number), error.clone().into());
        }
        let outcome = carried_out(&world, order()).await.1;
        assert_eq!(outcome.stopped, Some(error.to_string()));
        assert!(world.asked() <= most, "{} asked for", world.asked());
    }
    let world = Arc::new(World::of(3));
    *world.search_error.lock().unwrap() = Some(RemoteError::Status(503));
    let (planned, outcome) = carried_out(&world, order()).await;
    assert!(planned.is_none() && outcome.stopped.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_cache_that_is_missing_is_refused_and_one_that_is_small_is_named() {
    let world = Arc::new(World::of(3));
    *world.room.lock().unwrap() = Some(2 * SIZE);
    let (planned, _) = carried_out(&world, order()).await;
    assert!(planned.unwrap().too_large);
    *world.room.lock().unwrap() = Some(3 * SIZE);
    let (planned, _) = carried_out(&world, order()).await;
    assert!(!planned.unwrap().too_large);
    *world.room.lock().unwrap() = None;
    let refused = prefetcher(&world).start(order()).err();
    assert!(refused.is_some_and(|reason| reason.contains("disk cache")));
}

#[tokio::test(start_paused = true)]
async fn a_watch_fetches_what_comes_and_what_was_lost() {
    let world = Arc::new(World::of(3));
    let watch = Order {
        watch: true,
        ..order()
    };
    let mut events = prefetcher(&world).start(watch).unwrap();
    let mut until = async |fetched: usize| {
        while world.held.lock().unwrap().len() < fetched {
            assert!(events.next().await.is_some());
        }
    };
    until(3).await;
    world.add(4);
    until(4).await;
    // Made room for something else: it comes back though nothing is said to have changed, but not at once, lest a
    // cache that can't keep it has it fetched for ever.
    let began = Instant::now();
    world.held.lock().unwrap().clear();
    world.add(5);
    until(1).await;
    assert_eq!(world.asked(), 5);
    until(5).await;
    assert_eq!(world.asked(), 9);
    assert!(began.elapsed() > Duration::from_secs(5 * 3600));
}

#[tokio::test(start_paused = true)]
async fn a_watch_tries_again_what_failed_and_not_what_can_not_be_had() {
    let world = Arc::new(World::of(3));
    let fails = |number, error: ContentError| {
        world.errors.lock().unwrap().insert(guid(number), error);
    };
    fails(1, ContentError::Stale);
    fails(2, RemoteError::Interrupted.into());
    let watch = Order {
        watch: true,
        ..order()
    };
    let mut events = prefetcher(&world).start(watch).unwrap();
    let mut rounds = 0;
    while rounds < 3 {
        if let Some(Event::Round(_)) = events.next().await {
            rounds += 1;
        }
    }
    assert_eq!(world.asked(), 5, "the one that failed, twice more");
}

#[tokio::test(start_paused = true)]
async fn a_watch_outlives_an_api_that_does_not_answer_but_not_a_refusal() {
    let world = Arc::new(World::of(3));
    *world.search_error.lock().unwrap() = Some(RemoteError::Status(503));
    let watch = Order {
        watch: true,
        ..order()
    };
    let mut events = prefetcher(&world).start(watch).unwrap();
    loop {
        match events.next().await {
            Some(Event::Round(outcome)) if outcome.stopped.is_some() => {
                *world.search_error.lock().unwrap() = None;
            }
            Some(Event::Round(outcome)) => {
                assert_eq!(outcome.fetched, 3);
                break;
            }
            Some(Event::End(_)) | None => panic!("it ended"),
            Some(_) => {}
        }
    }
    let refused = RemoteError::Unauthorized {
        reason: "invalid_client",
    };
    *world.search_error.lock().unwrap() = Some(refused);
    world.add(9);
    while !matches!(events.next().await, Some(Event::End(outcome)) if outcome.refused) {}
}
