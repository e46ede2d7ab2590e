//! The active server dies.

use meantime_core::ServerEvent;
use meantime_core::consensus::Weight;
use meantime_core::time::Span;
use meantime_core::wire::ClusterId;
use meantime_sim::{Fault, MemberIndex, Observer, ReportedEvent, Scenario, Simulation};

use super::watch::Watch;
use super::{ACTIVE, ROUND, SETTLED, clients, lan};
use crate::support::{Running, s, seeds, us};

/// The active server of a settled cluster is killed. All clients are corrected again within so many rounds,
/// and no clock notices. Returns the time until the last client was corrected, and the largest disagreement
/// before and after.
fn kill(scenario: &Scenario, rounds: i64) -> (Span, Span, Span) {
    let _running = Running(scenario);
    let (mut simulation, mut watch) = (Simulation::new(scenario), Watch::default());
    simulation.run_until(SETTLED, &mut watch);
    assert_eq!(watch.active.last().map(|(_, active)| &active[..]), Some(&[ACTIVE][..]));
    simulation.inject(Fault::Crash(ACTIVE));
    simulation.run_for(s(120), &mut watch);
    let seed = scenario.seed.0;
    let again =
        |client: MemberIndex| watch.corrected_after(client, SETTLED).map_or(s(120), |at| at - SETTLED);
    let slowest = clients(scenario).map(again).max().expect("there are clients");
    let (before, after) = (watch.worst(SETTLED - s(600), SETTLED), watch.worst(SETTLED, SETTLED + s(120)));
    println!("seed {seed}: corrected again after {slowest}, apart {before} before, {after} after");
    assert!(slowest <= ROUND.times(rounds), "seed {seed}: {slowest}, {:?}", watch.roles);
    watch.assert_no_step_since(s(60));
    assert_eq!(watch.violations, [], "seed {seed}");
    assert_eq!(
        watch.active.last().map(|(_, active)| active.len()),
        Some(1),
        "seed {seed}: {:?}",
        watch.roles
    );
    (slowest, before, after)
}

/// The server that decides the time is killed before its next probes, which would have named the cluster. The
/// one that takes over names another, and all clocks have bounds.
#[test]
fn a_cluster_whose_server_ends_before_it_has_named_it_is_named_by_the_next_one() {
    for seed in seeds(0..3) {
        let scenario = Scenario { start_within: Span::ZERO, ..lan(seed, 0.0) };
        let _running = Running(&scenario);
        let (mut simulation, mut watch) = (Simulation::new(&scenario), Watch::default());
        while clients(&scenario).any(|client| watch.corrected_after(client, Span::ZERO).is_none()) {
            simulation.run_for(Span::from_millis(10), &mut watch);
        }
        simulation.inject(Fault::Crash(watch.roles[0].1));
        simulation.run_for(s(60), &mut watch);
        assert_eq!(watch.active_now().len(), 1, "seed {seed}: {:?}", watch.roles);
        for (member, clock) in simulation.sample().members() {
            let is_certain = clock.is_none_or(|clock| clock.cluster != ClusterId(0) && clock.bound.is_some());
            assert!(is_certain, "seed {seed}: {member:?} {clock:?}");
        }
    }
}

/// The worst of several runs.
fn worst_of(figures: impl Iterator<Item = (Span, Span, Span)>) -> (Span, Span, Span) {
    figures.fold((Span::ZERO, Span::ZERO, Span::ZERO), |worst, (slowest, before, after)| {
        (worst.0.max(slowest), worst.1.max(before), worst.2.max(after))
    })
}

/// How many votes there were in each round of the active servers.
#[derive(Default)]
struct Votes(Vec<(Span, MemberIndex, Weight)>);

impl Observer for Votes {
    fn reported(&mut self, event: &ReportedEvent) {
        if let Some(ServerEvent::RoundEnded(report)) = event.event.of_server() {
            self.0.push((event.at, event.member, report.votes));
        }
    }
}

