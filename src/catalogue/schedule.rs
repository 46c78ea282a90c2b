//! What to search next, and when. Pure: coverage, the time and the settings in, searches out.
//!
//! Four things are searched for, none more often than its promise needs (design, section 4):
//! - what was never searched, newest first, at once;
//! - new interactions, every refresh. One search reaches back as far as a page does, at least a quarter
//!   of an hour: a call appears when its recording is stored, which is later than it starts;
//! - late items of the last 24 hours, every nine minutes, in the same search as the new interactions;
//! - everything else that can change or vanish, once in 23 hours, in slices.
//!
//! [`requests_per_day`] says what that costs.

use jiff::{SignedDuration, Timestamp};

use super::coverage::Coverage;
use super::settings::{Settings, WindowSpec};
use crate::model::TimeWindow;

/// The interactions on a page.
pub(super) const PAGE: u32 = 1000;

/// How many known interactions a search may reach back over and still be one page: the rest of the page
/// is for new ones.
pub(super) const PAGE_FILL: u32 = 900;

/// The longest window that is searched at once (API reference, 5.2).
pub(super) const LONGEST: SignedDuration = SignedDuration::from_hours(7 * 24);

/// The longest after a window of seven days was refused.
pub(super) const LONGEST_IF_REFUSED: SignedDuration = SignedDuration::from_hours(6 * 24);

/// How far a search for new interactions overlaps the one before.
const OVERLAP: SignedDuration = SignedDuration::from_mins(15);

/// For how long content arrives late.
const LATE: SignedDuration = SignedDuration::from_hours(24);

/// How often late items are searched for, so that they are seen within ten minutes, the search's own time
/// not included.
const LATE_EVERY: SignedDuration = SignedDuration::from_mins(9);

/// What a page takes, about, when nobody waits for it.
const PAGE_TIME: SignedDuration = SignedDuration::from_millis(500);

/// How often the rest is searched: seen within a day, the search's own time included.
const SWEEP_EVERY: SignedDuration = SignedDuration::from_hours(23);

/// About how many interactions a slice of the sweep holds, so that a failure costs little.
const SLICE: u64 = 20_000;

/// How far ahead of the present a search reaches, for a server whose clock is ahead (API reference, 5.2).
const AHEAD: SignedDuration = SignedDuration::from_secs(60);

const DAY: SignedDuration = SignedDuration::from_hours(24);

/// Why a search is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Purpose {
    /// It was never made.
    Missing,
    /// New interactions.
    Newest,
    /// Late items, and new interactions.
    Late,
    /// Changes and deletions.
    Sweep,
    /// Somebody entered a day outside the window.
    Day,
    /// Something of that day is cached.
    CachedDay,
}

/// A search to make.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Search {
    pub(super) window: TimeWindow,
    pub(super) purpose: Purpose,
    /// When; the past if it is overdue.
    pub(super) due: Timestamp,
}

/// What a schedule is made from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Present<'a> {
    pub(super) now: Timestamp,
    /// The listed window.
    pub(super) window: TimeWindow,
    pub(super) coverage: &'a Coverage,
    pub(super) refresh: SignedDuration,
    /// The start of the [`PAGE_FILL`]-th newest interaction; `None` if there are fewer.
    pub(super) reach: Option<Timestamp>,
    /// About how many interactions a day has.
    pub(super) per_day: u64,
    /// The longest window that the server takes.
    pub(super) longest: SignedDuration,
}

/// The searches that are due, and the next of each kind that will be: overdue ones first in the order in
/// which they should be made, newest windows first.
pub(super) fn plan(present: &Present<'_>) -> Vec<Search> {
    let mut searches = missing(present);
    let clip = clip(&present.window, present.now);
    if clip.is_empty() {
        return Vec::new();
    }
    searches.extend(live(present, &clip));
    searches.extend(sweep(present, &clip));
    searches
}

/// The part of a window that has begun.
pub(super) fn clip(window: &TimeWindow, now: Timestamp) -> TimeWindow {
    TimeWindow {
        from: window.from,
        to: window.to.min(now),
    }
}

/// Since when a frontier counts as the present: a search is under way or about to be.
pub(super) fn recently(now: Timestamp, refresh: SignedDuration) -> Timestamp {
    before(now, (refresh * 2).max(SignedDuration::from_mins(5)))
}

