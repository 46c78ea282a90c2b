//! A large account, on a real mount of the bundled emulator: each figure beside its limit (design, section 10).
//!
//! `cargo bench --bench scale` takes a million interactions of three items, a minute, and 400 MB below the
//! temporary directory; `cargo bench --bench scale -- 100000` fewer. `--no-disk-cache` keeps the catalogue in memory;
//! there is no remount then. It needs /dev/fuse. Times hold only for the machine and the hour, limits are for a
//! machine that does nothing else; it ends with 1 if one was missed.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "it fails by panicking, and prints its figures"
)]

#[path = "../tests/common/mod.rs"]
mod common;
#[allow(dead_code, reason = "shared with the other bench")]
#[path = "workloads/usage.rs"]
mod usage;

use std::cell::Cell;
use std::path::Path;
use std::time::{Duration, Instant};

use common::{Mount, MountBuilder, Server, can_mount};
use interactionfs::emulator::{Endpoint, GeneratedSpec};
use jiff::{SignedDuration, Timestamp};
use usage::Usage;

/// Days that the interactions are spread over, up to now: a search's longest window.
const DAYS: u32 = 7;

/// What the API grants a whole account in a minute, in pages of so many interactions.
const REQUESTS_A_MINUTE: f64 = 160.0;
const PAGE: u64 = 1000;

/// How many GUIDs are looked up.
const LOOKUPS: usize = 5_000;

/// The links in the root, which are no interactions.
const LINKS: u64 = 3;

