//! What the refresher has under way, what failed, and what was demanded. Pure.
//!
//! Decides which planned searches may begin, and how a listing stands.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::coverage::{Coverage, latest_past};
use super::schedule::{self, Purpose, Search};
use super::walk::WalkError;
use super::{CatalogueError, KeptDay, Progress};
use crate::model::{Day, TimeWindow};
use crate::remote::RemoteError;

/// The most days that wait for their search; whoever enters more is told that there is no budget.
const MOST_DAYS: usize = 1024;

/// How many searches of old windows are made at once, beside the one of the newest.
const BACKLOG_LANES: usize = 2;

/// How many demanded days are searched at once.
const DAY_LANES: usize = 2;

/// How often a day outside the window is searched of which content is cached.
const CACHED_EVERY: SignedDuration = SignedDuration::from_hours(24);

/// How often one is searched of which only the catalogue knows something.
const KNOWN_EVERY: SignedDuration = SignedDuration::from_hours(7 * 24);

/// How many searches that were made are remembered.
const MOST_MADE: usize = 64;

/// The first pause after a failure; it doubles up to the refresh.
const FIRST_PAUSE: Duration = Duration::from_secs(5);

/// How soon after a failure a waiting reader may have it tried again.
const RETRY_FOR_READERS: SignedDuration = SignedDuration::from_secs(5);

/// For how long after somebody asked how a window stands he counts as waiting.
const WAITING: SignedDuration = SignedDuration::from_secs(10);

/// The refresher's state.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) coverage: Coverage,
    running: Vec<Search>,
    failures: Vec<Failure>,
    /// A failure that would meet every search alike: nothing begins until its pause is over.
    hold: Option<Failure>,
    days: VecDeque<Day>,
    /// Days outside the window to be searched at leisure, unless they were within this time.
    kept_days: BTreeMap<Day, SignedDuration>,
    /// Where the last searches of what was missing began, and when they ended: whatever the clock does,
    /// none is made twice within a refresh.
    made: VecDeque<(Timestamp, Timestamp)>,
    waited: Option<Timestamp>,
    /// When another process was found to have written to the catalogue.
    pub(super) others: Option<Timestamp>,
    /// Objects that the last searches showed and that could not be read.
    pub(super) unreadable: u64,
    /// When the next search is due.
    pub(super) next: Option<Timestamp>,
}

#[derive(Clone, Debug)]
struct Failure {
    window: TimeWindow,
    error: WalkError,
    at: Timestamp,
    tries: u32,
    retry_at: Timestamp,
}

/// How a window stands.
enum Look<'a> {
    Complete,
    Searching,
    Failed(&'a Failure),
}

/// When it is, and what the mount lists.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    pub(super) time: Timestamp,
    pub(super) refresh: SignedDuration,
    pub(super) listed: TimeWindow,
    /// The longest window that the server takes.
    pub(super) longest: SignedDuration,
}

impl State {
    pub(super) fn new(coverage: Coverage) -> Self {
        Self {
            coverage,
            ..Self::default()
        }
    }

    /// Which of the planned searches begin now; they count as running from here on. Says in [`Self::next`]
    /// when there will be more.
    pub(super) fn begin(&mut self, plan: Vec<Search>, now: &Now) -> Vec<Search> {
        self.forget_future(now.time);
        // What has left the window and is wanted by nobody is no trouble any more.
        let yesterday = now
            .time
            .checked_sub(SignedDuration::from_hours(24))
            .unwrap_or(Timestamp::MIN);
        self.failures
            .retain(|failure| overlaps(&failure.window, &now.listed) || failure.at > yesterday);
        let mut begun = Vec::new();
        let mut next: Option<Timestamp> = None;
        let days = self.planned_days(now);
        for search in plan.into_iter().chain(days) {
            let due = self.postponed(&search, now);
            if due > now.time {
                next = Some(next.map_or(due, |next| next.min(due)));
            } else if self.has_lane(&search) {
                self.running.push(search);
                begun.push(search);
            }
        }
        let has_begun = |purpose: Purpose, day: &Day| {
            begun
                .iter()
                .any(|search| search.purpose == purpose && search.window.from == day.start())
        };
        self.days.retain(|day| !has_begun(Purpose::Day, day));
        self.kept_days
            .retain(|day, _| !has_begun(Purpose::CachedDay, day));
        self.next = next;
        begun
    }

