//! One server or client from outside: signals, a server that is not there yet, the events.

mod support;

use std::io::Read;
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};
use std::time::Duration;

use chrono::DateTime;
use nix::sys::signal::Signal;
use serde_json::Value;
use support::{PATIENCE, Process, client, pause, server, wait_until};

/// Ends a process by a signal, and fails if that takes a second or longer: three times in a row, since on a
/// busy machine a process may have to wait for its turn. Returns what was started with the last one.
fn end_within_a_second<T>(signal: Signal, mut start: impl FnMut() -> (Process, T)) -> (Process, T) {
    for _ in 0..3 {
        let (mut process, others) = start();
        let (status, took) = process.end(signal);
        assert!(status.success(), "{signal} ended it with {status}");
        if took < Duration::from_secs(1) {
            return (process, others);
        }
    }
    panic!("{signal} ends none of three processes within a second");
}

#[test]
fn a_signal_ends_a_client_within_a_second_and_it_says_goodbye() {
    let server = server("127.0.0.1:0", &["--interval", "1s"]);
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let before = server.events_of("left").len();
        end_within_a_second(signal, || {
            let client = client(&server.address(), "guest", &[]);
            client.wait_for_any("registered");
            (client, ())
        });
        let left = server.wait_for("left", before, |_| true);
        assert_eq!(left["client"], "guest");
    }
    assert!(server.events_of("lost").is_empty());
}

#[test]
fn a_signal_ends_a_server_within_a_second_and_it_says_goodbye() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let (server, client) = end_within_a_second(signal, || {
            let server = server("127.0.0.1:0", &["--interval", "1s"]);
            let client = client(&server.address(), "guest", &[]);
            client.wait_for("corrected", 0, |_| true);
            (server, client)
        });
        client.wait_for("holdover", 0, |holdover| holdover["reason"] == "server_left");
        assert!(server.log().contains("datagrams received"), "{}", server.log());
    }
}

#[test]
fn a_client_that_cannot_reach_its_server_ends_on_a_signal_as_well() {
    let address = free_address(1);
    end_within_a_second(Signal::SIGTERM, || {
        let client = client(&address, "lonely", &[]);
        client.wait_for_any("registering");
        (client, ())
    });
}

#[test]
fn a_client_waits_for_a_server_that_is_not_there_yet() {
    let address = free_address(2);
    let mut client = client(&address, "early", &[]);
    client.wait_for("registering", 2, |_| true);
    assert!(client.is_alive());
    let server = server(&address, &["--interval", "1s"]);
    client.wait_for_any("registered");
    client.wait_for("tick", 0, |tick| tick["state"] == "synchronized");
    assert_eq!(server.wait_for_any("connected")["client"], "early");
}

#[test]
fn a_late_client_adopts_the_cluster_time_at_once_and_moves_no_other_clock() {
    let server = server("127.0.0.1:0", &["--interval", "20s"]);
    let settled = client(&server.address(), "settled", &["--simulate-offset", "1s"]);
    settled.wait_for("tick", 0, |tick| tick["state"] == "synchronized");
    pause(Duration::from_secs(4));
    let late = client(&server.address(), "late", &["--simulate-offset", "-1h"]);
    late.wait_for("tick", 0, |tick| tick["state"] == "synchronized");
    let raw = |event: &Value| event["raw_ns"].as_i64().expect("a whole number");
    let took = raw(&late.wait_for_any("corrected")) - raw(&late.wait_for_any("registered"));
    // It does not wait for a round.
    assert!(took < 5_000_000_000, "it took {took} ns");
    pause(Duration::from_secs(3));
    support::ticks::assert_agreement(&[&server, &settled, &late], 2, 5_000_000, "with the late client");
    let since = raw(&late.wait_for_any("registered"));
    for node in [&server, &settled] {
        let jump = support::ticks::largest_jump(node, since);
        assert!(jump < 1_000_000, "{} was moved by {jump} ns", node.name());
    }
}

