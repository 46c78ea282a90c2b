//! Which items are shown: those of the chosen types whose content isn't known to be gone.

use std::collections::HashSet;
use std::sync::Arc;

use crate::catalogue::Known;
use crate::model::{Guid, Item, ItemType};

use super::gone::Gone;

/// The types whose content is a transcript; the first is preferred.
const TRANSCRIPTS: [&str; 2] = ["transcript", "chatTranscript"];

#[derive(Debug)]
pub(super) struct Shown {
    types: Option<HashSet<ItemType>>,
    gone: Arc<Gone>,
}

impl Shown {
    pub(super) fn new(types: Option<HashSet<ItemType>>, gone: Arc<Gone>) -> Self {
        Self { types, gone }
    }

    /// Whether an item of an interaction is shown.
    pub(super) fn admits(&self, guid: Guid, item: &Item) -> bool {
        self.types
            .as_ref()
            .is_none_or(|types| types.contains(&item.item_type))
            && !self.gone.contains(&item.content_id(guid))
    }

    /// Whether a listing of an interaction holds until it changes: what is missing for a while comes back without a change.
    pub(super) fn holds(&self, guid: Guid) -> bool {
        !self.gone.touches(guid)
    }

    /// The transcript that stands in `text/` for an interaction, if it has one: of several the one with the
    /// plain name.
    pub(super) fn transcript<'a>(&self, known: &'a Known) -> Option<&'a Item> {
        let interaction = &known.interaction;
        interaction
            .items
            .iter()
            .filter_map(|item| {
                let rank = TRANSCRIPTS
                    .iter()
                    .position(|wanted| *wanted == item.item_type.as_str())?;
                self.admits(interaction.guid, item).then_some((rank, item))
            })
            .min_by_key(|(rank, item)| {
                (
                    *rank,
                    item.key.as_str() != item.item_type.as_str(),
                    item.version.last_modified,
                    item.key.clone(),
                )
            })
            .map(|(_, item)| item)
    }
}
