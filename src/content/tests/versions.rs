//! Faults, and versions that change underneath.

use std::sync::Arc;
use std::time::Duration;

use super::disk::{mount, quick};
use super::fake::{Fake, Fault, MIB, engine, in_a_minute, object, read, terms};
use crate::content::ContentError;
use crate::remote::RemoteError;

#[tokio::test(start_paused = true)]
async fn a_body_that_breaks_off_is_resumed_at_its_last_good_byte() {
    let size = 3 * MIB;
    let fake = Arc::new(Fake::of_size(size));
    fake.fault(Fault::CutAfter(1_000_001));
    fake.fault(Fault::CutAfter(7));
    fake.fault(Fault::CutAfter(0));
    let engine = engine(&fake, 64 * MIB, None);
    assert_eq!(
        read(&object(&engine, &fake).cursor(), 1, 0, size).await,
        size
    );
    let starts: Vec<u64> = fake
        .requests
        .lock()
        .unwrap()
        .iter()
        .map(|request| request.0)
        .collect();
    assert_eq!(starts, [0, 1_000_001, 1_000_008, 1_000_008]);
    assert_eq!(fake.sent(), size);
}

#[tokio::test(start_paused = true)]
async fn bytes_that_come_again_renew_no_retries() {
    let fake = Arc::new(Fake::of_size(20 * MIB));
    for _ in 0..100 {
        fake.fault(Fault::IgnoresRangeAndCutsAfter(3 * MIB));
    }
    let engine = engine(&fake, 64 * MIB, None);
    let cursor = object(&engine, &fake).cursor();
    let error = cursor.read(5 * MIB, 4096, in_a_minute()).await.unwrap_err();
    assert_eq!(error, ContentError::Remote(RemoteError::Interrupted));
    assert_eq!(fake.requests.lock().unwrap().len(), 1 + 5);
}

#[tokio::test(start_paused = true)]
async fn an_ignored_range_is_used_and_never_taken_for_the_range() {
    let fake = Arc::new(Fake::of_size(20 * MIB));
    fake.fault(Fault::IgnoresRange);
    let engine = engine(&fake, 64 * MIB, None);
    assert_eq!(
        read(&object(&engine, &fake).cursor(), 1, 10 * MIB, 4096).await,
        4096
    );
}

