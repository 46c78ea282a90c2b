//! Which items, which of them are held, how many requests the rest takes, and how long. Pure.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use crate::content::{Missing, Traits};
use crate::model::{ContentId, Interaction, Item, ItemType};

/// Files fetched at a time: enough to use the API's pace at any latency that it is likely to have, and few enough
/// that what is under way when a run is ended is little.
pub(super) const PARALLEL: usize = 16;

/// The types that hold what was said, whatever their media type.
const TRANSCRIPTS: [&str; 2] = ["transcript", "chatTranscript"];

/// Which types of content are wanted.
#[derive(Clone, Debug)]
pub(super) struct Types {
    /// Those that were named.
    pub(super) named: Option<BTreeSet<String>>,
    /// Those that the mount shows.
    pub(super) shown: Option<BTreeSet<ItemType>>,
}

/// A version that is wanted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Candidate {
    pub(super) id: ContentId,
    pub(super) traits: Traits,
    /// When its interaction began.
    pub(super) start: Timestamp,
}

/// A version to fetch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Fetch {
    pub(super) id: ContentId,
    pub(super) traits: Traits,
    pub(super) requests: u64,
    pub(super) bytes: u64,
}

/// What to fetch, in its order, and what all that is wanted comes to.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct Plan {
    pub(super) items: Vec<Fetch>,
    pub(super) interactions: u64,
    pub(super) unknown: u64,
    pub(super) held: u64,
    pub(super) requests: u64,
    pub(super) bytes: u64,
    pub(super) bytes_wanted: u64,
    pub(super) sizes_unknown: u64,
}

impl Types {
    /// Whether an item is wanted. Audio and video only when they are named: each access may stand in an audit
    /// log.
    pub(super) fn want(&self, item: &Item) -> bool {
        if let Some(named) = &self.named {
            return named.contains(item.item_type.as_str());
        }
        let is_shown = self
            .shown
            .as_ref()
            .is_none_or(|shown| shown.contains(&item.item_type));
        is_shown && !item.is_recording() && is_json(item)
    }
}

fn is_json(item: &Item) -> bool {
    TRANSCRIPTS.contains(&item.item_type.as_str())
        || &*item.media_type == "application/json"
        || item.media_type.ends_with("+json")
}

/// The items of an interaction that are wanted.
pub(super) fn candidates(
    interaction: &Interaction,
    types: &Types,
) -> impl Iterator<Item = Candidate> {
    interaction
        .items
        .iter()
        .filter(|item| types.want(item))
        .map(|item| Candidate {
            id: item.content_id(interaction.guid),
            traits: Traits::of(item),
            start: interaction.start,
        })
}

impl Plan {
    /// The plan for what was found: newest interactions first, as they are read most, and each version once.
    pub(super) fn of(mut found: Vec<(Candidate, Missing)>) -> Self {
        found.sort_by(|(one, _), (other, _)| {
            (other.start, one.id.guid, one.id.key.as_str()).cmp(&(
                one.start,
                other.id.guid,
                other.id.key.as_str(),
            ))
        });
        let mut plan = Self::default();
        let mut met = HashSet::new();
        for (candidate, missing) in found {
            if !met.insert(candidate.id.fingerprint()) {
                continue;
            }
            plan.bytes_wanted += missing.size.unwrap_or(0);
            if missing.requests == 0 {
                plan.held += 1;
                continue;
            }
            plan.sizes_unknown += u64::from(missing.size.is_none());
            plan.requests += missing.requests;
            plan.bytes += missing.bytes;
            plan.items.push(Fetch {
                id: candidate.id,
                traits: candidate.traits,
                requests: missing.requests,
                bytes: missing.bytes,
            });
        }
        plan
    }

    /// The plan without what is to be left alone.
    pub(super) fn leaving_alone(mut self, settled: &Settled, now: Instant) -> Self {
        self.items.retain(|item| !settled.contains(&item.id, now));
        self.requests = self.items.iter().map(|item| item.requests).sum();
        self.bytes = self.items.iter().map(|item| item.bytes).sum();
        self
    }
}

/// When versions were last settled: they came, or it proved that they can't.
///
/// A watch leaves them alone for a while, lest it fetch over and over what a cache that is too small can't keep, or what
/// the listing still shows and the server has no more.
#[derive(Default, Debug)]
pub(super) struct Settled(HashMap<ContentId, Instant>);

/// How long a watch leaves a version alone.
pub(super) const LEFT_ALONE: Duration = Duration::from_secs(6 * 3600);

impl Settled {
    pub(super) fn note(&mut self, ids: Vec<ContentId>, now: Instant) {
        self.0.retain(|_, settled| now < *settled + LEFT_ALONE);
        self.0.extend(ids.into_iter().map(|id| (id, now)));
    }

    fn contains(&self, id: &ContentId, now: Instant) -> bool {
        self.0
            .get(id)
            .is_some_and(|settled| now < *settled + LEFT_ALONE)
    }
}

