//! Cards that keep what they grant, and cards that do not.

use std::cell::Cell;
use std::rc::Rc;

use super::*;

const MS: i64 = 1_000_000;
const BOTH: [Direction; 2] = [Direction::Receive, Direction::Transmit];

/// The world of a card: the oscillator, and what the card's clock shows then.
#[derive(Clone, Debug)]
struct FakeClock {
    raw: Rc<Cell<i64>>,
    shows: fn(i64) -> i64,
    fails: Rc<Cell<bool>>,
    width: Rc<Cell<i64>>,
}

impl CardClock for FakeClock {
    fn read(&mut self) -> io::Result<ClockPair> {
        if self.fails.get() {
            return Err(io::ErrorKind::NotFound.into());
        }
        let raw = self.raw.get();
        let (raw, real) = (HostRaw::from_nanos(raw), Timestamp::from_nanos((self.shows)(raw)));
        Ok(ClockPair { raw, real, width: Span::from_nanos(self.width.get()) })
    }
}

/// A card under test, and its world.
struct World {
    clock: FakeClock,
    card: Card,
}

impl World {
    fn start(shows: fn(i64) -> i64, granted: &[Direction]) -> Result<World, Refusal> {
        let clock = FakeClock {
            raw: Rc::new(Cell::new(5_000 * MS)),
            shows,
            fails: Rc::default(),
            width: Rc::default(),
        };
        let raw = Rc::clone(&clock.raw);
        let pause = move |span: Span| raw.set(raw.get() + span.as_nanos());
        let card = Card::start("eth0", Box::new(clock.clone()), granted, pause)?;
        Ok(World { clock, card })
    }

    fn honest() -> World {
        World::start(AHEAD, &BOTH).unwrap()
    }

    /// A datagram that the card stamps with `shift` added 10 ms from now, and the kernel `kernel` after that;
    /// the card's timestamp comes a millisecond later. By how much the conversion is off.
    fn stamp(&mut self, direction: Direction, shift: i64, kernel: i64) -> Result<Option<i64>, Refusal> {
        let at = self.clock.raw.get() + 10 * MS;
        self.clock.raw.set(at + MS);
        self.card.expect_stamps();
        let stamp = Timestamp::from_nanos((self.clock.shows)(at) + shift);
        let kernel = Some(HostRaw::from_nanos(at + kernel));
        let found = self.card.convert(direction, stamp, kernel)?;
        Ok(found.map(|found| found.as_nanos() - at))
    }
}

/// A card whose clock is an hour ahead and 40 ppm fast.
const AHEAD: fn(i64) -> i64 = |raw| 3_600_000 * MS + raw + raw / 25_000;

#[test]
fn timestamps_of_a_card_are_brought_to_the_oscillator() {
    let mut world = World::honest();
    for _ in 0..200 {
        assert!(world.stamp(Direction::Receive, 0, 30_000).unwrap().is_some());
    }
    // By then the rate is known.
    let off = world.stamp(Direction::Receive, 0, 30_000).unwrap().unwrap();
    assert!((1_000..1_020).contains(&off), "off by {off} ns, of which 1000 are uncertain");
    assert!(world.card.is_in_use(Direction::Receive) && !world.card.is_in_use(Direction::Transmit));
    assert!(world.stamp(Direction::Transmit, 0, -5_000).unwrap().is_some());
    assert!(world.card.is_in_use(Direction::Transmit));
}

#[test]
fn what_is_uncertain_of_a_timestamp_makes_delays_longer_and_never_shorter() {
    let mut world = World::start(|raw| raw, &BOTH).unwrap();
    world.clock.width.set(1_000);
    // Half of the width, and 1000 ppm of the millisecond after which the clock was read.
    assert_eq!(world.stamp(Direction::Receive, 0, 30_000), Ok(Some(1_500)));
    assert_eq!(world.stamp(Direction::Transmit, 0, -30_000), Ok(Some(-1_500)));
}

