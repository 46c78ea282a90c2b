//! Hostile transcripts, of all shapes.

use super::{plain, read, srt, vtt};
use crate::mutation::fuzz;

#[test]
fn transcripts() {
    // The beginning is enough of each shape, and quick.
    let samples: [&[u8]; 7] = [
        include_bytes!("../../assets/samples/opening-transcript.json"),
        include_bytes!("../../assets/samples/transfer-transcript.json"),
        include_bytes!("../../assets/samples/voicemail-transcript.json"),
        include_bytes!("../../assets/samples/refund-sentiment.json"),
        include_bytes!("../../assets/samples/chat.json"),
        include_bytes!("../../assets/samples/abandoned-log.json"),
        include_bytes!("../../assets/samples/note.txt"),
    ];
    let mut inputs: Vec<Vec<u8>> = samples
        .map(|bytes| bytes[..bytes.len().min(3000)].to_vec())
        .into();
    let shapes = [
        r#"{"phrases":[{"speaker":"agent","start":1.5,"end":2.5,"text":"Hello"},{"start":"PT3S","text":"<b>Bye</b>"}]}"#,
        r#"[{"channel":0,"offset":1000,"duration":500,"words":[{"word":"Hello","start":0.1},{"word":"there"}]}]"#,
        r#"{"results":{"transcripts":[{"transcript":"all of it"}],"items":[{"alternatives":[{"content":"all"}]}]}}"#,
        r#"{"messages":[{"from":"Customer","time":"2026-11-22T10:15:00Z","html":"<p>Hi &amp; hello<br>there</p>"}]}"#,
        "WEBVTT\n\n00:00:01.000 --> 00:00:02.000\n<v Agent>Hello\n",
        "1\n00:00:01,000 --> 00:00:02,000\nHello\n",
        "{\"a\":1,\"text\":\"x\"}\n{\"a\":2,\"text\":\"y\"}\n",
        "Agent: Hello\nCustomer: Hi\n",
        "\u{feff}\u{1b}[31mred\u{7}",
    ];
    inputs.extend(shapes.map(|text| text.as_bytes().to_vec()));
    let start = "2026-11-22T10:15:00Z".parse().unwrap();
    fuzz("transcripts", inputs, 1500, |input| {
        let transcript = read(input, start);
        let mut outcome = Vec::new();
        for (text, what) in [
            (plain(&transcript), "text"),
            (srt(&transcript), "srt"),
            (vtt(&transcript), "vtt"),
        ] {
            let steers = text.chars().find(|&c| c.is_control() && c != '\n');
            assert_eq!(steers, None, "{what}");
            // Times and speakers are repeated, so it may be longer than the input, but not without bound.
            assert!(
                text.len() <= 20_000 + 200 * input.len(),
                "{what}: {}",
                text.len()
            );
            outcome.push(text.len().checked_ilog2());
        }
        (outcome, transcript.phrases.len().min(5))
    });
}
