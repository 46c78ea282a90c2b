//! What makes people trust the mount: reads under faults of all kinds for a long time, crashes at random moments,
//! caches that were damaged while nobody looked. Each byte that is served is compared with the generator.
//!
//! Each runs for seconds here; environment variables make them run for hours (`docs/trust.md`).

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "it fails by panicking, and prints what it did"
)]

#[path = "../common/mod.rs"]
mod common;
mod corruption;
mod crashes;
mod damage;
mod faults;
mod hostile;
mod random;
mod reader;
mod soak;
mod usage;
mod world;

/// A number from the environment, or what CI runs.
fn from_environment(variable: &str, otherwise: u64) -> u64 {
    match std::env::var(variable) {
        Ok(text) => text.parse().unwrap(),
        Err(_) => otherwise,
    }
}
