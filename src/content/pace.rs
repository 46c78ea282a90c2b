//! How fast a flight goes: how far ahead of its readers it may be, when it pauses, when it is dropped, and
//! what its connection brings.
//!
//! Pure: it is told the state and the times, and decides.

use std::time::Duration;

use super::flight::{Flight, State};
use super::history::TOLERANCE;
use super::plan::Kind;

const MIB: u64 = 1 << 20;

/// How far a stream runs ahead: at first, at most, and when it feeds a slow reader's disk.
const SMALLEST_WINDOW: u64 = 4 * MIB;

const LARGEST_WINDOW: u64 = 32 * MIB;

const SLOW_WINDOW: u64 = 64 * MIB;

/// A stream paused for so long has a slow reader.
pub(super) const SLOW_AFTER: Duration = Duration::from_secs(1);

/// A connection paused for so long is let go before a gateway cuts it.
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(25);

/// How long a stream outlives its last reader.
pub(super) const GRACE: Duration = Duration::from_secs(2);

/// What a rate is measured over, at least.
pub(super) const MEASURED_BYTES: u64 = MIB / 2;

pub(super) const MEASURED_TIME: Duration = Duration::from_millis(100);

/// What a flight may do just now.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Allowance {
    Go,
    Pause,
    /// No reader is near.
    Unwanted,
    /// Nothing is left to bring.
    Done,
}

/// How far ahead of `front` a stream may be.
fn window(flight: &Flight, front: u64, capacity: u64, has_disk: bool) -> u64 {
    let used = front.saturating_sub(flight.begin).saturating_mul(2);
    let window = if flight.reader_is_slow {
        SLOW_WINDOW
    } else {
        used.clamp(SMALLEST_WINDOW, LARGEST_WINDOW)
    };
    if has_disk {
        window
    } else {
        window.min(capacity)
    }
}

/// Whether a flight may bring more just now.
pub(super) fn allowance(state: &State, number: u64, capacity: u64, has_disk: bool) -> Allowance {
    let Some(flight) = state.flights.iter().find(|flight| flight.number == number) else {
        return Allowance::Done;
    };
    let position = flight.position;
    if position >= flight.end {
        return Allowance::Done;
    }
    if state.is_awaited(position, flight.end) || !state.size_waiters.is_empty() {
        return Allowance::Go;
    }
    match flight.kind {
        Kind::Rest if state.cursors.is_empty() => return Allowance::Unwanted,
        Kind::Bounded | Kind::Rest => return Allowance::Go,
        Kind::Stream => {}
    }
    let mut is_wanted = false;
    for history in state.cursors.values().filter(|history| history.has_begun()) {
        let front = history.front();
        let is_near = front.saturating_add(TOLERANCE) >= flight.begin
            && front <= position.saturating_add(TOLERANCE);
        if is_near {
            is_wanted = true;
            if position < front.saturating_add(window(flight, front, capacity, has_disk)) {
                return Allowance::Go;
            }
        }
    }
    if is_wanted {
        Allowance::Pause
    } else {
        Allowance::Unwanted
    }
}

/// Whether a cursor that is at `front` now should wake a paused flight: when there is enough to bring.
pub(super) fn is_worth_waking(flight: &Flight, front: u64, capacity: u64, has_disk: bool) -> bool {
    let window = window(flight, front, capacity, has_disk);
    flight.is_paused
        && flight.kind == Kind::Stream
        && flight.position + window / 4 <= front.saturating_add(window)
}

/// What the connection brings, without the time that nobody asked it for more.
#[derive(Default)]
pub(super) struct Meter {
    pub(super) bytes: u64,
    pub(super) time: Duration,
    /// Of that, the time during which a reader waited.
    pub(super) starved: Duration,
}

impl Meter {
    pub(super) fn note(&mut self, time: Duration, is_starved: bool) {
        self.time += time;
        if is_starved {
            self.starved += time;
        }
    }

    /// Bytes a second.
    pub(super) fn rate(&self) -> u64 {
        (self.bytes as f64 / self.time.as_secs_f64().max(1e-6)) as u64
    }
}
