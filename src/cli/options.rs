//! The table of options as arguments of clap.

use clap::builder::ArgAction;
use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};

use crate::config::{Given, OPTIONS, OptionSpec, Origin};

impl Args for Given {
    fn augment_args(command: Command) -> Command {
        OPTIONS
            .iter()
            .fold(command, |command, option| command.arg(argument(option)))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Given {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut given = Self::default();
        given.update_from_arg_matches(matches)?;
        Ok(given)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        for option in OPTIONS {
            if let Some(text) = matches.get_one::<String>(option.name) {
                let flag = Origin::Flag(format!("--{}", option.name));
                self.insert(option, text.clone(), flag);
            }
        }
        Ok(())
    }
}

fn argument(option: &'static OptionSpec) -> Arg {
    let mut help = option.help.to_owned();
    if let Some(default) = option.default {
        help.push_str(&format!(" [default: {default}]"));
    }
    let argument = Arg::new(option.name)
        .long(option.name)
        .help(help)
        .hide(option.heading.is_none())
        .help_heading(option.heading)
        // The last one wins, so that a wrapper's options can be overruled.
        .overrides_with(option.name)
        .action(ArgAction::Set);
    match option.value {
        Some(value) => argument.value_name(value).allow_hyphen_values(true),
        // `--offline` turns it on; `--offline=no` overrules the environment or the file.
        None => argument
            .value_name("yes|no")
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("yes"),
    }
}

#[cfg(test)]
mod tests {
    use crate::cli::{Cli, Command};
    use crate::config::OPTIONS;
    use clap::{CommandFactory, Parser};

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn switches_turn_on_and_off_and_leave_the_mountpoint_alone() {
        let parsed = Cli::try_parse_from([
            "interactionfs",
            "mount",
            "--offline",
            "/mnt",
            "--sidecars=no",
            "--since",
            "2d",
        ]);
        let Ok(Cli {
            command: Command::Mount(mount),
        }) = parsed
        else {
            panic!("not a mount");
        };
        assert_eq!(mount.mountpoint.to_str(), Some("/mnt"));
        let given = mount.options.given;
        assert_eq!(given.switch("offline"), Ok(true));
        assert_eq!(given.switch("sidecars"), Ok(false));
        assert_eq!(given.or_default("since").text, "2d");
        assert!(given.get("memory").is_none());
    }

    #[test]
    fn help_names_every_option_and_its_default() {
        let mut command = Cli::command();
        let help = command
            .find_subcommand_mut("mount")
            .unwrap()
            .render_long_help()
            .to_string();
        for option in OPTIONS.iter().filter(|option| option.heading.is_some()) {
            assert!(
                help.contains(&format!("--{}", option.name)),
                "{}",
                option.name
            );
        }
        assert!(help.contains("[default: 10GiB]"));
    }
}
