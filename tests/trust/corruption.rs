//! A cache directory that is damaged while nothing is mounted: content, maps, catalogue, accounts.
//!
//! Whatever is served afterwards is right, without the server and with it.

use std::path::Path;
use std::time::Instant;

use interactionfs::emulator::DeclaredLength;

use crate::common::{Mount, MountBuilder, can_mount};
use crate::damage;
use crate::from_environment;
use crate::random::Random;
use crate::world::World;

/// After so many mounts with the server all can be read: damage in the catalogue may be met only while it is used, and
/// mended by the mount after that.
const MOUNTS: u64 = 3;

/// Damages between two mounts.
const AT_ONCE: u64 = 4;

#[test]
fn no_damage_to_the_cache_is_ever_served() {
    if !can_mount() {
        return;
    }
    let wanted = from_environment("INTERACTIONFS_CORRUPTIONS", 100);
    let seed = from_environment("INTERACTIONFS_CORRUPTIONS_SEED", 1);
    let world = World::new(3, vec![3_000_001]);
    let api = world.server.api();
    let mut random = Random::new(seed);
    let began = Instant::now();
    let (mut made, mut right_offline, mut unread_offline, mut not_mounted, mut fetched) =
        (0, 0, 0, 0, 0);
    let mut healed_later = 0;
    let mut cache = tempfile::TempDir::new().unwrap();
    while made < wanted {
        if made % (AT_ONCE * 20) == 0 {
            // Another account's habits: lengths that only the cache knows.
            let lengths = [
                DeclaredLength::True,
                DeclaredLength::Absent,
                DeclaredLength::TooLong,
            ];
            api.change_switches(|switches| switches.content_length = *random.pick(&lengths));
            cache = tempfile::TempDir::new().unwrap();
            let whole = mount(&world, cache.path(), false).unwrap();
            assert_eq!(world.verify(&whole, true).wrong, [] as [String; 0]);
            whole.unmount();
        }
        let damages: Vec<String> = (0..AT_ONCE)
            .map(|_| damage::one(cache.path(), &mut random))
            .collect();
        made += AT_ONCE;
        let context = || format!("seed {seed}, after {made}: {damages:#?}");
        if random.below(2) == 0 {
            match mount(&world, cache.path(), true) {
                Ok(mount) => {
                    let verified = world.verify(&mount, false);
                    assert_eq!(verified.wrong, [] as [String; 0], "offline, {}", context());
                    right_offline += verified.right;
                    unread_offline += verified.unread;
                    mount.unmount();
                }
                // Without a catalogue there is nothing to show.
                Err(_) => not_mounted += 1,
            }
        }
        let before = world.server.all_requests();
        let mut is_whole = false;
        for mounts in 1..=MOUNTS {
            let mount = mount(&world, cache.path(), false).unwrap_or_else(|output| {
                panic!("{}, {}", String::from_utf8_lossy(&output), context())
            });
            let verified = world.verify(&mount, mounts == MOUNTS);
            assert_eq!(verified.wrong, [] as [String; 0], "{}", context());
            mount.unmount();
            is_whole = verified.unread == 0;
            if is_whole {
                break;
            }
            healed_later += 1;
        }
        assert!(is_whole);
        fetched += world.server.all_requests() - before;
    }
    eprintln!(
        "{made} damages in {:.0} s, seed {seed}: 0 wrong bytes. Offline {right_offline} files were right, \
         {unread_offline} unreadable, {not_mounted} mounts refused; online all were right, for {fetched} requests, \
         {healed_later} times after one more mount",
        began.elapsed().as_secs_f64()
    );
    assert!(right_offline + fetched > 0);
}

fn mount(world: &World, cache: &Path, offline: bool) -> Result<Mount, Vec<u8>> {
    let builder = MountBuilder::new(&world.server).cache(cache);
    if offline {
        builder.option("--offline").try_mount()
    } else {
        builder.try_mount()
    }
}
