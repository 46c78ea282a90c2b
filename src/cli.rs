//! The command line as it is typed.
//!
//! [`Cli`] holds the commands and their arguments, [`parse`] reads them and turns clap's pages into the
//! one line that every mistake of this program is. What an option's text means is
//! [`crate::config`]'s business.

mod mistake;
mod options;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{CommandFactory, Parser, Subcommand};

use crate::config::Given;
use crate::failure::Failure;

/// Mount Vonage Contact Center's interaction content as a read-only filesystem.
///
/// Recordings, transcripts, chats and voicemails become plain files, fetched when they are read and kept in
/// a cache. Try it without an account: interactionfs demo
#[derive(Parser)]
#[command(name = "interactionfs", version, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Subcommand)]
#[allow(
    clippy::large_enum_variant,
    reason = "there is one of them in the life of a process"
)]
pub enum Command {
    /// Mount an account's interactions
    ///
    /// Goes to the background once the mount answers; anything wrong is said before that, in one line. Every
    /// option is also an environment variable (--cache-dir is INTERACTIONFS_CACHE_DIR) and a key of the
    /// --config file (cache-dir = "/path"). Flags win over the environment, the environment over the file.
    #[command(after_help = MOUNT_EXAMPLES)]
    Mount(Mount),
    /// Unmount, also after the daemon died
    #[command(visible_alias = "umount")]
    Unmount(Unmount),
    /// Try it without an account: sample interactions from a bundled server, mounted until Ctrl-C
    #[cfg(feature = "emulator")]
    Demo(Demo),
    /// Run the bundled server alone, as the API's other side for tests and trials, until Ctrl-C
    #[cfg(feature = "emulator")]
    Emulate(crate::emulator::Arguments),
    /// Fetch transcripts and other JSON ahead, so that reading them costs no request
    ///
    /// With the mountpoint of a running mount, the mount does it; else with a mount's options, into the cache that a
    /// mount will use. Without days or GUIDs, all of the window. What is held is not asked for again, so the same
    /// command goes on where another was ended. Requests give way to whoever reads.
    #[command(after_help = PREFETCH_EXAMPLES)]
    Prefetch(Prefetch),
    /// Show how a running mount does
    Status(Status),
    /// Check all that a mount needs, and say what to do about what is missing
    #[command(after_help = DOCTOR_EXAMPLES)]
    Doctor(Doctor),
    /// List, verify or delete what is cached on disk
    #[command(after_help = CACHE_EXAMPLES)]
    Cache(Cache),
    /// Print the completions of a shell
    Completions(Completions),
    /// Print the manual page
    Man(Man),
}

const MOUNT_EXAMPLES: &str = "\
Examples:
  interactionfs mount /mnt/calls --region emea --client-id ID --client-secret-file ~/vcc-secret
  interactionfs mount /mnt/march --config ~/vcc.toml --from 2026-03-01 --to 2026-03-31
  interactionfs mount /mnt/calls --config ~/vcc.toml --offline";

const PREFETCH_EXAMPLES: &str = "\
Examples:
  interactionfs prefetch /mnt/calls --dry-run          how many requests, and how long
  interactionfs prefetch /mnt/calls 2026-11-22
  interactionfs prefetch /mnt/calls --guids cases.txt --types transcript,callRecording
  interactionfs prefetch --config ~/vcc.toml --since 30d
  interactionfs prefetch /mnt/calls --watch            until Ctrl-C";

const DOCTOR_EXAMPLES: &str = "\
Example:
  interactionfs doctor --config ~/vcc.toml";

const CACHE_EXAMPLES: &str = "\
Examples:
  interactionfs cache ls
  interactionfs cache purge --older-than 30d";

/// Arguments of `mount`.
#[derive(clap::Args)]
pub struct Mount {
    /// An empty directory to mount on
    pub mountpoint: PathBuf,
    #[command(flatten)]
    #[allow(
        missing_docs,
        reason = "its documentation would become the command's help"
    )]
    pub options: Options,
    /// This process is the one in the background: it reports on standard output to the one that waits.
    #[arg(long, hide = true)]
    pub reports: bool,
}

