//! A thousand worlds in which everything goes wrong for a while, and one in which it does again and again.

use meantime_sim::random_faults::Soak;
use meantime_sim::{Fault, MemberIndex, Observer, Sample, Scenario, Simulation};

use crate::support::{Running, s, sampled_seeds, seeds, us};

/// Runs a sample of these worlds of random faults, or all of them; panics if more than a few have not come
/// back into agreement when they end.
fn recover(range: std::ops::Range<u64>) {
    let mut failed = Vec::new();
    let seeds = sampled_seeds(range, 75);
    for &seed in &seeds {
        let scenario = Scenario::random_faults(seed);
        let _running = Running(&scenario);
        let mut simulation = Simulation::new(&scenario);
        let summary = simulation.run();
        let recovered =
            summary.agreed[0].is_some_and(|at| at <= scenario.duration - scenario.interval.times(5));
        let apart = simulation.sample().disagreement();
        if !recovered || apart.is_none_or(|apart| apart > us(200)) {
            failed.push((seed, summary.agreed, apart));
        }
    }
    assert!(
        failed.len() <= (MAX_UNDECIDED * seeds.len()).div_ceil(500),
        "{} worlds did not recover; replay with meantime simulate --faults-seed SEED --events: {failed:?}",
        failed.len()
    );
}

/// In so many of 500 worlds a server may stay undecided (of the seeds from 500 on, it is in 6). It has
/// restarted, or slept, and has no kept time; the clock of one of its members has jumped meanwhile; and the
/// others that carry the time are too few beside those that have restarted, too. It then waits for an
/// operator.
const MAX_UNDECIDED: usize = 8;

#[ignore = "long: scripts/check.sh runs it"]
#[test]
fn worlds_of_random_faults_come_back_into_agreement() {
    recover(0..500);
}

#[ignore = "long: scripts/check.sh runs it"]
#[test]
fn more_worlds_of_random_faults_come_back_into_agreement() {
    recover(500..1_000);
}

#[ignore = "long: scripts/check.sh runs it"]
#[test]
fn the_faults_of_random_worlds_do_harm() {
    // If nothing ever went wrong in them, that they recover would prove nothing.
    let mut harmed = 0;
    for seed in 0..20 {
        let scenario = Scenario::random_faults(seed);
        let mut simulation = Simulation::new(&scenario);
        let mut apart = 0;
        simulation.run_until(scenario.settle, &mut |sample: &Sample| {
            let late = sample.at > scenario.start_within + s(30);
            apart += i32::from(late && sample.disagreement() > Some(us(1_000)));
        });
        harmed += i32::from(apart > 0);
    }
    assert!(harmed >= 10, "{harmed} of 20");
}

#[ignore = "long: scripts/check.sh runs it"]
#[test]
fn a_cluster_recovers_from_faults_again_and_again() {
    let Soak { scenario, mut recoveries } = Soak::new(5, s(21_600));
    let _running = Running(&scenario);
    let mut simulation = Simulation::new(&scenario);
    simulation.run_until(scenario.duration, &mut recoveries);
    assert_eq!((recoveries.episodes, recoveries.failed.as_slice()), (12, &[][..]));
    assert!(recoveries.slowest > s(0), "nothing ever had to be recovered from");
}

/// What bounds rest on stays whole: no clock jumps, no oscillator changes its rate at once, and what was
/// corrupted on the way is not delivered, as UDP's checksum sees to.
pub(crate) fn without_harm_to_clocks(scenario: &mut Scenario) {
    scenario.faults.retain(|(_, fault)| !matches!(fault, Fault::Jump(..) | Fault::FrequencyStep(..)));
    let harmful = scenario.faults.iter_mut().filter_map(|(_, fault)| match fault {
        Fault::Impairments(impairments) => Some(impairments),
        _ => None,
    });
    harmful.for_each(|impairments| impairments.corruption = 0.0);
}

#[ignore = "long: scripts/check.sh runs it"]
#[test]
fn crashes_losses_and_pauses_without_end_violate_no_bound() {
    for seed in seeds(0..4) {
        let Soak { mut scenario, mut recoveries } = Soak::new(seed, s(10_800));
        without_harm_to_clocks(&mut scenario);
        let _running = Running(&scenario);
        let mut simulation = Simulation::new(&scenario);
        let (mut samples, mut bounded) = (0, 0);
        simulation.run_until(scenario.duration, &mut |sample: &Sample| {
            recoveries.sampled(sample);
            samples += 1;
            let stated = sample.clocks.iter().flatten().filter(|clock| clock.bound.is_some());
            bounded += usize::from(stated.count() >= 3);
        });
        assert_eq!(recoveries.failed, [], "seed {seed}");
        assert!(2 * bounded > samples, "seed {seed}: bounds at {bounded} of {samples} samples only");
        assert_eq!(simulation.summary().calibration.bound_violations(), 0, "seed {seed}");
    }
}

#[test]
fn a_cluster_that_does_not_recover_is_noticed() {
    let Soak { mut scenario, mut recoveries } = Soak::new(5, s(7_200));
    // No client can follow a clock that has jumped just now.
    let jump = Fault::Jump(MemberIndex::client(1), s(3_600));
    scenario.faults.push((s(5_400) - us(100), jump));
    let mut simulation = Simulation::new(&scenario);
    simulation.run_until(scenario.duration, &mut recoveries);
    assert_eq!((recoveries.episodes, recoveries.failed.as_slice()), (4, &[s(5_400)][..]));
}
