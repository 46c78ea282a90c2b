//! Is an answer of the version that an object stands for?
//!
//! The metadata's `lastModified` and length are the only documented version mark; ETag and Last-Modified
//! of answers are undocumented, so they may be missing, or change for no reason. They are pinned by the
//! first answer and never relied on alone: what looks like another version is settled by reading the
//! metadata again, before a byte of the answer is published. The rules are pure functions here; the
//! asking is in [`super::stream`].

use std::sync::atomic::{AtomicU32, Ordering};

use crate::model::{ContentId, Interaction};
use crate::remote::Validator;

/// After so many objects whose ETag changed without cause, ETags of this server are not sent any more.
const UNSTABLE: u32 = 2;

/// The longest validator that is kept, in bytes.
const LONGEST: usize = 200;

/// What an object's answers have said so far of its version.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Pinned {
    validator: Validator,
    etag_is_useless: bool,
    last_modified_is_useless: bool,
}

/// Whether ETags of this server have proved unstable.
#[derive(Debug, Default)]
pub(super) struct EtagTrust(AtomicU32);

/// In what an answer differs from what is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Difference {
    pub(super) etag: bool,
    pub(super) last_modified: bool,
    pub(super) length: bool,
}

/// What the metadata, read again, says about an object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// It is another version, or none.
    Replaced,
    /// Other bytes are in the version's place, and the metadata doesn't know of it.
    Overwritten,
    /// The version is the same; only its true length was not known.
    Resized,
    /// The version is the same, but of another length than is known, which only one answer has said so far.
    Doubted,
    /// The version is the same, and has bytes: an answer that says it is empty is wrong.
    Refuted,
    /// The version is the same, and the validator that changed is worth nothing.
    Same,
}

impl EtagTrust {
    fn is_lost(&self) -> bool {
        self.0.load(Ordering::Relaxed) >= UNSTABLE
    }

