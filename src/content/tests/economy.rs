//! Requests and bytes for each job, against the fewest possible (design, section 6).

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;

use super::fake::{Fake, MIB, engine, in_a_minute, is_right, object, read, terms};
use crate::content::Cursor;

/// Offsets of a random reader, the same on each run.
fn random(seed: u64, below: u64) -> impl Iterator<Item = u64> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) + 1;
    std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    })
}

#[tokio::test(start_paused = true)]
async fn a_small_file_takes_one_request_and_none_the_second_time() {
    let fake = Arc::new(Fake::of_size(4 * MIB - 17));
    let engine = engine(&fake, 64 * MIB, None);
    let cursor = object(&engine, &fake).cursor();
    assert_eq!(read(&cursor, 1, 3 * MIB, 4096).await, 4096);
    assert_eq!(read(&cursor, 1, 0, 5 * MIB).await, 4 * MIB - 17);
    assert_eq!(
        read(&object(&engine, &fake).cursor(), 1, 0, 5 * MIB).await,
        4 * MIB - 17
    );
    assert_eq!((fake.requests(), fake.sent()), (1, 4 * MIB - 17));
}

#[tokio::test(start_paused = true)]
async fn front_to_end_takes_two_requests_and_each_byte_once() {
    let size = 40 * MIB + 5;
    let fake = Arc::new(Fake::of_size(size));
    let engine = engine(&fake, 64 * MIB, None);
    let cursor = object(&engine, &fake).cursor();
    assert_eq!(read(&cursor, 1, 0, size).await, size);
    assert_eq!((fake.requests(), fake.sent()), (2, size));
}

#[tokio::test(start_paused = true)]
async fn many_readers_of_one_cold_file_cost_as_much_as_one() {
    let size = 12 * MIB;
    let fake = Arc::new(Fake::of_size(size));
    let engine = engine(&fake, 64 * MIB, None);
    let cursors: Vec<Cursor> = (0..16).map(|_| object(&engine, &fake).cursor()).collect();
    join_all(cursors.iter().map(|cursor| read(cursor, 1, 0, size))).await;
    assert_eq!((fake.requests(), fake.sent()), (2, size));
}

/// On several threads, for what may happen between a block's arrival and its publication: a reader that looked
/// just then asked for it again.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn readers_on_several_threads_fetch_each_byte_once() {
    let size = 32 * MIB;
    for _ in 0..4 {
        let fake = Arc::new(Fake::of_size(size));
        let engine = engine(&fake, 64 * MIB, None);
        let readers = (0..16_u64).map(|reader| {
            let cursor = object(&engine, &fake).cursor();
            tokio::spawn(async move {
                // Small pieces, so that readers look at each block again and again while it comes.
                for piece in 0..size / 4096 {
                    let at = piece * 4096;
                    let read = cursor.read(at, 4096, in_a_minute()).await.unwrap();
                    assert!(is_right(1, at, &read), "reader {reader} at {at}");
                }
            })
        });
        for reader in join_all(readers).await {
            reader.unwrap();
        }
        assert_eq!(fake.sent(), size);
    }
}

#[tokio::test(start_paused = true)]
async fn a_header_and_five_seeks_cost_six_requests() {
    let fake = Arc::new(Fake::of_size(100 * MIB));
    let engine = engine(&fake, 256 * MIB, None);
    let cursor = object(&engine, &fake).cursor();
    read(&cursor, 1, 0, 4096).await;
    for percent in [10, 30, 50, 70, 90] {
        read(&cursor, 1, percent * MIB, 256 << 10).await;
    }
    drop(cursor);
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(fake.requests(), 6);
    assert!(fake.sent() <= 8 * (4096 + 5 * (256 << 10)));
}

#[tokio::test(start_paused = true)]
async fn a_megabyte_at_each_of_ten_seeks_costs_ten_requests() {
    let fake = Arc::new(Fake::of_size(400 * MIB));
    let engine = engine(&fake, 64 * MIB, None);
    let cursor = object(&engine, &fake).cursor();
    for index in 0..10_u64 {
        let at = (index * 7 % 10) * 40 * MIB + 12_345;
        // As readahead does: all at once.
        let pieces =
            (0..8).map(|piece| cursor.read(at + piece * (128 << 10), 128 << 10, in_a_minute()));
        assert!(join_all(pieces).await.iter().all(Result::is_ok));
    }
    assert!(fake.requests() <= 11, "{} requests", fake.requests());
}

