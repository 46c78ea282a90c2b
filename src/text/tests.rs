//! Whole files, of the shapes that the API may have, and of those that it should not.

use std::time::Duration;

use jiff::Timestamp;
use proptest::prelude::*;

use super::{Transcript, plain, read, render, srt, vtt};

fn start() -> Timestamp {
    "2026-11-20T16:20:00Z".parse().unwrap()
}

fn rendered(text: &str) -> String {
    render(text.as_bytes(), start())
}

fn sample(name: &str) -> Transcript {
    let path = format!("{}/assets/samples/{name}", env!("CARGO_MANIFEST_DIR"));
    read(&std::fs::read(path).unwrap(), start())
}

fn millis(transcript: &Transcript) -> Vec<(u128, u128)> {
    let times = |time: Option<Duration>| time.unwrap().as_millis();
    transcript
        .phrases
        .iter()
        .map(|phrase| (times(phrase.start), times(phrase.end)))
        .collect()
}

#[test]
fn our_default_shape_gives_speakers_times_and_no_nested_word() {
    let text = plain(&sample("refund-transcript.json"));
    assert!(text.starts_with(
        "[00:00] Agent: Good morning, Harbour Outfitters, you are speaking to Dana.\n"
    ));
    assert!(text.contains("] Customer: I would like a refund, please.\n"));
    assert!(text.contains(
        "[01:12] Agent: Please don't read out your full card number, because this call is recorded.\n"
    ));
    assert_eq!(text.matches("card number").count(), 1);
}

#[test]
fn the_two_list_shape_is_merged_by_time() {
    let text = plain(&sample("delivery-transcript.json"));
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 4);
    assert_eq!(lines[0], "[00:00] Agent: Harbour Outfitters, good evening.");
    assert!(lines[1].contains("] Customer: Hello. My parcel"));
    assert!(lines[2].contains("] Agent: Oh dear."));
    assert!(lines[3].contains("] Customer: That would be"));
}

#[test]
fn words_in_milliseconds_are_joined_to_phrases() {
    assert_eq!(
        plain(&sample("sizes-transcript.json"))
            .lines()
            .map(|line| line.split_once("] ").unwrap().1)
            .collect::<Vec<_>>(),
        [
            "Customer: Do your wool socks come in size twelve?",
            "Agent: They do, in grey and in green.",
            "Agent: Shall I put a pair aside for you?",
            "Customer: Two pairs of the green ones, please.",
        ]
    );
    assert_eq!(
        sample("sizes-transcript.json").phrases[0].start,
        Some(Duration::from_millis(600))
    );
}

#[test]
fn the_plain_string_shape_gives_its_lines() {
    assert_eq!(
        plain(&sample("opening-transcript.json")),
        "Are you open on Sunday?\nWe are, from ten until four.\nThe workshop is closed, though.\n\
         Thanks, that is all I wanted to know.\n"
    );
    assert_eq!(
        rendered("\"Hello.\\nYes, card number.\""),
        "Hello.\nYes, card number.\n"
    );
}

#[test]
fn a_chat_counts_from_the_interaction_and_has_no_markup() {
    let text = plain(&sample("chat.json"));
    assert!(text.starts_with(
        "[00:04] system: The chat has started.\n[00:11] Customer: Hi! Is the Fell 40 rucksack waterproof?\n\
         [00:24] Agent: Hello, Sam here. It is water-resistant & comes with a rain cover.\n"
    ), "{text}");
    assert!(text.contains("[00:58] Agent: It is good until the end of the year. You can"));
}

#[test]
fn cues_have_the_times_of_the_phrases() {
    for name in ["refund", "callback", "transfer", "voicemail", "delivery"] {
        let transcript = sample(&format!("{name}-transcript.json"));
        let (srt, vtt) = (srt(&transcript), vtt(&transcript));
        for (start, end) in millis(&transcript) {
            let time = |millis: u128| {
                format!(
                    "00:{:02}:{:02},{:03}",
                    millis / 60_000,
                    millis / 1000 % 60,
                    millis % 1000
                )
            };
            assert!(
                srt.contains(&format!("\n{} --> ", time(start))),
                "{name} {start}"
            );
            assert!(
                srt.contains(&format!(" --> {}\n", time(end))),
                "{name} {end}"
            );
            assert!(vtt.contains(&format!("\n{} --> ", time(start).replace(',', "."))));
        }
        assert_eq!(srt.matches(" --> ").count(), vtt.matches(" --> ").count());
    }
}

