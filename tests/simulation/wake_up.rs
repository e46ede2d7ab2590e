//! Machines that stamp a datagram some time after its arrival: processors that wake up, and network cards
//! that moderate their interrupts.

use meantime_core::time::Span;
use meantime_sim::{Moderation, Scenario, Simulation, WakeUp};

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