fn main() {
    if !can_mount() {
        return;
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let count = arguments
        .iter()
        .find_map(|argument| argument.replace('_', "").parse().ok())
        .unwrap_or(1_000_000);
    let in_memory = arguments
        .iter()
        .any(|argument| argument == "--no-disk-cache");
    let scale = Scale {
        server: Server::generated(GeneratedSpec {
            interactions: count,
            days: DAYS,
            ..GeneratedSpec::default()
        }),
        count,
        missed: Cell::new(0),
    };
    println!("{count} interactions of 3 items");
    scale.run(in_memory);
    if scale.missed.get() > 0 {
        std::process::exit(1);
    }
}

struct Scale {
    server: Server,
    count: u64,
    missed: Cell<u32>,
}

impl Scale {
    fn run(&self, in_memory: bool) {
        let alone = self.server_alone();
        self.told("the server alone, every page, one connection", alone, "s");
        let cache = tempfile::tempdir().unwrap();
        let start = Instant::now();
        let mount = self.mount(cache.path(), in_memory);
        self.first_listing(&mount, start, alone);
        self.warm_listing(&mount);
        self.views(&mount);
        self.memory(&mount, "largest RSS, until here");
        if in_memory {
            // The kernel keeps what it listed: only another mount could show what looking up takes.
            return mount.unmount();
        }
        mount.unmount();
        let mount = self.remount(cache.path());
        self.lookups(&mount);
        self.whole_tree(&mount);
        self.memory(&mount, "largest RSS, after the remount");
        mount.unmount();
    }

    fn mount(&self, cache: &Path, in_memory: bool) -> Mount {
        // A day more than the corpus has: its first day began before midnight.
        let mut builder = MountBuilder::new(&self.server)
            .cache(cache)
            .option(format!("--since={}d", DAYS + 1))
            .option("--metadata-deadline=600s")
            .option("--deadline=600s");
        if in_memory {
            builder = builder.option("--no-disk-cache");
        }
        builder.mount()
    }

    /// From the mount to the end of the first complete listing.
    fn first_listing(&self, mount: &Mount, start: Instant, alone: f64) {
        let (entries, first) = list(&mount.root(), start);
        let all = start.elapsed().as_secs_f64();
        assert_eq!(entries, self.count + LINKS, "the listing is not whole");
        self.told("first listing: its first interactions", first, "s");
        let pages = self.server.requests(Endpoint::Search);
        let pace = self.count.div_ceil(PAGE) as f64 / REQUESTS_A_MINUTE * 60.0;
        self.figure(
            "first listing, complete (at the API's 160 a minute)",
            all,
            At::Most(pace.max(alone)),
            "s",
        );
        self.told("  times what the server alone needs", all / alone, "x");
        self.told("  of that, the daemon's CPU", cpu(mount), "s");
        self.told(
            "  searches, with those of the server alone",
            pages as f64,
            "",
        );
    }

    fn warm_listing(&self, mount: &Mount) {
        let best = (0..3)
            .map(|_| {
                let start = Instant::now();
                let (entries, _) = list(&mount.root(), start);
                assert_eq!(entries, self.count + LINKS);
                entries as f64 / start.elapsed().as_secs_f64()
            })
            .fold(0.0, f64::max);
        self.figure("root listed again", best, At::Least(100_000.0), "entries/s");
    }

    fn views(&self, mount: &Mount) {
        let yesterday = Timestamp::now() - SignedDuration::from_hours(24);
        let day = yesterday.strftime("by-date/%Y-%m-%d/").to_string();
        for view in [&*day, "by-agent/", "by-agent/1042/"] {
            let start = Instant::now();
            let (entries, _) = list(&mount.path(view), start);
            let what = format!("{entries} entries of {}", view.replace(&day, "by-date/…/"));
            self.told(&what, start.elapsed().as_secs_f64(), "s");
        }
    }

    /// A second mount on the first one's catalogue, while the server answers nothing at all.
    fn remount(&self, cache: &Path) -> Mount {
        let before = self.server.all_requests();
        self.server.set_wire(Duration::from_secs(3600), None);
        let start = Instant::now();
        let mount = self.mount(cache, false);
        let first = std::fs::read_dir(mount.root()).unwrap().nth(LINKS as usize);
        let seconds = start.elapsed().as_secs_f64();
        assert!(first.is_some(), "the tree is empty after a remount");
        let requests = self.server.all_requests() - before;
        self.figure(
            "remount, until the tree stands",
            seconds,
            At::Most(1.0),
            "s",
        );
        self.figure("  requests until then", requests as f64, At::Most(0.0), "");
        mount
    }

    /// That the tree of a remount is whole, without an answer of the server.
    fn whole_tree(&self, mount: &Mount) {
        let start = Instant::now();
        let (entries, _) = list(&mount.root(), start);
        assert_eq!(entries, self.count + LINKS, "the tree is not whole");
        self.told(
            "  all of its root, listed",
            start.elapsed().as_secs_f64(),
            "s",
        );
        self.server.set_wire(Duration::ZERO, None);
    }

    /// The median time of looking up a GUID that was never looked up, less that of a name that the daemon answers
    /// without looking anywhere: what is left is the daemon's own.
    fn lookups(&self, mount: &Mount) {
        let root = mount.root();
        let found = median((0..LOOKUPS).map(|place| {
            let path = root.join(self.guid(place));
            timed(|| assert!(std::fs::symlink_metadata(&path).is_ok()))
        }));
        let nothing = median((0..LOOKUPS).map(|place| {
            let path = root.join(format!("no guid {place}"));
            timed(|| assert!(std::fs::symlink_metadata(&path).is_err()))
        }));
        self.told("stat of a random GUID, median", found, "µs");
        self.told("stat of a name that is none, median", nothing, "µs");
        let inside = (found - nothing).max(0.0);
        self.figure(
            "looking up a random GUID, inside",
            inside,
            At::Most(100.0),
            "µs",
        );
    }

    /// A GUID somewhere in the corpus, another for each place.
    fn guid(&self, place: usize) -> String {
        let number = (place as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) % self.count;
        let account = self.server.api().account();
        account.generated().unwrap().guid(number).to_string()
    }

    fn memory(&self, mount: &Mount, what: &str) {
        let rss = Usage::of(mount.pid()).unwrap().peak_rss_mib;
        self.figure(what, rss as f64, At::Most(512.0), "MiB");
    }

    /// Seconds that all pages take by plain HTTP, one after another, unread.
    fn server_alone(&self) -> f64 {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let api = self.server.api();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let client = reqwest::Client::new();
            let answer = client
                .post(api.auth_url())
                .header("Content-Type", "application/x-www-form-urlencoded")
                .basic_auth(api.client_id(), Some(api.client_secret()))
                .body("grant_type=client_credentials&scope=interaction-content%3Aread")
                .send();
            let answer = answer.await.unwrap().text().await.unwrap();
            let token: serde_json::Value = serde_json::from_str(&answer).unwrap();
            let token = token["access_token"].as_str().unwrap();
            let now = Timestamp::from_second(Timestamp::now().as_second()).unwrap();
            let from = now - SignedDuration::from_hours(24 * i64::from(DAYS));
            let window = format!("start={from}&end={now}&limit={PAGE}");
            let mut next = String::new();
            let start = Instant::now();
            loop {
                let url = format!("{}/interactions?{window}{next}", api.api_url());
                let answer = client
                    .get(url)
                    .header("Accept", "application/vnd.newvoicemedia.v3+json")
                    .bearer_auth(token)
                    .send();
                let page = answer.await.unwrap().error_for_status().unwrap();
                let page = page.bytes().await.unwrap();
                let Some(token) = continuation(&page) else {
                    return start.elapsed().as_secs_f64();
                };
                let token: String =
                    url::form_urlencoded::byte_serialize(token.as_bytes()).collect();
                next = format!("&continuationToken={token}");
            }
        })
    }

    fn told(&self, what: &str, measured: f64, unit: &str) {
        println!("{what:<52} {:>12} {unit}", shown(measured));
    }

    fn figure(&self, what: &str, measured: f64, limit: At, unit: &str) {
        let (word, limit, holds) = match limit {
            At::Most(limit) => ("≤", limit, measured <= limit),
            At::Least(limit) => ("≥", limit, measured >= limit),
        };
        if !holds {
            self.missed.set(self.missed.get() + 1);
        }
        let missed = if holds { "" } else { "   MISSED" };
        let limit = shown(limit);
        println!(
            "{what:<52} {:>12} {unit:<10} {word} {limit}{missed}",
            shown(measured)
        );
    }
}

