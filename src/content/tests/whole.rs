//! Fetching for later: what is missing costs a request for each hole, and what nobody wants any more is called off.

use std::sync::Arc;
use std::time::Duration;

use super::fake::{Fake, MIB, engine, object, read, terms};
use crate::content::Missing;

#[tokio::test(start_paused = true)]
async fn a_file_of_any_size_takes_one_request() {
    for size in [1, MIB, 40 * MIB + 5] {
        let fake = Arc::new(Fake::of_size(size));
        let engine = engine(&fake, 64 * MIB, None);
        let version = object(&engine, &fake);
        let before = version.missing().await;
        assert_eq!(
            before,
            Missing {
                requests: 1,
                bytes: size,
                size: Some(size)
            }
        );
        version.fetch_for_later(terms()).await.unwrap();
        let after = version.missing().await;
        assert_eq!((after.requests, after.bytes), (0, 0));
        assert_eq!((fake.requests(), fake.sent()), (1, size));
        assert_eq!(read(&version.cursor(), 1, 0, size).await, size);
        assert_eq!(fake.requests(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_file_that_says_no_size_takes_one_request() {
    let fake = Arc::new(Fake::of_size(3 * MIB));
    fake.change(|served| served.listed = None);
    let engine = engine(&fake, 64 * MIB, None);
    let version = object(&engine, &fake);
    let before = version.missing().await;
    assert_eq!((before.requests, before.size), (1, None));
    version.fetch_for_later(terms()).await.unwrap();
    assert_eq!(version.missing().await.size, Some(3 * MIB));
    assert_eq!(fake.requests(), 1);
}

#[tokio::test(start_paused = true)]
async fn each_hole_is_counted_and_costs_what_was_counted() {
    let size = 40 * MIB;
    let fake = Arc::new(Fake::of_size(size));
    let engine = engine(&fake, 64 * MIB, None);
    let version = object(&engine, &fake);
    let cursor = version.cursor();
    for at in [10 * MIB, 30 * MIB] {
        read(&cursor, 1, at, 4096).await;
    }
    drop(cursor);
    while engine.usage().streams > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let missing = version.missing().await;
    assert_eq!(missing.requests, 3);
    let (requests, sent) = (fake.requests() as u64, fake.sent());
    version.fetch_for_later(terms()).await.unwrap();
    assert_eq!(fake.requests() as u64 - requests, missing.requests);
    assert_eq!(fake.sent() - sent, missing.bytes);
}

/// Fetches until some bytes came, then has enough of it.
async fn begin_and_leave(version: &Arc<crate::content::Object>, fake: &Fake) {
    let fetch = version.fetch_for_later(terms());
    tokio::pin!(fetch);
    while fake.sent() < MIB {
        let step = tokio::time::timeout(Duration::from_millis(10), &mut fetch);
        assert!(step.await.is_err(), "it is not done yet");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_called_off_stops_and_goes_on_where_it_was() {
    let size = 40 * MIB;
    let mut fake = Fake::of_size(size);
    fake.rate = Some(MIB);
    let fake = Arc::new(fake);
    let engine = engine(&fake, 64 * MIB, None);
    let version = object(&engine, &fake);
    begin_and_leave(&version, &fake).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(fake.sent() < 2 * MIB, "{} bytes came", fake.sent());
    assert_eq!(engine.usage().streams, 0);
    let missing = version.missing().await;
    assert_eq!(missing.requests, 1);
    assert!(missing.bytes <= size - MIB + (128 << 10));
    version.fetch_for_later(terms()).await.unwrap();
    assert_eq!(fake.requests(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_is_waited_for_is_given_up_too() {
    let fake = Arc::new(Fake::of_size(MIB));
    fake.fault(super::fake::Fault::Silent);
    let engine = engine(&fake, 64 * MIB, None);
    let version = object(&engine, &fake);
    let fetch = version.fetch_for_later(terms());
    assert!(
        tokio::time::timeout(Duration::from_millis(10), fetch)
            .await
            .is_err()
    );
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert_eq!(engine.usage().streams, 0);
    assert_eq!(fake.requests(), 1);
}

#[tokio::test(start_paused = true)]
async fn somebody_elses_bytes_are_not_called_off() {
    let mut fake = Fake::of_size(3 * MIB);
    fake.rate = Some(MIB);
    let fake = Arc::new(fake);
    let engine = engine(&fake, 64 * MIB, None);
    let version = object(&engine, &fake);
    let cursor = version.cursor();
    begin_and_leave(&version, &fake).await;
    assert_eq!(read(&cursor, 1, 0, 3 * MIB).await, 3 * MIB);
    assert_eq!(fake.requests(), 1);
}
