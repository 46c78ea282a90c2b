//! Values that must never be printed by accident.

use std::fmt;

/// A value that is personal data: an address, a phone number, a file's own name.
///
/// It has no `Display` and its `Debug` shows only that something is there, so that it can't reach a log,
/// an error or a status by formatting whatever holds it.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Personal<T>(T);

impl<T> Personal<T> {
    /// Marks `value` as personal.
    pub fn new(value: T) -> Self {
        Self(value)
    }

    /// The value itself, for those who may have it: the user's own reads, and requests to the API.
    pub fn reveal(&self) -> &T {
        &self.0
    }
}

impl<T> fmt::Debug for Personal<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[personal]")
    }
}
