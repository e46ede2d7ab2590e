//! Up to the largest minority lies, in every way there is.

use meantime_core::time::{Frequency, Span};
use meantime_sim::{Fault, Lie, MemberIndex, Scenario, Simulation};

use crate::support::{Running, battery, s, sampled_seeds, seeds, us};
use crate::worlds;

/// Five to fifteen clients of which the largest number below half lies from the start; the good ones
/// agree, and the vote leaves out the liars if they are to be `named`, and no other member.
fn minority(lie: Lie, named: bool) {
    // The time that a world takes grows with its clients.
    let sizes = if worlds::all() { Vec::from_iter(5..=15) } else { vec![5, 6, 8, 15] };
    for seed in seeds(0..1) {
        for &clients in &sizes {
            let liars = (clients - 1) / 2;
            let (settle, duration) = (s(120), s(1_800));
            let scenario =
                Scenario { clients, liars, lies: vec![lie], settle, duration, ..Scenario::seeded(seed) };
            let _running = Running(&scenario);
            let summary = Simulation::new(&scenario).run();
            let apart = summary.spreads.max().unwrap();
            assert!(apart <= us(100), "{clients} clients, {liars} liars: {apart} apart");
            for member in scenario.members() {
                let is_named = summary.excluded.iter().any(|excluded| excluded.name == member.to_string());
                if scenario.is_liar(member) {
                    assert!(is_named || !named, "{clients} clients: {member} lies and is not named");
                } else {
                    assert!(!is_named, "{clients} clients: {member} is honest and named");
                }
            }
        }
    }
}

#[ignore = "long: scripts/check.sh runs it"]
#[test]
fn constant_liars_are_named_and_move_no_other_clock() {
    minority(Lie::Constant(s(1)), true);
    minority(Lie::Constant(Span::from_millis(-5)), true);
}

/// Five good clients and the largest minority of groups of liars, five machines with four sessions each:
/// g = 11, f = 5, and 20 of 26 clocks lie from the start.
fn sessions(lie: Lie, named: bool, duration: Span) {
    for seed in seeds(0..1) {
        let scenario = Scenario {
            clients: 25,
            liars: 20,
            liar_machines: Some(5),
            lies: vec![lie],
            settle: s(120),
            duration,
            ..Scenario::seeded(seed)
        };
        let _running = Running(&scenario);
        let summary = Simulation::new(&scenario).run();
        let apart = summary.spreads.max().unwrap();
        assert!(apart <= us(100), "{lie:?}, seed {seed}: {apart} apart");
        for member in scenario.members() {
            let is_named = summary.excluded.iter().any(|excluded| excluded.name == member.to_string());
            let (lies, what) = (scenario.is_liar(member), format!("{lie:?}, seed {seed}: {member}"));
            assert!(!lies || is_named || !named, "{what} lies and is not named");
            assert!(lies || !is_named, "{what} is honest and named");
        }
    }
}

#[test]
fn the_sessions_of_five_lying_machines_do_not_outvote_six_good_ones() {
    sessions(Lie::Constant(s(1)), true, s(300));
}

#[ignore = "long: scripts/check.sh runs it"]
#[test]
fn the_sessions_of_five_lying_machines_do_not_outvote_six_good_ones_whatever_the_lie() {
    for lie in [Lie::Constant(s(3_600)), Lie::Random(s(1)), Lie::Frog(Frequency::from_ppm(1.0))] {
        sessions(lie, true, s(900));
    }
    for lie in [Lie::Edge(0.9), Lie::Frequency(Frequency::from_ppm(500.0))] {
        sessions(lie, false, s(900));
    }
}

#[ignore = "long: scripts/check.sh runs it"]
#[test]
fn liars_an_hour_off_are_named_and_move_no_other_clock() {
    minority(Lie::Constant(s(3_600)), true);
}

#[ignore = "long: scripts/check.sh runs it"]
#[test]
fn random_liars_are_named_and_move_no_other_clock() {
    minority(Lie::Random(s(1)), true);
}

#[ignore = "long: scripts/check.sh runs it"]
#[test]
fn two_faced_liars_are_named_and_move_no_other_clock() {
    minority(Lie::TwoFaced(s(1)), true);
}

#[ignore = "long: scripts/check.sh runs it"]
#[test]
fn boiling_frogs_are_named_and_move_no_other_clock() {
    minority(Lie::Frog(Frequency::from_ppm(1.0)), true);
}

#[ignore = "long: scripts/check.sh runs it"]
#[test]
fn liars_about_being_synchronized_are_named_and_move_no_other_clock() {
    minority(Lie::State(s(5)), true);
}

#[ignore = "long: scripts/check.sh runs it"]
#[test]
fn liars_at_the_edge_move_no_other_clock() {
    minority(Lie::Edge(0.9), false);
}

#[ignore = "long: scripts/check.sh runs it"]
#[test]
fn liars_about_frequency_move_no_other_clock() {
    minority(Lie::Frequency(Frequency::from_ppm(-25.0)), false);
    minority(Lie::Frequency(Frequency::from_ppm(500.0)), false);
}

#[ignore = "long: scripts/check.sh runs it"]
#[test]
fn liars_who_hold_reports_back_move_no_other_clock() {
    minority(Lie::Delayed(Span::from_millis(5)), false);
}

/// The cluster's time minus the truth after six hours.
fn phase_after_six_hours(scenario: &Scenario, liars: usize) -> Span {
    let _running = Running(scenario);
    let mut simulation = Simulation::new(scenario);
    simulation.run_until(s(1_800), &mut ());
    for liar in 0..liars {
        simulation.inject(Fault::Lie(MemberIndex::client(scenario.clients - liar), Lie::Edge(0.9)));
    }
    simulation.run_for(s(6 * 3_600), &mut ());
    simulation.sample().clone().cluster().unwrap()
}

/// A network that loses a fifth, one exchange a round, and the largest minority of liars from the start.
#[ignore = "long: scripts/check.sh runs it"]
#[test]
fn losses_do_not_help_liars() {
    for seed in sampled_seeds(0..24, 8) {
        for (clients, liars, lie) in
            [(8, 4, Lie::Constant(s(1))), (6, 3, Lie::Constant(s(1))), (8, 4, Lie::State(s(1)))]
        {
            let scenario = Scenario {
                clients,
                liars,
                lies: vec![lie],
                settle: s(300),
                duration: s(900),
                ..battery(seed)
            };
            let _running = Running(&scenario);
            let apart = Simulation::new(&scenario).run().spreads.max().unwrap();
            assert!(apart <= us(200), "{liars} liars of {clients}, seed {seed}: {apart} apart");
        }
    }
}

#[ignore = "long: scripts/check.sh runs it"]
#[test]
fn liars_at_the_edge_do_not_drag_the_cluster_in_six_hours() {
    // How far two honest runs come apart, with the same oscillators and slightly other links.
    let honest = |seed| {
        let other = Scenario {
            asymmetry: Span::from_nanos(1),
            impairments: crate::support::loss(0.201),
            ..battery(seed)
        };
        (phase_after_six_hours(&battery(seed), 0) - phase_after_six_hours(&other, 0)).abs()
    };
    let natural = worlds::sampled(100..106, 3).map(honest).max().unwrap();
    for seed in sampled_seeds(0..3, 1) {
        let without = phase_after_six_hours(&battery(seed), 0);
        for liars in [1, 4] {
            let moved = (phase_after_six_hours(&battery(seed), liars) - without).abs();
            assert!(moved <= natural.times(3), "seed {seed}, {liars} liars: {moved}, naturally {natural}");
        }
    }
}
