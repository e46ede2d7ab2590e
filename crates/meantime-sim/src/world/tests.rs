//! The world, tested with nodes that only say what time it is.

use super::*;
use crate::{Impairments, Jitter, Moderation, NodeConfig, Scenario, Simulation, WakeUp};
use meantime_core::time::{Frequency, Monotonic, Now, Raw, Timestamp};
use meantime_core::wire::{ClientState, ManualAdjustment};
use meantime_core::{Action, Counters, Node};

/// A client asks once a second; a server answers with the same bytes. No clock is corrected.
struct Fake {
    is_server: bool,
    server: Option<SocketAddr>,
    next: Option<Monotonic>,
    last: Monotonic,
    outbox: Vec<Transmit>,
    heard: u64,
    ask: bool,
    counters: Counters,
}

impl SimNode for Fake {
    fn start(plan: &NodeConfig, _seed: [u8; 32], now: Now) -> Fake {
        let is_server = matches!(plan, NodeConfig::Server(_));
        Fake {
            is_server,
            server: None,
            next: None,
            last: now.mono,
            outbox: Vec::new(),
            heard: 0,
            ask: !is_server,
            counters: Counters::default(),
        }
    }
}

impl Fake {
    fn at(&mut self, now: Now) {
        assert!(now.mono >= self.last, "monotonic time ran backwards");
        self.last = now.mono;
    }
}

impl Node for Fake {
    type Event = NodeEvent;
    fn handle_datagram(&mut self, now: Now, path: Path, datagram: &[u8]) {
        self.at(now);
        self.heard += 1;
        if self.is_server {
            self.outbox.push(Transmit { path, datagram: datagram.try_into().unwrap(), stamp: None });
        }
    }
    fn handle_timeout(&mut self, now: Now) {
        self.at(now);
        assert!(self.next.is_some_and(|next| next <= now.mono), "woken too early");
        self.next = Some(now.mono + Span::from_secs(1));
        if let Some(peer) = self.server {
            self.outbox.push(Transmit { path: Path { peer, local: None }, datagram: [7; 96], stamp: None });
        }
    }
    fn handle_shutdown(&mut self, _now: Now) {}
    fn handle_resolved(&mut self, now: Now, _rank: Rank, server: Option<SocketAddr>) {
        (self.server, self.next) = (server, Some(now.mono));
    }
    fn poll_transmit(&mut self, now: Now) -> Option<Transmit> {
        self.at(now);
        self.outbox.pop()
    }
    fn poll_action(&mut self) -> Option<Action> {
        std::mem::take(&mut self.ask).then_some(Action::Resolve(Rank::FIRST))
    }
    fn poll_event(&mut self) -> Option<NodeEvent> {
        None
    }
    fn poll_timeout(&self) -> Option<Monotonic> {
        self.next
    }
    fn read(&self, raw: Raw) -> ClockReading {
        ClockReading {
            cluster: meantime_core::wire::ClusterId(7),
            time: Timestamp::from_nanos(raw.as_nanos()),
            manual_adjustment: ManualAdjustment::NONE,
            state: ClientState::Synchronized,
            error: None,
            bound: None,
            frequency: Frequency::ZERO,
            frequency_error: None,
        }
    }
    fn counters(&self) -> &Counters {
        &self.counters
    }
}

fn heard(simulation: &mut Simulation<Fake>, member: MemberIndex) -> u64 {
    simulation.world().machine(member).node().map_or(0, |node| node.heard)
}

fn run(scenario: &Scenario, seconds: i64) -> Simulation<Fake> {
    let mut simulation = Simulation::of(scenario);
    simulation.run_until(Span::from_secs(seconds), &mut ());
    simulation
}

const CLIENT: MemberIndex = MemberIndex::client(1);

#[test]
fn every_question_is_heard_and_answered() {
    let mut simulation = run(&Scenario { clients: 2, ..Scenario::default() }, 100);
    assert_eq!(heard(&mut simulation, MemberIndex::SERVER), 200);
    assert_eq!(heard(&mut simulation, CLIENT), 100);
    assert!((simulation.summary().packets_per_client_per_s - 2.0).abs() < 0.01);
}

/// From the last question of the first client to the end of its work on the answer.
fn round_trip(scenario: &Scenario) -> Span {
    let simulation = &mut run(&Scenario { clients: 1, jitter: Jitter::None, ..scenario.clone() }, 10);
    let node = simulation.world().machine(CLIENT).node().unwrap();
    node.last - (node.next.unwrap() - Span::from_secs(1))
}

#[test]
fn machines_that_were_idle_receive_late() {
    let awake = round_trip(&Scenario::default());
    assert_eq!(awake, Span::from_micros(2 * 100 + 3 * 10));
    for seed in 0..10 {
        let asleep = round_trip(&Scenario { wake_up: WakeUp::Deep, ..Scenario::seeded(seed) });
        // The server has slept deeply, the client since its question at most a little.
        assert!((50_000..300_000).contains(&(asleep - awake).as_nanos()), "{asleep}");
        let moderated = round_trip(&Scenario { moderation: Moderation::Fixed, ..Scenario::seeded(seed) });
        assert!((40_000..=140_000).contains(&(moderated - awake).as_nanos()), "{moderated}");
    }
}

