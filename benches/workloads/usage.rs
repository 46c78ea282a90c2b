//! What a process used, by the kernel's own accounts.

/// CPU time and memory of a process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    /// User and system time, in seconds.
    pub(crate) cpu_seconds: f64,
    /// The largest resident set so far, in MiB.
    pub(crate) peak_rss_mib: u64,
}

impl Usage {
    /// What the process has used so far, if there is one.
    pub(crate) fn of(pid: u32) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The fields behind the command's closing parenthesis; 14 and 15 are the ticks, of 10 ms on Linux.
        let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
        let ticks = fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let peak = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))
            .and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok())
            .unwrap_or(0);
        Some(Self {
            cpu_seconds: ticks / 100.0,
            peak_rss_mib: peak / 1024,
        })
    }

    /// What was used since `earlier`; the peak is the whole process's.
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        Self {
            cpu_seconds: self.cpu_seconds - earlier.cpu_seconds,
            peak_rss_mib: self.peak_rss_mib,
        }
    }
}
