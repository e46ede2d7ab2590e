//! The active server is stopped, by a signal or with its machine, and wakes up believing that it is active.

use meantime_core::time::Span;
use meantime_sim::{Fault, MemberIndex, Simulation};

use super::watch::Watch;
use super::{ACTIVE, ROUND, SETTLED, clients, lan};
use crate::support::{Running, s, seeds, us};

/// The active server of a settled cluster is stopped for so long; then it goes on, with its machine as it is
/// or suspended all that time. No clock notices but that of a machine that was suspended.
fn stop(seed: u64, length: Span, suspended: bool) {
    let scenario = lan(seed, 0.0);
    let _running = Running(&scenario);
    let (mut simulation, mut watch) = (Simulation::new(&scenario), Watch::default());
    simulation.run_until(SETTLED, &mut watch);
    if suspended {
        simulation.inject(Fault::Suspend(ACTIVE, length));
        simulation.run_for(length, &mut watch);
    } else {
        simulation.inject(Fault::Pause(ACTIVE));
        simulation.run_for(length, &mut watch);
        simulation.inject(Fault::Resume(ACTIVE));
    }
    let wakes = simulation.world().now();
    simulation.run_for(s(300), &mut watch);
    let end = simulation.world().now();
    let again = |from| {
        let all =
            clients(&scenario).map(|client| watch.corrected_after(client, from).map_or(end, |at| at) - from);
        all.max().expect("there are clients")
    };
    let (before, after) = (watch.worst(SETTLED - s(600), SETTLED), watch.worst(SETTLED, end));
    let (stopped, woken) = (again(SETTLED), again(wakes));
    println!(
        "seed {seed}: stopped for {length}: corrected again after {stopped}, after the waking {woken}; \
         apart {before} before, {after} after"
    );
    let limit = ROUND.times(3);
    assert!(stopped <= limit && woken <= limit, "seed {seed}: {stopped}, {woken}, {:?}", watch.roles);
    assert!(after <= us(20), "seed {seed}: {before}, then {after}");
    watch.assert_steps_only_of(s(60), if suspended { &[ACTIVE] } else { &[] });
    assert_eq!(watch.violations, [], "seed {seed}");
    let not_one = watch.active.iter().filter(|(at, active)| *at > wakes && active.len() != 1).count();
    assert_eq!(not_one, 0, "seed {seed}: {:?}", watch.roles);
    let active = watch.active_now();
    assert!(!active.contains(&ACTIVE), "seed {seed}: {active:?} failed back");
    let woken = simulation.sample().clock(ACTIVE).is_some_and(|clock| clock.bound.is_some());
    assert!(woken, "seed {seed}: it does not follow");
}

#[test]
fn an_active_server_that_was_stopped_for_a_minute_does_no_harm_when_it_goes_on() {
    seeds(0..1).into_iter().for_each(|seed| stop(seed, s(60), false));
}

#[ignore = "long: scripts/check.sh runs it"]
#[test]
fn an_active_server_that_was_stopped_for_a_minute_does_no_harm_in_any_world() {
    seeds(0..10).into_iter().for_each(|seed| stop(seed, s(60), false));
}

#[ignore = "long: scripts/check.sh runs it"]
#[test]
fn an_active_server_whose_machine_was_suspended_for_an_hour_does_no_harm_when_it_wakes() {
    seeds(0..3).into_iter().for_each(|seed| stop(seed, s(3_600), true));
}

#[test]
fn an_active_server_that_was_stopped_briefly_goes_on_in_its_term() {
    for seed in seeds(0..2) {
        let scenario = lan(seed, 0.0);
        let _running = Running(&scenario);
        let (mut simulation, mut watch) = (Simulation::new(&scenario), Watch::default());
        simulation.run_until(SETTLED, &mut watch);
        simulation.inject(Fault::Pause(ACTIVE));
        simulation.run_for(s(3), &mut watch);
        simulation.inject(Fault::Resume(ACTIVE));
        simulation.run_for(s(120), &mut watch);
        let changes: Vec<_> = watch.roles.iter().filter(|(at, ..)| *at >= SETTLED).collect();
        assert!(changes.is_empty(), "seed {seed}: {changes:?}");
        assert_eq!(watch.active_now(), [MemberIndex::server(1)]);
        watch.assert_no_step_since(s(60));
    }
}
