//! `GET /interactions`: what a search may ask, and its pages.

use jiff::{SignedDuration, Timestamp};

use super::account::{Account, Query};
use super::continuation::{Continuation, Seal};
use super::errors;
use super::http::{Answer, parse_form};
use super::switches::{LastPage, Paging, Switches};

/// The longest window.
const LONGEST_WINDOW: SignedDuration = SignedDuration::from_hours(7 * 24);

/// The largest page.
const LARGEST_PAGE: usize = 1000;

/// All parameters that a search may have.
const PARAMETERS: [&str; 8] = [
    "start",
    "end",
    "handlingAgentId",
    "connectFrom",
    "connectTo",
    "direction",
    "limit",
    "continuationToken",
];

/// A search, read from its query string.
struct Search {
    query: Query,
    limit: usize,
    continuation: Option<String>,
}

/// Answers a search. `token` is the access token; a continuation may be bound to it.
pub(super) fn answer(
    query_string: &str,
    token: &str,
    account: &Account,
    switches: &Switches,
    secret: u64,
) -> Answer {
    let search = match Search::parse(query_string, switches) {
        Ok(search) => search,
        Err(complaint) => return errors::message(400, &complaint),
    };
    let token = switches.continuation_bound_to_token.then_some(token);
    let seal = Seal::new(secret, &search.query, token);
    let place = match &search.continuation {
        None => Continuation::default(),
        Some(text) => match seal.open(text) {
            Some(place) => place,
            None => return errors::message(400, "Invalid continuationToken"),
        },
    };
    page(&search, place, &seal, account, switches)
}

fn page(
    search: &Search,
    place: Continuation,
    seal: &Seal,
    account: &Account,
    switches: &Switches,
) -> Answer {
    let next_place = |after| Continuation {
        after,
        phase: place.phase.wrapping_add(1),
    };
    let limit = match switches.paging {
        Paging::Short => 1 + search.limit * (place.phase as usize * 7 % 10) / 11,
        _ => search.limit,
    };
    let (mut items, more) = account.page(&search.query, place.after, switches.order, limit);
    let last = items.last().map(|last| (last.start, last.guid));
    let mut next = more.then(|| next_place(last));
    match switches.paging {
        Paging::EmptyBetween if place.phase.is_multiple_of(2) => {
            items.clear();
            next = Some(next_place(place.after));
        }
        Paging::EmptyLast => next = last.map(|last| next_place(Some(last))),
        Paging::Overlapping => {
            let before = place.after.and_then(|(_, guid)| account.get(guid));
            items.splice(0..0, before);
        }
        Paging::Repeated if place.phase.is_multiple_of(2) => next = Some(next_place(place.after)),
        Paging::SameTokenForEver => next = Some(place),
        Paging::NeverEnding => next = next.or(Some(next_place(last.or(place.after)))),
        Paging::Plain | Paging::Short | Paging::EmptyBetween | Paging::Repeated => {}
    }
    if items.is_empty() && next.is_none() && switches.empty_search_is_204 {
        return Answer::empty(204);
    }
    let mut body = Vec::with_capacity(items.len() * 800 + 64);
    body.extend_from_slice(b"{\"items\":[");
    for (place, interaction) in items.iter().enumerate() {
        if place > 0 {
            body.push(b',');
        }
        interaction.write_json(switches, &mut body);
    }
    let end = match (next, switches.last_page) {
        // Base64 needs no escape in JSON.
        (Some(next), _) => format!(
            "],\"meta\":{{\"nextContinuationToken\":\"{}\"}}}}",
            seal.close(next)
        ),
        (None, LastPage::Null) => "],\"meta\":{\"nextContinuationToken\":null}}".to_owned(),
        (None, LastPage::Absent) => "],\"meta\":{}}".to_owned(),
        (None, LastPage::EmptyString) => "],\"meta\":{\"nextContinuationToken\":\"\"}}".to_owned(),
        (None, LastPage::NoMeta) => "]}".to_owned(),
    };
    body.extend_from_slice(end.as_bytes());
    errors::json(200, body)
}

