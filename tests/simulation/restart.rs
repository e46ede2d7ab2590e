//! Servers and clients that die and come back.

use meantime_core::time::Span;
use meantime_core::{ClientEvent, ServerEvent};
use meantime_sim::{Fault, MemberIndex, NodeEvent, Observer, ReportedEvent, Sample, Scenario};

use crate::support::{Running, s, seeds, settled, us};

/// Watches the clients' registrations and the cluster's time.
#[derive(Default)]
struct Watch {
    registered: Vec<(MemberIndex, Span)>,
    adopted: Option<Span>,
    worst: Span,
}

impl Observer for Watch {
    fn sampled(&mut self, sample: &Sample) {
        let worst = sample.worst(|member| member != MemberIndex::SERVER);
        self.worst = self.worst.max(worst.unwrap_or(Span::MAX));
    }

    fn reported(&mut self, happening: &ReportedEvent) {
        match happening.event {
            NodeEvent::Client(ClientEvent::Registered { .. }) => {
                self.registered.push((happening.member, happening.at));
            }
            NodeEvent::Server(ServerEvent::TimeAdopted { .. }) => self.adopted = Some(happening.at),
            _ => {}
        }
    }
}

/// The server dies and is started again `later`, while its oscillator has jumped by `jump`.
fn server_restarts(later: Span, jump: Span) {
    for seed in seeds(0..5) {
        let scenario = Scenario { clients: 5, ..Scenario::seeded(seed) };
        let _running = Running(&scenario);
        let mut simulation = settled(&scenario, s(1_800));
        let jumps_before: Vec<_> =
            scenario.members().map(|member| simulation.world().machine(member).jumps).collect();
        simulation.inject(Fault::Crash(MemberIndex::SERVER));
        simulation.run_for(later, &mut ());
        simulation.inject(Fault::Jump(MemberIndex::SERVER, jump));
        simulation.inject(Fault::Start(MemberIndex::SERVER));
        let mut watch = Watch::default();
        simulation.run_for(s(900), &mut watch);
        let back = s(1_800) + later;
        for client in scenario.members().skip(1) {
            let at = watch.registered.iter().find(|(member, _)| *member == client).map(|(_, at)| *at - back);
            let limit = scenario.interval.times(2) + s(1);
            assert!(at.is_some_and(|at| at <= limit), "seed {seed}: {client} registered after {at:?}");
            let jumps = simulation.world().machine(client).jumps;
            assert_eq!(jumps, jumps_before[client.place(scenario.clients)], "seed {seed}: {client} jumped");
        }
        assert!(watch.adopted.is_some(), "seed {seed}: the server did not take the members' time");
        assert!(watch.worst < us(100), "seed {seed}: a client was {} off", watch.worst);
        let apart = simulation.sample().disagreement().unwrap();
        assert!(apart < us(100), "seed {seed}: {apart} apart in the end");
    }
}

#[ignore = "long: scripts/check.sh runs it"]
#[test]
fn a_server_that_restarts_at_once_takes_its_clients_time() {
    server_restarts(Span::from_millis(200), Span::ZERO);
    // So that its rounds and the hurry of its members are in step.
    server_restarts(s(1), Span::ZERO);
}

#[ignore = "long: scripts/check.sh runs it"]
#[test]
fn a_server_that_was_away_for_a_minute_takes_its_clients_time() {
    server_restarts(s(60), Span::ZERO);
}

#[ignore = "long: scripts/check.sh runs it"]
#[test]
fn a_server_that_comes_back_an_hour_wrong_takes_its_clients_time() {
    server_restarts(s(20), s(3_600));
}

#[ignore = "long: scripts/check.sh runs it"]
#[test]
fn clients_hold_together_while_the_server_is_away_for_ten_minutes() {
    for seed in seeds(0..5) {
        let scenario = Scenario { clients: 5, ..Scenario::seeded(seed) };
        let _running = Running(&scenario);
        let mut simulation = settled(&scenario, s(1_800));
        simulation.inject(Fault::Crash(MemberIndex::SERVER));
        let mut watch = Watch::default();
        simulation.run_for(s(600), &mut watch);
        assert!(watch.worst < us(200), "seed {seed}: {}", watch.worst);
    }
}

#[test]
fn a_client_that_crashes_and_restarts_is_back_within_a_second() {
    for seed in seeds(0..5) {
        let scenario = Scenario { clients: 5, ..Scenario::seeded(seed) };
        let _running = Running(&scenario);
        let mut simulation = settled(&scenario, s(600));
        simulation.inject(Fault::Crash(MemberIndex::client(2)));
        simulation.inject(Fault::Start(MemberIndex::client(2)));
        simulation.run_for(s(1), &mut ());
        let apart = simulation.sample().disagreement().unwrap();
        assert!(apart < Span::from_millis(1), "seed {seed}: {apart} apart");
    }
}

#[test]
fn a_client_that_stood_still_for_ten_seconds_agrees_when_it_goes_on() {
    for seed in seeds(0..5) {
        let scenario = Scenario { clients: 5, ..Scenario::seeded(seed) };
        let _running = Running(&scenario);
        let mut simulation = settled(&scenario, s(600));
        simulation.inject(Fault::Pause(MemberIndex::client(2)));
        simulation.run_for(s(10), &mut ());
        simulation.inject(Fault::Resume(MemberIndex::client(2)));
        let mut watch = Watch::default();
        simulation.run_for(s(120), &mut watch);
        assert!(watch.worst < us(100), "seed {seed}: {}", watch.worst);
    }
}

#[test]
fn a_server_whose_machine_sleeps_again_and_again_takes_its_clients_time_within_seconds() {
    for (seed, clients) in [(0, 1), (1, 3), (2, 5)] {
        let scenario = Scenario { clients, ..Scenario::seeded(seed) };
        let _running = Running(&scenario);
        let mut simulation = settled(&scenario, s(600));
        for sleep in 0..4 {
            simulation.inject(Fault::Sleep(MemberIndex::SERVER, s(3_600)));
            let mut watch = Watch::default();
            simulation.run_for(s(20), &mut watch);
            assert!(watch.adopted.is_some(), "seed {seed}, {clients} clients, sleep {sleep}");
            simulation.run_for(s(40), &mut ());
        }
    }
}
