//! A day of an account's life, lived through in moments: calls come in, their transcripts late, some are deleted, some
//! replaced.
//!
//! CI lives through a small one. A large account's, ten thousand calls, takes a minute:
//! `cargo test --release --lib large_accounts_day -- --ignored`.

use std::collections::{BTreeMap, HashSet};

use super::*;

/// Within how many minutes late items of the last day are seen (design, section 4).
const LATE_WITHIN: i64 = 10;

const DAY_IN_MINUTES: i64 = 24 * 60;

/// When a call's recording is stored, in minutes after its start: it appears then.
const STORED: i64 = 7;

struct Life {
    remote: Arc<FakeRemote>,
    per_day: u32,
    refresh: Duration,
    /// What deleted interactions were, as they were stored.
    deleted: Vec<Vec<u8>>,
    /// What replaced ones were.
    replaced: Vec<Vec<u8>>,
    /// By which minute the catalogue must say what the server says of a call.
    due: BTreeMap<u32, i64>,
}

/// What happens to a call.
#[derive(Clone, Copy)]
enum Event {
    Stored,
    Transcribed,
    Replaced,
    Deleted,
}

impl Life {
    /// An account that has lived for a day and a half.
    fn new(per_day: u32, refresh: Duration) -> Self {
        let past = per_day * 3 / 2;
        let start =
            |back: u32| base() - minutes(i64::from(back + 1) * DAY_IN_MINUTES / i64::from(per_day));
        let calls = (0..past).map(|back| call(1_000_000 + back, start(back), true));
        Self {
            remote: FakeRemote::new(calls),
            per_day,
            refresh,
            deleted: Vec::new(),
            replaced: Vec::new(),
            due: BTreeMap::new(),
        }
    }

    fn start(&self, number: u32) -> Timestamp {
        base() + minutes(self.start_minute(number))
    }

    fn start_minute(&self, number: u32) -> i64 {
        i64::from(number) * DAY_IN_MINUTES / i64::from(self.per_day)
    }

    /// What happens in a call's life, and at which age in minutes: half get a transcript 1 to 120 minutes after
    /// the recording, one in a hundred is deleted, one in a thousand (of a small account, more) replaced.
    fn events(&self, number: u32) -> impl Iterator<Item = (i64, Event)> {
        let n = i64::from(number);
        let replaced_in = if self.per_day < 1000 { 50 } else { 1000 };
        [
            (true, STORED, Event::Stored),
            (n % 2 == 0, STORED + 1 + n * 7 % 120, Event::Transcribed),
            (n % replaced_in == 20, 150 + n % 60, Event::Replaced),
            (n % 100 == 33, 130 + n * 13 % 600, Event::Deleted),
        ]
        .into_iter()
        .filter_map(|(happens, age, event)| happens.then_some((age, event)))
    }

    /// Everything that happens in each minute of the day.
    fn calendar(&self) -> BTreeMap<i64, Vec<(u32, Event)>> {
        let mut calendar: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for number in 0..self.per_day {
            for (age, event) in self.events(number) {
                let minute = self.start_minute(number) + age;
                calendar.entry(minute).or_default().push((number, event));
            }
        }
        calendar
    }

    fn happen(&mut self, minute: i64, number: u32, event: Event) {
        let start = self.start(number);
        let refresh = i64::try_from(self.refresh.as_secs() / 60).unwrap();
        let before = self.there(number);
        let stored = before
            .as_ref()
            .map(|before| packed::pack(before.json.reveal()));
        let within = match event {
            Event::Stored => {
                self.remote.put(call(number, start, false));
                2 * refresh
            }
            Event::Transcribed => {
                self.remote.put(call(number, start, true));
                LATE_WITHIN
            }
            Event::Replaced => {
                let json = before.unwrap().json.reveal().replace(":10,", ":11,");
                self.remote.put(Interaction::from_json(&json).unwrap());
                self.replaced.extend(stored);
                LATE_WITHIN
            }
            Event::Deleted => {
                self.remote.delete(guid(number));
                self.deleted.extend(stored);
                // Two searches for late items have to miss it.
                2 * LATE_WITHIN
            }
        };
        self.due.insert(number, minute + within);
    }

    /// What the server says of a call.
    fn there(&self, number: u32) -> Option<Interaction> {
        let account = self.remote.account.lock().unwrap();
        account.interactions.get(&guid(number)).cloned()
    }