#[test]
fn the_same_seed_gives_the_same_run_and_another_seed_another() {
    let scenario = |seed| Scenario {
        impairments: Impairments { loss: 0.2, ..Impairments::default() },
        ..Scenario::seeded(seed)
    };
    let trace = |seed| run(&scenario(seed), 100).summary().trace;
    assert_eq!(trace(5), trace(5));
    assert_ne!(trace(5), trace(6));
}

#[test]
fn clocks_without_corrections_disagree_and_are_seen_to() {
    let summary = run(&Scenario::default(), 100).summary();
    assert_eq!(summary.agreed, [None; 3]);
    assert!(summary.spreads.max() > Some(Span::from_millis(100)));
}

#[test]
fn a_process_that_stands_still_receives_everything_when_it_goes_on() {
    let mut simulation = run(&Scenario { clients: 1, ..Scenario::default() }, 10);
    let before = heard(&mut simulation, MemberIndex::SERVER);
    simulation.inject(Fault::Pause(MemberIndex::SERVER));
    simulation.run_for(Span::from_secs(10), &mut ());
    assert_eq!(heard(&mut simulation, MemberIndex::SERVER), before);
    simulation.inject(Fault::Resume(MemberIndex::SERVER));
    simulation.run_for(Span::from_secs(10), &mut ());
    assert_eq!(heard(&mut simulation, MemberIndex::SERVER), before + 20);
}

#[test]
fn a_process_that_stands_still_finds_the_address_that_it_has_asked_for_when_it_goes_on() {
    let mut simulation = run(&Scenario { clients: 1, ..Scenario::default() }, 0);
    simulation.run_for(LOOKUP.half(), &mut ());
    simulation.inject(Fault::Crash(CLIENT));
    simulation.inject(Fault::Start(CLIENT));
    // It asks when it starts.
    simulation.run_for(LOOKUP.half(), &mut ());
    simulation.inject(Fault::Pause(CLIENT));
    simulation.run_for(Span::from_secs(10), &mut ());
    assert_eq!(heard(&mut simulation, CLIENT), 0);
    simulation.inject(Fault::Resume(CLIENT));
    simulation.run_for(Span::from_secs(10), &mut ());
    assert!(heard(&mut simulation, CLIENT) >= 9);
}

#[test]
fn a_crashed_client_hears_nothing_of_its_former_life() {
    let slow = Scenario { clients: 1, delay: Span::from_millis(400), ..Scenario::default() };
    let mut simulation = run(&slow, 10);
    assert!(heard(&mut simulation, CLIENT) >= 9);
    simulation.run_for(Span::from_millis(700), &mut ());
    simulation.inject(Fault::Crash(CLIENT));
    simulation.inject(Fault::Start(CLIENT));
    simulation.run_for(Span::from_millis(500), &mut ());
    assert_eq!(heard(&mut simulation, CLIENT), 0);
    simulation.run_for(Span::from_secs(10), &mut ());
    assert!(heard(&mut simulation, CLIENT) >= 9);
}

#[test]
fn a_cut_path_lets_nothing_through_until_it_heals() {
    let mut simulation = run(&Scenario { clients: 2, ..Scenario::default() }, 10);
    let before = heard(&mut simulation, CLIENT);
    simulation.inject(Fault::Cut(CLIENT.into(), Directions::ToClient));
    simulation.run_for(Span::from_secs(10), &mut ());
    assert_eq!(heard(&mut simulation, CLIENT), before);
    assert_eq!(heard(&mut simulation, MemberIndex::client(2)), 20);
    simulation.inject(Fault::Heal(CLIENT.into()));
    simulation.run_for(Span::from_secs(10), &mut ());
    assert_eq!(heard(&mut simulation, CLIENT), before + 10);
}

#[test]
fn a_jump_of_the_oscillator_is_no_jump_of_the_nodes_making() {
    let mut simulation = run(&Scenario::default(), 10);
    simulation.inject(Fault::Jump(CLIENT, Span::from_secs(3_600)));
    simulation.run_for(Span::from_secs(10), &mut ());
    assert_eq!(simulation.world().machine(CLIENT).jumps.count, 0);
    let off = simulation.sample().clocks[1].unwrap().off;
    assert!((off - Span::from_secs(3_600)).abs() <= Span::from_millis(10_010), "{off}");
}

#[test]
fn a_route_changes_in_the_direction_and_for_the_client_that_were_asked_for() {
    let quiet = Scenario { clients: 2, jitter: Jitter::None, ..Scenario::default() };
    let mut simulation = run(&quiet, 10);
    let (short, long) = (Span::from_micros(100), Span::from_micros(400));
    simulation.inject(Fault::Base(CLIENT.into(), Directions::ToClient, long));
    simulation.run_for(Span::from_secs(1), &mut ());
    let mut base = |from: MemberIndex, to: MemberIndex| {
        let mesh = &mut simulation.world().mesh;
        let (path, direction) = mesh.find(from, to).unwrap();
        mesh.carry(path, direction, Span::ZERO, &mut [0; 96]).first.unwrap()
    };
    for (client, down) in [(CLIENT, long), (MemberIndex::client(2), short)] {
        assert_eq!(base(MemberIndex::SERVER, client), down);
        assert_eq!(base(client, MemberIndex::SERVER), short);
    }
}
