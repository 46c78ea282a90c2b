//! Which file names an interaction's items have (design, section 2).
//!
//! Pure and total: whatever types and keys come from outside, every item gets one name, every name is a
//! safe path component of at most 255 bytes, and no two items share one.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;

use xxhash_rust::xxh3::xxh3_64;

use super::{ContentKey, Item};

/// The longest name that Linux takes, in bytes (`NAME_MAX`).
const NAME_LIMIT: usize = 255;

/// The file that every interaction's directory has beside its items.
pub(super) const METADATA_NAME: &str = "interaction.json";

/// Names that derived files may take: an item never does, so that they don't move when options change.
const RESERVED: [&str; 4] = [
    METADATA_NAME,
    "transcript.txt",
    "callRecording.srt",
    "callRecording.vtt",
];

/// The listed name of each of an interaction's items, and what other names lead to one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NameTable {
    /// Names by place in the interaction's `items`.
    names: Vec<Box<str>>,
    keys: Vec<ContentKey>,
    by_name: HashMap<Box<str>, usize>,
    aliases: HashMap<Box<str>, usize>,
}

impl NameTable {
    /// Names `items`. Those that `previous` named keep their names.
    pub fn assign(items: &[Item], previous: Option<&Self>) -> Self {
        let mut names: Vec<Option<Box<str>>> = vec![None; items.len()];
        let mut by_name: HashMap<Box<str>, usize> = HashMap::with_capacity(items.len());
        if let Some(previous) = previous {
            let known: HashMap<_, _> = previous.entries().collect();
            for (place, item) in items.iter().enumerate() {
                if let Some(name) = known.get(&item.key) {
                    by_name.insert((*name).into(), place);
                    names[place] = Some((*name).into());
                }
            }
        }
        for place in in_naming_order(items) {
            if names[place].is_some() {
                continue;
            }
            let name = free_name(&items[place], |name| {
                !by_name.contains_key(name) && !RESERVED.contains(&name)
            });
            by_name.insert(name.clone(), place);
            names[place] = Some(name);
        }
        let names: Vec<Box<str>> = names.into_iter().flatten().collect();
        let mut aliases = HashMap::new();
        for (place, item) in items.iter().enumerate() {
            let key = escape(item.key.as_str());
            if let Some(extension) = extension(item) {
                aliases
                    .entry(with_extension(&key, Some(extension)).into())
                    .or_insert(place);
            }
            aliases.entry(key.into()).or_insert(place);
        }
        let keys = items.iter().map(|item| item.key.clone()).collect();
        Self {
            names,
            keys,
            by_name,
            aliases,
        }
    }

    /// Names `items`, of which it isn't known whether they were named before: only if no two of them compete for a name, so
    /// that it makes no difference which of them came first.
    pub fn without_rivals(items: &[Item]) -> Option<Self> {
        let alone: HashSet<_> = items
            .iter()
            .map(|item| free_name(item, |name| !RESERVED.contains(&name)))
            .collect();
        (alone.len() == items.len()).then(|| Self::assign(items, None))
    }

    /// A table made of what [`Self::entries`] gave, to be `previous` in [`Self::assign`].
    pub fn from_entries(entries: impl IntoIterator<Item = (ContentKey, Box<str>)>) -> Self {
        let (keys, names): (Vec<_>, Vec<_>) = entries.into_iter().unzip();
        Self {
            names,
            keys,
            ..Self::default()
        }
    }

    /// Each item's key and name.
    pub fn entries(&self) -> impl Iterator<Item = (&ContentKey, &str)> {
        self.keys.iter().zip(self.names.iter().map(|name| &**name))
    }

    /// The name of the item at `place` in the interaction's `items`.
    pub fn name(&self, place: usize) -> Option<&str> {
        self.names.get(place).map(|name| &**name)
    }

    /// The place of the item that `name` leads to: its listed name, or `<contentKey>` or
    /// `<contentKey>.<ext>`, which are not listed.
    pub fn resolve(&self, name: &str) -> Option<usize> {
        self.by_name
            .get(name)
            .or_else(|| self.aliases.get(name))
            .copied()
    }
}

