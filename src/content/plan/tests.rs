use proptest::prelude::*;

use super::*;

fn conditions(idle: bool) -> Conditions {
    Conditions {
        budget_left: 100,
        budget_is_idle: idle,
        latency: Duration::from_millis(30),
    }
}

struct World {
    size: u64,
    present: Blocks,
    flights: Vec<FlightView>,
    history: History,
    bounded: u64,
    backward: u64,
    rate: Option<u64>,
    idle: bool,
    capacity: u64,
    disk: bool,
}

impl World {
    fn new(size: u64) -> Self {
        Self {
            size,
            present: Blocks::default(),
            flights: Vec::new(),
            history: History::default(),
            bounded: 0,
            backward: 0,
            rate: None,
            idle: true,
            capacity: 128 * MIB,
            disk: true,
        }
    }

    fn situation(&self, start: u64, end: u64) -> Situation<'_> {
        Situation {
            size: self.size,
            want: ByteRange::new(start, end).unwrap(),
            present: &self.present,
            flights: &self.flights,
            history: self.history,
            bounded_fetches: self.bounded,
            backward_seeks: self.backward,
            rate: self.rate,
            conditions: conditions(self.idle),
            capacity: self.capacity,
            keeps: self.capacity,
            keeps_everything: self.disk,
        }
    }

    /// Reads as a program would, with every fetch delivered at once; counts requests and bytes.
    fn read(&mut self, start: u64, length: u64, tally: &mut (u64, u64)) {
        let range = ByteRange::of_read(start, length, self.size).unwrap();
        self.backward += u64::from(self.history.note(range));
        while let Some(missing) =
            block::blocks_of(range).find(|&index| !self.present.contains(index))
        {
            let from = block::start_of(missing);
            let fetches = match plan(&self.situation(from, range.end())) {
                Plan::Fetch(fetches) => fetches,
                other => panic!("nothing is in flight: {other:?}"),
            };
            self.deliver(&fetches, tally);
        }
        if let Some(fetch) =
            plan_ahead(&self.situation(block::start_of(block::index_of(start)), range.end()))
        {
            self.deliver(&[fetch], tally);
        }
    }

    fn deliver(&mut self, fetches: &[Fetch], tally: &mut (u64, u64)) {
        for fetch in fetches {
            tally.0 += 1;
            tally.1 += fetch.end - fetch.start;
            self.bounded += u64::from(fetch.kind == Kind::Bounded);
            let blocks = block::index_of(fetch.start)..fetch.end.div_ceil(BLOCK);
            for index in blocks.clone() {
                assert!(
                    !self.present.contains(index),
                    "block {index} is fetched twice"
                );
            }
            self.present.insert(blocks);
        }
    }
}

#[test]
fn a_stream_ahead_begins_where_reads_out_of_order_left_a_hole() {
    let mut world = World::new(40 * MIB);
    world.present.insert(0..12);
    for block in (0..12).chain([13]) {
        let start = block * BLOCK;
        world
            .history
            .note(ByteRange::new(start, start + BLOCK).unwrap());
    }
    let ahead = plan_ahead(&world.situation(11 * BLOCK, 12 * BLOCK)).unwrap();
    assert_eq!((ahead.start, ahead.kind), (12 * BLOCK, Kind::Stream));
}

#[test]
fn readahead_beyond_a_stream_waits_for_it_and_a_skip_does_not() {
    let mut world = World::new(40 * MIB);
    world.rate = Some(10 * MIB);
    for block in (0..18).chain([20, 22, 25]) {
        let start = block * BLOCK;
        world
            .history
            .note(ByteRange::new(start, start + BLOCK).unwrap());
    }
    world.flights.push(FlightView {
        number: 1,
        kind: Kind::Stream,
        begin: 12 * BLOCK,
        position: 12 * BLOCK,
        end: 40 * MIB,
        is_sent: true,
    });
    let plan_for =
        |world: &World, block: u64| plan(&world.situation(block * BLOCK, (block + 1) * BLOCK));
    assert_eq!(plan_for(&world, 29), Plan::Wait);
    assert!(
        matches!(plan_for(&world, 12 + 50), Plan::Fetch(_)),
        "6 MiB are worth a request"
    );
    world.history = History::default();
    world
        .history
        .note(ByteRange::new(29 * BLOCK, 30 * BLOCK).unwrap());
    assert!(
        matches!(plan_for(&world, 29), Plan::Fetch(_)),
        "another reader has another place"
    );
}

