//! Metrics in the Prometheus text format, on a small HTTP listener of their own.
//!
//! What is exported is [`FAMILIES`], a table over the keys of `stats.json`: the same figures, from the same
//! source, and nothing beside them. Labels are kinds, results and tiers; no GUID, key, address or name can get in. The
//! listener knows nothing of what a mount is: it is given a function that tells the status.

mod families;
mod listener;

pub use families::{FAMILIES, Family, Kind, Series, exposition};
pub use listener::{Listener, Tell};
