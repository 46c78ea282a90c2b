//! Days and GUIDs that somebody asks for.

use super::*;
use crate::remote::Class;

#[tokio::test(start_paused = true)]
async fn a_day_outside_the_window_is_searched_once_and_remembered() {
    let long_ago = 60 * 24 * 40;
    let remote = FakeRemote::new([ago(1, 5), ago(2, long_ago)]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("catalogue.db");
    let mount = Mount::on(Catalogue::open(&path).unwrap(), &remote, settings(), base());
    mount.listed().await;
    let day = day_of(long_ago);
    for _ in 0..5 {
        mount.refresher.demand_day(day);
        assert_eq!(mount.settled(&day.window()).await, Progress::Complete);
        assert_eq!(mount.rows(&day.window()), [guid(2)]);
    }
    mount.refresher.demand_day(day_of(0));
    assert_eq!(mount.settled(&day_of(0).window()).await, Progress::Complete);
    let tomorrow = day_of(-24 * 60 * 2);
    mount.refresher.demand_day(tomorrow);
    assert_eq!(
        mount.refresher.progress(&tomorrow.window()),
        Progress::Complete
    );
    assert_eq!(mount.requests(), 2);
    drop(mount);
    let again = Mount::on(Catalogue::open(&path).unwrap(), &remote, settings(), base());
    again.refresher.demand_day(day);
    assert_eq!(again.refresher.progress(&day.window()), Progress::Complete);
    assert_eq!(again.rows(&day.window()), [guid(2)]);
    assert_eq!(again.requests(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_failed_day_is_an_error_until_it_is_asked_for_again() {
    let remote = FakeRemote::new([ago(2, 60 * 24 * 40)]);
    let mount = Mount::new(&remote, settings());
    mount.listed().await;
    let day = day_of(60 * 24 * 40);
    remote.fail(Some(RemoteError::Interrupted));
    mount.refresher.demand_day(day);
    assert_eq!(
        mount.settled(&day.window()).await,
        Progress::Failed(RemoteError::Interrupted)
    );
    remote.fail(None);
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(mount.settled(&day.window()).await, Progress::Complete);
    assert_eq!(mount.rows(&day.window()), [guid(2)]);
}

#[tokio::test(start_paused = true)]
async fn cached_days_are_swept_once_a_day() {
    let remote = FakeRemote::new([ago(2, 60 * 24 * 40)]);
    let mount = Mount::new(&remote, settings());
    mount.listed().await;
    let days = [60 * 24 * 40, 60 * 24 * 41, 10].map(|minutes| KeptDay {
        day: day_of(minutes),
        is_cached: true,
    });
    for _ in 0..3 {
        mount.refresher.sweep(days);
        mount.pass(Duration::from_secs(1)).await;
        mount.pass(Duration::from_secs(1)).await;
    }
    let swept: Vec<_> = remote
        .searches()
        .iter()
        .filter(|a| a.class == Class::Prefetch)
        .cloned()
        .collect();
    assert_eq!(swept.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn days_that_are_only_known_are_swept_in_a_week_a_few_an_hour() {
    // Calls on 48 days before the window, of which one is gone by the time of the sweep.
    let calls: Vec<_> = (10..58).map(|n| ago(n, 60 * 24 * i64::from(n))).collect();
    let remote = FakeRemote::new(calls.clone());
    let mount = Mount::new(&remote, settings());
    mount.listed().await;
    mount.catalogue.take_in(&calls).unwrap();
    remote.delete(guid(33));
    let swept = || {
        let searches = remote.searches();
        let swept = searches.iter().filter(|a| a.class == Class::Prefetch);
        swept.map(|a| a.window.from).collect::<Vec<_>>()
    };
    for hour in 1..=24 * 6 {
        let window = mount.refresher.window();
        let kept = mount.catalogue.kept_outside(&window, &|_| false).unwrap();
        mount.refresher.sweep(kept);
        mount.pass(Duration::from_secs(3600)).await;
        assert!(swept().len() <= hour * 2 + 1, "all at once");
    }
    let mut days = swept();
    days.sort();
    days.dedup();
    assert!(days.len() >= 48);
    assert!(swept().len() <= days.len() + 1, "more than once a week");
    assert!(mount.catalogue.interaction(guid(33)).unwrap().is_none());
    assert!(mount.catalogue.interaction(guid(32)).unwrap().is_some());
}

#[tokio::test(start_paused = true)]
async fn many_who_look_for_one_guid_ask_once_and_absence_is_remembered_for_a_refresh() {
    let remote = FakeRemote::new([ago(1, 60 * 24 * 40)]);
    let mount = Mount::new(&remote, settings());
    mount.listed().await;
    let deadline = || Instant::now() + Duration::from_secs(15);
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    *remote.gate.lock().unwrap() = Some(gate.clone());
    let finds = (0..64).map(|_| mount.refresher.find(guid(1), deadline()));
    let all = futures::future::join_all(finds);
    let (found, ()) = futures::future::join(all, async {
        tokio::task::yield_now().await;
        gate.add_permits(1_000_000);
    })
    .await;
    assert!(found.iter().all(|known| known.as_ref().unwrap().is_some()));
    assert_eq!(remote.reads(), 1);
    for _ in 0..10 {
        assert!(
            mount
                .refresher
                .find(guid(404), deadline())
                .await
                .unwrap()
                .is_none()
        );
    }
    assert_eq!(remote.reads(), 2);
    tokio::time::sleep(REFRESH).await;
    remote.put(ago(404, 60 * 24 * 30));
    assert!(
        mount
            .refresher
            .find(guid(404), deadline())
            .await
            .unwrap()
            .is_some()
    );
    assert_eq!(remote.reads(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_find_ends_at_its_deadline_and_strands_nobody() {
    let remote = FakeRemote::new([ago(1, 60 * 24 * 40)]);
    let mount = Mount::new(&remote, settings());
    mount.listed().await;
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    *remote.gate.lock().unwrap() = Some(gate.clone());
    let start = Instant::now();
    let hasty = mount
        .refresher
        .find(guid(1), start + Duration::from_secs(1));
    let patient = mount
        .refresher
        .find(guid(1), start + Duration::from_secs(60));
    let release = async {
        tokio::time::sleep(Duration::from_secs(5)).await;
        gate.add_permits(1_000_000);
    };
    let (hasty, patient, ()) = futures::join!(hasty, patient, release);
    assert_eq!(hasty.unwrap_err(), RemoteError::DeadlinePassed);
    assert!(patient.unwrap().is_some());
    assert_eq!(remote.reads(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_forbidden_guid_is_remembered_as_such() {
    let remote = FakeRemote::new([]);
    let mount = Mount::new(&remote, settings());
    mount.listed().await;
    remote.fail(Some(RemoteError::Forbidden));
    for _ in 0..3 {
        let found = mount
            .refresher
            .find(guid(1), Instant::now() + REFRESH)
            .await;
        assert_eq!(found.unwrap_err(), RemoteError::Forbidden);
    }
    assert_eq!(remote.reads(), 1);
}

#[tokio::test(start_paused = true)]
async fn rereading_a_known_interaction_that_is_gone_removes_it() {
    let remote = FakeRemote::new([ago(1, 5)]);
    let mount = Mount::new(&remote, settings());
    mount.listed().await;
    mount.heard.take();
    remote.delete(guid(1));
    let read = mount
        .refresher
        .reread(guid(1), Instant::now() + REFRESH)
        .await;
    assert!(read.unwrap().is_none());
    assert_eq!(mount.heard.take(), [format!("removed {:?}", guid(1))]);
    assert!(mount.catalogue.remembered(guid(1)).is_none());
}

#[tokio::test(start_paused = true)]
async fn what_can_not_be_written_down_is_known_all_the_same() {
    let remote = FakeRemote::new([ago(1, 60 * 24 * 40)]);
    let folder = tempfile::tempdir().unwrap();
    let catalogue = Catalogue::open(&folder.path().join("catalogue.db")).unwrap();
    let mount = Mount::on(catalogue, &remote, settings(), base());
    mount.listed().await;
    let set_writable = |writable: bool| {
        let writer = mount.catalogue.store.writer();
        writer.pragma_update(None, "query_only", !writable).unwrap();
    };
    let find = || async { mount.refresher.find(guid(1), soon()).await };
    set_writable(false);
    for _ in 0..3 {
        let known = find().await.unwrap().unwrap();
        assert_eq!(known.interaction.guid, guid(1));
    }
    assert_eq!(remote.reads(), 1, "it is remembered for a while");
    set_writable(true);
    tokio::time::sleep(REFRESH).await;
    assert!(find().await.unwrap().is_some());
    assert!(mount.catalogue.remembered(guid(1)).is_some());
    assert_eq!(remote.reads(), 2);
}

#[tokio::test]
async fn the_api_tells_while_the_disk_does_not_answer() {
    let remote = FakeRemote::new([ago(1, 60 * 24 * 40)]);
    let folder = tempfile::tempdir().unwrap();
    let catalogue = Catalogue::open(&folder.path().join("catalogue.db")).unwrap();
    let mount = Mount::on(catalogue, &remote, settings(), base());
    mount.listed().await;
    let call = mount.catalogue.store.watch().begin();
    mount.catalogue.stuck().await;
    let known = mount.refresher.find(guid(1), soon()).await.unwrap();
    assert!(known.is_some());
    assert_eq!(remote.reads(), 1);
    drop(call);
}

/// An interaction with these recordings.
fn recorded(keys: &[&str]) -> Interaction {
    let start = base() - SignedDuration::from_mins(60 * 24 * 40);
    build(1, start, "inbound", &["7"], keys)
}

/// The key of the recording with the plain name.
fn plainly_named(known: &Known) -> &str {
    let place = known.names.resolve("callRecording.json").unwrap();
    known.interaction.items[place].key.as_str()
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_is_merely_busy_changes_no_names() {
    let remote = FakeRemote::new([recorded(&["callRecording-2"])]);
    let mount = Mount::new(&remote, settings());
    mount.listed().await;
    let known = mount.refresher.find(guid(1), soon()).await.unwrap();
    assert_eq!(plainly_named(&known.unwrap()), "callRecording-2");
    *mount.catalogue.recent() = Recent::new();
    // It would have the plain name, had it come first.
    remote.put(recorded(&["callRecording-1", "callRecording-2"]));

    let (catalogue, (held, is_held)) = (mount.catalogue.clone(), std::sync::mpsc::channel());
    let (release, released) = std::sync::mpsc::channel::<()>();
    let writer = std::thread::spawn(move || {
        let _writes = catalogue.writes();
        held.send(()).unwrap();
        released.recv().unwrap();
    });
    is_held.recv().unwrap();
    let reading = mount.refresher.reread(guid(1), soon());
    let (known, ()) = futures::join!(reading, async {
        while remote.reads() < 2 {
            tokio::task::yield_now().await;
        }
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        tokio::time::advance(Duration::from_secs(20)).await;
        release.send(()).unwrap();
    });
    writer.join().unwrap();
    let known = known.unwrap().unwrap();
    assert_eq!(known.interaction.items.len(), 2);
    assert_eq!(plainly_named(&known), "callRecording-2");
}

#[tokio::test]
async fn what_is_not_written_down_has_the_names_that_it_had_or_none() {
    let remote = FakeRemote::new([recorded(&["callRecording-2"])]);
    let folder = tempfile::tempdir().unwrap();
    let catalogue = Catalogue::open(&folder.path().join("catalogue.db")).unwrap();
    let mount = Mount::on(catalogue, &remote, settings(), base());
    mount.listed().await;
    mount.refresher.find(guid(1), soon()).await.unwrap();
    remote.put(recorded(&["callRecording-1", "callRecording-2"]));
    let reread = || mount.refresher.reread(guid(1), soon());
    let set_writable = |writable: bool| {
        let writer = mount.catalogue.store.writer();
        writer.pragma_update(None, "query_only", !writable).unwrap();
    };

    // It can't be written, but what there is can be read.
    set_writable(false);
    *mount.catalogue.recent() = Recent::new();
    let known = reread().await.unwrap().unwrap();
    assert_eq!(plainly_named(&known), "callRecording-2");

    // Nobody can tell how they were named, nor whether they were.
    let hold = |catalogue: &Arc<Catalogue>| {
        let (catalogue, (held, is_held)) = (catalogue.clone(), std::sync::mpsc::channel());
        let (release, released) = std::sync::mpsc::channel::<()>();
        std::thread::spawn(move || {
            let _writes = catalogue.writes();
            held.send(()).unwrap();
            let _ = released.recv();
        });
        is_held.recv().unwrap();
        release
    };
    let _held = hold(&mount.catalogue);
    let _call = mount.catalogue.store.watch().begin_within(Duration::ZERO);
    let start = base() - SignedDuration::from_mins(60 * 24 * 40);
    remote.put(build(3, start, "inbound", &[], &["chat-1", "chat-2"]));
    mount.refresher.find(guid(3), soon()).await.unwrap_err();
    // What was shown before, can be.
    let known = reread().await.unwrap().unwrap();
    assert_eq!(plainly_named(&known), "callRecording-2");
    // So can what competes with nobody.
    remote.put(ago(2, 60 * 24 * 40));
    let known = mount.refresher.find(guid(2), soon()).await.unwrap();
    assert!(known.is_some());
}

#[tokio::test]
async fn a_slow_disk_is_waited_for_when_the_api_can_not_tell() {
    let remote = FakeRemote::new([ago(1, 5)]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("catalogue.db");
    for offline in [false, true] {
        let catalogue = Catalogue::open(&path).unwrap();
        let settings = Settings {
            offline,
            ..settings()
        };
        let mount = Mount::on(catalogue, &remote, settings, base());
        mount.listed().await;
        *mount.catalogue.recent() = Recent::new();
        let _call = mount.catalogue.store.watch().begin_within(Duration::ZERO);
        let refused = RemoteError::Unauthorized {
            reason: "invalid_client",
        };
        remote.fail(Some(refused));
        let known = mount.refresher.find(guid(1), soon()).await.unwrap();
        assert!(known.is_some(), "offline: {offline}");
    }
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(30)
}
