//! The names that interactions have in the views, and where the views' links lead.
//!
//! A name holds the full GUID at its end, so it is unique, and the time before it, so a sorted listing is
//! in order of time. What the API says of the direction comes from outside and is escaped.

use jiff::Timestamp;
use jiff::tz::Offset;
use xxhash_rust::xxh3::xxh3_64;

use crate::model::{AgentId, Day, Direction, Guid, escape};

use super::View;

/// How a GUID is written: bytes.
const GUID_LENGTH: usize = 36;

/// The longest direction that is shown whole: the rest of the name must fit into 255 bytes beside it.
const DIRECTION_LIMIT: usize = 100;

/// The directory of interactions without an agent.
const NO_AGENT: &str = "none";

/// The name of a text file ends with this.
const TEXT_SUFFIX: &str = ".txt";

/// The name in a day's directory: `101500Z_inbound_<guid>`.
pub fn in_day(start: Timestamp, direction: &Direction, guid: Guid) -> String {
    let time = Offset::UTC.to_datetime(start);
    format!(
        "{:02}{:02}{:02}Z_{}_{guid}",
        time.hour(),
        time.minute(),
        time.second(),
        direction_part(direction)
    )
}

/// The name in an agent's directory: `2026-11-22_101500Z_inbound_<guid>`.
pub fn in_agent(start: Timestamp, direction: &Direction, guid: Guid) -> String {
    format!("{}_{}", Day::of(start), in_day(start, direction, guid))
}

/// The name in a day's directory of texts: `101500Z_inbound_<guid>.txt`.
pub fn text_in_day(start: Timestamp, direction: &Direction, guid: Guid) -> String {
    in_day(start, direction, guid) + TEXT_SUFFIX
}

/// The GUID in a name of [`in_day`]'s form; `None` for a name that can't be one.
pub fn parse_in_day(name: &str) -> Option<Guid> {
    let (time, rest) = name.split_once("Z_")?;
    (time.len() == 6 && time.bytes().all(|byte| byte.is_ascii_digit())).then_some(())?;
    let cut = rest.len().checked_sub(GUID_LENGTH)?;
    let guid = rest.get(cut..)?;
    let direction = rest.get(..cut)?.strip_suffix('_')?;
    (!direction.is_empty() && Guid::is_canonical(guid)).then_some(())?;
    guid.parse().ok()
}

/// The GUID in a name of [`in_agent`]'s form; `None` for a name that can't be one.
pub fn parse_in_agent(name: &str) -> Option<Guid> {
    let (day, rest) = name.split_once('_')?;
    day.parse::<Day>().ok()?;
    parse_in_day(rest)
}

/// The GUID in a name of [`text_in_day`]'s form; `None` for a name that can't be one.
pub fn parse_text_in_day(name: &str) -> Option<Guid> {
    parse_in_day(name.strip_suffix(TEXT_SUFFIX)?)
}

/// The name of an agent's directory; `none` for no agent.
pub fn agent_directory(agent: Option<&AgentId>) -> String {
    let Some(agent) = agent else {
        return NO_AGENT.to_owned();
    };
    let name = escape(agent.as_str());
    if name == NO_AGENT {
        // An agent whose id reads like the directory of those without one.
        return "%6Eone".to_owned();
    }
    name
}

/// Where a link in a day's or an agent's directory leads.
pub fn link_target(guid: Guid) -> String {
    // From `.interactionfs/views/<view>/<directory>` four levels up is the root.
    format!("../../../../{guid}")
}

/// Where a view's link in the root leads.
pub fn root_link_target(view: View) -> String {
    format!(".interactionfs/views/{}", view.name())
}

fn direction_part(direction: &Direction) -> String {
    let word = direction.as_str();
    if word.is_empty() {
        return "unknown".to_owned();
    }
    let escaped = escape(word);
    if escaped.len() <= DIRECTION_LIMIT {
        return escaped;
    }
    let hash = xxh3_64(word.as_bytes());
    // Escaped text is ASCII, so any place is a boundary.
    format!("{}-{hash:016x}", &escaped[..DIRECTION_LIMIT - 17])
}

#[cfg(test)]
mod tests {
    use super::*;

    const GUID: &str = "2480fc2c-bbd7-427c-9439-02f76583aef5";

    #[test]
    fn names_are_built_and_read_back() {
        let guid: Guid = GUID.parse().unwrap();
        let start = "2026-11-22T10:15:00.9Z".parse().unwrap();
        let name = in_day(start, &Direction::Inbound, guid);
        assert_eq!(name, format!("101500Z_inbound_{GUID}"));
        assert_eq!(parse_in_day(&name), Some(guid));
        let name = in_agent(start, &Direction::Outbound, guid);
        assert_eq!(name, format!("2026-11-22_101500Z_outbound_{GUID}"));
        assert_eq!(parse_in_agent(&name), Some(guid));
        let name = text_in_day(start, &Direction::from_wire(""), guid);
        assert_eq!(name, format!("101500Z_unknown_{GUID}.txt"));
        assert_eq!(parse_text_in_day(&name), Some(guid));
    }

    #[test]
    fn hostile_directions_stay_one_component() {
        let guid: Guid = GUID.parse().unwrap();
        let start = Timestamp::UNIX_EPOCH;
        for word in ["../../x", "a_b", "é\0", &"/".repeat(400), "Z_"] {
            let name = text_in_day(start, &Direction::from_wire(word), guid);
            assert!(!name.contains('/') && name.len() <= 255, "{name}");
            assert_eq!(parse_text_in_day(&name), Some(guid), "{name}");
        }
    }

    #[test]
    fn other_names_are_no_links() {
        for bad in [
            "",
            GUID,
            "101500Z_inbound_",
            &format!("101500Z__{GUID}"),
            &format!("1015Z_inbound_{GUID}"),
            &format!("101500Z_inbound_{}", GUID.to_uppercase()),
            &format!("101500Z_é{GUID}"),
            "Z_é",
        ] {
            assert_eq!(parse_in_day(bad), None, "{bad}");
        }
        assert_eq!(parse_in_agent(&format!("101500Z_inbound_{GUID}")), None);
    }

    #[test]
    fn an_agent_called_none_is_not_nobody() {
        assert_eq!(agent_directory(None), "none");
        assert_eq!(agent_directory(Some(&AgentId::new("none"))), "%6Eone");
        assert_eq!(agent_directory(Some(&AgentId::new("1342"))), "1342");
        assert_eq!(agent_directory(Some(&AgentId::new("../x"))), "%2E.%2Fx");
    }
}
