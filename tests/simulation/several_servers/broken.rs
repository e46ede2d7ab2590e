//! The active server's machine breaks: its own vote finds that its clock is wrong.

use meantime_core::time::{Frequency, Span};
use meantime_sim::{Fault, Simulation};

use super::watch::Watch;
use super::{ACTIVE, ROUND, SETTLED, clients, lan, or_never};
use crate::support::{Running, s, seeds, us};

/// Something happens to the active server's oscillator: another server takes over, and the clients' clocks do
/// not notice.
fn breaks(seed: u64, fault: &Fault) {
    let scenario = lan(seed, 0.0);
    let _running = Running(&scenario);
    let (mut simulation, mut watch) = (Simulation::new(&scenario), Watch::default());
    simulation.run_until(SETTLED, &mut watch);
    watch.left_out = Some(ACTIVE);
    simulation.inject(fault.clone());
    simulation.run_for(s(300), &mut watch);
    let end = simulation.world().now();
    let gap = |client| watch.longest_gap(client, SETTLED, SETTLED + s(120));
    let longest = clients(&scenario).map(gap).max().expect("there are clients");
    let replaced = watch.roles.iter().find(|(at, server, _)| *at > SETTLED && *server != ACTIVE);
    let replaced = replaced.map(|(at, ..)| *at - SETTLED);
    let after = watch.worst(SETTLED, end);
    println!(
        "seed {seed}: {fault:?}: replaced after {}, longest gap {longest}, apart {after}",
        or_never(replaced)
    );
    assert!(!watch.active_now().contains(&ACTIVE), "seed {seed}: {:?}", watch.roles);
    assert!(longest <= ROUND.times(5), "seed {seed}: {longest}");
    assert!(after <= us(20), "seed {seed}: {after}");
    watch.assert_steps_only_of(s(60), &[ACTIVE]);
}

#[test]
fn an_active_server_whose_oscillator_jumps_is_replaced() {
    breaks(0, &Fault::Jump(ACTIVE, Span::from_millis(1)));
}

#[ignore = "long: scripts/check.sh runs it"]
#[test]
fn an_active_server_whose_oscillator_jumps_by_anything_is_replaced() {
    for seed in seeds(0..3) {
        for jump in [Span::from_millis(1), Span::from_millis(-20), s(1)] {
            breaks(seed, &Fault::Jump(ACTIVE, jump));
        }
    }
}

#[ignore = "long: scripts/check.sh runs it"]
#[test]
fn an_active_server_whose_oscillator_goes_wrong_by_150_ppm_is_replaced() {
    for seed in seeds(0..3) {
        breaks(seed, &Fault::FrequencyStep(ACTIVE, Frequency::from_ppm(150.0)));
    }
}
