//! What is typed wrong, and what is found wrong, ends in one line and the right exit code, before
//! anything is mounted. Runs the program itself.
#![allow(
    clippy::unwrap_used,
    reason = "a test ends where its preparation fails"
)]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

/// The program with nothing of this machine's configuration but what is needed to find programs.
fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_interactionfs"));
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", "/nonexistent");
    command
}

fn mount(mountpoint: &Path) -> Command {
    let mut command = program();
    command
        .arg("mount")
        .arg(mountpoint)
        .args(["--region", "emea", "--client-id", "someone"])
        .env("INTERACTIONFS_CLIENT_SECRET", "hunter2");
    command
}

/// Runs it; the one line that it must end with, without the program's name.
fn refusal(command: &mut Command, code: i32) -> String {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().unwrap();
    let stderr = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(code), "{command:?}: {stderr}");
    assert!(stdout.is_empty(), "{command:?}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(!stderr.contains("hunter2"));
    stderr
        .strip_prefix("interactionfs: ")
        .unwrap()
        .trim_end()
        .to_owned()
}

#[test]
fn what_is_typed_wrong_exits_with_2() {
    let directory = tempfile::tempdir().unwrap();
    for (flags, words) in [
        (&["--frobnicate"][..], "unexpected argument '--frobnicate'"),
        (&["--since", "yesterday"], "--since: an age such as 7d"),
        (&["--from", "yesterday"], "--from: a date such as"),
        (&["--from", "2026-11-22T10:00:00"], "add Z for UTC"),
        (
            &["--from", "2026-11-22", "--to", "2026-11-21"],
            "--from is after --to",
        ),
        (
            &["--since", "7d", "--from", "2026-01-01"],
            "exclude each other",
        ),
        (&["--region", "mars"], "--region: the region must be"),
        (
            &["--api-url", "http://example.com/"],
            "--api-url: plain http",
        ),
        (&["--client-secret", "hunter2"], "--client-secret-file"),
        (&["--memory"], "--memory"),
        (&["--file-mode", "rwx"], "--file-mode: an octal mode"),
        (&["--offline", "--no-disk-cache"], "leave one out"),
    ] {
        let message = refusal(mount(directory.path()).args(flags), 2);
        assert!(message.contains(words), "{flags:?}: {message}");
    }
}

#[test]
fn what_is_missing_exits_with_2_and_says_how_to_give_it() {
    let directory = tempfile::tempdir().unwrap();
    for (flags, words) in [
        (&[][..], "no region is given: give --region"),
        (
            &["--region", "emea"],
            "no client id is given: give --client-id",
        ),
        (
            &["--region", "emea", "--client-id", "x"],
            "no client secret is given: give --client-secret-file",
        ),
    ] {
        let mut command = program();
        command.arg("mount").arg(directory.path()).args(flags);
        let message = refusal(&mut command, 2);
        assert!(message.contains(words), "{message}");
    }
    assert!(refusal(&mut program(), 2).contains("no command is given"));
    assert!(refusal(program().arg("mount"), 2).contains("<MOUNTPOINT>"));
    assert!(refusal(program().arg("fly"), 2).contains("'fly'"));
}

#[test]
fn the_environment_and_the_file_are_named_when_they_are_wrong() {
    let directory = tempfile::tempdir().unwrap();
    let message = refusal(
        mount(directory.path()).env("INTERACTIONFS_REFRESH", "often"),
        2,
    );
    assert!(
        message.starts_with("INTERACTIONFS_REFRESH: a time"),
        "{message}"
    );

    let file = directory.path().join("vcc.toml");
    std::fs::write(&file, "region = \"emea\"\ndeadline = \"later\"\n").unwrap();
    let message = refusal(mount(directory.path()).arg("--config").arg(&file), 2);
    let place = format!("{} line 2: deadline: a time", file.display());
    assert!(message.starts_with(&place), "{message}");

    std::fs::write(&file, "\n\nregiom = \"emea\"\n").unwrap();
    let message = refusal(
        mount(directory.path()).env("INTERACTIONFS_CONFIG", &file),
        2,
    );
    assert!(message.contains("line 3: regiom: there is no such key; did you mean region?"));

    let message = refusal(
        mount(directory.path()).args(["--config", "/nonexistent"]),
        2,
    );
    assert!(message.contains("--config"), "{message}");
}

