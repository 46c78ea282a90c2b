//! Which window a mount shows: `--since`, or `--from` with or without `--to`.

use jiff::{SignedDuration, Timestamp};

use crate::catalogue::WindowSpec;
use crate::failure::Failure;

use super::given::{Given, Origin};
use super::values;

/// The longest window from a fixed time on, in days: room for who writes 1970 for "all", none for a mistyped year.
const LONGEST: i64 = 36_600;

/// Reads the window. Where `--since` and `--from` come from different sources, the stronger source wins:
/// a `--since` that is typed replaces a `from` of the file.
///
/// # Errors
/// Times that can't be read, a window without any time in it, or options that contradict each other.
pub(super) fn read(given: &Given, now: Timestamp) -> Result<WindowSpec, Failure> {
    let since = given.read("since", values::age)?;
    let from = given.read_optional("from", values::from_time)?;
    let to = given.read_optional("to", values::to_time)?;
    let rank_of = |name| given.get(name).map_or(0, |value| rank(&value.origin));
    let fixed_rank = rank_of("from").max(rank_of("to"));
    if fixed_rank == 0 || rank_of("since") > fixed_rank {
        return Ok(since);
    }
    if rank_of("since") == fixed_rank {
        return Err(Failure::typed(
            "--since and --from/--to exclude each other: give --since, or --from with or without --to",
        ));
    }
    let Some(from) = from else {
        return Err(Failure::typed(
            "--to is given without --from: give --from too",
        ));
    };
    if to.is_some_and(|to| from >= to) {
        return Err(Failure::typed(
            "--from is after --to: exchange the two, or give a later --to (a date as --to includes that day)",
        ));
    }
    if to.is_none() && from >= now {
        return Err(Failure::typed(
            "--from lies in the future, and without --to the window ends now: give an earlier --from",
        ));
    }
    // A mistyped year would be searched week by week, at a request each.
    let length = to.unwrap_or(now).duration_since(from);
    if length > SignedDuration::from_hours(24 * LONGEST) {
        return Err(Failure::typed(
            "the window that begins at --from is longer than a century: check its year",
        ));
    }
    Ok(WindowSpec::Fixed { from, to })
}

fn rank(origin: &Origin) -> u8 {
    match origin {
        Origin::Default => 0,
        Origin::File { .. } => 1,
        Origin::Environment(_) => 2,
        Origin::Flag(_) => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Environment;

    fn window(given: &Given) -> Result<WindowSpec, String> {
        read(given, "2026-11-28T12:00:00Z".parse().unwrap()).map_err(|failure| failure.message)
    }

    fn flags(pairs: &[(&str, &str)]) -> Given {
        pairs.iter().fold(Given::default(), |given, (name, text)| {
            given.with_flag(name, *text)
        })
    }

    #[test]
    fn a_week_is_the_default() {
        assert!(matches!(window(&Given::default()), Ok(WindowSpec::Days(7))));
    }

    #[test]
    fn one_day_from_and_to_is_that_day() {
        let spec = window(&flags(&[("from", "2026-11-22"), ("to", "2026-11-22")])).unwrap();
        let WindowSpec::Fixed { from, to } = spec else {
            panic!("{spec:?}");
        };
        assert_eq!(from.to_string(), "2026-11-22T00:00:00Z");
        assert_eq!(to.unwrap().to_string(), "2026-11-23T00:00:00Z");
    }

    #[test]
    fn windows_without_time_in_them_are_refused() {
        for pairs in [
            &[("from", "2026-11-22"), ("to", "2026-11-21")][..],
            &[
                ("from", "2026-11-22T10:00:00Z"),
                ("to", "2026-11-22T10:00:00Z"),
            ],
            &[("from", "2026-11-29")],
            &[("to", "2026-11-22")],
            &[("from", "1026-11-22")],
            &[("from", "0026-11-22"), ("to", "2026-11-23")],
            &[("since", "7d"), ("from", "2026-11-22")],
        ] {
            assert!(window(&flags(pairs)).is_err(), "{pairs:?}");
        }
    }

    #[test]
    fn all_there_ever_was_may_be_asked_for() {
        let spec = window(&flags(&[("from", "1970-01-01")])).unwrap();
        assert!(matches!(spec, WindowSpec::Fixed { to: None, .. }));
    }

    #[test]
    fn the_stronger_source_decides() {
        let environment = Environment::new([("INTERACTIONFS_FROM", "2026-11-22")]);
        let environment = Given::from_environment(&environment).unwrap();
        let since = flags(&[("since", "2d")]).over(environment.clone());
        assert!(matches!(window(&since), Ok(WindowSpec::Days(2))));
        let to = flags(&[("to", "2026-11-24")]).over(environment);
        assert!(matches!(window(&to), Ok(WindowSpec::Fixed { .. })));
    }
}
