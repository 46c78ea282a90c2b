//! How figures are shown.

use super::measure::{Failed, Measured};

/// What one row says.
pub(crate) struct Row<'a> {
    pub(crate) name: &'a str,
    pub(crate) cold: Option<&'a Result<Measured, Failed>>,
    pub(crate) again: Option<&'a Result<Measured, Failed>>,
    /// Bytes that the job reads; 0 if that is not known.
    pub(crate) read: u64,
}

pub(crate) fn head() {
    println!(
        "{:<33} {:>8} {:>7} {:>8} {:>9} {:>6} {:>6} {:>7}  {:>8} {:>8}",
        "", "", "", "", "fetched", "", "", "", "again,", "again,"
    );
    println!(
        "{:<33} {:>8} {:>7} {:>8} {:>9} {:>6} {:>6} {:>7}  {:>8} {:>8}",
        "",
        "seconds",
        "MB/s",
        "requests",
        "MiB",
        "/ read",
        "cpu s",
        "RSS MiB",
        "seconds",
        "requests"
    );
}

impl Row<'_> {
    pub(crate) fn print(&self) {
        let name = format!("    {}", self.name);
        let cold = match self.cold {
            Some(Ok(cold)) => figures(cold, self.read),
            Some(Err(Failed(why))) => format!("{why:>8}"),
            None => String::new(),
        };
        let again = match self.again {
            Some(Ok(again)) => format!("{:>8.3} {:>8}", again.seconds, again.requests),
            Some(Err(Failed(why))) => why.clone(),
            None => String::new(),
        };
        println!("{}", format!("{name:<33} {cold:<57}  {again}").trim_end());
    }
}

fn figures(measured: &Measured, read: u64) -> String {
    let per_second = (read > 0).then(|| read as f64 / 1e6 / measured.seconds);
    // A first touch fetches far more than a read of a few bytes, and is meant to: the ratio would say nothing.
    let fetched = (read >= 1 << 20).then(|| measured.sent as f64 / read as f64);
    let cpu = measured.usage.map(|usage| usage.cpu_seconds);
    let rss = measured.usage.map(|usage| usage.peak_rss_mib as f64);
    format!(
        "{:>8.3} {:>7} {:>8} {:>9.2} {:>6} {:>6} {:>7}",
        measured.seconds,
        or_dash(per_second, 1),
        measured.requests,
        measured.sent as f64 / (1 << 20) as f64,
        or_dash(fetched, 2),
        or_dash(cpu, 2),
        or_dash(rss, 0),
    )
}

fn or_dash(figure: Option<f64>, digits: usize) -> String {
    figure.map_or_else(|| "–".to_owned(), |figure| format!("{figure:.digits$}"))
}
