//! What the account holds: a generated corpus, and over it whatever was added, changed or removed since.
//!
//! Tests change it while the emulator runs: an item that arrives late, a recording that is replaced, an
//! interaction that is deleted between a listing and a read.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::{Bound, Range};
use std::sync::{PoisonError, RwLock};

use jiff::Timestamp;
use uuid::Uuid;

use super::corpus::GeneratedCorpus;
use super::record::{Interaction, Item};
use super::switches::Order;

/// An interaction's place in a search's order.
pub(super) type Position = (Timestamp, Uuid);

/// What is searched for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Query {
    pub(super) start: Timestamp,
    pub(super) end: Timestamp,
    pub(super) end_inclusive: bool,
    pub(super) agent: Option<String>,
    pub(super) connect_from: Option<String>,
    pub(super) connect_to: Option<String>,
    pub(super) direction: Option<String>,
}

/// The interactions of the account. All methods may be called while it is served.
#[derive(Debug, Default)]
pub struct Account {
    state: RwLock<State>,
}

#[derive(Debug, Default)]
struct State {
    generated: Option<GeneratedCorpus>,
    /// Generated interactions that are gone or kept in `stored` instead.
    hidden: HashSet<Uuid>,
    stored: BTreeMap<Position, Interaction>,
    places: HashMap<Uuid, Timestamp>,
}

/// A search's candidate: generated ones are made only if they are wanted.
enum Candidate<'a> {
    Generated(u64),
    Stored(&'a Interaction),
}

impl Account {
    pub(super) fn new(generated: Option<GeneratedCorpus>, stored: Vec<Interaction>) -> Self {
        let account = Self {
            state: RwLock::new(State {
                generated,
                ..State::default()
            }),
        };
        for interaction in stored {
            account.put(interaction);
        }
        account
    }

    /// Adds an interaction, or replaces the one with its GUID.
    pub fn put(&self, interaction: Interaction) {
        self.write(|state| {
            state.take(interaction.guid);
            state.store(interaction);
        });
    }

    /// The interaction with this GUID, also one without content, which the API does not show.
    pub fn get(&self, guid: Uuid) -> Option<Interaction> {
        self.read(|state| state.get(guid))
    }

    /// Removes an interaction; `false` if there is none.
    pub fn remove(&self, guid: Uuid) -> bool {
        self.write(|state| state.take(guid).is_some())
    }

    /// Changes an interaction in place; `false` if there is none. Its GUID must stay.
    pub fn update(&self, guid: Uuid, change: impl FnOnce(&mut Interaction)) -> bool {
        self.write(|state| {
            let Some(mut interaction) = state.take(guid) else {
                return false;
            };
            change(&mut interaction);
            state.store(interaction);
            true
        })
    }

    /// Adds an item to an interaction, or replaces the one with its key; `false` if there is no such
    /// interaction.
    pub fn put_item(&self, guid: Uuid, item: Item) -> bool {
        self.update(guid, |interaction| {
            match interaction.content.iter_mut().find(|i| i.key == item.key) {
                Some(known) => *known = item,
                None => interaction.content.push(item),
            }
        })
    }

    /// Removes an item; `false` if there is no such interaction.
    pub fn remove_item(&self, guid: Uuid, key: &str) -> bool {
        self.update(guid, |interaction| {
            interaction.content.retain(|item| item.key != key);
        })
    }

    /// How many interactions there are.
    pub fn count(&self) -> u64 {
        self.read(|state| {
            let generated = state.generated.as_ref();
            generated.map_or(0, GeneratedCorpus::interactions) - state.hidden.len() as u64
                + state.stored.len() as u64
        })
    }

    /// The generated corpus, as it was before any change.
    pub fn generated(&self) -> Option<GeneratedCorpus> {
        self.read(|state| state.generated.clone())
    }

    /// The GUIDs of all interactions with content, by start. Not for corpora of millions.
    pub fn guids(&self) -> Vec<Uuid> {
        let everything = Query {
            start: Timestamp::MIN,
            end: Timestamp::MAX,
            end_inclusive: true,
            agent: None,
            connect_from: None,
            connect_to: None,
            direction: None,
        };
        let (found, _) = self.page(&everything, None, Order::Ascending, usize::MAX);
        found.iter().map(|interaction| interaction.guid).collect()
    }

