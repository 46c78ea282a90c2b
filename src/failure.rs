//! Why a command ends without doing what it was asked, in words for the person who typed it.
//!
//! One line that says what is wrong and what to do; and who is to change: what was typed, or the world.
//! Texts hold no secret, no address and no answer of a server.

use std::fmt;
use std::process::ExitCode;

/// What has to change for the command to succeed. Each kind is an exit code.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FailureKind {
    /// What was typed, or stands in the environment or the configuration file: exit code 2.
    Typed,
    /// What was found in the world (a mountpoint, a file, a server): exit code 1.
    Found,
}

/// A command's failure: one line, and its exit code.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub struct Failure {
    /// Who is to change.
    pub kind: FailureKind,
    /// What is wrong and what to do, as one line without the program's name.
    pub message: String,
}

impl Failure {
    /// Something wrong with flags, environment or configuration.
    pub fn typed(message: impl Into<String>) -> Self {
        Self::new(FailureKind::Typed, &message.into())
    }

    /// Something wrong with the world.
    pub fn found(message: impl Into<String>) -> Self {
        Self::new(FailureKind::Found, &message.into())
    }

    /// Line breaks become spaces: scripts and logs count on one line.
    pub fn new(kind: FailureKind, message: &str) -> Self {
        let lines: Vec<_> = message
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .collect();
        Self {
            kind,
            message: lines.join(" "),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl FailureKind {
    /// The exit code as a number.
    pub fn code(self) -> u8 {
        match self {
            Self::Typed => 2,
            Self::Found => 1,
        }
    }
}

impl From<FailureKind> for ExitCode {
    fn from(kind: FailureKind) -> Self {
        Self::from(kind.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_one_line() {
        assert_eq!(Failure::found("one\n\n  two \n").message, "one two");
    }
}
