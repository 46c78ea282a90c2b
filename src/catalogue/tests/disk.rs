//! The file: remounts, other mounts, damage, kills, and what must not linger.

use std::os::unix::fs::PermissionsExt;

use rusqlite::StatementStatus;

use super::*;
use crate::seal::CacheKey;

#[tokio::test(start_paused = true)]
async fn offline_makes_no_request_and_hides_what_is_too_old() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("catalogue.db");
    let remote = FakeRemote::new([ago(1, 5)]);
    let mount = Mount::on(Catalogue::open(&path).unwrap(), &remote, settings(), base());
    mount.listed().await;
    drop(mount);
    let requests = remote.searches().len();
    let offline = Settings {
        offline: true,
        max_age: Duration::from_secs(3 * 86_400),
        ..settings()
    };
    let day_after = base() + SignedDuration::from_hours(24);
    let mount = Mount::on(
        Catalogue::open(&path).unwrap(),
        &remote,
        offline.clone(),
        day_after,
    );
    assert_eq!(mount.listed().await, [guid(1)]);
    let deadline = Instant::now() + REFRESH;
    assert!(
        mount
            .refresher
            .find(guid(1), deadline)
            .await
            .unwrap()
            .is_some()
    );
    assert!(
        mount
            .refresher
            .find(guid(2), deadline)
            .await
            .unwrap()
            .is_none()
    );
    // A day that was never searched is not taken for empty.
    let unsearched = Day::of(base()).before(100).window();
    assert_eq!(
        mount.refresher.progress(&unsearched),
        Progress::Failed(RemoteError::Offline)
    );
    drop(mount);
    let days_after = base() + SignedDuration::from_hours(24 * 4);
    let mount = Mount::on(
        Catalogue::open(&path).unwrap(),
        &remote,
        offline,
        days_after,
    );
    assert!(mount.listed().await.is_empty());
    assert!(mount.catalogue.interaction(guid(1)).unwrap().is_none());
    assert!(
        mount
            .catalogue
            .agents(&mount.refresher.window())
            .unwrap()
            .is_empty()
    );
    assert_eq!(remote.searches().len(), requests);
}

#[tokio::test(start_paused = true)]
async fn what_another_mount_writes_is_announced_here() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("catalogue.db");
    let remote = FakeRemote::new([ago(1, 60 * 24 * 40), ago(2, 5), ago(3, 6)]);
    let mount = Mount::on(Catalogue::open(&path).unwrap(), &remote, settings(), base());
    mount.listed().await;
    assert!(mount.catalogue.interaction(guid(2)).unwrap().is_some());
    assert!(mount.catalogue.interaction(guid(3)).unwrap().is_some());
    mount.heard.take();
    let other = Catalogue::open(&path).unwrap();
    other.observe(ago(4, 60 * 24 * 50));
    other.observe(build(
        2,
        base() - SignedDuration::from_mins(5),
        "inbound",
        &[],
        &["voicemail"],
    ));
    other.gone(guid(3));
    remote.fail(Some(RemoteError::Interrupted));
    mount.pass(REFRESH).await;
    let mut heard = mount.heard.take();
    heard.sort();
    assert_eq!(
        heard,
        [
            format!("added {:?}", guid(4)),
            format!("removed {:?}", guid(3)),
            format!("updated {:?}", guid(2))
        ]
    );
}