    /// The bytes that the API should serve for a range of an item, cut at its end: what tests compare
    /// with. `None` if there is no such item.
    pub fn expected(&self, guid: Uuid, key: &str, range: Range<u64>) -> Option<Vec<u8>> {
        let interaction = self.get(guid)?;
        Some(interaction.item(key)?.body.open().read(range))
    }

    /// Up to `limit` interactions that follow `after`, and whether there are more behind them.
    pub(super) fn page(
        &self,
        query: &Query,
        after: Option<Position>,
        order: Order,
        limit: usize,
    ) -> (Vec<Interaction>, bool) {
        self.read(|state| {
            let one_more = limit.saturating_add(1);
            let mut found: Vec<Candidate<'_>> = match order {
                Order::Shuffled => state.shuffled(query, after, one_more),
                _ => state.merged(query, after, order).take(one_more).collect(),
            };
            let more = found.len() > limit;
            found.truncate(limit);
            let page = found.iter().map(|found| state.make(found)).collect();
            (page, more)
        })
    }

    fn read<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.write().unwrap_or_else(PoisonError::into_inner))
    }
}

impl State {
    fn get(&self, guid: Uuid) -> Option<Interaction> {
        if let Some(start) = self.places.get(&guid) {
            return self.stored.get(&(*start, guid)).cloned();
        }
        let generated = self.generated.as_ref()?;
        let number = generated.number(guid)?;
        (!self.hidden.contains(&guid)).then(|| generated.interaction(number))
    }

    fn take(&mut self, guid: Uuid) -> Option<Interaction> {
        let taken = self.get(guid);
        if let Some(start) = self.places.remove(&guid) {
            self.stored.remove(&(start, guid));
        } else if taken.is_some() {
            self.hidden.insert(guid);
        }
        taken
    }

    fn store(&mut self, interaction: Interaction) {
        self.places.insert(interaction.guid, interaction.start);
        self.stored
            .insert((interaction.start, interaction.guid), interaction);
    }

