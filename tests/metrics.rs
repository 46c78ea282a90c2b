//! The metrics of a real mount, read as Prometheus reads them, and the dashboard that shows them.
#![allow(
    clippy::unwrap_used,
    reason = "a test ends where its preparation fails"
)]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Stdio;

use common::{Mount, MountBuilder, PATIENCE, Server, can_mount, is_mounted};
use interactionfs::metrics::FAMILIES;

/// What is asked of the listener; the answer's status, head and body.
fn ask(address: SocketAddr, method: &str, path: &str) -> (u16, String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head.to_ascii_lowercase(), body.to_owned())
}

/// Where a mount serves its metrics, by its log.
fn address(mount: &Mount) -> SocketAddr {
    let mut found = None;
    common::eventually("the log names the metrics' address", || {
        found = mount
            .log()
            .split("http://")
            .filter_map(|rest| rest.split_once("/metrics")?.0.parse().ok())
            .next();
        found.is_some()
    });
    found.unwrap()
}

/// The text format 0.0.4, read strictly: samples by name and labels. Panics at whatever Prometheus would refuse or
/// `promtool check metrics` would complain of.
fn parse(text: &str) -> BTreeMap<String, f64> {
    let mut samples = BTreeMap::new();
    let mut help = BTreeSet::new();
    let mut types = BTreeMap::new();
    let mut current = String::new();
    assert!(text.ends_with('\n'), "the last line ends, too");
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, words) = rest.split_once(' ').unwrap();
            assert!(!words.is_empty() && help.insert(name.to_owned()), "{line}");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(matches!(kind, "counter" | "gauge"), "{line}");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            assert!(types.insert(name.to_owned(), kind).is_none(), "{line}");
            name.clone_into(&mut current);
        } else {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let (name, labels) = match series.split_once('{') {
                Some((name, labels)) => (name, labels.strip_suffix('}').unwrap()),
                None => (series, ""),
            };
            assert_eq!(name, current, "samples stand below their TYPE: {line}");
            assert!(help.contains(name), "{line}");
            let plain = |text: &str| {
                text.bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
            };
            assert!(plain(name), "{line}");
            for label in labels.split(',').filter(|label| !label.is_empty()) {
                let (label, value) = label.split_once('=').unwrap();
                let value = value.strip_prefix('"').unwrap().strip_suffix('"').unwrap();
                assert!(plain(label) && !label.starts_with("__"), "{line}");
                assert!(!value.contains(['"', '\\']), "{line}");
            }
            let value: f64 = value.parse().unwrap();
            assert!(value.is_finite() && value >= 0.0, "{line}");
            assert!(samples.insert(series.to_owned(), value).is_none(), "{line}");
        }
    }
    samples
}

#[test]
fn a_mount_serves_what_its_status_says_in_prometheus_words() {
    if !can_mount() {
        return;
    }
    let server = Server::samples();
    let cache = tempfile::tempdir().unwrap();
    let of_thirty_days = || {
        MountBuilder::new(&server)
            .option("--since=30d")
            .cache(cache.path())
    };
    let first = of_thirty_days().mount();
    first.shell("cat */transcript.json >/dev/null");
    first.unmount();
    let mount = of_thirty_days().option("--metrics-listen=0").mount();
    mount.shell("cat */transcript.json >/dev/null; head -qc 100 */callRecording.wav >/dev/null");
    let address = address(&mount);
    assert!(address.ip().is_loopback());

    let (status, head, _) = ask(address, "GET", "/metrics");
    assert_eq!(status, 200);
    assert!(
        head.contains("content-type: text/plain; version=0.0.4"),
        "{head}"
    );
    let figures = [
        (
            "interactionfs_requests_total{kind=\"content\",result=\"answered\"}",
            "/requests/content/answered",
        ),
        ("interactionfs_interactions", "/tree/interactions_known"),
        (
            "interactionfs_read_bytes_total{source=\"wire\"}",
            "/reads/wire_bytes",
        ),
        (
            "interactionfs_cache_type_bytes{type=\"transcript\"}",
            "/cache/types/transcript",
        ),
        (
            "interactionfs_cache_limit_bytes{tier=\"disk\"}",
            "/cache/disk_limit_bytes",
        ),
    ];
    // The mount goes on working while it is asked, so the two agree only when it has come to rest.
    common::eventually("every metric has a value, and it is the status's", || {
        let samples = parse(&ask(address, "GET", "/metrics").2);
        let stats = std::fs::read(mount.path(".interactionfs/stats.json")).unwrap();
        let stats: serde_json::Value = serde_json::from_slice(&stats).unwrap();
        let is_there = |name| {
            samples
                .keys()
                .any(|series| series.split('{').next() == Some(name))
        };
        FAMILIES.iter().all(|family| is_there(family.name))
            && samples["interactionfs_interactions"] > 0.0
            && figures.iter().all(|(series, path)| {
                samples.get(*series).copied() == stats.pointer(path).unwrap().as_f64()
            })
    });
    let (_, _, body) = ask(address, "GET", "/metrics");
    let samples = parse(&body);
    assert!(samples["interactionfs_requests_total{kind=\"content\",result=\"answered\"}"] > 0.0);
    for entry in std::fs::read_dir(mount.root()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(!body.contains(&name), "{name}");
    }

    assert_eq!(ask(address, "GET", "/").0, 200);
    assert_eq!(ask(address, "GET", "/stats.json").0, 404);
    let (status, head, _) = ask(address, "POST", "/metrics");
    assert!(status == 405 && head.contains("allow: get, head"), "{head}");
    let (status, _, body) = ask(address, "HEAD", "/metrics");
    assert_eq!((status, body.as_str()), (200, ""));
    let mut garbage = TcpStream::connect(address).unwrap();
    garbage.write_all(b"\0\xff garbage\r\n\r\n").unwrap();
    drop(garbage);
    assert_eq!(ask(address, "GET", "/metrics").0, 200, "it goes on");
}