#[tokio::test(start_paused = true)]
async fn random_reads_fetch_each_byte_at_most_once_in_twelve_requests() {
    let fake = Arc::new(Fake::of_size(100 * MIB));
    let engine = engine(&fake, 256 * MIB, None);
    let cursor = object(&engine, &fake).cursor();
    for at in random(3, 100 * MIB - 65536).take(200) {
        read(&cursor, 1, at, 65536).await;
    }
    assert!(fake.requests() <= 12, "{} requests", fake.requests());
    assert!(fake.sent() <= 100 * MIB, "{} bytes", fake.sent());
}

#[tokio::test(start_paused = true)]
async fn four_random_readers_cost_no_more_than_one() {
    let fake = Arc::new(Fake::of_size(100 * MIB));
    let engine = engine(&fake, 256 * MIB, None);
    let cursors: Vec<Cursor> = (0..4).map(|_| object(&engine, &fake).cursor()).collect();
    join_all(cursors.iter().zip(10..).map(async |(cursor, seed)| {
        for at in random(seed, 100 * MIB - 65536).take(50) {
            read(cursor, 1, at, 65536).await;
        }
    }))
    .await;
    assert!(fake.requests() <= 12, "{} requests", fake.requests());
    assert!(fake.sent() <= 100 * MIB, "{} bytes", fake.sent());
}

#[tokio::test(start_paused = true)]
async fn random_reads_over_a_slow_wire_go_parallel() {
    let mut fake = Fake::of_size(100 * MIB);
    fake.rate = Some(10_000_000);
    let fake = Arc::new(fake);
    let engine = engine(&fake, 256 * MIB, None);
    let cursor = object(&engine, &fake).cursor();
    let began = tokio::time::Instant::now();
    for at in random(5, 100 * MIB - 65536).take(200) {
        read(&cursor, 1, at, 65536).await;
    }
    // The paused clock makes this the simulated wire's time, not the machine's.
    assert!(
        began.elapsed() < Duration::from_secs(3),
        "{:?}",
        began.elapsed()
    );
    assert!(fake.requests() <= 16, "{} requests", fake.requests());
    assert!(fake.sent() <= 100 * MIB, "{} bytes", fake.sent());
}

#[tokio::test(start_paused = true)]
async fn a_slow_connection_is_split_in_four_while_the_budget_is_plentiful() {
    let size = 100 * MIB;
    for (budget, most, least_time, most_time) in [(100_000, 5, 0, 1200), (50, 2, 2000, 2400)] {
        let mut fake = Fake::of_size(size);
        fake.rate = Some(50_000_000);
        fake.budget = budget;
        let fake = Arc::new(fake);
        let engine = engine(&fake, 512 * MIB, None);
        let cursor = object(&engine, &fake).cursor();
        let began = tokio::time::Instant::now();
        read(&cursor, 1, 0, size).await;
        let simulated = began.elapsed().as_millis();
        assert!(fake.requests() <= most, "{} requests", fake.requests());
        assert!(
            simulated >= least_time && simulated <= most_time,
            "{simulated} ms"
        );
        assert!(fake.sent() <= size + 4 * MIB);
    }
}

