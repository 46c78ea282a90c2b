//! The disk tier: what survives a remount, and that it can't lie.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::fake::{Fake, MIB, engine, guid, in_a_minute, is_right, object, read};
use crate::content::disk::inspect;
use crate::content::{DiskSettings, Engine, Object, Traits};
use crate::seal::CacheKey;

pub(super) const BLOCK: u64 = 128 << 10;

pub(super) fn settings(directory: &Path, size_bytes: u64) -> Option<DiskSettings> {
    Some(DiskSettings {
        key: None,
        directory: directory.join("account"),
        size_bytes,
        max_age: Duration::from_secs(30 * 24 * 3600),
    })
}

pub(super) fn quick(size: u64) -> Arc<Fake> {
    let mut fake = Fake::of_size(size);
    fake.latency = Duration::ZERO;
    Arc::new(fake)
}

pub(super) fn mount(fake: &Arc<Fake>, directory: &Path) -> Arc<Engine> {
    engine(fake, MIB, settings(directory, 1 << 30))
}

/// All files with this extension under the cache directory.
pub(super) fn files(directory: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut directories = vec![directory.to_owned()];
    while let Some(next) = directories.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// Puts other bytes, with other validators, under the same listed time and length.
pub(super) fn replace_in_place(fake: &Fake) {
    fake.change(|served| {
        served.content = 2;
        served.etag = Some("\"two\"");
        served.last_modified = Some("Mon, 23 Nov 2026 10:16:00 GMT");
    });
}

/// Fetches a whole file into the cache and ends.
pub(super) async fn fill(fake: &Arc<Fake>, directory: &Path) {
    let size = fake.served.lock().unwrap().size;
    let engine = mount(fake, directory);
    assert_eq!(
        read(&object(&engine, fake).cursor(), 1, 0, size).await,
        size
    );
    engine.shutdown().await;
}

fn spoil(path: &Path, spoil: impl FnOnce(&fs::File)) {
    spoil(
        &OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .unwrap(),
    );
}

async fn until<T>(mut look: impl FnMut() -> Option<T>) -> T {
    for _ in 0..6000 {
        if let Some(found) = look() {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("it did not happen within half a minute");
}

#[tokio::test]
async fn memory_lets_go_of_what_is_on_disk_behind_a_sequential_reader() {
    let directory = tempfile::tempdir().unwrap();
    let size = 40 * MIB + 77;
    let fake = quick(size);
    let engine = engine(&fake, 64 * MIB, settings(directory.path(), 1 << 30));
    let cursor = object(&engine, &fake).cursor();
    read(&cursor, 1, 0, size).await;
    until(|| (object(&engine, &fake).entry()?.written_upto(0, 320) == 320).then_some(())).await;
    read(&cursor, 1, size - 1000, 1000).await;
    let left = engine.usage().memory_bytes;
    assert!(left <= 2 * MIB, "{left} bytes");
    let (bytes, requests) = (fake.sent(), fake.requests());
    read(&object(&engine, &fake).cursor(), 1, 0, size).await;
    assert_eq!((fake.sent(), fake.requests()), (bytes, requests));
}

#[tokio::test]
async fn a_small_disk_takes_nothing_out_of_memory() {
    let directory = tempfile::tempdir().unwrap();
    let size = 20 * MIB;
    let fake = quick(size);
    let engine = engine(&fake, 64 * MIB, settings(directory.path(), 8 * MIB));
    let cursor = object(&engine, &fake).cursor();
    read(&cursor, 1, 0, size).await;
    assert_eq!(engine.usage().memory_bytes, size);
}

#[tokio::test]
async fn what_was_read_once_is_not_fetched_again_after_a_remount() {
    let directory = tempfile::tempdir().unwrap();
    let size = 9 * MIB + 77;
    let fake = quick(size);
    fill(&fake, directory.path()).await;
    let requests = fake.requests();
    let engine = mount(&fake, directory.path());
    assert_eq!(engine.held_bytes(&fake.id()).await, size);
    assert_eq!(
        read(&object(&engine, &fake).cursor(), 1, 0, size).await,
        size
    );
    assert_eq!(fake.requests(), requests);
    assert_eq!(fake.sent(), size);
}

#[tokio::test]
async fn damage_of_every_kind_is_fetched_again_and_never_served() {
    type Damage = fn(&fs::File);
    let size = 6 * MIB + 77;
    let damages: [(&str, &str, Damage); 8] = [
        ("a flipped bit", "data", |file| {
            let mut byte = [0];
            file.read_exact_at(&mut byte, 3 * MIB + 5).unwrap();
            file.write_all_at(&[byte[0] ^ 4], 3 * MIB + 5).unwrap();
        }),
        ("a zeroed page", "data", |file| {
            file.write_all_at(&[0; 4096], MIB).unwrap();
        }),
        ("two blocks swapped", "data", |file| {
            let (mut one, mut two) = (vec![0; BLOCK as usize], vec![0; BLOCK as usize]);
            file.read_exact_at(&mut one, BLOCK).unwrap();
            file.read_exact_at(&mut two, 5 * BLOCK).unwrap();
            file.write_all_at(&two, BLOCK).unwrap();
            file.write_all_at(&one, 5 * BLOCK).unwrap();
        }),
        ("truncated data", "data", |file| {
            file.set_len(2 * MIB + 1).unwrap();
        }),
        ("empty data", "data", |file| file.set_len(0).unwrap()),
        ("a damaged map header", "map", |file| {
            file.write_all_at(&[1], 33).unwrap();
        }),
        ("damaged checksums", "map", |file| {
            file.write_all_at(&[7; 16], 512 + 24).unwrap();
        }),
        ("a truncated map", "map", |file| {
            file.set_len(512 + 3).unwrap();
        }),
    ];
    for (what, extension, damage) in damages {
        let directory = tempfile::tempdir().unwrap();
        let fake = quick(size);
        fill(&fake, directory.path()).await;
        spoil(&files(directory.path(), extension)[0], damage);
        let sent = fake.sent();
        let engine = mount(&fake, directory.path());
        assert_eq!(
            read(&object(&engine, &fake).cursor(), 1, 0, size).await,
            size,
            "{what}"
        );
        assert!(fake.sent() > sent, "{what}: nothing was fetched again");
        engine.shutdown().await;
        // And is whole again.
        let sent = fake.sent();
        let engine = mount(&fake, directory.path());
        assert_eq!(
            read(&object(&engine, &fake).cursor(), 1, 0, size).await,
            size,
            "{what}"
        );
        assert_eq!(fake.sent(), sent, "{what}: it was not repaired");
    }
}

#[tokio::test]
async fn files_of_another_version_are_not_served() {
    let directory = tempfile::tempdir().unwrap();
    let size = MIB;
    let fake = quick(size);
    fill(&fake, directory.path()).await;
    let old: Vec<PathBuf> = ["data", "map"]
        .map(|kind| files(directory.path(), kind)[0].clone())
        .into();
    fake.change(|served| {
        served.content = 2;
        served.etag = Some("\"two\"");
        served.listed_time = "2026-11-23T10:16:00Z";
    });
    let engine = mount(&fake, directory.path());
    assert_eq!(
        read(&object(&engine, &fake).cursor(), 2, 0, size).await,
        size
    );
    engine.shutdown().await;
    drop(engine);
    // Somebody puts the old version's files in the new one's place.
    for (kind, old) in ["data", "map"].into_iter().zip(&old) {
        let new = files(directory.path(), kind)
            .into_iter()
            .find(|path| path != old)
            .unwrap();
        fs::copy(old, new).unwrap();
    }
    let engine = mount(&fake, directory.path());
    assert_eq!(
        read(&object(&engine, &fake).cursor(), 2, 0, size).await,
        size
    );
}

#[tokio::test]
async fn a_version_pinned_before_the_remount_is_not_mixed_with_another() {
    let directory = tempfile::tempdir().unwrap();
    let fake = quick(20 * MIB);
    let first = mount(&fake, directory.path());
    // A block at least: less of it is answered before the disk has any.
    read(&object(&first, &fake).cursor(), 1, 0, MIB).await;
    first.shutdown().await;
    drop(first);
    replace_in_place(&fake);
    let engine = mount(&fake, directory.path());
    let cursor = object(&engine, &fake).cursor();
    assert!(cursor.read(10 * MIB, 4096, in_a_minute()).await.is_err());
    assert_eq!(
        read(&object(&engine, &fake).cursor(), 2, 0, 4096).await,
        4096
    );
}

#[tokio::test]
async fn two_engines_share_one_directory() {
    let directory = tempfile::tempdir().unwrap();
    let size = 8 * MIB + 5;
    let fake = quick(size);
    let one = mount(&fake, directory.path());
    let two = mount(&fake, directory.path());
    let (a, b) = (object(&one, &fake).cursor(), object(&two, &fake).cursor());
    let (first, second) = tokio::join!(read(&a, 1, 0, size), read(&b, 1, 0, size));
    assert_eq!((first, second), (size, size));
    one.shutdown().await;
    two.shutdown().await;
    let sent = fake.sent();
    let three = mount(&fake, directory.path());
    assert_eq!(
        read(&object(&three, &fake).cursor(), 1, 0, size).await,
        size
    );
    assert_eq!(fake.sent(), sent);
}

async fn complete(object: &Arc<Object>) -> Arc<fs::File> {
    until(|| object.complete_file()).await
}

#[tokio::test]
async fn a_complete_file_is_handed_out_once_all_of_it_is_verified() {
    let directory = tempfile::tempdir().unwrap();
    let size = 5 * MIB + 3;
    let fake = quick(size);
    let first = mount(&fake, directory.path());
    let version = object(&first, &fake);
    let cursor = version.cursor();
    read(&cursor, 1, 0, 2 * MIB).await;
    assert!(version.complete_file().is_none());
    read(&cursor, 1, 0, size).await;
    let file = complete(&version).await;
    let mut bytes = vec![0; size as usize];
    file.read_exact_at(&mut bytes, 0).unwrap();
    assert_eq!(file.metadata().unwrap().len(), size);
    for at in (0..size).step_by(1 << 19) {
        let end = (at + (1 << 19)).min(size);
        assert!(is_right(1, at, &bytes[at as usize..end as usize]));
    }
    assert!(file.write_at(b"x", 0).is_err(), "it can't be written to");
    first.shutdown().await;
    drop((first, version, cursor, file));

    // An older file is verified in the background first; a damaged one is never handed out.
    spoil(&files(directory.path(), "data")[0], |file| {
        file.write_all_at(b"?", 4 * MIB).unwrap();
    });
    let engine = mount(&fake, directory.path());
    let version = object(&engine, &fake);
    let cursor = version.cursor();
    read(&cursor, 1, 0, 4096).await;
    assert!(version.complete_file().is_none());
    until(|| (engine.counters().disk_blocks_refused > 0).then_some(())).await;
    assert!(version.complete_file().is_none());
    read(&cursor, 1, 0, size).await;
    complete(&version).await;
}

#[tokio::test]
async fn the_least_recently_used_versions_make_room() {
    let directory = tempfile::tempdir().unwrap();
    let fake = quick(2 * MIB);
    let engine = engine(&fake, MIB, settings(directory.path(), 5 * MIB));
    for minute in 10..15 {
        let time: &'static str = Box::leak(format!("2026-11-22T10:{minute}:00Z").into_boxed_str());
        fake.change(|served| served.listed_time = time);
        read(&object(&engine, &fake).cursor(), 1, 0, 2 * MIB).await;
        engine.shutdown().await;
    }
    assert!(engine.usage().disk_bytes <= 5 * MIB);
    assert!(engine.counters().disk_evictions >= 3);
    let blocks: u64 = files(directory.path(), "data")
        .iter()
        .map(|path| fs::metadata(path).unwrap().blocks() * 512)
        .sum();
    assert!(blocks <= 5 * MIB + MIB / 2, "{blocks} bytes on disk");
}

#[tokio::test]
async fn a_length_that_was_learnt_outlives_the_bytes() {
    let directory = tempfile::tempdir().unwrap();
    let size = MIB;
    let fake = quick(size);
    fake.change(|served| served.listed = Some(size - 5000));
    let engine = mount(&fake, directory.path());
    let odd = fake.id();
    read(&object(&engine, &fake).cursor(), 1, 0, size).await;
    engine.shutdown().await;
    fake.change(|served| {
        served.listed_time = "2026-11-23T10:16:00Z";
        served.listed = Some(size);
    });
    let small = || super::fake::engine(&fake, MIB, settings(directory.path(), size));
    let engine = small();
    read(&object(&engine, &fake).cursor(), 1, 0, size).await;
    engine.shutdown().await;
    assert_eq!(engine.held_bytes(&odd).await, 0, "it was evicted");
    assert_eq!(small().learnt_size(&odd), Some(size));
}

#[tokio::test]
async fn what_is_forgotten_leaves_the_disk() {
    let directory = tempfile::tempdir().unwrap();
    let fake = quick(MIB);
    fill(&fake, directory.path()).await;
    let engine = mount(&fake, directory.path());
    read(&object(&engine, &fake).cursor(), 1, 0, 4096).await;
    engine.forget(guid(), None);
    engine.shutdown().await;
    assert_eq!(files(directory.path(), "data"), [] as [PathBuf; 0]);
    assert_eq!(files(directory.path(), "map"), [] as [PathBuf; 0]);
    assert_eq!(engine.held_bytes(&fake.id()).await, 0);
}

#[tokio::test]
async fn what_is_forgotten_while_it_comes_does_not_get_back_to_disk() {
    let directory = tempfile::tempdir().unwrap();
    let fake = quick(12 * MIB);
    let engine = mount(&fake, directory.path());
    let cursor = object(&engine, &fake).cursor();
    read(&cursor, 1, 0, 2 * MIB).await;
    engine.forget(guid(), None);
    assert_eq!(read(&cursor, 1, 0, 12 * MIB).await, 12 * MIB);
    engine.shutdown().await;
    assert_eq!(files(directory.path(), "data"), [] as [PathBuf; 0]);
}

#[tokio::test]
async fn an_old_screen_recording_is_not_served_from_disk() {
    let directory = tempfile::tempdir().unwrap();
    let fake = quick(MIB);
    fake.change(|served| served.listed_time = "2020-01-01T00:00:00Z");
    let screen = Traits {
        is_video: true,
        sort: "screenRecording",
    };
    for _ in 0..2 {
        let engine = mount(&fake, directory.path());
        let cursor = engine.object(&fake.id(), screen).cursor();
        read(&cursor, 1, 0, MIB).await;
        engine.shutdown().await;
    }
    assert_eq!(fake.requests(), 2);
}

#[tokio::test]
async fn a_learnt_size_is_known_after_a_remount() {
    let directory = tempfile::tempdir().unwrap();
    let fake = quick(MIB + 1);
    fake.change(|served| served.listed = None);
    let first = mount(&fake, directory.path());
    first
        .object(&fake.id(), Traits::default())
        .fetch_whole(super::fake::terms())
        .await
        .unwrap();
    first.shutdown().await;
    let engine = mount(&fake, directory.path());
    assert_eq!(engine.learnt_size(&fake.id()), Some(MIB + 1));
    assert_eq!(
        read(&object(&engine, &fake).cursor(), 1, 0, 2 * MIB).await,
        MIB + 1
    );
    assert_eq!(fake.requests(), 1);
}

#[tokio::test]
async fn everything_is_for_the_owner_only_and_names_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let fake = quick(MIB);
    fill(&fake, directory.path()).await;
    let mut paths = vec![directory.path().join("account")];
    let mut index = 0;
    while let Some(path) = paths.get(index).cloned() {
        index += 1;
        let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(
            mode,
            if path.is_dir() { 0o700 } else { 0o600 },
            "{}",
            path.display()
        );
        let name = path.to_string_lossy().to_lowercase();
        assert!(!name.contains("callrecording") && !name.contains("2480fc2c-bbd7"));
        if path.is_dir() {
            paths.extend(
                fs::read_dir(&path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
        }
    }
    assert!(index >= 5);
}

#[tokio::test]
async fn a_directory_of_no_use_is_done_without() {
    let directory = tempfile::tempdir().unwrap();
    let fake = quick(MIB);
    // A symbolic link where the directory should be, and a file.
    std::os::unix::fs::symlink("/nowhere", directory.path().join("account")).unwrap();
    let linked = mount(&fake, directory.path());
    assert!(!linked.usage().has_working_disk);
    assert_eq!(read(&object(&linked, &fake).cursor(), 1, 0, MIB).await, MIB);
    fs::remove_file(directory.path().join("account")).unwrap();
    fs::write(directory.path().join("account"), "").unwrap();
    assert!(!mount(&fake, directory.path()).usage().has_working_disk);
}

#[tokio::test]
async fn a_disk_that_breaks_underneath_is_done_without() {
    let directory = tempfile::tempdir().unwrap();
    let size = 6 * MIB;
    let fake = quick(size);
    let engine = mount(&fake, directory.path());
    // The place for the blocks becomes a file: every write fails from now on.
    let blocks = directory.path().join("account/blocks");
    fs::remove_dir_all(&blocks).unwrap();
    fs::write(&blocks, "").unwrap();
    let cursor = object(&engine, &fake).cursor();
    assert_eq!(read(&cursor, 1, 0, size).await, size);
    engine.shutdown().await;
    assert!(!engine.usage().has_working_disk);
    assert_eq!(read(&cursor, 1, 0, size).await, size);
}

#[tokio::test]
async fn a_cache_directory_is_listed_verified_and_emptied_without_an_engine() {
    let directory = tempfile::tempdir().unwrap();
    let account = directory.path().join("account");
    assert_eq!(inspect::list(&account).unwrap(), []);
    let fake = quick(MIB + 1);
    fill(&fake, directory.path()).await;
    let listed = inspect::list(&account).unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!((listed[0].size, listed[0].held), (MIB + 1, MIB + 1));
    assert!(listed[0].last_used.is_some());
    let good = inspect::verify(&account, |_, _| {}).unwrap();
    assert_eq!((good.good_blocks, good.bad_blocks), (9, 0));
    spoil(&files(&account, "data")[0], |file| {
        file.write_all_at(b"??", 70_000).unwrap();
    });
    let bad = inspect::verify(&account, |_, _| {}).unwrap();
    assert_eq!((bad.good_blocks, bad.bad_blocks), (8, 1));
    assert_eq!(inspect::list(&account).unwrap()[0].held, MIB + 1 - BLOCK);
    assert_eq!(
        inspect::purge(&account, Some(Duration::from_secs(3600))).unwrap(),
        0
    );
    assert_eq!(inspect::purge(&account, None).unwrap(), 1);
    assert_eq!(inspect::list(&account).unwrap(), []);
}

fn sealed(directory: &Path, material: &[u8]) -> Option<DiskSettings> {
    settings(directory, 1 << 30).map(|settings| DiskSettings {
        key: CacheKey::of(material),
        ..settings
    })
}

#[tokio::test]
async fn a_sealed_cache_is_read_with_its_key_and_tells_nothing_without() {
    let directory = tempfile::tempdir().unwrap();
    let size = 3 * MIB + 5;
    let fake = quick(size);
    let with = |material: &[u8]| engine(&fake, MIB, sealed(directory.path(), material));
    let first = with(b"0123456789abcdef");
    assert_eq!(
        read(&object(&first, &fake).cursor(), 1, 0, size).await,
        size
    );
    first.shutdown().await;
    drop(first);
    assert_eq!(fake.requests(), 1);

    // Nothing of it lies there as it came.
    let data = fs::read(files(directory.path(), "data").pop().unwrap()).unwrap();
    for block in 0..size / BLOCK {
        let plain = super::fake::bytes(1, block * BLOCK, block * BLOCK + 16);
        assert!(!data.windows(16).any(|part| part == plain));
    }
    // Its blocks can be verified without the key.
    let verified = inspect::verify(&directory.path().join("account"), |_, _| ()).unwrap();
    assert_eq!((verified.good_blocks, verified.bad_blocks), (25, 0));

    let again = with(b"0123456789abcdef");
    let version = object(&again, &fake);
    assert_eq!(read(&version.cursor(), 1, 0, size).await, size);
    assert_eq!(read(&version.cursor(), 1, MIB + 3, 70_000).await, 70_000);
    assert!(version.complete_file().is_none(), "no passthrough");
    assert_eq!(fake.requests(), 1, "with its key it is all there");
    drop((version, again));

    let other = with(b"another key, not the first");
    assert_eq!(
        read(&object(&other, &fake).cursor(), 1, 0, size).await,
        size
    );
    assert_eq!(fake.requests(), 2, "with another key nothing is");
}

#[tokio::test]
async fn what_is_not_sealed_is_not_believed_when_there_is_a_key() {
    let directory = tempfile::tempdir().unwrap();
    let fake = quick(MIB);
    fill(&fake, directory.path()).await;
    let with_key = engine(&fake, MIB, sealed(directory.path(), b"0123456789abcdef"));
    assert_eq!(
        read(&object(&with_key, &fake).cursor(), 1, 0, MIB).await,
        MIB
    );
    assert_eq!(fake.requests(), 2);
}

#[tokio::test]
async fn opening_what_a_crash_left_asks_nobody_for_credentials() {
    let directory = tempfile::tempdir().unwrap();
    let fake = quick(MIB);
    fill(&fake, directory.path()).await;
    // As after a crash: the files are there, the accounts don't know them.
    for file in fs::read_dir(directory.path().join("account")).unwrap() {
        let path = file.unwrap().path();
        if path.is_file() {
            fs::remove_file(path).unwrap();
        }
    }
    let again = mount(&fake, directory.path());
    object(&again, &fake)
        .admission(in_a_minute())
        .await
        .unwrap();
    assert_eq!(fake.admissions(), 0);
    let other = quick(2 * MIB);
    let engine = mount(&other, directory.path());
    object(&engine, &other)
        .admission(in_a_minute())
        .await
        .unwrap();
    assert_eq!(other.admissions(), 1);
}