#[test]
fn an_address_that_others_reach_is_warned_of_once() {
    if !can_mount() {
        return;
    }
    let server = Server::samples();
    let mount = MountBuilder::new(&server)
        .option("--metrics-listen=0.0.0.0:0")
        .mount();
    let address = address(&mount);
    assert!(address.ip().is_unspecified());
    let port = SocketAddr::from(([127, 0, 0, 1], address.port()));
    for _ in 0..2 {
        assert_eq!(ask(port, "GET", "/metrics").0, 200);
    }
    assert_eq!(mount.log().matches("whoever reaches").count(), 1);
}

#[test]
fn an_address_that_cannot_be_had_is_one_line_and_nothing_is_mounted_or_asked() {
    if !can_mount() {
        return;
    }
    let server = Server::samples();
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let directory = tempfile::tempdir().unwrap();
    for (value, code, words) in [
        (
            holder.local_addr().unwrap().to_string(),
            1,
            "choose another port",
        ),
        (
            "192.0.2.1:9464".to_owned(),
            1,
            "not an address of this machine",
        ),
        ("everywhere".to_owned(), 2, "a port such as 9464"),
    ] {
        for foreground in [true, false] {
            let mut command = MountBuilder::new(&server)
                .option(format!("--metrics-listen={value}"))
                .command(directory.path(), Path::new("/nowhere"));
            if foreground {
                command.arg("--foreground");
            }
            command.arg("--no-disk-cache");
            let output = command.stdout(Stdio::piped()).output().unwrap();
            let complaint = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(code), "{complaint}");
            assert_eq!(complaint.lines().count(), 1, "{complaint}");
            assert!(
                complaint.contains("--metrics-listen") && complaint.contains(words),
                "{complaint}"
            );
        }
    }
    assert!(!is_mounted(directory.path()));
    assert_eq!(server.all_requests(), 0);
}

/// Names that begin like a metric of ours, in a text.
fn metrics_in(text: &str) -> BTreeSet<String> {
    text.match_indices("interactionfs_")
        .map(|(at, _)| {
            text[at..]
                .chars()
                .take_while(|character| character.is_ascii_alphanumeric() || *character == '_')
                .collect()
        })
        .collect()
}

#[test]
fn the_dashboard_and_the_alerts_use_metrics_and_labels_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let dashboard =
        std::fs::read_to_string(root.join("assets/grafana/interactionfs.json")).unwrap();
    let parsed: serde_json::Value = serde_json::from_str(&dashboard).unwrap();
    let panels = parsed["panels"].as_array().unwrap();
    let mut places = BTreeSet::new();
    for panel in panels {
        assert!(
            panel["title"]
                .as_str()
                .is_some_and(|title| !title.is_empty())
        );
        let place = &panel["gridPos"];
        assert!(
            places.insert((place["x"].as_u64().unwrap(), place["y"].as_u64().unwrap())),
            "two panels at one place"
        );
        for target in panel["targets"].as_array().into_iter().flatten() {
            assert!(
                !metrics_in(target["expr"].as_str().unwrap()).is_empty(),
                "{panel}"
            );
        }
    }
    let alerts = std::fs::read_to_string(root.join("assets/grafana/alerts.yml")).unwrap();
    let used: BTreeSet<_> = [&dashboard, &alerts]
        .iter()
        .flat_map(|text| metrics_in(text))
        .collect();
    assert!(used.len() > 10, "{used:?}");
    for name in &used {
        assert!(
            FAMILIES.iter().any(|family| family.name == name),
            "{name} is not exported"
        );
    }
}
