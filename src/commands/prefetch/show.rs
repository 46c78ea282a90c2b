//! How prefetching is shown: bars on a terminal, lines of JSON for programs, nothing else where nobody looks.

use std::fmt::Write as _;
use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::failure::Failure;
use crate::prefetch::{Event, Outcome, Planned, Progress};

/// Takes events, and shows them.
pub(super) struct Show {
    as_json: bool,
    is_dry_run: bool,
    bars: Option<Bars>,
    outcome: Option<Outcome>,
    failure: Option<Failure>,
}

/// The bars of a terminal.
struct Bars {
    all: MultiProgress,
    files: ProgressBar,
    bytes: ProgressBar,
}

impl Show {
    pub(super) fn new(as_json: bool, is_dry_run: bool) -> Self {
        let has_bars = !as_json && std::io::stderr().is_terminal();
        Self {
            as_json,
            is_dry_run,
            bars: has_bars.then(Bars::new),
            outcome: None,
            failure: None,
        }
    }

    pub(super) fn tell(&mut self, event: Event) {
        if self.as_json {
            if let Ok(line) = serde_json::to_string(&event) {
                self.print(&format!("{line}\n"));
            }
        } else {
            self.show(&event);
        }
        if let Event::End(outcome) = event {
            self.outcome = Some(outcome);
        }
    }

    fn show(&mut self, event: &Event) {
        match event {
            Event::Plan(planned) if self.is_dry_run => {
                self.clear();
                self.print(&plan_text(planned));
            }
            Event::Plan(planned) => {
                if let Some(warning) = too_large(planned) {
                    self.warn(&warning);
                }
                if let Some(bars) = &self.bars {
                    bars.begin(planned);
                }
            }
            Event::Looking { interactions } => {
                if let Some(bars) = &self.bars {
                    bars.look(*interactions);
                }
            }
            Event::Progress(progress) => {
                if let Some(bars) = &self.bars {
                    bars.update(progress);
                }
            }
            Event::Round(outcome) => {
                if let Some(reason) = &outcome.stopped {
                    self.warn(&format!("it goes on later: {reason}"));
                }
                if let Some(bars) = &self.bars {
                    bars.wait();
                }
            }
            Event::Waiting => {
                if let Some(bars) = &self.bars {
                    bars.wait();
                }
            }
            Event::End(outcome) => {
                let had_bars = self.bars.is_some();
                self.clear();
                if had_bars && !self.is_dry_run && outcome.is_complete() {
                    self.print(&outcome_text(outcome));
                }
            }
        }
    }

    /// Takes the bars off the screen.
    pub(super) fn clear(&mut self) {
        if let Some(bars) = &self.bars {
            bars.clear();
        }
    }

    /// How it ended. Without an end, it was cut short as `how` says.
    pub(super) fn end(mut self, how: &str) -> Result<(), Failure> {
        self.clear();
        if let Some(failure) = self.failure {
            return Err(failure);
        }
        let Some(outcome) = self.outcome else {
            return Err(Failure::found(format!(
                "{how}: what came is kept, and the same command goes on from there"
            )));
        };
        match &outcome.stopped {
            Some(reason) => Err(Failure::found(format!(
                "{reason}: what came is kept, and the same command goes on from there"
            ))),
            None if outcome.failed > 0 => Err(Failure::found(format!(
                "{} of {} files could not be fetched: the same command tries those again",
                outcome.failed,
                outcome.failed + outcome.fetched
            ))),
            None => Ok(()),
        }
    }

    fn print(&mut self, text: &str) {
        if let Err(failure) = super::super::print(text) {
            self.failure.get_or_insert(failure);
        }
    }

    fn warn(&self, text: &str) {
        let line = format!("interactionfs: {text}");
        match &self.bars {
            Some(bars) => {
                // A terminal that can't be written has nobody in front of it.
                let _ = bars.all.println(line);
            }
            #[allow(
                clippy::print_stderr,
                reason = "a warning of a command, not of the daemon"
            )]
            None => eprintln!("{line}"),
        }
    }
}