impl Search {
    fn parse(query_string: &str, switches: &Switches) -> Result<Self, String> {
        let fields = parse_form(query_string).ok_or("The query string is not valid")?;
        for (place, (name, _)) in fields.iter().enumerate() {
            if name == "page" {
                return Err("'page' is not supported by this version".to_owned());
            }
            if switches.refuse_unknown_parameters && !PARAMETERS.contains(&name.as_str()) {
                return Err("A query parameter is not known".to_owned());
            }
            if fields[..place].iter().any(|(earlier, _)| earlier == name) {
                return Err(format!("'{name}' is given more than once"));
            }
        }
        let field = |name: &str| {
            let found = fields.iter().find(|(known, _)| known == name);
            found.map(|(_, value)| value.clone())
        };
        let query = Query {
            start: time("start", field("start"))?,
            end: time("end", field("end"))?,
            end_inclusive: switches.end_inclusive,
            agent: agent(field("handlingAgentId"))?,
            connect_from: address("connectFrom", field("connectFrom"))?,
            connect_to: address("connectTo", field("connectTo"))?,
            direction: direction(field("direction"))?,
        };
        window(&query, switches)?;
        Ok(Self {
            query,
            limit: limit(field("limit"), switches)?,
            continuation: field("continuationToken"),
        })
    }
}

/// Date, time and zone are demanded: that is what all known clients send.
fn time(name: &str, value: Option<String>) -> Result<Timestamp, String> {
    let value = value.ok_or_else(|| format!("'{name}' is required"))?;
    let is_iso = value.as_bytes().get(10) == Some(&b'T') && !value.contains('[');
    value
        .parse()
        .ok()
        .filter(|_| is_iso)
        .ok_or_else(|| format!("'{name}' is not a valid ISO 8601 date"))
}

fn window(query: &Query, switches: &Switches) -> Result<(), String> {
    let length = query.end.duration_since(query.start);
    if length <= SignedDuration::ZERO {
        return Err("'end' must be after 'start'".to_owned());
    }
    let is_too_long =
        length > LONGEST_WINDOW || (switches.refuse_exactly_seven_days && length == LONGEST_WINDOW);
    if is_too_long {
        return Err("The maximum date range is 7 days".to_owned());
    }
    let latest = Timestamp::now().checked_add(SignedDuration::from_mins(5));
    if switches.refuse_future_end && latest.is_ok_and(|latest| query.end > latest) {
        return Err("'end' is in the future".to_owned());
    }
    Ok(())
}

fn agent(value: Option<String>) -> Result<Option<String>, String> {
    match value {
        Some(id) if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_digit()) => {
            Err("'handlingAgentId' must be a number".to_owned())
        }
        value => Ok(value),
    }
}

fn address(name: &str, value: Option<String>) -> Result<Option<String>, String> {
    match value {
        Some(text) if !(1..=50).contains(&text.chars().count()) => {
            Err(format!("'{name}' must be 1 to 50 characters in length"))
        }
        value => Ok(value),
    }
}

fn direction(value: Option<String>) -> Result<Option<String>, String> {
    match value.as_deref() {
        None | Some("inbound" | "outbound") => Ok(value),
        Some(_) => Err("'direction' must be 'inbound' or 'outbound'".to_owned()),
    }
}

fn limit(value: Option<String>, switches: &Switches) -> Result<usize, String> {
    let Some(value) = value else {
        return Ok(switches.default_limit.clamp(1, LARGEST_PAGE));
    };
    value
        .parse()
        .ok()
        .filter(|limit| (1..=LARGEST_PAGE).contains(limit))
        .ok_or_else(|| format!("'limit' must be between 1 and {LARGEST_PAGE}"))
}
