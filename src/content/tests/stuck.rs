//! A disk that stops answering for a while: readers do without it, nothing is lost by it, and no versions are mixed.

use std::sync::Arc;
use std::time::Duration;

use super::disk::{BLOCK, fill, mount, quick, replace_in_place, settings};
use super::fake::{Fake, MIB, bytes, engine, in_a_minute, is_right, object, read, terms};

#[tokio::test]
async fn a_disk_that_does_not_answer_is_done_without_until_it_does() {
    let directory = tempfile::tempdir().unwrap();
    let size = 6 * MIB;
    let fake = quick(size);
    fill(&fake, directory.path()).await;
    let engine = engine(&fake, MIB, settings(directory.path(), 1 << 30));
    let (requests, cursor) = (fake.requests(), object(&engine, &fake).cursor());
    let disk = engine.shared.disk.as_ref().unwrap();
    // Another call has lasted too long before anything was looked up.
    let stuck = disk.watch().begin_within(Duration::ZERO);
    assert_eq!(read(&cursor, 1, 0, size).await, size);
    let asked = fake.requests();
    assert!(asked > requests, "the server has it, too");
    assert!(!engine.usage().has_working_disk);
    assert!(object(&engine, &fake).complete_file().is_none());
    drop(stuck);
    assert!(engine.usage().has_working_disk);
    assert_eq!(read(&cursor, 1, 0, size).await, size);
    assert_eq!(read(&cursor, 1, 0, size).await, size);
    assert_eq!(fake.requests(), asked, "the disk has it still");
}

/// A filled cache, and a mount of it with a disk that doesn't answer until the call is dropped.
macro_rules! stuck {
    ($fake:ident, $directory:ident, $engine:ident, $call:ident) => {
        let $engine = engine(&$fake, MIB, settings($directory.path(), 1 << 30));
        let disk = Arc::clone($engine.shared.disk.as_ref().unwrap());
        let $call = disk.watch().begin_within(Duration::ZERO);
    };
}

#[tokio::test]
async fn what_waits_to_be_written_is_read_whatever_the_disk_does() {
    let directory = tempfile::tempdir().unwrap();
    let fake = quick(6 * MIB);
    stuck!(fake, directory, engine, _call);
    let version = object(&engine, &fake);
    // Out of memory again, and the writer hasn't come to it.
    version
        .entry()
        .unwrap()
        .hold_pending(8, bytes(1, MIB, MIB + BLOCK));
    let cursor = version.cursor();
    let across = cursor.read(MIB + BLOCK - 10, 20, in_a_minute()).await;
    assert!(is_right(1, MIB + BLOCK - 10, &across.unwrap()));
}

#[tokio::test]
async fn what_came_while_the_disk_was_stuck_is_not_mixed_with_another_version_on_it() {
    let directory = tempfile::tempdir().unwrap();
    let size = 6 * MIB;
    let fake = quick(size);
    fill(&fake, directory.path()).await;
    replace_in_place(&fake);
    stuck!(fake, directory, engine, call);
    let version = object(&engine, &fake);
    let cursor = version.cursor();
    assert_eq!(read(&cursor, 2, 0, 4096).await, 4096);
    // A look that was given up ends late.
    version.entry().unwrap().load();
    drop(call);
    assert_eq!(read(&cursor, 2, 0, size).await, size);
}

#[tokio::test]
async fn the_writer_adds_nothing_to_the_file_of_another_version() {
    let directory = tempfile::tempdir().unwrap();
    let size = 6 * MIB;
    let fake = quick(size);
    fill(&fake, directory.path()).await;
    replace_in_place(&fake);
    stuck!(fake, directory, engine, call);
    let version = object(&engine, &fake);
    let cursor = version.cursor();
    assert_eq!(read(&cursor, 2, 5 * MIB, 4096).await, 4096);
    // It stalls nobody that the writer waits for the disk.
    tokio::task::spawn_blocking({
        let disk = Arc::clone(engine.shared.disk.as_ref().unwrap());
        move || disk.flush()
    })
    .await
    .unwrap();
    drop(call);
    assert_eq!(read(&cursor, 2, 0, size).await, size);
}

#[tokio::test]
async fn what_comes_while_the_disk_is_stuck_is_kept_all_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let size = 6 * MIB;
    let fake = quick(size);
    stuck!(fake, directory, engine, call);
    assert_eq!(
        read(&object(&engine, &fake).cursor(), 1, 0, size).await,
        size
    );
    drop(call);
    engine.shutdown().await;
    let requests = fake.requests();
    let again = mount(&fake, directory.path());
    assert_eq!(
        read(&object(&again, &fake).cursor(), 1, 0, size).await,
        size
    );
    assert_eq!(fake.requests(), requests);
}

#[tokio::test]
async fn a_mount_that_has_only_its_disk_waits_for_it() {
    let directory = tempfile::tempdir().unwrap();
    let size = 6 * MIB;
    let mut fake = Fake::of_size(size);
    fake.is_offline = true;
    let fake = Arc::new(fake);
    fill(&fake, directory.path()).await;
    let requests = fake.requests();
    stuck!(fake, directory, engine, _call);
    assert_eq!(
        read(&object(&engine, &fake).cursor(), 1, 0, size).await,
        size
    );
    assert_eq!(fake.requests(), requests);
}

#[tokio::test]
async fn what_is_fetched_for_later_waits_for_the_disk() {
    let directory = tempfile::tempdir().unwrap();
    let fake = quick(6 * MIB);
    fill(&fake, directory.path()).await;
    let requests = fake.requests();
    stuck!(fake, directory, engine, call);
    let version = object(&engine, &fake);
    let fetch = version.fetch_for_later(terms());
    tokio::pin!(fetch);
    assert!(futures::poll!(&mut fetch).is_pending());
    assert!(engine.usage().has_disk);
    drop(call);
    fetch.await.unwrap();
    assert_eq!(fake.requests(), requests);
}
