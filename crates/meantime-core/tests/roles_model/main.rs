//! A model check of the roles of several servers: three servers and three clients, and all orders of events.
//!
//! The nodes are the core's own state machines (`meantime_core::roles`). A world is what all of them are, and
//! what each holds of the others. The checker visits every world that can be reached with a limited number of
//! faults, and looks for one that violates an invariant. Clients are all alike, so worlds that differ only in
//! which client is which are one. From each world the check also lets the cluster go on without faults, and
//! expects it to agree (`peace.rs`).

#![expect(clippy::disallowed_methods, reason = "the check measures how long it takes")]

mod cluster;
mod peace;
mod world;

use std::time::Instant;

use cluster::{ALL_FAULTS, Cluster, Fault, MISLED, REPLACED, TWO_ACTIVE};
use peace::Peace;
use stateright::{Checker, Expectation, HasDiscoveries, Model};
use world::World;

#[test]
fn a_cluster_that_begins() {
    check("a cluster that begins", new(0, &[], 4), ALL, &[REPLACED]);
}

#[test]
fn a_late_statement_in_a_cluster_that_begins() {
    let reached = [TWO_ACTIVE, REPLACED];
    check("a late statement in a cluster that begins", new(1, &[Fault::Late], 4), ALL, &reached);
}

#[test]
fn one_fault_in_a_cluster_that_agrees() {
    let reached = [TWO_ACTIVE, REPLACED];
    check("one fault in a cluster that agrees", agreed(1, &ALL_FAULTS, 4), ALL, &reached);
}

#[test]
fn two_faults_shortly_after_one_another() {
    check("two faults shortly after one another", agreed(2, &ALL_FAULTS, 4), 4, &[TWO_ACTIVE]);
}

#[test]
fn one_liar_among_three_servers() {
    for liar in 0..3 {
        check(&format!("server {liar} lies"), lying(liar, 0, &[], 3), 8, &[]);
    }
}

#[test]
fn one_liar_among_three_servers_and_a_crash() {
    for liar in 0..3 {
        check(
            &format!("server {liar} lies, a node crashes"),
            lying(liar, 1, &[Fault::Crash], 3),
            6,
            &[MISLED],
        );
    }
}

#[test]
#[ignore = "long: scripts/check.sh runs it"]
fn two_faults_in_a_cluster_that_agrees() {
    let reached = [TWO_ACTIVE, REPLACED];
    check("two faults in a cluster that agrees", agreed(2, &ALL_FAULTS, 4), 7, &reached);
}

#[test]
#[ignore = "long: scripts/check.sh runs it"]
fn one_liar_among_three_servers_and_a_crash_later() {
    check("server 1 lies, a node crashes later", lying(1, 1, &[Fault::Crash], 3), 8, &[MISLED]);
}

#[test]
#[ignore = "long: scripts/check.sh runs it"]
fn one_fault_in_a_cluster_that_begins() {
    check("one fault in a cluster that begins", new(1, &ALL_FAULTS, 4), 7, &[TWO_ACTIVE, REPLACED]);
}

/// A cluster whose nodes begin now.
fn new(faults: u8, kinds: &[Fault], max_counter: u64) -> Cluster {
    let start = World::new(faults, None);
    Cluster { start, faults: kinds.to_vec(), max_counter, peace: Peace::default() }
}

/// A cluster that has agreed on the first server.
fn agreed(faults: u8, kinds: &[Fault], max_counter: u64) -> Cluster {
    let start = World { faults, ..Peace::of(&World::new(0, None)) };
    Cluster { start, faults: kinds.to_vec(), max_counter, peace: Peace::default() }
}

/// A cluster that has agreed, in which a server lies from now on.
fn lying(liar: u8, faults: u8, kinds: &[Fault], max_counter: u64) -> Cluster {
    let mut cluster = agreed(faults, kinds, max_counter);
    cluster.start.liar = Some(liar);
    cluster
}

/// Visits all worlds up to this number of events from the start, and expects to find `reached` ones among
/// them.
fn check(name: &str, cluster: Cluster, events: usize, reached: &[&'static str]) {
    let begun = Instant::now();
    let checker = cluster
        .checker()
        // The start is at depth 1, and worlds at the maximum depth are not checked any more.
        .target_max_depth(events + 2)
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_bfs()
        .join();
    println!(
        "{name}: {} worlds, {} ways to them, up to {} events, {:.1} s",
        checker.unique_state_count(),
        checker.state_count(),
        events.min(checker.max_depth() - 1),
        begun.elapsed().as_secs_f64(),
    );
    for property in checker.model().properties() {
        match property.expectation {
            Expectation::Always => checker.assert_no_discovery(property.name),
            _ if reached.contains(&property.name) => drop(checker.assert_any_discovery(property.name)),
            _ => (),
        }
    }
    assert!(events < ALL || checker.max_depth() < ALL, "there are worlds that are farther away");
}

/// More than any world is away from the start: all worlds are visited.
const ALL: usize = 10_000;
