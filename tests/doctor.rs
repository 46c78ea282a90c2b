//! `doctor` on prepared faults: each is named, on a line of its own, with what to do about it.
#![allow(clippy::unwrap_used, reason = "it fails by panicking")]

mod common;

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use common::{Mount, Server, can_mount};
use interactionfs::emulator::{ErrorBody, Fault, Rule, Target, Times};
use tempfile::TempDir;

/// A world in which nothing is wrong, to spoil one thing of.
struct World {
    server: Server,
    directory: TempDir,
    mountpoint: String,
    arguments: Vec<String>,
    secret: Option<String>,
    path: Option<String>,
}

/// What `doctor` said.
struct Said {
    code: i32,
    /// Grade, what was checked, and the words, of each line.
    lines: Vec<(String, String, String)>,
    error: String,
}

impl World {
    fn new() -> Self {
        let server = Server::samples();
        // The trial reads something of the last day.
        server.add_interaction(
            "5e5a9f3c-0000-4000-8000-000000000001",
            b"{\"text\":\"hello\"}",
        );
        let directory = tempfile::tempdir().unwrap();
        let mountpoint = directory.path().join("mnt");
        std::fs::create_dir(&mountpoint).unwrap();
        let api = server.api();
        let arguments = vec![
            format!("--api-url={}", api.api_url()),
            format!("--auth-url={}", api.auth_url()),
            format!("--client-id={}", api.client_id()),
            format!("--cache-dir={}", directory.path().join("cache").display()),
            "--cache-size=1MiB".to_owned(),
        ];
        Self {
            secret: Some(api.client_secret().to_owned()),
            mountpoint: mountpoint.to_str().unwrap().to_owned(),
            server,
            directory,
            arguments,
            path: None,
        }
    }

    /// Adds an option, in place of the one of the same name.
    fn option(&mut self, argument: String) {
        let name = argument.split('=').next().unwrap().to_owned() + "=";
        self.arguments.retain(|known| !known.starts_with(&name));
        self.arguments.push(argument);
    }

    fn fault(&self, target: Target, fault: Fault) {
        let rule = Rule::new(target, fault).times(Times::Forever);
        self.server.api().faults().add(rule);
    }

