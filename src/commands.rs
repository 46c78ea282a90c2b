//! What the commands do: one file each.
//!
//! The only part that talks to the person at the terminal. A command ends in silence, in what it was
//! asked to print, or in a [`Failure`].

mod cache;
mod completions;
#[cfg(feature = "emulator")]
mod demo;
pub mod doctor;
#[cfg(feature = "emulator")]
mod emulate;
mod man;
mod mount;
mod mount_table;
mod prefetch;
mod requirements;
mod status;
mod unmount;

use std::io::{self, ErrorKind, Write};

use crate::cli::{Cli, Command};
use crate::failure::Failure;

/// Does what was typed.
///
/// # Errors
/// Why it was not done.
pub fn run(cli: Cli) -> Result<(), Failure> {
    match cli.command {
        Command::Mount(arguments) => mount::run(arguments),
        Command::Unmount(arguments) => unmount::run(&arguments),
        #[cfg(feature = "emulator")]
        Command::Demo(arguments) => demo::run(&arguments),
        #[cfg(feature = "emulator")]
        Command::Emulate(arguments) => emulate::run(arguments),
        Command::Prefetch(arguments) => prefetch::run(arguments),
        Command::Status(arguments) => status::run(&arguments),
        Command::Doctor(arguments) => doctor::run(arguments, Some(doctor::network::connect)),
        Command::Cache(arguments) => cache::run(&arguments),
        Command::Completions(arguments) => completions::run(&arguments),
        Command::Man(arguments) => man::run(&arguments),
    }
}

/// Prints a text as it is. A reader that has seen enough (`| head`) is no failure.
///
/// # Errors
/// Standard output can't be written.
pub fn print(text: &str) -> Result<(), Failure> {
    print_to(&mut io::stdout().lock(), text).map(|_| ())
}

/// Prints a text as it is; whether there is still a reader.
fn print_to(output: &mut impl Write, text: &str) -> Result<bool, Failure> {
    match output
        .write_all(text.as_bytes())
        .and_then(|()| output.flush())
    {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::found(format!(
            "standard output can't be written ({error})"
        ))),
    }
}
