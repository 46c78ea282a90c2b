//! An interaction's JSON as it is stored: LZ4 against a dictionary of what all of them have in common.
//!
//! A quarter of the size, so that a million interactions fit in memory where nothing may be written to disk, and
//! cost a quarter of the writing where it may. Text that is stored as text, as the first version of the
//! schema did, is read as it is.

use std::borrow::Cow;

use rusqlite::types::ValueRef;

/// The first byte of what is packed with [`DICTIONARY`]. Another dictionary needs another number.
const FORM: u8 = 1;

/// Form and length.
const HEAD: usize = 5;

/// LZ4 makes a byte into at most so many.
const MOST_GROWTH: usize = 255;

/// What interactions look like, the commonest last. Part of the format: it must never change.
const DICTIONARY: &[u8] = br#""null,"numberOfMessages":"duration":"language":"en-GB","participants":[{"type":"agent","id":"name":"text/plain; charset=utf-8"application/pdfimage/jpegimage/pngaudio/mpegvideo/mp4"caseId":"filename":"voicemail","contentType":"chatTranscript","contentType":"categorisation","contentType":"summary","contentType":"analysis","contentType":"attachment","direction":"outbound","handlingAgents":[]{"guid":"-0000-4000-8000-","start":"2026-01-01T00:00:00.000Z","connectFrom":null,"connectFrom":"+44","connectTo":"+44","direction":"inbound","handlingAgents":[{"id":"1000"},{"id":"1001"}],"content":[{"contentKey":"callRecording","type":"callRecording","contentType":"audio/wav","contentLength":1000000,"lastModified":"2026-01-01T00:00:00Z","properties":{}},{"contentKey":"transcript","type":"transcript","contentType":"application/json","contentLength":10000,"lastModified":"2026-01-01T00:00:00Z","properties":{}},{"contentKey":"screenRecording","type":"screenRecording","contentType":"video/webm","contentLength":5000000,"lastModified":"2026-01-01T00:00:00Z","properties":{}}]}"#;

/// JSON as it is stored.
pub(super) fn pack(json: &str) -> Vec<u8> {
    let mut packed = Vec::with_capacity(json.len() / 2);
    packed.push(FORM);
    // What comes from one page is far below 4 GiB.
    packed.extend_from_slice(&u32::try_from(json.len()).unwrap_or(u32::MAX).to_le_bytes());
    packed.extend(lz4_flex::block::compress_with_dict(
        json.as_bytes(),
        DICTIONARY,
    ));
    packed
}

/// Stored JSON, if it can be read.
pub(super) fn unpack(stored: ValueRef<'_>) -> Option<Cow<'_, str>> {
    let packed = match stored {
        ValueRef::Text(text) => return std::str::from_utf8(text).ok().map(Cow::Borrowed),
        ValueRef::Blob(packed) => packed,
        _ => return None,
    };
    let (head, body) = packed.split_at_checked(HEAD)?;
    let (form, length) = head.split_first()?;
    let length = usize::try_from(u32::from_le_bytes(length.try_into().ok()?)).ok()?;
    // A damaged length must not take the memory.
    if *form != FORM || length > body.len().saturating_mul(MOST_GROWTH) {
        return None;
    }
    let json = lz4_flex::block::decompress_with_dict(body, length, DICTIONARY).ok()?;
    String::from_utf8(json).ok().map(Cow::Owned)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::catalogue::testing::{base, build};

    #[test]
    fn an_interaction_takes_a_third() {
        let kinds = ["callRecording", "transcript", "screenRecording"];
        let json = build(1, base(), "inbound", &["1147"], &kinds).json;
        let packed = pack(json.reveal());
        assert!(packed.len() * 3 < json.reveal().len(), "{}", packed.len());
        assert_eq!(unpack(ValueRef::Blob(&packed)).unwrap(), **json.reveal());
    }

    #[test]
    fn the_first_schemas_text_is_read() {
        assert_eq!(unpack(ValueRef::Text(b"{}")).unwrap(), "{}");
        assert_eq!(unpack(ValueRef::Text(b"\xff")), None);
        assert_eq!(unpack(ValueRef::Null), None);
    }

    proptest! {
        #[test]
        fn any_text_comes_back(text in ".{0,300}") {
            let packed = pack(&text);
            prop_assert_eq!(unpack(ValueRef::Blob(&packed)).unwrap(), text);
        }

        #[test]
        fn damage_is_an_error_or_another_text(mut packed in prop::collection::vec(any::<u8>(), 0..60)) {
            if let Some(form) = packed.first_mut() {
                *form = FORM;
            }
            let _ = unpack(ValueRef::Blob(&packed));
        }
    }
}