    /// All that match and follow `after`, in order of start and GUID, or the other way round.
    fn merged<'a>(
        &'a self,
        query: &'a Query,
        after: Option<Position>,
        order: Order,
    ) -> Box<dyn Iterator<Item = Candidate<'a>> + 'a> {
        let descending = order == Order::Descending;
        let numbers = self.numbers(query, after, descending);
        let window = stored_window(query, after, descending);
        let stored = self
            .stored
            .range(window)
            .filter(|(_, interaction)| query.matches(interaction))
            .map(|(position, interaction)| (*position, Candidate::Stored(interaction)));
        let generated = numbers
            .filter(|number| self.generated_matches(*number, query))
            .filter_map(|number| {
                let corpus = self.generated.as_ref()?;
                let position = (corpus.start(number), corpus.guid(number));
                Some((position, Candidate::Generated(number)))
            });
        if descending {
            Box::new(merge(stored.rev(), generated.rev(), |a, b| a > b))
        } else {
            Box::new(merge(stored, generated, |a, b| a < b))
        }
    }

    /// By a hash of the GUID: all that match are looked at for every page, so not for millions.
    fn shuffled<'a>(
        &'a self,
        query: &'a Query,
        after: Option<Position>,
        limit: usize,
    ) -> Vec<Candidate<'a>> {
        let place = |guid: Uuid| (xxhash_rust::xxh3::xxh3_64(guid.as_bytes()), guid);
        let after = after.map(|(_, guid)| place(guid));
        let mut found: Vec<_> = self
            .merged(query, None, Order::Ascending)
            .map(|candidate| (place(self.guid(&candidate)), candidate))
            .filter(|(place, _)| after.is_none_or(|after| *place > after))
            .collect();
        found.sort_unstable_by_key(|(place, _)| *place);
        found.truncate(limit);
        found.into_iter().map(|(_, candidate)| candidate).collect()
    }

    /// The numbers of generated interactions that lie in the window and follow `after`.
    fn numbers(&self, query: &Query, after: Option<Position>, descending: bool) -> Range<u64> {
        let Some(corpus) = &self.generated else {
            return 0..0;
        };
        let mut low = corpus.first_where(|number| corpus.start(number) >= query.start);
        let mut high = corpus.first_where(|number| !query.is_before_end(corpus.start(number)));
        let position = |number| (corpus.start(number), corpus.guid(number));
        match after {
            Some(after) if descending => {
                high = high.min(corpus.first_where(|number| position(number) >= after));
            }
            Some(after) => low = low.max(corpus.first_where(|number| position(number) > after)),
            None => {}
        }
        low..high.max(low)
    }

    fn generated_matches(&self, number: u64, query: &Query) -> bool {
        let Some(corpus) = &self.generated else {
            return false;
        };
        let wants =
            |wanted: &Option<String>, has: &dyn Fn(&str) -> bool| wanted.as_deref().is_none_or(has);
        wants(&query.direction, &|wanted| {
            corpus.direction(number) == wanted
        }) && wants(&query.agent, &|wanted| {
            corpus
                .agents(number)
                .any(|agent| agent.to_string() == wanted)
        }) && wants(&query.connect_from, &|wanted| {
            corpus.connect_from(number).starts_with(wanted)
        }) && wants(&query.connect_to, &|wanted| {
            let made = corpus.interaction(number);
            made.connect_to.is_some_and(|to| to.starts_with(wanted))
        }) && (self.hidden.is_empty() || !self.hidden.contains(&corpus.guid(number)))
            && corpus.has_content(number)
    }

    fn guid(&self, candidate: &Candidate<'_>) -> Uuid {
        match candidate {
            Candidate::Stored(interaction) => interaction.guid,
            Candidate::Generated(number) => {
                let corpus = self.generated.as_ref();
                corpus.map_or(Uuid::nil(), |corpus| corpus.guid(*number))
            }
        }
    }

    fn make(&self, candidate: &Candidate<'_>) -> Interaction {
        match (candidate, &self.generated) {
            (Candidate::Generated(number), Some(corpus)) => corpus.interaction(*number),
            (Candidate::Generated(_), None) => Interaction::new(Uuid::nil(), Timestamp::MIN),
            (Candidate::Stored(interaction), _) => (*interaction).clone(),
        }
    }
}

impl Query {
    fn is_before_end(&self, start: Timestamp) -> bool {
        start < self.end || (self.end_inclusive && start == self.end)
    }

    fn matches(&self, interaction: &Interaction) -> bool {
        let begins = |wanted: &Option<String>, has: &Option<String>| match (wanted, has) {
            (None, _) => true,
            (Some(wanted), Some(has)) => has.starts_with(wanted.as_str()),
            (Some(_), None) => false,
        };
        !interaction.content.is_empty()
            && interaction.start >= self.start
            && self.is_before_end(interaction.start)
            && begins(&self.connect_from, &interaction.connect_from)
            && begins(&self.connect_to, &interaction.connect_to)
            && (self.direction.as_ref()).is_none_or(|wanted| *wanted == interaction.direction)
            && (self.agent.as_ref()).is_none_or(|id| interaction.handling_agents.contains(id))
    }
}

fn stored_window(
    query: &Query,
    after: Option<Position>,
    descending: bool,
) -> (Bound<Position>, Bound<Position>) {
    let low = Bound::Included((query.start, Uuid::nil()));
    let high = Bound::Included((query.end, Uuid::max()));
    match after {
        // A range must not be reversed, also where the query was changed since.
        Some(after) if after < (query.start, Uuid::nil()) || after > (query.end, Uuid::max()) => {
            (low, high)
        }
        Some(after) if descending => (low, Bound::Excluded(after)),
        Some(after) => (Bound::Excluded(after), high),
        None => (low, high),
    }
}