    fn file(&self, name: &str, content: &str, mode: u32) -> String {
        let path = self.directory.path().join(name);
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn doctor(&self) -> Said {
        self.doctor_by(Command::new(env!("CARGO_BIN_EXE_interactionfs")))
    }

    fn doctor_by(&self, mut program: Command) -> Said {
        program
            .arg("doctor")
            .arg(&self.mountpoint)
            .args(&self.arguments)
            .env_remove("INTERACTIONFS_CLIENT_SECRET")
            .stdin(Stdio::null());
        for proxy in ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"] {
            program.env_remove(proxy);
        }
        if let Some(secret) = &self.secret {
            program.env("INTERACTIONFS_CLIENT_SECRET", secret);
        }
        if let Some(path) = &self.path {
            program.env("PATH", path);
        }
        let output = program.output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let lines = text.lines().take_while(|line| !line.is_empty());
        Said {
            code: output.status.code().unwrap(),
            lines: lines
                .map(|line| {
                    let (grade, rest) = line.split_at(6);
                    let (what, words) = rest.split_at(15.min(rest.len()));
                    (
                        grade.trim().to_owned(),
                        what.trim().to_owned(),
                        words.trim().to_owned(),
                    )
                })
                .collect(),
            error: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Said {
    fn shown(&self) -> String {
        format!("{:#?}\n{}", self.lines, self.error)
    }

    /// Asserts that this is the only failure, that its words are there, and that the exit code says so.
    fn fails_only(&self, what: &str, words: &[&str]) {
        let failed: Vec<_> = self
            .lines
            .iter()
            .filter(|(grade, ..)| grade == "fail")
            .collect();
        let [(_, checked, text)] = failed.as_slice() else {
            panic!("not one failure but {}: {}", failed.len(), self.shown());
        };
        assert_eq!(checked, what, "{}", self.shown());
        for word in words {
            assert!(text.contains(word), "{word} in: {text}");
        }
        assert_eq!(self.code, 1);
        assert!(self.error.contains("one check failed"), "{}", self.error);
    }

    fn line(&self, what: &str) -> (&str, &str) {
        let (grade, _, words) = self
            .lines
            .iter()
            .find(|(_, checked, _)| checked == what)
            .unwrap_or_else(|| panic!("nothing of {what}: {}", self.shown()));
        (grade, words)
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[test]
fn nothing_wrong_is_said_of_a_world_in_which_nothing_is() {
    if !can_mount() {
        return;
    }
    let world = World::new();
    let said = world.doctor();
    assert_eq!(said.code, 0, "{}", said.shown());
    for what in [
        "credentials",
        "search",
        "ranged read",
        "clock",
        "cache",
        "mountpoint",
    ] {
        assert_eq!(said.line(what).0, "ok", "{}", said.shown());
    }
    assert!(said.line("ranged read").1.contains("with the range"));
    // A token, the server's time, a search and a read.
    assert_eq!(
        world.server.all_requests(),
        4,
        "{}",
        world.server.describe()
    );
}

#[test]
fn what_is_wrong_with_the_credentials_is_told_apart() {
    if !can_mount() {
        return;
    }
    let mut world = World::new();
    world.secret = None;
    let said = world.doctor();
    said.fails_only(
        "configuration",
        &[
            "no client secret",
            "--client-secret-file FILE (chmod 600)",
            "INTERACTIONFS_CLIENT_SECRET",
        ],
    );
    assert_eq!(world.server.all_requests(), 0);

    let open = world.file("secret", "word", 0o644);
    world.option(format!("--client-secret-file={open}"));
    world.doctor().fails_only(
        "configuration",
        &[
            "can be read by everybody",
            "run 'chmod 600",
            "making a new one",
        ],
    );

    world.arguments.pop();
    world.secret = Some("wrong".to_owned());
    world.doctor().fails_only(
        "credentials",
        &["refused (invalid_client)", "check --client-id, the secret"],
    );

    let world = World::new();
    world.fault(
        Target::Token,
        Fault::Status {
            code: 400,
            body: ErrorBody::OAuth("invalid_scope"),
            retry_after: None,
        },
    );
    world.doctor().fails_only(
        "credentials",
        &[
            "may not read interaction content",
            "interaction-content:read",
            "admin portal",
        ],
    );
}

#[test]
fn what_the_api_refuses_is_named() {
    if !can_mount() {
        return;
    }
    let world = World::new();
    world
        .server
        .api()
        .faults()
        .add(Rule::status(Target::Search, 403).times(Times::Forever));
    world
        .doctor()
        .fails_only("search", &["may not see it", "needs the permission"]);

    let world = World::new();
    world
        .server
        .api()
        .faults()
        .add(Rule::status(Target::Content, 403).times(Times::Forever));
    world
        .doctor()
        .fails_only("ranged read", &["may not see it", "needs the permission"]);

    let world = World::new();
    world.fault(Target::Content, Fault::IgnoreRange);
    world.server.replace_item(
        "5e5a9f3c-0000-4000-8000-000000000001",
        "transcript",
        &[b' '; 20_000],
    );
    let said = world.doctor();
    let (grade, words) = said.line("ranged read");
    assert_eq!((said.code, grade), (0, "warn"), "{}", said.shown());
    assert!(words.contains("whole file"), "{words}");
}

#[test]
fn a_clock_that_is_an_hour_off_is_named() {
    if !can_mount() {
        return;
    }
    let world = World::new();
    world.fault(Target::Any, Fault::DateAhead(Duration::from_secs(3600)));
    let said = world.doctor();
    said.fails_only("clock", &[" s behind", "timedatectl set-ntp true"]);
}

#[test]
fn hosts_that_are_not_there_are_named() {
    if !can_mount() {
        return;
    }
    let mut world = World::new();
    // Nobody listens on this port, and no other test is given it.
    world.option("--api-url=http://127.0.0.1:1/interaction-content".to_owned());
    world
        .doctor()
        .fails_only("API host", &["can't be reached", "firewall", "HTTPS_PROXY"]);

    // Reserved for names that never exist (RFC 6761).
    let mut world = World::new();
    world.option("--auth-url=https://cc.invalid/token".to_owned());
    world.doctor().fails_only(
        "token host",
        &["cc.invalid is not found", "--region", "DNS"],
    );
    assert_eq!(world.server.all_requests(), 0);
}

#[test]
fn a_cache_that_is_of_no_use_is_named() {
    if !can_mount() {
        return;
    }
    let mut world = World::new();
    world.option("--cache-dir=/proc/cache".to_owned());
    world.doctor().fails_only(
        "cache",
        &[
            "/proc/cache can't be made",
            "--cache-dir that you may write to",
        ],
    );

    let file = world.file("file", "", 0o600);
    world.option(format!("--cache-dir={file}"));
    world
        .doctor()
        .fails_only("cache", &["not a directory", "choose another --cache-dir"]);

    let open = world.directory.path().join("open");
    std::fs::create_dir(&open).unwrap();
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o755)).unwrap();
    world.option(format!("--cache-dir={}", open.display()));
    world
        .doctor()
        .fails_only("cache", &["open to others", "run 'chmod 700"]);
    assert!(
        std::fs::read_dir(&open).unwrap().next().is_none(),
        "the probe is gone"
    );
}

#[test]
fn a_mountpoint_that_is_taken_missing_or_full_is_named() {
    if !can_mount() {
        return;
    }
    let mut world = World::new();
    let mount = Mount::of(&world.server);
    world.mountpoint = mount.root().to_str().unwrap().to_owned();
    world
        .doctor()
        .fails_only("mountpoint", &["already mounted", "interactionfs unmount"]);
    mount.unmount();

    world.mountpoint = world
        .directory
        .path()
        .join("missing")
        .to_str()
        .unwrap()
        .to_owned();
    world
        .doctor()
        .fails_only("mountpoint", &["does not exist", "mkdir -p"]);
    world.mountpoint = "/etc".to_owned();
    world
        .doctor()
        .fails_only("mountpoint", &["not empty", "choose an empty directory"]);
}

#[test]
fn a_mistake_in_the_configuration_is_named_with_file_line_and_key() {
    if !can_mount() {
        return;
    }
    let mut world = World::new();
    let file = world.file("vcc.toml", "# a comment\nrefresh = \"soon\"\n", 0o600);
    world.option(format!("--config={file}"));
    world
        .doctor()
        .fails_only("configuration", &["vcc.toml line 2", "refresh", "90s"]);
}

#[test]
fn a_desktop_search_that_would_crawl_the_mount_is_named() {
    if !can_mount() {
        return;
    }
    let mut world = World::new();
    let programs = world.directory.path().join("bin");
    std::fs::create_dir(&programs).unwrap();
    world.file("bin/tracker3", "#!/bin/sh\n", 0o755);
    world.path = Some(format!("{}:/usr/bin:/bin", programs.display()));
    let mut at_home = Command::new(env!("CARGO_BIN_EXE_interactionfs"));
    at_home.env("HOME", world.directory.path());
    let said = world.doctor_by(at_home);
    let (grade, words) = said.line("file indexer");
    assert_eq!((said.code, grade), (0, "warn"), "{}", said.shown());
    assert!(
        words.contains("mount elsewhere") && words.contains(".nomedia"),
        "{words}"
    );
    let mut elsewhere = Command::new(env!("CARGO_BIN_EXE_interactionfs"));
    elsewhere.env("HOME", "/nowhere");
    assert_eq!(world.doctor_by(elsewhere).line("file indexer").0, "ok");
}

/// The system's directories of programs are taken away, and what indexers read is put there, in a mount namespace
/// of the test's own: for this one must be root.
fn in_another_system(world: &World, script: &str) -> Option<Said> {
    let probe = Command::new("unshare")
        .args(["--mount", "true"])
        .stderr(Stdio::null())
        .status();
    if !is_root() || !probe.is_ok_and(|status| status.success()) {
        common::skipped("only root can take the system's programs away");
        return None;
    }
    let mut program = Command::new("unshare");
    program
        .args(["--mount", "sh", "-c"])
        .arg(format!("set -e; {script}; exec \"$0\" \"$@\""))
        .arg(OsStr::new(env!("CARGO_BIN_EXE_interactionfs")))
        .env("SCRATCH", world.directory.path());
    Some(world.doctor_by(program))
}

#[test]
fn no_fusermount3_is_named() {
    if !can_mount() {
        return;
    }
    let world = World::new();
    let hide = "for f in /usr/bin/fusermount3 /bin/fusermount3; do \
                if [ -e $f ]; then mount --bind /dev/null $f; fi; done";
    let Some(said) = in_another_system(&world, hide) else {
        return;
    };
    let (grade, words) = said.line("fusermount3");
    assert_eq!((said.code, grade), (0, "warn"), "{}", said.shown());
    assert!(words.contains("you are root"), "{words}");
    assert!(words.contains("apt-get install fuse3"), "{words}");
}

#[test]
fn indexers_that_would_crawl_the_mount_are_named() {
    if !can_mount() {
        return;
    }
    let world = World::new();
    let lay = "mkdir -p $SCRATCH/etc; cp -a /etc/. $SCRATCH/etc/ 2>/dev/null || true; \
               echo 'PRUNEFS=\"NFS\"' >$SCRATCH/etc/updatedb.conf; mount --bind $SCRATCH/etc /etc";
    let Some(said) = in_another_system(&world, lay) else {
        return;
    };
    let (grade, words) = said.line("updatedb");
    assert_eq!((said.code, grade), (0, "warn"), "{}", said.shown());
    assert!(
        words.contains("add fuse.interactionfs to PRUNEFS"),
        "{words}"
    );
    assert!(Path::new("/etc").exists());
}
