//! Where a demo lives: a directory of its own that goes away with it.

use std::fs::DirBuilder;
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::failure::Failure;

/// A private directory with the cache and, unless the user named one, the mountpoint. Dropping it removes
/// what it made.
pub(super) struct Place {
    directory: PathBuf,
    mountpoint: PathBuf,
}

impl Place {
    pub(super) fn make(mountpoint: Option<&Path>) -> Result<Self, Failure> {
        let parent = std::env::var_os("XDG_RUNTIME_DIR")
            .map(PathBuf::from)
            .filter(|directory| directory.is_absolute() && directory.is_dir())
            .unwrap_or_else(std::env::temp_dir);
        let cannot = |error: std::io::Error| {
            Failure::found(format!(
                "no directory can be made in {} ({error}): is the disk full?",
                parent.display()
            ))
        };
        let directory = fresh_directory(&parent).map_err(cannot)?;
        let place = Self {
            mountpoint: mountpoint.map_or_else(|| directory.join("interactions"), Path::to_owned),
            directory,
        };
        if mountpoint.is_none() {
            std::fs::create_dir(&place.mountpoint).map_err(cannot)?;
        }
        Ok(place)
    }

    pub(super) fn mountpoint(&self) -> &Path {
        &self.mountpoint
    }

    pub(super) fn cache(&self) -> PathBuf {
        self.directory.join("cache")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // The mountpoint by itself first, which fails on anything but an empty directory: never may a
        // recursive removal walk into a mount. What can't be removed is left, in a temporary directory.
        let _ = std::fs::remove_dir_all(self.cache());
        let _ = std::fs::remove_dir(self.directory.join("interactions"));
        let _ = std::fs::remove_dir(&self.directory);
    }
}

fn fresh_directory(parent: &Path) -> std::io::Result<PathBuf> {
    let mut last = std::io::Error::from(ErrorKind::AlreadyExists);
    for attempt in 0..100 {
        let name = format!("interactionfs-demo-{}-{attempt}", std::process::id());
        let directory = parent.join(name);
        match DirBuilder::new().mode(0o700).create(&directory) {
            Ok(()) => return Ok(directory),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => last = error,
            Err(error) => return Err(error),
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_behind_and_nothing_of_the_users_is_removed() {
        let own = tempfile::tempdir().unwrap();
        let place = Place::make(Some(own.path())).unwrap();
        std::fs::create_dir_all(place.cache().join("deep")).unwrap();
        let directory = place.directory.clone();
        drop(place);
        assert!(!directory.exists() && own.path().exists());

        let place = Place::make(None).unwrap();
        let directory = place.directory.clone();
        assert!(place.mountpoint().is_dir());
        drop(place);
        assert!(!directory.exists());
    }
}