#[test]
fn small_files_are_fetched_whole_wherever_they_are_touched() {
    let world = World::new(4 * MIB);
    let plan = plan(&world.situation(2 * MIB, 2 * MIB + 4096));
    let whole = Fetch {
        start: 0,
        end: 4 * MIB,
        kind: Kind::Bounded,
    };
    assert_eq!(plan, Plan::Fetch(vec![whole]));
}

#[test]
fn the_first_touch_of_a_large_file_is_one_bounded_range() {
    let world = World::new(100 * MIB);
    let touch = Fetch {
        start: 0,
        end: BOUNDED,
        kind: Kind::Bounded,
    };
    assert_eq!(plan(&world.situation(0, 4096)), Plan::Fetch(vec![touch]));
}

#[test]
fn a_gigabyte_front_to_end_takes_two_requests() {
    let mut world = World::new(1 << 30);
    let mut tally = (0, 0);
    for index in 0..8192 {
        world.read(index * BLOCK, BLOCK, &mut tally);
    }
    assert_eq!(tally, (2, 1 << 30));
}

#[test]
fn far_seeks_cost_a_request_each_and_few_bytes() {
    // W3: a header and five seeks, forwards.
    let mut world = World::new(100 * MIB);
    let mut tally = (0, 0);
    world.read(0, 4096, &mut tally);
    for percent in [10, 30, 50, 70, 90] {
        world.read(MIB * percent, 256 << 10, &mut tally);
    }
    assert_eq!(tally.0, 6);
    assert!(tally.1 <= 8 * (4096 + 5 * (256 << 10)), "{}", tally.1);
}

#[test]
fn seeks_with_a_megabyte_read_at_each_never_cost_two_requests() {
    for count in 1..40_u64 {
        let mut world = World::new(1 << 30);
        let mut tally = (0, 0);
        for index in 0..count {
            let at = (index * 7919 % 1000) * MIB + 777;
            for piece in 0..8 {
                world.read(at + piece * BLOCK, BLOCK, &mut tally);
            }
        }
        assert!(tally.0 <= count + 1, "{count} seeks cost {}", tally.0);
    }
}

#[test]
fn random_reads_soon_stream_the_rest() {
    // W6, with many seeds: at most twelve requests, no byte twice (deliver asserts it).
    for seed in 0..200_u64 {
        let mut world = World::new(100 * MIB);
        let mut tally = (0, 0);
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) + 1;
        for _ in 0..200 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            world.read(state % (100 * MIB - 65536), 65536, &mut tally);
        }
        assert!(tally.0 <= 12, "seed {seed}: {} requests", tally.0);
        assert!(tally.1 <= 100 * MIB);
    }
}

#[test]
fn random_reads_over_slow_connections_go_parallel() {
    for seed in 0..200_u64 {
        let mut world = World::new(100 * MIB);
        world.rate = Some(10_000_000);
        let mut tally = (0, 0);
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) + 1;
        for _ in 0..200 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            world.read(state % (100 * MIB - 65536), 65536, &mut tally);
        }
        assert!(tally.0 <= 16, "seed {seed}: {} requests", tally.0);
        assert!(tally.1 <= 100 * MIB);
    }
}

#[test]
fn a_stream_about_to_arrive_is_waited_for_and_a_far_one_is_not() {
    let mut world = World::new(1 << 30);
    world.flights.push(FlightView {
        number: 1,
        kind: Kind::Stream,
        begin: 0,
        position: 10 * MIB,
        end: 1 << 30,
        is_sent: true,
    });
    assert_eq!(plan(&world.situation(12 * MIB, 13 * MIB)), Plan::Wait);
    let far = plan(&world.situation(500 * MIB, 500 * MIB + 4096));
    assert!(
        matches!(&far, Plan::Fetch(fetches) if fetches.len() == 1
            && fetches[0].start == 500 * MIB && fetches[0].kind == Kind::Bounded),
        "{far:?}"
    );
}

#[test]
fn a_rest_is_waited_for_unless_that_takes_seconds() {
    let mut world = World::new(1 << 30);
    world.flights.push(FlightView {
        number: 1,
        kind: Kind::Rest,
        begin: 0,
        position: 10 * MIB,
        end: 1 << 30,
        is_sent: true,
    });
    world.rate = Some(100 * MIB);
    assert_eq!(plan(&world.situation(200 * MIB, 201 * MIB)), Plan::Wait);
    let far = plan(&world.situation(900 * MIB, 901 * MIB));
    assert!(
        matches!(&far, Plan::Fetch(fetches) if fetches[0].start == 900 * MIB),
        "{far:?}"
    );
}