#[test]
fn neighbouring_shapes_are_understood() {
    // Turns that hold their words only.
    let turns = r#"{"turns": [{"speaker": "agent", "words": [{"w": "Good", "start": 0.5, "end": 0.8}, {"w": "day", "start": 0.9, "end": 1.1}]},
        {"speaker": "caller", "words": [{"w": "Hi", "start": 1.5, "end": 1.8}]}]}"#;
    assert_eq!(
        rendered(turns),
        "[00:00] Agent: Good day\n[00:01] Customer: Hi\n"
    );
    // Several hearings of each result.
    let results = r#"{"results": [{"channelTag": "1", "alternatives": [{"transcript": "how are you", "confidence": 1}, {"transcript": "who are you"}]},
        {"channelTag": "2", "alternatives": [{"transcript": "very well thanks"}]}]}"#;
    assert_eq!(
        rendered(results),
        "Speaker 1: how are you\nSpeaker 2: very well thanks\n"
    );
    let timed = r#"{"phrases": [{"channel": 0, "offsetInTicks": 12000000, "nBest": [{"display": "How are you"}, {"display": "Who are you"}]},
        {"channel": 1, "offsetInTicks": 25000000, "nBest": [{"display": "Very well"}]}]}"#;
    assert_eq!(
        rendered(timed),
        "[00:01] Speaker 0: How are you\n[00:02] Speaker 1: Very well\n"
    );
    // A transcript within an envelope, as an item of a list.
    let envelope = r#"{"items": [{"guid": "1", "channel": "voice", "transcript": [
        {"speaker": "agent", "start": "00:00:01", "text": "One two three"}, {"speaker": "customer", "start": "00:00:03", "text": "Four five six"}]}]}"#;
    assert_eq!(
        rendered(envelope),
        "[00:01] Agent: One two three\n[00:03] Customer: Four five six\n"
    );
    // The whole as a string beside the phrases.
    let both = r#"{"text": "a b c d", "segments": [{"text": "a b", "start": 0.0, "end": 1.5}, {"text": "c d", "start": 2.5}]}"#;
    assert_eq!(rendered(both), "[00:00] a b\n[00:02] c d\n");
    // The newest message first.
    let reversed = r#"[{"from": "Dana", "time": "2026-11-20T16:20:09Z", "body": "see you then"}, {"from": "client", "time": "2026-11-20T16:20:02Z", "body": "good bye now"}]"#;
    assert_eq!(
        rendered(reversed),
        "[00:02] Customer: good bye now\n[00:09] Dana: see you then\n"
    );
    // Lists of both sides that name more than the side.
    let sides = r#"{"agentTurns": [{"t": 0.5, "text": "one two"}], "customerTurns": [{"t": 0.2, "text": "three four"}]}"#;
    assert_eq!(
        rendered(sides),
        "[00:00] Customer: three four\n[00:00] Agent: one two\n"
    );
}

#[test]
fn json_lines_are_one_list() {
    let lines = "{\"speaker\": \"agent\", \"start\": 1.5, \"text\": \"Good morning\"}\n\n\
                 {\"speaker\": \"customer\", \"start\": 3.5, \"text\": \"A refund please\"}\n{\"speaker\": \"ag";
    let text = rendered(lines);
    assert!(text.starts_with("[00:01] Agent: Good morning\n[00:03] Customer: A refund please\n"));
}

#[test]
fn a_file_cut_short_gives_the_phrases_that_are_whole() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/assets/samples/refund-transcript.json"
    );
    let whole = std::fs::read(path).unwrap();
    let text = render(&whole[..whole.len() / 2], start());
    assert!(text.lines().count() > 15);
    let all = render(&whole, start());
    // The last phrase may have lost its end.
    let same = text.lines().count() - 1;
    assert!(
        text.lines()
            .zip(all.lines())
            .take(same)
            .all(|(cut, whole)| cut == whole)
    );
}

#[test]
fn what_is_no_json_is_text() {
    assert_eq!(rendered("\u{feff}Hello.\r\n\r\n  Yes?\n"), "Hello.\nYes?\n");
    assert_eq!(render(b"caf\xe9 noir", start()), "caf\u{fffd} noir\n");
    assert_eq!(rendered("\u{feff}{\"text\": \"Hello\"}"), "Hello\n");
}

#[test]
fn only_so_many_lines_between_json_lines_are_lines_of_their_own() {
    let lines = "{\"text\": \"a\"}\n".to_owned() + &"b c\n".repeat(300_000);
    assert!(read(lines.as_bytes(), start()).phrases.len() < 250_000);
}

#[test]
fn a_chat_between_telephones_has_the_times_of_its_messages() {
    let chat = r#"{"messages": [
        {"from": "+447700900123", "to": "+442079460999", "timestamp": "2026-11-20T16:20:09Z", "body": "Hello"},
        {"from": "+442079460999", "to": "+447700900123", "timestamp": "2026-11-20T16:20:04Z", "body": "Is it open"}]}"#;
    assert_eq!(
        rendered(chat),
        "[00:04] +442079460999: Is it open\n[00:09] +447700900123: Hello\n"
    );
}

