//! Mixed readers over faults of all kinds, for as long as one likes.
//!
//! One mount stays, so that leaks show; another on the same cache directory comes and goes. Memory and cache are far
//! smaller than the account, tokens last for seconds, the account is searched every second.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use interactionfs::emulator::{Etag, Redirect, Running};
use interactionfs::lane;

use crate::common::{Mount, MountBuilder, can_mount};
use crate::faults::Mixed;
use crate::from_environment;
use crate::random::Random;
use crate::reader::{Call, Tally, read_on};
use crate::usage::{self, Usage};
use crate::world::{Known, World};

#[test]
fn every_byte_is_right_under_mixed_faults() {
    if !can_mount() {
        return;
    }
    let wanted = from_environment("INTERACTIONFS_SOAK_READS", 20_000);
    let longest = Duration::from_secs(from_environment("INTERACTIONFS_SOAK_SECONDS", 6));
    let seed = from_environment("INTERACTIONFS_SOAK_SEED", 1);
    let readers = from_environment("INTERACTIONFS_SOAK_READERS", 4);
    let per_mille = from_environment("INTERACTIONFS_SOAK_FAULTS", 50);
    let mut world = World::new(12, vec![20_000_003, 9_000_000]);
    // To the last two interactions more may happen than to the others.
    let mut interactions: Vec<_> = world.files.iter().map(directory).collect();
    interactions.dedup();
    let unlucky = &interactions[interactions.len() - 2..];
    for known in &mut world.files {
        known.is_unlucky = unlucky.contains(&directory(known));
    }
    let api = world.server.api();
    let cache = tempfile::TempDir::new().unwrap();
    // The first mount looks around before anything goes wrong.
    let stays = mount(&world, cache.path());
    let mixed = Mixed::add(api, per_mille as f64 / 1000.0, &world.files);
    let tally = Tally::default();
    let remounts = AtomicU64::new(0);
    let mut looks: Vec<Usage> = Vec::new();
    let began = Instant::now();
    std::thread::scope(|scope| {
        for reader in 0..readers {
            let (files, root, tally) = (&world.files, stays.root(), &tally);
            scope.spawn(move || read_on(&root, files, seed << 16 | reader, tally));
        }
        let (world, tally, remounts) = (&world, &tally, &remounts);
        let cache = cache.path();
        scope.spawn(move || come_and_go(world, cache, seed, tally, remounts));
        let mut random = Random::new(seed);
        let mut changed = Instant::now();
        let mut told = Instant::now();
        let goes_on = || {
            tally.reads.load(Ordering::Relaxed) < wanted
                && began.elapsed() < longest
                && tally.wrong.lock().unwrap().is_empty()
        };
        while goes_on() {
            std::thread::sleep(Duration::from_millis(100));
            looks.extend(usage::of(stays.pid()));
            if changed.elapsed() > Duration::from_secs(3) {
                changed = Instant::now();
                change(api, &mut random);
            }
            if told.elapsed() > Duration::from_secs(60) {
                told = Instant::now();
                eprintln!(
                    "{:>6} s: {} reads, {} remounts, {:?}",
                    began.elapsed().as_secs(),
                    tally.reads.load(Ordering::Relaxed),
                    remounts.load(Ordering::Relaxed),
                    looks.last()
                );
            }
        }
        tally.ends.store(true, Ordering::Relaxed);
    });
    let took = began.elapsed();
    let status = status(&stays);
    let (kinds, met) = mixed.fired(api);
    let unexplained: Vec<_> = tally
        .failed
        .lock()
        .unwrap()
        .keys()
        .filter(|call| !mixed.explain(api, call))
        .cloned()
        .collect();
    api.faults().clear();
    let [first, second, last] = usage::tenths(&looks);
    let failed = tally.failed.lock().unwrap();
    let wrong = tally.wrong.lock().unwrap();
    eprintln!("seed {seed}, {:.0} s", took.as_secs_f64());
    eprintln!(
        "operations   {} verified reads of {} bytes, {} opens, {} listings, {} remounts",
        tally.reads.load(Ordering::Relaxed),
        tally.bytes.load(Ordering::Relaxed),
        tally.opens.load(Ordering::Relaxed),
        tally.listings.load(Ordering::Relaxed),
        remounts.load(Ordering::Relaxed),
    );
    eprintln!(
        "requests     {}, of which {met} met a fault",
        world.server.all_requests()
    );
    for (name, fired) in kinds {
        eprintln!("             {fired:>6} {name}");
    }
    eprintln!(
        "retries      {} by the mount that stays",
        status["requests"]["retries"]
    );
    eprintln!("cache        {}", status["cache"]);
    let mut by_errno = BTreeMap::<_, u64>::new();
    for (call, times) in &*failed {
        *by_errno.entry((call.what, call.errno)).or_default() += times;
    }
    eprintln!("failed calls {by_errno:?}");
    eprintln!("wrong        {}", wrong.len());
    eprintln!("hung         {}", tally.hung.load(Ordering::Relaxed));
    eprintln!("first tenth  {first}\nsecond tenth {second}\nlast tenth   {last}");
    assert_eq!(*wrong, [] as [String; 0]);
    assert_eq!(tally.hung.load(Ordering::Relaxed), 0);
    assert_eq!(unexplained, [] as [Call; 0]);
    drop((failed, wrong));
    assert!(tally.reads.load(Ordering::Relaxed) > 0);
    // One in twenty: a short run may be lucky.
    assert!(met > 0 || world.server.all_requests() < 1000);
    if took > Duration::from_secs(300) {
        // In the first tenth, what is first needed is still being taken.
        assert!(last.resident_kib < second.resident_kib + 16 * 1024);
        assert!(last.descriptors < second.descriptors + 64);
        assert!(last.threads < second.threads + 4);
        // The main thread bears the same name; at most four are workers.
        assert!(last.pool <= lane::THREADS as u64 + 5);
    }
    // Nothing of it stays: without faults, all is there.
    let verified = world.verify(&stays, false);
    assert_eq!(verified.wrong, [] as [String; 0]);
    stays.unmount();
    // A pause that a 429 demanded may still hold.
    let mount = builder(&world, cache.path())
        .option("--deadline=60s")
        .option("--metadata-deadline=60s")
        .mount();
    let verified = world.verify(&mount, true);
    assert_eq!(verified.wrong, [] as [String; 0]);
    mount.unmount();
}