#[test]
fn what_another_mount_writes_is_announced_though_memory_let_go_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("catalogue.db");
    let catalogue = Catalogue::open(&path).unwrap();
    let heard = Arc::new(Heard::default());
    let listener: Arc<dyn Changes> = heard.clone();
    catalogue.attach(&settings(), Clock::System, Some(Arc::downgrade(&listener)));
    let told = || {
        catalogue.keep_house().unwrap();
        let mut told = heard.take();
        told.sort();
        told
    };
    let all: Vec<_> = (1..=7).map(|number| ago(number, 5)).collect();
    catalogue.take_in(&all).unwrap();
    *catalogue.recent() = Recent::with_limit(0);
    // Six are listed, of three the details are shown.
    let listing = Listing {
        window: Day::of(base()).window(),
        agent: None,
    };
    assert_eq!(catalogue.page(&listing, 0, 6).unwrap().len(), 6);
    for number in 1..=3 {
        assert!(catalogue.interaction(guid(number)).unwrap().is_some());
        assert!(catalogue.remembered(guid(number)).is_none());
    }
    heard.take();
    let replaced = |number| {
        let start = base() - SignedDuration::from_mins(5);
        build(number, start, "inbound", &[], &["voicemail"])
    };
    let other = Catalogue::open(&path).unwrap();
    other.observe(replaced(2));
    other.gone(guid(3));
    other.gone(guid(4));
    other.observe(replaced(5));
    // Nobody here was given this one.
    other.gone(guid(7));
    // Shown again before this process finds out: what was shown first is out of date all the same.
    *catalogue.recent() = Recent::new();
    let again = catalogue.interaction(guid(2)).unwrap().unwrap();
    assert_eq!(again.interaction, replaced(2));
    let updated = |number| format!("updated unremembered {:?}", guid(number));
    let removed = |number| format!("removed unremembered {:?}", guid(number));
    assert_eq!(told(), [removed(3), removed(4), updated(2), updated(5)]);
    // Once; and what comes after that is measured by what was told.
    other.observe(ago(8, 5));
    assert_eq!(told(), [format!("added {:?}", guid(8))]);
    other.observe(ago(2, 5));
    assert_eq!(told(), [updated(2)]);
}

#[test]
fn the_files_are_private_and_deleted_data_does_not_linger() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("catalogue.db");
    let catalogue = Catalogue::open(&path).unwrap();
    let many: Vec<_> = (1..=300).map(|n| ago(n, i64::from(n))).collect();
    catalogue.take_in(&many).unwrap();
    let stored = packed::pack(many[122].json.reveal());
    let traces = |of: &[u8]| {
        std::fs::read_dir(folder.path()).unwrap().any(|entry| {
            let bytes = std::fs::read(entry.unwrap().path()).unwrap();
            bytes.windows(of.len()).any(|part| part == of)
        })
    };
    assert!(traces(&stored));
    assert!(traces(guid(123).as_bytes()));
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let mode = entry.unwrap().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    catalogue.gone(guid(123));
    assert!(!traces(&stored));
    assert!(!traces(guid(123).as_bytes()));
    assert!(catalogue.interaction(guid(122)).unwrap().is_some());
    assert!(catalogue.interaction(guid(123)).unwrap().is_none());
}

#[test]
fn a_catalogue_of_the_first_schema_is_brought_up_to_date() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("catalogue.db");
    let old = ago(1, 1);
    schema::make_first_version(&path, |connection| {
        connection
            .execute(
                "INSERT INTO interactions (sequence, guid, start, direction, hash, seen)
                 VALUES (7, ?1, ?2, 0, ?3, 0)",
                (
                    old.guid.as_bytes(),
                    old.start.as_microsecond(),
                    ingest::hash(&old),
                ),
            )
            .unwrap();
        connection
            .execute(
                "INSERT INTO details (sequence, json) VALUES (7, ?1)",
                [&**old.json.reveal()],
            )
            .unwrap();
        connection
            .execute("INSERT INTO agents VALUES ('7', 7, 0)", [])
            .unwrap();
    });
    let catalogue = Catalogue::open(&path).unwrap();
    let known = catalogue.interaction(old.guid).unwrap().unwrap();
    assert_eq!(known.interaction, old);
    catalogue.gone(old.guid);
    let agents: i64 = catalogue
        .store
        .writer()
        .query_row("SELECT count(*) FROM agents", [], |row| row.get(0))
        .unwrap();
    assert_eq!(agents, 0);
}