    /// A search ended.
    pub(super) fn ended(&mut self, search: &Search, result: &Result<(), WalkError>, now: &Now) {
        if let Some(place) = self.running.iter().position(|running| running == search) {
            self.running.swap_remove(place);
        }
        match result {
            Ok(()) => {
                if matches!(search.purpose, Purpose::Missing | Purpose::CachedDay) {
                    self.made.truncate(MOST_MADE - 1);
                    self.made.push_front((search.window.from, now.time));
                }
                self.failures
                    .retain(|failure| !overlaps(&failure.window, &search.window));
                self.hold = None;
            }
            Err(error) => {
                let before = self
                    .failures
                    .iter()
                    .find(|f| overlaps(&f.window, &search.window));
                let tries = before.map_or(0, |failure| failure.tries) + 1;
                let pause = FIRST_PAUSE
                    .saturating_mul(1 << (tries - 1).min(16))
                    .min(now.refresh.unsigned_abs().max(FIRST_PAUSE));
                let failure = Failure {
                    window: search.window,
                    error: error.clone(),
                    at: now.time,
                    tries,
                    retry_at: now.time.checked_add(pause).unwrap_or(Timestamp::MAX),
                };
                if meets_all(error) {
                    self.hold = Some(failure.clone());
                }
                self.failures
                    .retain(|failure| !overlaps(&failure.window, &search.window));
                self.failures.push(failure);
            }
        }
    }

    /// The catalogue can't even say what is to be searched.
    pub(super) fn cannot_plan(&mut self, error: CatalogueError, now: &Now) {
        self.hold = Some(Failure {
            window: now.listed,
            error: error.into(),
            at: now.time,
            tries: 1,
            retry_at: now.time,
        });
        self.next = None;
    }

    /// A clock that was set back would have it all hold until it is so late again.
    fn forget_future(&mut self, now: Timestamp) {
        let latest = latest_past(now);
        self.failures.retain(|failure| failure.at <= latest);
        self.hold.take_if(|hold| hold.at > latest);
        self.waited.take_if(|waited| *waited > latest);
    }

    /// How a window stands. A failure that is some seconds old is tried again for whoever asks: the
    /// second value says that there is something to begin.
    pub(super) fn progress(&mut self, window: &TimeWindow, now: &Now) -> (Progress, bool) {
        self.forget_future(now.time);
        let holes = self.holes(window, now);
        let failed = match self.look(&holes) {
            Look::Complete => return (Progress::Complete, false),
            Look::Searching => None,
            Look::Failed(failure) => Some((failure.at, failure.error.for_readers())),
        };
        if let Some((at, error)) = &failed {
            if now.time.duration_since(*at) < RETRY_FOR_READERS {
                return (Progress::Failed(error.clone()), false);
            }
            self.hold = None;
            self.failures
                .retain(|failure| !holes.iter().any(|hole| overlaps(hole, &failure.window)));
            let day = Day::of(window.from);
            if contains(&day.window(), window) {
                self.demand(day, now);
            }
        }
        self.waited = Some(now.time);
        (Progress::Searching, failed.is_some())
    }

    /// How a window stands, without a reader who waits for it.
    pub(super) fn standing(&self, window: &TimeWindow, now: &Now) -> Progress {
        match self.look(&self.holes(window, now)) {
            Look::Complete => Progress::Complete,
            Look::Searching => Progress::Searching,
            Look::Failed(failure) => Progress::Failed(failure.error.for_readers()),
        }
    }

    /// What of a window was never searched, though it lies in the past.
    fn holes(&self, window: &TimeWindow, now: &Now) -> Vec<TimeWindow> {
        let clip = schedule::clip(window, now.time);
        if clip.is_empty() {
            return Vec::new();
        }
        self.coverage
            .holes(&clip, schedule::recently(now.time, now.refresh))
    }

