//! Datagrams whose cards stamp them, or do not; each timestamp is handed over as the kernel reports it.

use std::cell::Cell;
use std::io;
use std::rc::Rc;

use super::*;
use crate::clock::{CardClock, ClockPair};

const MS: i64 = 1_000_000;
/// How much later a time of receipt is than the card's timestamp, which is converted 20 µs after it.
const RECEIVED_LATER: i64 = 20;
/// How much earlier a time of departure is than the card's timestamp, which is converted 1 ms after it.
const SENT_EARLIER: i64 = 1_000;
/// The interface of the card, a VLAN of it, and a bridge of which it is a port; what comes through another
/// one passes no card.
const CARD: Option<u32> = Some(3);
const VLAN: Option<u32> = Some(7);
const BRIDGE: Option<u32> = Some(8);
const LOOPBACK: Option<u32> = Some(1);

/// A card's clock that is an hour ahead of the oscillator.
#[derive(Debug)]
struct Ahead(Rc<Cell<i64>>);

impl CardClock for Ahead {
    fn read(&mut self) -> io::Result<ClockPair> {
        let (raw, real) = (HostRaw::from_nanos(self.0.get()), ahead(self.0.get()));
        Ok(ClockPair { raw, real, width: Span::ZERO })
    }
}

/// What the card's clock shows then.
fn ahead(raw: i64) -> Timestamp {
    Timestamp::from_nanos(raw + 3_600_000 * MS)
}

struct World {
    now: Rc<Cell<i64>>,
    timestamps: HardwareTimestamps,
}

impl World {
    fn new(granted: &[Direction]) -> World {
        let now = Rc::new(Cell::new(10_000 * MS));
        let passing = Rc::clone(&now);
        let pause = |span: Span| passing.set(passing.get() + span.as_nanos());
        let card = Card::start("eth0", Box::new(Ahead(Rc::clone(&now))), granted, pause).unwrap();
        let above = [(7, true), (8, false)].map(|(index, all_pass)| UpperInterface { index, all_pass });
        let installed = InstalledCard { card, interface: 3, above: above.to_vec() };
        World { now, timestamps: HardwareTimestamps::new(vec![installed]) }
    }

    fn both() -> World {
        World::new(&[Direction::Receive, Direction::Transmit])
    }

    /// Time passes; the oscillator then.
    fn pass(&mut self, ns: i64) -> i64 {
        self.now.set(self.now.get() + ns);
        self.timestamps.expect_stamps();
        self.now.get()
    }

    fn mono(&self) -> Monotonic {
        Monotonic::from_nanos(self.now.get())
    }

    /// A datagram that the card sees now, and the kernel 20 µs later. By how much its time of receipt is
    /// later than the card's.
    fn receive(&mut self, interface: Option<u32>, stamp: Option<CardStamp>) -> i64 {
        let at = self.now.get();
        let kernel = self.pass(20_000);
        let received = ReceivedDatagram {
            bytes: &[],
            peer: None,
            local: None,
            interface,
            timestamp: None,
            card: stamp,
            card_interface: None,
            lost: None,
        };
        let kernel = Some(HostRaw::from_nanos(kernel));
        self.timestamps.convert_received(&received, kernel).expect("a time").as_nanos() - at
    }

    fn stamp(&self, interface: Option<u32>) -> Option<CardStamp> {
        Some(CardStamp { interface, time: ahead(self.now.get()) })
    }

    /// The kernel sends a datagram now. The timestamp that it reports if that has to do.
    fn send(&mut self, id: u64, interface: Option<u32>) -> Option<HostRaw> {
        self.timestamps.sent(StampId(id), self.mono());
        let kernel = Some(HostRaw::from_nanos(self.now.get()));
        self.timestamps.kernel_has_sent(StampId(id), interface, kernel)
    }

    fn card_sent(&mut self, id: u64) -> Option<i64> {
        let time = ahead(self.now.get());
        self.pass(MS);
        self.timestamps.card_has_sent(StampId(id), CARD, time).map(HostRaw::as_nanos)
    }
}

#[test]
fn a_received_datagram_has_the_cards_time_whichever_interface_is_above_the_card() {
    let mut world = World::both();
    assert_eq!(world.timestamps.source(), None);
    let stamp = world.stamp(CARD);
    assert_eq!(world.receive(VLAN, stamp), RECEIVED_LATER);
    let stamp = world.stamp(None);
    assert_eq!(world.receive(VLAN, stamp), RECEIVED_LATER, "the kernel does not report the card's interface");
    assert_eq!(world.timestamps.source(), Some(TimestampSource::HardwareReceive));
    let stamp = world.stamp(Some(99));
    assert_eq!(world.receive(CARD, stamp), 20_000, "stamped by a card that is not used");
    assert_eq!(world.receive(CARD, None), 20_000, "not stamped");
}

