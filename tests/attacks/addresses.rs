//! Attackers without keys: their groups are the machines at their addresses.

use meantime_core::ServerConfig;
use meantime_core::event::ServerEvent;
use meantime_core::time::Span;

use crate::attacker::Plan;
use crate::island::{Island, NOISE, s};

/// Runs a server and so many good clients against clients at these addresses.
fn attacked(config: ServerConfig, good: usize, addresses: impl Iterator<Item = String>) -> Island {
    let mut island = Island::new(config, good);
    // They agree for two minutes, then jump together.
    let plan = Plan { jump: Some((s(120), s(10))), ..Plan::default() };
    addresses.for_each(|address| island.attacker.add(&address, plan));
    island.run(115);
    island.mark_synchronized();
    island.run(60);
    island
}

/// g = 6: the server, four clients and one address; f = 1, however many sessions it has.
#[test]
fn the_sessions_of_one_address_have_one_vote() {
    for sessions in [6, 150] {
        let addresses = (0..sessions).map(|_| String::from("198.51.100.66"));
        let island = attacked(ServerConfig::default(), 4, addresses);
        assert!(island.moved() < NOISE, "{sessions}: {}", island.moved());
        assert_eq!((island.server.node.clients(), island.named()), (4 + sessions, 1));
        assert!(island.no_good_clock_is_named());
    }
}

/// The same with the addresses of one IPv6 /64.
#[test]
fn the_addresses_of_one_ipv6_64_have_one_vote() {
    let addresses = (1..=50).map(|k| format!("2001:db8:0:7::{k:x}"));
    let island = attacked(ServerConfig::default(), 4, addresses);
    assert!(island.moved() < NOISE, "{}", island.moved());
    assert_eq!(island.named(), 50);
    assert!(island.no_good_clock_is_named());
}

/// g = 5: the server's machine and four clients. 100 fakes of a user of the server's machine have its vote,
/// of which the server's own clock keeps 1/101: f < 1.
#[test]
fn the_clients_on_the_servers_machine_share_its_vote() {
    let addresses = (0..100).map(|k| format!("127.0.0.{}", k % 8 + 1));
    let island = attacked(ServerConfig::default(), 4, addresses);
    assert!(island.moved() < NOISE, "{}", island.moved());
    assert_eq!(island.named(), 8);
    assert!(island.no_good_clock_is_named());
}

/// The same with one client: g = 2, f = 50/51 < g/2.
#[test]
fn a_local_user_does_not_outvote_a_single_remote_client() {
    let island = attacked(ServerConfig::default(), 1, (0..50).map(|_| String::from("127.0.0.1")));
    assert!(island.moved() < NOISE, "{}", island.moved());
    assert_eq!(island.named(), 1);
    assert!(island.no_good_clock_is_named());
}

/// The addresses of one IPv4 /24.
fn one_24(count: usize) -> impl Iterator<Item = String> {
    (0..count).map(|k| format!("198.51.100.{}", k + 1))
}

/// g = 41: the server, 20 clients and 20 addresses; f = 20 < g/2.
#[test]
fn twenty_addresses_do_not_move_twenty_one_good_groups() {
    let island = attacked(ServerConfig::default(), 20, one_24(20));
    assert!(island.moved() < NOISE, "{}", island.moved());
    assert_eq!(island.named(), 20);
    assert!(island.no_good_clock_is_named());
}

/// g = 11, f = 6: with more addresses than there are good groups they win. Only keys, `--allow` or a longer
/// unit of addresses prevent it.
#[test]
fn more_addresses_than_good_groups_set_the_time_unless_they_are_one_machine() {
    let island = attacked(ServerConfig::default(), 4, one_24(6));
    assert!((island.moved() - s(10)).abs() < Span::from_millis(50), "{}", island.moved());
    assert_eq!(island.count(|event| matches!(event, ServerEvent::Deposed { .. })), 1);

    let config = ServerConfig { ipv4_machine_prefix: 24, ..ServerConfig::default() };
    let island = attacked(config, 4, one_24(6));
    // The good clients are in one /24 here, too: g = 3, f = 1.
    assert!(island.moved() < NOISE, "{}", island.moved());
    assert_eq!(island.named(), 6);

    let allow = vec!["10.0.0.0/24".parse().expect("a network")];
    let island = attacked(ServerConfig { allow, ..ServerConfig::default() }, 4, one_24(6));
    assert!(island.moved() < NOISE, "{}", island.moved());
    assert_eq!(island.server.node.clients(), 4);
}

/// g = 11 with two votes for each address: the server's machine has one, four clients have four, and three
/// addresses with three sessions each have six: more than half of eleven.
#[test]
fn votes_per_address_multiply_what_an_address_counts() {
    let addresses = || (0..9).map(|k| format!("198.51.100.{}", k % 3 + 1));
    let island = attacked(ServerConfig::default(), 4, addresses());
    assert!(island.moved() < NOISE, "{}", island.moved());
    let config = ServerConfig { votes_per_address: 2, ..ServerConfig::default() };
    let island = attacked(config, 4, addresses());
    assert!((island.moved() - s(10)).abs() < Span::from_millis(50), "{}", island.moved());
}