/// Cuts a window into searches, newest first; neighbours share their boundary.
pub(super) fn cut(window: &TimeWindow, longest: SignedDuration) -> Vec<TimeWindow> {
    let mut pieces = Vec::new();
    let mut to = window.to;
    while window.from < to {
        let from = before(to, longest).max(window.from);
        pieces.push(TimeWindow { from, to });
        to = from;
    }
    pieces
}

/// Where a search of a window that has begun ends: some time ahead when the window does.
pub(super) fn end(window: &TimeWindow, now: Timestamp) -> Timestamp {
    window.to.min(after(now, AHEAD))
}

/// The searches of what was never searched in `window`.
pub(super) fn never_searched(
    coverage: &Coverage,
    window: &TimeWindow,
    now: Timestamp,
    refresh: SignedDuration,
    longest: SignedDuration,
) -> Vec<TimeWindow> {
    let clip = clip(window, now);
    let mut holes = coverage.holes(&clip, recently(now, refresh));
    holes.reverse();
    holes
        .into_iter()
        .flat_map(|mut hole| {
            if hole.to == clip.to {
                hole.to = end(window, now);
            }
            cut(&hole, longest)
        })
        .collect()
}

fn missing(present: &Present<'_>) -> Vec<Search> {
    let Present {
        now,
        window,
        coverage,
        refresh,
        longest,
        ..
    } = present;
    never_searched(coverage, window, *now, *refresh, *longest)
        .into_iter()
        .map(|window| Search {
            window,
            purpose: Purpose::Missing,
            due: *now,
        })
        .collect()
}

/// New interactions and late items.
fn live(present: &Present<'_>, clip: &TimeWindow) -> Vec<Search> {
    let Present {
        now,
        coverage,
        refresh,
        ..
    } = *present;
    let window = &present.window;
    let is_live = window.to >= now;
    let last_day = before(now, LATE).max(window.from);
    let reach = present.reach.unwrap_or(Timestamp::MIN);
    // A search of the last day goes on for as long as its page does.
    let furthest = before(now, present.longest - AHEAD * 2).max(window.from);
    let late = TimeWindow {
        from: if is_live {
            last_day.min(reach.max(furthest))
        } else {
            last_day
        },
        to: clip.to,
    };
    let late_due = coverage
        .oldest(&late)
        .map(|oldest| after(oldest, late_every(present.per_day, refresh)));
    let frontier = is_live
        .then(|| coverage.frontier(clip, recently(now, refresh)))
        .flatten();
    let Some(frontier) = frontier else {
        // A window that has ended less than a day ago still gets late items.
        return match late_due {
            Some(due) if !is_live && !late.is_empty() => vec![Search {
                window: late,
                purpose: Purpose::Late,
                due,
            }],
            _ => Vec::new(),
        };
    };
    let due = after(frontier, refresh);
    let tick = due.max(now);
    // Late items wait for the next search of new interactions, if that is not more than half a refresh off.
    let is_late_due = late_due.is_none_or(|late_due| late_due <= after(tick, refresh / 2));
    let (purpose, from) = if is_late_due {
        (Purpose::Late, late.from)
    } else {
        (Purpose::Newest, reach.max(last_day))
    };
    let search = TimeWindow {
        from: from.min(before(frontier, OVERLAP)).max(window.from),
        to: end(window, now),
    };
    cut(&search, present.longest)
        .into_iter()
        .map(|window| Search {
            window,
            purpose,
            due,
        })
        .collect()
}

/// Everything that was searched, but long ago.
fn sweep(present: &Present<'_>, clip: &TimeWindow) -> Vec<Search> {
    let region = TimeWindow {
        from: clip.from,
        to: clip.to.min(before(present.now, LATE)),
    };
    let days = (SLICE / present.per_day.max(1)).clamp(1, 7);
    let slice = (DAY * i32::try_from(days).unwrap_or(7)).min(present.longest);
    let mut searches = Vec::new();
    let mut next: Option<Search> = None;
    let mut from = region.from;
    for span in present.coverage.spans() {
        let due = after(span.at, SWEEP_EVERY);
        loop {
            let rest = TimeWindow {
                from,
                to: region.to,
            };
            let part = span.window.intersection(&rest);
            if part.is_empty() {
                break;
            }
            let search = Search {
                window: TimeWindow {
                    from: part.from,
                    to: after(part.from, slice).min(region.to),
                },
                purpose: Purpose::Sweep,
                due,
            };
            if due > present.now {
                if next.is_none_or(|next| due < next.due) {
                    next = Some(search);
                }
                break;
            }
            from = search.window.to;
            searches.push(search);
        }
    }
    searches.reverse();
    searches.extend(next);
    searches
}

