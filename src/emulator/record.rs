//! Interactions and their items as the emulator keeps them, and their JSON.
//!
//! Nothing is shared with the client's model: a mistake in one must not hide in the other.

use bytes::Bytes;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use super::bytes::{Source, wav_header};
use super::switches::{DeclaredLength, Properties, Switches};
use super::transcript::Transcript;

/// One interaction.
#[derive(Clone, Debug)]
pub struct Interaction {
    /// Its id.
    pub guid: Uuid,
    /// When it started.
    pub start: Timestamp,
    /// The initiating party's address; `None` is `null` on the wire.
    pub connect_from: Option<String>,
    /// The contacted party's address.
    pub connect_to: Option<String>,
    /// `inbound` or `outbound`, or what a test wants.
    pub direction: String,
    /// Ids of the agents involved.
    pub handling_agents: Vec<String>,
    /// Its content items. Without any, the API does not show the interaction.
    pub content: Vec<Item>,
}

/// One content item.
#[derive(Clone, Debug)]
pub struct Item {
    /// The key it is fetched by.
    pub key: String,
    /// Its type.
    pub item_type: String,
    /// Its media type.
    pub media_type: String,
    /// When it was stored or last changed.
    pub last_modified: Timestamp,
    /// The `properties` object.
    pub properties: Value,
    /// The agent whose voicemail this is.
    pub owning_agent: Option<String>,
    /// The interaction plan that recorded it.
    pub owning_interaction_plan: Option<String>,
    /// What the metadata says of the length; the account's switch applies where this is the truth.
    pub declared_length: DeclaredLength,
    /// Listed, but 403 when it is fetched.
    pub forbidden: bool,
    /// The bytes.
    pub body: Body,
}

/// Where an item's bytes come from.
#[derive(Clone, Debug)]
pub enum Body {
    /// Bytes at hand.
    Source(Source),
    /// A transcript, written when it is asked for; its length is known before.
    Transcript(Transcript),
}

impl Body {
    /// Length in bytes.
    pub fn length(&self) -> u64 {
        match self {
            Self::Source(source) => source.length(),
            Self::Transcript(transcript) => transcript.length as u64,
        }
    }

    /// The bytes.
    pub fn open(&self) -> Source {
        match self {
            Self::Source(source) => source.clone(),
            Self::Transcript(transcript) => Source::Stored(transcript.write()),
        }
    }
}

impl Interaction {
    /// An inbound call from an invented number, without agents and without content yet.
    pub fn new(guid: Uuid, start: Timestamp) -> Self {
        Self {
            guid,
            start,
            connect_from: Some("+442079460000".to_owned()),
            connect_to: Some("+442079460999".to_owned()),
            direction: "inbound".to_owned(),
            handling_agents: Vec::new(),
            content: Vec::new(),
        }
    }

    /// The interaction with one more item.
    #[must_use]
    pub fn with(mut self, item: Item) -> Self {
        self.content.push(item);
        self
    }

    /// The item with this key.
    pub fn item(&self, key: &str) -> Option<&Item> {
        self.content.iter().find(|item| item.key == key)
    }
}

impl Item {
    /// An item of stored bytes.
    pub fn new(
        key: &str,
        item_type: &str,
        media_type: &str,
        last_modified: Timestamp,
        bytes: impl Into<Bytes>,
    ) -> Self {
        Self::from_body(
            key,
            item_type,
            media_type,
            last_modified,
            Body::Source(Source::Stored(bytes.into())),
        )
    }

    /// A call recording of `length` computed bytes behind a true WAV header.
    pub fn recording(last_modified: Timestamp, length: u64, seed: u64) -> Self {
        Self::from_body(
            "callRecording",
            "callRecording",
            "audio/wav",
            last_modified,
            Body::Source(Source::Computed {
                head: wav_header(length),
                seed,
                length,
            }),
        )
    }

