//! The whole way through the kernel: a real mount on fakes, as root or through fusermount3. Without a usable
//! /dev/fuse each test says so and passes.

use std::fs;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
use tokio::runtime::Runtime;

use super::mountpoint::mounted_at;
use super::{MountError, MountOptions, Mounted, check_mountpoint, mount};
use crate::catalogue::{Change, Changes, Progress};
use crate::fs::fakes::{FakeInteractions, Stage, guid, interaction, known, options, stage};
use crate::remote::RemoteError;

const WAV: &str = "audio/wav";
const JSON: &str = "application/json";

/// A mount that is taken away whatever happens.
struct Standing {
    mounted: Mounted,
    stage: Stage,
    runtime: Option<Runtime>,
    place: tempfile::TempDir,
    panics: Arc<AtomicUsize>,
}

impl Drop for Standing {
    fn drop(&mut self) {
        if let Err(error) = self.mounted.unmount() {
            eprintln!("a mount was left behind: {error}");
        }
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Standing {
    fn path(&self, path: &str) -> PathBuf {
        self.place.path().join(path)
    }

    fn of(&self, n: u8, name: &str) -> PathBuf {
        self.place.path().join(guid(n).to_string()).join(name)
    }
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at % 251) as u8).collect()
}

/// Mounts three interactions; `None`, said loudly, where that isn't possible.
fn standing(test: &str, change: impl FnOnce(&mut MountOptions)) -> Option<Standing> {
    let device = fs::File::options().read(true).write(true).open("/dev/fuse");
    if let Err(error) = device {
        eprintln!("SKIPPED {test}: /dev/fuse can't be used: {error}");
        return None;
    }
    let stage = stage(
        FakeInteractions::new([
            interaction(
                1,
                &["1342"],
                &[
                    ("callRecording", WAV, Some(1_000_000), 1),
                    ("transcript", JSON, Some(5), 2),
                ],
            ),
            interaction(2, &[], &[("voicemail", WAV, None, 1)]),
            interaction(0xab, &[], &[]),
        ]),
        options(),
    );
    stage
        .contents
        .put(stage.id(1, "callRecording"), pattern(1_000_000));
    stage.contents.put(stage.id(1, "transcript"), "hello");
    stage.contents.put(stage.id(2, "voicemail"), pattern(300));
    let place = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let mut options = MountOptions {
        source: Some("test,source".to_owned()),
        ..MountOptions::default()
    };
    change(&mut options);
    let panics = Arc::new(AtomicUsize::new(0));
    let panicked = Arc::new({
        let panics = Arc::clone(&panics);
        move || {
            panics.fetch_add(1, Ordering::SeqCst);
        }
    });
    let mounted = mount(
        &stage.filesystem,
        place.path(),
        &options,
        runtime.handle().clone(),
        Arc::clone(&panicked) as _,
    )
    .unwrap();
    Some(Standing {
        mounted,
        stage,
        runtime: Some(runtime),
        place,
        panics,
    })
}

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Polls until it is so: the kernel is told by a thread that nothing waits for.
fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::yield_now();
    }
}

fn errno(error: &io::Error) -> Option<rustix::io::Errno> {
    rustix::io::Errno::from_io_error(error)
}

#[test]
fn programs_list_read_and_stat_the_tree() {
    let Some(standing) = standing("programs_list_read_and_stat_the_tree", |_| {}) else {
        return;
    };
    let mut wanted = vec![
        guid(1).to_string(),
        guid(2).to_string(),
        guid(0xab).to_string(),
    ];
    wanted.extend(["by-agent", "by-date", "text"].map(str::to_owned));
    assert_eq!(names(standing.place.path()), wanted);
    assert_eq!(
        names(&standing.of(2, "")),
        ["interaction.json", "voicemail.wav"],
        "a file without a known size is listed"
    );
    let requests = &standing.stage.contents.shelf().requests;
    assert_eq!(requests.load(Ordering::SeqCst), 0);
    let unknown = fs::metadata(standing.of(2, "voicemail.wav")).unwrap();
    assert_eq!(unknown.len(), 300);
    assert_eq!(
        fs::read(standing.of(2, "voicemail.wav")).unwrap(),
        pattern(300)
    );
    assert_eq!(requests.load(Ordering::SeqCst), 1);

    let recording = standing.of(1, "callRecording.wav");
    assert_eq!(fs::read(&recording).unwrap(), pattern(1_000_000));
    let stat = fs::metadata(&recording).unwrap();
    assert_eq!((stat.mode() & 0o7777, stat.blocks()), (0o400, 1954));
    assert_eq!(stat.mtime(), 1_795_345_260);
    let mut file = fs::File::open(&recording).unwrap();
    file.seek(SeekFrom::Start(700_001)).unwrap();
    let mut bytes = [0; 1000];
    file.read_exact(&mut bytes).unwrap();
    assert_eq!(bytes[..], pattern(1_000_000)[700_001..701_001]);

    let listed: Vec<_> = fs::read_dir(standing.of(1, "")).unwrap().collect();
    for entry in listed {
        let entry = entry.unwrap();
        let stat = fs::symlink_metadata(entry.path()).unwrap();
        assert_eq!(stat.ino(), std::os::unix::fs::DirEntryExt::ino(&entry));
    }
    let metadata = fs::read_to_string(standing.of(1, "interaction.json")).unwrap();
    assert!(metadata.starts_with("{\n  \"guid\": "));
    let stats = standing.path(".interactionfs/stats.json");
    assert_eq!(fs::read_to_string(stats).unwrap(), "stats.json");
}