#[test]
fn a_sent_datagram_waits_for_the_cards_timestamp() {
    let mut world = World::both();
    assert_eq!(world.send(1, CARD), None);
    let left = world.pass(4_000);
    assert_eq!(world.card_sent(1), Some(left - SENT_EARLIER));
    assert_eq!(world.timestamps.source(), Some(TimestampSource::HardwareTransmit));
    assert_eq!((world.timestamps.deadline(), world.card_sent(1)), (None, None), "reported once");
    assert_eq!(world.timestamps.counts.unexpected, 1);
}

#[test]
fn what_leaves_through_no_card_has_the_kernels_timestamp_at_once() {
    let mut world = World::both();
    let now = Some(HostRaw::from_nanos(world.now.get()));
    assert_eq!((world.send(1, LOOPBACK), world.send(2, None)), (now, now));
    assert_eq!(world.timestamps.deadline(), None);
    let mut world = World::new(&[Direction::Receive]);
    assert!(world.send(3, CARD).is_some(), "the card stamps what is received only");
}

#[test]
fn after_a_while_the_kernels_timestamp_takes_the_place_of_the_cards() {
    let mut world = World::both();
    for (id, lag) in [(1, 9_000), (2, 4_000), (3, 6_000)] {
        world.send(id, CARD);
        world.pass(lag);
        world.card_sent(id).unwrap();
    }
    let sent = world.now.get();
    world.send(4, CARD);
    let deadline = world.timestamps.deadline().expect("one waits");
    assert_eq!(deadline - world.mono(), MAX_WAIT);
    assert_eq!(world.timestamps.take_overdue(world.mono()), None);
    world.pass(MAX_WAIT.as_nanos());
    let expected = Some((StampId(4), Some(HostRaw::from_nanos(sent))));
    assert_eq!(world.timestamps.take_overdue(world.mono()), expected);
    assert_eq!(world.card_sent(4), None, "it comes too late");
    assert_eq!((world.timestamps.counts.late, world.timestamps.counts.unexpected), (1, 0));
}

/// Why the card is refused if from now on nothing that is sent has a timestamp.
fn refusal_of_a_card_that_stops(mut world: World) -> Refusal {
    let card = &mut world.timestamps.cards[0].card;
    (0..10_000).find_map(|_| card.missed(Direction::Transmit).err()).expect("a refusal")
}

#[test]
fn a_card_that_repeats_timestamps_and_then_stops_is_not_refused_as_late() {
    let mut world = World::both();
    for id in 0..10 {
        world.send(id, CARD);
        assert!(world.card_sent(id).is_some());
        assert_eq!(world.card_sent(id), None, "repeated");
    }
    assert_eq!((world.timestamps.counts.late, world.timestamps.counts.unexpected), (0, 10));
    assert_eq!(refusal_of_a_card_that_stops(world), Refusal::NeverStamps(1024));
}

#[test]
fn a_card_whose_timestamps_come_after_the_wait_is_refused_as_late() {
    let mut world = World::both();
    world.send(1, CARD);
    world.pass(MAX_WAIT.as_nanos());
    assert!(world.timestamps.take_overdue(world.mono()).is_some());
    assert_eq!(world.card_sent(1), None);
    assert_eq!(refusal_of_a_card_that_stops(world), Refusal::TooLate(64));
}

#[test]
fn a_card_that_never_stamps_what_is_sent_is_not_waited_for_any_more() {
    let mut world = World::both();
    let mut waited = 0;
    for id in 0..1_000 {
        if world.send(id, CARD).is_some() {
            break;
        }
        world.pass(MAX_WAIT.as_nanos());
        let overdue = world.timestamps.take_overdue(world.mono()).expect("it is overdue");
        assert_eq!(overdue.1.map(HostRaw::as_nanos), Some(world.now.get() - MAX_WAIT.as_nanos()));
        waited += 1;
    }
    assert_eq!(waited, 64);
    let stamp = world.stamp(CARD);
    assert_eq!(world.receive(CARD, stamp), RECEIVED_LATER, "what it stamps is used");
}

#[test]
fn a_card_that_never_stamps_what_is_received_is_still_used_for_what_is_sent() {
    let mut world = World::both();
    assert!((0..200).all(|_| world.receive(CARD, None) == 20_000));
    world.send(1, CARD);
    assert!(world.card_sent(1).is_some());
    assert_eq!(world.timestamps.source(), Some(TimestampSource::HardwareTransmit));
}

