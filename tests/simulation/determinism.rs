//! The same seed gives the same run, to the last bit.

use meantime_sim::{Scenario, Simulation};

use crate::support::{loss, s};

#[test]
fn the_same_seed_gives_the_same_run() {
    let scenario = |seed| Scenario { clients: 5, impairments: loss(0.1), ..Scenario::seeded(seed) };
    let run = |seed| Simulation::new(&scenario(seed)).run();
    assert_eq!(run(3), run(3));
    assert_ne!(run(3).trace, run(4).trace);
}

#[test]
fn worlds_of_random_faults_can_be_replayed() {
    let run = |seed| Simulation::new(&Scenario::random_faults(seed)).run();
    assert_eq!(run(11), run(11));
}

#[test]
fn looking_at_the_clocks_more_often_changes_nothing() {
    let trace = |period| {
        let scenario = Scenario { sample: s(period), ..Scenario::default() };
        Simulation::new(&scenario).run().trace
    };
    assert_eq!(trace(1), trace(60));
}