#[derive(Clone, Copy)]
enum At {
    Most(f64),
    Least(f64),
}

fn shown(number: f64) -> String {
    if number >= 100.0 || number.fract() == 0.0 {
        format!("{number:.0}")
    } else {
        format!("{number:.2}")
    }
}

/// How many entries a directory has, and after how many seconds the first one came that is no link of the root.
fn list(directory: &Path, start: Instant) -> (u64, f64) {
    let mut first = None;
    let mut entries = 0;
    for entry in std::fs::read_dir(directory).unwrap() {
        entry.unwrap();
        entries += 1;
        if entries > LINKS && first.is_none() {
            first = Some(start.elapsed().as_secs_f64());
        }
    }
    (entries, first.unwrap_or_default())
}

fn cpu(mount: &Mount) -> f64 {
    Usage::of(mount.pid()).unwrap().cpu_seconds
}

/// Microseconds.
fn timed(job: impl FnOnce()) -> f64 {
    let start = Instant::now();
    job();
    start.elapsed().as_secs_f64() * 1e6
}

fn median(times: impl Iterator<Item = f64>) -> f64 {
    let mut times: Vec<f64> = times.collect();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// The token of the next page, which stands at the end of a page, without reading the page as JSON.
fn continuation(page: &[u8]) -> Option<String> {
    const NAME: &str = "nextContinuationToken";
    let tail = String::from_utf8_lossy(&page[page.len().saturating_sub(4096)..]);
    let (_, value) = tail.rsplit_once(NAME)?;
    let value = value.trim_start_matches(['"', ':', ' ']);
    let (token, _) = value.split_once('"')?;
    Some(token.to_owned())
}
