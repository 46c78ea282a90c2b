//! The random model: concurrent readers of several files at tiny caches, with seeks, joins, bursts, readers that
//! leave in mid-read, handles closed and opened, streams cut short, evictions, and mounts that follow each other
//! on one cache directory. Every byte is compared; no request begins at a byte that is held, no byte comes
//! while it is held; memory stays within its bound.
//!
//! A short run belongs to the suite. The long one:
//! `INTERACTIONFS_MODEL_OPERATIONS=1000000 cargo test --lib content::tests::model -- --ignored --nocapture`

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use futures::future::{BoxFuture, join_all};
use futures::stream::StreamExt;

use super::fake::{Fake, Fault, MIB, Shim, in_a_minute, is_right};
use crate::content::block::{BLOCK, index_of};
use crate::content::{Cursor, DiskSettings, Engine, Settings, Traits};
use crate::model::{ContentId, ContentKey, Guid, Interaction};
use crate::remote::{
    Conditions, ContentAnswer, ContentRequest, Remote, RemoteError, SearchPage, SearchRequest,
    Terms,
};

const READERS: usize = 8;
const MEMORY: u64 = 2 * MIB;
const CACHE: u64 = 12 * MIB;

/// Smaller than a block, whole at a first touch, and in pieces; hardly one ends where a block does.
const SIZES: [u64; 6] = [
    1,
    300_000,
    3 * MIB,
    5 * MIB + 1,
    12 * MIB + 4321,
    24 * MIB + 77,
];

/// Several files behind one remote, which watches what the engine asks of it.
struct Shelf {
    files: Vec<Arc<Fake>>,
    engine: OnceLock<Weak<Engine>>,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    requests: AtomicU64,
    bytes: AtomicU64,
    failed_reads: AtomicU64,
    /// Mounts whose disk was given up: one that is slow enough, on a busy machine, is.
    lost_disks: AtomicU64,
    /// Requests that began at a byte which was held, and bytes that came while their block was held.
    asked_though_held: AtomicU64,
    sent_though_held: AtomicU64,
}

fn key(file: usize) -> ContentKey {
    ContentKey::new(&format!("file{file}"))
}

impl Shelf {
    fn id(&self, file: usize) -> ContentId {
        ContentId {
            key: key(file),
            ..self.files[file].id()
        }
    }

    fn holds(&self, file: usize, offset: u64) -> bool {
        let engine = self.engine.get().and_then(Weak::upgrade);
        engine.is_some_and(|engine| {
            engine
                .object(&self.id(file), Traits::default())
                .has(index_of(offset))
        })
    }
}

/// The remote is called through this, as the engine holds no [`Shelf`] by itself.
struct Watched(Arc<Shelf>);

impl Remote for Watched {
    fn search<'a>(
        &'a self,
        _: &'a SearchRequest,
        _: Terms,
    ) -> BoxFuture<'a, Result<SearchPage, RemoteError>> {
        unreachable!("the engine never searches")
    }

    fn interaction(&self, _: Guid, _: Terms) -> BoxFuture<'_, Result<Interaction, RemoteError>> {
        unreachable!("no answer looks like another version")
    }

    fn content(
        &self,
        request: ContentRequest,
        terms: Terms,
    ) -> BoxFuture<'_, Result<ContentAnswer, RemoteError>> {
        let shelf = Arc::clone(&self.0);
        Box::pin(async move {
            let file = (0..SIZES.len())
                .find(|&file| key(file) == request.key)
                .unwrap();
            let seen = Arc::clone(&shelf.seen);
            seen.requests.fetch_add(1, Ordering::Relaxed);
            if shelf.holds(file, request.start) {
                seen.asked_though_held.fetch_add(1, Ordering::Relaxed);
            }
            let fake = Shim(Arc::clone(&shelf.files[file]));
            let mut answer = fake.content(request, terms).await?;
            let mut at = answer.start;
            answer.body = answer
                .body
                .inspect(move |chunk| {
                    let Ok(chunk) = chunk else { return };
                    if shelf.holds(file, at) {
                        let bytes = (BLOCK - at % BLOCK).min(chunk.len() as u64);
                        seen.sent_though_held.fetch_add(bytes, Ordering::Relaxed);
                    }
                    at += chunk.len() as u64;
                    seen.bytes.fetch_add(chunk.len() as u64, Ordering::Relaxed);
                })
                .boxed();
            Ok(answer)
        })
    }

    fn conditions(&self) -> Conditions {
        Shim(Arc::clone(&self.0.files[0])).conditions()
    }
}

