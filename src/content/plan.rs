//! What to do about a block that is not here: wait for a stream, or ask for which bytes.
//!
//! Pure: it sees a [`Situation`] and gives a [`Plan`], so every rule of the request economy (design,
//! section 6) is a row in a table of tests. Requests are the scarcest thing, so a plan costs one request
//! wherever one will do; bytes held or on their way are never asked for again.

use std::ops::Range;
use std::time::Duration;

use crate::model::ByteRange;
use crate::remote::Conditions;

use super::block::{self, BLOCK, Blocks};
use super::history::{EVIDENCE, History};

const MIB: u64 = 1 << 20;

/// Files up to this size are fetched whole.
pub(super) const WHOLE: u64 = 4 * MIB;

/// What a first touch or a far seek asks for: room for a read of 1 MiB that is not aligned, and for the
/// kernel's smallest readahead behind it.
const BOUNDED: u64 = 3 * MIB / 2;

/// What is added to a demand of 1 MiB and more that is seen before the request is sent.
const BEHIND_LARGE_DEMAND: u64 = 5 * MIB / 4;

/// The most that a range grows to while it waits to be sent.
const LARGEST_BOUNDED: u64 = 8 * MIB;

/// A stream this close is always waited for.
pub(super) const READ_THROUGH: u64 = 2 * MIB;

/// How far the kernel reads ahead of a program: two windows of 1 MiB (`fuse/readahead.rs`), which
/// `POSIX_FADV_SEQUENTIAL` (cat, cp, md5sum) doubles, and some.
const READAHEAD: u64 = 9 * MIB / 2;

/// Holes up to this size beside a bounded range are fetched with it: they would cost a request later.
const CRUMB: u64 = MIB / 2;

/// The same for somebody who keeps seeking, so that fewer holes are left to be streamed.
const LARGE_CRUMB: u64 = 4 * MIB;
const KEEPS_SEEKING: u64 = 3;

/// Ski rental: after so many bounded ranges of one object, the rest is worth streaming. Fewer when the
/// reader jumps backwards, which nobody does who looks something up and goes on.
const FORWARD_SEEKS: u64 = 7;
const RANDOM_SEEKS: u64 = 5;

/// A larger rest takes more far reads to be worth it: one for each so many bytes.
const REST_PER_FETCH: u64 = 24 * MIB;

/// Slower than this, a connection may be the bottleneck, and several may be faster. Well below what a
/// busy machine makes of a fast link, so that its own slowness is not taken for the wire's.
pub(super) const SLOW: u64 = 120 * MIB;

/// A rest that takes longer than this over one slow connection is worth several.
const LONG: Duration = Duration::from_millis(500);

/// How long a reader may wait for a stream that starts at its hole's beginning.
const PATIENCE: Duration = Duration::from_millis(300);

/// How long a reader may wait for bytes that will be fetched anyway, before they are worth a request.
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// The most requests that ski rental over slow connections makes of one object, all counted.
const PARALLEL_TOTAL: u64 = 15;

/// With fewer requests left in the minute, none is spent on throughput.
const PLENTY: u32 = 64;

/// A connection's rate before any was measured, bytes a second.
const GUESSED_RATE: u64 = 400 * MIB;

/// Why bytes are asked for; decides how far a flight may run ahead, and when it is dropped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// A bounded range that somebody waits for: always completed.
    Bounded,
    /// Runs ahead of a sequential reader, by a window.
    Stream,
    /// Brings all that is missing, as long as somebody has the object open.
    Rest,
}

/// A flight under way, as far as planning goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct FlightView {
    pub(super) number: u64,
    pub(super) kind: Kind,
    /// Where it began.
    pub(super) begin: u64,
    /// The next byte it will bring.
    pub(super) position: u64,
    /// Where it will end.
    pub(super) end: u64,
    /// Whether its request is out: until then its end may be moved outwards.
    pub(super) is_sent: bool,
}

