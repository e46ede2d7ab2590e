//! The cluster's rate is its members' fault-tolerant mean rate. (A day in the full check; three
//! days and thirty in `scripts/long.sh`.)

use meantime_core::time::Frequency;
use meantime_sim::{Scenario, Simulation};

use crate::support::{Running, loss, s, seeds};
use crate::worlds;

/// The RMS rate error of a cluster at 20 % loss, after three hours to settle.
fn rate(seed: u64, clients: usize, wander: f64) -> Frequency {
    let days = if worlds::all() { 3 } else { 1 };
    let scenario = Scenario {
        clients,
        wander,
        burst: 1,
        impairments: loss(0.2),
        settle: s(3 * 3_600),
        duration: s(86_400 * days),
        ..Scenario::seeded(seed)
    };
    let _running = Running(&scenario);
    Simulation::new(&scenario).run().rate_rms.unwrap()
}

#[ignore = "long: scripts/check.sh runs it"]
#[test]
fn the_rate_stays_at_the_members_mean_with_quiet_oscillators() {
    for (clients, seed) in [2, 3, 8].into_iter().flat_map(|n| seeds(0..1).into_iter().map(move |s| (n, s))) {
        let error = rate(seed, clients, 1e-9).ppb();
        assert!((0.1..15.0).contains(&error), "seed {seed}, {clients} clients: {error} ppb RMS");
    }
}

#[ignore = "long: scripts/check.sh runs it"]
#[test]
fn the_rate_stays_at_the_members_mean_with_restless_oscillators() {
    for (clients, seed) in [2, 3, 8].into_iter().flat_map(|n| seeds(0..1).into_iter().map(move |s| (n, s))) {
        let error = rate(seed, clients, 1e-8).ppb();
        // 100 ppb over thirty days; a day is 21 hourly means, whose RMS varies by a sixth or so.
        assert!((1.0..120.0).contains(&error), "seed {seed}, {clients} clients: {error} ppb RMS");
    }
}
