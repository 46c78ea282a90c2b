use proptest::prelude::*;

use super::*;

#[test]
fn units_mean_what_they_say() {
    for (text, seconds) in [
        ("90s", 90),
        ("15m", 900),
        ("24h", 86_400),
        ("7d", 604_800),
        ("2w", 1_209_600),
    ] {
        assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
    }
    assert_eq!(size("256MiB"), Ok(256 << 20));
    assert_eq!(size("10GiB"), Ok(10 << 30));
    assert_eq!(size("1.5 GiB"), Ok(3 << 29));
    assert_eq!(size("4096"), Ok(4096));
    assert_eq!(mode("0440"), Ok(0o440));
    assert_eq!(mode("0o500"), Ok(0o500));
}

#[test]
fn nonsense_is_refused() {
    for bad in [
        "",
        "s",
        "90",
        "0s",
        "-1s",
        "1.5h",
        "1 h",
        "1y",
        "99999999999999999999w",
        "9999999999999w",
    ] {
        assert!(duration(bad).is_err(), "{bad}");
    }
    for bad in ["", "big", "-1", "MiB", "1XB", ".5GiB", "9999999999TiB"] {
        assert!(size(bad).is_err(), "{bad}");
    }
    for bad in ["", "8", "1000", "rwx", "+7", "0x7"] {
        assert!(mode(bad).is_err(), "{bad}");
    }
    for bad in ["yesterday", "7", "0d", "7s", "3661d", "99999999999h", "d"] {
        assert!(age(bad).is_err(), "{bad}");
    }
    for bad in ["", "-1", "+1", "1e3", "4294967296"] {
        assert!(number::<u32>(bad).is_err(), "{bad}");
    }
}

#[test]
fn days_are_whole_and_hours_exact() {
    assert!(matches!(age("7d"), Ok(WindowSpec::Days(7))));
    assert!(matches!(age("2w"), Ok(WindowSpec::Days(14))));
    assert!(matches!(age("24h"), Ok(WindowSpec::Last(age)) if age.as_secs() == 86_400));
    assert!(matches!(age("90m"), Ok(WindowSpec::Last(age)) if age.as_secs() == 5400));
}

#[test]
fn a_date_as_the_end_includes_that_day() {
    let from = from_time("2026-11-22").unwrap();
    assert_eq!(from.to_string(), "2026-11-22T00:00:00Z");
    let to = to_time("2026-11-22").unwrap();
    assert_eq!(to.to_string(), "2026-11-23T00:00:00Z");
    let exact = to_time("2026-11-22T10:15:00+01:00").unwrap();
    assert_eq!(exact.to_string(), "2026-11-22T09:15:00Z");
    let error = to_time("2026-11-22T10:15:00").unwrap_err();
    assert!(error.0.contains("add Z"), "{error}");
    for bad in ["yesterday", "2026-02-30", "22.11.2026", ""] {
        assert_eq!(from_time(bad), Err(TIME), "{bad}");
    }
}

#[test]
fn plain_http_goes_to_this_machine_only() {
    for good in [
        "https://emea.api.cc.vonage.com/interaction-content",
        "http://127.0.0.1:8080/interaction-content/",
        "http://localhost/x",
        "http://[::1]:1/x",
    ] {
        assert!(!endpoint(good).unwrap().as_str().ends_with('/'), "{good}");
    }
    for bad in [
        "http://emea.api.cc.vonage.com/interaction-content",
        "http://127.0.0.1.evil.example/x",
        "http://localhost.evil.example/x",
        "ftp://127.0.0.1/",
        "https://user:word@host/x",
        "https://host/x?key=1",
        "emea",
        "",
    ] {
        assert!(endpoint(bad).is_err(), "{bad}");
    }
}

#[test]
fn metrics_stay_on_this_machine_unless_an_address_says_otherwise() {
    for (text, address) in [
        ("9464", "127.0.0.1:9464"),
        ("localhost:9464", "127.0.0.1:9464"),
        ("0.0.0.0:80", "0.0.0.0:80"),
        ("[::1]:9464", "[::1]:9464"),
    ] {
        assert_eq!(
            listen_address(text).map(|address| address.to_string()),
            Ok(address.to_owned())
        );
    }
    for bad in [
        "",
        "everywhere",
        "example.org:9464",
        "70000",
        "127.0.0.1",
        ":9464",
        "-1",
        "::1",
    ] {
        assert!(listen_address(bad).is_err(), "{bad}");
    }
}

proptest! {
    #[test]
    fn durations_survive_being_written(seconds in 1_u64..3_000_000_000) {
        let written = duration_text(Duration::from_secs(seconds));
        prop_assert_eq!(duration(&written), Ok(Duration::from_secs(seconds)));
    }

    #[test]
    fn sizes_survive_being_written(bytes in 0_u64..1 << 60) {
        prop_assert_eq!(size(&size_text(bytes)), Ok(bytes));
        prop_assert_eq!(size(&size_text(bytes & !0xfffff)), Ok(bytes & !0xfffff));
    }

    #[test]
    fn no_text_makes_a_parser_panic(text in ".{0,24}") {
        let _ = (duration(&text), size(&text), mode(&text), age(&text), listen_address(&text));
        let _ = (from_time(&text), to_time(&text), endpoint(&text));
    }

    #[test]
    fn ages_keep_their_number(number in 1_u32..522) {
        let days = matches!(age(&format!("{number}d")), Ok(WindowSpec::Days(n)) if n == number);
        let weeks = matches!(age(&format!("{number}w")), Ok(WindowSpec::Days(n)) if n == number * 7);
        let hours = matches!(age(&format!("{number}h")), Ok(WindowSpec::Last(age)) if age.as_secs() == u64::from(number) * 3600);
        prop_assert!(days && weeks && hours);
    }
}
