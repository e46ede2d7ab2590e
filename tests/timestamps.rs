//! Timestamps of a real cluster on loopback: the kernel's where it records them, else the program's own.

mod support;

use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use support::{Process, client, not_run, pause, server};

/// A server and two clients whose clocks agree, all with this timestamp source.
fn cluster(server_with: &str, clients_with: &str) -> Vec<Process> {
    let hub = server("127.0.0.1:0", &["--interval", "500ms", "--timestamps", server_with]);
    let mut nodes: Vec<Process> = [("one", "4s", "60ppm"), ("two", "-2s", "-80ppm")]
        .iter()
        .map(|(name, offset, drift)| {
            let arguments =
                ["--timestamps", clients_with, "--simulate-offset", offset, "--simulate-drift", drift];
            client(&hub.address(), name, &arguments)
        })
        .collect();
    nodes.push(hub);
    for node in &nodes {
        node.wait_for("tick", 0, |tick| tick["state"] == "synchronized");
    }
    pause(Duration::from_secs(5));
    nodes
}

fn assert_agreement(nodes: &[Process], limit_ns: i64, when: &str) {
    let nodes: Vec<&Process> = nodes.iter().collect();
    support::ticks::assert_agreement(&nodes, 2, limit_ns, when);
}

/// The timestamp source that a node has reported last.
fn last_word(node: &Process) -> String {
    let ticks = node.events_of("tick");
    ticks.last().and_then(|tick| tick["timestamps"].as_str()).expect("a word").to_owned()
}

#[test]
fn where_the_kernel_records_timestamps_both_nodes_use_them() {
    let mut nodes = cluster("auto", "auto");
    if nodes.iter().any(|node| last_word(node) != "kernel") {
        return not_run("the kernel gives no timestamps on loopback");
    }
    for node in &nodes {
        let all_kernel = |kind| node.events_of(kind).iter().all(|event| event["timestamps"] == "kernel");
        assert!(all_kernel("registered") && all_kernel("listening"), "{}", node.name());
        assert!(node.log().contains("timestamps: kernel"), "{}", node.log());
    }
    assert_agreement(&nodes, 5_000_000, "with the kernel's timestamps");
    // The delay shows it: between two calls of the program more time passes than between two timestamps of
    // the kernel.
    let delays = |process: &Process| -> Vec<i64> {
        process.events_of("updated").iter().filter_map(|event| event["delay_ns"].as_i64()).collect()
    };
    let mut delays = delays(&nodes[2]);
    delays.sort_unstable();
    let usual = delays[delays.len() / 2];
    assert!((0..20_000).contains(&usual), "delays of {usual} ns are those of user-space time");
    assert!(nodes[0].end(Signal::SIGTERM).0.success());
    assert!(!nodes[0].log().contains("implausible"), "{}", nodes[0].log());
}

#[test]
fn without_a_network_card_auto_says_why_at_debug_level_and_hardware_ends() {
    let hub = server("127.0.0.1:0", &["--interval", "500ms", "--log-level", "debug"]);
    if hub.wait_for_any("listening")["timestamps"] != "kernel" {
        return not_run("the kernel gives no timestamps on loopback");
    }
    let why = "no network card stamps datagrams: 127.0.0.1 has none";
    assert!(hub.log().contains(why), "{}", hub.log());
    for arguments in [&["server", "--listen", "127.0.0.1:0"][..], &["client", &hub.address()]] {
        let program = env!("CARGO_BIN_EXE_meantime");
        let ended = Command::new(program).args(arguments).args(["--timestamps", "hardware"]).output();
        let ended = ended.expect("meantime starts");
        let said = String::from_utf8_lossy(&ended.stderr);
        let last = said.lines().last().unwrap_or_default();
        assert_eq!(ended.status.code(), Some(1), "{said}");
        assert!(last.contains("no network card stamps this node's datagrams: 127.0.0.1 has none"), "{said}");
    }
}

#[test]
fn without_the_kernels_timestamps_the_programs_own_are_used() {
    let nodes = cluster("user", "user");
    assert!(nodes.iter().all(|node| last_word(node) == "user"));
    assert_eq!(nodes[2].wait_for_any("listening")["timestamps"], "user");
    assert_eq!(nodes[0].wait_for_any("registered")["timestamps"], "user");
    for node in &nodes {
        assert!(
            !node.log().contains("do not come"),
            "nothing is missing that was not wanted: {}",
            node.log()
        );
    }
    assert_agreement(&nodes, 20_000_000, "with the program's own timestamps");
}

#[test]
fn each_node_may_use_another_timestamp_source() {
    for (server_with, clients_with) in [("auto", "user"), ("user", "auto")] {
        let nodes = cluster(server_with, clients_with);
        assert_agreement(&nodes, 20_000_000, &format!("server {server_with}, clients {clients_with}"));
    }
}

#[test]
fn transmit_timestamps_do_not_keep_a_node_awake() {
    let nodes = cluster("auto", "auto");
    let busy = |node: &Process| node.processor_ticks();
    let before: Vec<u64> = nodes.iter().map(busy).collect();
    pause(Duration::from_secs(3));
    for (node, before) in nodes.iter().zip(before) {
        // Of 300: a busy loop would use all of them.
        let spent = busy(node) - before;
        assert!(spent < 30, "{} was busy for {spent} of 300 ticks", node.name());
    }
}
