//! Machines that stamp a datagram some time after its arrival: processors that wake up, and network cards
//! that moderate their interrupts.

use meantime_sim::{Moderation, Scenario, Simulation, WakeUp};

use crate::support::{Running, s, seeds};

const MODELS: [(WakeUp, Moderation); 4] = [
    (WakeUp::Deep, Moderation::None),
    (WakeUp::None, Moderation::Fixed),
    (WakeUp::None, Moderation::Adaptive),
    (WakeUp::Deep, Moderation::Adaptive),
];

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
