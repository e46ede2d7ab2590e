//! The loop with a minimal node, over real sockets.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use mio::Poll;

use super::*;
use crate::clock::{ClockSample, NodeClock, PublishedTime, SystemClockEvent};
use crate::clock::{HostRaw, Overlay, Resumed};
use crate::report::ClockSnapshot;
use crate::udp::BUFFER_LEN;
use crate::udp::{BATCH, ReceiveBatch, Transport};
use crate::udp::{ClientSocket, Resolver, ServerSocket};
use meantime_core::Path;
use meantime_core::roles::rank::Rank;
use meantime_core::time::{Frequency, Raw, Timestamp};
use meantime_core::time::{Monotonic, Now, Span};
use meantime_core::wire::DATAGRAM_LEN;
use meantime_core::{Action, ClockReading, Counters, Node, Transmit};

/// A call of the fake node.
#[derive(Debug, PartialEq)]
enum Call {
    Datagram(Path, usize),
    Timeout,
    Shutdown,
    Resolved(Option<SocketAddr>),
    Suspended(Span),
    HandOver,
}

/// Answers every datagram with itself, and reports each call as an event.
#[derive(Default)]
struct Echo {
    seen: VecDeque<Call>,
    answers: VecDeque<Transmit>,
    wants_server: bool,
    deadline: Option<Monotonic>,
    /// How long it takes to hand over; `None`: it does not.
    hands_over_in: Option<Span>,
    counters: Counters,
}

impl Node for Echo {
    type Event = Call;

    fn hand_over(&mut self, now: Now) -> bool {
        self.seen.push_back(Call::HandOver);
        self.deadline = self.hands_over_in.map(|span| now.mono + span);
        self.hands_over_in.is_some()
    }

    fn is_handing_over(&self) -> bool {
        self.hands_over_in.is_some()
    }

    fn handle_datagram(&mut self, _now: Now, path: Path, datagram: &[u8]) {
        self.seen.push_back(Call::Datagram(path, datagram.len()));
        if let Ok(datagram) = datagram.try_into() {
            self.answers.push_back(Transmit { path, datagram, stamp: None });
        }
    }

    fn handle_timeout(&mut self, now: Now) {
        assert!(self.deadline.take().is_some_and(|deadline| deadline <= now.mono), "a timer was early");
        self.hands_over_in = None;
        self.seen.push_back(Call::Timeout);
    }

    fn handle_shutdown(&mut self, _now: Now) {
        self.seen.push_back(Call::Shutdown);
    }

    fn handle_suspended(&mut self, _now: Now, slept: Span) {
        self.seen.push_back(Call::Suspended(slept));
    }

    fn handle_resolved(&mut self, _now: Now, _rank: Rank, server: Option<SocketAddr>) {
        let path = server.map(|peer| Path { peer, local: None });
        self.answers.extend(path.map(|path| Transmit { path, datagram: [7; DATAGRAM_LEN], stamp: None }));
        self.seen.push_back(Call::Resolved(server));
    }

    fn poll_transmit(&mut self, _now: Now) -> Option<Transmit> {
        self.answers.pop_front()
    }

    fn poll_action(&mut self) -> Option<Action> {
        std::mem::take(&mut self.wants_server).then_some(Action::Resolve(Rank::FIRST))
    }

    fn poll_event(&mut self) -> Option<Call> {
        self.seen.pop_front()
    }

    fn poll_timeout(&self) -> Option<Monotonic> {
        self.deadline
    }

    fn read(&self, raw: Raw) -> ClockReading {
        ClockReading::unsynchronized(raw)
    }

    fn counters(&self) -> &Counters {
        &self.counters
    }
}

/// Collects events, and ends the loop after so many events or ticks.
struct Until {
    left: usize,
    seen: Vec<Call>,
}

impl Until {
    fn count_down(&mut self) -> io::Result<()> {
        self.left = self.left.saturating_sub(1);
        if self.left == 0 { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(()) }
    }
}

impl LoopHandler<Echo> for Until {
    fn event(&mut self, _node: &Echo, _now: Now, _at: ClockSnapshot, event: Call) -> io::Result<()> {
        self.seen.push(event);
        self.count_down()
    }

    fn tick(&mut self, _at: ClockSnapshot) -> io::Result<()> {
        self.count_down()
    }