/// The order in which items ask for names: the first of a type gets the plain one.
fn in_naming_order(items: &[Item]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..items.len()).collect();
    order.sort_by_key(|place| {
        let item = &items[*place];
        (
            item.key.as_str() != item.item_type.as_str(),
            item.version.last_modified.is_none(),
            item.version.last_modified,
            item.key.clone(),
        )
    });
    order
}

fn free_name(item: &Item, is_free: impl Fn(&str) -> bool) -> Box<str> {
    let extension = extension(item);
    let plain = with_extension(&escape(item.item_type.as_str()), extension);
    if is_free(&plain) {
        return plain.into();
    }
    let long = format!("{}-{}", item.item_type.as_str(), item.key.as_str());
    let stem = escape(&long);
    let name = with_extension(&stem, extension);
    if is_free(&name) {
        return name.into();
    }
    // Type and key can be made so that two pairs read alike; the hash of the key tells them apart.
    let mut salt = 0_u64;
    loop {
        let hash = xxh3_64(item.key.as_str().as_bytes()).wrapping_add(salt);
        let name = with_extension(&escape(&format!("{long}-{hash:016x}")), extension);
        if is_free(&name) {
            return name.into();
        }
        salt += 1;
    }
}

/// Appends an extension, within the limit of a name.
fn with_extension(stem: &str, extension: Option<&str>) -> String {
    let Some(extension) = extension else {
        return stem.to_owned();
    };
    let room = NAME_LIMIT - extension.len() - 1;
    format!("{}.{extension}", cut(stem, room))
}

/// The extension of an item's names: its media type's, else its type's usual one, else none.
fn extension(item: &Item) -> Option<&'static str> {
    let of_media_type = match &*item.media_type {
        "audio/wav" | "audio/x-wav" | "audio/wave" | "audio/vnd.wave" => Some("wav"),
        "application/json" | "text/json" => Some("json"),
        "video/webm" | "audio/webm" => Some("webm"),
        // Says nothing about the content, so the type's own extension says more.
        "" | "application/octet-stream" => None,
        other => mime2ext::mime2ext(other),
    };
    of_media_type.or(match item.item_type.as_str() {
        "callRecording" | "voicemail" | "ivrAudioRecording" => Some("wav"),
        "screenRecording" | "videoRecording" => Some("webm"),
        "transcript"
        | "categorizationResult"
        | "sentimentSummary"
        | "chatTranscript"
        | "conversationSummary"
        | "interactionLog" => Some("json"),
        _ => None,
    })
}

/// Makes a path component of any text: bytes outside `A-Za-z0-9._-` become `%XX`, a leading `.` or `-`
/// too; what is longer than 255 bytes is cut and ends in a hash of the whole. Empty text becomes `_`.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for (at, byte) in text.bytes().enumerate() {
        let safe =
            byte.is_ascii_alphanumeric() || byte == b'_' || (at > 0 && matches!(byte, b'.' | b'-'));
        if safe {
            escaped.push(char::from(byte));
        } else {
            // Writing to a string can't fail.
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    if escaped.is_empty() {
        escaped.push('_');
    }
    cut(&escaped, NAME_LIMIT)
}

