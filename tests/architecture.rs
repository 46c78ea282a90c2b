//! The arrows of ARCHITECTURE.md, "What never knows what": which part of the source never speaks of which.
//!
//! Goes by words in the source, comments and test modules aside: crude, and hard to get around by accident.

#![allow(clippy::unwrap_used, reason = "a test may")]

use std::fs;
use std::path::{Path, PathBuf};

/// Every source file below `src`, by its path there, without comments.
fn sources() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut directories = vec![root.clone()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(&root).unwrap().to_str().unwrap();
                found.push((name.to_owned(), code(&path)));
            }
        }
    }
    found.sort();
    assert!(found.len() > 20, "the sources are found");
    found
}

fn code(path: &PathBuf) -> String {
    let text = fs::read_to_string(path).unwrap();
    // A file's own tests stand at its end.
    let text = match text.find("#[cfg(test)]\nmod tests {") {
        Some(end) => &text[..end],
        None => &text,
    };
    text.lines()
        .map(|line| line.split("//").next().unwrap_or_default())
        .collect::<Vec<_>>()
        .join("\n")
}

/// Whether `file` is the module `module` or lies in it.
fn is_in(file: &str, module: &str) -> bool {
    file == format!("{module}.rs") || file.starts_with(&format!("{module}/"))
}

fn is_test_support(file: &str) -> bool {
    file.ends_with("/tests.rs")
        || file.ends_with("/fakes.rs")
        || file.contains("/tests/")
        || file == "mutation.rs"
        || file.ends_with("/fuzz.rs")
}

/// Whether `word` stands in `code` by itself, not as a part of a longer one.
fn says(code: &str, word: &str) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(word).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        let after = code[at + word.len()..].chars().next();
        !before.is_some_and(is_word) && !after.is_some_and(is_word)
    })
}

/// Asserts that only files in `modules` say `word`.
fn only_in(word: &str, modules: &[&str]) {
    let strays: Vec<String> = sources()
        .into_iter()
        .filter(|(file, code)| {
            !modules.iter().any(|module| is_in(file, module)) && says(code, word)
        })
        .map(|(file, _)| file)
        .collect();
    assert!(strays.is_empty(), "{word} in {strays:?}");
}

/// Asserts that no file in `module` says one of `words`, tests aside.
fn never(module: &str, words: &[&str]) {
    for (file, code) in sources() {
        if is_in(&file, module) && !is_test_support(&file) {
            for word in words {
                assert!(!says(&code, word), "{word} in {file}");
            }
        }
    }
}

#[test]
fn fuser_is_spoken_in_fuse_only_and_errno_made_there() {
    only_in("fuser", &["fuse"]);
    for (file, code) in sources() {
        if is_in(&file, "fuse") && file != "fuse/errno.rs" && !is_test_support(&file) {
            assert!(!says(&code, "Errno::ENOENT"), "errno values in {file}");
            assert!(!code.contains("fuser::Errno"), "errno values in {file}");
        }
    }
}

#[test]
fn http_is_spoken_in_remote_only() {
    only_in("reqwest", &["remote"]);
}

#[test]
fn sql_is_spoken_in_the_catalogue_and_the_cache_accounts_only() {
    only_in("rusqlite", &["catalogue", "content/disk"]);
}

#[test]
fn content_and_catalogue_never_meet() {
    never("content", &["crate::catalogue", "crate::fs", "crate::tree"]);
    never("catalogue", &["crate::content", "crate::fs", "crate::tree"]);
}

#[test]
fn fs_and_prefetch_never_meet() {
    never("fs", &["crate::prefetch"]);
    never("prefetch", &["crate::fs", "crate::tree", "crate::text"]);
}

#[test]
fn remote_knows_no_layer_above() {
    never(
        "remote",
        &[
            "crate::content",
            "crate::catalogue",
            "crate::fs",
            "crate::prefetch",
            "crate::tree",
            "crate::text",
        ],
    );
}

#[test]
fn pure_modules_do_no_io_and_read_no_clock() {
    for module in ["model", "tree", "text"] {
        never(
            module,
            &[
                "std::fs",
                "std::io",
                "std::net",
                "std::env",
                "tokio",
                "SystemTime::now",
                "Instant::now",
                "Timestamp::now",
                "tracing",
            ],
        );
    }
    never(
        "model",
        &[
            "crate::remote",
            "crate::content",
            "crate::catalogue",
            "crate::tree",
        ],
    );
    never(
        "tree",
        &["crate::remote", "crate::content", "crate::catalogue"],
    );
}

#[test]
fn the_emulator_shares_no_type_with_the_client() {
    for module in [
        "model",
        "remote",
        "content",
        "catalogue",
        "tree",
        "text",
        "fs",
        "prefetch",
        "fuse",
    ] {
        never("emulator", &[&format!("crate::{module}")]);
    }
}

#[test]
fn nothing_points_upward() {
    let layers: [&[&str]; 6] = [
        &["model"],
        &["remote"],
        &["content", "catalogue"],
        &["tree", "text"],
        &["fs", "prefetch"],
        &["fuse"],
    ];
    for (height, layer) in layers.iter().enumerate() {
        for module in *layer {
            for above in layers[height + 1..].iter().copied().flatten() {
                never(module, &[&format!("crate::{above}")]);
            }
            for top in ["daemon", "commands", "cli", "config", "control"] {
                never(module, &[&format!("crate::{top}")]);
            }
        }
    }
}

#[test]
fn only_commands_print() {
    for (file, code) in sources() {
        if is_in(&file, "commands") || file == "main.rs" || is_test_support(&file) {
            continue;
        }
        for word in ["println!", "eprintln!", "print!", "eprint!"] {
            assert!(!code.contains(word), "{word} in {file}");
        }
    }
}