    fn system_clock(&mut self, _at: ClockSnapshot, event: SystemClockEvent) -> io::Result<()> {
        assert_eq!(event, SystemClockEvent::GivenUp);
        self.count_down()
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A clock that another one follows every 10 ms, with an event each time.
struct Followed {
    overlay: Overlay,
    next: Monotonic,
}

impl NodeClock for Followed {
    fn read(&self) -> ClockSample {
        self.overlay.read()
    }

    fn resume(&mut self, host: HostRaw, time: Timestamp) -> Resumed {
        self.overlay.resume(host, time)
    }

    fn follow_at(&self) -> Option<Monotonic> {
        Some(self.next)
    }

    fn follow(&mut self, published: &dyn Fn(Raw) -> PublishedTime) -> Vec<SystemClockEvent> {
        let Now { mono, raw } = self.now();
        assert_eq!(published(raw).time.as_nanos(), raw.as_nanos());
        if mono < self.next {
            return Vec::new();
        }
        self.next = mono + Span::from_millis(10);
        vec![SystemClockEvent::GivenUp]
    }
}

fn overlay() -> Overlay {
    Overlay::start(Span::ZERO, Frequency::ZERO)
}

/// Runs a node until it has reported `count` events, and returns all of them.
fn run(node: Echo, link: impl Transport, count: usize) -> Vec<Call> {
    let mut until = Until { left: count, seen: Vec::new() };
    let error = EventLoop::new(node, link, overlay()).unwrap().run(&mut until).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    until.seen
}

fn listener() -> (ServerSocket, SocketAddr) {
    let listener = ServerSocket::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.address().unwrap();
    (listener, address)
}

fn connection(server: SocketAddr) -> ClientSocket {
    ClientSocket::new(Resolver::new([(Rank::FIRST, server.to_string().parse().unwrap())]))
}

#[test]
fn a_client_hears_its_server_and_no_other_sender() {
    let (mut server, address) = listener();
    let mut client = connection(address);
    client.resolve(Rank::FIRST);
    assert!(client.take_resolved().is_some());
    let poll = Poll::new().unwrap();
    let greeting =
        Transmit { path: Path { peer: address, local: None }, datagram: [1; DATAGRAM_LEN], stamp: None };
    client.send(poll.registry(), &[greeting]).unwrap();
    let mut batch = ReceiveBatch::new();
    retry(|| server.receive(&mut batch));
    let path = server.path(&batch.get(0)).unwrap();
    let (mut stranger, _) = listener();
    stranger.send(poll.registry(), &[Transmit { path, datagram: [2; DATAGRAM_LEN], stamp: None }]).unwrap();
    server.send(poll.registry(), &[Transmit { path, datagram: [3; DATAGRAM_LEN], stamp: None }]).unwrap();
    retry(|| client.receive(&mut batch));
    assert_eq!((batch.len(), batch.get(0).bytes), (1, &[3; DATAGRAM_LEN][..]));
}

#[test]
fn a_name_is_resolved_when_the_node_asks_and_refused_connections_do_no_harm() {
    let (listener, address) = listener();
    drop(listener);
    let deadline = Some(overlay().now().mono + Span::from_millis(30));
    let node = Echo { wants_server: true, deadline, ..Echo::default() };
    assert_eq!(
        run(node, connection(address), 2),
        [Call::Resolved(Some(address)), Call::Timeout, Call::Shutdown]
    );
}

/// The clocks of a machine that has been suspended for so long.
struct Suspended(Overlay, Option<Span>);

impl NodeClock for Suspended {
    fn read(&self) -> ClockSample {
        self.0.read()
    }

    fn take_suspension(&mut self) -> Option<Span> {
        self.1.take()
    }

    fn resume(&mut self, host: HostRaw, time: Timestamp) -> Resumed {
        self.0.resume(host, time)
    }
}

#[test]
fn a_suspension_is_handled_before_anything_else() {
    let (server, address) = listener();
    let client = crate::udp::DatagramSocket::connected(address).unwrap();
    client.send_bytes(&[9; 3]);
    let slept = Span::from_secs(3);
    let mut until = Until { left: 2, seen: Vec::new() };
    // In a box, as the program holds its clock: it forwards all calls.
    let clock: Box<dyn NodeClock> = Box::new(Suspended(overlay(), Some(slept)));
    EventLoop::new(Echo::default(), server, clock).unwrap().run(&mut until).unwrap_err();
    assert_eq!(until.seen[0], Call::Suspended(slept));
    assert!(matches!(until.seen[1], Call::Datagram(..)), "{:?}", until.seen);
}

#[test]
fn a_datagram_of_any_length_reaches_the_node_and_its_length_shows_whether_it_is_valid() {
    let (server, address) = listener();
    let client = crate::udp::DatagramSocket::connected(address).unwrap();
    for length in [0, 1, DATAGRAM_LEN, DATAGRAM_LEN + 1, 1_400] {
        client.send_bytes(&vec![9; length]);
    }
    let lengths: Vec<_> = run(Echo::default(), server, 5)
        .into_iter()
        .filter_map(|seen| if let Call::Datagram(_, length) = seen { Some(length) } else { None })
        .collect();
    assert_eq!(lengths, [0, 1, DATAGRAM_LEN, DATAGRAM_LEN + 1, BUFFER_LEN]);
}

#[test]
fn a_flood_of_datagrams_does_not_starve_the_timer() {
    let (server, address) = listener();
    let client = crate::udp::DatagramSocket::connected(address).unwrap();
    for _ in 0..200 {
        client.send_bytes(&[9; 3]);
    }
    let node = Echo { deadline: Some(overlay().now().mono), ..Echo::default() };
    let seen = run(node, server, 201);
    let fired = seen.iter().position(|seen| *seen == Call::Timeout).unwrap();
    assert!(fired <= BATCH, "the timer waited for {fired} datagrams");
}

#[test]
fn the_loop_ticks_without_any_traffic() {
    let (server, _) = listener();
    let mut until = Until { left: 3, seen: Vec::new() };
    let mut event_loop =
        EventLoop::new(Echo::default(), server, overlay()).unwrap().with_tick(Some(Span::from_millis(10)));
    let started = overlay().now().mono;
    event_loop.run(&mut until).unwrap_err();
    let took = overlay().now().mono - started;
    assert!(took >= Span::from_millis(29) && took < LONGEST_TURN, "three ticks of 10 ms took {took}");
}

#[test]
fn a_clock_that_another_one_follows_is_called_when_it_is_due() {
    let (server, _) = listener();
    let mut until = Until { left: 3, seen: Vec::new() };
    let started = overlay().now().mono;
    let clock = Followed { overlay: overlay(), next: started + Span::from_millis(10) };
    EventLoop::new(Echo::default(), server, clock).unwrap().run(&mut until).unwrap_err();
    let took = overlay().now().mono - started;
    assert!(took >= Span::from_millis(29) && took < LONGEST_TURN, "three times 10 ms took {took}");
}

/// So long a busy machine lets a test wait for its turn. A loop that misses a deadline sleeps for a minute.
const LONGEST_TURN: Span = Span::from_secs(30);

/// Retries for a minute while there is nothing yet.
fn retry<T>(mut attempt: impl FnMut() -> io::Result<T>) -> T {
    for _ in 0..12_000 {
        match attempt() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                std::thread::sleep(Duration::from_millis(5));
            }
            result => return result.unwrap(),
        }
    }
    panic!("nothing came within a minute");
}

