//! Datagrams that are sent after their own timestamp and read after their arrival: what the kernel's
//! timestamps correct of that.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use meantime_core::time::{Monotonic, Now, Raw, Span};
use meantime_core::wire::{Body, ClientState, Datagram, Message, Report};
use meantime_core::{Action, Client, ClientConfig, Node, Path, Server, ServerConfig, StampId};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const SERVER: &str = "192.0.2.1:5525";
const CLIENT: &str = "192.0.2.7:40000";
/// One way, in nanoseconds.
const WAY: i64 = 100_000;

/// The node that an event belongs to.
#[derive(Clone, Copy, PartialEq)]
enum Side {
    Server,
    Client,
}

enum Thing {
    Left(StampId),
    Came { received: i64, datagram: Datagram },
}

/// A server and a client on busy machines, with a constant delay between them.
struct Busy {
    server: Server,
    client: Client,
    rng: ChaCha8Rng,
    stamped: bool,
    now: i64,
    things: BTreeMap<(i64, u64), (Side, Thing)>,
    count: u64,
    reports: Vec<Report>,
    /// How long each report waited before it was sent, beyond its own timestamp.
    lags: Vec<i64>,
    shown: i64,
}

impl Busy {
    fn new(stamped: bool) -> Busy {
        Busy::with(stamped, ClientConfig::default())
    }

    fn with(stamped: bool, config: ClientConfig) -> Busy {
        Busy {
            server: Server::new(ServerConfig::default(), [1; 32], at(Side::Server, 0)),
            client: Client::new(config, [2; 32], at(Side::Client, 0)),
            rng: ChaCha8Rng::seed_from_u64(3),
            stamped,
            now: 0,
            things: BTreeMap::new(),
            count: 0,
            reports: Vec::new(),
            lags: Vec::new(),
            shown: 0,
        }
    }

    fn run(&mut self, seconds: i64) {
        let end = self.now + seconds * 1_000_000_000;
        while self.now < end {
            self.drain();
            let next = self.things.keys().next().map(|(at, _)| *at);
            let timers = [self.server.poll_timeout(), self.client.poll_timeout()];
            let timers = timers.into_iter().flatten().map(Monotonic::as_nanos);
            self.now = timers.chain(next).min().expect("something always comes").max(self.now);
            if self.server.poll_timeout().is_some_and(|due| due.as_nanos() <= self.now) {
                self.server.handle_timeout(at(Side::Server, self.now));
            }
            if self.client.poll_timeout().is_some_and(|due| due.as_nanos() <= self.now) {
                self.client.handle_timeout(at(Side::Client, self.now));
            }
            self.drain();
            let due = self.things.first_entry().filter(|entry| entry.key().0 <= self.now);
            if let Some((side, thing)) = due.map(std::collections::btree_map::OccupiedEntry::remove) {
                self.happen(side, thing);
            }
            self.assert_forwards();
        }
    }

    fn happen(&mut self, side: Side, thing: Thing) {
        let now = at(side, self.now);
        match thing {
            Thing::Left(id) => match side {
                Side::Server => self.server.handle_transmitted(id, now.raw),
                Side::Client => self.client.handle_transmitted(id, now.raw),
            },
            Thing::Came { received, datagram } => {
                let received = at(side, if self.stamped { received } else { self.now }).raw;
                match side {
                    Side::Server => {
                        self.server.handle_received(now, received, path(CLIENT), &datagram);
                    }
                    Side::Client => {
                        self.client.handle_received(now, received, path(SERVER), &datagram);
                    }
                }
            }
        }
    }

    fn drain(&mut self) {
        while let Some(Action::Resolve(rank)) = self.client.poll_action() {
            let server = SERVER.parse().ok();
            self.client.handle_resolved(at(Side::Client, self.now), rank, server);
        }
        while let Some(transmit) = self.server.poll_transmit(at(Side::Server, self.now)) {
            self.send(Side::Server, transmit.datagram, transmit.stamp);
        }
        while let Some(transmit) = self.client.poll_transmit(at(Side::Client, self.now)) {
            self.send(Side::Client, transmit.datagram, transmit.stamp);
        }
    }

    /// The client is the slower one: what it sends waits for a while. Both read late what has arrived.
    fn send(&mut self, side: Side, datagram: Datagram, stamp: Option<StampId>) {
        let busy = if side == Side::Client { 300_000 } else { 10_000 };
        let lag = busy / 10 + self.rng.random_range(0..busy);
        if let Body::Report(report) = Message::decode(&datagram).expect("a datagram").body {
            self.reports.push(report);
            self.lags.push(lag);
        }
        let (left, came) = (self.now + lag, self.now + lag + WAY);
        if let Some(id) = stamp.filter(|_| self.stamped) {
            self.plan(left, side, Thing::Left(id));
        }
        let other = if side == Side::Client { Side::Server } else { Side::Client };
        let read = came + self.rng.random_range(0..200_000);
        self.plan(read, other, Thing::Came { received: came, datagram });
    }

