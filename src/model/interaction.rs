//! One interaction, read from the API's JSON.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::{Deserializer as _, IgnoredAny, MapAccess, Visitor};
use serde_json::Number;
use serde_json::value::RawValue;

use super::{
    ContentKey, ContentVersion, Direction, Guid, Item, ItemType, Personal, for_each_element,
    most_values,
};

/// An object of more values is not read: it would take many times its text, and real ones have dozens.
const VALUES_MAX: usize = 1_000_000;

/// The most items and agents together, because each costs memory for as long as the interaction is known.
const PARTS_MAX: usize = 110_000;

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
    /// It has more values, items or agents than any interaction.
    #[error("the object is larger than any interaction")]
    TooLarge,
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

/// Values are told apart only when they are of use: a tree of them takes up to 150 times its text.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireInteraction<'a> {
    guid: Option<String>,
    start: Option<String>,
    #[serde(borrow)]
    connect_from: Option<&'a RawValue>,
    #[serde(borrow)]
    connect_to: Option<&'a RawValue>,
    #[serde(borrow)]
    direction: Option<&'a RawValue>,
    #[serde(borrow)]
    handling_agents: Option<&'a RawValue>,
    #[serde(borrow)]
    content: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireItem<'a> {
    #[serde(borrow)]
    content_key: Option<&'a RawValue>,
    #[serde(borrow, rename = "type")]
    item_type: Option<&'a RawValue>,
    #[serde(borrow)]
    content_type: Option<&'a RawValue>,
    #[serde(borrow)]
    content_length: Option<&'a RawValue>,
    #[serde(borrow)]
    last_modified: Option<&'a RawValue>,
    #[serde(borrow)]
    properties: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct WireAgent<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
}

