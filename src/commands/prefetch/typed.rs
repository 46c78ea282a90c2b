//! What was named on the command line: a mountpoint, days, GUIDs, and a file of more.

use std::collections::BTreeSet;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use crate::failure::Failure;
use crate::model::{Day, Guid};
use crate::prefetch::What;

/// The longest list of GUIDs that is read, in bytes.
const LIST_LIMIT: u64 = 16 << 20;

/// What was named.
#[derive(Default, Debug)]
pub(super) struct Named {
    pub(super) mountpoint: Option<PathBuf>,
    pub(super) days: BTreeSet<Day>,
    guids: BTreeSet<Guid>,
}

impl Named {
    /// Reads the arguments, and GUIDs from `list`. What looks like neither a day nor a GUID is a mountpoint.
    pub(super) fn read(arguments: &[String], list: Option<&Path>) -> Result<Self, Failure> {
        let mut named = Self::default();
        for argument in arguments {
            if let Ok(day) = argument.parse() {
                named.days.insert(day);
            } else if let Ok(guid) = argument.parse() {
                named.guids.insert(guid);
            } else if named.mountpoint.is_none() {
                named.mountpoint = Some(argument.into());
            } else {
                return Err(Failure::typed(
                    "an argument is neither a day (2026-11-22) nor a GUID, and a mountpoint is named already",
                ));
            }
        }
        if let Some(list) = list {
            let guids = guids_in(&read(list)?)?;
            if guids.is_empty() {
                return Err(Failure::typed("--guids: there is no GUID in it"));
            }
            named.guids.extend(guids);
        }
        Ok(named)
    }

    /// Whether neither a day nor a GUID was named.
    pub(super) fn is_empty(&self) -> bool {
        self.days.is_empty() && self.guids.is_empty()
    }

    /// The days and GUIDs.
    pub(super) fn what(&self) -> What {
        What::Named {
            days: self.days.iter().map(ToString::to_string).collect(),
            guids: self.guids.iter().map(ToString::to_string).collect(),
        }
    }
}

fn read(list: &Path) -> Result<String, Failure> {
    let mut text = String::new();
    let read = if list == Path::new("-") {
        std::io::stdin()
            .lock()
            .take(LIST_LIMIT)
            .read_to_string(&mut text)
    } else {
        std::fs::File::open(list).and_then(|file| file.take(LIST_LIMIT).read_to_string(&mut text))
    };
    match read {
        Ok(length) if length as u64 >= LIST_LIMIT => Err(Failure::typed(
            "--guids: the list is too long: split it into several runs",
        )),
        Ok(_) => Ok(text),
        Err(error) if error.kind() == ErrorKind::InvalidData => Err(Failure::typed(
            "--guids: it is no text with a GUID on each line",
        )),
        Err(error) => Err(Failure::found(format!(
            "--guids: the list can't be read ({error})"
        ))),
    }
}

/// One GUID a line; empty lines and those that begin with # are passed over.
fn guids_in(text: &str) -> Result<BTreeSet<Guid>, Failure> {
    text.lines()
        .map(str::trim)
        .enumerate()
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        .map(|(number, line)| {
            line.parse::<Guid>()
                .map_err(|error| Failure::typed(format!("--guids: line {}: {error}", number + 1)))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GUID: &str = "2480fc2c-bbd7-427c-9439-02f76583aef5";

    fn named(arguments: &[&str]) -> Result<Named, Failure> {
        let arguments: Vec<_> = arguments.iter().map(ToString::to_string).collect();
        Named::read(&arguments, None)
    }

    #[test]
    fn days_guids_and_a_mountpoint_are_told_apart() {
        let all = named(&["/mnt/calls", "2026-11-22", GUID, "2026-11-21", GUID]).unwrap();
        assert_eq!(all.mountpoint.as_deref(), Some(Path::new("/mnt/calls")));
        assert_eq!((all.days.len(), all.guids.len()), (2, 1));
        let without = named(&["2026-11-22"]).unwrap();
        assert!(without.mountpoint.is_none() && !without.is_empty());
        assert!(named(&[]).unwrap().is_empty());
        assert!(named(&["/mnt", "2026-11-31"]).is_err());
    }

    #[test]
    fn a_list_has_a_guid_on_each_line_and_a_mistake_its_number() {
        let upper = GUID.to_uppercase();
        let list = format!("# cases\n\n{GUID}\n  {upper}\r\n");
        assert_eq!(guids_in(&list).unwrap().len(), 1);
        let refused = guids_in(&format!("{GUID}\nnonsense\n")).unwrap_err();
        assert!(
            refused.message.starts_with("--guids: line 2:"),
            "{refused:?}"
        );
        let directory = tempfile::tempdir().unwrap();
        let empty = directory.path().join("empty");
        std::fs::write(&empty, "# none\n").unwrap();
        assert!(Named::read(&[], Some(&empty)).is_err());
        assert!(Named::read(&[], Some(&directory.path().join("missing"))).is_err());
    }
}