    fn lose_some(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Difference {
    /// In the length only.
    pub(super) fn of_length() -> Self {
        Self {
            length: true,
            ..Self::default()
        }
    }

    pub(super) fn is_none(self) -> bool {
        self == Self::default()
    }
}

impl Pinned {
    /// Pins what an earlier mount pinned.
    pub(super) fn restored(validator: Validator) -> Self {
        Self {
            validator,
            ..Self::default()
        }
    }

    /// What was pinned.
    pub(super) fn validator(&self) -> &Validator {
        &self.validator
    }

    /// What to send as `If-Range`.
    pub(super) fn condition(&self, trust: &EtagTrust) -> Option<Validator> {
        let etag = self
            .validator
            .etag
            .clone()
            .filter(|_| !self.etag_is_useless && !trust.is_lost());
        let last_modified = self
            .validator
            .last_modified
            .clone()
            .filter(|_| !self.last_modified_is_useless);
        (etag.is_some() || last_modified.is_some()).then_some(Validator {
            etag,
            last_modified,
        })
    }

    /// Compares an answer with what is pinned, and with the length if both are known.
    pub(super) fn compare(
        &self,
        answer: &Validator,
        total: Option<u64>,
        size: Option<u64>,
    ) -> Difference {
        Difference {
            etag: !self.etag_is_useless && self.validator.differs_in_etag(answer),
            last_modified: !self.last_modified_is_useless
                && self.validator.differs_in_last_modified(answer),
            length: matches!((total, size), (Some(total), Some(size)) if total != size),
        }
    }

    /// Whether an answer carries a validator that is known to be this version's.
    pub(super) fn vouches_for(&self, answer: &Validator) -> bool {
        fn agree(pinned: Option<&str>, answer: Option<&str>) -> bool {
            pinned.is_some() && pinned == answer
        }
        let etag = agree(self.validator.etag.as_deref(), answer.etag.as_deref());
        let last_modified = agree(
            self.validator.last_modified.as_deref(),
            answer.last_modified.as_deref(),
        );
        (etag && !self.etag_is_useless) || (last_modified && !self.last_modified_is_useless)
    }

    /// Pins what is not pinned yet. A validator that is there on one answer and not on the next is none: a server
    /// that can't compare it would send the whole file each time.
    pub(super) fn pin(&mut self, answer: &Validator) {
        self.etag_is_useless |= self.validator.etag.is_some() && answer.etag.is_none();
        let short = |text: &Option<Box<str>>| text.clone().filter(|text| text.len() <= LONGEST);
        if self.validator.etag.is_none() {
            self.validator.etag = short(&answer.etag);
        }
        if self.validator.last_modified.is_none() {
            self.validator.last_modified = short(&answer.last_modified);
        }
    }

    /// Judges a difference by the metadata, just read again, and adapts to it when the version is the same.
    pub(super) fn judge(
        &mut self,
        id: &ContentId,
        interaction: &Interaction,
        difference: Difference,
        trust: &EtagTrust,
    ) -> Verdict {
        let Some(item) = interaction.items.iter().find(|item| item.key == id.key) else {
            return Verdict::Replaced;
        };
        if item.version != id.version {
            return Verdict::Replaced;
        }
        let etag_agrees =
            self.validator.etag.is_some() && !self.etag_is_useless && !difference.etag;
        match difference {
            Difference {
                etag: true,
                last_modified: true,
                ..
            }
            | Difference {
                etag: true,
                length: true,
                ..
            }
            | Difference {
                last_modified: true,
                length: true,
                ..
            } => Verdict::Overwritten,
            Difference {
                last_modified: true,
                ..
            } if !etag_agrees => Verdict::Overwritten,
            Difference {
                last_modified: true,
                ..
            } => {
                self.last_modified_is_useless = true;
                Verdict::Same
            }
            Difference { etag: true, .. } => {
                self.etag_is_useless = true;
                trust.lose_some();
                Verdict::Same
            }
            Difference { length: true, .. } => Verdict::Resized,
            Difference { .. } => Verdict::Same,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tagged(etag: Option<&str>) -> Validator {
        Validator {
            etag: etag.map(Into::into),
            last_modified: None,
        }
    }

    #[test]
    fn only_a_validator_that_stays_vouches_for_an_answer() {
        let mut pinned = Pinned::default();
        assert!(
            !pinned.vouches_for(&tagged(None)),
            "nothing vouches for nothing"
        );
        pinned.pin(&tagged(Some("\"a\"")));
        assert!(pinned.vouches_for(&tagged(Some("\"a\""))));
        assert!(!pinned.vouches_for(&tagged(Some("\"b\""))));
        pinned.pin(&tagged(None));
        assert!(!pinned.vouches_for(&tagged(Some("\"a\""))));
        assert_eq!(pinned.condition(&EtagTrust::default()), None);
    }
    use crate::model::{ContentKey, ContentVersion};

    const GUID: &str = "2480fc2c-bbd7-427c-9439-02f76583aef5";

    fn interaction(length: u64) -> Interaction {
        Interaction::from_json(&format!(
            r#"{{"guid":"{GUID}","start":"2026-11-22T10:15:00Z","content":[{{"contentKey":"callRecording",
            "type":"callRecording","contentLength":{length},"lastModified":"2026-11-22T10:16:00Z"}}]}}"#
        ))
        .unwrap()
    }

    fn id() -> ContentId {
        ContentId {
            guid: GUID.parse().unwrap(),
            key: ContentKey::new("callRecording"),
            version: ContentVersion {
                last_modified: Some("2026-11-22T10:16:00Z".parse().unwrap()),
                length: Some(100),
            },
        }
    }

    fn validator(etag: &str, last_modified: &str) -> Validator {
        let some = |text: &str| (!text.is_empty()).then(|| text.into());
        Validator {
            etag: some(etag),
            last_modified: some(last_modified),
        }
    }

    #[test]
    fn what_an_answer_lacks_is_no_difference() {
        let mut pinned = Pinned::default();
        pinned.pin(&validator("\"a\"", ""));
        pinned.pin(&validator("\"a\"", "Sun"));
        assert_eq!(pinned.validator(), &validator("\"a\"", "Sun"));
        assert!(pinned.compare(&validator("", ""), None, Some(5)).is_none());
        assert!(
            pinned
                .compare(&validator("\"b\"", "Sun"), Some(5), Some(5))
                .etag
        );
    }

    #[test]
    fn the_metadata_decides() {
        let trust = EtagTrust::default();
        let mut pinned = Pinned::default();
        pinned.pin(&validator("\"a\"", "Sun"));
        let unstable = pinned.compare(&validator("\"b\"", "Sun"), Some(100), Some(100));
        let rejudged = |pinned: &mut Pinned, length, difference| {
            pinned.judge(&id(), &interaction(length), difference, &trust)
        };
        assert_eq!(
            rejudged(&mut pinned.clone(), 101, unstable),
            Verdict::Replaced
        );
        assert_eq!(rejudged(&mut pinned, 100, unstable), Verdict::Same);
        assert!(
            pinned
                .compare(&validator("\"c\"", "Sun"), Some(100), Some(100))
                .is_none(),
            "an ETag that changed without cause is not looked at again"
        );
        let longer = pinned.compare(&validator("", "Sun"), Some(120), Some(100));
        assert_eq!(rejudged(&mut pinned, 100, longer), Verdict::Resized);
        let newer = pinned.compare(&validator("", "Mon"), Some(100), Some(100));
        assert_eq!(rejudged(&mut pinned, 100, newer), Verdict::Overwritten);
    }
}