#[test]
fn a_file_that_is_damaged_foreign_or_newer_is_replaced_by_an_empty_catalogue() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("catalogue.db");
    let window = Day::of(base()).window();
    let fill = || {
        let catalogue = Catalogue::open(&path).unwrap();
        catalogue
            .take_in(&(1..=200).map(|n| ago(n, 1)).collect::<Vec<_>>())
            .unwrap();
        assert_eq!(catalogue.known().unwrap(), 200);
        assert_eq!(catalogue.store.count(Some(&window)).unwrap(), 200);
    };
    let spoil: [&dyn Fn(); 5] = [
        &|| {
            std::fs::write(
                &path,
                "no database, but long enough to be taken for one".repeat(100),
            )
            .unwrap();
        },
        &|| {
            let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
            file.set_len(5000).unwrap();
        },
        &|| {
            Connection::open(&path)
                .unwrap()
                .pragma_update(None, "user_version", 99)
                .unwrap();
        },
        &|| {
            Connection::open(&path)
                .unwrap()
                .execute_batch("DROP TABLE details")
                .unwrap();
        },
        &|| {
            std::fs::remove_file(&path).unwrap();
            Connection::open(&path)
                .unwrap()
                .execute_batch("CREATE TABLE agents (x)")
                .unwrap();
        },
    ];
    for spoil in spoil {
        fill();
        spoil();
        let catalogue = Catalogue::open(&path).unwrap();
        assert_eq!(catalogue.known().unwrap(), 0);
        assert_eq!(catalogue.store.count(Some(&window)).unwrap(), 0);
        assert!(
            catalogue
                .coverage(&SearchFilter::default())
                .unwrap()
                .spans()
                .is_empty()
        );
    }
}

#[tokio::test(start_paused = true)]
async fn damage_that_shows_later_is_repaired_by_searching_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("catalogue.db");
    let remote = FakeRemote::new((1..=500).map(|n| ago(n, i64::from(n))));
    let mount = Mount::on(Catalogue::open(&path).unwrap(), &remote, settings(), base());
    mount.listed().await;
    drop(mount);
    // The log is moved into the file, then everything behind the first pages, which opening reads, is
    // overwritten.
    tokio::time::sleep(Duration::from_secs(1)).await;
    Catalogue::open(&path).unwrap().keep_house().unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    let root = 4096 * 16;
    bytes[root..].fill(0xa5);
    std::fs::write(&path, bytes).unwrap();
    let mount = Mount::on(Catalogue::open(&path).unwrap(), &remote, settings(), base());
    let _ = mount.catalogue.interaction(guid(77));
    for _ in 0..20 {
        mount.pass(REFRESH).await;
        let _ = mount.catalogue.interaction(guid(77));
    }
    assert_eq!(mount.listed().await.len(), 500);
    assert!(mount.catalogue.interaction(guid(77)).unwrap().is_some());
}

