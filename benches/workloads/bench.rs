//! Does the workloads: raw HTTP, ours, an older build of ours and the peers by turns, as many rounds as asked for.

use std::cell::RefCell;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::ceiling::{Ceiling, Source};
use super::common::{Mount, MountBuilder, Server};
use super::corpus::{LOCAL, Wire};
use super::job;
use super::limits::{Beside, COLD_NOISE, DISK_NOISE, Verdict, against};
use super::measure::{Failed, Measured, Mounted, counted, measure};
use super::peers::Peer;
use super::raw;
use super::table::Row;
use super::workload::Workload;

/// Who took longer than this together does no further round.
const ENOUGH: Duration = Duration::from_secs(10);

pub(crate) struct Bench {
    pub(crate) server: Server,
    pub(crate) peers: Vec<Peer>,
    /// An older build of ours to compare with.
    pub(crate) baseline: Option<PathBuf>,
    pub(crate) rounds: u32,
    /// Peers have listed everything, too, before they are measured.
    pub(crate) lists_peers: bool,
    /// Print what was asked for.
    pub(crate) tells_requests: bool,
    /// What was missed so far.
    pub(crate) missed: RefCell<Vec<String>>,
}

/// Who does a workload.
enum Subject {
    Raw,
    /// The kernel's part of it: files as large, whose bytes are there already.
    Ceiling,
    Baseline(PathBuf),
    Ours,
    Peer(Peer),
}

/// What a subject took in all rounds.
struct Tally {
    subject: Subject,
    spent: Duration,
    cold: Option<Result<Measured, Failed>>,
    again: Option<Result<Measured, Failed>>,
}

impl Bench {
    /// Does it, and prints what it took.
    pub(crate) fn run(&self, workload: &Workload) {
        println!(
            "{}  {}; ideally {} request{}",
            workload.name,
            workload.title,
            workload.ideal,
            if workload.ideal == 1 { "" } else { "s" }
        );
        let mut tallies: Vec<Tally> = self.subjects(workload).map(Tally::of).collect();
        self.rounds(workload, &mut tallies, ENOUGH);
        let mut verdicts = self.verdicts(workload, &tallies);
        if verdicts.iter().any(|verdict| !verdict.holds) {
            // A machine that does something else is slow by turns: as often again, for everybody.
            self.rounds(workload, &mut tallies, 2 * ENOUGH);
            verdicts = self.verdicts(workload, &tallies);
        }
        for tally in &tallies {
            tally.print(workload.read);
        }
        for verdict in verdicts {
            self.judged(workload.name, &verdict);
        }
    }

    /// By turns; who took `enough` does no further one.
    fn rounds(&self, workload: &Workload, tallies: &mut [Tally], enough: Duration) {
        for round in 1..=self.rounds {
            for tally in tallies.iter_mut().filter(|tally| tally.goes_on(enough)) {
                self.tell(workload, &tally.subject, round);
                let start = Instant::now();
                let (cold, again) = self.round(workload, &tally.subject);
                tally.add(cold, again);
                tally.spent += start.elapsed();
            }
        }
        self.tell_nothing();
    }

    fn subjects(&self, workload: &Workload) -> impl Iterator<Item = Subject> {
        let raw = workload.raw.is_some().then_some(Subject::Raw);
        let ceiling = workload.has_ceiling.then_some(Subject::Ceiling);
        // A peer knows no pace.
        let peers = if workload.options.is_empty() {
            self.peers.clone()
        } else {
            Vec::new()
        };
        raw.into_iter()
            .chain(ceiling)
            .chain(peers.into_iter().map(Subject::Peer))
            .chain(self.baseline.clone().map(Subject::Baseline))
            .chain([Subject::Ours])
    }