    /// An item with any body.
    pub fn from_body(
        key: &str,
        item_type: &str,
        media_type: &str,
        last_modified: Timestamp,
        body: Body,
    ) -> Self {
        Self {
            key: key.to_owned(),
            item_type: item_type.to_owned(),
            media_type: media_type.to_owned(),
            last_modified,
            properties: Value::Object(serde_json::Map::new()),
            owning_agent: None,
            owning_interaction_plan: None,
            declared_length: DeclaredLength::True,
            forbidden: false,
            body,
        }
    }
}

fn as_text<S: serde::Serializer>(
    value: &impl std::fmt::Display,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WireInteraction<'a> {
    #[serde(serialize_with = "as_text")]
    guid: Uuid,
    #[serde(serialize_with = "as_text")]
    start: Timestamp,
    connect_from: Option<&'a str>,
    connect_to: Option<&'a str>,
    direction: &'a str,
    handling_agents: Vec<WireId<'a>>,
    content: Vec<WireItem<'a>>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Id<'a> {
    Text(&'a str),
    Number(u64),
}

#[derive(Serialize)]
struct WireId<'a> {
    id: Id<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WireItem<'a> {
    content_key: &'a str,
    #[serde(rename = "type")]
    item_type: &'a str,
    content_type: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_length: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    owning_agent: Option<WireId<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    owning_interaction_plan: Option<WireId<'a>>,
    #[serde(serialize_with = "as_text")]
    last_modified: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    properties: Option<std::borrow::Cow<'a, Value>>,
}

impl Interaction {
    /// Appends the interaction's JSON, as the switches shape it.
    pub(super) fn write_json(&self, switches: &Switches, into: &mut Vec<u8>) {
        let id = |text: &'_ str| -> Option<u64> {
            switches.numeric_ids.then(|| text.parse().ok()).flatten()
        };
        let wire_id = |text| WireId {
            id: id(text).map_or(Id::Text(text), Id::Number),
        };
        let wire = WireInteraction {
            guid: self.guid,
            start: self.start,
            connect_from: self.connect_from.as_deref(),
            connect_to: self.connect_to.as_deref(),
            direction: &self.direction,
            handling_agents: self.handling_agents.iter().map(|a| wire_id(a)).collect(),
            content: self
                .content
                .iter()
                .map(|item| WireItem {
                    content_key: &item.key,
                    item_type: &item.item_type,
                    content_type: &item.media_type,
                    content_length: item.listed_length(switches),
                    owning_agent: item.owning_agent.as_deref().map(wire_id),
                    owning_interaction_plan: item.owning_interaction_plan.as_deref().map(wire_id),
                    last_modified: item.last_modified,
                    properties: item.listed_properties(switches),
                })
                .collect(),
        };
        // Writing plain values into memory can't fail.
        let _ = serde_json::to_writer(into, &wire);
    }
}

impl Item {
    fn listed_length(&self, switches: &Switches) -> Option<u64> {
        let declared = match self.declared_length {
            DeclaredLength::True => switches.content_length,
            own => own,
        };
        let length = self.body.length();
        match declared {
            DeclaredLength::True => Some(length),
            DeclaredLength::Absent => None,
            DeclaredLength::Zero => Some(0),
            DeclaredLength::TooShort => Some(length / 2),
            DeclaredLength::TooLong => Some(length.saturating_mul(2).saturating_add(1)),
        }
    }

    fn listed_properties(&self, switches: &Switches) -> Option<std::borrow::Cow<'_, Value>> {
        use std::borrow::Cow;
        match switches.properties {
            Properties::AsStored => Some(Cow::Borrowed(&self.properties)),
            Properties::Absent => None,
            Properties::Filled => {
                let mut filled = self.properties.clone();
                if let Value::Object(fields) = &mut filled {
                    fields.insert("language".to_owned(), "en-gb".into());
                    fields.insert(
                        "fileName".to_owned(),
                        format!("../{}\u{202e}.bin", self.key).into(),
                    );
                    fields.insert("resolution".to_owned(), serde_json::json!({"width": 1280}));
                }
                Some(Cow::Owned(filled))
            }
        }
    }
}
