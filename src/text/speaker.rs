//! Who speaks (API reference, 12.7 rules 3, 5 and 6).

use serde_json::{Map, Value};

use super::fields::{is_time, normal_key};
use super::safe::safe_line;

/// Keys that name a speaker, those that say most first.
const KEYS: &[&str] = &[
    "speaker",
    "participant",
    "participantrole",
    "party",
    "role",
    "channel",
    "channeltag",
    "from",
    "sender",
    "author",
    "source",
    "who",
    "direction",
];

/// Within an object that stands for a speaker.
const NAME_KEYS: &[&str] = &["role", "name", "type", "id"];

/// The longest name printed, in characters.
const NAME_LIMIT: usize = 60;

/// The speaker that an object names itself. A value that tells the role is preferred to one that numbers a
/// channel.
pub(super) fn of(fields: &Map<String, Value>) -> Option<String> {
    let mut found: Vec<(usize, String)> = Vec::new();
    for (key, value) in fields {
        let key = normal_key(key);
        let Some(rank) = KEYS.iter().position(|known| *known == key) else {
            continue;
        };
        if key == "from" && is_time(value) {
            continue;
        }
        if let Some(name) = of_value(value) {
            found.push((rank, name));
        }
    }
    found.sort_by_key(|(rank, name)| (!is_role(name), *rank));
    found.into_iter().next().map(|(_, name)| name)
}

fn of_value(value: &Value) -> Option<String> {
    match value {
        Value::String(name) => display(name),
        Value::Number(number) => Some(format!("Speaker {number}")),
        Value::Object(fields) => NAME_KEYS.iter().find_map(|wanted| {
            fields
                .iter()
                .filter(|(key, _)| normal_key(key) == *wanted)
                .find_map(|(_, value)| match value {
                    Value::String(name) => display(name),
                    Value::Number(number) => Some(format!("Speaker {number}")),
                    _ => None,
                })
        }),
        _ => None,
    }
}

/// A name as it is printed.
pub(super) fn display(name: &str) -> Option<String> {
    if let Some(role) = role(name) {
        return Some(role.to_owned());
    }
    let name: String = safe_line(name).chars().take(NAME_LIMIT).collect();
    if name.is_empty() {
        None
    } else if name.bytes().all(|b| b.is_ascii_digit()) {
        Some(format!("Speaker {name}"))
    } else {
        Some(name)
    }
}

/// `Agent` or `Customer`, where the name says so. Nothing is guessed from channel numbers.
pub(super) fn role(name: &str) -> Option<&'static str> {
    let name = name
        .get(..name.len().min(200))
        .unwrap_or(name)
        .to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| name.contains(word));
    if has(&["agent", "operator", "advisor"]) {
        Some("Agent")
    } else if has(&["customer", "caller", "client", "contact", "external"]) {
        Some("Customer")
    } else {
        None
    }
}

/// Whether a printed name tells a role.
pub(super) fn is_role(name: &str) -> bool {
    matches!(name, "Agent" | "Customer")
}

/// The speaker that the key of a list stands for: `{"agent": [..], "customer": [..]}`. With `loosely`, also
/// keys such as `agentTurns`, which mean a speaker only beside another such key.
pub(super) fn of_key(key: &str, loosely: bool) -> Option<String> {
    let normal = normal_key(key);
    let exact = matches!(
        normal.trim_end_matches('s'),
        "agent"
            | "operator"
            | "advisor"
            | "customer"
            | "caller"
            | "client"
            | "contact"
            | "external"
            | "bot"
            | "system"
            | "ivr"
    );
    let numbered = ["", "channel", "speaker", "ch", "spk", "participant"]
        .iter()
        .filter_map(|prefix| normal.strip_prefix(prefix))
        .any(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()));
    if exact || numbered || (loosely && role(&normal).is_some()) {
        display(key)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn speaker(value: &Value) -> Option<String> {
        of(value.as_object().unwrap())
    }

    #[test]
    fn roles_are_told_and_others_stay() {
        for (name, shown) in [
            ("AGENT_1", "Agent"),
            ("Customer", "Customer"),
            ("external-party", "Customer"),
            ("bot", "bot"),
            ("ivr", "ivr"),
            ("1", "Speaker 1"),
            ("Speaker 1", "Speaker 1"),
            ("Dana", "Dana"),
        ] {
            assert_eq!(display(name).as_deref(), Some(shown));
        }
        assert_eq!(display(" \u{202e}"), None);
    }

    #[test]
    fn a_role_is_preferred_to_a_channel_number() {
        assert_eq!(
            speaker(&json!({"speaker": 0, "role": "agent"})).as_deref(),
            Some("Agent")
        );
        assert_eq!(
            speaker(&json!({"channel": 1})).as_deref(),
            Some("Speaker 1")
        );
        assert_eq!(speaker(&json!({"from": 1.5})), None);
        assert_eq!(speaker(&json!({"from": "00:00:01,500"})), None);
        assert_eq!(
            speaker(&json!({"Sender": {"id": 7, "role": "advisor"}})).as_deref(),
            Some("Agent")
        );
    }

    #[test]
    fn keys_of_lists_name_speakers() {
        assert_eq!(of_key("agent", false).as_deref(), Some("Agent"));
        assert_eq!(of_key("agentTurns", false), None);
        assert_eq!(of_key("agentTurns", true).as_deref(), Some("Agent"));
        assert_eq!(of_key("channel_0", false).as_deref(), Some("channel_0"));
        assert_eq!(of_key("phrases", true), None);
    }
}
