//! One interaction, read from the API's JSON.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::{ContentKey, ContentVersion, Direction, Guid, Item, ItemType, Personal};

/// Names under which an attachment's own name has been expected (API reference, 7.4).
const FILE_NAME_PROPERTIES: [&str; 5] = [
    "filename",
    "originalfilename",
    "name",
    "title",
    "displayname",
];

/// The longest attachment name that is kept, in bytes.
const FILE_NAME_LIMIT: usize = 200;

/// An agent's id: a decimal string where the API is as documented.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AgentId(Box<str>);

/// An interaction and its content items, with the JSON it was read from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Interaction {
    /// Its unique id.
    pub guid: Guid,
    /// When it started.
    pub start: Timestamp,
    /// Who started it, in which direction.
    pub direction: Direction,
    /// The initiating party's address; `None` when withheld.
    pub connect_from: Option<Personal<Box<str>>>,
    /// The contacted party's address.
    pub connect_to: Option<Personal<Box<str>>>,
    /// The agents involved, in the order listed.
    pub agents: Vec<AgentId>,
    /// The content items. A key that is listed twice is here once, at its newest.
    pub items: Vec<Item>,
    /// The object as it came, for `interaction.json` and the catalogue: unknown fields are kept.
    pub json: Personal<Box<str>>,
}

/// Why an object is not an interaction. The text names no values: they may be personal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadInteraction {
    /// It is not a JSON object of the expected shape.
    #[error("the object is not JSON of an interaction's shape")]
    Shape,
    /// Its `guid` is missing or no GUID.
    #[error("the interaction has no valid guid")]
    Guid,
    /// Its `start` is missing or no time.
    #[error("the interaction has no valid start time")]
    Start,
}

impl AgentId {
    /// An id as it was listed or given.
    pub fn new(id: &str) -> Self {
        Self(id.into())
    }

    /// The id's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for AgentId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[agent]")
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireInteraction<'a> {
    guid: Option<String>,
    start: Option<String>,
    connect_from: Option<Value>,
    connect_to: Option<Value>,
    direction: Option<Value>,
    #[serde(borrow)]
    handling_agents: Option<&'a RawValue>,
    content: Option<Vec<WireItem>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireItem {
    content_key: Option<Value>,
    #[serde(rename = "type")]
    item_type: Option<Value>,
    content_type: Option<Value>,
    content_length: Option<Value>,
    last_modified: Option<Value>,
    properties: Option<Value>,
}

impl Interaction {
    /// Reads one interaction object, as the search and the single-interaction endpoint return it.
    ///
    /// Tolerant of what the API leaves undocumented: ids as numbers, missing arrays, null addresses,
    /// lengths as text, unknown fields. An item without a key can't be fetched and is left out.
    ///
    /// # Errors
    /// [`BadInteraction`] when there is no object, no GUID or no start: without them it has no place in
    /// the tree.
    pub fn from_json(json: &str) -> Result<Self, BadInteraction> {
        let wire: WireInteraction<'_> =
            serde_json::from_str(json).map_err(|_| BadInteraction::Shape)?;
        let guid: Guid = wire
            .guid
            .and_then(|text| text.parse().ok())
            .ok_or(BadInteraction::Guid)?;
        let start = wire
            .start
            .as_deref()
            .and_then(parse_time)
            .ok_or(BadInteraction::Start)?;
        let mut items: Vec<Item> = Vec::new();
        let mut places = std::collections::HashMap::new();
        for item in wire
            .content
            .unwrap_or_default()
            .into_iter()
            .filter_map(read_item)
        {
            match places.entry(item.key.clone()) {
                std::collections::hash_map::Entry::Vacant(place) => {
                    place.insert(items.len());
                    items.push(item);
                }
                std::collections::hash_map::Entry::Occupied(place) => {
                    let known = &mut items[*place.get()];
                    if item.version.last_modified > known.version.last_modified {
                        *known = item;
                    }
                }
            }
        }
        Ok(Self {
            guid,
            start,
            direction: Direction::from_wire(&text(wire.direction).unwrap_or_default()),
            connect_from: text(wire.connect_from).map(|t| Personal::new(t.into())),
            connect_to: text(wire.connect_to).map(|t| Personal::new(t.into())),
            agents: wire.handling_agents.map(read_agents).unwrap_or_default(),
            items,
            json: Personal::new(json.into()),
        })
    }