    /// Cold, and once more.
    fn round(
        &self,
        workload: &Workload,
        subject: &Subject,
    ) -> (Result<Measured, Failed>, Option<Result<Measured, Failed>>) {
        self.wire(if workload.listed {
            LOCAL
        } else {
            workload.wire
        });
        self.server.api().log().clear();
        let mounted: Result<Box<dyn Mounted>, Failed> = match subject {
            Subject::Raw => return (self.raw(workload), None),
            Subject::Ceiling => return (self.ceiling(workload), None),
            Subject::Ours => self.mount(workload, None),
            Subject::Baseline(program) => self.mount(workload, Some(program)),
            Subject::Peer(peer) => self.mount_peer(workload, peer),
        };
        // A job that lists has its mount's own requests to answer for. A peer's were made in its name.
        let is_peer = matches!(subject, Subject::Peer(_));
        let before = if workload.listed || is_peer {
            0
        } else {
            self.server.all_requests()
        };
        let mounted = match mounted {
            Ok(mounted) => mounted,
            Err(failed) => return (Err(failed), None),
        };
        let (mut cold, again) = self.twice(workload, subject.name(), &*mounted);
        if let Ok(cold) = &mut cold {
            cold.requests += before;
        }
        (cold, again)
    }

    fn raw(&self, workload: &Workload) -> Result<Measured, Failed> {
        let Some((connections, asks)) = &workload.raw else {
            return Err(Failed(String::new()));
        };
        let client = raw::Client::new(&self.server, *connections);
        self.wire(workload.wire);
        counted(&self.server, || {
            client.read(asks);
            Ok(Vec::new())
        })
    }

    fn ceiling(&self, workload: &Workload) -> Result<Measured, Failed> {
        let sizes = workload.files.iter().map(|file| file.size);
        let size = sizes.max().unwrap_or(0);
        let ceiling = Ceiling::mount(Source::memory(), size, workload.files.len() as u64)?;
        counted(&self.server, || Ok((workload.job)(&ceiling.files())?))
    }

    fn twice(
        &self,
        workload: &Workload,
        name: &str,
        mounted: &dyn Mounted,
    ) -> (Result<Measured, Failed>, Option<Result<Measured, Failed>>) {
        self.wire(workload.wire);
        let files: Vec<PathBuf> = if workload.walks {
            Vec::new()
        } else {
            workload
                .files
                .iter()
                .map(|file| file.path.clone())
                .collect()
        };
        let cold = measure(&self.server, mounted, &files, &workload.job);
        if cold.is_err() {
            return (cold, None);
        }
        if self.tells_requests {
            self.tell_nothing();
            println!("    {name} asked for\n{}", self.server.describe());
        }
        drop_page_cache();
        job::load_programs();
        let again = measure(&self.server, mounted, &files, &workload.job);
        (cold, Some(again))
    }

    fn mount(
        &self,
        workload: &Workload,
        program: Option<&Path>,
    ) -> Result<Box<dyn Mounted>, Failed> {
        let mut builder = MountBuilder::new(&self.server);
        for option in workload.options {
            builder = builder.option(*option);
        }
        if let Some(program) = program {
            builder = builder.program(program);
        }
        let mount = builder
            .try_mount()
            .map_err(|output| Failed(String::from_utf8_lossy(&output).trim().to_owned()))?;
        if workload.listed {
            self.list(&mount)?;
        }
        Ok(Box::new(mount))
    }

    fn mount_peer(&self, workload: &Workload, peer: &Peer) -> Result<Box<dyn Mounted>, Failed> {
        let mounted = peer.mount(&self.server, &workload.files)?;
        if workload.listed && self.lists_peers {
            self.list(&mounted)?;
        }
        mounted.set_wire(workload.wire);
        Ok(Box::new(mounted))
    }

    /// Lists everything, so that content only is paid for later.
    fn list(&self, mounted: &dyn Mounted) -> Result<(), Failed> {
        let list = job::shell("ls -lR . > /dev/null");
        measure(&self.server, mounted, &[], &list).map(|_| ())
    }

    pub(crate) fn wire(&self, wire: Wire) {
        self.server.set_wire(wire.latency, wire.bytes_per_second);
    }