#[test]
fn members_of_a_server_that_has_just_begun_have_votes_when_it_takes_over() {
    let scenario = Scenario { servers: 2, ..lan(1, 0.0) };
    let _running = Running(&scenario);
    let second = MemberIndex::server(2);
    let (mut simulation, mut votes) = (Simulation::new(&scenario), Votes::default());
    simulation.run_until(s(300), &mut votes);
    simulation.inject(Fault::Crash(second));
    simulation.run_for(s(15), &mut votes);
    simulation.inject(Fault::Start(second));
    simulation.run_for(s(40), &mut votes);
    simulation.inject(Fault::Crash(ACTIVE));
    simulation.run_for(s(60), &mut votes);
    let of_second: Vec<_> = votes.0.iter().filter(|(_, member, _)| *member == second).collect();
    // Its own clock and eight clients, which have their votes from two intervals after the takeover on.
    let later = of_second.iter().skip(4).collect::<Vec<_>>();
    assert!(later.len() > 5 && later.iter().all(|(.., votes)| *votes == Weight::votes(9)), "{of_second:?}");
}

#[test]
fn clients_are_corrected_again_within_rounds_when_the_active_server_is_killed() {
    for seed in seeds(0..2) {
        kill(&lan(seed, 0.0), 3);
    }
}

#[ignore = "long: scripts/check.sh runs it"]
#[test]
fn clients_are_corrected_again_within_three_rounds_in_all_worlds() {
    let worst = worst_of(seeds(0..20).into_iter().map(|seed| {
        let (slowest, before, after) = kill(&lan(seed, 0.0), 3);
        assert!(after <= before.times(3) && after <= us(20), "seed {seed}: {before}, then {after}");
        (slowest, before, after)
    }));
    println!(
        "killed: corrected again after {} at most, apart {} before, {} after",
        worst.0, worst.1, worst.2
    );
}

#[ignore = "long: scripts/check.sh runs it"]
#[test]
fn clients_are_corrected_again_within_five_rounds_where_a_fifth_is_lost() {
    let worst = worst_of(seeds(0..20).into_iter().map(|seed| {
        let (slowest, before, after) = kill(&lan(seed, 0.2), 5);
        assert!(after <= before.times(3) && after <= us(20), "seed {seed}: {before}, then {after}");
        (slowest, before, after)
    }));
    println!(
        "20 % loss: corrected again after {} at most, apart {} before, {} after",
        worst.0, worst.1, worst.2
    );
}

#[test]
fn with_keys_a_takeover_is_the_same() {
    for seed in seeds(0..1) {
        kill(&Scenario { keys: true, ..lan(seed, 0.0) }, 3);
    }
}

#[ignore = "long: scripts/check.sh runs it"]
#[test]
fn each_server_takes_over_when_those_before_it_are_killed_and_comes_back_as_a_standby_server() {
    for seed in seeds(0..3) {
        let scenario = lan(seed, 0.0);
        let _running = Running(&scenario);
        let (mut simulation, mut watch) = (Simulation::new(&scenario), Watch::default());
        simulation.run_until(SETTLED, &mut watch);
        for turn in 0..10 {
            let active = watch.active_now();
            let [active] = active[..] else { panic!("seed {seed}, turn {turn}: {active:?}") };
            let at = simulation.world().now();
            simulation.inject(Fault::Crash(active));
            simulation.run_for(s(60), &mut watch);
            simulation.inject(Fault::Start(active));
            // A process that has just started does not know its frequency yet.
            watch.left_out = Some(active);
            simulation.run_for(s(60), &mut watch);
            watch.left_out = None;
            simulation.run_for(s(60), &mut watch);
            for client in clients(&scenario) {
                let again = watch.corrected_after(client, at).map(|again| again - at);
                assert!(again <= Some(ROUND.times(3)) && again.is_some(), "seed {seed}: {client} {again:?}");
            }
            assert!(!watch.active_now().contains(&active), "seed {seed}: {active} is active again");
        }
        // A process that has just started has no time yet.
        let servers: Vec<MemberIndex> = scenario.members().filter(|member| member.is_server()).collect();
        watch.assert_steps_only_of(s(60), &servers);
        assert_eq!(watch.violations, [], "seed {seed}");
        let apart = watch.worst(SETTLED, simulation.world().now());
        println!("seed {seed}: ten servers killed in a row: apart {apart} at most");
        assert!(apart <= us(20), "seed {seed}: {apart}");
    }
}