#[tokio::test(start_paused = true)]
async fn a_recording_played_in_real_time_takes_two_requests() {
    let size = 57_600_044;
    let fake = Arc::new(Fake::of_size(size));
    let engine = engine(&fake, 256 * MIB, None);
    let cursor = object(&engine, &fake).cursor();
    let mut at = 0;
    while at < size {
        at += read(&cursor, 1, at, 128 << 10).await;
        tokio::time::sleep(Duration::from_secs(4)).await;
    }
    assert_eq!((fake.requests(), fake.sent()), (2, size));
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_dropped_when_its_reader_leaves() {
    let fake = Arc::new(Fake::of_size(200 * MIB));
    let engine = engine(&fake, 256 * MIB, None);
    let cursor = object(&engine, &fake).cursor();
    read(&cursor, 1, 0, 3 * MIB).await;
    drop(cursor);
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(engine.usage().streams, 0);
    assert!(fake.sent() < 50 * MIB, "{} bytes", fake.sent());
}

#[tokio::test(start_paused = true)]
async fn memory_stays_within_its_bound_and_a_tiny_one_still_serves() {
    let size = 20 * MIB;
    let fake = Arc::new(Fake::of_size(size));
    let engine = engine(&fake, 256 << 10, None);
    let cursor = object(&engine, &fake).cursor();
    assert_eq!(read(&cursor, 1, 0, size).await, size);
    assert!(engine.usage().memory_bytes <= 256 << 10);
}

#[tokio::test(start_paused = true)]
async fn prefetching_takes_one_request_and_its_reader_none() {
    let fake = Arc::new(Fake::of_size(MIB));
    let engine = engine(&fake, 64 * MIB, None);
    let object = object(&engine, &fake);
    object.fetch_whole(terms()).await.unwrap();
    object.fetch_whole(terms()).await.unwrap();
    assert_eq!(engine.held_bytes(object.id()).await, MIB);
    read(&object.cursor(), 1, 0, MIB).await;
    assert_eq!(fake.requests(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_reader_who_gives_up_does_not_strand_another() {
    let fake = Arc::new(Fake::of_size(2 * MIB));
    let engine = engine(&fake, 64 * MIB, None);
    let first = object(&engine, &fake).cursor();
    let second = object(&engine, &fake).cursor();
    let gives_up =
        tokio::time::timeout(Duration::from_millis(5), first.read(0, 4096, in_a_minute()));
    let (gave_up, length) = tokio::join!(gives_up, read(&second, 1, MIB, 4096));
    assert!(gave_up.is_err());
    assert_eq!(length, 4096);
    assert_eq!(fake.requests(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_read_is_answered_before_its_block_is_complete() {
    let mut fake = Fake::of_size(3 * MIB);
    fake.rate = Some(64 << 10);
    let fake = Arc::new(fake);
    let engine = engine(&fake, 64 * MIB, None);
    let cursor = object(&engine, &fake).cursor();
    let began = tokio::time::Instant::now();
    read(&cursor, 1, 0, 4096).await;
    // The wire brings half a block a second; the clock is the simulated one.
    assert!(began.elapsed() < Duration::from_millis(1500));
    assert_eq!(read(&cursor, 1, 0, 3 * MIB).await, 3 * MIB);
    assert_eq!(fake.requests(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_reader_joins_a_prefetch_and_hurries_it() {
    let fake = Arc::new(Fake::of_size(MIB));
    fake.fault(super::fake::Fault::WaitsForReader);
    let engine = engine(&fake, 64 * MIB, None);
    let version = object(&engine, &fake);
    let cursor = version.cursor();
    let (prefetched, length) = tokio::join!(version.fetch_whole(terms()), async {
        tokio::time::sleep(Duration::from_millis(1)).await;
        read(&cursor, 1, 0, 4096).await
    });
    assert_eq!((prefetched, length), (Ok(()), 4096));
    assert_eq!(fake.requests(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_ends_leaves_nothing_behind() {
    let fake = Arc::new(Fake::of_size(MIB));
    let engine = engine(&fake, 64 * MIB, None);
    let version = object(&engine, &fake);
    read(&version.cursor(), 1, 0, MIB).await;
    let remembered = Arc::downgrade(&version);
    drop((engine, version));
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(remembered.strong_count(), 0);
    assert_eq!(Arc::strong_count(&fake), 1, "the wire is let go of, too");
}

#[tokio::test(start_paused = true)]
async fn readahead_that_arrives_backwards_costs_nothing() {
    let size = 20 * MIB;
    let fake = Arc::new(Fake::of_size(size));
    let engine = engine(&fake, 64 * MIB, None);
    let cursor = object(&engine, &fake).cursor();
    for window in 0..size / MIB {
        let pieces = (0..8).rev().map(|piece| {
            let at = window * MIB + piece * (128 << 10);
            cursor.read(at, 128 << 10, in_a_minute())
        });
        assert!(join_all(pieces).await.iter().all(Result::is_ok));
    }
    assert_eq!((fake.requests(), fake.sent()), (2, size));
}
