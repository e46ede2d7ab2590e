//! Trees of relays as real processes on loopback. Clocks are compared by pairs of readings (the host's
//! oscillator, the node's clock), not by what the nodes claim.

mod support;

use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;
use support::ticks::{self, Tick, assert_agreement};
use support::{Process, ask_until, client, meantime, pause, scratch, server, status};

/// A relay of the server at `upstream`, which listens at `listen`.
fn relay(listen: &str, upstream: &str, name: &str, arguments: &[&str]) -> Process {
    let mut all = vec!["server", "--listen", listen, "--upstream", upstream, "--name", name];
    all.extend(["--interval", "1s", "--output", "json", "--tick", "100ms"]);
    all.extend(arguments);
    Process::start(name, &all)
}

/// The ticks of a node that have a bound, from the reading `since` on.
fn bounded_ticks(node: &Process, since: i64) -> Vec<(Tick, i64)> {
    let ticks = ticks::of(node).into_iter().zip(node.events_of("tick"));
    let bounded = ticks.filter_map(|(tick, event)| Some((tick, event["bound_ns"].as_i64()?)));
    bounded.filter(|(tick, _)| tick.raw >= since).collect()
}

/// Asserts that no two nodes differ by more than both bounds together, from the reading `since` on. Returns
/// how many comparisons there were.
fn assert_bounds_hold(nodes: &[&Process], since: i64) -> usize {
    let mut compared = 0;
    for one in nodes {
        let bounded = bounded_ticks(one, since);
        for other in nodes.iter().filter(|other| other.name() != one.name()) {
            let others = bounded_ticks(other, since);
            let clocks: Vec<Tick> = others.iter().map(|(tick, _)| tick.clone()).collect();
            for (tick, bound) in &bounded {
                let after = clocks.partition_point(|other| other.raw < tick.raw);
                let (Some(shown), true) = (ticks::shown(&clocks, tick.raw), after > 0) else { continue };
                // A bound grows between two corrections and shrinks at one.
                let other_bound = others[after - 1].1.max(others[after].1);
                let apart = (tick.cluster - shown).abs();
                assert!(
                    apart <= bound + other_bound,
                    "{} and {} are {apart} ns apart, and state {bound} and {other_bound} ns",
                    one.name(),
                    other.name()
                );
                compared += 1;
            }
        }
    }
    compared
}

fn newest_reading(node: &Process) -> i64 {
    ticks::of(node).last().expect("ticks").raw
}

#[test]
fn a_tree_of_three_levels_agrees_within_its_bounds_and_outlives_its_root() {
    let (_dir, path) = scratch();
    let control = path.join("middle.sock").to_str().expect("a path in UTF-8").to_owned();
    let mut root = server("127.0.0.1:0", &["--interval", "1s", "--simulate-offset", "-3s"]);
    let arguments = ["--simulate-offset=2s", "--simulate-drift=40ppm", "--control", &control];
    let middle = relay("127.0.0.1:0", &root.address(), "middle", &arguments);
    let low = relay("127.0.0.1:0", &middle.address(), "low", &["--simulate-drift=-60ppm"]);
    let leaves = [
        client(&low.address(), "leaf-1", &["--simulate-offset=7s", "--simulate-drift=20ppm"]),
        client(&low.address(), "leaf-2", &["--simulate-offset=-40s"]),
        client(&middle.address(), "leaf-3", &["--simulate-drift=90ppm"]),
    ];
    let below = [&middle, &low, &leaves[0], &leaves[1], &leaves[2]];
    for node in below {
        node.wait_for("tick", 0, |tick| tick["state"] == "synchronized" && tick["bound_ns"].is_i64());
    }
    let since = newest_reading(&leaves[0]);
    pause(Duration::from_secs(20));
    let all: Vec<&Process> = [&root].into_iter().chain(below).collect();
    assert_agreement(&all, 5, LIMIT_NS, "a tree of three levels");
    assert!(assert_bounds_hold(&all, since) > 1_000);
    assert_eq!(status(&control)["upstream"]["server_level"], 0);

    let killed = newest_reading(&middle);
    root.end(Signal::SIGKILL);
    middle.wait_for("holdover", 0, |event| event["of"] == "upstream");
    pause(Duration::from_secs(10));
    for leaf in &leaves {
        let corrected = leaf.events_of("corrected").into_iter();
        let after = corrected.filter(|event| event["raw_ns"].as_i64() > Some(killed + 5_000_000_000));
        assert!(after.count() >= 2, "{} is not corrected any more\n{}", leaf.name(), leaf.log());
    }
    assert_agreement(&below, 5, LIMIT_NS, "without the root");
    assert_bounds_hold(&below, killed);
    assert_eq!(status(&control)["upstream"]["holdover"], "server_silent");
}

#[test]
fn relays_that_follow_each_other_are_told_and_have_no_time() {
    let (_dir, path) = scratch();
    let control = |name: &str| path.join(name).to_str().expect("a path in UTF-8").to_owned();
    let (one_control, two_control) = (control("one.sock"), control("two.sock"));
    let (one_address, two_address) = (free_address(1), free_address(2));
    let one = relay(&one_address, &two_address, "one", &["--control", &one_control]);
    let two = relay(&two_address, &one_address, "two", &["--control", &two_control]);
    let controls = [&one_control, &two_control];
    let faults = || controls.map(|control| status(control)["upstream"]["upstream_fault"].clone());
    ask_until("the loop to be found", faults, |faults| faults.contains(&Value::from("loop")));
    let pages = || controls.map(|control| meantime(&["status", "--control", control]).1).concat();
    ask_until("the page to say so", pages, |pages| pages.contains("One of the two needs another --upstream"));
    let refusals = || [&one, &two].map(|node| node.events_of("upstream_refused").len());
    ask_until("an event", refusals, |counts| counts.iter().sum::<usize>() > 0);
    for node in [&one, &two] {
        assert!(
            node.events_of("tick").iter().all(|tick| tick["state"] == "unsynchronized"),
            "{}",
            node.name()
        );
    }
}

#[test]
fn a_relay_has_a_key_at_the_server_above_and_gives_its_clients_others() {
    let (_dir, path) = scratch();
    let file = |name: &str| path.join(name).to_str().expect("a path in UTF-8").to_owned();
    let (above, below) = (file("above.key"), file("below.key"));
    let (of_relay, of_leaf) = (file("relay.key"), file("leaf.key"));
    for arguments in [
        vec!["keygen", above.as_str()],
        vec!["keygen", "--from", above.as_str(), "--for", "bridge", of_relay.as_str()],
        vec!["keygen", below.as_str()],
        vec!["keygen", "--from", below.as_str(), "--for", "leaf", of_leaf.as_str()],
    ] {
        let (good, text) = meantime(&arguments);
        assert!(good, "{text}");
    }
    let root = server("127.0.0.1:0", &["--interval", "1s", "--key-file", &above]);
    let keys = ["--key-file", &below, "--upstream-key-file", &of_relay];
    let bridge = relay("127.0.0.1:0", &root.address(), "engine-room", &keys);
    let leaf = client(&bridge.address(), "leaf", &["--key-file", &of_leaf]);
    // The name that the key has counts above.
    assert_eq!(root.wait_for_any("connected")["client"], "bridge");
    leaf.wait_for("tick", 0, |tick| tick["state"] == "synchronized");
}

/// An address that no process listens on any more, of a network that only this test uses.
fn free_address(last: u8) -> String {
    server(&format!("127.84.12.{last}:0"), &[]).address()
}

/// As the other tests of real processes: what a busy machine does to timestamps is no fault of the tree.
const LIMIT_NS: i64 = 1_000_000;
