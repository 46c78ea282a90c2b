//! `completions`: what a shell needs to complete this program's command lines.

use crate::cli::{self, Completions};
use crate::failure::Failure;

pub(super) fn run(arguments: &Completions) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(
        arguments.shell,
        &mut cli::definition(),
        "interactionfs",
        &mut script,
    );
    super::print(&String::from_utf8_lossy(&script))
}