impl Bars {
    fn new() -> Self {
        let all = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(5));
        let files = all.add(ProgressBar::new(0));
        let bytes = all.add(ProgressBar::new(0));
        Self { all, files, bytes }
    }

    fn begin(&self, planned: &Planned) {
        self.files
            .set_style(style("files {bar:32} {pos:>9} of {len:<9} {msg}"));
        self.bytes
            .set_style(style("bytes {bar:32} {bytes:>9} of {total_bytes:<9} {msg}"));
        self.files.set_length(planned.files - planned.held);
        self.files.set_position(0);
        self.bytes.set_length(planned.bytes);
        self.bytes.set_position(0);
        self.files
            .set_message(left(Duration::from_secs(planned.seconds)));
    }

    fn look(&self, interactions: u64) {
        self.files.set_style(style("{msg}"));
        self.bytes.set_style(style("{msg}"));
        self.files
            .set_message(format!("looking: {interactions} interactions so far"));
        self.bytes.set_message("");
    }

    fn update(&self, progress: &Progress) {
        self.files.set_length(progress.files_planned);
        self.files.set_position(progress.files);
        self.bytes.set_length(progress.bytes_planned);
        self.bytes.set_position(progress.bytes);
        let mut message = left(Duration::from_secs(progress.seconds_left));
        if progress.failed > 0 {
            // Writing to a String can't fail.
            let _ = write!(message, ", {} failed", progress.failed);
        }
        self.files.set_message(message);
        self.bytes.set_message(format!(
            "budget {} of {} left",
            progress.budget_left, progress.budget
        ));
    }

    fn wait(&self) {
        self.files.set_style(style("{msg}"));
        self.bytes.set_style(style("{msg}"));
        self.files
            .set_message("all of the window is here; waiting for more, until Ctrl-C");
        self.bytes.set_message("");
    }

    fn clear(&self) {
        // A terminal that can't be written has nobody in front of it.
        let _ = self.all.clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    // Templates are constants; one that were wrong would show the default bar.
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
}

fn left(time: Duration) -> String {
    format!("{} left", humantime::format_duration(time))
}

fn size(bytes: u64) -> String {
    bytesize::ByteSize(bytes).display().iec().to_string()
}

fn plan_text(planned: &Planned) -> String {
    let Planned {
        interactions,
        files,
        held,
        requests,
        ..
    } = planned;
    let time = humantime::format_duration(Duration::from_secs(planned.seconds));
    let mut text = format!(
        "wanted    {files} files of {interactions} interactions, {}\n\
         held      {held}\n\
         requests  {requests} for {} files, {}\n\
         time      {time} at the present pace\n",
        size(planned.bytes_wanted),
        files - held,
        size(planned.bytes),
    );
    // Writing to a String can't fail.
    if planned.sizes_unknown > 0 {
        let _ = writeln!(
            text,
            "note      {} files don't say how large they are; their bytes are not counted",
            planned.sizes_unknown
        );
    }
    if planned.unknown > 0 {
        let _ = writeln!(
            text,
            "note      {} GUIDs are not known to the API",
            planned.unknown
        );
    }
    if let Some(warning) = too_large(planned) {
        let _ = writeln!(text, "warning   {warning}");
    }
    text
}

fn too_large(planned: &Planned) -> Option<String> {
    planned.too_large.then(|| {
        format!(
            "the cache is too small: {} are wanted, and it holds {} (--cache-size); what was fetched first will make room",
            size(planned.bytes_wanted),
            size(planned.cache_bytes)
        )
    })
}

fn outcome_text(outcome: &Outcome) -> String {
    let mut text = format!(
        "{} files fetched, {}, in {}; {} were held\n",
        outcome.fetched,
        size(outcome.bytes),
        humantime::format_duration(Duration::from_secs(outcome.seconds)),
        outcome.held
    );
    for (count, what) in [
        (outcome.gone, "were replaced or deleted meanwhile"),
        (outcome.denied, "may not be seen with these credentials"),
        (outcome.unknown, "GUIDs are not known to the API"),
    ] {
        if count > 0 {
            // Writing to a String can't fail.
            let _ = writeln!(text, "{count} {what}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(outcome: Outcome) -> Result<(), Failure> {
        let mut show = Show::new(false, false);
        show.bars = None;
        show.tell(Event::End(outcome));
        show.end("it was stopped")
    }

    #[test]
    fn a_plan_says_what_it_takes_and_what_is_wrong_with_it() {
        let mut planned = Planned {
            interactions: 420,
            files: 412,
            held: 14,
            requests: 399,
            bytes: 12 << 20,
            bytes_wanted: 13 << 20,
            seconds: 270,
            requests_per_minute: 150,
            cache_bytes: 1 << 30,
            ..Planned::default()
        };
        assert_eq!(
            plan_text(&planned),
            "wanted    412 files of 420 interactions, 13.0 MiB\nheld      14\n\
             requests  399 for 398 files, 12.0 MiB\ntime      4m 30s at the present pace\n"
        );
        planned.too_large = true;
        planned.sizes_unknown = 3;
        planned.unknown = 2;
        let text = plan_text(&planned);
        for part in ["3 files don't say", "2 GUIDs", "--cache-size"] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn what_is_not_here_is_a_failure_and_what_may_not_be_seen_is_none() {
        let denied = Outcome {
            denied: 3,
            ..Outcome::default()
        };
        assert!(ended(denied).is_ok());
        let failed = Outcome {
            failed: 2,
            fetched: 5,
            ..Outcome::default()
        };
        assert!(ended(failed).unwrap_err().message.starts_with("2 of 7"));
        let stopped = Outcome {
            stopped: Some("the mount is offline".to_owned()),
            ..Outcome::default()
        };
        assert!(ended(stopped).is_err());
        let cut = Show::new(false, false).end("it was stopped").unwrap_err();
        assert!(cut.message.contains("goes on from there"), "{cut}");
    }
}
