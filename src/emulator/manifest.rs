//! Makes interactions of the sample manifest. Samples are always recent: their days count back from today.

use bytes::Bytes;
use jiff::civil::Time;
use jiff::tz::Offset;
use jiff::{SignedDuration, Span, Timestamp};
use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

use super::record::{Interaction, Item};

/// Why a manifest can't be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum BadManifest {
    #[error("the sample manifest is not valid: {0}")]
    Json(#[from] serde_json::Error),
    #[error("the sample manifest names a file that isn't there")]
    File,
    #[error("the sample manifest holds a time that does not exist")]
    Time(#[from] jiff::Error),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    guid: String,
    days_ago: i64,
    time: String,
    connect_from: Option<String>,
    connect_to: Option<String>,
    direction: String,
    #[serde(default)]
    handling_agents: Vec<Id>,
    content: Vec<EntryItem>,
}

#[derive(Deserialize)]
struct Id {
    id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EntryItem {
    content_key: String,
    #[serde(rename = "type")]
    item_type: String,
    content_type: String,
    file: String,
    #[serde(default)]
    minutes_after: i64,
    properties: Option<Value>,
    owning_agent: Option<Id>,
    owning_interaction_plan: Option<Id>,
}

/// The interactions of a manifest, relative to the day of `now`.
pub(super) fn interactions(
    manifest: &str,
    file: impl Fn(&str) -> Option<&'static [u8]>,
    now: Timestamp,
) -> Result<Vec<Interaction>, BadManifest> {
    let entries: Vec<Entry> = serde_json::from_str(manifest)?;
    let today = Offset::UTC.to_datetime(now).date();
    entries
        .into_iter()
        .map(|entry| {
            let day = today.checked_sub(Span::new().try_days(entry.days_ago)?)?;
            let time: Time = entry.time.parse()?;
            let start = Offset::UTC.to_timestamp(day.to_datetime(time))?;
            let guid = Uuid::try_parse(&entry.guid).map_err(serde::de::Error::custom);
            let content = entry.content.into_iter().map(|item| {
                let bytes = file(&item.file).ok_or(BadManifest::File)?;
                let modified = start.checked_add(SignedDuration::from_mins(item.minutes_after))?;
                let mut made = Item::new(
                    &item.content_key,
                    &item.item_type,
                    &item.content_type,
                    modified,
                    Bytes::from_static(bytes),
                );
                if let Some(properties) = item.properties {
                    made.properties = properties;
                }
                made.owning_agent = item.owning_agent.map(|agent| agent.id);
                made.owning_interaction_plan = item.owning_interaction_plan.map(|plan| plan.id);
                Ok(made)
            });
            Ok(Interaction {
                guid: guid.map_err(BadManifest::Json)?,
                start,
                connect_from: entry.connect_from,
                connect_to: entry.connect_to,
                direction: entry.direction,
                handling_agents: entry.handling_agents.into_iter().map(|a| a.id).collect(),
                content: content.collect::<Result<_, BadManifest>>()?,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    #[test]
    fn the_bundled_manifest_is_whole_and_recent() {
        let now: Timestamp = "2026-11-22T00:30:00Z".parse().unwrap();
        let made = interactions(samples::MANIFEST, samples::file, now).unwrap();
        assert!(!made.is_empty());
        for interaction in &made {
            assert!(!interaction.content.is_empty());
            assert!(interaction.start < now);
        }
        let mut guids: Vec<_> = made.iter().map(|interaction| interaction.guid).collect();
        guids.sort_unstable();
        guids.dedup();
        assert_eq!(guids.len(), made.len());
    }

    #[test]
    fn days_count_back_and_times_are_utc() {
        let now = "2026-11-22T00:30:00Z".parse().unwrap();
        let manifest = r#"[{"guid":"2480fc2c-bbd7-427c-9439-02f76583aef5","daysAgo":2,
            "time":"23:15:00","connectFrom":null,"connectTo":"100","direction":"inbound","content":[
            {"contentKey":"k","type":"voicemail","contentType":"audio/wav","file":"f",
            "minutesAfter":50,"owningAgent":{"id":"7"}}]}]"#;
        let made = interactions(manifest, |_| Some(b"x"), now).unwrap();
        assert_eq!(made[0].start, "2026-11-20T23:15:00Z".parse().unwrap());
        let item = &made[0].content[0];
        assert_eq!(item.last_modified, "2026-11-21T00:05:00Z".parse().unwrap());
        assert_eq!(item.owning_agent.as_deref(), Some("7"));
        assert!(interactions(manifest, |_| None, now).is_err());
    }
}