#[test]
fn views_are_links_and_lead_back() {
    let Some(standing) = standing("views_are_links_and_lead_back", |_| {}) else {
        return;
    };
    assert_eq!(
        fs::read_link(standing.path("by-date")).unwrap(),
        Path::new(".interactionfs/views/by-date")
    );
    let link = format!("by-agent/1342/2026-11-22_101501Z_inbound_{}", guid(1));
    let through = standing.path(&link).join("transcript.json");
    assert_eq!(fs::read_to_string(through).unwrap(), "hello");
    let text = format!("text/2026-11-22/101501Z_inbound_{}.txt", guid(1));
    assert_eq!(
        fs::read_to_string(standing.path(&text)).unwrap(),
        "2026-11-22T10:15:01Z HELLO\n"
    );
    let upper = standing.path(&guid(0xab).to_string().to_uppercase());
    assert_eq!(
        fs::read_link(&upper).unwrap(),
        Path::new(&guid(0xab).to_string())
    );
    assert_eq!(names(&upper), ["interaction.json"]);
}

#[test]
fn every_write_is_refused() {
    let Some(standing) = standing("every_write_is_refused", |_| {}) else {
        return;
    };
    let refused = |result: io::Result<()>| {
        assert_eq!(errno(&result.unwrap_err()), Some(rustix::io::Errno::ROFS));
    };
    let file = standing.of(1, "callRecording.wav");
    refused(fs::write(standing.path("new"), "x"));
    refused(fs::write(&file, "x"));
    refused(fs::create_dir(standing.path("new")));
    refused(fs::remove_file(&file));
    refused(fs::remove_dir_all(standing.of(1, "")));
    refused(fs::rename(&file, standing.path("new")));
    refused(fs::hard_link(&file, standing.path("new")));
    refused(std::os::unix::fs::symlink("x", standing.path("new")));
    refused(fs::set_permissions(
        &file,
        fs::Permissions::from_mode(0o777),
    ));
    refused(
        rustix::fs::setxattr(&file, "user.x", b"x", rustix::fs::XattrFlags::empty())
            .map_err(Into::into),
    );
}

#[test]
fn extended_attributes_are_shown() {
    let Some(standing) = standing("extended_attributes_are_shown", |_| {}) else {
        return;
    };
    let file = standing.of(1, "callRecording.wav");
    let mut value = [0_u8; 64];
    let length = rustix::fs::getxattr(&file, "user.mime_type", &mut value[..]).unwrap();
    assert_eq!(&value[..length], b"audio/wav");
    let small = rustix::fs::getxattr(&file, "user.mime_type", &mut value[..3]);
    assert_eq!(small, Err(rustix::io::Errno::RANGE));
    let mut list = [0_u8; 512];
    let length = rustix::fs::listxattr(standing.of(1, ""), &mut list[..]).unwrap();
    assert!(list[..length].starts_with(b"user.vcc.direction\0"));
}

#[test]
fn the_mount_shows_its_type_and_is_closed_to_others() {
    let Some(standing) = standing("the_mount_shows_its_type_and_is_closed_to_others", |_| {})
    else {
        return;
    };
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let line = mounts
        .lines()
        .find(|line| line.contains(standing.place.path().to_str().unwrap()))
        .unwrap();
    assert!(line.starts_with("test_source "), "{line}");
    let fields: Vec<&str> = line.split(' ').collect();
    assert_eq!(fields[2], "fuse.interactionfs");
    for option in ["ro", "nosuid", "nodev", "noexec", "noatime"] {
        assert!(fields[3].split(',').any(|set| set == option), "{line}");
    }
    assert_closed_to_others(&standing);
    assert!(matches!(
        check_mountpoint(standing.place.path()),
        Err(MountError::Busy(_))
    ));
}

