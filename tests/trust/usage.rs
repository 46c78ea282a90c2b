//! What a daemon uses while it runs: memory, descriptors, threads.

use std::fmt;

/// The name of the runtime's threads. It starts one when more calls wait for the disk than ever before, and keeps those that
/// are used now and then.
const POOL: &str = "interactionfs";

/// One look at a process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    pub(crate) resident_kib: u64,
    pub(crate) descriptors: u64,
    /// Threads but those of the runtime.
    pub(crate) threads: u64,
    /// The runtime's threads: workers, and a pool for calls that may block.
    pub(crate) pool: u64,
}

/// Looks at a process; `None` if it is gone.
pub(crate) fn of(pid: u32) -> Option<Usage> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name))?;
        line.split_whitespace().nth(1)?.parse().ok()
    };
    let is_in_pool = |thread: std::io::Result<std::fs::DirEntry>| {
        let name = std::fs::read_to_string(thread.ok()?.path().join("comm")).ok()?;
        Some(name.trim_end() == POOL)
    };
    let threads: Vec<bool> = std::fs::read_dir(format!("/proc/{pid}/task"))
        .ok()?
        .filter_map(is_in_pool)
        .collect();
    let pool = threads.iter().filter(|&&is_in_pool| is_in_pool).count();
    Some(Usage {
        resident_kib: field("VmRSS:")?,
        // Shown to root only, because the daemon leaves no core.
        descriptors: std::fs::read_dir(format!("/proc/{pid}/fd"))
            .map_or(0, |open| open.count() as u64),
        threads: (threads.len() - pool) as u64,
        pool: pool as u64,
    })
}

/// The most memory that a process has had resident, in KiB.
pub(crate) fn peak_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let text = line.and_then(|line| line.split_whitespace().nth(1));
    text.unwrap().parse().unwrap()
}

/// The means of the first, the second and the last tenth of many looks.
pub(crate) fn tenths(looks: &[Usage]) -> [Usage; 3] {
    let tenth = (looks.len() / 10).max(1).min(looks.len());
    let second = &looks[tenth..(2 * tenth).min(looks.len())];
    [
        mean(&looks[..tenth]),
        mean(second),
        mean(&looks[looks.len() - tenth..]),
    ]
}

fn mean(looks: &[Usage]) -> Usage {
    let count = (looks.len() as u64).max(1);
    let mean = |of: fn(&Usage) -> u64| looks.iter().map(of).sum::<u64>() / count;
    Usage {
        resident_kib: mean(|usage| usage.resident_kib),
        descriptors: mean(|usage| usage.descriptors),
        threads: mean(|usage| usage.threads),
        pool: mean(|usage| usage.pool),
    }
}

impl fmt::Display for Usage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{} KiB resident, {} descriptors, {} threads and {} of the runtime's",
            self.resident_kib, self.descriptors, self.threads, self.pool
        )
    }
}
