//! The configuration file: TOML, one key per option, every complaint with file, line and key.

use std::path::Path;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::failure::Failure;

use super::given::{Given, Origin};
use super::options::{OPTIONS, named};

/// The largest file that is read, in bytes.
const SIZE_LIMIT: u64 = 1 << 20;

/// Reads a configuration file.
///
/// # Errors
/// Both a file that can't be read and what is wrong in it were typed so.
pub(super) fn read(path: &Path) -> Result<Given, Failure> {
    let text = std::fs::metadata(path)
        .and_then(|metadata| {
            if metadata.len() > SIZE_LIMIT {
                return Err(std::io::Error::other("it is larger than 1 MiB"));
            }
            std::fs::read_to_string(path)
        })
        .map_err(|error| {
            Failure::typed(format!(
                "the configuration file {} can't be read ({error}): check --config",
                path.display()
            ))
        })?;
    parse(path, &text)
}

/// Takes a configuration file's text apart; `path` is for the messages.
///
/// # Errors
/// The first thing that is wrong in it.
pub(super) fn parse(path: &Path, text: &str) -> Result<Given, Failure> {
    let file = Arc::new(path.to_owned());
    let table = DeTable::parse(text).map_err(|error| {
        let line = error.span().map_or(1, |span| line_of(text, span.start));
        Failure::typed(format!(
            "{} line {line}: this is not TOML ({})",
            path.display(),
            error.message()
        ))
    })?;
    let mut given = Given::default();
    for (key, value) in table.get_ref() {
        let origin = Origin::File {
            file: Arc::clone(&file),
            line: line_of(text, key.span().start),
            key: key.get_ref().to_string(),
        };
        let Some(option) = named(&key.get_ref().replace('_', "-")) else {
            return Err(unknown(&origin, key.get_ref()));
        };
        if given.get(option.name).is_some() {
            return Err(Failure::typed(format!(
                "{origin}: it is given twice, once with dashes and once with underscores"
            )));
        }
        let value = text_of(value).map_err(|what| Failure::typed(format!("{origin}: {what}")))?;
        given.insert(option, value, origin);
    }
    Ok(given)
}

fn unknown(origin: &Origin, key: &str) -> Failure {
    let key = key.replace('_', "-");
    if key == "client-secret" {
        return Failure::typed(format!(
            "{origin}: the secret doesn't belong in this file: put it in a file of its own (chmod 600) and name \
             that in client-secret-file"
        ));
    }
    let near = OPTIONS
        .iter()
        .map(|option| (distance(option.name, &key), option.name))
        .min()
        .filter(|(distance, name)| *distance <= (name.len() / 3).min(3));
    Failure::typed(match near {
        Some((_, name)) => format!("{origin}: there is no such key; did you mean {name}?"),
        None => format!(
            "{origin}: there is no such key; 'interactionfs mount --help' names the options, which are the keys"
        ),
    })
}

/// A value as it would be typed behind a flag.
fn text_of(value: &Spanned<DeValue<'_>>) -> Result<String, &'static str> {
    match value.get_ref() {
        DeValue::String(text) => Ok(text.to_string()),
        DeValue::Boolean(yes) => Ok(yes.to_string()),
        // 0o400 is how TOML writes an octal mode; modes are read as octal anyway.
        DeValue::Integer(number) if matches!(number.radix(), 8 | 10) => {
            Ok(number.as_str().to_owned())
        }
        DeValue::Datetime(time) => Ok(time.to_string()),
        DeValue::Array(values) => {
            let mut texts = Vec::new();
            for value in values {
                match value.get_ref() {
                    DeValue::Array(_) => return Err("a list in a list has no meaning here"),
                    _ => texts.push(text_of(value)?),
                }
            }
            Ok(texts.join(","))
        }
        DeValue::Table(_) => Err("a table has no meaning here: keys stand at the top level"),
        DeValue::Integer(_) | DeValue::Float(_) => {
            Err("it must be a whole number, a text in quotes, or true or false")
        }
    }
}

fn line_of(text: &str, at: usize) -> usize {
    1 + text.bytes().take(at).filter(|byte| *byte == b'\n').count()
}

/// How many letters must change to make one word the other (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<_> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (at, letter) in one.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = at + 1;
        for (column, candidate) in other.iter().enumerate() {
            let substituted = diagonal + usize::from(letter != *candidate);
            diagonal = row[column + 1];
            row[column + 1] = substituted.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(text: &str) -> Result<Given, String> {
        parse(Path::new("my.toml"), text).map_err(|failure| failure.message)
    }

    #[test]
    fn dashes_and_underscores_are_the_same_and_values_have_their_types() {
        let given = given(
            "client_id = \"a\"\ncache-size = \"1GiB\"\nrequests-per-minute = 90\nfile-mode = 0o440\n\
             offline = true\ntypes = [\"transcript\", \"callRecording\"]\nfrom = 2026-11-01\n",
        )
        .unwrap();
        for (name, text) in [
            ("client-id", "a"),
            ("cache-size", "1GiB"),
            ("requests-per-minute", "90"),
            ("file-mode", "440"),
            ("offline", "true"),
            ("types", "transcript,callRecording"),
            ("from", "2026-11-01"),
        ] {
            assert_eq!(given.get(name).unwrap().text, text, "{name}");
        }
    }

    #[test]
    fn every_complaint_names_file_line_and_key() {
        for (text, message) in [
            (
                "\nregion = \"emea\"\nclient-idd = \"a\"",
                "my.toml line 3: client-idd: there is no such key; did you mean client-id?",
            ),
            (
                "memory = 1.5",
                "my.toml line 1: memory: it must be a whole number, a text in quotes, or true or false",
            ),
            (
                "[mount]\nregion = 1",
                "my.toml line 1: mount: there is no such key; 'interactionfs mount --help' names the options, \
                 which are the keys",
            ),
            (
                "client_id = \"a\"\nclient-id = \"b\"",
                "my.toml line 1: client_id: it is given twice, once with dashes and once with underscores",
            ),
        ] {
            let got = given(text).err().unwrap();
            // Which of the two spellings is met first is the parser's business.
            assert_eq!(
                got.replace("line 2: client-id:", "line 1: client_id:"),
                message
            );
        }
        assert!(
            given("a = \n")
                .err()
                .unwrap()
                .starts_with("my.toml line 1: this is not TOML")
        );
    }

    #[test]
    fn a_secret_in_the_file_is_refused_and_not_repeated() {
        let message = given("client_secret = \"hunter2\"").err().unwrap();
        assert!(message.contains("client-secret-file"), "{message}");
        assert!(!message.contains("hunter2"));
    }
}