/// Numbers that look random, the same for the same seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound.max(1)
    }

    fn length(&mut self) -> u32 {
        let most = [4096, 20_000, 131_072][self.below(3) as usize];
        1 + self.below(most) as u32
    }
}

/// One program that reads.
struct Reader {
    engine: Arc<Engine>,
    shelf: Arc<Shelf>,
    dice: Dice,
    file: usize,
    cursor: Cursor,
    position: u64,
    breaks_streams: bool,
}

impl Reader {
    fn new(engine: &Arc<Engine>, shelf: &Arc<Shelf>, seed: u64, breaks_streams: bool) -> Self {
        Self {
            cursor: engine.object(&shelf.id(5), Traits::default()).cursor(),
            engine: Arc::clone(engine),
            shelf: Arc::clone(shelf),
            dice: Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
            file: 5,
            position: 0,
            breaks_streams,
        }
    }

    fn size(&self) -> u64 {
        SIZES[self.file]
    }

    async fn operate(&mut self, positions: &[AtomicU64]) {
        match self.dice.below(100) {
            0..45 => {}
            45..60 => self.position = self.dice.below(self.size() + 1000),
            60..70 => {
                let near = self.position + self.dice.below(2 * MIB);
                self.position = near.saturating_sub(MIB);
            }
            70..78 => {
                let other = self.dice.below(READERS as u64) as usize;
                self.position = positions[other].load(Ordering::Relaxed);
            }
            78..84 => return self.leave_in_mid_read().await,
            84..88 => return self.burst().await,
            88..94 => {
                self.file = self.dice.below(SIZES.len() as u64) as usize;
                let object = (self.engine).object(&self.shelf.id(self.file), Traits::default());
                self.cursor = object.cursor();
                self.position = 0;
            }
            _ => self.cut_a_stream(),
        }
        let length = self.dice.length();
        self.position += self.read(self.position, length).await;
        if self.position >= self.size() {
            self.position = 0;
        }
    }

    /// Reads and compares; how many bytes came.
    async fn read(&self, offset: u64, length: u32) -> u64 {
        let found = match self.cursor.read_now(offset, length) {
            Some(found) => found,
            None => match self.cursor.read(offset, length, in_a_minute()).await {
                Ok(found) => found,
                Err(error) => {
                    let text = error.to_string();
                    assert_eq!(text, RemoteError::Interrupted.to_string());
                    let failed = &self.shelf.seen.failed_reads;
                    failed.fetch_add(1, Ordering::Relaxed);
                    return 0;
                }
            },
        };
        let expected = self.size().saturating_sub(offset).min(u64::from(length));
        assert_eq!(found.len() as u64, expected, "file {} {offset}", self.file);
        let content = 1 + self.file as u64;
        assert!(
            is_right(content, offset, &found),
            "wrong bytes in file {} at {offset}",
            self.file
        );
        expected
    }

