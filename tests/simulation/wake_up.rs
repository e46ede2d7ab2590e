//! Machines that stamp a datagram some time after its arrival: processors that wake up, and network cards
//! that moderate their interrupts.

use meantime_core::time::Span;
use meantime_sim::{Moderation, Scenario, Simulation, SlowQueue, WakeUp};

use crate::support::{Running, s, seeds, us};

const MODELS: [(WakeUp, Moderation); 4] = [
    (WakeUp::Deep, Moderation::None),
    (WakeUp::None, Moderation::Fixed),
    (WakeUp::None, Moderation::Adaptive),
    (WakeUp::Deep, Moderation::Adaptive),
];

/// For each seed, how far apart the clocks of a world of `WakeUp::Deep` were when the probes of a burst were
/// 50 ms apart, and so each probe met machines that slept: RMS over all pairs.
const ASLEEP: [(u64, Span); 6] =
    [(1, us(34)), (2, us(41)), (3, us(42)), (4, us(24)), (5, us(51)), (6, us(33))];

#[test]
fn a_burst_wakes_machines_and_measures_them_awake() {
    for (seed, asleep) in ASLEEP {
        let (settle, duration) = (s(1_000), s(3_000));
        let scenario = Scenario { wake_up: WakeUp::Deep, settle, duration, ..Scenario::seeded(seed) };
        let _running = Running(&scenario);
        let rms = Simulation::new(&scenario).run().spreads.rms().unwrap();
        assert!(rms <= asleep.scaled(0.15), "seed {seed}: {rms} RMS, {asleep} asleep");
    }
}

/// How far apart clocks are where machines are awake, each way has a queue that lasts 20 ms, and the probes
/// of a burst are 50 ms apart: RMS over all pairs of clocks, seeds 1 to 4. If bursts are always pairs, which
/// meet one queue, it is 3.50 µs.
const EVENLY_SPACED: Span = Span::from_nanos(2_954);

#[test]
fn where_machines_are_awake_the_exchanges_of_a_burst_meet_different_queues() {
    let queue = Some(SlowQueue { sigma: us(50), tau: Span::from_millis(20) });
    let squares = (1..=4).map(|seed| {
        let scenario = Scenario { queue, settle: s(1_000), duration: s(5_000), ..Scenario::seeded(seed) };
        let _running = Running(&scenario);
        Simulation::new(&scenario).run().spreads.rms().unwrap().as_secs_f64().powi(2)
    });
    let rms = Span::from_secs_f64((squares.sum::<f64>() / 4.0).sqrt());
    assert!(rms <= EVENLY_SPACED.scaled(1.05), "{rms} RMS, {EVENLY_SPACED} evenly spaced");
}

#[test]
fn no_bound_is_violated_by_stamps_that_are_late() {
    for seed in seeds(0..3) {
        for (wake_up, moderation) in MODELS {
            let scenario = Scenario { wake_up, moderation, duration: s(1_200), ..Scenario::seeded(seed) };
            let _running = Running(&scenario);
            let summary = Simulation::new(&scenario).run();
            assert!(summary.agreed[0].is_some(), "seed {seed}, {wake_up:?}, {moderation:?}");
            assert_eq!(summary.calibration.bound_violations(), 0, "seed {seed}, {wake_up:?}, {moderation:?}");
        }
    }
}

#[test]
fn a_world_of_late_stamps_can_be_replayed() {
    let run = |seed, (wake_up, moderation)| {
        Simulation::new(&Scenario { wake_up, moderation, ..Scenario::seeded(seed) }).run()
    };
    for model in MODELS {
        assert_eq!(run(3, model), run(3, model));
        assert_ne!(run(3, model).trace, run(3, Default::default()).trace);
    }
}
