//! The files of the cache directory: opened, checked and removed here, nowhere else.
//!
//! Two files for each version, named by its fingerprint: no GUID and no key is in any name. Everything is
//! 0600 in directories 0700; what is not ours, not a plain file, or a symbolic link is refused.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::map::{self, Header};
use crate::content::block;

/// The largest file that is kept on disk: bounds the map that is read at once.
pub(crate) const LARGEST: u64 = 256 << 30;

/// The two files of a version.
#[derive(Debug)]
pub(crate) struct Files {
    pub(crate) data: File,
    pub(crate) map: File,
}

/// What a map holds.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) files: Files,
    pub(crate) header: Header,
    /// A checksum for each block; 0 if it isn't there.
    pub(crate) checksums: Vec<u64>,
}

/// Where a version's data is, under the cache directory.
pub(crate) fn data_path(directory: &Path, fingerprint: u128) -> PathBuf {
    path(directory, fingerprint, "data")
}

/// Where a version's map is, under the cache directory.
pub(crate) fn map_path(directory: &Path, fingerprint: u128) -> PathBuf {
    path(directory, fingerprint, "map")
}

fn path(directory: &Path, fingerprint: u128, extension: &str) -> PathBuf {
    let name = format!("{fingerprint:032x}.{extension}");
    directory.join("blocks").join(&name[..2]).join(name)
}

/// Makes a directory of this user's own, 0700, or checks that it is one.
///
/// # Errors
/// When it can't be made, is a link or no directory, or belongs to somebody else.
pub fn own_directory(path: &Path) -> io::Result<()> {
    match DirBuilder::new().recursive(true).mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let found = std::fs::symlink_metadata(path)?;
    if !found.is_dir() || found.uid() != rustix::process::geteuid().as_raw() {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "not a directory of this user",
        ));
    }
    if found.mode() & 0o077 != 0 {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700))?;
    }
    Ok(())
}

/// Opens a plain file of our own for reading and writing.
pub(crate) fn own_file(path: &Path, create: bool) -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(create)
        .truncate(false)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC | libc::O_NONBLOCK)
        .open(path)?;
    let found = file.metadata()?;
    if !found.is_file() || found.uid() != rustix::process::geteuid().as_raw() {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "not a plain file of this user",
        ));
    }
    Ok(file)
}

/// Opens a version that is there; `None` if there is none, or its map is not a sound one of this version.
pub(crate) fn load(directory: &Path, fingerprint: u128) -> Option<Loaded> {
    let map = own_file(&map_path(directory, fingerprint), false).ok()?;
    let data = own_file(&data_path(directory, fingerprint), false).ok()?;
    let files = Files { data, map };
    let (header, checksums) = read_map(&files.map)?;
    (header.fingerprint == fingerprint).then_some(Loaded {
        files,
        header,
        checksums,
    })
}

/// Reads a map as a whole; `None` if its header is not sound.
fn read_map(map: &File) -> Option<(Header, Vec<u64>)> {
    let mut head = vec![0; map::HEADER as usize];
    map.read_exact_at(&mut head, 0).ok()?;
    let header = Header::decode(&head)?;
    if header.size > LARGEST {
        return None;
    }
    let count = block::count_of(header.size);
    let there = map.metadata().ok()?.len().saturating_sub(map::HEADER) / 8;
    let mut bytes = vec![0; 8 * count.min(there) as usize];
    map.read_exact_at(&mut bytes, map::HEADER).ok()?;
    let mut checksums: Vec<u64> = bytes
        .chunks_exact(8)
        .filter_map(|entry| entry.try_into().ok().map(u64::from_le_bytes))
        .collect();
    checksums.resize(count as usize, 0);
    Some((header, checksums))
}

/// Opens a version's files to write to them, making them if they are missing, of no use, or of other bytes than those that
/// are to be written.
pub(crate) fn create(directory: &Path, header: &Header) -> io::Result<Loaded> {
    if let Some(loaded) = load(directory, header.fingerprint) {
        if loaded.header.size == header.size
            && loaded.header.is_sealed == header.is_sealed
            && !loaded.header.validator.contradicts(&header.validator)
        {
            return Ok(loaded);
        }
        remove(directory, header.fingerprint);
    }
    let map_path = map_path(directory, header.fingerprint);
    if let Some(parent) = map_path.parent() {
        own_directory(parent)?;
    }
    let mut map = own_file(&map_path, true)?;
    if map.metadata()?.len() > 0 && read_map(&map).is_none() {
        remove(directory, header.fingerprint);
        map = own_file(&map_path, true)?;
    }
    let data = own_file(&data_path(directory, header.fingerprint), true)?;
    data.set_len(map::stored_length(header.size, header.is_sealed))?;
    // Another process may be doing the same: it writes the same bytes.
    map.write_all_at(&header.encode(), 0)?;
    Ok(Loaded {
        files: Files { data, map },
        header: header.clone(),
        checksums: vec![0; block::count_of(header.size) as usize],
    })
}

/// Removes a version's files. Whoever has them open goes on reading them.
pub(crate) fn remove(directory: &Path, fingerprint: u128) {
    // The map first: data without a map is nothing.
    for path in [
        map_path(directory, fingerprint),
        data_path(directory, fingerprint),
    ] {
        if let Err(error) = std::fs::remove_file(path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::debug!(kind = ?error.kind(), "a cache file can't be removed");
        }
    }
}

/// How long ago a version's map was written last; `None` if that can't be told.
pub(crate) fn age(directory: &Path, fingerprint: u128) -> Option<std::time::Duration> {
    let map = std::fs::symlink_metadata(map_path(directory, fingerprint)).ok()?;
    map.modified().ok()?.elapsed().ok()
}

/// The fingerprints of all versions that have a map.
pub(crate) fn all(directory: &Path) -> io::Result<Vec<u128>> {
    let mut found = Vec::new();
    let shelves = match std::fs::read_dir(directory.join("blocks")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
        other => other?,
    };
    for shelf in shelves {
        let shelf = shelf?;
        if !shelf.file_type()?.is_dir() {
            continue;
        }
        for file in std::fs::read_dir(shelf.path())? {
            let name = file?.file_name();
            let fingerprint = name
                .to_str()
                .and_then(|name| name.split_once('.'))
                .filter(|(stem, _)| stem.len() == 32)
                .and_then(|(stem, _)| u128::from_str_radix(stem, 16).ok());
            found.extend(fingerprint);
        }
    }
    found.sort_unstable();
    found.dedup();
    Ok(found)
}
