//! The kernel's list of mounts, read without touching any of them: a dead one would answer nothing, and a
//! stuck one never.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// The type that our mounts have there.
const OURS: &str = "fuse.interactionfs";

/// One mount.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Mounted {
    pub(super) mountpoint: PathBuf,
    pub(super) file_system: String,
    /// The user who made it, where the options say so (FUSE's do).
    pub(super) user: Option<u32>,
}

impl Mounted {
    pub(super) fn is_ours(&self) -> bool {
        self.file_system == OURS
    }
}

/// All mounts that this process sees, in the order in which they were made.
pub(super) fn read() -> Vec<Mounted> {
    std::fs::read("/proc/self/mountinfo")
        .map(|table| parse(&table))
        .unwrap_or_default()
}

/// What is mounted on `mountpoint`, the topmost if there are several.
pub(super) fn on(mountpoint: &Path) -> Option<Mounted> {
    read()
        .into_iter()
        .rfind(|mounted| mounted.mountpoint == mountpoint)
}

fn parse(table: &[u8]) -> Vec<Mounted> {
    table
        .split(|byte| *byte == b'\n')
        .filter_map(parse_line)
        .collect()
}

/// `36 35 98:0 /root /mount/point options optional… - type source superoptions`
fn parse_line(line: &[u8]) -> Option<Mounted> {
    let fields: Vec<_> = line.split(|byte| *byte == b' ').collect();
    let separator = fields.iter().skip(6).position(|field| *field == b"-")? + 6;
    let options = String::from_utf8_lossy(fields.get(separator + 3)?);
    Some(Mounted {
        mountpoint: OsString::from_vec(unescaped(fields.get(4)?)).into(),
        file_system: String::from_utf8_lossy(fields.get(separator + 1)?).into_owned(),
        user: options
            .split(',')
            .find_map(|option| option.strip_prefix("user_id="))
            .and_then(|user| user.parse().ok()),
    })
}

/// The kernel writes space, tab, line break and backslash as `\ooo`.
fn unescaped(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut at = 0;
    while at < field.len() {
        let code = (field[at] == b'\\')
            .then(|| field.get(at + 1..at + 4))
            .flatten()
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        bytes.push(code.unwrap_or(field[at]));
        at += if code.is_some() { 4 } else { 1 };
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_paths_and_optional_fields_are_understood() {
        let table = b"22 1 8:1 / / rw,relatime shared:1 master:2 - ext4 /dev/root rw\n\
            40 22 0:50 / /mnt/with\\040space\\134n ro,nosuid - fuse.interactionfs src ro,user_id=1000,group_id=1\n\
            broken line\n";
        let mounts = parse(table);
        assert_eq!(mounts.len(), 2);
        assert_eq!(mounts[0].file_system, "ext4");
        assert_eq!(mounts[1].mountpoint, Path::new("/mnt/with space\\n"));
        assert_eq!(mounts[1].user, Some(1000));
        assert!(mounts[1].is_ours() && !mounts[0].is_ours());
    }

    #[test]
    fn the_root_is_mounted() {
        assert!(on(Path::new("/")).is_some());
    }
}
