//! A server that sends far too much, and a cache directory that goes away underneath: bounded memory, clear errors, and the
//! right bytes all the same.

use std::io::ErrorKind;
use std::path::Path;

use interactionfs::emulator::{Endpoint, Fault, Rule, Target, Times};
use rustix::mount::{MountFlags, UnmountFlags, mount_remount, unmount};

use crate::common::{MountBuilder, can_mount, errno};
use crate::from_environment;
use crate::usage;
use crate::world::World;

#[test]
fn headers_without_end_and_redirects_in_a_circle_end_in_errors_and_little_memory() {
    if !can_mount() {
        return;
    }
    let world = World::new(2, Vec::new());
    let api = world.server.api();
    let mount = MountBuilder::new(&world.server)
        .option("--deadline=3s")
        .option("--memory=4MiB")
        .mount();
    let path = mount.path(&world.files[0].below);
    let began = usage::peak_kib(mount.pid());
    for (what, fault) in [
        ("a header of 16 MB", Fault::HugeHeader(16 << 20)),
        ("a redirect loop", Fault::RedirectLoop),
    ] {
        let before = world.server.all_requests();
        let rule = Rule::new(Target::Content, fault).times(Times::Forever);
        let id = api.faults().add(rule);
        let error = errno(std::fs::read(&path));
        assert!(
            error == libc::EIO || error == libc::ETIMEDOUT,
            "{what}: {error}"
        );
        api.faults().remove(id);
        let made = world.server.all_requests() - before;
        assert!(made <= 6 * 20, "{what}: {made} requests");
    }
    let peak = usage::peak_kib(mount.pid());
    assert!(peak < began + 192 * 1024, "{peak} KiB after {began}");
    // The second look is after what failed has been forgotten.
    crate::common::eventually("all is read again", || {
        world.verify(&mount, false).unread == 0
    });
    assert_eq!(world.verify(&mount, true).wrong, [] as [String; 0]);
    mount.unmount();
}

#[test]
fn a_page_beyond_all_bounds_costs_little_memory() {
    // The emulator takes its time over such pages.
    if !can_mount() || from_environment("INTERACTIONFS_HUGE_PAGES", 0) == 0 {
        return;
    }
    let world = World::new(2, Vec::new());
    let account = world.server.api().account();
    account.update(account.guids()[0], |interaction| {
        let much = serde_json::json!({"much": "x".repeat(80 << 20)});
        interaction.content[0].properties = much;
    });
    let before = world.server.requests(Endpoint::Search);
    let mount = MountBuilder::new(&world.server)
        .option("--refresh=1s")
        .option("--metadata-deadline=15s")
        .mount();
    let entries = std::fs::read_dir(mount.root());
    assert!(entries.is_ok_and(|mut all| all.any(|entry| entry.is_err())));
    assert!(world.server.requests(Endpoint::Search) > before);
    let peak = usage::peak_kib(mount.pid());
    assert!(peak < 256 * 1024, "{peak} KiB");
}

#[test]
fn an_interaction_of_millions_of_values_costs_little_memory_and_no_other_interaction() {
    if !can_mount() {
        return;
    }
    let world = World::new(2, Vec::new());
    let account = world.server.api().account();
    let giant = account.guids()[0];
    account.update(giant, |interaction| {
        // Eight megabytes, and three hundred as values.
        interaction.content[0].properties = serde_json::json!({"many": vec![0; 4_000_000]});
    });
    let mount = MountBuilder::new(&world.server)
        .option("--memory=4MiB")
        .option("--metadata-deadline=4s")
        .mount();
    let (of_giant, others): (Vec<_>, Vec<_>) = world
        .files
        .iter()
        .partition(|known| known.below.starts_with(giant.to_string()));
    let giants = std::fs::read(mount.path(&of_giant[0].below));
    for known in others {
        let read = std::fs::read(mount.path(&known.below)).unwrap();
        assert!(read == *known.bytes, "{:?}", known.below);
    }
    assert!(world.server.requests(Endpoint::Search) > 0);
    let peak = usage::peak_kib(mount.pid());
    eprintln!("{peak} KiB at most");
    assert!(peak < (4 + 128) * 1024, "{peak} KiB");
    let error = errno(giants);
    assert!(error == libc::EIO || error == libc::ETIMEDOUT, "{error}");
    mount.unmount();
}

#[test]
fn a_cache_that_vanishes_fills_up_or_turns_read_only_costs_no_byte() {
    if !can_mount() {
        return;
    }
    let world = World::new(3, vec![3_000_001]);
    let right = |cache: &Path, meanwhile: &dyn Fn()| {
        let mount = MountBuilder::new(&world.server)
            .cache(cache)
            .option("--memory=4MiB")
            .mount();
        std::fs::read(mount.path(&world.files[0].below)).unwrap();
        meanwhile();
        for _ in 0..2 {
            assert_eq!(world.verify(&mount, true).wrong, [] as [String; 0]);
        }
        mount.unmount();
    };
    let place = tempfile::TempDir::new().unwrap();
    let gone = place.path().join("gone");
    right(&gone, &|| {
        // The daemon may put a file into a directory that was just emptied.
        while let Err(error) = std::fs::remove_dir_all(&gone) {
            assert_eq!(error.kind(), ErrorKind::DirectoryNotEmpty);
        }
    });
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let small = place.path().join("small");
    std::fs::create_dir(&small).unwrap();
    let options = c"size=2m,mode=0700";
    if rustix::mount::mount("tmpfs", &small, "tmpfs", MountFlags::empty(), Some(options)).is_err() {
        return;
    }
    let _unmounted = Unmounted(&small);
    right(&small, &|| {});
    right(&small, &|| {
        // Fails while files are open for writing; where it is not refused, reads must not care.
        let _ = mount_remount(&small, MountFlags::RDONLY, c"");
    });
    let _ = mount_remount(&small, MountFlags::empty(), c"");
    right(&small, &|| {
        // As when a stick is pulled out: what is open stays, the name leads elsewhere.
        unmount(&small, UnmountFlags::DETACH).unwrap();
    });
}

/// Unmounts when it goes.
struct Unmounted<'a>(&'a Path);

impl Drop for Unmounted<'_> {
    fn drop(&mut self) {
        let _ = unmount(self.0, UnmountFlags::DETACH);
    }
}