fn cut(name: &str, limit: usize) -> String {
    if name.len() <= limit {
        return name.to_owned();
    }
    let hash = format!("-{:016x}", xxh3_64(name.as_bytes()));
    // The name is ASCII by now, so every index is a character boundary.
    format!("{}{hash}", &name[..limit - hash.len()])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::{ContentVersion, ItemType};

    fn item(item_type: &str, key: &str, media_type: &str, modified: Option<i64>) -> Item {
        Item {
            key: ContentKey::new(key),
            item_type: ItemType::new(item_type),
            media_type: media_type.into(),
            version: ContentVersion {
                last_modified: modified.map(|s| jiff::Timestamp::from_second(s).unwrap()),
                length: Some(1),
            },
            file_name: None,
        }
    }

    fn names(items: &[Item]) -> Vec<String> {
        let table = NameTable::assign(items, None);
        (0..items.len())
            .map(|place| table.name(place).unwrap().to_owned())
            .collect()
    }

    #[test]
    fn the_first_of_a_type_has_the_plain_name() {
        let items = [
            item("voicemail", "b", "audio/wav", Some(5)),
            item("voicemail", "a", "audio/wav", Some(5)),
            item("voicemail", "c", "audio/wav", Some(9)),
            item("transcript", "x", "application/json", Some(1)),
            item("transcript", "transcript", "", Some(2)),
        ];
        assert_eq!(
            names(&items),
            [
                "voicemail-b.wav",
                "voicemail.wav",
                "voicemail-c.wav",
                "transcript-x.json",
                "transcript.json"
            ]
        );
    }

    #[test]
    fn a_name_once_given_is_kept() {
        let first = [item("transcript", "x", "application/json", Some(1))];
        let before = NameTable::assign(&first, None);
        let later = [
            item("transcript", "transcript", "application/json", Some(2)),
            first[0].clone(),
        ];
        let after = NameTable::assign(&later, Some(&before));
        assert_eq!(after.name(1), Some("transcript.json"));
        assert_eq!(after.name(0), Some("transcript-transcript.json"));
    }

    #[test]
    fn what_competes_for_a_name_is_named_only_by_who_knows_what_was_before() {
        let alone = [
            item("voicemail", "b", "audio/wav", Some(5)),
            item("voicemail", "c", "application/json", Some(5)),
            item("transcript", "x", "text/plain", Some(5)),
        ];
        let named = NameTable::without_rivals(&alone);
        assert_eq!(named, Some(NameTable::assign(&alone, None)));
        for rival in [
            item("voicemail", "a", "audio/wav", Some(9)),
            // Another one's plain name is this one's long one: its plain one is reserved.
            item("transcript-x", "y", "text/plain", Some(9)),
        ] {
            let mut items = alone.to_vec();
            items.push(rival);
            assert_eq!(NameTable::without_rivals(&items), None);
        }
    }

    #[test]
    fn keys_are_reachable_without_being_listed() {
        let items = [item("voicemail", "a'b(c)*", "audio/wav", None)];
        let table = NameTable::assign(&items, None);
        assert_eq!(table.resolve("a%27b%28c%29%2A"), Some(0));
        assert_eq!(table.resolve("a%27b%28c%29%2A.wav"), Some(0));
        assert_eq!(table.resolve("voicemail.wav"), Some(0));
        assert_eq!(table.resolve("a'b(c)*"), None);
    }

    #[test]
    fn hostile_text_becomes_one_safe_component() {
        assert_eq!(escape(".."), "%2E.");
        assert_eq!(escape("-rf"), "%2Drf");
        assert_eq!(escape("a/b\0\u{1b}é"), "a%2Fb%00%1B%C3%A9");
        assert_eq!(escape(""), "_");
        let long = escape(&"x".repeat(300));
        assert_eq!(long.len(), 255);
        assert_ne!(long, escape(&"x".repeat(301)));
    }

    #[test]
    fn derived_files_keep_their_names() {
        let items = [
            item("interaction", "1", "application/json", None),
            item("callRecording", "2", "application/x-subrip", None),
            item("transcript", "3", "text/plain", None),
        ];
        for name in names(&items) {
            assert!(!RESERVED.contains(&&*name), "{name}");
        }
    }

    proptest! {
        #[test]
        fn names_are_unique_safe_and_stable(
            raw in proptest::collection::vec(("[a.\\-/b%]{0,3}|.{0,300}", "[a.\\-/b]{0,3}|.{0,300}", 0_i64..4), 0..12)
        ) {
            let mut items: Vec<Item> = Vec::new();
            for (item_type, key, modified) in &raw {
                let new = item(item_type, key, "audio/wav", Some(*modified));
                if items.iter().all(|known| known.key != new.key) {
                    items.push(new);
                }
            }
            let table = NameTable::assign(&items, None);
            let mut seen = std::collections::HashSet::new();
            for place in 0..items.len() {
                let name = table.name(place).unwrap();
                prop_assert!(name.len() <= 255 && !name.is_empty());
                prop_assert!(!name.starts_with(['.', '-']) && !name.contains('/'));
                prop_assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-%".contains(&b)));
                prop_assert!(seen.insert(name.to_owned()), "{name} twice");
                prop_assert_eq!(table.resolve(name), Some(place));
            }
            let half = &items[..items.len() / 2];
            let before = NameTable::assign(half, None);
            let after = NameTable::assign(&items, Some(&before));
            for place in 0..half.len() {
                prop_assert_eq!(before.name(place), after.name(place));
            }
        }
    }
}