/// All that a plan depends on.
#[derive(Debug)]
pub(super) struct Situation<'a> {
    /// The file's length in bytes.
    pub(super) size: u64,
    /// From the first missing block's first byte to the end of what is wanted.
    pub(super) want: ByteRange,
    /// Blocks held in either tier.
    pub(super) present: &'a Blocks,
    /// What is on its way.
    pub(super) flights: &'a [FlightView],
    /// What the cursor has read, this read included.
    pub(super) history: History,
    /// Bounded ranges asked for so far.
    pub(super) bounded_fetches: u64,
    /// Far seeks backwards so far.
    pub(super) backward_seeks: u64,
    /// What one connection brings, bytes a second, if measured.
    pub(super) rate: Option<u64>,
    /// The wire just now.
    pub(super) conditions: Conditions,
    /// Bytes that may be held ahead of readers in memory.
    pub(super) capacity: u64,
    /// Bytes that memory alone keeps of one object without crowding others out.
    pub(super) keeps: u64,
    /// Whether what is fetched stays (on disk), however much it is.
    pub(super) keeps_everything: bool,
}

/// A request to make. `end` is the file's size for all to its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Fetch {
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) kind: Kind,
}

/// What to do about the first missing block.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Plan {
    /// A flight will bring it.
    Wait,
    /// A flight whose request is not out yet shall bring it: move its ends.
    Extend { number: u64, begin: u64, end: u64 },
    /// Ask. One of the fetches brings the block; whatever flight has them in its path ends there.
    Fetch(Vec<Fetch>),
}

/// The plan for the first missing block of a read.
pub(super) fn plan(situation: &Situation<'_>) -> Plan {
    let at = situation.want.start();
    let covering = situation
        .flights
        .iter()
        .find(|flight| flight.position <= at && at < flight.end);
    if let Some(flight) = covering {
        return if situation.is_worth_waiting_for(flight) {
            situation.grown(flight).unwrap_or(Plan::Wait)
        } else {
            Plan::Fetch(vec![situation.bounded(at..flight.end)])
        };
    }
    let growing = situation.flights.iter().find_map(|flight| {
        (flight.end <= at && at <= flight.end + MIB)
            .then(|| situation.grown(flight))
            .flatten()
            .or_else(|| situation.begun_earlier(flight))
    });
    if let Some(plan) = growing {
        return plan;
    }
    let hole = situation.hole();
    if situation.size <= WHOLE.min(situation.room()) {
        return Plan::Fetch(vec![Fetch {
            start: hole.start,
            end: hole.end,
            kind: Kind::Bounded,
        }]);
    }
    if situation.goes_on(hole.start) {
        let start = if at - hole.start <= READ_THROUGH {
            hole.start
        } else {
            at
        };
        return Plan::Fetch(vec![Fetch {
            start,
            end: hole.end,
            kind: Kind::Stream,
        }]);
    }
    if situation.is_rest_worth_it() {
        return Plan::Fetch(situation.rest(hole));
    }
    Plan::Fetch(vec![situation.bounded(hole)])
}

/// The stream to start before a sequential reader gets to the end of what is held or on its way; `None`
/// when there is nothing to do yet.
pub(super) fn plan_ahead(situation: &Situation<'_>) -> Option<Fetch> {
    if situation.size <= WHOLE || !situation.history.is_sequential() {
        return None;
    }
    let front = situation.history.front();
    let margin = if situation.history.bytes() >= 8 * MIB {
        READ_THROUGH
    } else {
        BLOCK
    };
    let taken = situation.taken();
    // The last block read, so that a read up to a boundary sees what is behind it.
    let next = taken.first_missing(block::index_of(front.saturating_sub(1)));
    let start = block::start_of(next);
    if start >= situation.size || start > front.saturating_add(margin) {
        return None;
    }
    let hole = taken.hole_at(next, block::count_of(situation.size))?;
    let end = block::start_of(hole.end).min(situation.size);
    // What lies between the hole's beginning and the front was asked for by READs that came out of order: left out, it
    // would cost a request of its own.
    let begin = block::start_of(hole.start);
    let is_of_this_run = begin + BLOCK > situation.history.start() && start - begin <= READ_THROUGH;
    Some(Fetch {
        start: if is_of_this_run { begin } else { start },
        end,
        kind: Kind::Stream,
    })
}

