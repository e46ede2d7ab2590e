//! The guaranteed bound: no two good clocks are ever farther apart than the sum of what they state. And the
//! estimated error: as large as the error is.

use meantime_core::time::Span;
use meantime_sim::{Directions, Fault, Jitter, MemberIndex, Sample, Scenario, Simulation, SlowQueue};

use crate::support::{Running, battery, jitters, loss, s, sampled_seeds, seeds, us};

/// Runs a scenario to its end. Returns the largest bound that a client stated after it had settled.
fn largest_excess(scenario: &Scenario) -> Span {
    let _running = Running(scenario);
    let (mut largest, mut stated) = (Span::ZERO, 0);
    let settle = scenario.settle;
    Simulation::new(scenario).run_until(scenario.duration, &mut |sample: &Sample| {
        let beyond = sample.beyond_bounds().unwrap_or_default();
        assert!(
            beyond <= Span::ZERO,
            "at {}: {beyond} farther apart than stated: {:?}",
            sample.at,
            sample.clocks
        );
        let bounds = sample.clocks.iter().flatten().filter_map(|clock| clock.bound);
        stated += bounds.clone().count();
        largest = largest.max(bounds.filter(|_| sample.at > settle).max().unwrap_or_default());
    });
    let most = scenario.duration.as_nanos() / scenario.sample.as_nanos() * (scenario.clients as i64 + 1);
    assert!(stated as i64 * 10 >= most * 8, "bounds were stated {stated} of {most} times");
    largest
}

/// Three clients for an hour and a half.
fn hours(seed: u64) -> Scenario {
    Scenario { duration: s(5_400), settle: s(300), ..Scenario::seeded(seed) }
}

#[ignore = "long: scripts/check.sh runs it"]
#[test]
fn on_a_good_lan_the_bound_is_at_most_three_times_half_the_delay() {
    for seed in seeds(0..5) {
        for impairments in [loss(0.0), loss(0.2)] {
            // Half of what an exchange takes there and back: 100 µs and a mean wait of 20 µs, twice.
            let largest = largest_excess(&Scenario { impairments, ..hours(seed) });
            assert!(largest <= us(3 * 120), "seed {seed}: {largest}");
            println!("largest bound on the LAN, seed {seed}: {largest}");
        }
    }
}

#[test]
fn on_a_good_lan_the_stated_error_is_neither_bold_nor_timid() {
    for seed in seeds(0..3) {
        let scenario = hours(seed);
        let _running = Running(&scenario);
        let calibration = Simulation::new(&scenario).run().calibration;
        let (ratio, share) = (calibration.ratio_rms().unwrap(), calibration.within_share().unwrap());
        assert!((0.6..1.4).contains(&ratio), "seed {seed}: {ratio} RMS");
        assert!((0.55..0.85).contains(&share), "seed {seed}: {share} within one sigma");
        assert_eq!(calibration.bound_violations(), 0);
    }
}

#[ignore = "long: scripts/check.sh runs it"]
#[test]
fn it_holds_for_every_kind_of_jitter() {
    for seed in sampled_seeds(0..2, 1) {
        for jitter in jitters() {
            largest_excess(&Scenario { jitter, impairments: loss(0.2), ..hours(seed) });
        }
        largest_excess(&Scenario { queue: Some(SlowQueue { sigma: us(50), tau: s(60) }), ..hours(seed) });
    }
}

#[ignore = "long: scripts/check.sh runs it"]
#[test]
fn it_holds_on_long_and_on_asymmetric_paths_and_with_bad_oscillators() {
    let jitter = Jitter::Exponential { mean: us(1_000) };
    for seed in seeds(0..2) {
        for impairments in [loss(0.0), loss(0.2)] {
            largest_excess(&Scenario { delay: us(5_000), jitter, impairments, ..hours(seed) });
            largest_excess(&Scenario { asymmetry: us(3_000), impairments, ..hours(seed) });
            largest_excess(&Scenario { asymmetry: us(-90), impairments, wander: 1e-8, ..hours(seed) });
        }
    }
}

#[test]
fn it_holds_for_one_exchange_a_round() {
    for seed in seeds(0..2) {
        largest_excess(&Scenario { duration: s(5_400), settle: s(300), ..battery(seed) });
    }
}

#[test]
fn it_holds_when_routes_change() {
    for seed in seeds(0..3) {
        let longer = |ways| Fault::Base(MemberIndex::client(1).into(), ways, us(400));
        let faults = vec![
            (s(1_500), longer(Directions::ToClient)),
            (s(3_000), longer(Directions::ToServer)),
            (s(4_500), Fault::Base(MemberIndex::client(1).into(), Directions::ToClient, us(20))),
        ];
        largest_excess(&Scenario { faults, ..hours(seed) });
    }
}

/// A client that hears nothing for two hours, while the others go on; and one whose server is gone for as
/// long.
#[ignore = "long: scripts/check.sh runs it"]
#[test]
fn it_holds_in_two_hours_of_holdover() {
    for seed in sampled_seeds(0..3, 1) {
        for wander in [1e-9, 1e-8] {
            let cut = vec![
                (s(3_600), Fault::Cut(MemberIndex::client(3).into(), Directions::Both)),
                (s(10_800), Fault::Heal(MemberIndex::client(3).into())),
            ];
            let lone = largest_excess(&Scenario { faults: cut, duration: s(11_400), wander, ..hours(seed) });
            assert!(lone >= us(7_200) && lone <= s(1), "seed {seed}: {lone} after two hours");
            let gone = vec![
                (s(3_600), Fault::Crash(MemberIndex::SERVER)),
                (s(10_800), Fault::Start(MemberIndex::SERVER)),
            ];
            let jitter = Jitter::Exponential { mean: us(20) };
            let scenario = Scenario { faults: gone, jitter, duration: s(12_600), wander, ..hours(seed) };
            orphans(&scenario);
        }
    }
}

/// The same without asking how often a bound was stated: a dead server states none.
fn orphans(scenario: &Scenario) {
    let _running = Running(scenario);
    Simulation::new(scenario).run_until(scenario.duration, &mut |sample: &Sample| {
        let beyond = sample.beyond_bounds().unwrap_or_default();
        assert!(beyond <= Span::ZERO, "at {}: {beyond} farther apart than stated", sample.at);
    });
}

#[ignore = "long: scripts/check.sh runs it"]
#[test]
fn machines_that_slept_state_no_bound_until_they_are_back() {
    for seed in sampled_seeds(0..3, 1) {
        for sleeper in [MemberIndex::SERVER, MemberIndex::client(2)] {
            for slept in [Span::from_millis(20), s(3_600)] {
                let mut scenario = Scenario { clients: 5, duration: s(2_400), ..hours(seed) };
                scenario.faults = vec![(s(1_200), Fault::Sleep(sleeper, slept))];
                let _running = Running(&scenario);
                let (mut lost, mut back) = (false, false);
                Simulation::new(&scenario).run_until(scenario.duration, &mut |sample: &Sample| {
                    let beyond = sample.beyond_bounds().unwrap_or_default();
                    assert!(beyond <= Span::ZERO, "at {}: {beyond} farther apart than stated", sample.at);
                    let bound = sample.clock(sleeper).and_then(|clock| clock.bound);
                    lost |= sample.at > s(1_200) && bound.is_none();
                    back = bound.is_some();
                });
                assert!(back, "seed {seed}: {sleeper} is not back");
                assert!(
                    lost || sleeper != MemberIndex::SERVER,
                    "seed {seed}: {sleeper} still states its bound"
                );
            }
        }
    }
}