#[test]
fn datagrams_of_other_interfaces_do_not_count_against_a_card() {
    let mut world = World::both();
    assert!((0..200).all(|_| world.receive(LOOPBACK, None) == 20_000));
    let stamp = world.stamp(CARD);
    assert_eq!(world.receive(CARD, stamp), RECEIVED_LATER);
}

#[test]
fn what_came_by_a_port_of_a_bridge_that_is_not_known_does_not_count_against_its_card() {
    let mut world = World::both();
    assert!((0..2_000).all(|_| world.receive(BRIDGE, None) == 20_000));
    let stamp = world.stamp(CARD);
    assert_eq!(world.receive(BRIDGE, stamp), RECEIVED_LATER, "the card is used");
    assert_eq!(world.timestamps.source(), Some(TimestampSource::HardwareReceive));
    assert!((0..2_000).all(|_| world.receive(BRIDGE, None) == 20_000));
    assert_eq!(world.timestamps.source(), None, "its timestamps do not come any more");
    let stamp = world.stamp(CARD);
    assert_eq!(world.receive(BRIDGE, stamp), RECEIVED_LATER, "it is not refused");
}

#[test]
fn what_came_by_a_vlan_of_a_card_counts_against_it() {
    let mut world = World::both();
    assert!((0..64).all(|_| world.receive(VLAN, None) == 20_000));
    let stamp = world.stamp(CARD);
    assert_eq!(world.receive(VLAN, stamp), 20_000, "the card is refused");
}

#[test]
fn what_left_by_a_port_of_a_bridge_that_is_not_known_does_not_count_against_its_card() {
    let mut world = World::both();
    for id in 0..200 {
        assert_eq!(world.send(id, BRIDGE), None);
        world.pass(MAX_WAIT.as_nanos());
        assert!(world.timestamps.take_overdue(world.mono()).is_some_and(|(_, sent_at)| sent_at.is_some()));
    }
    world.send(200, BRIDGE);
    assert!(world.card_sent(200).is_some());
}

#[test]
fn the_cards_timestamp_may_come_before_the_kernels() {
    let mut world = World::both();
    world.timestamps.sent(StampId(1), world.mono());
    let left = world.now.get();
    assert_eq!(world.card_sent(1), Some(left - SENT_EARLIER));
    let kernel = Some(HostRaw::from_nanos(left - 3_000));
    // The node has a better one already; a second one would replace it.
    assert_eq!(world.timestamps.kernel_has_sent(StampId(1), CARD, kernel), None);
}

/// Sends so many datagrams at once, and takes those that cannot wait.
fn crowd(world: &mut World, datagrams: u64) -> Vec<(StampId, Option<HostRaw>)> {
    (0..datagrams)
        .filter_map(|id| {
            assert_eq!(world.send(id, CARD), None);
            world.timestamps.take_overdue(world.mono())
        })
        .collect()
}

#[test]
fn of_more_datagrams_than_can_wait_the_oldest_have_the_kernels_timestamp() {
    let mut world = World::both();
    let now = Some(HostRaw::from_nanos(world.now.get()));
    let given_up = crowd(&mut world, 3 + MAX_WAITING as u64);
    assert_eq!(given_up, [0, 1, 2].map(|id| (StampId(id), now)));
    assert_eq!((world.timestamps.waiting.len(), world.timestamps.counts.crowded_out), (MAX_WAITING, 3));
    assert!(world.card_sent(3).is_some(), "the others still wait");
    assert_eq!(world.card_sent(2), None);
    assert_eq!((world.timestamps.counts.late, world.timestamps.counts.unexpected), (0, 1));
}

#[test]
fn what_the_kernel_reports_after_a_datagram_was_crowded_out_is_used() {
    let mut world = World::both();
    let now = world.now.get();
    world.timestamps.sent(StampId(7_000), world.mono());
    crowd(&mut world, MAX_WAITING as u64);
    let kernel = Some(HostRaw::from_nanos(now + 3_000));
    assert_eq!(world.timestamps.kernel_has_sent(StampId(7_000), CARD, kernel), kernel);
}

#[test]
fn datagrams_that_were_crowded_out_do_not_count_against_the_card() {
    let mut world = World::both();
    assert_eq!(crowd(&mut world, 4 * MAX_WAITING as u64).len(), 3 * MAX_WAITING);
    world.send(9_000, CARD);
    assert!(world.card_sent(9_000).is_some());
}
