//! Random readers, seeks, closes, faults and evictions at tiny caches: every byte right, and no byte that
//! was held fetched again.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use proptest::prelude::*;

use super::fake::{Fake, Fault, MIB, engine, in_a_minute, is_right, object};
use crate::content::DiskSettings;
use crate::remote::RemoteError;

#[derive(Clone, Debug)]
enum Step {
    Read {
        reader: usize,
        offset: u64,
        length: u32,
    },
    Reopen {
        reader: usize,
    },
    Idle {
        milliseconds: u64,
    },
}

const SIZE: u64 = 24 * MIB + 4321;
const READERS: usize = 4;

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..READERS, 0..SIZE + 1000, 1u32..=131_072)
            .prop_map(|(reader, offset, length)| Step::Read { reader, offset, length }),
        4 => (0..READERS, 0..SIZE / 131_072)
            .prop_map(|(reader, block)| Step::Read { reader, offset: block * 131_072, length: 131_072 }),
        1 => (0..READERS).prop_map(|reader| Step::Reopen { reader }),
        1 => (0u64..5000).prop_map(|milliseconds| Step::Idle { milliseconds }),
    ]
}

fn fault() -> impl Strategy<Value = Option<Fault>> {
    prop_oneof![
        3 => Just(None),
        1 => (0u64..2_000_000).prop_map(|bytes| Some(Fault::CutAfter(bytes))),
        1 => Just(Some(Fault::Error(RemoteError::Status(503)))),
    ]
}

/// Runs the steps, four at a time, and checks every byte.
async fn run(fake: &Arc<Fake>, memory: u64, disk: Option<DiskSettings>, steps: &[Step]) {
    let engine = engine(fake, memory, disk);
    let mut cursors: Vec<_> = (0..READERS)
        .map(|_| object(&engine, fake).cursor())
        .collect();
    for batch in steps.chunks(4) {
        for step in batch {
            match step {
                Step::Reopen { reader } => cursors[*reader] = object(&engine, fake).cursor(),
                Step::Idle { milliseconds } => {
                    tokio::time::sleep(Duration::from_millis(*milliseconds)).await;
                }
                Step::Read { .. } => {}
            }
        }
        let reads = batch.iter().filter_map(|step| match step {
            Step::Read {
                reader,
                offset,
                length,
            } => Some((&cursors[*reader], *offset, *length)),
            _ => None,
        });
        join_all(reads.map(async |(cursor, offset, length)| {
            let found = match cursor.read_now(offset, length) {
                Some(found) => found,
                None => match cursor.read(offset, length, in_a_minute()).await {
                    Ok(found) => found,
                    Err(error) => {
                        assert!(error.to_string().contains("503"), "{error}");
                        return;
                    }
                },
            };
            let expected = SIZE.saturating_sub(offset).min(u64::from(length));
            assert_eq!(found.len() as u64, expected);
            assert!(is_right(1, offset, &found), "wrong bytes at {offset}");
        }))
        .await;
        assert!(engine.usage().memory_bytes <= memory);
    }
    drop(cursors);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn no_byte_held_is_fetched_again(steps in prop::collection::vec(step(), 1..80)) {
        let fake = Arc::new(Fake::of_size(SIZE));
        paused().block_on(run(&fake, 256 * MIB, None, &steps));
        prop_assert!(fake.sent() <= SIZE, "{} bytes were sent", fake.sent());
    }

    #[test]
    fn faults_and_tiny_memory_never_give_a_wrong_byte(
        steps in prop::collection::vec(step(), 1..80),
        faults in prop::collection::vec(fault(), 0..12),
        memory in 1u64..(2 * MIB),
    ) {
        let fake = Arc::new(Fake::of_size(SIZE));
        for fault in faults {
            fake.fault(fault.unwrap_or(Fault::CutAfter(u64::MAX / 2)));
        }
        paused().block_on(run(&fake, memory, None, &steps));
    }
}

fn paused() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn a_tiny_disk_never_gives_a_wrong_byte(
        steps in prop::collection::vec(step().prop_filter("no waiting", |step| !matches!(step, Step::Idle { .. })), 1..60),
        faults in prop::collection::vec(fault(), 0..12),
    ) {
        let directory = tempfile::tempdir().unwrap();
        let mut fake = Fake::of_size(SIZE);
        fake.latency = Duration::ZERO;
        let fake = Arc::new(fake);
        for fault in faults.into_iter().flatten() {
            fake.fault(fault);
        }
        let disk = DiskSettings {
        key: None,
            directory: directory.path().join("account"),
            size_bytes: 3 * MIB,
            max_age: Duration::from_secs(1000),
        };
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap()
            .block_on(run(&fake, MIB, Some(disk), &steps));
    }
}
