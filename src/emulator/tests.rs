//! The emulator over real sockets, asked by a client that knows nothing but bytes.

mod client;
mod content;
mod faults;
mod limits;
mod search;
mod tls;
mod token;

use super::{Corpus, GeneratedSpec, Options, Running, Switches, start};

/// A small generated account without a rate limit.
async fn running(interactions: u64, change: impl FnOnce(&mut Switches)) -> Running {
    let mut switches = Switches {
        requests_per_minute: None,
        ..Switches::default()
    };
    change(&mut switches);
    let spec = GeneratedSpec {
        interactions,
        recording_bytes: 200_044,
        transcript_bytes: 2_000,
        screen_bytes: 70_000,
        ..GeneratedSpec::default()
    };
    let options = Options {
        corpus: Corpus::Generated(spec),
        switches,
        ..Options::default()
    };
    start(options).await.unwrap()
}
