//! What a listing shows, while things come and go.

use proptest::prelude::*;

use super::*;
use crate::model::Personal;

#[test]
fn an_address_is_a_filter_too_and_hides_what_it_does_not_admit() {
    let catalogue = Catalogue::in_memory().unwrap();
    let start = base();
    catalogue
        .take_in(&[
            build(1, start, "inbound", &["7", "8"], &["a"]),
            build(2, start, "outbound", &["8"], &["a"]),
            build(22, start, "internal", &[], &["a"]),
        ])
        .unwrap();
    let window = Day::of(base()).window();
    let shown = |filter: SearchFilter| {
        catalogue.attach(
            &Settings {
                filter,
                ..settings()
            },
            Clock::System,
            None,
        );
        let listing = Listing {
            window,
            agent: None,
        };
        let rows = catalogue.page(&listing, 0, 100).unwrap();
        let agents = catalogue.agents(&window).unwrap();
        let agents: Vec<_> = agents
            .iter()
            .map(|agent| agent.as_ref().map_or("none", AgentId::as_str).to_owned())
            .collect();
        (
            rows.iter().map(|row| row.guid).collect::<Vec<_>>(),
            agents.join(" "),
        )
    };
    let none = SearchFilter::default;
    assert_eq!(
        shown(none()),
        (vec![guid(1), guid(2), guid(22)], "none 7 8".to_owned())
    );
    let direction = Some(Direction::Outbound);
    assert_eq!(
        shown(SearchFilter {
            direction,
            ..none()
        }),
        (vec![guid(2)], "8".to_owned())
    );
    let direction = Some(Direction::Other("internal".into()));
    assert_eq!(
        shown(SearchFilter {
            direction,
            ..none()
        }),
        (vec![guid(22)], "none".to_owned())
    );
    let agent = Some(AgentId::new("7"));
    assert_eq!(
        shown(SearchFilter { agent, ..none() }),
        (vec![guid(1)], "7 8".to_owned())
    );
    let connect_from = Some(Personal::new("+440000002".into()));
    assert_eq!(
        shown(SearchFilter {
            connect_from,
            ..none()
        }),
        (vec![guid(22)], "none".to_owned())
    );
}

#[test]
fn names_once_given_are_kept_over_a_remount() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("catalogue.db");
    let catalogue = Catalogue::open(&path).unwrap();
    catalogue.observe(build(1, base(), "inbound", &[], &["transcript-x"]));
    catalogue.observe(build(
        1,
        base(),
        "inbound",
        &[],
        &["transcript", "transcript-x"],
    ));
    drop(catalogue);
    let catalogue = Catalogue::open(&path).unwrap();
    let known = catalogue.interaction(guid(1)).unwrap().unwrap();
    assert_eq!(known.names.name(1), Some("transcript.json"));
    assert_eq!(known.names.name(0), Some("transcript-transcript.json"));
}

#[test]
fn the_same_in_another_order_is_no_change() {
    let catalogue = Catalogue::in_memory().unwrap();
    let heard: Arc<Heard> = Arc::default();
    let listener: Arc<dyn Changes> = heard.clone();
    catalogue.attach(&settings(), Clock::System, Some(Arc::downgrade(&listener)));
    let json = |fields: &str| Interaction::from_json(&format!("{{{fields}}}")).unwrap();
    let (id, start) = (
        format!("\"guid\":\"{}\"", guid(1)),
        "\"start\":\"2026-11-22T11:00:00Z\"",
    );
    catalogue.observe(json(&format!("{id},{start}")));
    catalogue.observe(json(&format!("{start}, {id}")));
    assert_eq!(heard.take().len(), 1);
}

#[test]
fn an_interaction_with_a_hundred_thousand_items_is_kept_and_found() {
    let catalogue = Catalogue::in_memory().unwrap();
    let keys: Vec<String> = (0..100_000).map(|n| format!("attachment-{n}")).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    catalogue.observe(build(1, base(), "inbound", &[], &keys));
    let known = catalogue.interaction(guid(1)).unwrap().unwrap();
    assert_eq!(known.interaction.items.len(), 100_000);
}

#[derive(Clone, Debug)]
enum Step {
    Comes(u32),
    Changes(u32),
    Goes(u32),
    Read(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0_u32..60).prop_map(Step::Comes),
        1 => (0_u32..60).prop_map(Step::Changes),
        1 => (0_u32..60).prop_map(Step::Goes),
        2 => (1_usize..9).prop_map(Step::Read),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever happens while a directory is read, an entry that was there from its beginning to its end
    /// is shown once, and none is shown twice.
    #[test]
    fn a_listing_shows_what_stays_exactly_once(
        first in prop::collection::btree_set(0_u32..60, 0..40),
        steps in prop::collection::vec(step(), 1..60),
        by_agent in any::<bool>(),
    ) {
        let catalogue = Catalogue::in_memory().unwrap();
        let window = TimeWindow { from: base() - SignedDuration::from_hours(2), to: base() };
        let listing = Listing { window, agent: by_agent.then(|| Some(AgentId::new("7"))) };
        for number in &first {
            catalogue.observe(ago(*number, i64::from(*number) + 1));
        }
        let mut present = first.clone();
        let mut stayed = first;
        let mut shown: Vec<(u64, Guid)> = Vec::new();
        let read = |shown: &mut Vec<(u64, Guid)>, limit| {
            let after = shown.last().map_or(0, |(sequence, _)| *sequence);
            let page = catalogue.page(&listing, after, limit).unwrap();
            shown.extend(page.iter().map(|row| (row.sequence, row.guid)));
            page.len()
        };
        for step in steps {
            match step {
                Step::Comes(number) => {
                    catalogue.observe(ago(number, i64::from(number) + 1));
                    present.insert(number);
                }
                Step::Changes(number) if present.contains(&number) => {
                    let start = base() - SignedDuration::from_mins(i64::from(number) + 1);
                    catalogue.observe(build(number, start, "outbound", &["7", "9"], &["a", "b"]));
                }
                Step::Changes(_) => {}
                Step::Goes(number) => {
                    catalogue.gone(guid(number));
                    present.remove(&number);
                    stayed.remove(&number);
                }
                Step::Read(limit) => {
                    read(&mut shown, limit);
                }
            }
        }
        while read(&mut shown, 5) > 0 {}
        prop_assert!(shown.is_sorted_by(|a, b| a.0 < b.0));
        for number in stayed {
            let times = shown.iter().filter(|(_, shown)| *shown == guid(number)).count();
            prop_assert_eq!(times, 1);
        }
        let now: std::collections::BTreeSet<_> = shown.iter().map(|(_, guid)| *guid).collect();
        for number in present {
            prop_assert!(now.contains(&guid(number)), "what came meanwhile is at the end");
        }
    }
}