    fn verdicts(&self, workload: &Workload, tallies: &[Tally]) -> Vec<Verdict> {
        let find =
            |wanted: fn(&Subject) -> bool| tallies.iter().find(|tally| wanted(&tally.subject));
        let cold = |tally: &Tally| tally.cold.clone()?.ok();
        let again = |tally: &Tally| tally.again.clone()?.ok();
        let ours = find(|subject| matches!(subject, Subject::Ours));
        let Some(measured) = ours.and_then(cold) else {
            return vec![Verdict::nothing()];
        };
        let raw = find(|subject| matches!(subject, Subject::Raw)).and_then(cold);
        let peers = tallies.iter().filter_map(|tally| match &tally.subject {
            Subject::Peer(peer) => Some((peer.name, cold(tally)?.seconds)),
            _ => None,
        });
        let beside = Beside {
            raw: raw.map(|raw| raw.seconds),
            peer: peers.min_by(|one, other| one.1.total_cmp(&other.1)),
            native: None,
            read: workload.read,
        };
        let limits = workload.limits.iter();
        let mut verdicts: Vec<Verdict> = limits
            .filter_map(|limit| limit.judge(&measured, &beside))
            .collect();
        let baseline = find(|subject| matches!(subject, Subject::Baseline(_)));
        if let Some(before) = baseline.and_then(cold) {
            verdicts.push(against("", &measured, &before, COLD_NOISE));
        }
        if let (Some(ours), Some(before)) = (ours.and_then(again), baseline.and_then(again)) {
            verdicts.push(against("again: ", &ours, &before, DISK_NOISE));
        }
        verdicts
    }

    /// Prints a figure beside its limit, and notes what was missed.
    pub(crate) fn judged(&self, name: &str, verdict: &Verdict) {
        println!("        {}", verdict.text);
        if !verdict.holds {
            let missed = format!("{name:<5} {}", verdict.text);
            self.missed.borrow_mut().push(missed);
        }
    }

    /// What is being done, on a terminal.
    fn tell(&self, workload: &Workload, subject: &Subject, round: u32) {
        let (name, of) = (workload.name, self.rounds);
        self.tell_nothing();
        if std::io::stderr().is_terminal() {
            eprint!("{name}: round {round} of {of}, {} …", subject.name());
        }
    }

    fn tell_nothing(&self) {
        let mut terminal = std::io::stderr();
        if terminal.is_terminal() {
            let _ = terminal.write_all(b"\r\x1b[K");
        }
    }
}

impl Subject {
    fn name(&self) -> &str {
        match self {
            Self::Raw => "raw HTTP",
            Self::Ceiling => "FUSE ceiling, from memory",
            Self::Baseline(_) => "baseline",
            Self::Ours => "interactionfs",
            Self::Peer(peer) => peer.name,
        }
    }
}

impl Tally {
    fn of(subject: Subject) -> Self {
        Self {
            subject,
            spent: Duration::ZERO,
            cold: None,
            again: None,
        }
    }

    /// Who failed once would again, and who is slow is not measured for his sake.
    fn goes_on(&self, enough: Duration) -> bool {
        self.spent < enough && !matches!(self.cold, Some(Err(_)))
    }

    fn add(&mut self, cold: Result<Measured, Failed>, again: Option<Result<Measured, Failed>>) {
        self.cold = Some(best(self.cold.take(), cold));
        self.again = again.map(|again| best(self.again.take(), again));
    }

    fn print(&self, read: u64) {
        Row {
            name: self.subject.name(),
            cold: self.cold.as_ref(),
            again: self.again.as_ref(),
            read,
        }
        .print();
    }
}

/// A failure stays one.
fn best(
    before: Option<Result<Measured, Failed>>,
    now: Result<Measured, Failed>,
) -> Result<Measured, Failed> {
    match before {
        None => now,
        Some(before) => Ok(before?.or_better(now?)),
    }
}

impl Mounted for Mount {
    fn root(&self) -> PathBuf {
        Self::root(self)
    }

    fn pid(&self) -> u32 {
        Self::pid(self)
    }
}

/// As root; elsewhere what is read again may come from the page cache.
pub(crate) fn drop_page_cache() {
    rustix::fs::sync();
    let _ = std::fs::write("/proc/sys/vm/drop_caches", "3");
}
