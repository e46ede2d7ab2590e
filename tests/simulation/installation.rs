//! Fresh installations: machines with clocks that are within some seconds, switched on in any order within
//! ten minutes.

use std::collections::{BTreeMap, BTreeSet};

use meantime_core::event::{Falseticker, Voter};
use meantime_core::time::Span;
use meantime_core::wire::{ClientState, ClusterId};
use meantime_core::{ClientEvent, ServerEvent};
use meantime_sim::{MemberIndex, NodeEvent, Observer, ReportedEvent, Scenario, Simulation};
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::support::{Running, s, sampled_seeds, seeds, us};

/// When the server is switched on.
#[derive(Clone, Copy, Debug)]
enum ServerIs {
    First,
    Amid,
    Last,
    Anywhere,
}

/// So many machines in an order, and at times, that the seed decides. All are on after ten minutes.
fn switched_on(machines: usize, server: ServerIs, seed: u64) -> Scenario {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut times: Vec<Span> =
        (0..machines).map(|_| Span::from_millis(rng.random_range(0..600_000))).collect();
    times.sort_unstable();
    let server_start = times.remove(match server {
        ServerIs::First => 0,
        ServerIs::Amid => machines / 2,
        ServerIs::Last => machines - 1,
        ServerIs::Anywhere => rng.random_range(0..machines),
    });
    times.shuffle(&mut rng);
    let joins = times.into_iter().enumerate().map(|(k, at)| (MemberIndex::client(k + 1), at)).collect();
    let (clients, offset, duration) = (machines - 1, s(8), s(900));
    Scenario { clients, offset, server_start, joins, duration, settle: s(800), ..Scenario::seeded(seed) }
}

/// What was reported.
#[derive(Default)]
struct Watch {
    /// The first votes that succeeded, and the other ways in which a server comes by a time.
    agreed: usize,
    other_ways: Vec<ServerEvent>,
    clusters: BTreeSet<u64>,
    /// Steps of each clock that did not synchronize it.
    later_steps: Vec<ReportedEvent>,
    steps_of_server: usize,
    /// What was told that an operator has to look at.
    broken: Vec<ReportedEvent>,
    /// When each client followed its first correction.
    synchronized: BTreeMap<String, Span>,
}

impl Watch {
    /// Whether the clock that is named has just come: its oscillator may be 100 ppm off, which it learns in
    /// its first rounds.
    fn has_just_come(&self, falseticker: &Falseticker, at: Span) -> bool {
        let Voter::Client(peer) = falseticker.voter else { return false };
        self.synchronized.get(peer.name.as_str()).is_some_and(|first| at - *first <= s(15))
    }
}

impl Observer for Watch {
    fn reported(&mut self, event: &ReportedEvent) {
        match &event.event {
            NodeEvent::Server(ServerEvent::TimeAgreed { cluster, .. }) => {
                self.agreed += 1;
                self.clusters.insert(cluster.0);
            }
            NodeEvent::Server(
                it @ (ServerEvent::TimeAdopted { .. }
                | ServerEvent::TimeFounded { .. }
                | ServerEvent::Deposed { .. }),
            ) => self.other_ways.push(it.clone()),
            NodeEvent::Server(ServerEvent::Falseticker(it)) if self.has_just_come(it, event.at) => {}
            NodeEvent::Server(ServerEvent::BoundsBroken { .. } | ServerEvent::Falseticker(_))
            | NodeEvent::Client(ClientEvent::BoundBroken { .. } | ClientEvent::RefusedCorrection { .. }) => {
                self.broken.push(event.clone());
            }
            NodeEvent::Client(ClientEvent::Corrected { first: true, .. }) => {
                self.synchronized.insert(event.member.to_string(), event.at);
            }
            _ => {}
        }
        let joins = matches!(&event.event, NodeEvent::Client(ClientEvent::Corrected { first: true, .. }));
        let founds = matches!(&event.event, NodeEvent::Server(_)) && self.agreed == 1;
        let is_first = joins || (founds && self.steps_of_server == 0);
        self.steps_of_server += usize::from(event.event.is_step() && event.member == MemberIndex::SERVER);
        if event.event.is_step() && !is_first {
            self.later_steps.push(event.clone());
        }
    }
}

fn comes_together(machines: usize, server: ServerIs, seed: u64) {
    let scenario = switched_on(machines, server, seed);
    let _running = Running(&scenario);
    let mut watch = Watch::default();
    let mut simulation = Simulation::new(&scenario);
    simulation.run_until(scenario.duration, &mut watch);
    let what = format!("{machines} machines, server {server:?}, seed {seed}");
    assert_eq!((watch.agreed, &watch.other_ways), (1, &Vec::new()), "{what}");
    assert!(watch.later_steps.is_empty(), "{what}: {:?}", watch.later_steps);
    assert!(watch.broken.is_empty(), "{what}: {:?}", watch.broken);
    let sample = simulation.sample();
    for (number, clock) in sample.clocks.iter().enumerate() {
        let clock = clock.unwrap_or_else(|| panic!("{what}: {number} does not run"));
        assert_eq!(clock.state, ClientState::Synchronized, "{what}: {number}");
        assert!(
            clock.cluster != ClusterId(0) && watch.clusters.contains(&clock.cluster.0),
            "{what}: {number}"
        );
        assert!(clock.off.abs() < s(9), "{what}: {number} is {} off", clock.off);
    }
    let apart = sample.disagreement().expect("clocks");
    assert!(apart < us(100), "{what}: {apart} apart");
}

const ORDERS: [ServerIs; 4] = [ServerIs::First, ServerIs::Amid, ServerIs::Last, ServerIs::Anywhere];

#[test]
fn a_fresh_installation_of_three_machines_needs_no_flag_in_any_order() {
    for seed in seeds(0..5) {
        ORDERS.into_iter().for_each(|server| comes_together(3, server, seed));
    }
}

#[test]
fn a_fresh_installation_of_thirty_machines_needs_no_flag() {
    for seed in seeds(0..1) {
        comes_together(30, ServerIs::Amid, seed);
    }
}

#[ignore = "long: scripts/check.sh runs it"]
#[test]
fn fresh_installations_of_three_machines_need_no_flag_in_many_orders() {
    for seed in sampled_seeds(100..400, 20) {
        ORDERS.into_iter().for_each(|server| comes_together(3, server, seed));
    }
}

#[ignore = "long: scripts/check.sh runs it"]
#[test]
fn fresh_installations_of_thirty_machines_need_no_flag_in_many_orders() {
    for seed in sampled_seeds(100..200, 1) {
        ORDERS.into_iter().for_each(|server| comes_together(30, server, seed));
    }
}
