//! Interactions as odd as the reference allows: keys that are no file names, unknown types, nobody who
//! called, files that are empty, listed but forbidden, or not what they say.

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use uuid::Uuid;

use super::record::{Interaction, Item};
use super::switches::DeclaredLength;

/// GUIDs of the curiosities in the order of [`interactions`]: random ones, not made from a time.
const GUIDS: [u128; 4] = [
    0x0c51_7a30_4b1e_4f0a_9d3c_6e81_b2a4_0001,
    0x1f83_94dd_27c6_4e2b_8a17_90c4_5de2_0002,
    0xa8e0_3b19_c5f2_4d64_b7d1_12f0_6c3b_0003,
    0xfe72_6d08_913a_4c9f_8e25_d4a9_70b1_0004,
];

/// The curiosities, started within the hour before `now`.
pub(super) fn interactions(now: Timestamp) -> Vec<Interaction> {
    let before = |minutes| {
        let time = now.checked_sub(SignedDuration::from_mins(minutes));
        let second = time.unwrap_or(now).as_second();
        Timestamp::from_second(second).unwrap_or(now)
    };
    vec![
        keys(before(50), before(40)),
        types(before(45), before(35)),
        lengths(before(40), before(30)),
        siblings(before(35), before(5)),
    ]
}

fn keys(start: Timestamp, modified: Timestamp) -> Interaction {
    let mut made = Interaction::new(Uuid::from_u128(GUIDS[0]), start);
    let keys = [".", "..", "-x", "a'b(c)*", ".hidden", "!", "_,_", "con"];
    for key in keys {
        let text = format!("The key is {key}\n");
        let mut item = Item::new(key, "attachment", "text/plain", modified, text);
        item.properties = json!({ "fileName": format!("../../{key}\u{202e}gpj.exe") });
        made.content.push(item);
    }
    let long = "k".repeat(300);
    (made.content).push(Item::new(
        &long,
        "attachment",
        "text/plain",
        modified,
        "long\n",
    ));
    made
}

fn types(start: Timestamp, modified: Timestamp) -> Interaction {
    let mut made = Interaction::new(Uuid::from_u128(GUIDS[1]), start);
    made.connect_from = None;
    made.direction = "Internal".to_owned();
    let mut voicemail = Item::recording(modified, 32_044, 0xbeef);
    voicemail.key = "voicemail-123".to_owned();
    voicemail.item_type = "voicemail".to_owned();
    voicemail.media_type = "Audio/X-WAV; codecs=1".to_owned();
    voicemail.owning_agent = Some("123".to_owned());
    let mut question = Item::recording(modified, 16_044, 0xcafe);
    question.key = "5b0f2d8e-0f0e-4a56-8d52-6a1f7a6c9b11".to_owned();
    question.item_type = "ivrAudioRecording".to_owned();
    question.owning_interaction_plan = Some("9a1c6a52-3b44-4c08-9f3e-d5b2a4c7e812".to_owned());
    made.with(voicemail)
        .with(question)
        .with(Item::new(
            "holo",
            "hologram",
            "",
            modified,
            "unknown type\n",
        ))
        .with(Item::new(
            "odd",
            "odd type/../x",
            "application/x-odd",
            modified,
            "odd\n",
        ))
}

fn lengths(start: Timestamp, modified: Timestamp) -> Interaction {
    let made = Interaction::new(Uuid::from_u128(GUIDS[2]), start);
    let item = |key: &str, declared_length, bytes: &'static str| Item {
        declared_length,
        ..Item::new(key, "interactionLog", "application/json", modified, bytes)
    };
    let mut forbidden = item("forbidden", DeclaredLength::True, "{}");
    forbidden.item_type = "screenRecording".to_owned();
    forbidden.media_type = "video/webm".to_owned();
    forbidden.forbidden = true;
    made.with(item("empty", DeclaredLength::True, ""))
        .with(item("unsaid", DeclaredLength::Absent, r#"{"a":1}"#))
        .with(item("nought", DeclaredLength::Zero, r#"{"a":12}"#))
        .with(item("short", DeclaredLength::TooShort, r#"{"a":123}"#))
        .with(item("long", DeclaredLength::TooLong, r#"{"a":1234}"#))
        .with(forbidden)
}

/// Several items of one type; one of two keys that differ in case alone.
fn siblings(start: Timestamp, modified: Timestamp) -> Interaction {
    let mut made = Interaction::new(Uuid::from_u128(GUIDS[3]), start);
    made.handling_agents = vec!["1001".to_owned(), "1002".to_owned()];
    for (number, key) in ["screen", "SCREEN", "screenRecording"].iter().enumerate() {
        let bytes = format!("\u{1a}E screen {number}");
        (made.content).push(Item::new(
            key,
            "screenRecording",
            "video/webm",
            modified,
            bytes,
        ));
    }
    made
}
