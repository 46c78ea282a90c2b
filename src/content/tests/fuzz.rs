//! Maps, data and accounts that were made by nobody knows whom: what is read is right all the same.

use std::path::{Path, PathBuf};

use super::disk::{files, fill, mount, quick};
use super::fake::{object, read};
use crate::content::disk::inspect;
use crate::mutation::fuzz;

const SIZE: u64 = 300_001;

#[test]
fn cache_maps() {
    damaged("map", "cache maps");
}

#[test]
fn cache_data() {
    damaged("data", "cache data");
}

#[test]
fn cache_accounts() {
    damaged("db", "cache accounts");
}

fn damaged(extension: &str, name: &'static str) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let directory = tempfile::tempdir().unwrap();
    let fake = quick(SIZE);
    runtime.block_on(fill(&fake, directory.path()));
    let originals: Vec<(PathBuf, Vec<u8>)> = ["map", "data", "db"]
        .iter()
        .flat_map(|extension| files(directory.path(), extension))
        .map(|path| (path.clone(), std::fs::read(path).unwrap()))
        .collect();
    let is_target = |path: &Path| path.extension().is_some_and(|found| found == extension);
    let seed = originals.iter().find(|(path, _)| is_target(path)).unwrap();
    fuzz(name, [seed.1.clone()], 100, |bytes| {
        for (path, original) in &originals {
            let bytes = if is_target(path) { bytes } else { original };
            for suffix in ["-wal", "-shm"] {
                let mut beside = path.clone().into_os_string();
                beside.push(suffix);
                let _ = std::fs::remove_file(beside);
            }
            std::fs::write(path, bytes).unwrap();
        }
        let account = directory.path().join("account");
        let _ = inspect::list(&account).unwrap();
        let before = fake.requests();
        runtime.block_on(async {
            let engine = mount(&fake, directory.path());
            let object = object(&engine, &fake);
            assert_eq!(read(&object.cursor(), 1, 0, SIZE + 5).await, SIZE);
            engine.shutdown().await;
        });
        let verified = inspect::verify(&account, |_, _| {}).unwrap();
        (fake.requests() - before, verified.bad_blocks)
    });
}

#[tokio::test]
async fn damaged_accounts_cost_one_mount_its_disk_and_no_more() {
    let directory = tempfile::tempdir().unwrap();
    let fake = quick(SIZE);
    fill(&fake, directory.path()).await;
    let accounts = files(directory.path(), "db").remove(0);
    // All but the schema.
    let mut bytes = std::fs::read(&accounts).unwrap();
    bytes[4096..].fill(0x77);
    std::fs::write(&accounts, bytes).unwrap();
    for _ in 0..2 {
        let engine = mount(&fake, directory.path());
        assert_eq!(
            read(&object(&engine, &fake).cursor(), 1, 0, SIZE).await,
            SIZE
        );
        engine.shutdown().await;
    }
    let requests = fake.requests();
    let engine = mount(&fake, directory.path());
    assert_eq!(engine.held_bytes(&fake.id()).await, SIZE);
    assert_eq!(
        read(&object(&engine, &fake).cursor(), 1, 0, SIZE).await,
        SIZE
    );
    assert_eq!(fake.requests(), requests);
}
