//! Searches in their time, and what they announce.

use super::*;
use crate::remote::Class;

#[tokio::test(start_paused = true)]
async fn a_cold_week_costs_one_search_and_everything_is_served_from_it() {
    let remote = FakeRemote::new((1..=500).map(|n| ago(n, i64::from(n))));
    let mount = Mount::new(&remote, settings());
    assert_eq!(mount.listed().await.len(), 500);
    for number in 1..=500 {
        let known = mount
            .refresher
            .find(guid(number), Instant::now() + REFRESH)
            .await;
        assert!(known.unwrap().is_some());
    }
    tokio::time::sleep(Duration::from_secs(50)).await;
    let searches = remote.searches();
    assert_eq!(mount.requests(), 1);
    assert_eq!(searches[0].class, Class::Reader);
    assert_eq!(searches[0].window.from, day_of(6 * 24 * 60).start());
    assert_eq!(searches[0].window.to, base() + SignedDuration::from_mins(1));
    mount.pass(Duration::from_secs(15)).await;
    assert_eq!(mount.requests(), 2, "one refresh is one request");
    assert_eq!(remote.searches()[1].class, Class::Refresh);
}

#[tokio::test(start_paused = true)]
async fn new_late_and_deleted_are_announced_in_time() {
    let remote = FakeRemote::new([ago(1, 600), ago(2, 30)]);
    let mount = Mount::new(&remote, settings());
    mount.listed().await;
    assert_eq!(mount.heard.take().len(), 2);
    remote.put(ago(3, 0));
    mount.pass(REFRESH * 2).await;
    assert_eq!(mount.heard.take(), [format!("added {:?}", guid(3))]);
    let start = base() - SignedDuration::from_mins(600);
    remote.put(build(
        1,
        start,
        "inbound",
        &["7"],
        &["callRecording", "transcript"],
    ));
    mount.pass(Duration::from_secs(600)).await;
    assert_eq!(mount.heard.take(), [format!("updated {:?}", guid(1))]);
    let known = mount.catalogue.remembered(guid(1)).unwrap();
    assert!(known.names.resolve("transcript.json").is_some());
    remote.delete(guid(2));
    mount.pass(Duration::from_secs(1200)).await;
    assert_eq!(mount.heard.take(), [format!("removed {:?}", guid(2))]);
    assert_eq!(mount.listed().await, [guid(1), guid(3)]);
    assert_eq!(remote.reads(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_old_deletion_is_seen_within_a_day() {
    // More than a page, so that a refresh doesn't reach all of it.
    let remote = FakeRemote::new((1..=1000).map(|n| ago(n, i64::from(n) * 5)));
    let hourly = Settings {
        refresh: REFRESH * 60,
        ..settings()
    };
    let mount = Mount::new(&remote, hourly);
    mount.listed().await;
    mount.heard.take();
    remote.delete(guid(980));
    mount.pass(Duration::from_secs(24 * 3600)).await;
    assert_eq!(mount.heard.take(), [format!("removed {:?}", guid(980))]);
    assert_eq!(remote.reads(), 1, "confirmed by its GUID");
}

#[tokio::test(start_paused = true)]
async fn one_missing_search_removes_nothing() {
    let remote = FakeRemote::new([ago(1, 5)]);
    let mount = Mount::new(&remote, settings());
    mount.listed().await;
    remote.lie(|_, calls| (calls == 1).then(|| Ok(page_of([], None))));
    mount.pass(REFRESH * 10).await;
    assert_eq!(mount.heard.take().len(), 1);
    assert_eq!(mount.listed().await, [guid(1)]);
}

#[tokio::test(start_paused = true)]
async fn remounting_shows_everything_at_once_without_a_request() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("catalogue.db");
    let remote = FakeRemote::new((1..=50).map(|n| ago(n, i64::from(n))));
    let mount = Mount::on(Catalogue::open(&path).unwrap(), &remote, settings(), base());
    mount.listed().await;
    drop(mount);
    let again = Mount::on(
        Catalogue::open(&path).unwrap(),
        &remote,
        settings(),
        base() + SignedDuration::from_secs(30),
    );
    assert_eq!(
        again.refresher.progress(&again.refresher.window()),
        Progress::Complete
    );
    assert_eq!(again.rows(&again.refresher.window()).len(), 50);
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(again.requests(), 1, "only the first mount's search");
    again.pass(Duration::from_secs(30)).await;
    assert_eq!(again.requests(), 2);
    drop(again);
    // Long after, with a server that can't be reached.
    remote.fail(Some(RemoteError::Unreachable("refused")));
    let later = base() + SignedDuration::from_hours(30);
    let down = Mount::on(Catalogue::open(&path).unwrap(), &remote, settings(), later);
    assert_eq!(
        down.refresher.progress(&down.refresher.window()),
        Progress::Complete
    );
    assert_eq!(down.rows(&down.refresher.window()).len(), 50);
    down.pass(Duration::from_secs(1)).await;
    assert_eq!(
        down.refresher.freshness().error,
        Some(RemoteError::Unreachable("refused"))
    );
    assert_eq!(
        down.refresher.progress(&down.refresher.window()),
        Progress::Complete
    );
}

#[tokio::test(start_paused = true)]
async fn a_month_comes_newest_first_and_page_by_page() {
    let remote = FakeRemote::new((1..=400).map(|n| ago(n, i64::from(n) * 100)));
    remote.account.lock().unwrap().page_size = 10;
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    *remote.gate.lock().unwrap() = Some(gate.clone());
    let mount = Mount::new(
        &remote,
        Settings {
            window: WindowSpec::Days(30),
            ..settings()
        },
    );
    let window = mount.refresher.window();
    gate.add_permits(1);
    while mount.rows(&window).is_empty() {
        mount.refresher.progressed(Instant::now() + REFRESH).await;
    }
    assert_eq!(mount.refresher.progress(&window), Progress::Searching);
    let newest = remote.searches()[0].window;
    assert!(newest.contains(base()));
    gate.add_permits(10_000);
    assert_eq!(mount.listed().await.len(), 400);
}

#[tokio::test(start_paused = true)]
async fn a_failed_search_is_an_error_and_is_tried_again_for_who_asks() {
    let remote = FakeRemote::new([ago(1, 5)]);
    remote.fail(Some(RemoteError::Status(503)));
    let mount = Mount::new(&remote, settings());
    let window = mount.refresher.window();
    assert_eq!(
        mount.settled(&window).await,
        Progress::Failed(RemoteError::Status(503))
    );
    let tried = remote.searches().len();
    for _ in 0..100 {
        assert_eq!(
            mount.settled(&window).await,
            Progress::Failed(RemoteError::Status(503))
        );
    }
    assert_eq!(remote.searches().len(), tried, "not asked again at once");
    remote.fail(None);
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(mount.listed().await, [guid(1)]);
    assert_eq!(mount.refresher.freshness().error, None);
}

#[tokio::test(start_paused = true)]
async fn failures_are_not_hammered() {
    let remote = FakeRemote::new([]);
    remote.fail(Some(RemoteError::Unauthorized {
        reason: "invalid_client",
    }));
    let mount = Mount::new(
        &remote,
        Settings {
            window: WindowSpec::Days(365),
            ..settings()
        },
    );
    mount.pass(Duration::from_secs(3600)).await;
    assert!(mount.requests() <= 70, "{}", mount.requests());
}

#[tokio::test(start_paused = true)]
async fn searches_end_with_the_last_refresher() {
    let remote = FakeRemote::new([ago(1, 5)]);
    let mount = Mount::new(&remote, settings());
    mount.listed().await;
    drop(mount);
    let requests = remote.searches().len();
    tokio::time::sleep(REFRESH * 100).await;
    assert_eq!(remote.searches().len(), requests);
}

#[tokio::test(start_paused = true)]
async fn a_search_that_breaks_down_beside_others_is_made_again() {
    let remote = FakeRemote::new([ago(1, 5), ago(2, 60 * 24 * 10)]);
    *remote.breaks_at.lock().unwrap() = Some(base() - SignedDuration::from_mins(5));
    let month = Settings {
        window: WindowSpec::Days(30),
        ..settings()
    };
    let mount = Mount::new(&remote, month);
    let window = mount.refresher.window();
    let broken = mount.settled(&window).await;
    assert!(matches!(broken, Progress::Failed(_)), "{broken:?}");
    mount.pass(Duration::from_secs(30)).await;
    assert_eq!(mount.listed().await, [guid(2), guid(1)]);
}
