//! Machines that come later, with clocks that may be anything.

use meantime_core::time::{Frequency, Span};
use meantime_sim::scenario::ClockOverride;
use meantime_sim::{MemberIndex, Sample, Scenario, Simulation};

use crate::support::{Running, distance, s, seeds, us};

const JOINER: MemberIndex = MemberIndex::client(4);

/// A fourth client with a clock so far off joins after ten minutes.
fn joins(offset: Span, drift: Frequency) {
    for seed in seeds(0..5) {
        let clock = ClockOverride { offset: Some(offset), drift: Some(drift), ..ClockOverride::default() };
        let at = s(600);
        let scenario = Scenario {
            clients: 4,
            clocks: vec![(JOINER, clock)],
            joins: vec![(JOINER, at)],
            sample: Span::from_millis(50),
            ..Scenario::seeded(seed)
        };
        let _running = Running(&scenario);
        let mut simulation = Simulation::new(&scenario);
        simulation.run_until(at - Span::from_millis(50), &mut ());
        let before = simulation.sample().clone().cluster().unwrap();
        let (mut moved, mut adopted) = (Span::ZERO, None);
        simulation.run_for(s(300), &mut |sample: &Sample| {
            let others = sample.synchronized().filter(|(member, _)| *member != JOINER);
            for (_, off) in others {
                moved = moved.max((off - before).abs());
            }
            if distance(sample, JOINER).is_some_and(|distance| distance < Span::from_millis(1)) {
                adopted.get_or_insert(sample.at - at);
            } else {
                adopted = None;
            }
        });
        // In five minutes the cluster's own rate moves all members by the mean drift: at most 100 ppm of it.
        assert!(moved < Span::from_millis(35), "seed {seed}: moved by {moved}");
        let adopted = adopted.expect("the joiner has the cluster's time at the end");
        assert!(adopted <= Span::from_millis(400), "seed {seed}: adopted after {adopted}");
        let apart = simulation.sample().disagreement().unwrap();
        assert!(apart < us(100), "seed {seed}: {apart} apart");
    }
}

#[test]
fn a_joiner_an_hour_off_moves_no_other_clock() {
    joins(s(3_600), Frequency::from_ppm(30.0));
    joins(s(-3_600), Frequency::from_ppm(-95.0));
}

#[test]
fn a_joiner_at_1970_moves_no_other_clock() {
    joins(Span::from_nanos(-meantime_sim::START.as_nanos()), Frequency::from_ppm(95.0));
}

#[test]
fn a_clock_at_1970_among_the_first_is_thrown_out_and_named() {
    for seed in seeds(0..5) {
        let offset = Some(Span::from_nanos(-meantime_sim::START.as_nanos()));
        let clocks = vec![(JOINER, ClockOverride { offset, ..ClockOverride::default() })];
        let scenario = Scenario { clients: 4, clocks, ..Scenario::seeded(seed) };
        let _running = Running(&scenario);
        let mut simulation = Simulation::new(&scenario);
        let summary = simulation.run();
        let cluster = simulation.sample().clone().cluster().unwrap();
        assert!(cluster.abs() < s(11), "seed {seed}: {cluster}");
        let mut named: Vec<&str> = summary.excluded.iter().map(|excluded| excluded.name.as_str()).collect();
        named.dedup();
        assert_eq!(named, [JOINER.to_string()]);
        assert!(summary.agreed[1].is_some_and(|at| at < s(30)), "seed {seed}: {:?}", summary.agreed);
    }
}

#[test]
fn two_clocks_that_disagree_follow_nothing() {
    let clocks =
        vec![(MemberIndex::SERVER, ClockOverride { offset: Some(s(3_600)), ..ClockOverride::default() })];
    let scenario = Scenario { clients: 1, clocks, ..Scenario::default() };
    let _running = Running(&scenario);
    let summary = Simulation::new(&scenario).run();
    assert_eq!(summary.agreed, [None; 3]);
    assert_eq!(summary.rounds.agreed, 0);
}