impl Interaction {
    /// Reads one interaction object, as the search and the single-interaction endpoint return it.
    ///
    /// Tolerant of what the API leaves undocumented: ids as numbers, missing arrays, null addresses,
    /// lengths as text, unknown fields. An item without a key can't be fetched and is left out.
    ///
    /// # Errors
    /// [`BadInteraction`] when there is no object, no GUID or no start: without them it has no place in
    /// the tree. Also when it is so large that it would take the memory.
    pub fn from_json(json: &str) -> Result<Self, BadInteraction> {
        if most_values(json.as_bytes()) > VALUES_MAX {
            return Err(BadInteraction::TooLarge);
        }
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
        let items = match wire.content {
            Some(content) => read_items(content).ok_or(BadInteraction::Shape)?,
            None => Vec::new(),
        };
        let agents = wire.handling_agents.map(read_agents).unwrap_or_default();
        if items.len() + agents.len() > PARTS_MAX {
            return Err(BadInteraction::TooLarge);
        }
        Ok(Self {
            guid,
            start,
            direction: Direction::from_wire(&text(wire.direction).unwrap_or_default()),
            connect_from: text(wire.connect_from).map(|t| Personal::new(t.into())),
            connect_to: text(wire.connect_to).map(|t| Personal::new(t.into())),
            agents,
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

/// The items, each key once, at its newest. No more of them than show that they are too many.
fn read_items(content: &RawValue) -> Option<Vec<Item>> {
    let mut items: Vec<Item> = Vec::new();
    let mut places = HashMap::new();
    let mut is_well_shaped = true;
    for_each_element(content.get(), |item| {
        let Ok(wire) = serde_json::from_str::<WireItem<'_>>(item.get()) else {
            is_well_shaped = false;
            return;
        };
        if items.len() > PARTS_MAX {
            return;
        }
        let Some(item) = read_item(&wire) else { return };
        match places.entry(item.key.clone()) {
            Entry::Vacant(place) => {
                place.insert(items.len());
                items.push(item);
            }
            Entry::Occupied(place) => {
                let known = &mut items[*place.get()];
                if item.version.last_modified > known.version.last_modified {
                    *known = item;
                }
            }
        }
    })?;
    items.shrink_to_fit();
    is_well_shaped.then_some(items)
}

fn read_item(wire: &WireItem<'_>) -> Option<Item> {
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
        file_name: wire.properties.and_then(read_file_name),
    })
}

/// The agents' ids; each is an object with an `id`, but a bare string or number is taken too.
fn read_agents(raw: &RawValue) -> Vec<AgentId> {
    let mut agents = Vec::new();
    let read = for_each_element(raw.get(), |agent| {
        // As with the items: one too many is enough.
        if agents.len() <= PARTS_MAX {
            agents.extend(read_agent(agent));
        }
    });
    agents.shrink_to_fit();
    read.map_or_else(Vec::new, |()| agents)
}

fn read_agent(raw: &RawValue) -> Option<AgentId> {
    let id = if raw.get().starts_with('{') {
        serde_json::from_str::<WireAgent<'_>>(raw.get()).ok()?.id
    } else {
        Some(raw)
    };
    text(id).map(|id| AgentId::new(&id))
}

/// A string or number as text; anything else, and the empty string, as nothing.
fn text(value: Option<&RawValue>) -> Option<String> {
    let raw = value?.get();
    match string(raw) {
        Some(text) => (!text.is_empty()).then_some(text),
        None => number(raw).map(|number| number.to_string()),
    }
}

fn string(raw: &str) -> Option<String> {
    raw.starts_with('"')
        .then(|| serde_json::from_str(raw).ok())
        .flatten()
}

fn number(raw: &str) -> Option<Number> {
    raw.starts_with(|first: char| first == '-' || first.is_ascii_digit())
        .then(|| serde_json::from_str(raw).ok())
        .flatten()
}

/// A length in bytes; one that no file can have (above 2^63 - 1) counts as unknown.
fn read_length(value: &RawValue) -> Option<u64> {
    let length = match number(value.get()) {
        Some(number) => number.as_u64()?,
        None => string(value.get())?.parse().ok()?,
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
fn read_file_name(properties: &RawValue) -> Option<Personal<Box<str>>> {
    let mut properties = serde_json::Deserializer::from_str(properties.get());
    let name = properties.deserialize_map(FileName).ok()??;
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

/// Finds an attachment's name among properties: the first of the best name for it.
struct FileName;

impl<'de> Visitor<'de> for FileName {
    type Value = Option<String>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an item's properties")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut properties: A) -> Result<Self::Value, A::Error> {
        let mut found = [const { None }; FILE_NAME_PROPERTIES.len()];
        while let Some(property) = properties.next_key::<String>()? {
            let place = FILE_NAME_PROPERTIES
                .iter()
                .position(|wanted| property.eq_ignore_ascii_case(wanted));
            if let Some(place) = place {
                let value: &RawValue = properties.next_value()?;
                found[place] = found[place].take().or_else(|| string(value.get()));
            } else {
                properties.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found.into_iter().flatten().next())
    }
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
        let raw =
            |properties: serde_json::Value| serde_json::value::to_raw_value(&properties).unwrap();
        let properties = serde_json::json!({"FileName": "../../\u{202e}..etc\u{7}/.\u{1b}passwd"});
        let name = read_file_name(&raw(properties)).unwrap();
        assert_eq!(&**name.reveal(), "passwd");
        assert_eq!(format!("{name:?}"), "[personal]");
    }

    #[test]
    fn the_best_name_of_an_attachment_is_taken_whatever_stands_before_it() {
        for (properties, wanted) in [
            (r#"{"x":[{}],"title":"b","NAME":"a","Name":"c"}"#, Some("a")),
            (r#"{"fileName":7,"displayName":"d"}"#, Some("d")),
            (r#"{"fileName":""}"#, None),
            ("[]", None),
            (r#""name""#, None),
        ] {
            let raw: &RawValue = serde_json::from_str(properties).unwrap();
            let name = read_file_name(raw);
            assert_eq!(name.as_ref().map(|name| &**name.reveal()), wanted);
        }
    }

    /// An interaction with `fields` besides what it must have.
    fn with(fields: &str) -> String {
        format!(r#"{{"guid":"{GUID}","start":"2024-03-05T09:14:02Z",{fields}}}"#)
    }

    fn list(length: usize, element: impl Fn(usize) -> String) -> String {
        let elements: Vec<String> = (0..length).map(element).collect();
        format!("[{}]", elements.join(","))
    }

    #[test]
    fn what_would_take_the_memory_is_refused() {
        let zeros = list(1_000_000, |_| "0".to_owned());
        for fields in [
            format!(r#""content":{}"#, list(1_000_000, |_| "{}".to_owned())),
            format!(r#""handlingAgents":{zeros}"#),
            format!(r#""content":[{{"contentKey":"a","properties":{zeros}}}]"#),
            format!(r#""connectFrom":{zeros}"#),
            format!(
                r#""unknown":{}"#,
                "[".repeat(1_000_000) + &"]".repeat(1_000_000)
            ),
            // Few enough values, but each would be kept.
            format!(
                r#""content":{}"#,
                list(PARTS_MAX + 1, |key| format!(r#"{{"contentKey":{key}}}"#))
            ),
            format!(
                r#""handlingAgents":{}"#,
                list(PARTS_MAX + 1, |id| id.to_string())
            ),
        ] {
            let read = Interaction::from_json(&with(&fields));
            assert_eq!(read, Err(BadInteraction::TooLarge), "{}", &fields[..30]);
        }
    }

    #[test]
    fn what_is_large_but_bearable_is_read() {
        let item = |key| {
            format!(
                r#"{{"contentKey":"{key}","type":"attachment","contentType":"image/png","contentLength":{key},
                "lastModified":"2024-03-05T09:20:31Z","properties":{{"fileName":"a.png"}}}}"#
            )
        };
        let json = with(&format!(r#""content":{}"#, list(100_000, item)));
        let read = Interaction::from_json(&json).unwrap();
        assert_eq!(read.items.len(), 100_000);
        // As the catalogue does with what it stored.
        assert_eq!(Interaction::from_json(read.json.reveal()), Ok(read));
    }
}
