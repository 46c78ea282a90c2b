//! Which stretches of time were searched, and when. Pure.
//!
//! A stretch is known only as of the moment its search began. A search that reached up to the present
//! ends in a *frontier*: a stretch whose end is the moment it was searched. What lies behind a frontier
//! was not missed, it had not happened yet.

use jiff::{SignedDuration, Timestamp};

use crate::model::TimeWindow;

/// A stretch of time that was searched at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Span {
    /// From its first instant to the one behind its last.
    pub(super) window: TimeWindow,
    /// When its last complete search began.
    pub(super) at: Timestamp,
}

impl Span {
    fn is_frontier(&self) -> bool {
        self.window.to >= self.at
    }
}

/// What is said to have happened later than this was noted before the clock was set back. Up to a minute is taken for
/// the difference of two looks at the clock.
pub(super) fn latest_past(now: Timestamp) -> Timestamp {
    now.checked_add(SignedDuration::from_mins(1))
        .unwrap_or(Timestamp::MAX)
}

/// Everything searched so far: spans in order of time that never overlap.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Coverage {
    spans: Vec<Span>,
}

impl Coverage {
    /// Of spans in any order; where they overlap, the later search counts.
    pub(super) fn of(spans: impl IntoIterator<Item = Span>) -> Self {
        let mut spans: Vec<Span> = spans.into_iter().collect();
        spans.sort_by_key(|span| span.at);
        let mut coverage = Self::default();
        for span in spans {
            coverage.add(span);
        }
        coverage
    }

    /// Forgets searches of the future: they were made by a clock that has been set back since, and would keep
    /// everything from being searched until then.
    pub(super) fn forget_future(&mut self, now: Timestamp) {
        let latest = latest_past(now);
        self.spans.retain(|span| span.at <= latest);
    }

    /// The spans, in order of time.
    pub(super) fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// Takes in a complete search of `window` that began at `at`. Only what lies before `at` counts as
    /// searched.
    pub(super) fn searched(&mut self, window: TimeWindow, at: Timestamp) {
        self.add(Span {
            window: TimeWindow {
                from: window.from,
                to: window.to.min(at),
            },
            at,
        });
    }

    fn add(&mut self, new: Span) {
        if new.window.is_empty() {
            return;
        }
        let mut spans = Vec::with_capacity(self.spans.len() + 2);
        let mut pieces = vec![new.window];
        for old in self.spans.drain(..) {
            if old.window.intersection(&new.window).is_empty() {
                spans.push(old);
            } else if old.at > new.at {
                // An older search adds only what the newer one left open.
                pieces = pieces
                    .iter()
                    .flat_map(|piece| without(piece, &old.window))
                    .collect();
                spans.push(old);
            } else {
                spans
                    .extend(without(&old.window, &new.window).map(|window| Span { window, ..old }));
            }
        }
        spans.extend(pieces.into_iter().map(|window| Span { window, ..new }));
        spans.sort_by_key(|span| span.window.from);
        for span in spans {
            match self.spans.last_mut() {
                Some(last) if last.at == span.at && last.window.to == span.window.from => {
                    last.window.to = span.window.to;
                }
                _ => self.spans.push(span),
            }
        }
    }

    /// The parts of `window` that were never searched, or not since `since`; in order of time.
    pub(super) fn open(&self, window: &TimeWindow, since: Timestamp) -> Vec<TimeWindow> {
        let mut open = Vec::new();
        let mut from = window.from;
        for span in self.spans.iter().filter(|span| span.at >= since) {
            let part = span.window.intersection(window);
            if part.is_empty() {
                continue;
            }
            if from < part.from {
                open.push(TimeWindow {
                    from,
                    to: part.from,
                });
            }
            from = from.max(part.to);
        }
        if from < window.to {
            open.push(TimeWindow {
                from,
                to: window.to,
            });
        }
        open
    }

    /// The parts of `window` that were never searched though they lay in the past when their
    /// neighbourhood was. What lies behind a frontier is no hole if the frontier is in the window, or not
    /// before `recently`.
    pub(super) fn holes(&self, window: &TimeWindow, recently: Timestamp) -> Vec<TimeWindow> {
        let mut holes = self.open(window, Timestamp::MIN);
        if let Some(last) = holes.last()
            && last.to == window.to
            && self.frontier(window, recently).is_some()
        {
            holes.pop();
        }
        holes
    }

