//! The loop with a network card that stamps: what the card and the kernel report of a datagram is injected in
//! place of a socket's, as the control messages and the error queue have it.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use meantime_core::roles::rank::Rank;
use meantime_core::time::{Frequency, Now, Raw, Span, Timestamp};
use meantime_core::wire::DATAGRAM_LEN;
use meantime_core::{ClockReading, Counters, Node, Path, StampId, Transmit};
use mio::{Poll, Registry, Token};

use super::network::Network;
use super::*;
use crate::clock::{Card, CardClock, ClockPair, Direction, HostRaw, NodeClock, Overlay};
use crate::report::ClockSnapshot;
use crate::udp::{BATCH, ReceiveBatch, ReceivedDatagram, TimestampSource, TransmitStamp, TransmitTime};
use crate::udp::{Transport, stamped_by_a_card};

const INTERFACE: u32 = 3;
const HOUR: Span = Span::from_secs(3_600);

/// The card's clock is an hour ahead of the oscillator.
#[derive(Debug)]
struct HourAhead;

impl CardClock for HourAhead {
    fn read(&mut self) -> io::Result<ClockPair> {
        let ClockPair { raw, .. } = overlay().pair();
        Ok(ClockPair { raw, real: card_time(raw), width: Span::ZERO })
    }
}

fn card_time(raw: HostRaw) -> Timestamp {
    Timestamp::from_nanos(raw.as_nanos()) + HOUR
}

fn overlay() -> Overlay {
    Overlay::start(Span::ZERO, Frequency::ZERO)
}

/// Datagrams that pass the card a millisecond before they are reported.
#[derive(Default)]
struct Injected {
    received: bool,
    sent: Option<StampId>,
    /// When they have passed the card.
    passed: Rc<RefCell<Vec<HostRaw>>>,
}

impl Injected {
    /// The time by the wall clock, and when a datagram passes the card.
    fn pass(&self) -> (Timestamp, HostRaw) {
        let ClockPair { raw, real, .. } = overlay().pair();
        let passed = raw.after(Span::from_millis(-1));
        self.passed.borrow_mut().push(passed);
        (real, passed)
    }
}

impl Transport for Injected {
    fn register(&mut self, _registry: &Registry, _token: Token) -> io::Result<()> {
        Ok(())
    }

    fn receive(&mut self, batch: &mut ReceiveBatch) -> io::Result<()> {
        if std::mem::replace(&mut self.received, true) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let (kernel, passed) = self.pass();
        batch.inject(&[1; DATAGRAM_LEN], &stamped_by_a_card(kernel, card_time(passed), INTERFACE));
        Ok(())
    }

    fn take_lost(&mut self) -> u32 {
        0
    }

    fn path(&self, _received: &ReceivedDatagram<'_>) -> Option<Path> {
        Some(path())
    }

    fn send(&mut self, _registry: &Registry, transmits: &[Transmit]) -> io::Result<usize> {
        self.sent = transmits[0].stamp;
        Ok(transmits.len())
    }

    fn take_transmit_timestamps(&mut self, report: &mut dyn FnMut(TransmitStamp)) -> io::Result<bool> {
        let id = self.sent.take().ok_or(io::ErrorKind::WouldBlock)?;
        let (now, passed) = self.pass();
        let kernel = TransmitTime::Kernel(now - Span::from_millis(2));
        for time in [kernel, TransmitTime::Card(card_time(passed))] {
            report(TransmitStamp { id, interface: Some(INTERFACE), time });
        }
        Ok(true)
    }

    fn timestamp_source(&self) -> TimestampSource {
        TimestampSource::Kernel
    }

    fn resolve(&mut self, _server: Rank) {}

    fn take_resolved(&mut self) -> Option<(Rank, io::Result<SocketAddr>)> {
        None
    }
}

fn path() -> Path {
    Path { peer: "192.0.2.1:5525".parse().unwrap(), local: None }
}

