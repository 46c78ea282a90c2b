use super::*;
use crate::failure::FailureKind;

const SECRET: &str = "very-secret-value";

fn environment() -> Environment {
    Environment::new([
        ("INTERACTIONFS_CLIENT_SECRET", SECRET),
        ("HOME", "/home/someone"),
    ])
}

fn minimal() -> Given {
    Given::default()
        .with_flag("region", "emea")
        .with_flag("client-id", "the-client")
}

fn resolve(given: &Given) -> Result<Config, Failure> {
    Config::resolve(Path::new("/mnt/interactions"), given, &environment())
}

#[test]
fn the_defaults_are_the_documented_ones() {
    let config = resolve(&minimal()).unwrap();
    assert_eq!(
        config.account.api_url.as_str(),
        "https://emea.api.cc.vonage.com/interaction-content"
    );
    assert_eq!(
        config.account.auth_url.as_str(),
        "https://emea.cc.vonage.com/Auth/connect/token"
    );
    assert_eq!(config.account.auth_method, AuthMethod::Basic);
    assert!(matches!(config.window, WindowSpec::Days(7)));
    assert_eq!(config.refresh.as_secs(), 60);
    assert_eq!(config.deadline.as_secs(), 60);
    assert_eq!(config.metadata_deadline.as_secs(), 15);
    assert_eq!(config.requests_per_minute.get(), 150);
    assert_eq!(config.memory_bytes, 256 << 20);
    assert_eq!(
        config.disk,
        Some(DiskCache {
            directory: "/home/someone/.cache/interactionfs".into(),
            size_bytes: 10 << 30,
        })
    );
    assert_eq!(config.cache_max_age.as_secs(), 30 * 86_400);
    assert_eq!((config.file_mode, config.dir_mode), (0o400, 0o500));
    assert_eq!(config.uid, environment().uid);
    assert_eq!(config.source, "interactionfs");
    assert!(config.filter.is_empty());
}

#[test]
fn urls_win_over_the_region_and_upper_case_is_a_region() {
    let config = resolve(&minimal().with_flag("region", "NAM")).unwrap();
    assert_eq!(
        config.account.auth_url.host_str(),
        Some("nam.cc.vonage.com")
    );
    let config = resolve(
        &minimal()
            .with_flag("api-url", "http://127.0.0.1:1/interaction-content")
            .with_flag("auth-url", "http://127.0.0.1:1/token"),
    )
    .unwrap();
    assert_eq!(config.account.api_url.port(), Some(1));
}

#[test]
fn mistakes_name_what_was_typed_and_exit_with_2() {
    for (name, text, words) in [
        ("region", "aus", "--region: the region must be emea"),
        (
            "api-url",
            "https://x.example/a",
            "--api-url is given without --auth-url",
        ),
        (
            "auth-url",
            "https://x.example/a",
            "--auth-url is given without --api-url",
        ),
        ("api-url", "http://x.example/a", "--api-url: plain http"),
        (
            "auth-method",
            "digest",
            "--auth-method: it must be basic or form",
        ),
        ("since", "yesterday", "--since: an age such as 7d"),
        ("from", "yesterday", "--from: a date such as"),
        ("to", "2026-11-22", "--to is given without --from"),
        ("types", ",", "--types: types separated"),
        (
            "direction",
            "sideways",
            "--direction: it must be inbound or outbound",
        ),
        ("agent", "", "--agent: it must not be empty"),
        ("connect-from", "", "--connect-from: 1 to 50"),
        ("connect-to", &"4".repeat(51), "--connect-to: 1 to 50"),
        ("refresh", "soon", "--refresh: a time such as"),
        ("deadline", "0s", "--deadline: a time such as"),
        (
            "requests-per-minute",
            "0",
            "--requests-per-minute: a whole number from 1",
        ),
        ("memory", "lots", "--memory: a size such as"),
        ("memory", "1KiB", "--memory: at least 1MiB"),
        ("cache-size", "10", "--cache-size: at least 1MiB"),
        ("uid", "root", "--uid: a whole number"),
        ("file-mode", "0999", "--file-mode: an octal mode"),
        ("log-level", "loud", "--log-level: "),
        ("metrics-listen", "everywhere", "--metrics-listen: a port"),
        ("sidecars", "perhaps", "--sidecars: it must be yes or no"),
    ] {
        let failure = resolve(&minimal().with_flag(name, text)).unwrap_err();
        assert!(failure.message.starts_with(words), "{failure}");
        assert_eq!(failure.kind, FailureKind::Typed, "{failure}");
    }
}

