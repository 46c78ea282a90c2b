//! The machine: kernel, FUSE, the mountpoint, and programs that crawl every file they see.

use std::path::Path;

use super::super::requirements;
use super::report::{Finding, Report};

/// Since when the kernel can read a complete cached file without asking the daemon.
const PASSTHROUGH_SINCE: (u32, u32) = (6, 9);

/// The oldest kernel that has all the rest that a mount uses.
const NEEDED_SINCE: (u32, u32) = (4, 20);

/// Kernel and FUSE.
pub(super) fn check(report: &mut Report) {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    report.add("kernel", kernel(release.trim(), requirements::is_root()));
    report.add_result("/dev/fuse", "can be opened", requirements::device());
    report.add(
        "fusermount3",
        match requirements::fusermount() {
            Ok(_) => Finding::ok("installed"),
            Err(failure) if requirements::is_root() => Finding::warn(format!(
                "you are root and need it not; for others: {}",
                failure.message
            )),
            Err(failure) => Finding::fail(failure.message),
        },
    );
}

pub(super) fn check_mountpoint(report: &mut Report, mountpoint: &Path) {
    report.add_result(
        "mountpoint",
        "an empty directory",
        requirements::mountpoint(mountpoint).map(|_| ()),
    );
}

pub(super) fn check_allow_other(report: &mut Report) {
    report.add_result("allow-other", "allowed here", requirements::allow_other());
}

/// Whether an indexer would read every file of the mount, each read a request of the account's.
pub(super) fn check_indexers(report: &mut Report, mountpoint: Option<&Path>) {
    let updatedb = std::fs::read_to_string("/etc/updatedb.conf").ok();
    report.add("updatedb", updatedb_conf(updatedb.as_deref()));
    if requirements::find_program("tracker3").is_some()
        || requirements::find_program("localsearch").is_some()
    {
        let home = std::env::var_os("HOME");
        let in_home = mountpoint
            .zip(home)
            .is_some_and(|(mountpoint, home)| mountpoint.starts_with(home));
        report.add(
            "file indexer",
            if in_home {
                Finding::warn(
                    "GNOME's indexer reads what is in your home: mount elsewhere, or put an empty file .nomedia into \
                     the directory that holds the mountpoint",
                )
            } else {
                Finding::ok("GNOME's indexer looks at your home only: mount elsewhere")
            },
        );
    }
}

fn kernel(release: &str, is_root: bool) -> Finding {
    let Some(version) = version(release) else {
        return Finding::warn(format!("version {release} is of an unknown form"));
    };
    if version < NEEDED_SINCE {
        Finding::fail(format!(
            "{release} is too old: Linux {}.{} or later is needed",
            NEEDED_SINCE.0, NEEDED_SINCE.1
        ))
    } else if version < PASSTHROUGH_SINCE {
        Finding::warn(format!(
            "{release}: cached files are read through the daemon; from Linux 6.9 on the kernel reads them itself"
        ))
    } else if is_root {
        Finding::ok(format!(
            "{release}, reads cached files itself (passthrough)"
        ))
    } else {
        Finding::ok(format!(
            "{release}; only a mount made by root reads cached files without the daemon (passthrough)"
        ))
    }
}

fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|character: char| !character.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn updatedb_conf(configuration: Option<&str>) -> Finding {
    let Some(configuration) = configuration else {
        return Finding::ok("not installed, so it reads nothing");
    };
    let pruned = configuration
        .lines()
        .map(str::trim)
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once('='))
        .filter(|(name, _)| name.trim() == "PRUNEFS")
        .flat_map(|(_, value)| value.trim().trim_matches('"').split_whitespace())
        .any(|file_system| file_system.eq_ignore_ascii_case("fuse.interactionfs"));
    if pruned {
        Finding::ok("leaves the mount alone")
    } else {
        Finding::warn(
            "would list the whole mount every day: add fuse.interactionfs to PRUNEFS in /etc/updatedb.conf",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_are_judged_by_what_they_can_do() {
        assert!(kernel("3.10.0-1160.el7.x86_64", true).failed());
        assert!(kernel("5.15.0-91-generic", true).warned());
        let new = kernel("6.9", true);
        assert!(!new.failed() && !new.warned());
        assert!(kernel("6.18.44-fc", false).text().contains("root"));
        assert!(kernel("unknown", false).warned());
    }

    #[test]
    fn updatedb_must_be_told() {
        assert!(updatedb_conf(Some("PRUNEFS=\"NFS fuse.sshfs\"\n")).warned());
        assert!(updatedb_conf(Some("# PRUNEFS=\"fuse.interactionfs\"\n")).warned());
        assert!(!updatedb_conf(Some("PRUNEFS = \"NFS fuse.interactionfs\"\n")).warned());
        assert!(!updatedb_conf(None).warned());
    }
}
