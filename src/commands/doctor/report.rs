//! What the checks found, printed as they find it.

use crate::failure::Failure;

/// What one check found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Finding {
    grade: Grade,
    text: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Grade {
    Ok,
    Warn,
    Fail,
}

impl Finding {
    /// All is well.
    pub(super) fn ok(text: impl Into<String>) -> Self {
        Self::new(Grade::Ok, text)
    }

    /// A mount works, but not as well as it could.
    pub(super) fn warn(text: impl Into<String>) -> Self {
        Self::new(Grade::Warn, text)
    }

    /// No mount can be made, or it can't be read.
    pub(super) fn fail(text: impl Into<String>) -> Self {
        Self::new(Grade::Fail, text)
    }

    fn new(grade: Grade, text: impl Into<String>) -> Self {
        Self {
            grade,
            text: text.into(),
        }
    }

    pub(super) fn failed(&self) -> bool {
        self.grade == Grade::Fail
    }

    #[cfg(test)]
    pub(super) fn warned(&self) -> bool {
        self.grade == Grade::Warn
    }

    #[cfg(test)]
    pub(super) fn text(&self) -> &str {
        &self.text
    }
}

/// The report so far.
#[derive(Default, Debug)]
pub(super) struct Report {
    failures: usize,
    warnings: usize,
}

impl Report {
    /// Prints a finding, and counts it.
    pub(super) fn add(&mut self, what: &str, finding: Finding) {
        let Finding { grade, text } = finding;
        self.failures += usize::from(grade == Grade::Fail);
        self.warnings += usize::from(grade == Grade::Warn);
        let grade = match grade {
            Grade::Ok => "ok  ",
            Grade::Warn => "warn",
            Grade::Fail => "fail",
        };
        // Whoever stopped reading still gets the exit code.
        let _ = super::super::print(&format!("{grade}  {what:<14} {text}\n"));
    }

    /// Adds what is right when a check succeeds and what to do when it does not.
    pub(super) fn add_result(&mut self, what: &str, right: &str, result: Result<(), Failure>) {
        self.add(
            what,
            match result {
                Ok(()) => Finding::ok(right),
                Err(failure) => Finding::fail(failure.message),
            },
        );
    }

    /// The verdict.
    pub(super) fn finish(self) -> Result<(), Failure> {
        match (self.failures, self.warnings) {
            (0, 0) => super::super::print("\nAll is well.\n"),
            (0, _) => {
                super::super::print("\nA mount will work; the warnings say what could be better.\n")
            }
            (1, _) => Err(Failure::found(
                "one check failed: the line that begins with 'fail' says what to do",
            )),
            (failures, _) => Err(Failure::found(format!(
                "{failures} checks failed: the lines that begin with 'fail' say what to do"
            ))),
        }
    }
}
