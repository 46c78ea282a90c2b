//! `mount.interactionfs` turns what mount(8) says into the program's flags. The program is replaced by one
//! that prints its arguments.
#![allow(
    clippy::unwrap_used,
    reason = "a test ends where its preparation fails"
)]

use std::process::{Command, Output};

use interactionfs::config::OPTIONS;

/// Runs the helper; the exit code, the arguments that the program got, one each, and what was complained.
fn helper(arguments: &[&str], program: &str) -> (i32, Vec<String>, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = Command::new("sh")
        .arg(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/mount-scripts/mount.interactionfs"
        ))
        .args(arguments)
        .env(
            "INTERACTIONFS_BIN",
            concat!(env!("CARGO_MANIFEST_DIR"), "/tests/mount_helper/program.sh"),
        )
        .env("PROGRAM", program)
        .output()
        .unwrap();
    (
        status.code().unwrap(),
        String::from_utf8(stdout)
            .unwrap()
            .lines()
            .map(ToOwned::to_owned)
            .collect(),
        String::from_utf8(stderr).unwrap(),
    )
}

fn flags(options: &str) -> Vec<String> {
    let (code, flags, complaint) = helper(
        &["vcc", "/mnt/interactions", "-o", options],
        "printf '%s\\n' \"$@\"",
    );
    assert_eq!((code, complaint.as_str()), (0, ""), "{options}");
    assert_eq!(flags[..2], ["mount", "--source=vcc"]);
    assert_eq!(flags[flags.len() - 2..], ["--", "/mnt/interactions"]);
    flags[2..flags.len() - 2].to_vec()
}

fn refusal(options: &str) -> String {
    let (code, flags, complaint) = helper(&["vcc", "/mnt", "-o", options], "printf '%s\\n' \"$@\"");
    assert_eq!((code, flags.len()), (1, 0), "{options}");
    assert_eq!(complaint.lines().count(), 1, "{complaint}");
    complaint
}

#[test]
fn options_become_flags_with_dashes_or_underscores() {
    assert_eq!(
        flags("client-id=someone,since=2w,allow_other,cache_size=1GiB"),
        [
            "--client-id=someone",
            "--since=2w",
            "--allow-other",
            "--cache-size=1GiB"
        ]
    );
    assert_eq!(flags("offline=no"), ["--offline=no"]);
}

#[test]
fn what_is_mounts_own_is_ignored() {
    assert_eq!(
        flags(
            "rw,ro,defaults,_netdev,x-systemd.automount,x-gvfs-name=a b,user,users,noauto,auto,nofail,nosuid,\
               nodev,noexec,noatime,uid=1000"
        ),
        ["--uid=1000"]
    );
    assert!(flags("").is_empty());
}

#[test]
fn spaces_and_commas_survive() {
    assert_eq!(
        flags("types=transcript\\054callRecording,cache-dir=/my\\040cache,log-file=/a b"),
        [
            "--types=transcript,callRecording",
            "--cache-dir=/my cache",
            "--log-file=/a b"
        ]
    );
    assert_eq!(
        flags("types=\"transcript,callRecording\",agent=7"),
        ["--types=transcript,callRecording", "--agent=7"]
    );
    // Nothing in a value is ever run.
    assert_eq!(flags("agent=$(id);`id`*"), ["--agent=$(id);`id`*"]);
}

#[test]
fn unknown_options_are_refused_by_name_and_without_their_value() {
    let complaint = refusal("ro,client_secret=hunter2");
    assert!(complaint.contains("the option client_secret is not known"));
    assert!(!complaint.contains("hunter2"));
    assert!(refusal("sinse=7d").contains("sinse"));
    assert!(refusal("since").contains("needs a value"));
    assert!(refusal("remount,ro").contains("unmount it"));
    assert!(refusal("noatime=1").contains("noatime"));
    let (code, flags, _) = helper(&["vcc", "/mnt", "-s", "-o", "sinse=7d"], "echo \"$@\"");
    assert_eq!((code, flags.len()), (0, 1), "sloppy mounts go on");
}

#[test]
fn every_option_of_mount_is_known_to_the_helper() {
    for option in OPTIONS {
        // The source is fstab's first field, and mount(8) waits for the background.
        if matches!(option.name, "source" | "foreground") {
            refusal(&format!("{}=x", option.name));
            continue;
        }
        let expected = match option.value {
            Some(_) => format!("--{}=x", option.name),
            None => format!("--{}", option.name),
        };
        assert_eq!(flags(&expected[2..]), [expected.as_str()]);
        assert_eq!(flags(&expected[2..].replace('-', "_")), [expected.as_str()]);
    }
}

#[test]
fn failures_have_the_exit_codes_of_mount() {
    for (program, code) in [
        ("exit 0", 0),
        ("exit 2", 1),
        ("exit 1", 32),
        ("kill -9 $$", 32),
    ] {
        let (got, _, _) = helper(&["vcc", "/mnt"], program);
        assert_eq!(got, code, "{program}");
    }
    assert_eq!(
        helper(&["vcc", "/mnt", "-f"], "exit 7").0,
        0,
        "a fake mount"
    );
    assert_eq!(helper(&["vcc"], "exit 0").0, 1);
    assert_eq!(helper(&["vcc", "/mnt", "-x"], "exit 0").0, 1);
    let (code, flags, _) = helper(
        &["a b", "/mnt", "-n", "-v", "-t", "interactionfs", "-o", "rw"],
        "printf '%s\\n' \"$@\"",
    );
    assert_eq!(code, 0);
    assert_eq!(flags, ["mount", "--source=a b", "--", "/mnt"]);
}