    fn plan(&mut self, at: i64, side: Side, thing: Thing) {
        self.count += 1;
        self.things.insert((at, self.count), (side, thing));
    }

    fn assert_forwards(&mut self) {
        let reading = self.client.read(at(Side::Client, self.now).raw);
        if reading.state == ClientState::Synchronized {
            assert!(reading.time.as_nanos() >= self.shown, "published time ran backwards");
            self.shown = reading.time.as_nanos();
            let server = self.server.read(at(Side::Server, self.now).raw);
            let bounds = reading.bound.zip(server.bound).map(|(client, server)| client + server);
            assert!(bounds.is_none_or(|most| (reading.time - server.time).abs() <= most), "beyond the bound");
        }
    }

    /// The client's published time minus the server's.
    fn difference(&self) -> Span {
        let client = self.client.read(at(Side::Client, self.now).raw).time;
        client - self.server.read(at(Side::Server, self.now).raw).time
    }
}

/// A time of the simulation. Both oscillators are perfect; the client's is a second ahead.
fn at(side: Side, ns: i64) -> Now {
    let ahead = if side == Side::Client { Span::from_secs(1) } else { Span::ZERO };
    let raw = Raw::from_nanos(1_800_000_000_000_000_000 + ns) + ahead;
    Now { mono: Monotonic::from_nanos(ns), raw }
}

fn path(text: &str) -> Path {
    Path { peer: text.parse::<SocketAddr>().expect("an address"), local: None }
}

#[test]
fn timestamps_correct_the_measurements_of_a_busy_machine() {
    let error = |stamped| {
        let mut busy = Busy::new(stamped);
        busy.run(120);
        let seen: Vec<i64> = (0..60)
            .map(|_| {
                busy.run(1);
                busy.difference().as_nanos().abs()
            })
            .collect();
        seen.into_iter().max().expect("a minute of seconds")
    };
    let (with, without) = (error(true), error(false));
    assert!(with < 1_000, "{with} ns off with timestamps");
    assert!(without > 10_000, "{without} ns off without: this test shows nothing");
}

#[test]
fn a_known_asymmetry_is_removed_from_timestamps_and_readings_alike() {
    // There is no asymmetry, so the client's clock is wrong by half of the configured one.
    let config = ClientConfig { asymmetry: Span::from_micros(40), ..ClientConfig::default() };
    let mut busy = Busy::with(true, config);
    busy.run(180);
    let off = busy.difference() - Span::from_micros(20);
    assert!(off.abs() < Span::from_micros(1), "off by {off}");
    // The transmit latency that it reports is unchanged.
    let reported: Vec<Span> = busy.reports.iter().map(|report| report.transmit_latency).collect();
    assert_eq!(reported[1].as_nanos(), busy.lags[0]);
}

#[test]
fn a_bound_is_as_tight_as_the_timestamps() {
    let bound = |stamped| {
        let mut busy = Busy::new(stamped);
        busy.run(180);
        busy.client.read(at(Side::Client, busy.now).raw).bound.expect("a bound")
    };
    let (with, without) = (bound(true), bound(false));
    assert!(with < Span::from_nanos(WAY + 30_000), "{with} with timestamps");
    assert!(without > with, "{without} without, {with} with timestamps");
}

#[test]
fn a_report_states_the_transmit_latency_of_the_previous_one() {
    let mut busy = Busy::new(true);
    busy.run(60);
    let pairs = busy.reports.windows(2).zip(&busy.lags);
    let reported: Vec<(i64, i64)> =
        pairs.map(|(pair, lag)| (pair[1].transmit_latency.as_nanos(), *lag)).collect();
    assert!(reported.len() > 40);
    // At first no part of the latency is predicted; later its minimum is.
    assert_eq!(reported[0].0, reported[0].1);
    for (latency, lag) in &reported[1..] {
        let predicted = lag - latency;
        assert!((30_000..331_000).contains(&predicted), "{latency} of {lag}");
    }
    assert!(reported.iter().rev().take(20).all(|(latency, _)| *latency > -40_000 && *latency < 300_000));
}

#[test]
fn without_timestamps_no_transmit_latency_is_reported_or_predicted() {
    let mut busy = Busy::new(false);
    busy.run(30);
    assert!(!busy.reports.is_empty());
    assert!(busy.reports.iter().all(|report| report.transmit_latency == Span::ZERO));
}