impl Situation<'_> {
    /// What is held or on its way.
    fn taken(&self) -> Blocks {
        let mut taken = self.present.clone();
        for flight in self.flights {
            taken.insert(block::index_of(flight.position)..flight.end.div_ceil(BLOCK));
        }
        taken
    }

    /// The bytes around the wanted one that are neither held nor on their way.
    fn hole(&self) -> Range<u64> {
        let wanted = block::index_of(self.want.start());
        let hole = self
            .taken()
            .hole_at(wanted, block::count_of(self.size))
            .unwrap_or(wanted..wanted + 1);
        block::start_of(hole.start)..block::start_of(hole.end).min(self.size)
    }

    /// The most bytes that a bounded range may have.
    fn room(&self) -> u64 {
        if self.keeps_everything {
            u64::MAX
        } else {
            self.capacity.max(BLOCK) / BLOCK * BLOCK
        }
    }

    fn time_for(&self, bytes: u64) -> Duration {
        Duration::from_secs_f64(bytes as f64 / self.rate.unwrap_or(GUESSED_RATE).max(1) as f64)
    }

    /// Whether `flight`, which has the wanted byte in its path, brings it soon enough.
    fn is_worth_waiting_for(&self, flight: &FlightView) -> bool {
        let distance = self.want.start() - flight.position;
        if flight.kind != Kind::Stream {
            return distance <= LARGEST_BOUNDED
                || self.time_for(distance) <= LONGEST_WAIT
                || self.conditions.budget_left == 0;
        }
        // The stream that serves this very run: what asks from far ahead of it is the kernel's readahead.
        let serves_this_run = self.history.bytes() >= EVIDENCE
            && self.history.start() <= flight.position
            && flight.position <= self.history.front();
        distance <= READ_THROUGH
            || (serves_this_run && distance <= READAHEAD)
            // A window's worth ahead would not be sent before its reader gets there.
            || (distance <= self.capacity
                && self.history.start() <= flight.position
                && self.time_for(distance) <= self.conditions.latency)
            || self.conditions.budget_left == 0
    }

    /// The plan to move `flight`'s end, if its request isn't out and a burst of READs asks for more.
    fn grown(&self, flight: &FlightView) -> Option<Plan> {
        if flight.is_sent || flight.kind != Kind::Bounded {
            return None;
        }
        let demand = self.want.end().saturating_sub(flight.begin);
        if demand > LARGEST_BOUNDED {
            return None;
        }
        let others: Vec<FlightView> = self
            .flights
            .iter()
            .copied()
            .filter(|other| other.number != flight.number)
            .collect();
        let alone = Situation {
            flights: &others,
            want: self.want,
            ..*self
        };
        let behind = alone
            .taken()
            .hole_at(block::index_of(flight.begin), block::count_of(self.size))
            .map_or(flight.end, |hole| block::start_of(hole.end).min(self.size));
        let end = (flight.begin + self.bounded_length(demand)).min(behind);
        (end > flight.end && end > self.want.start()).then_some(Plan::Extend {
            number: flight.number,
            begin: flight.begin,
            end: block::round_up(end, self.size),
        })
    }

    /// The plan to let `flight` begin earlier: the READs of a burst may arrive in any order.
    fn begun_earlier(&self, flight: &FlightView) -> Option<Plan> {
        let at = self.want.start();
        let is_before = at < flight.begin && flight.begin - at <= MIB;
        let is_free = block::start_of(self.taken().first_missing(block::index_of(at))) == at
            && self.hole().end == flight.begin;
        (is_before && is_free && !flight.is_sent && flight.kind == Kind::Bounded).then_some(
            Plan::Extend {
                number: flight.number,
                begin: at,
                end: flight.end,
            },
        )
    }

    fn bounded_length(&self, demand: u64) -> u64 {
        let length = if demand >= MIB {
            demand + BEHIND_LARGE_DEMAND
        } else {
            BOUNDED
        };
        block::round_up(length, u64::MAX).min(self.room())
    }

    /// One bounded range for the wanted bytes in `hole`.
    fn bounded(&self, hole: Range<u64>) -> Fetch {
        let crumb = if self.bounded_fetches >= KEEPS_SEEKING && self.room() > 2 * LARGE_CRUMB {
            LARGE_CRUMB
        } else {
            CRUMB
        };
        let mut start = self.want.start();
        let before = start - hole.start;
        // Whoever touches a file first near its beginning reads on from its beginning, or just did.
        let is_beginning = hole.start == 0 && before <= MIB && self.bounded_fetches == 0;
        let is_soon_read = before <= CRUMB || self.time_for(before) <= self.conditions.latency;
        if ((before <= crumb && is_soon_read) || is_beginning) && self.room() >= BOUNDED {
            start = hole.start;
        }
        let demand = self.want.end().saturating_sub(start).min(LARGEST_BOUNDED);
        let mut end = start
            .saturating_add(self.bounded_length(demand))
            .min(hole.end);
        if hole.end - end <= crumb && self.room() >= BOUNDED + CRUMB {
            end = hole.end;
        }
        Fetch {
            start,
            end,
            kind: Kind::Bounded,
        }
    }

    /// Whether the cursor reads on into the hole that begins at `hole_start`.
    fn goes_on(&self, hole_start: u64) -> bool {
        self.history.is_sequential()
            && hole_start >= self.history.start()
            && self.want.start() <= self.history.front().saturating_add(BLOCK)
    }

    fn remaining(&self) -> u64 {
        let missing = block::count_of(self.size).saturating_sub(self.taken().len());
        missing.saturating_mul(BLOCK)
    }

    fn is_rest_worth_it(&self) -> bool {
        let remaining = self.remaining();
        if !self.keeps_everything && remaining > self.keeps {
            return false;
        }
        let seeks = if self.backward_seeks > 0 {
            RANDOM_SEEKS
        } else {
            FORWARD_SEEKS
        };
        self.bounded_fetches >= seeks.max(remaining / REST_PER_FETCH)
    }

    /// Streams for the rest: the wanted byte's hole alone, as each hole is one request that its own miss
    /// will pay; all holes at once in parallel when single connections are too slow.
    fn rest(&self, hole: Range<u64>) -> Vec<Fetch> {
        let is_slow = self.rate.is_some_and(|rate| rate < SLOW);
        if is_slow
            && self.conditions.budget_is_idle
            && self.conditions.budget_left >= PLENTY
            && self.time_for(self.remaining()) > LONG
        {
            return self.parallel_rest(&hole);
        }
        let wanted = self.want.start();
        let start = if self.time_for(wanted - hole.start) <= PATIENCE {
            hole.start
        } else {
            wanted
        };
        vec![Fetch {
            start,
            end: hole.end,
            kind: Kind::Rest,
        }]
    }

    fn parallel_rest(&self, wanted: &Range<u64>) -> Vec<Fetch> {
        let most = PARALLEL_TOTAL
            .saturating_sub(self.bounded_fetches)
            .clamp(1, 10) as usize;
        let mut holes: Vec<Range<u64>> = self
            .taken()
            .holes(block::count_of(self.size))
            .into_iter()
            .map(|hole| block::start_of(hole.start)..block::start_of(hole.end).min(self.size))
            .collect();
        // The reader's own hole first, then the largest.
        holes.sort_by_key(|hole| (hole != wanted, std::cmp::Reverse(hole.end - hole.start)));
        holes.truncate(most);
        while holes.len() < most {
            let Some(largest) = (0..holes.len()).max_by_key(|&i| holes[i].end - holes[i].start)
            else {
                break;
            };
            let hole = holes[largest].clone();
            let middle = block::round_up(hole.start + (hole.end - hole.start) / 2, hole.end);
            if hole.end - hole.start < WHOLE || middle >= hole.end {
                break;
            }
            holes[largest] = hole.start..middle;
            holes.push(middle..hole.end);
        }
        holes
            .into_iter()
            .map(|hole| Fetch {
                start: hole.start,
                end: hole.end,
                kind: Kind::Rest,
            })
            .collect()
    }
}

/// Into which parts, besides its own first, a stream is split whose connection is the bottleneck; empty
/// when that doesn't pay, or when what comes out of order can't be kept.
pub(super) fn split(
    position: u64,
    end: u64,
    rate: u64,
    conditions: &Conditions,
    keeps: u64,
) -> Vec<Range<u64>> {
    const SMALLEST: u64 = 16 * MIB;
    const PARTS: u64 = 4;
    let remaining = end.saturating_sub(position);
    let pays = rate < SLOW
        && remaining >= SMALLEST
        && conditions.budget_is_idle
        && conditions.budget_left >= PLENTY
        && remaining <= keeps;
    if !pays {
        return Vec::new();
    }
    let part = block::round_up(remaining / PARTS, u64::MAX);
    let first = block::round_up(position + part, end);
    (0..PARTS - 1)
        .map(|index| {
            let start = first + index * part;
            let stop = if index == PARTS - 2 {
                end
            } else {
                start + part
            };
            start.min(end)..stop.min(end)
        })
        .filter(|range| !range.is_empty())
        .collect()
}

#[cfg(test)]
#[path = "plan/tests.rs"]
mod tests;
