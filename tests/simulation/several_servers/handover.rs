//! The active server is asked to end.

use meantime_core::roles::server_role::RoleChange;
use meantime_core::time::Span;
use meantime_sim::{Fault, MemberIndex, Simulation};

use super::watch::Watch;
use super::{ACTIVE, ROUND, SETTLED, clients, lan};
use crate::support::{Running, s, seeds, us};

/// The active server of a settled cluster ends; the longest time that a client is without a correction.
fn hand_over(seed: u64, loss: f64) -> Span {
    let scenario = lan(seed, loss);
    let _running = Running(&scenario);
    let (mut simulation, mut watch) = (Simulation::new(&scenario), Watch::default());
    simulation.run_until(SETTLED, &mut watch);
    // For some seconds it goes on, as a client that has to learn how its oscillator runs.
    watch.left_out = Some(ACTIVE);
    simulation.inject(Fault::Shutdown(ACTIVE));
    simulation.run_for(s(60), &mut watch);
    let succeeded = watch.roles.iter().find(|(at, ..)| *at >= SETTLED);
    let is_succession = |(_, _, change): &_| matches!(change, RoleChange::Succeeded(_));
    assert!(succeeded.is_some_and(is_succession), "seed {seed}: {:?}", watch.roles);
    assert!(simulation.world().machine(ACTIVE).node().is_none(), "seed {seed}: it has not ended");
    let gap = |client| watch.longest_gap(client, SETTLED, SETTLED + s(60));
    let longest = clients(&scenario).map(gap).max().expect("there are clients");
    let (before, after) = (watch.worst(SETTLED - s(600), SETTLED), watch.worst(SETTLED, SETTLED + s(60)));
    println!("seed {seed}: handed over, longest gap {longest}, apart {before} before, {after} after");
    assert!(after <= before.times(3) && after <= us(20), "seed {seed}: {before}, then {after}");
    watch.assert_no_step_since(s(60));
    assert_eq!(watch.violations, [], "seed {seed}");
    if loss == 0.0 {
        watch.assert_no_holdover_since(SETTLED);
    }
    longest
}

#[test]
fn an_active_server_hands_over_before_it_ends() {
    let longest = hand_over(0, 0.0);
    assert!(longest <= ROUND + s(1), "{longest}");
}

/// A rack is shut down: the first server waits for its end while the second one looks for a successor.
#[test]
fn two_servers_that_end_one_after_the_other_hand_over_to_the_third() {
    for (seed, apart) in [(0, s(1)), (1, s(3)), (2, Span::from_millis(100))] {
        let scenario = lan(seed, 0.0);
        let _running = Running(&scenario);
        let (mut simulation, mut watch) = (Simulation::new(&scenario), Watch::default());
        let (second, third) = (MemberIndex::server(2), MemberIndex::server(3));
        simulation.run_until(SETTLED, &mut watch);
        simulation.inject(Fault::Shutdown(ACTIVE));
        simulation.run_for(apart, &mut watch);
        simulation.inject(Fault::Shutdown(second));
        simulation.run_for(s(60), &mut watch);
        for server in [ACTIVE, second] {
            assert!(
                simulation.world().machine(server).node().is_none(),
                "seed {seed}: {server} has not ended"
            );
        }
        assert_eq!(watch.active_now(), [third], "seed {seed}: {:?}", watch.roles);
        let lost = watch
            .roles
            .iter()
            .any(|(at, _, change)| *at >= SETTLED && matches!(change, RoleChange::TookOver(_)));
        assert!(!lost, "seed {seed}: a server had to be lost: {:?}", watch.roles);
        watch.assert_no_holdover_since(SETTLED);
    }
}

#[ignore = "long: scripts/check.sh runs it"]
#[test]
fn no_round_is_missed_when_the_active_server_hands_over() {
    let longest = seeds(0..20).into_iter().map(|seed| hand_over(seed, 0.0)).max();
    println!("handed over: longest gap {longest:?}");
    // An interval, and the bursts of two rounds may lie differently.
    assert!(longest <= Some(ROUND + s(1)), "{longest:?}");
}

#[ignore = "long: scripts/check.sh runs it"]
#[test]
fn a_handover_succeeds_where_a_fifth_is_lost() {
    for seed in seeds(0..10) {
        let longest = hand_over(seed, 0.2);
        assert!(longest <= ROUND.times(5), "seed {seed}: {longest}");
    }
}
