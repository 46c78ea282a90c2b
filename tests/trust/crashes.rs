//! kill -9 at random moments under load: what the cache serves afterwards is right to the last byte.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::common::{Mount, MountBuilder, can_mount};
use crate::from_environment;
use crate::random::Random;
use crate::reader::{Tally, read_on};
use crate::world::World;

#[test]
fn what_a_killed_daemon_leaves_is_right() {
    if !can_mount() {
        return;
    }
    let kills = from_environment("INTERACTIONFS_KILLS", 5);
    let seed = from_environment("INTERACTIONFS_KILLS_SEED", 1);
    let world = World::new(4, vec![6_000_001, 2_000_000]);
    let mut random = Random::new(seed);
    let began = Instant::now();
    let (mut right, mut unread, mut reads) = (0, 0, 0);
    let mut cache = tempfile::TempDir::new().unwrap();
    for kill in 0..kills {
        if kill % 10 == 0 {
            cache = tempfile::TempDir::new().unwrap();
            // Offline shows what was listed once.
            mount(&world, cache.path(), false).unmount();
        }
        let small = random.below(2) == 0;
        let mut victim = mount(&world, cache.path(), small);
        let tally = Tally::default();
        let patience = Duration::from_micros(random.below(300_000));
        std::thread::scope(|scope| {
            for _ in 0..3 {
                let (root, seed, tally) = (victim.root(), random.next(), &tally);
                let files = &world.files;
                scope.spawn(move || read_on(&root, files, seed, tally));
            }
            // Killed at any moment: the time is the chance.
            std::thread::sleep(patience);
            victim.signal(Signal::KILL);
            tally.ends.store(true, Ordering::Relaxed);
        });
        victim.wait();
        drop(victim);
        assert_eq!(*tally.wrong.lock().unwrap(), [] as [String; 0]);
        reads += tally.reads.load(Ordering::Relaxed);
        let offline = MountBuilder::new(&world.server)
            .cache(cache.path())
            .option("--offline")
            .mount();
        let verified = world.verify(&offline, false);
        assert_eq!(
            verified.wrong,
            [] as [String; 0],
            "seed {seed}, after kill {kill}, {patience:?} after the mount"
        );
        right += verified.right;
        unread += verified.unread;
        offline.unmount();
    }
    eprintln!(
        "{kills} kills in {:.0} s, seed {seed}: {reads} reads before them; afterwards {right} files were right \
         offline, {unread} not held as a whole, 0 wrong",
        began.elapsed().as_secs_f64()
    );
    let last = mount(&world, cache.path(), false);
    assert_eq!(world.verify(&last, true).wrong, [] as [String; 0]);
    last.unmount();
}

fn mount(world: &World, cache: &Path, small: bool) -> Mount {
    let builder = MountBuilder::new(&world.server)
        .cache(cache)
        .option("--refresh=1s");
    if small {
        builder
            .option("--memory=4MiB")
            .option("--cache-size=8MiB")
            .mount()
    } else {
        builder.mount()
    }
}