#[test]
fn the_uncertainty_covers_a_clock_whose_rate_a_program_has_changed_since() {
    // 900 ppm faster from an instant between the timestamp and the reading on.
    let steered = |raw: i64| raw + (raw - 6_000 * MS - MS / 2).max(0) * 9 / 10_000;
    let mut world = World::start(steered, &BOTH).unwrap();
    while world.clock.raw.get() + 10 * MS < 6_000 * MS {
        assert!(world.stamp(Direction::Receive, 0, 30_000).unwrap().is_some());
    }
    world.clock.raw.set(5_990 * MS);
    let found = world.stamp(Direction::Receive, 0, 30_000).unwrap().unwrap();
    assert!((0..=1_100).contains(&found), "{found} ns late");
    let mut world = World::start(steered, &BOTH).unwrap();
    world.clock.raw.set(5_990 * MS);
    let found = world.stamp(Direction::Transmit, 0, -30_000).unwrap().unwrap();
    assert!((-1_500..=0).contains(&found), "{found} ns late");
}

#[test]
fn datagrams_that_have_waited_for_seconds_say_nothing_about_their_card() {
    let mut world = World::honest();
    let at = world.clock.raw.get();
    world.clock.raw.set(at + 3_000 * MS);
    world.card.expect_stamps();
    for _ in 0..100 {
        let stamp = Timestamp::from_nanos(AHEAD(at));
        assert_eq!(world.card.convert(Direction::Receive, stamp, None), Ok(None));
    }
    assert!(world.stamp(Direction::Receive, 0, 30_000).unwrap().is_some());
}

#[test]
fn a_card_whose_timestamps_come_too_late_is_refused_for_that() {
    let mut world = World::honest();
    let refusals: Vec<_> = (0..200)
        .filter_map(|_| {
            let missed = world.card.missed(Direction::Transmit).err();
            world.card.came_late(Direction::Transmit);
            missed
        })
        .collect();
    assert_eq!(refusals, [Refusal::TooLate(MAX_MISSING)]);
}

#[test]
fn a_clock_that_stands_still_or_runs_at_another_speed_is_refused_at_the_start() {
    assert_eq!(World::start(|_| 7, &BOTH).err(), Some(Refusal::StandsStill));
    let Some(Refusal::Speed(rate)) = World::start(|raw| raw / 2, &BOTH).err() else { panic!() };
    assert_eq!(rate.ppm(), -500_000.0);
    assert!(World::start(|raw| raw, &BOTH).is_ok());
}

#[test]
fn a_clock_that_stops_later_is_refused_in_both_directions() {
    let mut world = World::start(|raw| raw.min(6_000 * MS), &BOTH).unwrap();
    let refusal = (0..400).find_map(|_| world.stamp(Direction::Receive, 0, 30_000).err());
    assert_eq!(refusal, Some(Refusal::StandsStill));
    assert!(!world.card.stamps(Direction::Receive) && !world.card.stamps(Direction::Transmit));
    assert_eq!(world.stamp(Direction::Transmit, 0, -5_000), Ok(None), "it is told once");
}

#[test]
fn a_clock_that_cannot_be_read_any_more_is_refused() {
    let mut world = World::honest();
    assert!(world.stamp(Direction::Receive, 0, 30_000).unwrap().is_some());
    world.clock.fails.set(true);
    for _ in 1..MAX_UNREADABLE {
        assert_eq!(world.stamp(Direction::Receive, 0, 30_000), Ok(None), "it may be a moment only");
    }
    let refusal = Refusal::Unreadable(io::ErrorKind::NotFound);
    assert_eq!(world.stamp(Direction::Receive, 0, 30_000), Err(refusal));
    assert!(!world.card.stamps(Direction::Transmit));
}

#[test]
fn a_step_of_the_cards_clock_only_interrupts_its_timestamps() {
    let stepped = |raw: i64| raw + if raw < 7_000 * MS { 0 } else { 37_000 * MS };
    let mut world = World::start(stepped, &BOTH).unwrap();
    let used: Vec<bool> =
        (0..600).map(|_| world.stamp(Direction::Receive, 0, 30_000).unwrap().is_some()).collect();
    let unused = used.iter().filter(|used| !**used).count();
    // Two seconds with a timestamp each 11 ms.
    assert!((180..190).contains(&unused), "{unused}");
    assert!(used[599]);
}