#[tokio::test(start_paused = true)]
async fn a_failed_read_is_repeated_for_a_second_without_a_request() {
    let fake = Arc::new(Fake::of_size(MIB));
    let broken = RemoteError::Status(503);
    fake.fault(Fault::Error(broken.clone()));
    let engine = engine(&fake, 64 * MIB, None);
    let cursor = object(&engine, &fake).cursor();
    for _ in 0..32 {
        let error = cursor.read(0, 4096, in_a_minute()).await.unwrap_err();
        assert_eq!(error, ContentError::Remote(broken.clone()));
    }
    assert_eq!(fake.requests(), 1);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(read(&cursor, 1, 0, 4096).await, 4096);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_remembered_for_ten_minutes() {
    let fake = Arc::new(Fake::of_size(MIB));
    fake.fault(Fault::Error(RemoteError::Forbidden));
    let engine = engine(&fake, 64 * MIB, None);
    let cursor = object(&engine, &fake).cursor();
    for _ in 0..5 {
        let error = cursor.read(0, 4096, in_a_minute()).await.unwrap_err();
        assert_eq!(error, ContentError::Remote(RemoteError::Forbidden));
        tokio::time::sleep(Duration::from_secs(100)).await;
    }
    assert_eq!(fake.requests(), 1);
    tokio::time::sleep(Duration::from_secs(200)).await;
    assert_eq!(read(&cursor, 1, 0, 4096).await, 4096);
}

#[tokio::test(start_paused = true)]
async fn a_silent_server_ends_reads_at_their_own_deadlines() {
    let fake = Arc::new(Fake::of_size(MIB));
    fake.fault(Fault::Silent);
    let engine = engine(&fake, 64 * MIB, None);
    let object = object(&engine, &fake);
    let (hurried, patient) = (object.cursor(), object.cursor());
    let soon = tokio::time::Instant::now() + Duration::from_secs(3);
    let (first, second) = tokio::join!(
        hurried.read(0, 4096, soon),
        patient.read(MIB / 2, 4096, in_a_minute())
    );
    assert!(matches!(
        first.unwrap_err(),
        ContentError::DeadlinePassed | ContentError::Remote(RemoteError::DeadlinePassed)
    ));
    assert_eq!(
        second.unwrap().len(),
        4096,
        "asked again with its own deadline"
    );
}

#[tokio::test(start_paused = true)]
async fn a_replaced_version_is_stale_and_never_mixed() {
    let fake = Arc::new(Fake::of_size(20 * MIB));
    let engine = engine(&fake, 64 * MIB, None);
    let id = fake.id();
    let cursor = object(&engine, &fake).cursor();
    read(&cursor, 1, 0, 4096).await;
    fake.change(|served| {
        served.content = 2;
        served.etag = Some("\"two\"");
        served.last_modified = Some("Mon, 23 Nov 2026 10:16:00 GMT");
        served.listed_time = "2026-11-23T10:16:00Z";
    });
    let error = cursor
        .read(10 * MIB, 4096, in_a_minute())
        .await
        .unwrap_err();
    assert_eq!(error, ContentError::Stale);
    assert_eq!(
        read(&cursor, 1, 0, 4096).await,
        4096,
        "what is held stays readable"
    );
    let requests = fake.requests();
    let again = cursor
        .read(12 * MIB, 4096, in_a_minute())
        .await
        .unwrap_err();
    assert_eq!((again, fake.requests()), (ContentError::Stale, requests));
    assert_eq!(fake.told.lock().unwrap().observed, 1);
    assert_ne!(fake.id(), id);
    assert_eq!(
        read(&object(&engine, &fake).cursor(), 2, 10 * MIB, 4096).await,
        4096
    );
}

#[tokio::test(start_paused = true)]
async fn a_version_replaced_in_place_is_seen_by_its_validators_alone() {
    let fake = Arc::new(Fake::of_size(20 * MIB));
    let engine = engine(&fake, 64 * MIB, None);
    let cursor = object(&engine, &fake).cursor();
    read(&cursor, 1, 0, 4096).await;
    fake.change(|served| {
        served.content = 2;
        served.etag = Some("\"two\"");
        served.last_modified = Some("Mon, 23 Nov 2026 10:16:00 GMT");
    });
    let error = cursor
        .read(10 * MIB, 4096, in_a_minute())
        .await
        .unwrap_err();
    assert_eq!(error, ContentError::Stale);
    assert_eq!(fake.told.lock().unwrap().replaced, 1);
    // What is held of the old would lie beside the new in the kernel's pages.
    assert!(cursor.read_now(0, 4096).is_none());
    let held = cursor.read(0, 4096, in_a_minute()).await;
    assert_eq!(held, Err(ContentError::Stale));
    let fresh = object(&engine, &fake).cursor();
    assert_eq!(
        read(&fresh, 2, 0, 4096).await,
        4096,
        "a new open has nothing of the old"
    );
}

#[tokio::test(start_paused = true)]
async fn a_version_replaced_in_mid_body_is_not_mixed_by_the_resumption() {
    let fake = Arc::new(Fake::of_size(3 * MIB));
    fake.fault(Fault::CutAfter(1_000_001));
    let engine = engine(&fake, 64 * MIB, None);
    let cursor = object(&engine, &fake).cursor();
    let reading = cursor.read(2 * MIB, 4096, in_a_minute());
    let replacing = async {
        tokio::time::sleep(Duration::from_millis(60)).await;
        fake.change(|served| {
            served.content = 2;
            served.etag = Some("\"two\"");
            served.listed_time = "2026-11-23T10:16:00Z";
        });
    };
    let (found, ()) = tokio::join!(reading, replacing);
    assert_eq!(found.unwrap_err(), ContentError::Stale);
}

#[tokio::test(start_paused = true)]
async fn content_that_is_gone_is_stale_and_told_of() {
    let fake = Arc::new(Fake::of_size(20 * MIB));
    let engine = engine(&fake, 64 * MIB, None);
    let cursor = object(&engine, &fake).cursor();
    read(&cursor, 1, 0, 4096).await;
    fake.change(|served| served.is_gone = true);
    let error = cursor
        .read(10 * MIB, 4096, in_a_minute())
        .await
        .unwrap_err();
    assert_eq!(error, ContentError::Stale);
    assert_eq!(fake.told.lock().unwrap().gone, 1);
}

#[tokio::test(start_paused = true)]
async fn an_unstable_etag_costs_no_more_than_a_look_at_the_metadata() {
    let fake = Arc::new(Fake::of_size(100 * MIB));
    fake.change(|served| served.etag_is_unstable = true);
    let engine = engine(&fake, 64 * MIB, None);
    let cursor = object(&engine, &fake).cursor();
    for at in [0, 20, 40, 60, 80] {
        assert_eq!(read(&cursor, 1, at * MIB, 4096).await, 4096);
    }
    assert_eq!(*fake.metadata_reads.lock().unwrap(), 1);
    assert!(fake.requests() <= 6, "{} requests", fake.requests());
}

#[tokio::test(start_paused = true)]
async fn a_wrong_length_is_corrected_by_the_first_answer() {
    for listed in [Some(1), Some(0), Some(9 * MIB), None] {
        for says_total in [true, false] {
            let size = 2 * MIB + 99;
            let fake = Arc::new(Fake::of_size(size));
            fake.change(|served| {
                served.listed = listed;
                served.says_total = says_total;
            });
            // Without any length, a listed one that is too large makes the range a bounded one: not told apart.
            if !says_total && listed == Some(9 * MIB) {
                continue;
            }
            let engine = engine(&fake, 64 * MIB, None);
            let object = object(&engine, &fake);
            let cursor = object.cursor();
            let _ = cursor.read(0, 4096, in_a_minute()).await;
            assert_eq!(
                object.learn_size(terms()).await,
                Ok(size),
                "{listed:?} {says_total}"
            );
            assert_eq!(engine.learnt_size(object.id()), Some(size));
            assert_eq!(fake.told.lock().unwrap().sizes, [size]);
            assert_eq!(read(&cursor, 1, 0, size + 5).await, size);
            // Another length than the listed one counts when three answers say so.
            let most = if listed.unwrap_or(0) > 0 { 4 } else { 2 };
            assert!(
                fake.requests() <= most,
                "{} requests for {listed:?} {says_total}",
                fake.requests()
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn two_answers_of_another_length_do_not_move_the_end_of_the_file() {
    for says_total in [true, false] {
        let size = 2 * MIB;
        for wrong in [size - 1, size - 5000, 0, size + 1, size + 5000] {
            let fake = Arc::new(Fake::of_size(size));
            fake.change(|served| served.says_total = says_total);
            for _ in 0..2 {
                fake.fault(Fault::Resized(wrong));
            }
            let engine = engine(&fake, 64 * MIB, None);
            let object = object(&engine, &fake);
            assert_eq!(
                read(&object.cursor(), 1, 0, size + 5).await,
                size,
                "{wrong}"
            );
            assert_eq!(object.size(), Some(size));
            assert_eq!(fake.requests(), 3);
            if wrong > 0 {
                let reads = *fake.metadata_reads.lock().unwrap();
                assert_eq!(reads, 1, "what the first one made it ask holds for both");
            }
        }
    }
}

#[tokio::test]
async fn a_length_that_was_believed_and_proves_wrong_is_taken_back() {
    let (size, wrong) = (20 * MIB, 19 * MIB);
    let directory = tempfile::tempdir().unwrap();
    let fake = quick(size);
    for _ in 0..3 {
        fake.fault(Fault::Resized(wrong));
    }
    let engine = mount(&fake, directory.path());
    let object = object(&engine, &fake);
    let cursor = object.cursor();
    read(&cursor, 1, 0, 4096).await;
    assert_eq!(engine.learnt_size(object.id()), Some(wrong));
    read(&cursor, 1, 10 * MIB, 4096).await;
    assert_eq!(fake.told.lock().unwrap().sizes, [wrong, size]);
    assert_eq!(engine.learnt_size(object.id()), Some(size));
    assert_eq!(read(&cursor, 1, 0, size + 5).await, size);
}

#[tokio::test(start_paused = true)]
async fn lengths_that_change_from_answer_to_answer_end_in_an_error() {
    let size = 20 * MIB;
    let fake = Arc::new(Fake::of_size(size));
    for more in 1..100 {
        fake.fault(Fault::Resized(size + more));
    }
    let engine = engine(&fake, 64 * MIB, None);
    let cursor = object(&engine, &fake).cursor();
    let error = cursor.read(0, 4096, in_a_minute()).await.unwrap_err();
    assert!(
        matches!(error, ContentError::Remote(RemoteError::Protocol(_))),
        "{error:?}"
    );
    drop(cursor);
    tokio::time::sleep(Duration::from_secs(300)).await;
    assert!(fake.requests() <= 4, "{} requests", fake.requests());
}

#[tokio::test(start_paused = true)]
async fn what_one_flight_settled_is_settled_for_the_others() {
    let (size, listed) = (40 * MIB, 39 * MIB);
    let fake = Arc::new(Fake::of_size(size));
    fake.change(|served| served.listed = Some(listed));
    let engine = engine(&fake, 128 * MIB, None);
    let object = object(&engine, &fake);
    let (one, other) = (object.cursor(), object.cursor());
    tokio::join!(read(&one, 1, 0, 4096), read(&other, 1, 20 * MIB, 4096));
    assert_eq!(fake.told.lock().unwrap().sizes, [size]);
}

#[tokio::test(start_paused = true)]
async fn answers_that_are_empty_by_mistake_never_empty_a_file() {
    for (says_total, listed) in [(true, true), (false, true), (true, false)] {
        let size = 6 * MIB;
        let fake = Arc::new(Fake::of_size(size));
        fake.change(|served| {
            served.says_total = says_total;
            served.listed = listed.then_some(size);
        });
        let engine = engine(&fake, 64 * MIB, None);
        let object = object(&engine, &fake);
        let cursor = object.cursor();
        assert_eq!(read(&cursor, 1, MIB, 4096).await, 4096);
        for _ in 0..3 {
            fake.fault(Fault::Resized(0));
        }
        assert_eq!(read(&cursor, 1, 0, size + 5).await, size);
        assert_eq!(object.size(), Some(size));
    }
}

#[tokio::test(start_paused = true)]
async fn an_empty_file_is_empty_after_one_request() {
    let fake = Arc::new(Fake::of_size(0));
    let engine = engine(&fake, 64 * MIB, None);
    let object = object(&engine, &fake);
    assert_eq!(object.size(), None);
    assert_eq!(object.learn_size(terms()).await, Ok(0));
    assert_eq!(
        object.cursor().read(0, 4096, in_a_minute()).await,
        Ok(bytes::Bytes::new())
    );
    assert_eq!(fake.requests(), 1);
}