fn mount(world: &World, cache: &Path) -> Mount {
    builder(world, cache).mount()
}

fn builder<'a>(world: &'a World, cache: &Path) -> MountBuilder<'a> {
    MountBuilder::new(&world.server)
        .cache(cache)
        .option("--refresh=1s")
        .option("--memory=4MiB")
        .option("--cache-size=16MiB")
        .option("--deadline=3s")
        .option("--metadata-deadline=3s")
}

/// The interaction that a file belongs to.
fn directory(known: &Known) -> PathBuf {
    known.below.parent().unwrap().to_owned()
}

/// Mounts, reads for a while, and unmounts, again and again.
fn come_and_go(world: &World, cache: &Path, seed: u64, tally: &Tally, remounts: &AtomicU64) {
    let mut random = Random::new(seed ^ 0xdead);
    while !tally.ends.load(Ordering::Relaxed) {
        let guest = mount(world, cache);
        let own = Tally::default();
        std::thread::scope(|scope| {
            for _ in 0..2 {
                let (root, seed, own) = (guest.root(), random.next(), &own);
                scope.spawn(move || read_on(&root, &world.files, seed, own));
            }
            let until = Instant::now() + Duration::from_millis(500 + random.below(3000));
            while Instant::now() < until && !tally.ends.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(50));
            }
            own.ends.store(true, Ordering::Relaxed);
        });
        guest.unmount();
        tally.add(own);
        remounts.fetch_add(1, Ordering::Relaxed);
    }
}

/// Another server, to look at: what is undocumented changes under way, and the tokens are worth nothing any more.
fn change(api: &Running, random: &mut Random) {
    api.tokens().revoke_all();
    let etags = [
        Etag::Absent,
        Etag::Strong,
        Etag::Weak,
        Etag::Unstable,
        Etag::Sometimes,
    ];
    let redirects = [
        Redirect::No,
        Redirect::No,
        Redirect::OtherHost,
        Redirect::SameHost,
    ];
    api.change_switches(|switches| {
        switches.token_life = Duration::from_secs(2 + random.below(4));
        switches.latency = Duration::from_millis(random.below(4));
        switches.etag = *random.pick(&etags);
        switches.last_modified = random.below(2) == 0;
        switches.redirect = *random.pick(&redirects);
        switches.chunked = random.below(4) == 0;
        switches.ignore_ranges = random.below(8) == 0;
        switches.longest_range = (random.below(4) == 0).then(|| 100_000 + random.below(1_000_000));
    });
}

fn status(mount: &Mount) -> serde_json::Value {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_interactionfs"))
        .args(["status", "--json"])
        .arg(mount.root())
        .output()
        .unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or_default()
}
