//! A whole cluster of real processes on loopback, on a machine that is busy with other things: do the
//! clocks agree, and do they go on agreeing when processes are killed, stopped, and started again?
//!
//! Agreement is measured from pairs of readings (the host's oscillator, the node's clock), not from what
//! the nodes claim. One test, because its minute is shared by all its parts.

mod support;

use std::time::Duration;

use nix::sys::signal::Signal;
use support::ticks::{self, assert_agreement};
use support::{Process, Spinners, client, pause, server, wait_until};

#[test]
fn a_busy_cluster_agrees_and_outlives_its_processes() {
    let _busy = Spinners::start(2);
    let first = server("127.0.0.1:0", &["--interval", "1s", "--simulate-offset", "-3s"]);
    let address = first.address();
    let start = |number: usize, offset, drift| {
        let (offset, drift) = (&format!("--simulate-offset={offset}"), &format!("--simulate-drift={drift}"));
        client(&address, &format!("client-{number}"), &[offset, drift])
    };
    let mut clients = vec![
        start(1, "2.5s", "50ppm"),
        start(2, "-4s", "-35ppm"),
        start(3, "7.9s", "80ppm"),
        start(4, "-250ms", "-90ppm"),
        start(5, "0s", "3ppm"),
    ];
    pause(Duration::from_secs(60));
    assert_agreement(&all(&first, &clients), 10, LIMIT_NS, "after a minute");

    a_stopped_client_comes_back(&first, &clients);
    drop(clients.remove(4));
    first.wait_for("lost", 0, |lost| lost["client"] == "client-5");
    assert_agreement(&all(&first, &clients), 2, LIMIT_NS, "after a client was killed");

    let killed_at = ticks::of(&first).last().expect("ticks").raw;
    drop(first);
    pause(Duration::from_millis(1_500));
    let second = server(&address, &["--interval", "1s", "--simulate-offset", "1h"]);
    the_restarted_server_takes_the_time_of_its_clients(&second, &clients, killed_at);
}

/// Stopped for ten seconds, it is given up by the server, and finds back by itself.
fn a_stopped_client_comes_back(first: &Process, clients: &[Process]) {
    clients[0].signal(Signal::SIGSTOP);
    pause(Duration::from_secs(10));
    clients[0].signal(Signal::SIGCONT);
    first.wait_for("lost", 0, |lost| lost["client"] == "client-1");
    first.wait_for("connected", 1, |connected| {
        connected["client"] == "client-1" && connected["state"] != "unsynchronized"
    });
    pause(Duration::from_secs(5));
    assert_agreement(&all(first, clients), 2, LIMIT_NS, "after a client stood still");
}

/// The clients' clocks never jump, however wrong the clock of the machine is that the server restarted on.
fn the_restarted_server_takes_the_time_of_its_clients(second: &Process, clients: &[Process], since: i64) {
    wait_until(support::PATIENCE, "all clients to register again", || {
        second.events_of("connected").len() >= clients.len()
    });
    let raw = |event: &serde_json::Value| event["raw_ns"].as_i64().expect("a whole number");
    let began = raw(&second.wait_for_any("listening"));
    for connected in second.events_of("connected") {
        let took = raw(&connected) - began;
        assert!(took <= FOUR_HEARTBEATS_NS, "{} registered after {took} ns", connected["client"]);
    }
    second.wait_for_any("time_adopted");
    pause(Duration::from_secs(8));
    assert_agreement(&all(second, clients), 2, LIMIT_NS, "after the server was killed and restarted");
    for client in clients {
        let jump = ticks::largest_jump(client, since);
        assert!(jump < LIMIT_NS, "{} jumped by {jump} ns when the server was restarted", client.name());
        assert!(client.events_of("holdover").len() <= 3, "{}", client.log());
    }
}

fn all<'a>(server: &'a Process, clients: &'a [Process]) -> Vec<&'a Process> {
    std::iter::once(server).chain(clients).collect()
}

const LIMIT_NS: i64 = 200_000;

/// Of one round each: twice what they need, since the machine is busy.
const FOUR_HEARTBEATS_NS: i64 = 4_100_000_000;