#[test]
fn a_card_that_never_stamps_is_refused_in_that_direction_only() {
    let mut world = World::honest();
    let refusals: Vec<_> = (0..200).filter_map(|_| world.card.missed(Direction::Transmit).err()).collect();
    assert_eq!(refusals, [Refusal::NeverStamps(MAX_MISSING)]);
    assert!(world.card.stamps(Direction::Receive) && !world.card.stamps(Direction::Transmit));
}

#[test]
fn a_card_that_stamps_some_datagrams_only_is_not_refused() {
    let mut world = World::honest();
    for _ in 1..MAX_MISSING {
        world.card.missed(Direction::Receive).unwrap();
    }
    world.stamp(Direction::Receive, 0, 30_000).unwrap();
    let missed = (1..MAX_MISSING_IN_USE).map(|_| world.card.missed(Direction::Receive));
    assert!(missed.collect::<Result<Vec<_>, _>>().is_ok());
    world.stamp(Direction::Receive, 0, 30_000).unwrap();
    let refusals: Vec<_> = (0..5_000).filter_map(|_| world.card.missed(Direction::Receive).err()).collect();
    assert_eq!(refusals, [Refusal::NeverStamps(MAX_MISSING_IN_USE)], "it has stopped");
}

#[test]
fn datagrams_that_may_have_passed_another_port_do_not_count_against_a_card() {
    let mut world = World::honest();
    (0..5_000).for_each(|_| world.card.note_unstamped(Direction::Receive));
    assert!(world.stamp(Direction::Receive, 0, 30_000).unwrap().is_some());
    assert!(world.card.is_in_use(Direction::Receive));
    (0..5_000).for_each(|_| world.card.note_unstamped(Direction::Receive));
    assert!(!world.card.is_in_use(Direction::Receive), "no timestamp comes any more");
    assert!(world.card.stamps(Direction::Receive) && world.card.has_stamped(Direction::Receive));
    assert!(world.stamp(Direction::Receive, 0, 30_000).unwrap().is_some());
    assert!(world.card.is_in_use(Direction::Receive));
}

#[test]
fn timestamps_that_contradict_the_kernels_are_not_used_and_refused_when_there_are_many() {
    // The card sees what is received before the kernel does, and what is sent after it.
    let wrong = [(Direction::Receive, -300_000), (Direction::Receive, 101 * MS)];
    for (direction, kernel) in wrong.into_iter().chain([(Direction::Transmit, 300_000)]) {
        let mut world = World::honest();
        for _ in 1..MAX_CONTRADICTING {
            assert_eq!(world.stamp(direction, 0, kernel), Ok(None), "{direction} {kernel}");
        }
        assert_eq!(world.stamp(direction, 0, kernel), Err(Refusal::Contradicts));
        let other = if direction == Direction::Receive { Direction::Transmit } else { Direction::Receive };
        assert!(!world.card.stamps(direction) && world.card.stamps(other));
    }
    // Timestamps of another clock than the one that can be read are seconds away.
    let mut world = World::honest();
    let refusal = (0..8).find_map(|_| world.stamp(Direction::Receive, -37_000 * MS, 30_000).err());
    assert_eq!(refusal, Some(Refusal::Contradicts));
}

#[test]
fn one_contradiction_now_and_then_is_not_a_reason() {
    let mut world = World::honest();
    for _ in 0..100 {
        assert_eq!(world.stamp(Direction::Receive, 0, 150 * MS), Ok(None));
        assert!(world.stamp(Direction::Receive, 0, 30_000).unwrap().is_some());
    }
}

#[test]
fn without_the_kernels_timestamp_there_is_nothing_to_contradict() {
    let mut world = World::honest();
    let at = world.clock.raw.get();
    world.card.expect_stamps();
    let found = world.card.convert(Direction::Receive, Timestamp::from_nanos(AHEAD(at)), None).unwrap();
    assert_eq!(found.map(HostRaw::as_nanos), Some(at));
}

#[test]
fn what_a_card_does_not_grant_is_not_expected_of_it() {
    let mut world = World::start(AHEAD, &[Direction::Transmit]).unwrap();
    assert!((0..1_000).all(|_| world.card.missed(Direction::Receive).is_ok()));
    assert_eq!(world.stamp(Direction::Receive, 0, 30_000), Ok(None));
    assert!(world.stamp(Direction::Transmit, 0, -30_000).unwrap().is_some());
    assert!(!world.card.stamps(Direction::Receive));
}