    /// How it stands with what was never searched.
    fn look(&self, holes: &[TimeWindow]) -> Look<'_> {
        if holes.is_empty() {
            return Look::Complete;
        }
        let meets = |window: &TimeWindow| holes.iter().any(|hole| overlaps(hole, window));
        if self.running.iter().any(|search| meets(&search.window)) {
            return Look::Searching;
        }
        self.failures
            .iter()
            .find(|failure| meets(&failure.window))
            .or(self.hold.as_ref())
            .map_or(Look::Searching, Look::Failed)
    }

    /// How a window stands when nothing will be searched any more.
    pub(super) fn progress_offline(&self, window: &TimeWindow, now: &Now) -> Progress {
        let clip = schedule::clip(window, now.time);
        // A frontier excuses what lies behind it only within the window.
        if clip.is_empty() || self.coverage.holes(&clip, Timestamp::MAX).is_empty() {
            Progress::Complete
        } else {
            Progress::Failed(RemoteError::Offline)
        }
    }

    /// Somebody entered a day. Returns whether it must be searched.
    pub(super) fn demand(&mut self, day: Day, now: &Now) -> bool {
        let window = schedule::clip(&day.window(), now.time);
        if window.is_empty() || contains(&now.listed, &window) || self.days.contains(&day) {
            return false;
        }
        let age = if day.window().to >= now.time {
            now.refresh
        } else if now.time.duration_since(day.window().to) < SignedDuration::from_hours(24) {
            SignedDuration::from_mins(9).max(now.refresh)
        } else {
            SignedDuration::from_hours(24)
        };
        let since = now.time.checked_sub(age).unwrap_or(Timestamp::MIN);
        let is_fresh = self
            .coverage
            .holes(&window, schedule::recently(now.time, now.refresh))
            .is_empty()
            && self
                .coverage
                .oldest(&window)
                .is_none_or(|oldest| oldest > since);
        let is_running = self
            .running
            .iter()
            .any(|search| search.purpose == Purpose::Day && overlaps(&search.window, &window));
        if is_fresh || is_running {
            return false;
        }
        if self.days.len() >= MOST_DAYS {
            self.failures.push(Failure {
                window,
                error: RemoteError::NoBudget.into(),
                at: now.time,
                tries: 1,
                retry_at: now.time,
            });
            self.failures.truncate(2 * MOST_DAYS);
            return false;
        }
        self.days.push_back(day);
        true
    }

    /// Days of which something is kept, to be searched at leisure.
    pub(super) fn sweep(&mut self, days: impl Iterator<Item = KeptDay>, now: &Now) {
        let (cached, known): (Vec<_>, Vec<_>) = days.partition(|kept| kept.is_cached);
        for KeptDay { day, .. } in cached {
            self.kept_days.insert(day, CACHED_EVERY);
        }
        // After a long absence all of them are due: they are spread over a day.
        let few = known.len().div_ceil(24);
        let coverage = &self.coverage;
        let due = known
            .into_iter()
            .filter(|kept| is_open(coverage, kept.day, KNOWN_EVERY, now));
        for KeptDay { day, .. } in due.take(few) {
            self.kept_days.entry(day).or_insert(KNOWN_EVERY);
        }
    }

    /// Whether somebody waits for a listing just now.
    pub(super) fn somebody_waits(&self, now: Timestamp) -> bool {
        self.waited
            .is_some_and(|waited| now.duration_since(waited) < WAITING)
    }

    /// The last failure that has not been made good.
    pub(super) fn error(&self) -> Option<RemoteError> {
        self.failures
            .iter()
            .chain(&self.hold)
            .max_by_key(|failure| failure.at)
            .map(|failure| failure.error.for_readers())
    }

    /// Whether anything is being searched.
    pub(super) fn is_searching(&self) -> bool {
        !self.running.is_empty()
    }

    /// The searches that the demanded and the cached days need.
    fn planned_days(&mut self, now: &Now) -> Vec<Search> {
        let coverage = &self.coverage;
        self.kept_days
            .retain(|day, age| is_open(coverage, *day, *age, now));
        let demanded = self.days.iter().map(|day| (*day, Purpose::Day));
        let kept = self.kept_days.keys().map(|day| (*day, Purpose::CachedDay));
        demanded
            .chain(kept)
            .map(|(day, purpose)| Search {
                window: TimeWindow {
                    from: day.window().from,
                    to: schedule::end(&day.window(), now.time),
                },
                purpose,
                due: now.time,
            })
            .collect()
    }

    fn postponed(&self, search: &Search, now: &Now) -> Timestamp {
        let failed = self
            .failures
            .iter()
            .filter(|failure| overlaps(&failure.window, &search.window))
            .map(|failure| failure.retry_at);
        let held = self.hold.iter().map(|hold| hold.retry_at);
        let made = self
            .made
            .iter()
            .filter(|(from, at)| {
                *from == search.window.from
                    && *at <= now.time
                    && matches!(search.purpose, Purpose::Missing | Purpose::CachedDay)
            })
            .filter_map(|(_, at)| at.checked_add(now.refresh).ok());
        failed
            .chain(held)
            .chain(made)
            .fold(search.due, Timestamp::max)
    }

    fn has_lane(&self, search: &Search) -> bool {
        // After a failure that would meet all, one search finds out whether it is over.
        if self.hold.is_some() && !self.running.is_empty() {
            return false;
        }
        let lane = lane(search.purpose);
        let taken = self
            .running
            .iter()
            .filter(|running| self::lane(running.purpose) == lane)
            .count();
        let lanes = match lane {
            Lane::Live | Lane::Leisure => 1,
            Lane::Backlog => BACKLOG_LANES,
            Lane::Days => DAY_LANES,
        };
        taken < lanes
            && !self
                .running
                .iter()
                .any(|running| overlaps(&running.window, &search.window) && lane != Lane::Live)
    }
}

