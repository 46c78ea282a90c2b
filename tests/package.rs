//! What a package brings beside the program: manual pages and completions, which the program writes, and the files that
//! Cargo.toml lists.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says what it skips"
)]

use std::path::Path;
use std::process::{Command, Stdio};

fn program(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_interactionfs"))
        .args(arguments)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Whether a program is here; says so if not.
fn is_here(name: &str) -> bool {
    let found = Command::new("sh")
        .args(["-c", "command -v \"$0\"", name])
        .stdout(Stdio::null())
        .status()
        .unwrap()
        .success();
    if !found {
        eprintln!("SKIPPED: {name} is not installed");
    }
    found
}

#[test]
fn completions_load_and_complete() {
    let directory = tempfile::tempdir().unwrap();
    for (shell, trial, expected) in [
        (
            "bash",
            "set -e; source \"$0\"; COMP_WORDS=(interactionfs mount --metr); COMP_CWORD=2; \
             _interactionfs interactionfs --metr mount; echo \"${COMPREPLY[*]}\"",
            "--metrics-listen",
        ),
        (
            "zsh",
            "fpath=(${0:h} $fpath); autoload -Uz compinit; compinit -u -D; echo ${_comps[interactionfs]}",
            "_interactionfs",
        ),
        (
            "fish",
            "source $argv[1]; complete -C 'interactionfs mount --metr'",
            "--metrics-listen",
        ),
    ] {
        let script = program(&["completions", shell]);
        assert!(script.contains("metrics-listen"), "{shell}");
        if !is_here(shell) {
            continue;
        }
        let path = directory.path().join(if shell == "zsh" {
            "_interactionfs"
        } else {
            shell
        });
        std::fs::write(&path, script).unwrap();
        let mut command = Command::new(shell);
        if shell != "fish" {
            // Nothing of the user's own.
            command.arg(if shell == "zsh" { "-f" } else { "--norc" });
        }
        let output = command
            .args(["-c", trial])
            .arg(&path)
            .env("HOME", directory.path())
            .env("XDG_CONFIG_HOME", directory.path())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(said.contains(expected), "{shell}: {output:?}");
    }
}

#[test]
fn manual_pages_render_without_warnings() {
    let directory = tempfile::tempdir().unwrap();
    program(&["man", "--dir", directory.path().to_str().unwrap()]);
    let mut pages: Vec<_> = std::fs::read_dir(directory.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert!(
        pages
            .iter()
            .any(|page| page.ends_with("interactionfs-mount.1"))
    );
    pages.push(Path::new(env!("CARGO_MANIFEST_DIR")).join("mount-scripts/mount.interactionfs.8"));
    if !is_here("man") {
        return;
    }
    for page in pages {
        let output = Command::new("man")
            .args(["-l", "--warnings"])
            .arg(&page)
            .env("LC_ALL", "C.UTF-8")
            .env("MANWIDTH", "100")
            .output()
            .unwrap();
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success() && complaint.is_empty(),
            "{}: {complaint}",
            page.display()
        );
        assert!(output.stdout.len() > 100, "{}", page.display());
    }
}

#[test]
fn what_the_package_lists_is_in_the_repository() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifest: toml::Table = std::fs::read_to_string(root.join("Cargo.toml"))
        .unwrap()
        .parse()
        .unwrap();
    let package = &manifest["package"]["metadata"]["deb"];
    let mut listed = 0;
    for asset in package["assets"].as_array().unwrap() {
        let source = asset[0].as_str().unwrap();
        if source.starts_with("target/") {
            continue;
        }
        let directory = root.join(source).parent().unwrap().to_owned();
        let name = source.rsplit('/').next().unwrap();
        let (before, after) = name.split_once('*').unwrap_or((name, ""));
        let found = std::fs::read_dir(&directory).unwrap().any(|entry| {
            let found = entry.unwrap().file_name().into_string().unwrap();
            found.starts_with(before) && found.ends_with(after)
        });
        assert!(found, "{source}");
        listed += 1;
    }
    assert!(listed > 5);
    for script in ["postinst", "prerm", "postrm"] {
        let script = root
            .join(package["maintainer-scripts"].as_str().unwrap())
            .join(script);
        let checked = Command::new("sh").arg("-n").arg(&script).status().unwrap();
        assert!(checked.success(), "{}", script.display());
    }
}
