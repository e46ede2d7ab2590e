//! The network is cut in two, and whole again after an hour.

use meantime_core::roles::server_role::{Quorum, RoleChange};
use meantime_core::time::Span;
use meantime_core::wire::ClientState;
use meantime_sim::{Fault, MemberIndex, Scenario, Simulation};

use super::watch::Watch;
use super::{ACTIVE, ROUND, SETTLED, lan, or_never};
use crate::support::{Running, s, seeds, us};

/// Three members: the second server and two clients. The others are a part of their own.
fn smaller_part() -> Vec<MemberIndex> {
    vec![MemberIndex::server(2), MemberIndex::client(1), MemberIndex::client(2)]
}

/// Two servers and six clients, of which the first part has three members, and the second five.
fn scenario(seed: u64) -> Scenario {
    Scenario { servers: 2, clients: 6, ..lan(seed, 0.0) }
}

/// A partition for so long, in which this side is cut off; then the network is whole again. `active`: how
/// many active servers there are then, in the side and outside of it.
fn partition(scenario: &Scenario, side: &[MemberIndex], length: Span, active: (usize, usize)) {
    let _running = Running(scenario);
    let seed = scenario.seed.0;
    let (mut simulation, mut watch) = (Simulation::new(scenario), Watch::default());
    simulation.run_until(SETTLED, &mut watch);
    simulation.inject(Fault::Partition(side.to_vec()));
    watch.parts = Some(side.to_vec());
    simulation.run_for(length, &mut watch);
    let healed = simulation.world().now();
    let servers = scenario.members().filter(|member| member.is_server());
    let (inside, outside): (Vec<_>, Vec<_>) = servers.partition(|server| side.contains(server));
    let active_now = watch.active_now();
    let of = |servers: &[MemberIndex]| active_now.iter().filter(|server| servers.contains(server)).count();
    assert_eq!((of(&inside), of(&outside)), active, "seed {seed}: {:?}", watch.roles);
    let offs: Vec<Span> = simulation.sample().synchronized().map(|(_, off)| off).collect();
    let apart = *offs.iter().max().expect("clocks") - *offs.iter().min().expect("clocks");
    simulation.inject(Fault::HealPartition);
    watch.parts = None;
    let violations = std::mem::take(&mut watch.violations);
    assert_eq!(violations, [], "seed {seed}: inside a part");
    simulation.run_for(s(900), &mut watch);
    let end = simulation.world().now();
    let merged = watch.one_active_since().map(|at| at - healed);
    let is_close = |(_, apart): &&(Span, Span)| *apart <= us(20);
    let together =
        watch.apart.iter().rev().take_while(is_close).last().map(|(at, _)| (*at - healed).max(Span::ZERO));
    println!(
        "seed {seed}: parted for {length}, {apart} apart at the heal, one active server after {}, within 20 µs \
         after {}, {} bounds violated",
        or_never(merged),
        or_never(together),
        watch.violations.len()
    );
    assert!(
        merged.is_some_and(|merged| merged <= ROUND.times(3)),
        "seed {seed}: {merged:?}, {:?}",
        watch.roles
    );
    watch.assert_no_step_since(s(60));
    assert_eq!(watch.distrust, [], "seed {seed}: a server is distrusted for what the partition has done");
    // All follow the one that is active.
    for member in scenario.members().filter(|member| !watch.active_now().contains(member)) {
        let corrected = watch.corrected_after(member, end - ROUND.times(3));
        assert!(corrected.is_some(), "seed {seed}: {member} is not corrected");
    }
    assert!(together.is_some(), "seed {seed}: {} apart at the end", watch.worst(end, end));
}

#[ignore = "long: scripts/check.sh runs it"]
#[test]
fn the_parts_of_a_network_go_on_and_become_one_cluster_again() {
    for seed in seeds(0..5) {
        partition(&scenario(seed), &smaller_part(), s(3_600), ONE_EACH);
    }
}

#[test]
fn a_short_partition_is_over_within_three_rounds() {
    for seed in seeds(0..2) {
        partition(&scenario(seed), &smaller_part(), s(60), ONE_EACH);
    }
}

#[ignore = "long: scripts/check.sh runs it"]
#[test]
fn the_active_server_is_in_the_smaller_part() {
    for seed in seeds(0..5) {
        let side = [ACTIVE, MemberIndex::client(1), MemberIndex::client(2)];
        partition(&scenario(seed), &side, s(3_600), ONE_EACH);
    }
}

#[ignore = "long: scripts/check.sh runs it"]
#[test]
fn with_a_quorum_of_the_majority_the_smaller_part_has_no_active_server() {
    let clients = [MemberIndex::client(1), MemberIndex::client(2)];
    for (server, seed) in [(ACTIVE, 0), (MemberIndex::server(2), 1), (ACTIVE, 2)] {
        let scenario = Scenario { quorum: Quorum::Majority, ..lan(seed, 0.0) };
        let side: Vec<MemberIndex> = clients.into_iter().chain([server]).collect();
        partition(&scenario, &side, s(3_600), (0, 1));
    }
}

/// A server that has lost its quorum corrects nobody, and nobody corrects it.
#[test]
fn with_a_quorum_of_a_majority_all_of_the_smaller_part_say_that_they_are_in_holdover() {
    let scenario = Scenario { quorum: Quorum::Majority, ..scenario(0) };
    let _running = Running(&scenario);
    let (mut simulation, mut watch) = (Simulation::new(&scenario), Watch::default());
    simulation.run_until(SETTLED, &mut watch);
    let side = [ACTIVE, MemberIndex::client(1), MemberIndex::client(2)];
    simulation.inject(Fault::Partition(side.to_vec()));
    simulation.run_for(s(60), &mut watch);
    let lost = watch.roles.iter().find(|(_, _, change)| *change == RoleChange::LostQuorum);
    assert_eq!(lost.map(|(_, server, _)| *server), Some(ACTIVE), "{:?}", watch.roles);
    let states = |simulation: &Simulation| {
        let sample = simulation.sample();
        side.map(|member| sample.clock(member).map(|clock| clock.state))
    };
    assert_eq!(states(&simulation), [Some(ClientState::Holdover); 3]);
    simulation.inject(Fault::HealPartition);
    simulation.run_for(s(60), &mut watch);
    assert_eq!(states(&simulation), [Some(ClientState::Synchronized); 3]);
}

/// One active server in each part.
const ONE_EACH: (usize, usize) = (1, 1);