#[test]
fn offline_needs_no_secret_but_a_disk() {
    let nothing = Environment::new([("HOME", "/home/someone")]);
    let resolve = |given: &Given| Config::resolve(Path::new("m"), given, &nothing);
    assert!(resolve(&minimal()).is_err());
    let offline = minimal().with_flag("offline", "true");
    assert!(resolve(&offline).unwrap().secret.is_none());
    assert!(resolve(&offline.with_flag("no-disk-cache", "true")).is_err());
}

#[test]
fn accounts_have_directories_of_their_own() {
    let directory = |given: &Given| resolve(given).unwrap().account_directory().unwrap();
    let one = directory(&minimal());
    assert_eq!(one, directory(&minimal().with_flag("since", "2d")));
    assert_ne!(one, directory(&minimal().with_flag("client-id", "other")));
    assert_ne!(one, directory(&minimal().with_flag("region", "nam")));
    let name = one.file_name().unwrap().to_str().unwrap();
    assert!(name.len() == 32 && name.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let none = minimal().with_flag("no-disk-cache", "true");
    assert_eq!(resolve(&none).unwrap().account_directory(), None);
}

#[test]
fn neither_debug_nor_the_shown_configuration_holds_what_is_secret_or_personal() {
    let config = resolve(
        &minimal()
            .with_flag("connect-from", "+441632960000")
            .with_flag("connect-to", "+441632960001")
            .with_flag("agent", "987654"),
    )
    .unwrap();
    for text in [redacted_toml(&config), format!("{config:?}")] {
        for hidden in [SECRET, "441632960000", "441632960001", "987654"] {
            assert!(!text.contains(hidden), "{hidden} in {text}");
        }
    }
    assert!(redacted_toml(&config).contains("# connect-from is set"));
}

#[test]
fn the_installed_configuration_names_every_option_with_its_default_and_is_read_as_it_says() {
    let path = Path::new("mount-scripts/systemd/interactions.toml");
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
    let as_installed = file::parse(path, &text).unwrap();
    let id = Given::default().with_flag("client-id", "the-client");
    resolve(&id.over(as_installed)).unwrap();

    let is_key = |line: &&str| {
        line.split_once(" = ")
            .is_some_and(|(key, _)| key.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'))
    };
    let keys: Vec<_> = text
        .lines()
        .map(|line| line.strip_prefix("# ").unwrap_or(line))
        .filter(is_key)
        .collect();
    let all = file::parse(path, &keys.join("\n")).unwrap();
    for option in OPTIONS {
        // fstab has its own place for the first, and a service no use for the other.
        if matches!(option.name, "source" | "foreground") {
            continue;
        }
        let value = all.get(option.name);
        let value = value.unwrap_or_else(|| panic!("{} is missing", option.name));
        match (option.default, option.value) {
            (Some(default), _) => assert_eq!(value.text, default, "{}", option.name),
            (None, None) => assert_eq!(all.switch(option.name), Ok(false), "{}", option.name),
            (None, Some(_)) => {}
        }
    }
    let one_by_one = keys.iter().map(|line| file::parse(path, line).unwrap());
    for (line, given) in keys.iter().zip(one_by_one) {
        // Those that need another beside them, or a file.
        if [
            "api-url",
            "auth-url",
            "to ",
            "cache-key-file",
            "client-secret-file",
            "ca-file",
        ]
        .iter()
        .any(|name| line.starts_with(name))
        {
            continue;
        }
        let resolved = resolve(&given.over(minimal()));
        assert!(resolved.is_ok(), "{line}: {resolved:?}");
    }
}

#[test]
fn the_shown_configuration_makes_the_same_mount_again() {
    for given in [
        minimal(),
        minimal()
            .with_flag("since", "48h")
            .with_flag("types", "transcript,callRecording")
            .with_flag("direction", "inbound")
            .with_flag("no-disk-cache", "true")
            .with_flag("log-file", "/tmp/odd \"name\"\u{7f}\t.log")
            .with_flag("file-mode", "0440")
            .with_flag("metrics-listen", "[::1]:9464"),
        minimal()
            .with_flag("from", "2026-11-01")
            .with_flag("to", "2026-11-02")
            .with_flag("cache-size", "5GiB"),
    ] {
        let first = redacted_toml(&resolve(&given).unwrap());
        let again = file::parse(Path::new("shown.toml"), &first).unwrap();
        assert_eq!(redacted_toml(&resolve(&again).unwrap()), first);
    }
}
