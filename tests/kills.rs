//! `kill -9` at any moment of a refresh: the next mount has a sound catalogue, and its tree becomes the server's.
//!
//! A few rounds here; as many as wanted with `INTERACTIONFS_KILLS=500 cargo test --test kills`.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "it fails by panicking, and says its seed"
)]

mod common;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use common::{Mount, MountBuilder, Server, can_mount, eventually};
use interactionfs::emulator::{Endpoint, GeneratedSpec, Item};
use rusqlite::Connection;
use rustix::process::Signal;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Interactions that the server has: as many pages as a mount takes a moment for.
const INTERACTIONS: u64 = 4_000;
const PAGES: u64 = 4;

/// Every so many rounds the mount is left alive until its tree is the server's.
const LIVES: u64 = 5;

/// Numbers by chance, the same for the same seed.
struct Chance {
    seed: u64,
    drawn: u64,
}

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        self.drawn += 1;
        xxh3_64_with_seed(&self.drawn.to_le_bytes(), self.seed) % limit
    }
}

#[test]
fn a_kill_at_any_moment_of_a_refresh_leaves_a_sound_catalogue() {
    if !can_mount() {
        return;
    }
    let number = |name| std::env::var(name).ok()?.parse::<u64>().ok();
    let rounds = number("INTERACTIONFS_KILLS").unwrap_or(LIVES + 1);
    let seed = number("INTERACTIONFS_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    println!("INTERACTIONFS_SEED={seed}");
    let mut chance = Chance { seed, drawn: 0 };
    let server = Server::generated(GeneratedSpec {
        interactions: INTERACTIONS,
        // Within the window of one search.
        days: 5,
        ..GeneratedSpec::default()
    });
    let mut cache = tempfile::tempdir().unwrap();
    let mut kept = 0;
    let (mut empty, mut searched) = (0, 0);
    for round in 1..=rounds {
        let before = server.requests(Endpoint::Search);
        let mut mount = MountBuilder::new(&server).cache(cache.path()).mount();
        let log = mount.log();
        assert!(!log.contains("anew"), "round {round}: {log}");
        if round % LIVES == 0 {
            becomes_the_servers(&mount, &server);
            mount.unmount();
            // This one is complete: what comes next is in another.
            cache = tempfile::tempdir().unwrap();
            kept = 0;
            continue;
        }
        let pages = before + chance.below(PAGES + 1);
        // It has nothing to search for if it had just ended its search when it was killed.
        let patience = Instant::now() + Duration::from_secs(5);
        while server.requests(Endpoint::Search) < pages && Instant::now() < patience {
            std::thread::yield_now();
        }
        // Not waiting for anything: any moment will do.
        std::thread::sleep(Duration::from_micros(chance.below(40_000)));
        mount.signal(Signal::KILL);
        mount.wait();
        drop(mount);
        let (now_kept, is_searched) = sound(cache.path());
        assert!(now_kept + 50 >= kept, "round {round} lost what was there");
        kept = now_kept;
        let there = server.api().account().count();
        if is_searched {
            // It takes no other search now for what changes next, but has a day's time for it.
            assert!(kept >= there, "round {round}: searched, and not whole");
            searched += 1;
            cache = tempfile::tempdir().unwrap();
            kept = 0;
        } else if kept == 0 {
            empty += 1;
        }
        change(&server, &mut chance);
    }
    println!(
        "{rounds} rounds; {empty} killed before the first page, {searched} after the last one"
    );
}

/// Items come, are replaced, and interactions go.
fn change(server: &Server, chance: &mut Chance) {
    let account = server.api().account();
    let guids = account.guids();
    let mut any = || guids[usize::try_from(chance.below(guids.len() as u64)).unwrap()];
    for place in 0..200 {
        let guid = any();
        let Some(known) = account.get(guid) else {
            continue;
        };
        let later = known.content[0].last_modified + jiff::SignedDuration::from_secs(place);
        let key = if place % 2 == 0 {
            "transcript"
        } else {
            "notes"
        };
        let item = Item::new(key, key, "application/json", later, b"{}".to_vec());
        account.put_item(guid, item);
    }
    for _ in 0..5 {
        account.remove(any());
    }
}

fn becomes_the_servers(mount: &Mount, server: &Server) {
    let mut there: Vec<String> = server
        .api()
        .account()
        .guids()
        .iter()
        .map(ToString::to_string)
        .collect();
    there.sort();
    eventually("the tree is the server's", || {
        let mut listed: Vec<String> = std::fs::read_dir(mount.root())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.len() == 36)
            .collect();
        listed.sort();
        listed == there
    });
}

/// Asserts that the catalogue, as the next mount will find it, is sound; how many interactions it has, and whether
/// it says that the window was searched.
fn sound(cache: &Path) -> (u64, bool) {
    let copy = tempfile::tempdir().unwrap();
    let account = std::fs::read_dir(cache)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.join("catalogue.sqlite").exists())
        .unwrap();
    for suffix in ["", "-wal"] {
        let name: PathBuf = format!("catalogue.sqlite{suffix}").into();
        if account.join(&name).exists() {
            std::fs::copy(account.join(&name), copy.path().join(&name)).unwrap();
        }
    }
    assert!(!account.join("catalogue.sqlite.damaged").exists());
    let catalogue = Connection::open(copy.path().join("catalogue.sqlite")).unwrap();
    let check: String = catalogue
        .pragma_query_value(None, "integrity_check", |row| row.get(0))
        .unwrap();
    assert_eq!(check, "ok");
    let count = |query: &str| -> u64 {
        let count: i64 = catalogue.query_row(query, [], |row| row.get(0)).unwrap();
        count.unsigned_abs()
    };
    let known = count("SELECT count(*) FROM interactions");
    assert_eq!(
        count("SELECT count(*) FROM interactions JOIN details USING (sequence)"),
        known
    );
    assert_eq!(
        count("SELECT count(DISTINCT sequence) FROM agents JOIN interactions USING (sequence)"),
        known
    );
    assert_eq!(count("SELECT count(*) FROM details"), known);
    (known, count("SELECT count(*) FROM searches") > 0)
}
