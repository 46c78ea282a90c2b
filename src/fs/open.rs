//! Open files: `open`, `read`, `release`.

use std::fs::File;
use std::sync::Arc;

use bytes::Bytes;
use tokio::time::Instant;
use xxhash_rust::xxh3::xxh3_64;

use crate::model::ContentId;
use crate::tree::{Node, metadata};

use super::handle::OpenFile;
use super::inode::Inode;
use super::lookup::traits;
use super::{FileSystem, FsError, within};

/// An open file.
#[derive(Clone, Debug)]
pub struct Opened {
    /// Its number.
    pub handle: u64,
    /// Whether the content may differ at the next open, so that nothing of it may be kept.
    pub volatile: bool,
    /// Whether what the kernel keeps of it is of other bytes.
    pub replaced: bool,
    /// The whole version as one file on disk, if there is one.
    pub complete: Option<Arc<File>>,
}

impl FileSystem {
    /// Opens a file for reading. The handle is pinned to the version that the inode stands for.
    ///
    /// # Errors
    /// [`FsError::ReadOnly`] for writing; [`FsError::Denied`] when what is not held would be refused; [`FsError::Stale`] when a newer version is known, which makes the
    /// kernel look the name up again.
    pub async fn open(&self, number: u64, write: bool) -> Result<Opened, FsError> {
        if write {
            return Err(FsError::ReadOnly);
        }
        let inode = self.inodes.get(number).ok_or(FsError::Stale)?;
        let deadline = self.metadata_deadline();
        within(deadline, self.open_inode(&inode, number, deadline)).await
    }

    async fn open_inode(
        &self,
        inode: &Inode,
        number: u64,
        deadline: Instant,
    ) -> Result<Opened, FsError> {
        self.walked(inode);
        match &inode.node {
            Node::Item(id) => {
                self.check_current(id)?;
                if self.size(inode, number).is_none() {
                    let size = self.learn_size(inode, deadline).await?;
                    self.inodes.set_size(number, size);
                }
                let object = self.contents.object(id, traits(inode));
                // Here rather than at the first read, where few programs tell why.
                Arc::clone(&object).admission(deadline).await?;
                let complete = Arc::clone(&object).complete_file();
                let file = OpenFile::Content(object.reader());
                // Last: an open that fails drops nothing of the kernel's.
                let replaced = self.announcer.take_replaced(number);
                Ok(Opened {
                    handle: self.files.insert(file),
                    volatile: false,
                    replaced,
                    complete,
                })
            }
            Node::Metadata(guid, version) => {
                let known = self.known(*guid, deadline).await?.ok_or(FsError::Stale)?;
                let text = metadata::pretty(known.interaction.json.reveal());
                if xxh3_64(text.as_bytes()) != *version {
                    return Err(FsError::Stale);
                }
                Ok(self.opened_whole(text.into(), false))
            }
            Node::Text(id, form) => {
                self.check_current(id)?;
                let replaced = self.announcer.take_replaced(number);
                if replaced {
                    self.texts.forget(id);
                }
                let text = self.text(id, *form, inode, deadline).await?;
                self.inodes.set_size(number, text.len() as u64);
                Ok(Opened {
                    replaced,
                    ..self.opened_whole(text, false)
                })
            }
            Node::Special(file) => Ok(self.opened_whole(self.special.read(*file), true)),
            node if node.is_directory() => Err(FsError::IsADirectory),
            _ => Err(FsError::Invalid),
        }
    }

    fn opened_whole(&self, bytes: Bytes, volatile: bool) -> Opened {
        Opened {
            handle: self.files.insert(OpenFile::Whole(bytes)),
            volatile,
            replaced: false,
            complete: None,
        }
    }

    /// Refuses a version that memory knows to be replaced or gone: the kernel may not have been told yet.
    fn check_current(&self, id: &ContentId) -> Result<(), FsError> {
        let Some(known) = self.interactions.remembered(id.guid) else {
            return Ok(());
        };
        let current = known
            .interaction
            .items
            .iter()
            .find(|item| item.key == id.key)
            .is_some_and(|item| item.version == id.version && self.shown.admits(id.guid, item));
        current.then_some(()).ok_or(FsError::Stale)
    }

    /// What is at `offset` of an open file, up to `length` bytes, if it can be had without blocking.
    ///
    /// # Errors
    /// [`FsError::BadHandle`].
    pub fn read_now(
        &self,
        handle: u64,
        offset: u64,
        length: u32,
    ) -> Result<Option<Bytes>, FsError> {
        let file = self.files.get(handle).ok_or(FsError::BadHandle)?;
        Ok(match &*file {
            OpenFile::Content(reader) => reader.read_now(offset, length),
            OpenFile::Whole(bytes) => Some(slice(bytes, offset, length)),
        })
    }

    /// What is at `offset` of an open file, up to `length` bytes, shorter only at its end.
    ///
    /// # Errors
    /// [`FsError::Stale`] when the version is gone; others when the bytes can't be had by the deadline.
    pub async fn read(&self, handle: u64, offset: u64, length: u32) -> Result<Bytes, FsError> {
        let file = self.files.get(handle).ok_or(FsError::BadHandle)?;
        match &*file {
            OpenFile::Content(reader) => {
                let deadline = Instant::now() + self.options.deadline;
                within(deadline, async {
                    Ok(reader.read(offset, length, deadline).await?)
                })
                .await
            }
            OpenFile::Whole(bytes) => Ok(slice(bytes, offset, length)),
        }
    }

    /// Closes a file.
    pub fn close(&self, handle: u64) {
        self.files.remove(handle);
    }
}

fn slice(bytes: &Bytes, offset: u64, length: u32) -> Bytes {
    let start = usize::try_from(offset).map_or(bytes.len(), |start| start.min(bytes.len()));
    let end = start.saturating_add(length as usize).min(bytes.len());
    bytes.slice(start..end)
}
