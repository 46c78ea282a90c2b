//! What the API speaks of, as types: interactions, content items, versions, byte ranges, time windows.
//!
//! Plain values and pure rules, shared by every layer. This module knows neither FUSE nor HTTP, does no
//! I/O and reads no clock. Whatever comes from outside is parsed here once and trusted from then on; what
//! is personal sits in [`Personal`], whose `Debug` prints nothing.

mod day;
mod filter;
#[cfg(test)]
mod fuzz;
mod guid;
mod interaction;
mod item;
mod json;
mod names;
mod personal;
mod range;
mod window;

pub use day::Day;
pub use filter::{Direction, SearchFilter};
pub use guid::{Guid, NotAGuid};
pub use interaction::{AgentId, BadInteraction, Interaction};
pub use item::{ContentId, ContentKey, ContentVersion, Item, ItemType};
pub use json::{for_each_element, most_values};
pub use names::{NameTable, escape};
pub use personal::Personal;
pub use range::ByteRange;
pub use window::TimeWindow;