/// Whether a day isn't the listed window's, and was not searched within `age`.
fn is_open(coverage: &Coverage, day: Day, age: SignedDuration, now: &Now) -> bool {
    let window = schedule::clip(&day.window(), now.time);
    let since = now.time.checked_sub(age).unwrap_or(Timestamp::MIN);
    !contains(&now.listed, &window) && !coverage.open(&window, since).is_empty()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Lane {
    Live,
    Backlog,
    Days,
    Leisure,
}

fn lane(purpose: Purpose) -> Lane {
    match purpose {
        Purpose::Newest | Purpose::Late => Lane::Live,
        Purpose::Missing | Purpose::Sweep => Lane::Backlog,
        Purpose::Day => Lane::Days,
        Purpose::CachedDay => Lane::Leisure,
    }
}

/// Whether a failure says something about every search, not only about its window.
fn meets_all(error: &WalkError) -> bool {
    match error {
        WalkError::Catalogue(_) => true,
        WalkError::TooLong => false,
        WalkError::Remote(error) => !matches!(
            error,
            RemoteError::Status(400..=428) | RemoteError::Protocol(_) | RemoteError::Gone
        ),
    }
}

fn overlaps(a: &TimeWindow, b: &TimeWindow) -> bool {
    !a.intersection(b).is_empty()
}

fn contains(outer: &TimeWindow, inner: &TimeWindow) -> bool {
    outer.from <= inner.from && inner.to <= outer.to
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::testing::{at, span};

    fn now(second: i64) -> Now {
        Now {
            time: at(second),
            refresh: SignedDuration::from_secs(60),
            listed: span(0, 1_000_000),
            longest: schedule::LONGEST,
        }
    }

    fn search(from: i64, to: i64, purpose: Purpose) -> Search {
        Search {
            window: span(from, to),
            purpose,
            due: at(0),
        }
    }

    fn failed(error: RemoteError) -> Result<(), WalkError> {
        Err(error.into())
    }

    const REFUSED: RemoteError = RemoteError::Unreachable("refused");

    #[test]
    fn old_windows_leave_a_lane_to_new_interactions() {
        let mut state = State::default();
        let plan = vec![
            search(300, 400, Purpose::Missing),
            search(200, 300, Purpose::Missing),
            search(100, 200, Purpose::Missing),
            search(400, 900, Purpose::Newest),
        ];
        let begun = state.begin(plan.clone(), &now(1000));
        assert_eq!(begun, [plan[0], plan[1], plan[3]]);
        assert!(state.begin(plan.clone(), &now(1000)).is_empty());
        state.ended(&plan[0], &Ok(()), &now(1001));
        assert_eq!(state.begin(plan[2..].to_vec(), &now(1001)), [plan[2]]);
    }

    #[test]
    fn pauses_after_failures_grow_up_to_a_refresh() {
        let mut state = State::default();
        let mut time = 1000;
        let mut pauses = Vec::new();
        for _ in 0..6 {
            let begun = state.begin(vec![search(0, 500, Purpose::Newest)], &now(time));
            assert_eq!(begun.len(), 1);
            state.ended(&begun[0], &failed(REFUSED), &now(time));
            assert!(state.begin(begun.clone(), &now(time)).is_empty());
            let next = state.next.unwrap().as_second() - at(0).as_second();
            pauses.push(next - time);
            time = next;
        }
        assert_eq!(pauses, [5, 10, 20, 40, 60, 60]);
    }

    #[test]
    fn what_failed_before_the_clock_was_set_back_holds_up_nothing() {
        let mut state = State::default();
        let newest = search(0, 500, Purpose::Newest);
        state.begin(vec![newest], &now(5000));
        state.ended(&newest, &failed(REFUSED), &now(5000));
        let (progress, _) = state.progress(&span(0, 500), &now(1000));
        assert_eq!(progress, Progress::Searching);
        assert_eq!(state.begin(vec![newest], &now(1000)), [newest]);
    }

    #[test]
    fn a_window_that_the_server_refuses_holds_up_no_other() {
        let mut state = State::default();
        let bad = search(0, 100, Purpose::Missing);
        state.begin(vec![bad], &now(1000));
        state.ended(&bad, &failed(RemoteError::Status(400)), &now(1000));
        let good = search(100, 200, Purpose::Missing);
        assert_eq!(state.begin(vec![bad, good], &now(1000)), [good]);
        state.ended(&good, &failed(REFUSED), &now(1000));
        assert!(
            state
                .begin(vec![search(200, 300, Purpose::Missing)], &now(1000))
                .is_empty()
        );
    }

    #[test]
    fn a_reader_has_a_failure_tried_again_after_some_seconds() {
        let mut state = State::default();
        let only = search(0, 900, Purpose::Missing);
        state.begin(vec![only], &now(1000));
        assert_eq!(
            state.progress(&span(0, 900), &now(1000)).0,
            Progress::Searching
        );
        assert!(state.somebody_waits(at(1001)));
        assert!(!state.somebody_waits(at(1011)));
        for _ in 0..5 {
            state.ended(&only, &failed(REFUSED), &now(1020));
        }
        let progress = state.progress(&span(0, 900), &now(1024));
        assert_eq!(progress, (Progress::Failed(REFUSED), false));
        assert!(state.begin(vec![only], &now(1025)).is_empty());
        let progress = state.progress(&span(0, 900), &now(1025));
        assert_eq!(progress, (Progress::Searching, true));
        assert_eq!(state.begin(vec![only], &now(1025)), [only]);
    }

    #[test]
    fn what_was_searched_is_not_searched_again_at_once_whatever_coverage_says() {
        let mut state = State::default();
        let only = search(0, 900, Purpose::Missing);
        assert_eq!(state.begin(vec![only], &now(1000)), [only]);
        state.ended(&only, &Ok(()), &now(1001));
        assert!(state.begin(vec![only], &now(1001)).is_empty());
        assert_eq!(state.begin(vec![only], &now(1061)), [only]);
    }

    #[test]
    fn a_day_is_refused_when_too_many_wait() {
        let mut state = State::default();
        let first = Day::of(at(0));
        let mut day = first;
        for _ in 0..MOST_DAYS {
            day = day.before(1);
            assert!(state.demand(day, &now(1000)));
            assert!(!state.demand(day, &now(1000)), "it waits already");
        }
        day = day.before(1);
        assert!(!state.demand(day, &now(1000)));
        let progress = state.progress(&day.window(), &now(1000)).0;
        assert_eq!(progress, Progress::Failed(RemoteError::NoBudget));
    }
}