/// The options of a mount, and the file that may hold them.
#[derive(clap::Args)]
pub struct Options {
    /// Read options from this TOML file, whose keys are the options' names [env: INTERACTIONFS_CONFIG]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// What was typed for each option.
    #[command(flatten)]
    pub given: Given,
}

/// Arguments of `unmount`.
#[derive(clap::Args)]
pub struct Unmount {
    /// Where it is mounted
    pub mountpoint: PathBuf,
}

/// Arguments of `demo`.
#[cfg(feature = "emulator")]
#[derive(clap::Args)]
pub struct Demo {
    /// An empty directory to mount on [default: a new one, which goes away at the end]
    pub mountpoint: Option<PathBuf>,
}

/// Arguments of `prefetch`.
#[derive(clap::Args)]
pub struct Prefetch {
    /// A running mount's mountpoint (else give a mount's options), then days such as 2026-11-22, and GUIDs
    #[arg(value_name = "MOUNTPOINT|DAY|GUID")]
    pub what: Vec<String>,
    /// Read GUIDs from a file, one a line; - for standard input
    #[arg(long, value_name = "FILE")]
    pub guids: Option<PathBuf>,
    /// Say what it would take, and fetch nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Go on until Ctrl-C: fetch what comes into the window
    #[arg(long, conflicts_with = "dry_run")]
    pub watch: bool,
    /// Print each event as a line of JSON
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    #[allow(
        missing_docs,
        reason = "its documentation would become the command's help"
    )]
    pub options: Options,
}

/// Arguments of `status`.
#[derive(clap::Args)]
pub struct Status {
    /// Where it is mounted [default: your only mount, or all of them]
    pub mountpoint: Option<PathBuf>,
    /// Print JSON, equal to .interactionfs/stats.json in the mount
    #[arg(long, conflicts_with = "watch")]
    pub json: bool,
    /// Show it again every second, until Ctrl-C
    #[arg(long)]
    pub watch: bool,
}

/// Arguments of `doctor`.
#[derive(clap::Args)]
pub struct Doctor {
    /// The directory to mount on, to be checked too
    pub mountpoint: Option<PathBuf>,
    #[command(flatten)]
    #[allow(
        missing_docs,
        reason = "its documentation would become the command's help"
    )]
    pub options: Options,
}

/// Arguments of `cache`.
#[derive(clap::Args)]
pub struct Cache {
    /// What to do.
    #[command(subcommand)]
    pub action: CacheAction,
    /// The cache directory, as given to mount [env: INTERACTIONFS_CACHE_DIR]
    #[arg(long, value_name = "DIR", global = true)]
    pub cache_dir: Option<PathBuf>,
}

/// What to do with the cache.
#[derive(Subcommand)]
pub enum CacheAction {
    /// List the cached files of each account, under names that tell nothing about them
    Ls,
    /// Check every cached block against its checksum, and take out what is damaged
    Verify,
    /// Delete everything cached of accounts that no mount uses, content and catalogue
    Purge {
        /// Only content that was not used for so long, such as 30d; the catalogue stays
        #[arg(long, value_name = "AGE")]
        older_than: Option<String>,
    },
}

/// Arguments of `completions`.
#[derive(clap::Args)]
pub struct Completions {
    /// For which shell
    pub shell: clap_complete::Shell,
}

/// Arguments of `man`.
#[derive(clap::Args)]
pub struct Man {
    /// Write the pages of all commands into this directory instead
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

/// Reads a command line, the program's name first. `Err(Ok(text))` is help or the version: a text to print.
///
/// # Errors
/// One line that says what is wrong and what to do.
pub fn parse(
    arguments: impl IntoIterator<Item = OsString>,
) -> Result<Cli, Result<String, Failure>> {
    Cli::try_parse_from(arguments).map_err(|error| {
        if error.use_stderr() {
            Err(mistake::in_one_line(&error))
        } else {
            Ok(error.to_string())
        }
    })
}

/// The definition of the command line, for manual pages and completions.
pub fn definition() -> clap::Command {
    Cli::command()
}