    /// The newest `lastModified` of the items, else the start: the metadata's own time.
    pub fn modified(&self) -> Timestamp {
        self.items
            .iter()
            .filter_map(|item| item.version.last_modified)
            .max()
            .unwrap_or(self.start)
    }
}

fn read_item(wire: WireItem) -> Option<Item> {
    let key = text(wire.content_key)?;
    let item_type = text(wire.item_type).unwrap_or_else(|| "content".to_owned());
    let media_type = text(wire.content_type).unwrap_or_default();
    let essence = media_type.split(';').next().unwrap_or_default();
    Some(Item {
        key: ContentKey::new(&key),
        item_type: ItemType::new(&item_type),
        media_type: essence.trim().to_ascii_lowercase().into(),
        version: ContentVersion {
            last_modified: text(wire.last_modified).as_deref().and_then(parse_time),
            length: wire.content_length.and_then(read_length),
        },
        file_name: wire.properties.as_ref().and_then(read_file_name),
    })
}

/// The agents' ids; each is an object with an `id`, but a bare string or number is taken too.
fn read_agents(raw: &RawValue) -> Vec<AgentId> {
    let Ok(Value::Array(agents)) = serde_json::from_str::<Value>(raw.get()) else {
        return Vec::new();
    };
    agents
        .into_iter()
        .filter_map(|agent| match agent {
            Value::Object(mut fields) => text(fields.remove("id")),
            other => text(Some(other)),
        })
        .map(|id| AgentId::new(&id))
        .collect()
}

/// A string or number as text; anything else, and the empty string, as nothing.
fn text(value: Option<Value>) -> Option<String> {
    match value? {
        Value::String(text) if !text.is_empty() => Some(text),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// A length in bytes; one that no file can have (above 2^63 - 1) counts as unknown.
fn read_length(value: Value) -> Option<u64> {
    let length = match value {
        Value::Number(number) => number.as_u64()?,
        Value::String(text) => text.parse().ok()?,
        _ => return None,
    };
    i64::try_from(length).is_ok().then_some(length)
}

/// A time in ISO 8601 with any offset; a time without an offset is taken as UTC.
fn parse_time(text: &str) -> Option<Timestamp> {
    text.parse::<Timestamp>()
        .or_else(|_| format!("{text}Z").parse::<Timestamp>())
        .ok()
}

/// An attachment's display name: hostile input, so without directories, control characters, marks that
/// turn the direction of writing, and leading dots.
fn read_file_name(properties: &Value) -> Option<Personal<Box<str>>> {
    let fields = properties.as_object()?;
    let name = FILE_NAME_PROPERTIES.iter().find_map(|wanted| {
        fields
            .iter()
            .find(|(name, value)| name.eq_ignore_ascii_case(wanted) && value.is_string())
            .and_then(|(_, value)| value.as_str())
    })?;
    let base = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let clean: String = base
        .chars()
        .filter(|c| !c.is_control() && !is_bidi_mark(*c))
        .collect();
    let mut clean = clean.trim_start_matches('.').to_owned();
    while clean.len() > FILE_NAME_LIMIT {
        clean.pop();
    }
    (!clean.is_empty()).then(|| Personal::new(clean.into()))
}

fn is_bidi_mark(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{061c}')
}

#[cfg(test)]
mod tests {
    use super::*;

    const GUID: &str = "018c2f5e-77aa-4d10-9c51-6f0d3b2a9e44";

    #[test]
    fn a_documented_interaction_is_read() {
        let json = format!(
            r#"{{"guid":"{GUID}","start":"2024-03-05T09:14:02Z","connectFrom":"+442079460000",
            "connectTo":"+442079460999","direction":"inbound","handlingAgents":[{{"id":"70211"}}],
            "content":[{{"contentKey":"callRecording","type":"callRecording","contentType":"audio/WAV; x=1",
            "contentLength":5760044,"lastModified":"2024-03-05T09:20:31Z","properties":{{}}}}],"new":1}}"#
        );
        let read = Interaction::from_json(&json).unwrap();
        assert_eq!(read.guid.to_string(), GUID);
        assert_eq!(read.direction, Direction::Inbound);
        assert_eq!(read.agents, [AgentId::new("70211")]);
        assert_eq!(read.items.len(), 1);
        assert_eq!(&*read.items[0].media_type, "audio/wav");
        assert_eq!(read.items[0].version.length, Some(5_760_044));
        assert_eq!(read.modified(), "2024-03-05T09:20:31Z".parse().unwrap());
        assert_eq!(&**read.json.reveal(), json);
    }

    #[test]
    fn what_is_undocumented_is_tolerated() {
        let json = format!(
            r#"{{"guid":"{GUID}","start":"2024-03-05T10:14:02.25+01:00","connectFrom":null,
            "direction":7,"handlingAgents":[{{"id":7}},8,null],
            "content":[{{"contentKey":"a","type":null,"contentLength":"12"}},{{"type":"lost"}},
            {{"contentKey":"a","lastModified":"2024-03-05T09:20:31Z","contentLength":18446744073709551615}}]}}"#
        );
        let read = Interaction::from_json(&json).unwrap();
        assert_eq!(read.start, "2024-03-05T09:14:02.25Z".parse().unwrap());
        assert_eq!(read.agents, [AgentId::new("7"), AgentId::new("8")]);
        assert_eq!(read.items.len(), 1, "the same key twice is one item");
        assert_eq!(read.items[0].version.length, None);
        assert!(Interaction::from_json("[]").is_err());
        assert_eq!(
            Interaction::from_json(r#"{"guid":"x","start":"2024-03-05T09:14:02Z"}"#),
            Err(BadInteraction::Guid)
        );
        assert_eq!(
            Interaction::from_json(&format!(r#"{{"guid":"{GUID}"}}"#)),
            Err(BadInteraction::Start)
        );
    }

    #[test]
    fn an_attachments_name_is_tamed_and_hidden() {
        let properties = serde_json::json!({"FileName": "../../\u{202e}..etc\u{7}/.\u{1b}passwd"});
        let name = read_file_name(&properties).unwrap();
        assert_eq!(&**name.reveal(), "passwd");
        assert_eq!(format!("{name:?}"), "[personal]");
    }
}
