//! Lasting changes in the middle of a run: of the temperature of one machine, of the route to it.

use meantime_core::time::{Frequency, Span};
use meantime_sim::{Directions, Fault, Jitter, MemberIndex, Sample, Scenario, Simulation};

use crate::support::{Running, distance, s, seeds, us};

const CLIENT: MemberIndex = MemberIndex::client(1);
/// When it changes.
const CHANGE: Span = s(1_800);

/// An hour on the LAN, without a wander of the oscillators, in which this happens after half of it.
fn changed(seed: u64, fault: &Fault) -> Scenario {
    let faults = vec![(CHANGE, fault.clone())];
    Scenario { faults, wander: 0.0, duration: s(3_600), settle: CHANGE, ..Scenario::seeded(seed) }
}

/// How far the oscillator of the client that is struck was off at these times.
fn raw_offs<const N: usize>(scenario: &Scenario, times: [Span; N]) -> [Span; N] {
    let mut simulation = Simulation::new(scenario);
    times.map(|at| {
        simulation.run_until(at, &mut ());
        simulation.sample().clock(CLIENT).unwrap().raw_off
    })
}

/// The largest distance of the client that is struck from the others, from the change on.
fn worst(scenario: &Scenario) -> Span {
    let _running = Running(scenario);
    let mut worst = Span::ZERO;
    Simulation::new(scenario).run_until(scenario.duration, &mut |sample: &Sample| {
        if sample.at >= CHANGE {
            worst = worst.max(distance(sample, CLIENT).unwrap());
        }
    });
    worst
}

#[test]
fn a_ramp_moves_the_frequency_linearly_and_leaves_it_there() {
    let ramp = Fault::Ramp(CLIENT, Frequency::from_ppm(1.0), s(600));
    for seed in seeds(0..1) {
        let times = [s(1_000), s(1_100), s(1_800), s(2_400), s(2_500)];
        let [first, second, begun, over, after] = raw_offs(&changed(seed, &ramp), times);
        let before = (second - first).as_nanos() as f64 / 100.0;
        let in_600_s = (over - begun).as_nanos() as f64 - 600.0 * before;
        let in_100_s = (after - over).as_nanos() as f64 - 100.0 * before;
        // Half of 1 ppm over 600 s, and all of it over 100 s; the ramp is made in steps of a second.
        assert!((in_600_s - 300e3).abs() < 1e3, "seed {seed}: {in_600_s} ns");
        assert!((in_100_s - 100e3).abs() < 10.0, "seed {seed}: {in_100_s} ns");
    }
}

#[test]
fn a_machine_that_warms_up_by_1_ppm_in_ten_minutes_stays_with_the_others() {
    for seed in seeds(0..3) {
        let by = Frequency::from_ppm(1.0);
        let warming = worst(&changed(seed, &Fault::Ramp(CLIENT, by, s(600))));
        let still = worst(&changed(seed, &Fault::Ramp(CLIENT, Frequency::ZERO, s(600))));
        assert!(warming > still, "seed {seed}: {warming} warming, {still} still");
        assert!(warming < us(20), "seed {seed}: {warming} warming, {still} still");
    }
}

#[test]
fn a_server_that_warms_up_takes_all_members_along() {
    for seed in seeds(0..3) {
        let scenario = changed(seed, &Fault::Ramp(MemberIndex::SERVER, Frequency::from_ppm(1.0), s(600)));
        let _running = Running(&scenario);
        let summary = Simulation::new(&scenario).run();
        let max = summary.spreads.max().unwrap();
        assert!((us(1)..us(20)).contains(&max), "seed {seed}: {max}");
        assert_eq!(summary.excluded, []);
    }
}

/// How far the client that is struck is from the others at worst after the change, and how far at the end.
fn rerouted(seed: u64, ways: Directions) -> (Span, Span) {
    let longer = changed(seed, &Fault::Base(CLIENT.into(), ways, us(400)));
    let scenario = Scenario { jitter: Jitter::None, ..longer };
    let _running = Running(&scenario);
    let (mut worst, mut last) = (Span::ZERO, Span::ZERO);
    Simulation::new(&scenario).run_until(scenario.duration, &mut |sample: &Sample| {
        if sample.at >= CHANGE {
            last = distance(sample, CLIENT).unwrap();
            worst = worst.max(last);
        }
    });
    (worst, last)
}

#[test]
fn a_way_that_becomes_longer_leaves_at_most_half_of_it_as_an_error() {
    for seed in seeds(0..3) {
        for ways in [Directions::ToClient, Directions::ToServer] {
            let (worst, last) = rerouted(seed, ways);
            assert!(last <= us(151), "seed {seed}, {ways:?}: {last} at the end");
            // At first a filter may take some of the jump for a change of frequency.
            assert!(worst <= us(200), "seed {seed}, {ways:?}: {worst} at worst");
        }
    }
}

#[test]
fn a_route_that_becomes_longer_both_ways_harms_no_clock() {
    for seed in seeds(0..3) {
        let (worst, _) = rerouted(seed, Directions::Both);
        assert!(worst < us(1), "seed {seed}: {worst}");
    }
}