    /// Asserts what is due.
    fn keep_promises(&mut self, minute: i64, catalogue: &Catalogue) {
        let due: Vec<u32> = self
            .due
            .iter()
            .filter(|(_, by)| **by < minute)
            .map(|(number, _)| *number)
            .collect();
        for number in due {
            self.due.remove(&number);
            let known = catalogue.interaction(guid(number)).unwrap();
            let known = known.map(|known| known.interaction.clone());
            assert_eq!(
                known,
                self.there(number),
                "call {number} in minute {minute}"
            );
        }
    }

    async fn live(mut self) {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings {
            window: WindowSpec::Days(2),
            refresh: self.refresh,
            ..settings()
        };
        let catalogue = Catalogue::open(&folder.path().join("catalogue.db")).unwrap();
        let mount = Mount::on(catalogue, &self.remote, settings.clone(), base());
        mount.listed().await;
        let before = mount.requests();
        let calendar = self.calendar();
        for minute in 0..DAY_IN_MINUTES {
            for (number, event) in calendar.get(&minute).into_iter().flatten() {
                self.happen(minute, *number, *event);
            }
            tokio::time::sleep(Duration::from_secs(60)).await;
            self.keep_promises(minute, &mount.catalogue);
        }
        let account = Account {
            per_day: self.per_day,
            deletions: false,
        };
        let stated = requests_per_day(account, &settings);
        let made = (mount.requests() - before) as f64;
        assert!(
            (made - stated).abs() <= stated * 0.1,
            "{made} requests against {stated}"
        );
        mount.pass(self.refresh * 30).await;
        let there: Vec<Guid> = {
            let window = mount.refresher.window();
            let account = self.remote.account.lock().unwrap();
            let calls = account.interactions.values();
            calls
                .filter(|call| window.contains(call.start))
                .map(|call| call.guid)
                .collect()
        };
        let mut listed = mount.listed().await;
        listed.sort();
        assert_eq!(listed, there);
        mount.catalogue.keep_house().unwrap();
        self.assert_nothing_is_left(folder.path());
    }

    /// Nothing is left of what was deleted or replaced, and the search for it finds what is there.
    fn assert_nothing_is_left(&self, folder: &std::path::Path) {
        // Where the GUID stands in what is stored, which no other call shares.
        let part_of = |packed: &[u8]| <[u8; 16]>::try_from(&packed[10..26]).unwrap();
        let mut parts = HashSet::new();
        let mut guids = HashSet::new();
        let end = &guid(0).as_bytes()[4..].to_vec();
        let wanted: HashSet<_> = self.deleted.iter().map(|packed| part_of(packed)).collect();
        let kept = (0..self.per_day).find_map(|number| self.there(number));
        let kept = part_of(&packed::pack(kept.unwrap().json.reveal()));
        for entry in std::fs::read_dir(folder).unwrap() {
            let bytes = std::fs::read(entry.unwrap().path()).unwrap();
            for old in &self.replaced {
                assert!(!bytes.windows(old.len()).any(|part| part == old));
            }
            for window in bytes.windows(16) {
                let window: [u8; 16] = window.try_into().unwrap();
                if window == kept || wanted.contains(&window) {
                    parts.insert(window);
                }
                if window[4..] == end[..] {
                    guids.insert(Guid::from_bytes(window));
                }
            }
        }
        assert!(!wanted.is_empty() && !self.replaced.is_empty());
        assert_eq!(parts, HashSet::from([kept]));
        for number in 0..self.per_day {
            let is_left = guids.contains(&guid(number));
            assert_eq!(is_left, self.there(number).is_some(), "call {number}");
        }
    }
}

fn minutes(minutes: i64) -> SignedDuration {
    SignedDuration::from_mins(minutes)
}

fn call(number: u32, start: Timestamp, has_transcript: bool) -> Interaction {
    let keys = ["callRecording", "transcript"];
    let keys = if has_transcript {
        &keys[..]
    } else {
        &keys[..1]
    };
    build(number, start, "inbound", &["7"], keys)
}

#[tokio::test(start_paused = true)]
async fn a_small_accounts_day_is_followed_in_time_and_at_the_stated_cost() {
    Life::new(120, REFRESH * 2).live().await;
}

#[tokio::test(start_paused = true)]
#[ignore = "takes a minute in a release build"]
async fn a_large_accounts_day_is_followed_in_time_and_at_the_stated_cost() {
    Life::new(10_000, REFRESH).live().await;
}