    /// Up to when the last stretch of `window` is known: the end of the frontier that lies in it, or
    /// before it but not before `recently`. `None` if its last searched stretch ends elsewhere.
    pub(super) fn frontier(&self, window: &TimeWindow, recently: Timestamp) -> Option<Timestamp> {
        self.spans
            .iter()
            .rev()
            .find(|span| span.window.from < window.to)
            .filter(|span| {
                span.is_frontier() && (span.window.to > window.from || span.window.to >= recently)
            })
            .map(|span| span.window.to)
    }

    /// When the part of `window` that was searched longest ago was searched; `None` if nothing of it was.
    pub(super) fn oldest(&self, window: &TimeWindow) -> Option<Timestamp> {
        self.spans
            .iter()
            .filter(|span| !span.window.intersection(window).is_empty())
            .map(|span| span.at)
            .min()
    }
}

/// What of `window` is not in `taken`: nothing, one part or two.
fn without(window: &TimeWindow, taken: &TimeWindow) -> impl Iterator<Item = TimeWindow> + use<> {
    [
        TimeWindow {
            from: window.from,
            to: window.to.min(taken.from),
        },
        TimeWindow {
            from: window.from.max(taken.to),
            to: window.to,
        },
    ]
    .into_iter()
    .filter(|part| !part.is_empty())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::catalogue::testing::{at, span};

    #[test]
    fn holes_are_what_was_never_searched() {
        let mut coverage = Coverage::default();
        coverage.searched(span(10, 20), at(100));
        coverage.searched(span(30, 40), at(100));
        assert_eq!(
            coverage.holes(&span(0, 50), at(1000)),
            [span(0, 10), span(20, 30), span(40, 50)]
        );
        assert!(coverage.holes(&span(12, 20), at(1000)).is_empty());
        coverage.searched(span(0, 60), at(200));
        assert!(coverage.holes(&span(0, 50), at(1000)).is_empty());
        assert_eq!(coverage.spans().len(), 1);
    }

    #[test]
    fn the_present_ends_a_search() {
        let mut coverage = Coverage::default();
        coverage.searched(span(0, 500), at(100));
        assert_eq!(coverage.frontier(&span(0, 500), at(1000)), Some(at(100)));
        assert!(coverage.holes(&span(0, 300), at(1000)).is_empty());
        assert_eq!(
            coverage.holes(&span(200, 300), at(150)),
            [span(200, 300)],
            "the frontier is long before this window"
        );
        assert!(coverage.holes(&span(200, 300), at(90)).is_empty());
        coverage.searched(span(0, 50), at(400));
        assert_eq!(coverage.frontier(&span(0, 500), at(1000)), Some(at(100)));
    }

    #[test]
    fn an_older_window_done_first_does_not_stand_for_the_newer() {
        let mut coverage = Coverage::default();
        coverage.searched(span(0, 50), at(100));
        assert_eq!(coverage.holes(&span(0, 90), at(0)), [span(50, 90)]);
    }

    proptest! {
        #[test]
        fn every_instant_has_its_latest_search(
            searches in prop::collection::vec((0_i64..40, 1_i64..20, 0_i64..60), 0..12)
        ) {
            let mut coverage = Coverage::default();
            let mut model = [None::<i64>; 60];
            for (from, length, time) in searches {
                coverage.searched(span(from, from + length), at(time));
                for instant in from..(from + length).min(time) {
                    let cell = &mut model[usize::try_from(instant).unwrap()];
                    *cell = (*cell).max(Some(time));
                }
            }
            for (instant, expected) in (0_i64..).zip(model) {
                let found: Vec<_> = coverage.spans().iter()
                    .filter(|s| s.window.contains(at(instant)))
                    .map(|s| s.at.as_second() - at(0).as_second())
                    .collect();
                prop_assert_eq!(found, expected.into_iter().collect::<Vec<_>>());
            }
            for pair in coverage.spans().windows(2) {
                prop_assert!(pair[0].window.to <= pair[1].window.from);
            }
        }
    }
}
