//! The sample interactions that `demo` shows: their manifest, and the bytes of their content files.
//!
//! Owns what is compiled in from `assets/samples`; how the directory is made is in its `make.sh`. Promises
//! that every file the manifest names is there, and that the recordings last as long as their transcripts.

/// The sample interactions as a JSON array. Days are relative (`daysAgo`, UTC), so that samples never age:
/// whoever serves them adds `start`, `lastModified` (`start` and `minutesAfter`) and `contentLength`.
pub(super) const MANIFEST: &str = include_str!("../../assets/samples/manifest.json");

/// The bytes of a content file that the manifest names.
pub(super) fn file(name: &str) -> Option<&'static [u8]> {
    macro_rules! included {
        ($($name:literal),* $(,)?) => {
            match name {
                $($name => Some(include_bytes!(concat!("../../assets/samples/", $name)).as_slice()),)*
                _ => None,
            }
        };
    }
    included!(
        "abandoned-log.json",
        "callback-transcript.json",
        "callback.wav",
        "chat.json",
        "delivery-transcript.json",
        "delivery.wav",
        "gauge.bin",
        "ivr.wav",
        "note.txt",
        "opening-transcript.json",
        "opening.wav",
        "refund-categories.json",
        "refund-screen.webm",
        "refund-sentiment.json",
        "refund-summary.json",
        "refund-transcript.json",
        "refund.wav",
        "sizes-transcript.json",
        "sizes.wav",
        "transfer-transcript.json",
        "transfer.wav",
        "voicemail-transcript.json",
        "voicemail.wav",
        "voucher.pdf",
    )
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use serde_json::Value;

    use super::*;

    fn manifest() -> Vec<Value> {
        serde_json::from_str(MANIFEST).unwrap()
    }

    fn items(interaction: &Value) -> &[Value] {
        interaction["content"].as_array().unwrap()
    }

    fn bytes_of(item: &Value) -> &'static [u8] {
        let name = item["file"].as_str().unwrap();
        file(name).unwrap_or_else(|| panic!("{name} is not compiled in"))
    }

    /// The length in seconds of a WAV file, by its chunks.
    fn seconds(wav: &[u8]) -> f64 {
        let number = |at: usize| u32::from_le_bytes(wav[at..at + 4].try_into().unwrap());
        assert_eq!((&wav[..4], &wav[8..12]), (&b"RIFF"[..], &b"WAVE"[..]));
        let (mut at, mut bytes_per_second) = (12, 0);
        loop {
            let length = number(at + 4);
            match &wav[at..at + 4] {
                b"fmt " => bytes_per_second = number(at + 16),
                b"data" => {
                    assert!(at + 8 + length as usize <= wav.len());
                    return f64::from(length) / f64::from(bytes_per_second);
                }
                _ => {}
            }
            at += 8 + length as usize + length as usize % 2;
        }
    }

    /// The largest end of a phrase or word in a transcript, in seconds; 0 if it has no times.
    fn last_end(transcript: &Value) -> f64 {
        match transcript {
            Value::Array(all) => all.iter().map(last_end).fold(0.0, f64::max),
            Value::Object(fields) => fields
                .iter()
                .map(|(name, value)| match name.as_str() {
                    "end" => value.as_f64().unwrap(),
                    "endMs" => value.as_f64().unwrap() / 1000.0,
                    _ => last_end(value),
                })
                .fold(0.0, f64::max),
            _ => 0.0,
        }
    }

    #[test]
    fn every_file_of_the_manifest_is_there_and_none_is_large() {
        let mut total = 0;
        for interaction in manifest() {
            for item in items(&interaction) {
                assert!(!bytes_of(item).is_empty());
                total += bytes_of(item).len();
            }
        }
        assert!(total < 8_000_000, "{total} bytes");
        assert_eq!(file("no-such-file"), None);
    }

    #[test]
    fn guids_and_keys_are_unique() {
        let mut guids = HashSet::new();
        for interaction in manifest() {
            let guid = interaction["guid"].as_str().unwrap().to_owned();
            assert_eq!((guid.len(), guid.to_lowercase()), (36, guid.clone()));
            assert!(guids.insert(guid));
            let keys: HashSet<_> = items(&interaction)
                .iter()
                .map(|item| item["contentKey"].as_str().unwrap())
                .collect();
            assert_eq!(keys.len(), items(&interaction).len());
        }
        assert!(guids.len() >= 8 && guids.contains("2480fc2c-bbd7-427c-9439-02f76583aef5"));
    }

    #[test]
    fn all_lie_within_the_last_seven_utc_days() {
        for interaction in manifest() {
            let days = interaction["daysAgo"].as_u64().unwrap();
            assert!(days <= 6);
            assert!(days > 0 || interaction["time"].as_str().unwrap() < "00:01");
        }
    }

    #[test]
    fn recordings_last_as_long_as_their_transcripts() {
        let mut compared = 0;
        for interaction in manifest() {
            let of_type = |types: &[&str]| {
                items(&interaction)
                    .iter()
                    .find(|item| types.contains(&item["type"].as_str().unwrap()))
            };
            let (Some(recording), Some(transcript)) = (
                of_type(&["callRecording", "voicemail"]),
                of_type(&["transcript"]),
            ) else {
                continue;
            };
            let end = last_end(&serde_json::from_slice(bytes_of(transcript)).unwrap());
            if end > 0.0 {
                let tail = seconds(bytes_of(recording)) - end;
                assert!((0.4..0.6).contains(&tail), "{tail} s after the last phrase");
                compared += 1;
            }
        }
        assert_eq!(compared, 6);
    }

    #[test]
    fn the_support_call_is_two_minutes_in_stereo_and_warns_about_the_card_number() {
        let wav = file("refund.wav").unwrap();
        assert_eq!(u16::from_le_bytes([wav[22], wav[23]]), 2);
        assert!((115.0..130.0).contains(&seconds(wav)));
        let text = String::from_utf8_lossy(file("refund-transcript.json").unwrap());
        assert!(text.contains("card number") && text.contains("refund"));
    }
}