/// Sends this process so many signals, one at each tick.
struct Terminating {
    signals: u32,
    seen: Vec<Call>,
}

impl LoopHandler<Echo> for Terminating {
    fn event(&mut self, _node: &Echo, _now: Now, _at: ClockSnapshot, event: Call) -> io::Result<()> {
        self.seen.push(event);
        Ok(())
    }

    fn tick(&mut self, _at: ClockSnapshot) -> io::Result<()> {
        let Some(left) = self.signals.checked_sub(1) else { return Ok(()) };
        self.signals = left;
        nix::sys::signal::raise(nix::sys::signal::Signal::SIGTERM).map_err(io::Error::from)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn after_a_signal_a_node_hands_over_until_that_is_done_or_takes_too_long_or_a_second_one_comes() {
    // One test for all: a signal reaches every loop of the process that waits for it.
    let seen = |signals, hands_over_in, limit| {
        let (server, _) = listener();
        let node = Echo { hands_over_in, ..Echo::default() };
        let event_loop = EventLoop::new(node, server, overlay()).and_then(EventLoop::with_signals).unwrap();
        let mut terminating = Terminating { signals, seen: Vec::new() };
        let mut event_loop = event_loop.with_handover(limit).with_tick(Some(Span::from_millis(10)));
        event_loop.run(&mut terminating).unwrap();
        terminating.seen
    };
    let (soon, hour) = (Span::from_millis(10), Span::from_secs(3_600));
    assert_eq!(seen(1, None, hour), [Call::HandOver, Call::Shutdown], "there is nobody to hand over to");
    assert_eq!(seen(1, Some(soon), hour), [Call::HandOver, Call::Timeout, Call::Shutdown]);
    assert_eq!(seen(1, Some(hour), soon), [Call::HandOver, Call::Shutdown], "it takes too long");
    assert_eq!(seen(2, Some(hour), hour), [Call::HandOver, Call::Shutdown], "a second signal");
}