#[test]
fn the_readahead_window_is_widened_where_that_is_allowed() {
    let Some(standing) = standing(
        "the_readahead_window_is_widened_where_that_is_allowed",
        |_| {},
    ) else {
        return;
    };
    let device = mounted_at(standing.mounted.mountpoint()).unwrap().device;
    let file = format!("/sys/class/bdi/{device}/read_ahead_kb");
    if fs::File::options().write(true).open(&file).is_err() {
        eprintln!("SKIPPED: the window may not be set here");
        return;
    }
    assert_eq!(fs::read_to_string(file).unwrap().trim(), "1024");
}

#[test]
fn allow_other_opens_the_mount_but_not_the_modes() {
    if !is_root() {
        eprintln!(
            "SKIPPED allow_other_opens_the_mount_but_not_the_modes: it depends on /etc/fuse.conf"
        );
        return;
    }
    let Some(standing) = standing("allow_other_opens_the_mount_but_not_the_modes", |options| {
        options.allow_other = true;
    }) else {
        return;
    };
    assert_closed_to_others(&standing);
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn assert_closed_to_others(standing: &Standing) {
    if !is_root() {
        eprintln!("SKIPPED in part: only root can try as another user");
        return;
    }
    let output = Command::new("setpriv")
        .args([
            "--reuid",
            "65534",
            "--regid",
            "65534",
            "--clear-groups",
            "ls",
        ])
        .arg(standing.place.path())
        .output();
    let Ok(output) = output else {
        eprintln!("SKIPPED in part: there is no setpriv");
        return;
    };
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("Permission denied"), "{text}");
}

#[test]
fn a_replaced_recording_is_seen_by_name_and_not_by_handle() {
    let Some(standing) = standing(
        "a_replaced_recording_is_seen_by_name_and_not_by_handle",
        |_| {},
    ) else {
        return;
    };
    let stage = &standing.stage;
    let path = standing.of(1, "callRecording.wav");
    let old = fs::File::open(&path).unwrap();
    let old_number = fs::metadata(&path).unwrap().ino();
    names(&standing.of(1, ""));
    let old_id = stage.id(1, "callRecording");
    let now = interaction(
        1,
        &["1342"],
        &[
            ("callRecording", WAV, Some(2000), 59),
            ("x", JSON, Some(2), 3),
        ],
    );
    let before = stage.interactions.put(now.clone()).unwrap();
    stage
        .contents
        .put(stage.id(1, "callRecording"), vec![9; 2000]);
    stage.announcer.changed(Change::Updated {
        before,
        now: known(now),
    });
    eventually("the name leads to the new version", || {
        fs::metadata(&path).unwrap().ino() != old_number
    });
    assert_eq!(fs::read(&path).unwrap(), vec![9; 2000]);
    eventually("the listing is new", || {
        names(&standing.of(1, "")) == ["callRecording.wav", "interaction.json", "x.json"]
    });
    stage.contents.remove(&old_id);
    let mut bytes = [0; 10];
    let error = old.read_at(&mut bytes, 500_000).unwrap_err();
    assert_eq!(errno(&error), Some(rustix::io::Errno::STALE));
    assert_eq!(old.metadata().unwrap().len(), 1_000_000);
}

#[test]
fn what_is_removed_disappears() {
    let Some(standing) = standing("what_is_removed_disappears", |_| {}) else {
        return;
    };
    let stage = &standing.stage;
    assert!(standing.of(1, "transcript.json").exists());
    let gone = stage
        .interactions
        .listed
        .lock()
        .unwrap()
        .remove(&guid(1))
        .unwrap();
    stage.announcer.changed(Change::Removed(gone));
    eventually("the directory is gone", || !standing.of(1, "").exists());
    assert!(!names(standing.place.path()).contains(&guid(1).to_string()));
}

