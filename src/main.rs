//! The program: reads the command line, does what it says, and turns a failure into one line and an exit
//! code.

use std::io::Write;
use std::process::ExitCode;

use interactionfs::failure::Failure;
use interactionfs::{cli, commands};

fn main() -> ExitCode {
    let outcome = match cli::parse(std::env::args_os()) {
        Ok(cli) => commands::run(cli),
        Err(Ok(help)) => commands::print(&help),
        Err(Err(failure)) => Err(failure),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { kind, message }) => {
            // With standard error gone there is nobody left to tell but by the exit code.
            let _ = writeln!(std::io::stderr(), "interactionfs: {message}");
            kind.into()
        }
    }
}