#[test]
fn a_kill_at_any_moment_leaves_a_sound_catalogue() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("catalogue.db");
    let window = TimeWindow {
        from: base() - SignedDuration::from_hours(9),
        to: base(),
    };
    let catalogue = Catalogue::open(&path).unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    let round = std::sync::atomic::AtomicU32::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0.. {
                let first = n * 20 % 200 + 1;
                catalogue
                    .take_in(
                        &(first..first + 20)
                            .map(|n| ago(n, i64::from(n)))
                            .collect::<Vec<_>>(),
                    )
                    .unwrap();
                catalogue
                    .searched(&SearchFilter::default(), window, base())
                    .unwrap();
                catalogue.gone(guid(first));
                round.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                if stop.load(std::sync::atomic::Ordering::SeqCst) {
                    break;
                }
            }
        });
        let mut copies = 0;
        while copies < 25 {
            let before = round.load(std::sync::atomic::Ordering::SeqCst);
            let copy = tempfile::tempdir().unwrap();
            let to = copy.path().join("catalogue.db");
            // A checkpoint between the two copies would make a state that no kill leaves behind, so it is
            // the log that is copied under the writer's lock.
            {
                let writer = catalogue.store.writer();
                for suffix in ["", "-wal"] {
                    let from = format!("{}{suffix}", path.display());
                    let _ = std::fs::copy(from, format!("{}{suffix}", to.display()));
                }
                drop(writer);
            }
            // The tail of the log may be missing, as if the last write had been cut off.
            let log = format!("{}-wal", to.display());
            if let Ok(file) = std::fs::OpenOptions::new().write(true).open(&log) {
                let length = file.metadata().unwrap().len();
                file.set_len(length.saturating_sub(copies * 1717)).unwrap();
            }
            let survivor = Catalogue::open(&to).unwrap();
            let sound: String = survivor
                .store
                .writer()
                .pragma_query_value(None, "integrity_check", |row| row.get(0))
                .unwrap();
            assert_eq!(sound, "ok");
            let listing = Listing {
                window,
                agent: None,
            };
            for row in survivor.page(&listing, 0, 1000).unwrap() {
                assert!(survivor.interaction(row.guid).unwrap().is_some());
            }
            copies += 1;
            while round.load(std::sync::atomic::Ordering::SeqCst) == before {
                std::thread::yield_now();
            }
        }
        stop.store(true, std::sync::atomic::Ordering::SeqCst);
    });
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_was_years_ahead_does_not_stop_the_searches() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("catalogue.db");
    let remote = FakeRemote::new([ago(1, 5)]);
    let ahead = base() + SignedDuration::from_hours(24 * 900);
    let week = Settings {
        window: WindowSpec::Fixed {
            from: base() - SignedDuration::from_hours(24 * 6),
            to: Some(base() + SignedDuration::from_hours(24)),
        },
        ..settings()
    };
    let mount = Mount::on(Catalogue::open(&path).unwrap(), &remote, week, ahead);
    assert_eq!(mount.listed().await, [guid(1)]);
    drop(mount);
    remote.put(ago(2, 4));
    let mount = Mount::on(Catalogue::open(&path).unwrap(), &remote, settings(), base());
    assert_eq!(mount.listed().await, [guid(1), guid(2)]);
    mount.pass(Duration::from_secs(30)).await;
    assert_eq!(mount.requests(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_was_an_hour_ahead_hides_nothing_of_that_hour() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("catalogue.db");
    let remote = FakeRemote::new([ago(1, 5)]);
    let ahead = base() + SignedDuration::from_hours(1);
    for (now, listed) in [(ahead, &[guid(1)][..]), (base(), &[guid(1), guid(2)])] {
        let mount = Mount::on(Catalogue::open(&path).unwrap(), &remote, settings(), now);
        assert_eq!(mount.listed().await, listed);
        let searches = mount.requests();
        mount.pass(Duration::from_secs(30)).await;
        assert_eq!(mount.requests(), searches, "once is enough");
        remote.put(ago(2, 4));
    }
}

#[tokio::test(start_paused = true)]
async fn a_sealed_catalogue_is_there_again_with_its_key_only() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("catalogue.sealed");
    let key = |material: &[u8]| CacheKey::of(material).unwrap();
    let remote = FakeRemote::new([ago(1, 5), ago(2, 6)]);
    let catalogue = Catalogue::open_sealed(&path, &key(b"0123456789abcdef")).unwrap();
    let mount = Mount::on(catalogue, &remote, settings(), base());
    assert_eq!(mount.listed().await.len(), 2);
    mount.catalogue.save().unwrap();
    drop(mount);
    let requests = remote.searches().len();
    let written = std::fs::read(&path).unwrap();
    assert_eq!(
        std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    for plain in [&b"SQLite format"[..], b"inbound", guid(1).as_bytes()] {
        assert!(!written.windows(plain.len()).any(|part| part == plain));
    }

    let again = Catalogue::open_sealed(&path, &key(b"0123456789abcdef")).unwrap();
    assert!(again.interaction(guid(1)).unwrap().is_some());
    again.save().unwrap();
    assert_eq!(
        std::fs::read(&path).unwrap(),
        written,
        "nothing has changed"
    );
    let mount = Mount::on(again, &remote, settings(), base());
    assert_eq!(mount.listed().await.len(), 2);
    assert_eq!(
        remote.searches().len(),
        requests,
        "nothing was searched again"
    );
    drop(mount);

    let other = Catalogue::open_sealed(&path, &key(b"another key, not the first")).unwrap();
    assert!(other.is_empty());
    std::fs::write(&path, &written[..written.len() - 1]).unwrap();
    let damaged = Catalogue::open_sealed(&path, &key(b"0123456789abcdef")).unwrap();
    assert!(damaged.is_empty());
}

#[test]
fn a_statement_is_planned_once_whatever_is_bound_to_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("catalogue.db");
    let catalogue = Catalogue::open(&path).unwrap();
    let reader = schema::open_reader(&path).unwrap();
    for connection in [&reader, &*catalogue.store.writer()] {
        for n in 1..4 {
            assert!(store::query::load(connection, guid(n)).unwrap().is_none());
        }
        let statement = connection.prepare_cached(store::query::LOAD).unwrap();
        assert_eq!(statement.get_status(StatementStatus::Run), 3);
        assert_eq!(statement.get_status(StatementStatus::RePrepare), 0);
    }
}
