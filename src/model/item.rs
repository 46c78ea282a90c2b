//! Content items and their versions.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;

use super::{Guid, Personal};

/// The key that the content endpoint knows an item by, exactly as it was listed.
///
/// Documented as 1 to 36 characters of ``0-9 a-z A-Z ! - _ . , * ' ( )``, but never trusted to be: it
/// becomes a file name only through [`super::escape`]. `Debug` hides it, because old voicemail keys hold
/// an agent's id (API reference, 7.3).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentKey(Arc<str>);

/// What kind of content an item is, e.g. `callRecording`. Types that nobody has heard of are shown like
/// the known ones.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ItemType(Arc<str>);

/// One content item of an interaction, as the metadata describes it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Item {
    /// The key to fetch it by.
    pub key: ContentKey,
    /// Its type.
    pub item_type: ItemType,
    /// Its media type without parameters, in lower case; empty when the metadata has none.
    pub media_type: Box<str>,
    /// Its version, as far as the metadata tells.
    pub version: ContentVersion,
    /// An attachment's own name; never used as a path.
    pub file_name: Option<Personal<Box<str>>>,
}

/// The only version mark that the metadata has: when an item was last modified, and its length in bytes.
///
/// Two items with the same version are the same bytes as far as can be known without asking.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ContentVersion {
    /// When the item was stored or last changed.
    pub last_modified: Option<Timestamp>,
    /// The length in bytes that the metadata gives. It can be absent, and it can prove wrong.
    pub length: Option<u64>,
}

/// One version of one item of one interaction: the name of a sequence of bytes that never changes.
///
/// Inodes, open handles and both cache tiers are keyed by it, so bytes of two versions can't meet.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct ContentId {
    /// The interaction.
    pub guid: Guid,
    /// The item in it.
    pub key: ContentKey,
    /// Which version of the item.
    pub version: ContentVersion,
}

impl ContentKey {
    /// The key as it was listed.
    pub fn new(key: &str) -> Self {
        Self(key.into())
    }

    /// The key's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ContentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[key]")
    }
}

impl ItemType {
    /// The type as it was listed.
    pub fn new(item_type: &str) -> Self {
        Self(item_type.into())
    }

    /// The type's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Audio and video: what a person said or did, in sound or picture.
    ///
    /// Such content is never fetched unless somebody reads it or asks for it by name, because each access
    /// may stand in the customer's audit log (design, section 6).
    pub fn is_recording(&self) -> bool {
        matches!(
            self.as_str(),
            "callRecording"
                | "screenRecording"
                | "videoRecording"
                | "voicemail"
                | "ivrAudioRecording"
        )
    }

    /// Its name if it is a type that the API documents, else `other`: for figures by type, which must stay few and name
    /// nothing that somebody else made up.
    pub fn documented(&self) -> &'static str {
        const DOCUMENTED: [&str; 12] = [
            "callRecording",
            "transcript",
            "categorizationResult",
            "sentimentSummary",
            "voicemail",
            "screenRecording",
            "videoRecording",
            "chatTranscript",
            "attachment",
            "ivrAudioRecording",
            "conversationSummary",
            "interactionLog",
        ];
        DOCUMENTED
            .into_iter()
            .find(|known| *known == self.as_str())
            .unwrap_or("other")
    }

    /// Pictures of a screen or a person: they leave the cache 30 days after they were made, as they leave
    /// the server (API reference, section 14).
    pub fn is_video(&self) -> bool {
        matches!(self.as_str(), "screenRecording" | "videoRecording")
    }
}

impl Item {
    /// The name of this version's bytes.
    pub fn content_id(&self, guid: Guid) -> ContentId {
        ContentId {
            guid,
            key: self.key.clone(),
            version: self.version,
        }
    }

    /// Whether this is audio or video, by type or by media type.
    pub fn is_recording(&self) -> bool {
        self.item_type.is_recording()
            || self.media_type.starts_with("audio/")
            || self.media_type.starts_with("video/")
    }
}

impl ContentId {
    /// A 128-bit fingerprint that stands for this version on disk and in inode numbers.
    ///
    /// Fields are length-prefixed, so no two different ids feed the same bytes to the hash.
    pub fn fingerprint(&self) -> u128 {
        let key = self.key.as_str().as_bytes();
        let mut bytes = Vec::with_capacity(64 + key.len());
        bytes.extend_from_slice(self.guid.as_bytes());
        bytes.extend_from_slice(&(key.len() as u64).to_le_bytes());
        bytes.extend_from_slice(key);
        match self.version.last_modified {
            Some(time) => {
                bytes.push(1);
                bytes.extend_from_slice(&time.as_nanosecond().to_le_bytes());
            }
            None => bytes.push(0),
        }
        match self.version.length {
            Some(length) => {
                bytes.push(1);
                bytes.extend_from_slice(&length.to_le_bytes());
            }
            None => bytes.push(0),
        }
        xxhash_rust::xxh3::xxh3_128(&bytes)
    }
}