/// Sends so many datagrams, and reports the times at which datagrams came and left.
#[derive(Default)]
struct Witness {
    to_send: u64,
    times: Vec<(&'static str, Raw)>,
    counters: Counters,
}

impl Witness {
    fn sending(to_send: u64) -> Witness {
        Witness { to_send, ..Witness::default() }
    }
}

impl Node for Witness {
    type Event = (&'static str, Raw);

    fn handle_received(&mut self, _now: Now, received: Raw, _path: Path, _datagram: &[u8]) {
        self.times.push(("received", received));
    }

    fn handle_datagram(&mut self, _now: Now, _path: Path, _datagram: &[u8]) {}

    fn handle_transmitted(&mut self, _id: StampId, raw: Raw) {
        self.times.push(("sent", raw));
    }

    fn handle_timeout(&mut self, _now: Now) {}

    fn handle_shutdown(&mut self, _now: Now) {}

    fn handle_resolved(&mut self, _now: Now, _rank: Rank, _server: Option<SocketAddr>) {}

    fn poll_transmit(&mut self, _now: Now) -> Option<Transmit> {
        self.to_send = self.to_send.checked_sub(1)?;
        Some(Transmit { path: path(), datagram: [7; DATAGRAM_LEN], stamp: Some(StampId(self.to_send)) })
    }

    fn poll_action(&mut self) -> Option<meantime_core::Action> {
        None
    }

    fn poll_event(&mut self) -> Option<(&'static str, Raw)> {
        self.times.pop()
    }

    fn poll_timeout(&self) -> Option<meantime_core::time::Monotonic> {
        None
    }

    fn read(&self, raw: Raw) -> ClockReading {
        ClockReading::unsynchronized(raw)
    }

    fn counters(&self) -> &Counters {
        &self.counters
    }
}

/// Collects two events, each with the timestamp source in use by then.
#[derive(Default)]
struct Two(Vec<((&'static str, Raw), TimestampSource)>);

impl LoopHandler<Witness> for Two {
    fn event(
        &mut self,
        _node: &Witness,
        _now: Now,
        at: ClockSnapshot,
        event: (&'static str, Raw),
    ) -> io::Result<()> {
        self.0.push((event, at.timestamps));
        if self.0.len() == 2 { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(()) }
    }

    fn tick(&mut self, _at: ClockSnapshot) -> io::Result<()> {
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn the_times_of_a_datagram_are_those_at_which_it_passed_the_card() {
    let granted = [Direction::Receive, Direction::Transmit];
    let pause = |span: Span| std::thread::sleep(std::time::Duration::from_nanos(span.as_nanos() as u64));
    let card = Card::start("eth0", Box::new(HourAhead), &granted, pause).unwrap();
    let (clock, injected) = (overlay(), Injected::default());
    let passed = Rc::clone(&injected.passed);
    let cards = vec![InstalledCard { card, interface: INTERFACE, above: Vec::new() }];
    let mut seen = Two::default();
    let event_loop = EventLoop::new(Witness::sending(1), injected, clock).unwrap();
    event_loop.with_cards(cards).run(&mut seen).unwrap_err();
    let expected = [("sent", TimestampSource::HardwareTransmit), ("received", TimestampSource::Hardware)];
    assert_eq!(seen.0.iter().map(|((what, _), source)| (*what, *source)).collect::<Vec<_>>(), expected);
    for (((what, at), _), passed) in seen.0.iter().zip(passed.borrow().iter()) {
        let off = *at - clock.raw_at(*passed);
        // What is uncertain after a second at most makes the delay longer.
        let longer = if *what == "sent" { -off } else { off };
        assert!((-Span::from_micros(1)..Span::from_millis(1)).contains(&longer), "{what}: off by {off}");
    }
}

/// A socket of which each datagram has two timestamps at once, the kernel's and the card's. How many of them
/// have waited to be taken, now and at most.
#[derive(Clone, Default)]
struct ErrorQueue {
    length: Rc<Cell<usize>>,
    longest: Rc<Cell<usize>>,
}

impl Transport for ErrorQueue {
    fn register(&mut self, _registry: &Registry, _token: Token) -> io::Result<()> {
        Ok(())
    }

    fn receive(&mut self, _batch: &mut ReceiveBatch) -> io::Result<()> {
        Err(io::ErrorKind::WouldBlock.into())
    }

    fn take_lost(&mut self) -> u32 {
        0
    }

    fn path(&self, _received: &ReceivedDatagram<'_>) -> Option<Path> {
        None
    }

    fn send(&mut self, _registry: &Registry, transmits: &[Transmit]) -> io::Result<usize> {
        self.length.set(self.length.get() + 2 * transmits.len());
        self.longest.set(self.longest.get().max(self.length.get()));
        Ok(transmits.len())
    }

    fn take_transmit_timestamps(&mut self, _report: &mut dyn FnMut(TransmitStamp)) -> io::Result<bool> {
        let taken = self.length.get().min(BATCH);
        self.length.set(self.length.get() - taken);
        if taken == 0 { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(taken < BATCH) }
    }

    fn timestamp_source(&self) -> TimestampSource {
        TimestampSource::Kernel
    }

    fn resolve(&mut self, _server: Rank) {}

    fn take_resolved(&mut self) -> Option<(Rank, io::Result<SocketAddr>)> {
        None
    }
}

#[test]
fn the_timestamps_of_many_datagrams_do_not_pile_up_in_the_error_queue() {
    let (poll, clock, queue) = (Poll::new().unwrap(), overlay(), ErrorQueue::default());
    let mut network = Network::new(queue.clone(), &clock, poll.registry(), Token(0)).unwrap();
    network.transmit(&mut Witness::sending(20 * BATCH as u64), &clock, poll.registry());
    assert_eq!(queue.longest.get(), 2 * BATCH);
}
