//! A cluster comes together within a few rounds, and stays together.

use meantime_core::ClientEvent;
use meantime_core::time::Span;
use meantime_sim::{Jitter, NodeEvent, Observer, ReportedEvent, Sample, Scenario, Simulation};

use crate::support::{Running, loss, s, sampled_seeds, seeds, us};

/// When the last client was registered.
#[derive(Default)]
struct Joined(Span);

impl Observer for Joined {
    fn reported(&mut self, happening: &ReportedEvent) {
        if let NodeEvent::Client(ClientEvent::Registered { .. }) = happening.event
            && happening.at < s(60)
        {
            self.0 = happening.at;
        }
    }
}

/// Runs for a day; panics unless all pairs are within 1 ms from so many rounds after the last client has
/// joined, within 100 µs from so many, and stay so.
fn converges(clients: usize, lost: f64, rounds_ms: i64, rounds_us100: i64) {
    for seed in sampled_seeds(0..3, 1) {
        let (impairments, sample) = (loss(lost), Span::from_millis(200));
        let scenario = Scenario { clients, impairments, sample, settle: s(1_000), ..Scenario::seeded(seed) };
        let _running = Running(&scenario);
        let mut simulation = Simulation::new(&scenario);
        let mut joined = Joined::default();
        simulation.run_until(s(86_400), &mut joined);
        let summary = simulation.summary();
        // The first round after joining ends before two intervals are over.
        let within = |rounds: i64| joined.0 + scenario.interval.times(rounds + 1);
        let [ms, us100, _] = summary.agreed;
        assert!(ms.is_some_and(|at| at <= within(rounds_ms)), "joined {}, 1 ms: {ms:?}", joined.0);
        assert!(us100.is_some_and(|at| at <= within(rounds_us100)), "joined {}, 100 µs: {us100:?}", joined.0);
        let rms = summary.spreads.rms().unwrap();
        assert!((Span::from_nanos(100)..us(8)).contains(&rms), "{rms} RMS");
        assert!(summary.excluded.is_empty(), "{:?}", summary.excluded);
    }
}

/// A client sends 0.25 packets a second, as chronyd does that polls every 4 s. In another simulator that has
/// 3.1 µs RMS on such links: half of it is asked.
#[test]
fn few_packets_are_enough_on_a_lan() {
    let mut squares = 0.0;
    let seeds = seeds(0..3);
    for &seed in &seeds {
        let scenario = Scenario {
            interval: s(16),
            burst: 4,
            duration: s(11_000),
            settle: s(1_000),
            ..Scenario::seeded(seed)
        };
        let _running = Running(&scenario);
        let summary = Simulation::new(&scenario).run();
        // With the extra bursts of the first 36 rounds, which are a twentieth of the time here.
        assert!(summary.packets_per_client_per_s < 0.75, "{}", summary.packets_per_client_per_s);
        assert_eq!(summary.calibration.bound_violations(), 0);
        squares += summary.spreads.rms().expect("all are synchronized").as_secs_f64().powi(2);
    }
    let rms_us = (squares / seeds.len() as f64).sqrt() * 1e6;
    assert!((0.1..1.55).contains(&rms_us), "{rms_us} µs RMS");
}

/// When the first minute is over in which all pairs were within 10 µs RMS, from a cold start over 5 ms + 1
/// ms.
fn calm_over_far_links(clients: usize, seed: u64, most: Span) -> Span {
    let (delay, jitter) = (Span::from_millis(5), Jitter::Exponential { mean: Span::from_millis(1) });
    let scenario = Scenario { clients, delay, jitter, duration: most, ..Scenario::seeded(seed) };
    let _running = Running(&scenario);
    let summary = Simulation::new(&scenario).run();
    assert_eq!(summary.calibration.bound_violations(), 0);
    summary.calm.expect("there is such a minute")
}

/// With each pass over the first bursts beginning from a clock of which nothing is known, these took 480,
/// 660, 660, 540 and 780 s.
#[test]
fn a_cold_start_over_far_links_is_not_kept_from_the_truth_by_its_first_bursts() {
    for seed in [11, 14, 22, 57] {
        calm_over_far_links(3, seed, s(400));
    }
}

#[ignore = "long: scripts/check.sh runs it"]
#[test]
fn nine_clocks_agree_within_minutes_of_a_cold_start_over_far_links() {
    let mut calm: Vec<Span> =
        seeds(1..21).into_iter().map(|seed| calm_over_far_links(8, seed, s(500))).collect();
    calm.sort_unstable();
    println!("a minute within 10 us RMS was over after: {calm:?}");
    assert!(calm[calm.len() / 2] <= s(180) && calm[calm.len() - 1] <= s(300), "{calm:?}");
}

#[ignore = "long: scripts/check.sh runs it"]
#[test]
fn three_clients_agree_within_a_round_and_for_a_day() {
    converges(3, 0.0, 1, 3);
}

#[ignore = "long: scripts/check.sh runs it"]
#[test]
fn eight_clients_agree_within_a_round_and_for_a_day() {
    converges(8, 0.0, 1, 3);
}

#[ignore = "long: scripts/check.sh runs it"]
#[test]
fn three_clients_agree_on_a_network_that_loses_a_fifth() {
    converges(3, 0.2, 2, 6);
}

#[ignore = "long: scripts/check.sh runs it"]
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
        let scenario = Scenario { clients: 5, impairments: loss(0.2), ..Scenario::seeded(seed) };
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
    let duration = Span::from_secs(4 * 3_600);
    let summary = Simulation::new(&Scenario { duration, ..Scenario::default() }).run();
    // Four probes, four reports and a correction in five seconds; five times as many in the first two
    // minutes.
    assert!((1.7..2.0).contains(&summary.packets_per_client_per_s), "{summary:?}");
}