#[test]
fn a_secret_file_must_be_readable_for_its_owner_only() {
    let directory = tempfile::tempdir().unwrap();
    let mountpoint = tempfile::tempdir().unwrap();
    let secret = directory.path().join("client-secret");
    let mount = || {
        let mut command = mount(mountpoint.path());
        command.arg("--client-secret-file").arg(&secret);
        command
    };
    assert!(refusal(&mut mount(), 1).contains("can't be read"));

    std::fs::write(&secret, "hunter2\n").unwrap();
    std::fs::set_permissions(&secret, PermissionsExt::from_mode(0o644)).unwrap();
    assert!(refusal(&mut mount(), 1).contains("can be read by everybody"));

    // A credential of systemd's is exempt, so that the next thing is complained about.
    let mut exempt = mount();
    exempt
        .env("CREDENTIALS_DIRECTORY", directory.path())
        .arg("--foreground");
    std::fs::write(mountpoint.path().join("file"), "").unwrap();
    assert!(refusal(&mut exempt, 1).contains("is not empty"));

    std::fs::write(&secret, "\n").unwrap();
    std::fs::set_permissions(&secret, PermissionsExt::from_mode(0o600)).unwrap();
    assert!(refusal(&mut mount(), 1).contains("it is empty"));
}

#[test]
fn a_mountpoint_must_be_an_empty_directory() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    assert!(refusal(&mut mount(&file), 1).contains("does not exist: make it with 'mkdir -p"));
    std::fs::write(&file, "").unwrap();
    assert!(refusal(&mut mount(&file), 1).contains("is not a directory"));
    assert!(refusal(&mut mount(directory.path()), 1).contains("is not empty"));
    assert!(refusal(&mut mount(Path::new("/proc")), 1).contains("already mounted with proc"));
}

#[test]
fn the_background_process_reports_to_who_waits() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("no/such/directory/log");
    let mountpoint = tempfile::tempdir().unwrap();
    // Nothing but the process in the background opens the log.
    let message = refusal(mount(mountpoint.path()).arg("--log-file").arg(&log), 1);
    assert!(message.contains("check --log-file"), "{message}");
}

#[test]
fn other_commands_say_what_is_not_there() {
    let directory = tempfile::tempdir().unwrap();
    let message = refusal(program().arg("unmount").arg(directory.path()), 1);
    assert!(message.contains("nothing is mounted on"), "{message}");
    let message = refusal(program().args(["unmount", "/proc"]), 1);
    assert!(message.contains("not interactionfs but proc"), "{message}");
    let message = refusal(program().arg("status").arg(directory.path()), 1);
    assert!(message.contains("no running mount of yours"), "{message}");
    let message = refusal(program().args(["completions", "tcsh"]), 2);
    assert!(message.contains("zsh"), "{message}");
    let message = refusal(program().args(["man", "--dir", "/nonexistent"]), 1);
    assert!(message.contains("can't be written"), "{message}");
}

#[test]
fn help_manual_and_completions_come_from_one_source() {
    let output = |arguments: &[&str]| {
        let output = program().args(arguments).output().unwrap();
        assert!(
            output.status.success() && output.stderr.is_empty(),
            "{arguments:?}"
        );
        String::from_utf8(output.stdout).unwrap()
    };
    let pages = tempfile::tempdir().unwrap();
    output(&["man", "--dir", pages.path().to_str().unwrap()]);
    let page = std::fs::read_to_string(pages.path().join("interactionfs-mount.1")).unwrap();
    assert!(page.contains("metadata\\-deadline"));
    assert!(output(&["man"]).contains("interactionfs"));
    assert!(output(&["mount", "--help"]).contains("--metadata-deadline"));
    assert!(output(&["--version"]).starts_with("interactionfs "));
    for shell in ["bash", "zsh", "fish"] {
        assert!(
            output(&["completions", shell]).contains("metadata-deadline"),
            "{shell}"
        );
    }
}

#[test]
fn doctor_names_what_is_wrong_and_exits_with_1() {
    let directory = tempfile::tempdir().unwrap();
    let cache = directory.path().join("cache");
    std::fs::write(&cache, "").unwrap();
    let output = program()
        .arg("doctor")
        .arg(directory.path())
        .args([
            "--region",
            "emea",
            "--client-id",
            "x",
            "--offline",
            "--cache-dir",
        ])
        .arg(&cache)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let report = String::from_utf8(output.stdout).unwrap();
    let line = |what: &str| {
        report
            .lines()
            .find(|line| line.contains(what))
            .unwrap_or_else(|| panic!("{what} is missing in {report}"))
    };
    assert!(line("  mountpoint  ").starts_with("fail"));
    assert!(line("is not empty").starts_with("fail"));
    assert!(line("choose another --cache-dir").starts_with("fail"));
    assert!(line("  configuration").starts_with("ok"));

    let output = program().arg("doctor").output().unwrap();
    let report = String::from_utf8(output.stdout).unwrap();
    assert!(
        report.contains("fail  configuration  no region is given"),
        "{report}"
    );
}