/// How often late items are searched for; sooner when there are so many that the search takes long.
fn late_every(per_day: u64, refresh: SignedDuration) -> SignedDuration {
    let pages = i32::try_from(per_day / u64::from(PAGE)).unwrap_or(i32::MAX);
    let own_time = PAGE_TIME.saturating_mul(pages);
    (LATE_EVERY - own_time.min(LATE_EVERY / 2)).max(refresh)
}

fn before(time: Timestamp, by: SignedDuration) -> Timestamp {
    time.checked_sub(by).unwrap_or(Timestamp::MIN)
}

fn after(time: Timestamp, by: SignedDuration) -> Timestamp {
    time.checked_add(by).unwrap_or(Timestamp::MAX)
}

/// An account's size, for [`requests_per_day`].
#[derive(Clone, Copy, Debug)]
pub struct Account {
    /// New interactions in a day, evenly spread.
    pub per_day: u32,
    /// Whether interactions older than a day are deleted every day: each slice of the sweep in which
    /// something is missing is searched once more.
    pub deletions: bool,
}

/// How many requests a day the catalogue's freshness costs once the window has been searched.
///
/// 0 for a window that has ended long ago, apart from its sweep, and when offline.
pub fn requests_per_day(account: Account, settings: &Settings) -> f64 {
    if settings.offline {
        return 0.0;
    }
    let day = DAY.as_secs_f64();
    let (days, is_live) = match &settings.window {
        // Today has gone half by, on average.
        WindowSpec::Days(days) => (f64::from(*days) - 0.5, true),
        WindowSpec::Last(time) => (time.as_secs_f64() / day, true),
        WindowSpec::Fixed { from, to } => {
            let to_or_now = to.unwrap_or_else(|| after(*from, DAY * 7));
            (
                to_or_now.duration_since(*from).as_secs_f64() / day,
                to.is_none(),
            )
        }
    };
    let rate = f64::from(account.per_day);
    let page = f64::from(PAGE);
    let fill = f64::from(PAGE_FILL);
    let pages = |rows: f64| (rows / page).ceil().max(1.0);
    let refresh = settings.refresh.as_secs_f64();

    let live = if is_live {
        let ticks = day / refresh;
        let late_every = late_every(
            u64::from(account.per_day),
            SignedDuration::try_from(settings.refresh).unwrap_or(SignedDuration::MAX),
        );
        let every = (late_every.as_secs_f64() / refresh - 0.5).ceil().max(1.0);
        let late = ticks / every;
        let late_rows = (rate * days.min(1.0)).max(fill.min(rate * days.min(7.0)));
        let overlap_rows = rate * (OVERLAP.as_secs_f64() + refresh) / day;
        let newest_rows = overlap_rows.max(fill.min(rate * days.min(1.0)));
        late * pages(late_rows) + (ticks - late) * pages(newest_rows)
    } else {
        0.0
    };
    let reached = if is_live {
        (fill / rate.max(1.0)).clamp(1.0, 7.0)
    } else {
        0.0
    };
    let swept = (days - reached).max(0.0);
    let slice_days = (SLICE as f64 / rate.max(1.0)).floor().clamp(1.0, 7.0);
    let slices = (swept / slice_days).ceil();
    // The last page of each slice is half full, on average.
    let once = (swept * rate / page + slices / 2.0).max(slices);
    let times = if account.deletions { 2.0 } else { 1.0 };
    live + once * times * day / SWEEP_EVERY.as_secs_f64()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::catalogue::testing::{at, span};
    use crate::model::SearchFilter;

    const REFRESH: SignedDuration = SignedDuration::from_secs(60);
    const DAY_SECONDS: i64 = 86_400;

    fn present<'a>(coverage: &'a Coverage, window: TimeWindow, now: i64) -> Present<'a> {
        Present {
            now: at(now),
            window,
            coverage,
            refresh: REFRESH,
            reach: Some(at(now - 600)),
            per_day: 100_000,
            longest: LONGEST,
        }
    }

    fn due(searches: &[Search], now: i64) -> Vec<(Purpose, TimeWindow)> {
        searches
            .iter()
            .filter(|search| search.due <= at(now))
            .map(|search| (search.purpose, search.window))
            .collect()
    }

    #[test]
    fn a_cold_week_is_one_search_that_ends_a_minute_ahead() {
        let coverage = Coverage::default();
        let plan = plan(&present(
            &coverage,
            span(0, 7 * DAY_SECONDS),
            6 * DAY_SECONDS + 500,
        ));
        let expected = span(0, 6 * DAY_SECONDS + 560);
        assert_eq!(
            due(&plan, 6 * DAY_SECONDS + 500),
            [(Purpose::Missing, expected)]
        );
    }

    #[test]
    fn a_cold_month_is_searched_newest_first() {
        let coverage = Coverage::default();
        let plan = plan(&present(
            &coverage,
            span(0, 30 * DAY_SECONDS),
            30 * DAY_SECONDS,
        ));
        let starts: Vec<_> = plan.iter().map(|search| search.window.from).collect();
        assert_eq!(plan.len(), 5);
        assert!(starts.is_sorted_by(|a, b| a > b));
    }

    #[test]
    fn nothing_is_due_before_a_refresh_has_passed_then_one_search_is() {
        let mut coverage = Coverage::default();
        let now = 6 * DAY_SECONDS;
        let window = span(0, 7 * DAY_SECONDS);
        coverage.searched(span(0, now + 60), at(now));
        assert!(due(&plan(&present(&coverage, window, now + 59)), now + 59).is_empty());
        let next = due(&plan(&present(&coverage, window, now + 60)), now + 60);
        assert_eq!(next, [(Purpose::Newest, span(now - 900, now + 120))]);
    }

    #[test]
    fn late_items_are_searched_with_the_new_interactions() {
        let mut coverage = Coverage::default();
        let start = 6 * DAY_SECONDS;
        let window = span(0, 7 * DAY_SECONDS);
        coverage.searched(span(0, start), at(start));
        coverage.searched(span(start - 900, start + 540), at(start + 480));
        let now = start + 540;
        let next = due(&plan(&present(&coverage, window, now)), now);
        assert_eq!(next, [(Purpose::Late, span(now - DAY_SECONDS, now + 60))]);
    }

    #[test]
    fn a_search_reaches_back_as_far_as_its_page_does() {
        let mut coverage = Coverage::default();
        let now = 6 * DAY_SECONDS;
        coverage.searched(span(0, now), at(now - 60));
        let mut small = present(&coverage, span(0, 7 * DAY_SECONDS), now);
        small.reach = None;
        let next = due(&plan(&small), now);
        assert_eq!(next, [(Purpose::Newest, span(now - DAY_SECONDS, now + 60))]);
    }

    #[test]
    fn after_days_away_one_search_closes_the_gap() {
        let mut coverage = Coverage::default();
        coverage.searched(span(0, 3 * DAY_SECONDS), at(3 * DAY_SECONDS));
        let now = 6 * DAY_SECONDS;
        let next = due(
            &plan(&present(&coverage, span(0, 7 * DAY_SECONDS), now)),
            now,
        );
        assert_eq!(
            next[0],
            (Purpose::Late, span(3 * DAY_SECONDS - 900, now + 60))
        );
        assert!(
            next[1..]
                .iter()
                .all(|(purpose, _)| *purpose == Purpose::Sweep)
        );
    }

    #[test]
    fn a_window_in_the_past_is_only_swept() {
        let mut coverage = Coverage::default();
        let window = span(0, 5 * DAY_SECONDS);
        coverage.searched(window, at(20 * DAY_SECONDS));
        let now = 20 * DAY_SECONDS + 22 * 3600;
        assert!(due(&plan(&present(&coverage, window, now)), now).is_empty());
        let now = 20 * DAY_SECONDS + 23 * 3600;
        let next = due(&plan(&present(&coverage, window, now)), now);
        assert_eq!(next.len(), 5, "slices of a day");
        assert!(next.iter().all(|(purpose, _)| *purpose == Purpose::Sweep));
    }

    fn settings(days: u32, refresh: u64) -> Settings {
        Settings {
            window: WindowSpec::Days(days),
            filter: SearchFilter::default(),
            refresh: Duration::from_secs(refresh),
            offline: false,
            max_age: Duration::from_secs(1),
        }
    }

    /// Lives through days of an account with evenly spread interactions; counts the last two days' requests
    /// and checks that nothing stays unsearched for longer than is promised.
    fn simulate(per_day: i64, settings: &Settings) -> f64 {
        let gap = DAY_SECONDS as f64 / per_day as f64;
        let rows = |window: &TimeWindow, now: i64| {
            let second = |time: Timestamp| (time.as_second() - at(0).as_second()) as f64;
            let to = second(window.to).min(now as f64);
            ((to - second(window.from)) / gap).max(0.0)
        };
        let refresh = SignedDuration::try_from(settings.refresh).unwrap();
        let mut coverage = Coverage::default();
        let begin = 40 * DAY_SECONDS + 1234;
        let mut now = begin;
        let mut requests = 0.0;
        while now < begin + 4 * DAY_SECONDS {
            let window = settings.window.at(at(now));
            let plan = plan(&Present {
                now: at(now),
                window,
                coverage: &coverage,
                refresh,
                reach: Some(at(now - (f64::from(PAGE_FILL) * gap) as i64)),
                per_day: per_day.unsigned_abs(),
                longest: LONGEST,
            });
            let due: Vec<_> = plan.iter().filter(|search| search.due <= at(now)).collect();
            for search in &due {
                if now >= begin + 2 * DAY_SECONDS {
                    requests += (rows(&search.window, now) / f64::from(PAGE))
                        .ceil()
                        .max(1.0);
                }
                coverage.searched(search.window, at(now));
            }
            let clip = clip(&window, at(now));
            let late = TimeWindow {
                from: before(at(now), LATE),
                to: clip.to,
            };
            let age = |part| at(now).duration_since(coverage.oldest(&part).unwrap());
            assert!(age(late) <= SignedDuration::from_mins(10).max(refresh));
            assert!(age(clip) <= SignedDuration::from_hours(24));
            assert!(coverage.spans().len() < 1000);
            let next = plan
                .iter()
                .map(|search| search.due)
                .filter(|due| *due > at(now))
                .min();
            let step = if due.is_empty() { next } else { Some(at(now)) };
            now = step.map_or(now + 1, |time| {
                (time.as_second() - at(0).as_second()).max(now + 1)
            });
        }
        requests / 2.0
    }

    #[test]
    fn a_simulated_day_costs_what_is_stated() {
        for (per_day, days, refresh) in [
            (100, 7, 60),
            (500, 7, 60),
            (10_000, 7, 60),
            (10_000, 30, 300),
            (140_000, 7, 60),
        ] {
            let settings = settings(days, refresh);
            let stated = requests_per_day(
                Account {
                    per_day: u32::try_from(per_day).unwrap(),
                    deletions: false,
                },
                &settings,
            );
            let lived = simulate(per_day, &settings);
            assert!(
                (lived - stated).abs() <= stated * 0.1,
                "{per_day} a day, {days} days, {refresh} s: stated {stated}, lived {lived}"
            );
        }
    }

    #[test]
    fn the_stated_costs_are_those_of_the_documentation() {
        let cost = |per_day, days, deletions| {
            requests_per_day(Account { per_day, deletions }, &settings(days, 60)).round()
        };
        let stated = [
            cost(100, 7, true),
            cost(10_000, 7, true),
            cost(140_000, 7, true),
            cost(10_000, 30, true),
        ];
        assert_eq!(stated, [1440.0, 2998.0, 29_333.0, 3490.0]);
        let offline = Settings {
            offline: true,
            ..settings(7, 60)
        };
        let account = Account {
            per_day: 100,
            deletions: true,
        };
        assert!(requests_per_day(account, &offline) < f64::EPSILON);
    }
}
