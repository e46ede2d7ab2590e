//! A cluster comes together within a few rounds, and stays together.

use meantime::sim::{Sample, Scenario, Simulation};
use meantime::time::Span;

use crate::support::{Running, loss, s, seeds, us};

/// Runs for a day; panics unless all pairs are within 1 ms from `ms` on and within 100 µs from `us100` on.
fn converges(clients: usize, lost: f64, rounds_ms: i64, rounds_us100: i64) {
    for seed in seeds(0..3) {
        let trouble = loss(lost);
        let scenario =
            Scenario { clients, trouble, settle: s(1_000), duration: s(86_400), ..Scenario::seeded(seed) };
        let _running = Running(&scenario);
        let summary = Simulation::new(&scenario).run();
        let begun = scenario.start_within;
        let within = |rounds: i64| begun + scenario.interval.times(rounds);
        let [ms, us100, _] = summary.agreed;
        assert!(ms.is_some_and(|at| at <= within(rounds_ms) + s(1)), "1 ms: {ms:?}");
        assert!(us100.is_some_and(|at| at <= within(rounds_us100) + s(1)), "100 µs: {us100:?}");
        let rms = summary.spreads.rms().unwrap();
        assert!((us(0)..us(8)).contains(&rms), "{rms} RMS");
        assert!(summary.excluded.is_empty(), "{:?}", summary.excluded);
    }
}

#[test]
fn three_clients_agree_within_a_round_and_for_a_day() {
    converges(3, 0.0, 1, 3);
}

#[test]
fn eight_clients_agree_within_a_round_and_for_a_day() {
    converges(8, 0.0, 1, 3);
}

#[test]
fn three_clients_agree_on_a_network_that_loses_a_fifth() {
    converges(3, 0.2, 2, 6);
}

#[test]
fn eight_clients_agree_on_a_network_that_loses_a_fifth() {
    converges(8, 0.2, 2, 6);
}

#[test]
fn the_cluster_time_is_the_mean_of_the_clocks_at_the_start() {
    for seed in seeds(0..20) {
        let scenario = Scenario { clients: 4, ..Scenario::seeded(seed) };
        let _running = Running(&scenario);
        let mut simulation = Simulation::new(&scenario);
        let mut raw_mean = Span::ZERO;
        simulation.run_until(s(20), &mut |sample: &Sample| {
            let sum = sample.clocks.iter().flatten().fold(Span::ZERO, |sum, clock| sum + clock.raw_off);
            raw_mean = sum.over(5);
        });
        let cluster = simulation.sample().clone().cluster().unwrap();
        assert!((cluster - raw_mean).abs() < Span::from_millis(10), "{cluster}, not {raw_mean}");
    }
}

#[test]
fn published_time_neither_jumps_nor_runs_backwards_once_synchronized() {
    for seed in seeds(0..5) {
        let scenario = Scenario { clients: 5, trouble: loss(0.2), ..Scenario::seeded(seed) };
        let _running = Running(&scenario);
        let mut simulation = Simulation::new(&scenario);
        simulation.run_until(s(1_800), &mut ());
        for member in scenario.members() {
            let jumps = simulation.world().machine(member).jumps;
            assert_eq!(jumps.backwards, 0, "{member}: {jumps:?}");
            assert!(jumps.largest < us(100), "{member}: {jumps:?}");
        }
    }
}

#[test]
fn packets_stay_few() {
    let summary = Simulation::new(&Scenario::default()).run();
    // Four probes, four reports and a correction in five seconds.
    assert!((1.7..2.0).contains(&summary.packets_per_client_per_s), "{summary:?}");
}