/// The kernel gives the root of a mount that fusermount3 made no mode before it was asked for, and throws the answer away if a
/// notice overtakes it.
#[test]
fn news_at_the_beginning_keep_no_ordinary_user_out() {
    // Of this thread, and those that it starts: they mount and enter as an ordinary user's do.
    let mut held = capabilities(None).unwrap();
    held.effective = CapabilitySet::empty();
    set_capabilities(None, held).unwrap();
    for _ in 0..20 {
        let test = "news_at_the_beginning_keep_no_ordinary_user_out";
        let Some(standing) = standing(test, |_| {}) else {
            return;
        };
        let is_over = AtomicBool::new(false);
        let listed = thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    let news = Change::Added(guid(9), Timestamp::UNIX_EPOCH);
                    standing.stage.announcer.changed(news);
                }
            });
            let listed = fs::read_dir(standing.place.path()).map(Iterator::count);
            is_over.store(true, Ordering::Relaxed);
            listed
        });
        assert_eq!(listed.unwrap(), 6);
    }
}

#[test]
fn a_listing_that_fails_says_so() {
    let Some(standing) = standing("a_listing_that_fails_says_so", |_| {}) else {
        return;
    };
    *standing.stage.interactions.progress.lock().unwrap() =
        Progress::Failed(RemoteError::Unreachable("refused"));
    let rows: Vec<io::Result<_>> = fs::read_dir(standing.place.path()).unwrap().collect();
    assert_eq!(rows.iter().filter(|row| row.is_ok()).count(), 6);
    let error = rows.last().unwrap().as_ref().unwrap_err();
    assert_eq!(errno(error), Some(rustix::io::Errno::IO));
}

#[test]
fn a_complete_file_is_read_by_the_kernel_and_never_beside_cached_handles() {
    let cache = tempfile::tempdir().unwrap();
    let Some(standing) = standing(
        "a_complete_file_is_read_by_the_kernel_and_never_beside_cached_handles",
        |options| options.cache_directory = Some(cache.path().to_owned()),
    ) else {
        return;
    };
    let stage = &standing.stage;
    let path = standing.of(1, "callRecording.wav");
    let id = stage.id(1, "callRecording");
    let cached = fs::File::open(&path).unwrap();
    let mut bytes = [0; 16];
    cached.read_at(&mut bytes, 0).unwrap();
    // The complete file differs, so that one sees who answers.
    let complete = cache.path().join("complete");
    fs::File::create(&complete)
        .unwrap()
        .write_all(&vec![1; 1_000_000])
        .unwrap();
    stage
        .contents
        .put_complete(id.clone(), fs::File::open(&complete).unwrap());
    let beside = fs::File::open(&path).unwrap();
    beside.read_at(&mut bytes, 500_000).unwrap();
    assert_eq!(bytes[..], pattern(1_000_000)[500_000..500_016]);
    drop((cached, beside));
    eventually("the handles are released", || {
        stage.filesystem.open_files() == 0
    });
    let handles: Vec<_> = (0..3).map(|_| fs::File::open(&path).unwrap()).collect();
    for handle in &handles {
        // Without the privilege it is answered by the daemon, and no open fails.
        handle.read_at(&mut bytes, 500_000).unwrap();
        let through = bytes == [1; 16];
        assert!(through || bytes[..] == pattern(1_000_000)[500_000..500_016]);
    }
}

#[test]
fn an_unmount_with_open_files_lets_them_finish() {
    let Some(standing) = standing("an_unmount_with_open_files_lets_them_finish", |_| {}) else {
        return;
    };
    let file = fs::File::open(standing.of(1, "callRecording.wav")).unwrap();
    standing.mounted.unmount().unwrap();
    assert!(names(standing.place.path()).is_empty());
    let mut bytes = [0; 16];
    file.read_at(&mut bytes, 500_000).unwrap();
    assert_eq!(bytes[..], pattern(1_000_000)[500_000..500_016]);
    assert!(!standing.mounted.has_ended());
    drop(file);
    let runtime = standing.runtime.as_ref().unwrap();
    runtime.block_on(standing.mounted.wait_until_unmounted());
    assert!(standing.mounted.has_ended());
    standing.mounted.unmount().unwrap();
}

#[test]
fn a_mistake_in_a_callback_is_an_error_and_ends_nothing_by_itself() {
    let Some(standing) = standing(
        "a_mistake_in_a_callback_is_an_error_and_ends_nothing_by_itself",
        |_| {},
    ) else {
        return;
    };
    let error = fs::metadata(standing.path(&guid(0xff).to_string())).unwrap_err();
    assert_eq!(errno(&error), Some(rustix::io::Errno::IO));
    eventually("the caller is told", || {
        standing.panics.load(Ordering::SeqCst) == 1
    });
    assert!(standing.of(1, "transcript.json").exists());
}
