//! Extended attributes: what the API says of an item or an interaction, for `getfattr -d`.

use crate::catalogue::Known;
use crate::model::{AgentId, Item, Personal};

/// The attribute that says what share of a file is held.
pub(super) const SHARE: &str = "user.interactionfs.cached";

/// The attributes of an item, of whose `size` bytes `held` are held locally.
pub(super) fn of_item(item: &Item, held: u64, size: Option<u64>) -> Vec<(&'static str, Vec<u8>)> {
    let mut attributes = vec![
        (SHARE, share(held, size).into_bytes()),
        ("user.vcc.content_key", item.key.as_str().into()),
        ("user.vcc.type", item.item_type.as_str().into()),
    ];
    if !item.media_type.is_empty() {
        attributes.push(("user.mime_type", item.media_type.as_bytes().into()));
    }
    if let Some(name) = &item.file_name {
        attributes.push(("user.vcc.file_name", name.reveal().as_bytes().into()));
    }
    attributes
}

/// The attributes of a file that this program makes itself.
pub(super) fn of_media_type(media_type: &str) -> Vec<(&'static str, Vec<u8>)> {
    vec![("user.mime_type", media_type.into())]
}

/// The names of [`of_interaction`]'s attributes: the same for all, because `ls -l` asks every directory for
/// them, and a listing should cost no look into the database.
pub(super) const INTERACTION_NAMES: [&str; 5] = [
    "user.vcc.direction",
    "user.vcc.start",
    "user.vcc.agents",
    "user.vcc.connect_from",
    "user.vcc.connect_to",
];

/// The attributes of an interaction's directory. An address that is withheld is empty.
pub(super) fn of_interaction(known: &Known) -> Vec<(&'static str, Vec<u8>)> {
    let interaction = &known.interaction;
    let agents: Vec<&str> = interaction.agents.iter().map(AgentId::as_str).collect();
    let address = |address: &Option<Personal<Box<str>>>| {
        address
            .as_ref()
            .map_or_else(Vec::new, |address| address.reveal().as_bytes().to_vec())
    };
    let values = [
        interaction.direction.as_str().into(),
        interaction.start.to_string().into_bytes(),
        agents.join(",").into_bytes(),
        address(&interaction.connect_from),
        address(&interaction.connect_to),
    ];
    INTERACTION_NAMES.into_iter().zip(values).collect()
}

/// The share of a file that is held, from `0.000` to `1.000`: rounded down, so that 1 means all of it.
fn share(held: u64, size: Option<u64>) -> String {
    let thousandths = match size {
        Some(0) => 1000,
        Some(size) => u128::from(held.min(size)) * 1000 / u128::from(size),
        None => 0,
    };
    format!("{}.{:03}", thousandths / 1000, thousandths % 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_is_one_only_when_all_is_held() {
        assert_eq!(share(999_999, Some(1_000_000)), "0.999");
        assert_eq!(share(1_000_000, Some(1_000_000)), "1.000");
        assert_eq!(share(5, None), "0.000");
        assert_eq!(share(0, Some(0)), "1.000");
    }
}