/// How long a rest will take: as long as the slowest of the pace, the API's latency and the wire.
pub(super) fn time_left(
    by_pace: Duration,
    latency: Duration,
    requests: u64,
    bytes: u64,
    bytes_per_second: Option<u64>,
) -> Duration {
    let rounds = requests.div_ceil(PARALLEL as u64);
    let by_latency = latency.saturating_mul(u32::try_from(rounds).unwrap_or(u32::MAX));
    let by_wire = bytes_per_second.map_or(Duration::ZERO, |rate| {
        Duration::from_secs(bytes / rate.max(1))
    });
    by_pace.max(by_latency).max(by_wire)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::{ContentKey, ContentVersion, Guid};

    fn item(item_type: &str, media_type: &str) -> Item {
        Item {
            key: ContentKey::new(item_type),
            item_type: ItemType::new(item_type),
            media_type: media_type.into(),
            version: ContentVersion {
                last_modified: None,
                length: None,
            },
            file_name: None,
        }
    }

    fn candidate(number: u8, key: &str, second: i64) -> Candidate {
        Candidate {
            id: item(key, "application/json").content_id(Guid::from_bytes([number; 16])),
            traits: Traits::default(),
            start: Timestamp::from_second(second).unwrap(),
        }
    }

    #[test]
    fn json_is_wanted_by_default_and_recordings_only_by_name() {
        let named = BTreeSet::from(["callRecording".to_owned()]);
        let shown = BTreeSet::from([ItemType::new("transcript"), ItemType::new("callRecording")]);
        let table = [
            // type, media type, by default, with callRecording named, where the mount shows the two
            ("transcript", "application/json", true, false, true),
            ("transcript", "text/plain", true, false, true),
            ("chatTranscript", "", true, false, false),
            (
                "interactionAnalysis",
                "application/vnd.vcc+json",
                true,
                false,
                false,
            ),
            ("attachment", "image/png", false, false, false),
            ("callRecording", "audio/wav", false, true, false),
            ("callRecording", "application/json", false, true, false),
            ("screenRecording", "video/webm", false, false, false),
            ("transcript", "audio/wav", false, false, false),
        ];
        for (item_type, media_type, by_default, by_name, in_mount) in table {
            let item = item(item_type, media_type);
            let want = |named: Option<&BTreeSet<_>>, shown: Option<&BTreeSet<_>>| {
                let (named, shown) = (named.cloned(), shown.cloned());
                Types { named, shown }.want(&item)
            };
            assert_eq!(want(None, None), by_default, "{item_type} {media_type}");
            assert_eq!(
                want(Some(&named), None),
                by_name,
                "{item_type} {media_type}"
            );
            assert_eq!(
                want(Some(&named), Some(&shown)),
                by_name,
                "{item_type} {media_type}"
            );
            assert_eq!(
                want(None, Some(&shown)),
                in_mount,
                "{item_type} {media_type}"
            );
        }
    }

    #[test]
    fn what_is_held_is_not_asked_for_and_holes_cost_a_request_each() {
        let missing = |requests, bytes, size| Missing {
            requests,
            bytes,
            size,
        };
        let plan = Plan::of(vec![
            (candidate(1, "transcript", 10), missing(0, 0, Some(100))),
            (candidate(2, "transcript", 20), missing(1, 50, Some(50))),
            (candidate(3, "transcript", 30), missing(3, 70, Some(900))),
            (candidate(4, "transcript", 5), missing(1, 0, None)),
            (candidate(3, "transcript", 30), missing(3, 70, Some(900))),
        ]);
        let order: Vec<_> = plan.items.iter().map(|item| item.requests).collect();
        assert_eq!(order, [3, 1, 1], "newest first, each once");
        assert_eq!((plan.held, plan.requests, plan.bytes), (1, 5, 120));
        assert_eq!((plan.bytes_wanted, plan.sizes_unknown), (1050, 1));
    }

    #[test]
    fn the_slowest_of_pace_latency_and_wire_counts() {
        let second = Duration::from_secs(1);
        let time = |pace, requests, bytes, rate| {
            time_left(second * pace, second / 10, requests, bytes, rate).as_secs()
        };
        assert_eq!(time(60, 100, 0, None), 60);
        assert_eq!(time(0, 1600, 0, None), 10);
        assert_eq!(time(5, 16, 1000, Some(10)), 100);
        assert_eq!(time(5, 16, 1000, Some(0)), 1000);
    }

    proptest! {
        #[test]
        fn each_version_is_planned_once_and_sums_agree(
            found in prop::collection::vec((0_u8..6, 0_i64..4, 0_u64..4, 0_u64..100), 0..40)
        ) {
            // What is missing of a version is the same however often it is met.
            let all: Vec<_> = found.iter().map(|(number, second, _, _)| {
                let (requests, bytes) = (u64::from(number % 3), u64::from(*number) * 10);
                let size = (number % 4 != 3).then_some(bytes + 5);
                (candidate(*number, "transcript", *second), Missing { requests, bytes, size })
            }).collect();
            let versions: HashSet<_> = all.iter().map(|(candidate, _)| candidate.id.clone()).collect();
            let plan = Plan::of(all);
            prop_assert_eq!(plan.items.len() as u64 + plan.held, versions.len() as u64);
            prop_assert_eq!(plan.requests, plan.items.iter().map(|item| item.requests).sum::<u64>());
            prop_assert_eq!(plan.bytes, plan.items.iter().map(|item| item.bytes).sum::<u64>());
            prop_assert!(plan.items.iter().all(|item| item.requests > 0));
        }
    }
}
