//! Interaction identifiers.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

/// The unique id of an interaction: a UUID in its 36-character text form, lower case when shown.
///
/// `Debug` prints the first eight characters only, because logs must not identify an interaction
/// (API reference, section 18).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Guid(Uuid);

/// The text is not a UUID of 36 characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a GUID: 36 characters such as 2480fc2c-bbd7-427c-9439-02f76583aef5 are needed")]
pub struct NotAGuid;

impl Guid {
    /// The GUID with these sixteen bytes.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }

    /// The sixteen bytes, as they are stored.
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// Whether `text` is this GUID's canonical name, in lower case.
    pub fn is_canonical(text: &str) -> bool {
        !text.bytes().any(|byte| byte.is_ascii_uppercase())
    }
}

impl FromStr for Guid {
    type Err = NotAGuid;

    /// Takes the hyphenated form only, in either case: the other forms that UUID parsers know (braces,
    /// URN, no hyphens) are not names of directories.
    fn from_str(text: &str) -> Result<Self, NotAGuid> {
        if text.len() != 36 {
            return Err(NotAGuid);
        }
        Uuid::try_parse(text).map(Self).map_err(|_| NotAGuid)
    }
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0.hyphenated(), f)
    }
}

impl fmt::Debug for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.to_string();
        write!(f, "{}…", &text[..8])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_hyphenated_form_is_a_guid() {
        let text = "2480fc2c-bbd7-427c-9439-02f76583aef5";
        let guid: Guid = text.parse().unwrap();
        assert_eq!(guid.to_string(), text);
        assert_eq!(text.to_uppercase().parse::<Guid>().unwrap(), guid);
        for bad in [
            "",
            "2480fc2cbbd7427c943902f76583aef5",
            "{2480fc2c-bbd7-427c-9439-02f76583aef}",
            "2480fc2c-bbd7-427c-9439-02f76583aefg",
            "2480fc2cb-bd7-427c-9439-02f76583aef5",
            " 2480fc2c-bbd7-427c-9439-02f76583aef",
        ] {
            assert_eq!(bad.parse::<Guid>(), Err(NotAGuid), "{bad}");
        }
    }

    #[test]
    fn debug_does_not_identify() {
        let guid: Guid = "2480fc2c-bbd7-427c-9439-02f76583aef5".parse().unwrap();
        assert_eq!(format!("{guid:?}"), "2480fc2c…");
    }
}
