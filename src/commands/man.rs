//! `man`: manual pages, from the same texts as `--help`.

use crate::cli::{self, Man};
use crate::failure::Failure;

pub(super) fn run(arguments: &Man) -> Result<(), Failure> {
    let definition = cli::definition();
    if let Some(directory) = &arguments.dir {
        return clap_mangen::generate_to(definition, directory).map_err(|error| {
            Failure::found(format!(
                "the manual pages can't be written to {} ({error}): is it a directory that you may write to?",
                directory.display()
            ))
        });
    }
    let mut page = Vec::new();
    clap_mangen::Man::new(definition)
        .render(&mut page)
        .map_err(|error| Failure::found(format!("the manual page can't be made ({error})")))?;
    super::print(&String::from_utf8_lossy(&page))
}