#[test]
fn a_closed_output_pipe_ends_the_process_without_an_error() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_meantime"))
        .args(["server", "--listen", "127.0.0.1:0", "--tick", "10ms"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("meantime starts");
    drop(child.stdout.take());
    let mut status = None;
    wait_until(PATIENCE, "the server to end", || {
        status = child.try_wait().expect("a child of ours");
        status.is_some()
    });
    let mut log = String::new();
    child.stderr.take().expect("a pipe").read_to_string(&mut log).expect("text");
    assert!(status.is_some_and(|status| status.success()), "{status:?}: {log}");
    assert!(!log.contains("meantime: ") && !log.contains("panic"), "{log}");
}

#[test]
fn an_operator_reads_each_line_once() {
    let (_dir, path) = support::scratch();
    let file = path.join("log").display().to_string();
    let mut server = server("127.0.0.1:0", &["--interval", "200ms"]);
    let mut client = Process::start("reader", &["client", &server.address(), "--log-file", &file]);
    wait_until(PATIENCE, "the client to be synchronized", || client.said().contains("Synchronized time"));
    server.end(Signal::SIGTERM);
    wait_until(PATIENCE, "the client to be in holdover", || client.said().contains("Holdover: "));
    client.end(Signal::SIGTERM);
    let (said, log) = (client.said(), client.log());
    assert!(said.contains("Connected to the server") && said.contains("timestamps: "), "{said}");
    for line in ["following the server", "timestamps: ", "Holdover: "] {
        assert!(!log.contains(line), "stderr repeats what stdout says: {log}");
    }
    // Lines that are no events are on stderr only; the file has all.
    assert!(log.contains("datagrams received") && !said.contains("datagrams received"), "{log}");
    let file = std::fs::read_to_string(file).expect("the log");
    for line in ["following the server", "timestamps: ", "Holdover: ", "datagrams received"] {
        assert_eq!(file.matches(line).count(), 1, "{line}: {file}");
    }
}

#[test]
fn a_second_node_of_a_user_warns_that_it_has_no_control_socket() {
    let server = server("127.0.0.1:0", &["--interval", "200ms"]);
    let mut clients = ["first", "second"].map(|name| client(&server.address(), name, &[]));
    clients.iter().for_each(|client| drop(client.wait_for_any("registered")));
    for client in &mut clients {
        client.end(Signal::SIGTERM);
    }
    let lines = |client: &Process| client.log().matches("; --control PATH names another").count();
    // Another test's node may have taken the path before both.
    assert!([1, 2].contains(&clients.iter().map(lines).sum::<usize>()));
}

#[test]
fn advice_about_a_server_that_does_not_answer_is_logged_once() {
    let address = free_address(3);
    let mut client = client(&address, "lonely", &[]);
    // It is logged at the fifth attempt, and at no later one.
    client.wait_for("registering", 5, |_| true);
    client.end(Signal::SIGTERM);
    let log = client.log();
    let hints: Vec<&str> = log.lines().filter(|line| line.contains("no answer from")).collect();
    assert_eq!(hints.len(), 1, "{log}");
    assert!(hints[0].contains(&address) && hints[0].contains("[WARN]"), "{log}");
}

#[test]
fn every_event_is_a_json_object_with_its_documented_fields() {
    let mut server = server("127.0.0.1:0", &["--interval", "200ms"]);
    let clients: Vec<Process> = ["2s", "-3s"]
        .iter()
        .map(|offset| client(&server.address(), "member", &["--simulate-offset", offset]))
        .collect();
    let all = |server: &Process| -> Vec<Value> {
        std::iter::once(server).chain(&clients).flat_map(Process::events).collect()
    };
    for (kind, _) in SCHEMA.iter().filter(|(kind, _)| *kind != "holdover") {
        wait_until(PATIENCE, &format!("an event '{kind}'"), || {
            all(&server).iter().any(|event| event["event"] == *kind)
        });
    }
    server.end(Signal::SIGTERM);
    clients[0].wait_for_any("holdover");
    let events = all(&server);
    for event in &events {
        assert_common_fields(event);
    }
    for (kind, fields) in SCHEMA {
        let of_kind: Vec<&Value> = events.iter().filter(|event| event["event"] == *kind).collect();
        assert!(!of_kind.is_empty(), "there was no event '{kind}'");
        for event in of_kind {
            let found: Vec<&str> = event.as_object().expect("an object").keys().map(String::as_str).collect();
            assert_eq!(found, [COMMON, fields].concat(), "{event}");
        }
    }
}

/// The fields of every event; a field in nanoseconds is a whole number, or null where it is unknown.
fn assert_common_fields(event: &Value) {
    let cluster = event["cluster_ns"].as_i64().unwrap_or_else(|| panic!("no cluster_ns: {event}"));
    assert!(event["raw_ns"].is_i64() && event["event"].is_string(), "{event}");
    let time = event["time"].as_str().and_then(|time| DateTime::parse_from_rfc3339(time).ok());
    assert_eq!(time.and_then(|time| time.timestamp_nanos_opt()), Some(cluster), "{event}");
    for (name, value) in event.as_object().expect("an object") {
        assert!(!name.ends_with("_ns") || value.is_i64() || value.is_null(), "{name} in {event}");
        assert!(!name.ends_with("_ppb") || value.is_number() || value.is_null(), "{name} in {event}");
    }
}

/// An address on which no program listens, of a network that only these tests use: another server does not
/// get its port meanwhile.
#[expect(clippy::disallowed_types, reason = "to find a free port")]
fn free_address(last: u8) -> String {
    let socket = std::net::UdpSocket::bind((Ipv4Addr::new(127, 84, 13, last), 0)).expect("a free port");
    socket.local_addr().expect("its address").to_string()
}

const COMMON: &[&str] = &["event", "time", "raw_ns", "cluster_ns", "error_ns", "bound_ns"];

/// The fields of the kinds of events that an undisturbed cluster reports.
const SCHEMA: &[(&str, &[&str])] = &[
    ("listening", &["address", "name", "version", "timestamps"]),
    ("tick", &["state", "frequency_ppb", "timestamps"]),
    ("connected", &["client", "address", "state"]),
    ("round_started", &["round", "clients", "burst"]),
    (
        "updated",
        &[
            "client",
            "address",
            "round",
            "offset_ns",
            "delay_ns",
            "heard",
            "client_error_ns",
            "client_bound_ns",
        ],
    ),
    ("time_agreed", &["cluster", "agreeing", "members"]),
    ("correction_sent", &["client", "address", "round", "correction_ns", "verdict"]),
    (
        "round_ended",
        &[
            "round",
            "outcome",
            "members",
            "votes",
            "heard",
            "agreeing",
            "median_offset_ns",
            "window_ns",
            "spread_ns",
            "covered",
            "not_covered",
            "largest_bound_ns",
            "mean_frequency_ppb",
            "rate_ppb",
        ],
    ),
    ("registering", &["server", "attempt"]),
    ("registered", &["server", "cluster", "interval_ns", "timestamps"]),
    (
        "corrected",
        &[
            "round",
            "correction_ns",
            "added_ns",
            "manual_ns",
            "adjustment",
            "delay_ns",
            "frequency_ppb",
            "verdict",
            "first",
        ],
    ),
    ("holdover", &["reason"]),
];