/// Merges two sorted sequences.
fn merge<'a>(
    left: impl Iterator<Item = (Position, Candidate<'a>)> + 'a,
    right: impl Iterator<Item = (Position, Candidate<'a>)> + 'a,
    is_first: impl Fn(&Position, &Position) -> bool + 'a,
) -> impl Iterator<Item = Candidate<'a>> + 'a {
    let mut left = left.peekable();
    let mut right = right.peekable();
    std::iter::from_fn(move || {
        let take_left = match (left.peek(), right.peek()) {
            (Some((a, _)), Some((b, _))) => is_first(a, b),
            (left, _) => left.is_some(),
        };
        let next = if take_left { left.next() } else { right.next() };
        next.map(|(_, candidate)| candidate)
    })
}

#[cfg(test)]
mod tests {
    use super::super::corpus::GeneratedSpec;
    use super::*;

    fn account(interactions: u64) -> Account {
        let now = "2026-11-22T12:00:00Z".parse().unwrap();
        let spec = GeneratedSpec {
            interactions,
            ..GeneratedSpec::default()
        };
        Account::new(Some(GeneratedCorpus::new(spec, now)), Vec::new())
    }

    fn query() -> Query {
        Query {
            start: "2026-11-15T12:00:00Z".parse().unwrap(),
            end: "2026-11-22T12:00:00Z".parse().unwrap(),
            end_inclusive: true,
            agent: None,
            connect_from: None,
            connect_to: None,
            direction: None,
        }
    }

    fn walk(account: &Account, query: &Query, order: Order, limit: usize) -> Vec<Uuid> {
        let mut found = Vec::new();
        let mut after = None;
        loop {
            let (page, more) = account.page(query, after, order, limit);
            assert!(page.len() == limit || !more);
            found.extend(page.iter().map(|interaction| interaction.guid));
            after = page.last().map(|last| (last.start, last.guid));
            if !more {
                return found;
            }
        }
    }

    #[test]
    fn every_order_meets_everything_once_with_changes_in_between() {
        let account = account(500);
        let corpus = account.generated().unwrap();
        assert!(account.remove(corpus.guid(17)));
        assert!(account.update(corpus.guid(18), |i| i.direction = "sideways".to_owned()));
        let added = Interaction::new(Uuid::from_u128(9), corpus.start(100)).with(Item::new(
            "a",
            "attachment",
            "text/plain",
            corpus.start(100),
            "a",
        ));
        account.put(added);
        account.put(Interaction::new(Uuid::from_u128(10), corpus.start(100)));
        let ascending = walk(&account, &query(), Order::Ascending, 7);
        assert_eq!(
            ascending.len(),
            500,
            "without content, an interaction is not shown"
        );
        assert_eq!(account.count(), 501);
        assert!(ascending.contains(&Uuid::from_u128(9)));
        assert!(ascending.contains(&corpus.guid(18)));
        assert!(!ascending.contains(&corpus.guid(17)));
        let mut descending = walk(&account, &query(), Order::Descending, 9);
        descending.reverse();
        assert_eq!(ascending, descending);
        let mut shuffled = walk(&account, &query(), Order::Shuffled, 11);
        assert_ne!(shuffled, ascending);
        let mut sorted = ascending.clone();
        sorted.sort_unstable();
        shuffled.sort_unstable();
        assert_eq!(sorted, shuffled);
    }

    #[test]
    fn filters_find_what_a_look_at_each_finds() {
        let account = account(300);
        let corpus = account.generated().unwrap();
        let all: Vec<_> = (0..300).map(|number| corpus.interaction(number)).collect();
        let agent = all.iter().find_map(|i| i.handling_agents.first()).unwrap();
        let filtered = Query {
            agent: Some(agent.clone()),
            direction: Some("inbound".to_owned()),
            connect_from: Some("+44207".to_owned()),
            ..query()
        };
        let expected: Vec<_> = all
            .iter()
            .filter(|i| i.handling_agents.contains(agent) && i.direction == "inbound")
            .map(|i| i.guid)
            .collect();
        assert!(!expected.is_empty());
        assert_eq!(walk(&account, &filtered, Order::Ascending, 2), expected);
        let none = Query {
            connect_to: Some("+1".to_owned()),
            ..query()
        };
        assert!(walk(&account, &none, Order::Ascending, 10).is_empty());
    }

    #[test]
    fn the_end_of_a_window_is_in_it_only_if_inclusive() {
        let account = account(10);
        let last = account.generated().unwrap().start(9);
        let count = |end_inclusive| {
            let query = Query {
                end: last,
                end_inclusive,
                ..query()
            };
            walk(&account, &query, Order::Ascending, 100).len()
        };
        assert_eq!((count(true), count(false)), (10, 9));
    }
}
