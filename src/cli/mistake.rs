//! clap's explanations of a mistake, as one line.

use clap::error::{ContextKind, ContextValue, Error, ErrorKind};

use crate::failure::Failure;

/// What is wrong, what was perhaps meant, and where help is, in one line.
pub(super) fn in_one_line(error: &Error) -> Failure {
    let rendered = error.render().to_string();
    let mut what = Vec::new();
    let mut tips = Vec::new();
    for line in rendered.lines().map(str::trim) {
        if line.starts_with("Usage:") || line.starts_with("For more information") {
            break;
        }
        match line.strip_prefix("tip:") {
            Some(tip) => tips.push(tip.trim()),
            None if !line.is_empty() => what.push(line),
            None => {}
        }
    }
    let mut message = what.join(" ");
    if let Some(bare) = message.strip_prefix("error: ") {
        message = bare.to_owned();
    }
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        "no command is given: try 'interactionfs demo'".clone_into(&mut message);
    }
    for tip in tips {
        message.push_str("; ");
        message.push_str(tip);
    }
    message.push_str(&format!("; see '{} --help'", program(error)));
    Failure::typed(message)
}

/// `interactionfs mount`, from the usage that the error carries.
fn program(error: &Error) -> String {
    let usage = error.get(ContextKind::Usage).map(|usage| match usage {
        ContextValue::StyledStr(usage) => usage.to_string(),
        other => other.to_string(),
    });
    let words: Vec<_> = usage
        .as_deref()
        .unwrap_or_default()
        .trim_start_matches("Usage:")
        .split_whitespace()
        .take_while(|word| word.bytes().all(|byte| byte.is_ascii_lowercase()))
        .map(ToOwned::to_owned)
        .collect();
    if words.is_empty() {
        "interactionfs".to_owned()
    } else {
        words.join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;
    use clap::Parser;

    fn line(arguments: &[&str]) -> String {
        let arguments = ["interactionfs"].iter().chain(arguments);
        in_one_line(&Cli::try_parse_from(arguments).err().unwrap()).message
    }

    #[test]
    fn mistakes_are_one_line_with_a_way_out() {
        assert_eq!(
            line(&["mount", "/mnt", "--sinse", "7d"]),
            "unexpected argument '--sinse' found; a similar argument exists: '--since'; \
             see 'interactionfs mount --help'"
        );
        assert_eq!(
            line(&["mount"]),
            "the following required arguments were not provided: <MOUNTPOINT>; \
             see 'interactionfs mount --help'"
        );
        assert!(line(&["fly"]).starts_with("unrecognized subcommand 'fly'"));
        assert!(line(&[]).starts_with("no command is given"));
    }

    #[test]
    fn a_secret_typed_as_a_flag_is_not_repeated() {
        let line = line(&["mount", "/mnt", "--client-secret=hunter2"]);
        assert!(!line.contains("hunter2"), "{line}");
        assert!(line.contains("--client-secret-file"), "{line}");
    }
}