    async fn leave_in_mid_read(&mut self) {
        let offset = self.dice.below(self.size());
        let polls = self.dice.below(4);
        let leaving = async {
            for _ in 0..polls {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            biased;
            _ = self.read(offset, 131_072) => {}
            () = leaving => {}
        }
    }

    /// A readahead window of the kernel's, out of order.
    async fn burst(&mut self) {
        let first = self.position / BLOCK;
        let mut blocks: Vec<u64> = (first..first + 4).collect();
        for place in 0..blocks.len() {
            let other = self.dice.below(blocks.len() as u64) as usize;
            blocks.swap(place, other);
        }
        let reads = blocks
            .iter()
            .map(|block| self.read(block * BLOCK, BLOCK as u32));
        join_all(reads).await;
        self.position = (first + 4) * BLOCK;
    }

    fn cut_a_stream(&mut self) {
        let fake = &self.shelf.files[self.file];
        let is_due = self.breaks_streams && fake.faults.lock().unwrap().len() < 2;
        if is_due {
            fake.fault(Fault::CutAfter(self.dice.below(MIB)));
        }
    }
}

/// One mount: so many operations by all readers at once.
async fn mount(seen: &Arc<Seen>, directory: Option<&Path>, seed: u64, operations: u64) {
    let has_disk = directory.is_some();
    let files = SIZES.iter().enumerate().map(|(file, &size)| {
        let mut fake = Fake::of_size(size);
        fake.change(|served| served.content = 1 + file as u64);
        if has_disk {
            fake.latency = Duration::ZERO;
        }
        Arc::new(fake)
    });
    let shelf = Arc::new(Shelf {
        files: files.collect(),
        engine: OnceLock::new(),
        seen: Arc::clone(seen),
    });
    let disk = directory.map(|directory| DiskSettings {
        key: None,
        directory: directory.to_owned(),
        size_bytes: CACHE,
        max_age: Duration::from_secs(100_000),
    });
    let engine = Engine::new(
        Arc::new(Watched(Arc::clone(&shelf))),
        Arc::new(Shim(Arc::clone(&shelf.files[0]))),
        Settings {
            memory_bytes: MEMORY,
            disk,
        },
    );
    shelf.engine.set(Arc::downgrade(&engine)).unwrap();
    let positions: Arc<[AtomicU64]> = (0..READERS).map(|_| AtomicU64::new(0)).collect();
    let readers = (0..READERS).map(|number| {
        let seed = seed * 1000 + number as u64;
        // With a disk the clock is real, and each retry a real pause.
        let mut reader = Reader::new(&engine, &shelf, seed, !has_disk || number == 0);
        let positions = Arc::clone(&positions);
        tokio::spawn(async move {
            for _ in 0..operations.div_ceil(READERS as u64) {
                reader.operate(&positions).await;
                positions[number].store(reader.position, Ordering::Relaxed);
                assert!(reader.engine.usage().memory_bytes <= MEMORY);
                tokio::task::yield_now().await;
            }
        })
    });
    for reader in readers.collect::<Vec<_>>() {
        reader.await.unwrap();
    }
    if has_disk && !engine.usage().has_working_disk {
        seen.lost_disks.fetch_add(1, Ordering::Relaxed);
    }
}

/// Half of the operations without a disk on a clock of its own, half on real threads with one. Four mounts each.
fn run(seed: u64, operations: u64) -> Arc<Seen> {
    let seen = Arc::new(Seen::default());
    for round in 0..4 {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap()
            .block_on(mount(&seen, None, seed + round, operations / 8));
    }
    let directory = tempfile::tempdir().unwrap();
    let account = directory.path().join("account");
    for round in 4..8 {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap()
            .block_on(mount(&seen, Some(&account), seed + round, operations / 8));
    }
    seen
}

fn judge(seen: &Seen, operations: u64) {
    assert_eq!(seen.asked_though_held.load(Ordering::Relaxed), 0);
    assert_eq!(seen.sent_though_held.load(Ordering::Relaxed), 0);
    assert!(seen.failed_reads.load(Ordering::Relaxed) <= operations / 100);
}

#[test]
fn random_readers_at_tiny_caches() {
    let operations = 4000;
    judge(&run(1, operations), operations);
}

#[test]
#[ignore = "takes minutes"]
fn a_million_operations() {
    let number = |name, default| match std::env::var(name) {
        Ok(text) => text.parse().unwrap(),
        Err(_) => default,
    };
    let operations = number("INTERACTIONFS_MODEL_OPERATIONS", 1_000_000);
    let seen = run(number("INTERACTIONFS_MODEL_SEED", 1), operations);
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find(|line| line.starts_with("VmHWM"));
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    eprintln!(
        "{operations} operations: {} requests, {} MiB fetched, {} reads failed, {} requests and {} bytes for what was \
         held, peak {}",
        count(&seen.requests),
        count(&seen.bytes) / MIB,
        count(&seen.failed_reads),
        count(&seen.asked_though_held),
        count(&seen.sent_though_held),
        peak.unwrap_or_default(),
    );
    judge(&seen, operations);
    assert_eq!(count(&seen.lost_disks), 0);
    let kibibytes: u64 = peak
        .and_then(|line| line.split_whitespace().nth(1)?.parse().ok())
        .unwrap();
    assert!(
        kibibytes << 10 < MEMORY + 128 * MIB,
        "{kibibytes} KiB at the peak"
    );
}
