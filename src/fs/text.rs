//! Transcripts as plain text: rendered once, kept while there is room.
//!
//! The bytes come from the read engine like anybody's. What is kept here is bounded by bytes; the sizes
//! outlive the texts, because `stat` asks for them far more often than anybody reads.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use jiff::Timestamp;
use lru::LruCache;
use tokio::time::Instant;

use crate::model::ContentId;
use crate::tree::TextForm;

use super::inode::Inode;
use super::lookup::traits;
use super::{FileSystem, FsError, reader_terms};

/// Makes text of a transcript's bytes, in a form, given the interaction's start. Pure, and never fails: a shape
/// that nobody knows still gives its text.
pub type Render = Arc<dyn Fn(TextForm, &[u8], Timestamp) -> String + Send + Sync>;

/// The longest transcript that is rendered, in bytes.
const TRANSCRIPT_LIMIT: u64 = 32 * 1024 * 1024;

/// Bytes of text kept.
const TEXT_BYTES: usize = 16 * 1024 * 1024;

/// How many sizes are kept.
const SIZES: NonZeroUsize = NonZeroUsize::new(100_000).unwrap();

/// How much is read at once, in bytes.
const STEP: u64 = 1024 * 1024;

pub(super) struct TextCache {
    render: Render,
    held: Mutex<Held>,
}

struct Held {
    texts: LruCache<(u128, TextForm), Bytes>,
    bytes: usize,
    sizes: LruCache<(u128, TextForm), u64>,
}

impl TextCache {
    pub(super) fn new(render: Render) -> Self {
        Self {
            render,
            held: Mutex::new(Held {
                texts: LruCache::unbounded(),
                bytes: 0,
                sizes: LruCache::new(SIZES),
            }),
        }
    }

    /// The length of a version's text in bytes, if it was rendered.
    pub(super) fn size(&self, id: &ContentId, form: TextForm) -> Option<u64> {
        self.lock().sizes.get(&(id.fingerprint(), form)).copied()
    }

    /// Forgets what was made of a version whose bytes were replaced.
    pub(super) fn forget(&self, id: &ContentId) {
        let mut held = self.lock();
        for form in TextForm::ALL {
            let name = (id.fingerprint(), form);
            held.sizes.pop(&name);
            if let Some(text) = held.texts.pop(&name) {
                held.bytes -= text.len();
            }
        }
    }

    fn get(&self, id: &ContentId, form: TextForm) -> Option<Bytes> {
        self.lock().texts.get(&(id.fingerprint(), form)).cloned()
    }

    fn insert(&self, id: &ContentId, form: TextForm, text: &Bytes) {
        let mut held = self.lock();
        let name = (id.fingerprint(), form);
        held.sizes.put(name, text.len() as u64);
        held.bytes += text.len();
        if let Some(old) = held.texts.put(name, text.clone()) {
            held.bytes -= old.len();
        }
        while held.bytes > TEXT_BYTES {
            let Some((_, oldest)) = held.texts.pop_lru() else {
                break;
            };
            held.bytes -= oldest.len();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FileSystem {
    /// A transcript as text.
    pub(super) async fn text(
        &self,
        id: &ContentId,
        form: TextForm,
        inode: &Inode,
        deadline: Instant,
    ) -> Result<Bytes, FsError> {
        if let Some(text) = self.texts.get(id, form) {
            return Ok(text);
        }
        let object = self.contents.object(id, traits(inode));
        let size = match object.size() {
            Some(size) if size > 0 => size,
            _ => {
                Arc::clone(&object)
                    .learn_size(reader_terms(deadline))
                    .await?
            }
        };
        if size > TRANSCRIPT_LIMIT {
            return Err(FsError::TooLarge);
        }
        let reader = object.reader();
        let mut raw = BytesMut::new();
        loop {
            // To the end that the reads meet, not to the listed one: that can prove wrong.
            let step = reader.read(raw.len() as u64, STEP as u32, deadline).await?;
            if raw.len() as u64 + step.len() as u64 > TRANSCRIPT_LIMIT {
                return Err(FsError::TooLarge);
            }
            raw.extend_from_slice(&step);
            if (step.len() as u64) < STEP {
                break;
            }
        }
        let render = Arc::clone(&self.texts.render);
        let start = inode.time;
        let text = tokio::task::spawn_blocking(move || Bytes::from(render(form, &raw, start)))
            .await
            .map_err(|_| FsError::Failed)?;
        self.texts.insert(id, form, &text);
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ContentKey, ContentVersion, Guid};

    fn id(key: &str) -> ContentId {
        ContentId {
            guid: Guid::from_bytes([1; 16]),
            key: ContentKey::new(key),
            version: ContentVersion {
                last_modified: None,
                length: None,
            },
        }
    }

    #[test]
    fn texts_are_bounded_by_bytes_and_their_sizes_outlive_them() {
        let cache = TextCache::new(Arc::new(|_, _, _| String::new()));
        let text = Bytes::from(vec![b'x'; TEXT_BYTES / 2]);
        for key in ["a", "b", "c"] {
            cache.insert(&id(key), TextForm::Plain, &text);
            cache.insert(&id(key), TextForm::Plain, &text);
        }
        assert!(cache.get(&id("a"), TextForm::Plain).is_none());
        assert!(
            cache.get(&id("b"), TextForm::Plain).is_some()
                && cache.get(&id("c"), TextForm::Plain).is_some()
        );
        assert_eq!(
            cache.size(&id("a"), TextForm::Plain),
            Some(text.len() as u64)
        );
    }
}
