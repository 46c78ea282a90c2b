//! The cache directory: there or makeable, the user's alone, writable, with room.

use std::fs::DirBuilder;
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;

use crate::config::values::size_text;
use crate::config::{Config, DiskCache};

use super::report::{Finding, Report};

pub(super) fn check(report: &mut Report, config: &Config) {
    let Some(disk) = &config.disk else {
        report.add(
            "cache",
            Finding::warn(
                "--no-disk-cache: what leaves memory, and each new mount, costs requests again",
            ),
        );
        return;
    };
    let directory = directory(&disk.directory);
    let usable = !directory.failed();
    report.add("cache", directory);
    if usable {
        report.add("cache space", space(disk));
    }
}

fn directory(path: &Path) -> Finding {
    let shown = path.display();
    match DirBuilder::new().mode(0o700).recursive(true).create(path) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            return Finding::fail(format!(
                "{shown} is not a directory: choose another --cache-dir"
            ));
        }
        Err(error) => {
            return Finding::fail(format!(
                "{shown} can't be made ({error}): choose a --cache-dir that you may write to"
            ));
        }
    }
    let probe = path.join(format!(".doctor-{}", std::process::id()));
    if let Err(error) = std::fs::write(&probe, b"probe").and_then(|()| std::fs::remove_file(&probe))
    {
        return Finding::fail(format!(
            "{shown} is not writable ({error}): choose another --cache-dir, or make it yours with chown"
        ));
    }
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.mode() & 0o077 != 0 => Finding::fail(format!(
            "{shown} is open to others, and recordings are private: run 'chmod 700 {shown}'"
        )),
        _ => Finding::ok(format!("{shown} is writable, and yours alone")),
    }
}

fn space(disk: &DiskCache) -> Finding {
    match rustix::fs::statvfs(&disk.directory) {
        Ok(file_system) => judged(
            file_system.f_bavail.saturating_mul(file_system.f_frsize),
            disk.size_bytes,
        ),
        Err(error) => Finding::warn(format!("the free space is not known ({error})")),
    }
}

fn judged(free: u64, wanted: u64) -> Finding {
    let free_text = bytesize::ByteSize(free).display().iec();
    if free < 64 << 20 {
        Finding::fail(format!(
            "only {free_text} are free: make room, or choose another --cache-dir"
        ))
    } else if free < wanted {
        Finding::warn(format!(
            "{free_text} are free, less than --cache-size {}: the cache stays smaller, if it holds no more already",
            size_text(wanted)
        ))
    } else {
        Finding::ok(format!("{free_text} are free"))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_cache_open_to_others_fails() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("cache/deep");
        let made = directory(&path);
        assert!(!made.failed(), "{made:?}");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        assert!(directory(&path).text().contains("chmod 700"));
        let file = parent.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert!(directory(&file).failed() && directory(&file.join("x")).failed());
    }

    #[test]
    fn room_is_judged_by_what_is_wanted() {
        assert!(judged(1 << 20, 1 << 20).failed());
        assert!(judged(1 << 30, 10 << 30).warned());
        assert!(!judged(20 << 30, 10 << 30).warned());
    }
}