#[test]
fn a_burst_makes_a_range_grow_that_is_not_sent_yet() {
    let mut world = World::new(1 << 30);
    world.flights.push(FlightView {
        number: 7,
        kind: Kind::Bounded,
        begin: 100 * MIB,
        position: 100 * MIB,
        end: 100 * MIB + BOUNDED,
        is_sent: false,
    });
    let last = world.situation(101 * MIB - BLOCK, 101 * MIB);
    let end = 101 * MIB + BEHIND_LARGE_DEMAND;
    assert_eq!(
        plan(&last),
        Plan::Extend {
            number: 7,
            begin: 100 * MIB,
            end
        }
    );
    let earlier = Plan::Extend {
        number: 7,
        begin: 100 * MIB - 5 * BLOCK,
        end: 100 * MIB + BOUNDED,
    };
    let first = 100 * MIB - 5 * BLOCK;
    assert_eq!(plan(&world.situation(first, first + BLOCK)), earlier);
    world.flights[0].is_sent = true;
    assert_eq!(
        plan(&world.situation(101 * MIB - BLOCK, 101 * MIB)),
        Plan::Wait
    );
}

#[test]
fn what_memory_alone_can_not_hold_is_not_streamed_as_a_rest() {
    let mut world = World::new(1 << 30);
    world.disk = false;
    world.capacity = 8 * MIB;
    world.bounded = 1000;
    let plan = plan(&world.situation(500 * MIB, 500 * MIB + 4096));
    assert!(
        matches!(&plan, Plan::Fetch(fetches) if fetches[0].kind == Kind::Bounded),
        "{plan:?}"
    );
}

#[test]
fn streams_split_only_when_slow_long_and_idle() {
    let slow = 50_000_000;
    let parts = split(10 * MIB, 100 * MIB, slow, &conditions(true), u64::MAX);
    assert_eq!(parts.len(), 3);
    assert_eq!(parts.last().unwrap().end, 100 * MIB);
    assert!(parts.windows(2).all(|pair| pair[0].end == pair[1].start));
    assert!(split(10 * MIB, 100 * MIB, slow, &conditions(false), u64::MAX).is_empty());
    assert!(
        split(
            10 * MIB,
            100 * MIB,
            2_000_000_000,
            &conditions(true),
            u64::MAX
        )
        .is_empty()
    );
    assert!(split(90 * MIB, 100 * MIB, slow, &conditions(true), u64::MAX).is_empty());
    assert!(split(10 * MIB, 100 * MIB, slow, &conditions(true), 64 * MIB).is_empty());
}

proptest! {
    #[test]
    fn every_plan_brings_the_wanted_block_and_nothing_that_is_held(
        blocks in 1u64..2000,
        tail in 1u64..=BLOCK,
        held in prop::collection::vec((0u64..2000, 1u64..100), 0..12),
        wanted in any::<prop::sample::Index>(),
        length in 1u64..(2 * MIB),
        bounded in 0u64..20,
        rate in prop::option::of(1_000_000u64..2_000_000_000),
        idle in any::<bool>(),
        disk in any::<bool>(),
        capacity in 0u64..(256 * MIB),
    ) {
        let size = (blocks - 1) * BLOCK + tail;
        let mut world = World::new(size);
        for (start, count) in held {
            world.present.insert(start.min(blocks)..(start + count).min(blocks));
        }
        let index = wanted.index(blocks as usize) as u64;
        prop_assume!(!world.present.contains(index));
        world.bounded = bounded;
        world.rate = rate;
        world.idle = idle;
        world.disk = disk;
        world.capacity = capacity;
        let start = block::start_of(index);
        let Plan::Fetch(fetches) = plan(&world.situation(start, (start + length).min(size))) else {
            panic!("nothing is in flight");
        };
        prop_assert!(fetches.iter().any(|fetch| fetch.start <= start && start < fetch.end));
        let mut asked = Blocks::default();
        for fetch in &fetches {
            prop_assert!(fetch.start % BLOCK == 0 && fetch.start < fetch.end && fetch.end <= size);
            prop_assert!(fetch.end % BLOCK == 0 || fetch.end == size);
            for index in block::index_of(fetch.start)..fetch.end.div_ceil(BLOCK) {
                prop_assert!(!world.present.contains(index) && !asked.contains(index));
                asked.insert(index..index + 1);
            }
        }
    }
}
