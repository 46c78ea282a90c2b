//! Servers that break the rules.

use super::*;
use crate::remote::{SearchPage, SearchRequest};

async fn lied_to(
    lie: impl Fn(&SearchRequest, usize) -> Option<Result<SearchPage, RemoteError>>
    + Send
    + Sync
    + 'static,
) -> (Progress, Mount) {
    let remote = FakeRemote::new((1..=30).map(|n| ago(n, i64::from(n))));
    remote.account.lock().unwrap().page_size = 10;
    remote.lie(lie);
    let mount = Mount::new(&remote, settings());
    let progress = mount.settled(&mount.refresher.window()).await;
    (progress, mount)
}

#[tokio::test(start_paused = true)]
async fn a_repeated_token_ends_the_search_with_an_error() {
    let (progress, mount) = lied_to(|_, _| Some(Ok(page_of([ago(1, 1)], Some("again"))))).await;
    assert!(matches!(
        progress,
        Progress::Failed(RemoteError::Protocol(_))
    ));
    assert_eq!(
        mount.rows(&mount.refresher.window()),
        [guid(1)],
        "what came is shown"
    );
    assert_eq!(mount.requests(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_never_ends_ends() {
    let (progress, mount) =
        lied_to(|_, calls| Some(Ok(page_of([ago(1, 1)], Some(&calls.to_string()))))).await;
    assert!(matches!(
        progress,
        Progress::Failed(RemoteError::Protocol(_))
    ));
    assert!(mount.requests() < 300);
}

#[tokio::test(start_paused = true)]
async fn empty_pages_duplicates_and_disorder_change_nothing() {
    let (progress, mount) = lied_to(|_, calls| match calls {
        0 => Some(Ok(page_of([ago(9, 9), ago(2, 2), ago(9, 9)], Some("a")))),
        1..=5 => Some(Ok(page_of([], Some(&format!("b{calls}"))))),
        6 => Some(Ok(page_of([ago(2, 2), ago(20, 20), ago(1, 1)], Some("c")))),
        7 => Some(Ok(page_of([], None))),
        _ => None,
    })
    .await;
    assert_eq!(progress, Progress::Complete);
    assert_eq!(
        mount.rows(&mount.refresher.window()),
        [guid(9), guid(2), guid(20), guid(1)]
    );
}

#[tokio::test(start_paused = true)]
async fn a_refused_token_starts_the_window_over() {
    let (progress, mount) =
        lied_to(|_, calls| (calls == 1).then_some(Err(RemoteError::Status(400)))).await;
    assert_eq!(progress, Progress::Complete);
    assert_eq!(mount.rows(&mount.refresher.window()).len(), 30);
    let firsts: Vec<_> = mount
        .remote
        .searches()
        .iter()
        .map(|asked| asked.first)
        .collect();
    assert_eq!(firsts, [true, false, true, false, false]);
}

#[tokio::test(start_paused = true)]
async fn seven_days_refused_are_searched_in_pieces_and_that_is_remembered() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("catalogue.db");
    let remote = FakeRemote::new((1..=30).map(|n| ago(n, i64::from(n) * 600)));
    remote.lie(|request, _| {
        (request.window.to.duration_since(request.window.from) > SignedDuration::from_hours(167))
            .then_some(Err(RemoteError::Status(400)))
    });
    let month = Settings {
        window: WindowSpec::Days(14),
        ..settings()
    };
    let mount = Mount::on(
        Catalogue::open(&path).unwrap(),
        &remote,
        month.clone(),
        base(),
    );
    assert_eq!(mount.listed().await.len(), 30);
    let long = |remote: &FakeRemote| {
        remote
            .searches()
            .iter()
            .filter(|a| a.window.to.duration_since(a.window.from) > SignedDuration::from_hours(167))
            .count()
    };
    let refused = long(&remote);
    assert!((1..=2).contains(&refused));
    drop(mount);
    let later = base() + SignedDuration::from_hours(48);
    let again = Mount::on(Catalogue::open(&path).unwrap(), &remote, month, later);
    again.pass(Duration::from_secs(30)).await;
    assert!(remote.searches().len() > 4);
    assert_eq!(long(&remote), refused);
}

#[tokio::test(start_paused = true)]
async fn whether_the_end_belongs_to_a_window_changes_nothing() {
    // One call each on the very boundaries of the searches of 14 days, and beside them.
    let boundary = base() - SignedDuration::from_hours(7 * 24) + SignedDuration::from_secs(60);
    let calls: Vec<_> = [-1, 0, 1]
        .into_iter()
        .zip(1..)
        .map(|(second, number)| {
            let start = boundary + SignedDuration::from_secs(second);
            build(number, start, "inbound", &["7"], &["callRecording"])
        })
        .collect();
    for is_inclusive in [false, true] {
        let remote = FakeRemote::new([]);
        let all = calls.clone();
        remote.lie(move |request, _| {
            let window = request.window;
            let shown = all.iter().filter(|call| {
                window.contains(call.start) || is_inclusive && call.start == window.to
            });
            Some(Ok(page_of(shown.cloned(), None)))
        });
        let settings = Settings {
            window: WindowSpec::Days(14),
            refresh: REFRESH * 60,
            ..settings()
        };
        let mount = Mount::new(&remote, settings);
        let searched = mount.listed().await;
        let on_boundary = remote
            .searches()
            .iter()
            .any(|asked| asked.window.to == boundary);
        assert!(on_boundary, "no search ends where the call is");
        assert_eq!(
            searched
                .iter()
                .collect::<std::collections::HashSet<_>>()
                .len(),
            3
        );
        mount.pass(REFRESH * 60 * 25).await;
        assert_eq!(mount.listed().await.len(), 3, "it was judged to be gone");
    }
}

#[tokio::test(start_paused = true)]
async fn hostile_ids_and_a_hundred_thousand_items_make_names_that_are_apart() {
    let item = |key: &str| {
        serde_json::json!({"contentKey": key, "type": "../../etc/passwd",
            "contentType": "application/json\u{0}/../x", "contentLength": -5, "lastModified": "no time"})
    };
    let many = (0..100_000).map(|n| item(&format!("../{n}")));
    let odd = [
        "..",
        "-rf",
        "\n",
        "\u{0}",
        "a/b",
        "%2e%2e",
        "\u{202e}gnp.exe",
        "",
    ]
    .map(item);
    let long = item(&"k".repeat(5000));
    let content: Vec<_> = many.chain(odd).chain([long]).collect();
    let json = serde_json::json!({"guid": guid(1).to_string(), "start": (base() - REFRESH).to_string(),
        "direction": "../up", "handlingAgents": [{"id": "../../root"}], "content": content});
    let hostile = Interaction::from_json(&json.to_string()).unwrap();
    let remote = FakeRemote::new([hostile]);
    let mount = Mount::new(&remote, settings());
    assert_eq!(mount.listed().await, [guid(1)]);
    let known = mount.catalogue.interaction(guid(1)).unwrap().unwrap();
    let mut names = std::collections::HashSet::new();
    for place in 0..known.interaction.items.len() {
        let name = known.names.name(place).unwrap();
        assert!(name.len() <= 255 && !name.starts_with(['.', '-']), "{name}");
        assert!(
            name.bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"._-%".contains(&b))
        );
        assert!(names.insert(name.to_owned()), "twice: {name}");
    }
    assert!(names.len() > 100_000);
    assert_eq!(mount.requests(), 1);
}

#[tokio::test(start_paused = true)]
async fn unreadable_objects_are_counted_and_judge_nobody() {
    let remote = FakeRemote::new([ago(1, 5)]);
    let mount = Mount::new(&remote, settings());
    mount.listed().await;
    remote.lie(|_, _| {
        Some(Ok(SearchPage {
            unreadable: 2,
            ..page_of([], None)
        }))
    });
    mount.pass(REFRESH * 20).await;
    assert_eq!(mount.refresher.freshness().unreadable, 2);
    assert_eq!(mount.listed().await, [guid(1)]);
}

#[tokio::test(start_paused = true)]
async fn a_filtered_search_removes_only_what_is_gone_by_guid() {
    let remote = FakeRemote::new([ago(1, 5), ago(2, 6), ago(3, 7)]);
    let filter = SearchFilter {
        agent: Some(AgentId::new("7")),
        ..SearchFilter::default()
    };
    let mount = Mount::new(
        &remote,
        Settings {
            filter,
            ..settings()
        },
    );
    mount.listed().await;
    mount.heard.take();
    remote.delete(guid(2));
    // This one the server no longer shows under the filter, though it is there.
    remote.lie(|request, _| {
        request
            .window
            .contains(base())
            .then(|| Ok(page_of([ago(3, 7)], None)))
    });
    mount.pass(Duration::from_secs(3600)).await;
    assert_eq!(mount.heard.take(), [format!("removed {:?}", guid(2))]);
    assert_eq!(mount.listed().await.len(), 2);
    assert!(
        remote.reads() <= 3,
        "asked once a day, not with every search"
    );
}