#[test]
fn documents_without_phrases_give_their_texts() {
    assert_eq!(
        rendered(
            r#"{"a": {"caption": "First"}, "b": [{"c": {"message": ["Second", "Third"]}}], "id": "x y"}"#
        ),
        "First\nSecond\nThird\n"
    );
    assert_eq!(
        rendered(r#"{"id": "x", "remark": "some words", "n": 1}"#),
        "some words\n"
    );
    assert_eq!(rendered(r#"["Yes", "No"]"#), "Yes\nNo\n");
    assert_eq!(
        rendered(r#"{"a": {"caption": "Type &lt;br&gt; there"}}"#),
        "Type <br> there\n"
    );
}

#[test]
fn only_an_empty_file_gives_nothing() {
    assert_eq!(rendered(""), "");
    for empty in [
        "{}",
        "[]",
        " \n",
        "\u{1b}",
        "{\"language\": \"en-gb\", \"phrases\": []}",
        "[{\"text\": \"\"}]",
    ] {
        assert_eq!(rendered(empty), "(no text)\n", "{empty}");
    }
    assert_eq!(rendered("{"), "{\n");
    assert_eq!(rendered("42"), "42\n");
}

#[test]
fn nothing_in_a_file_can_steer_the_terminal() {
    let hostile = r#"[{"speaker": "\u001b]0;x\u0007\u202eagnt", "start": 0.5, "text": "a\u001b[2Jb\u009bc\u0000\u202ed\nnew line"}]"#;
    assert_eq!(rendered(hostile), "[00:00] ]0;xagnt: a[2Jbcd new line\n");
    let transcript = read(hostile.as_bytes(), start());
    for text in [srt(&transcript), vtt(&transcript)] {
        assert!(text.chars().all(|c| c == '\n' || !c.is_control()));
    }
}

#[test]
fn hostile_nesting_gives_text_and_doesnt_overflow() {
    for (open, close) in [("[", "]"), ("{\"text\":[", "]}"), ("{\"a\":", "}")] {
        for depth in [20, 100, 20_000] {
            let deep = format!(
                "{}\"some words\"{}",
                open.repeat(depth),
                close.repeat(depth)
            );
            assert!(rendered(&deep).contains("some words"));
            assert!(!rendered(&open.repeat(depth)).is_empty());
        }
    }
}

#[test]
fn large_junk_is_read_in_one_pass() {
    // Each invites a search from every byte to the end: what is begun and never ended.
    let size = 1 << 16;
    for junk in [
        "<b",
        "&",
        "<!--",
        "<script>",
        "{",
        "[{},",
        "\"\\u",
        "a\n",
        "x",
        " ",
        "\u{1b}",
        "{\"a\":\"b\"}\n",
        "[0,",
        "\\\"",
    ] {
        assert!(
            !rendered(&junk.repeat(size / junk.len())).is_empty(),
            "{junk}"
        );
    }
    let list = format!(
        "[{}1]",
        r#"{"w":"a b","words":[{"w":"<b&"}],"t":1},"#.repeat(100_000)
    );
    assert!(rendered(&list).len() > 300_000);
}

proptest! {
    #[test]
    fn any_bytes_give_text_that_is_safe(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        check(&bytes);
    }

    #[test]
    fn any_text_gives_text_that_is_safe(text in "[\\PC\u{1b}\u{85}\u{202e}\n<>&;/b{}\\[\\]\":,]{0,80}") {
        check(text.as_bytes());
    }

    #[test]
    fn any_document_gives_text_that_is_safe(value in document()) {
        let whole = value.to_string();
        check(whole.as_bytes());
        check(&whole.as_bytes()[..whole.len() / 2]);
    }
}

fn check(bytes: &[u8]) {
    let transcript = read(bytes, start());
    let (text, srt, vtt) = (plain(&transcript), srt(&transcript), vtt(&transcript));
    assert_eq!(text.is_empty(), bytes.is_empty());
    for text in [text, srt, vtt] {
        assert!(text.chars().all(|c| c == '\n' || !c.is_control()));
        assert!(!text.contains(['\u{202e}', '\u{2066}']));
    }
}

/// JSON made of the keys that are looked for.
fn document() -> impl Strategy<Value = serde_json::Value> {
    use serde_json::Value;
    let leaf = prop_oneof![
        any::<f64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (0_u32..100_000).prop_map(Value::from),
        "[a-z .<>&\u{7}\u{202e}\n]{0,12}".prop_map(Value::from),
        prop_oneof![
            Just("00:01:02"),
            Just("2026-11-20T16:20:09Z"),
            Just("PT5S"),
            Just("agent"),
            Just("1e300")
        ]
        .prop_map(Value::from),
        Just(Value::Null),
    ];
    let key = proptest::sample::select(vec![
        "text",
        "words",
        "w",
        "start",
        "startMs",
        "end",
        "duration",
        "from",
        "to",
        "speaker",
        "channel",
        "agent",
        "customer",
        "alternatives",
        "time",
        "x",
    ]);
    leaf.prop_recursive(6, 60, 6, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            proptest::collection::vec((key.clone(), inner), 0..6).prop_map(|fields| fields
                .into_iter()
                .map(|(key, value)| (key.to_owned(), value))
                .collect()),
        ]
    })
}
