//! The frequency and the time that a node keeps over restarts: found again, and no trouble with them ever
//! ends a node.

mod support;

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;
use support::{PATIENCE, client, scratch, server, wait_until};

#[test]
fn a_client_finds_its_frequency_again_and_nothing_that_is_damaged() {
    let server = server("127.0.0.1:0", &["--interval", "200ms"]);
    let (_dir, path) = scratch();
    let state = path.join("state").display().to_string();
    let file = path.join("state").join("keeper.memory");
    let start =
        || client(&server.address(), "keeper", &["--simulate-drift", "-80ppm", "--state-dir", &state]);

    let mut first = start();
    wait_until(KEPT_WITHIN, "the frequency to be kept", || file.exists());
    assert!(first.end(Signal::SIGTERM).0.success());

    let mut second = start();
    let corrected = second.wait_for_any("corrected");
    let ppb = corrected["frequency_ppb"].as_f64().expect("a number");
    // The server's oscillator is the same one without the drift, and the cluster's rate goes to the middle.
    assert!((20_000.0..100_000.0).contains(&ppb), "it starts with {ppb} ppb\n{}", second.log());
    assert!(second.log().contains("the frequency is +"), "{}", second.log());
    assert!(second.end(Signal::SIGTERM).0.success());

    let text = fs::read_to_string(&file).expect("the frequency");
    fs::write(&file, text.replace("ppb ", "ppb 1")).expect("a damaged one");
    let third = start();
    third.wait_for_any("corrected");
    let log = third.log();
    assert_eq!(log.matches("damaged").count(), 1, "{log}");
    // Another test's node may have taken the control socket of this user.
    let warnings = log.lines().filter(|line| line.contains("[WARN]") && !line.contains("control socket"));
    assert_eq!(warnings.count(), 1, "{log}");
}

#[test]
fn a_server_goes_on_at_the_rate_that_it_had() {
    let (_dir, path) = scratch();
    let state = path.display().to_string();
    let file = path.join("server.memory");
    let start = || server("127.0.0.1:0", &["--interval", "200ms", "--state-dir", &state]);
    let ppb = |tick: &Value| tick["frequency_ppb"].as_f64().expect("a number");

    let mut first = start();
    // The mean of both oscillators, to which the cluster's rate goes, is 0.6 ppm off the server's: half that
    // of a client's. Were it more, minutes would pass before the rate is worth keeping.
    let member = client(&first.address(), "member", &["--simulate-drift", "1.2ppm"]);
    wait_until(KEPT_WITHIN, "the frequency to be kept", || file.exists());
    // Enough to be told from nothing.
    first.wait_for("tick", 0, |tick| ppb(tick) > 10.0);
    assert!(first.end(Signal::SIGTERM).0.success());
    let left = ppb(first.events_of("tick").last().expect("ticks"));
    drop(member);

    let mut second = start();
    let begun = ppb(&second.wait_for_any("tick"));
    // The rate may have changed between the last tick and the end.
    assert!(
        (begun - left).abs() < left / 2.0,
        "it ended with {left} ppb and begins with {begun}\n{}",
        second.log()
    );
    assert!(second.log().contains("the frequency is +"), "{}", second.log());
    assert!(second.end(Signal::SIGTERM).0.success());

    let text = fs::read_to_string(&file).expect("the frequency");
    fs::write(&file, text.replace("node server", "node servex")).expect("a damaged one");
    let third = start();
    assert_eq!(ppb(&third.wait_for_any("tick")), 0.0);
    assert_eq!(third.log().matches("damaged").count(), 1, "{}", third.log());
}

#[test]
fn a_cluster_of_which_no_member_is_left_goes_on_from_its_own_time_when_it_starts_again() {
    let (_dir, path) = scratch();
    let (state, socket) = (path.display().to_string(), path.join("control").display().to_string());
    let keep = ["--state-dir", &state];
    let start_server =
        || server("127.0.0.1:0", &[&keep[..], &["--interval", "200ms", "--control", &socket]].concat());
    let start_member =
        |server: &str| client(server, "member", &[&keep[..], &["--simulate-drift", "1.2ppm"]].concat());
    let kept =
        || ["server", "member"].map(|name| fs::read_to_string(path.join(format!("{name}.memory"))).ok());
    let lead = |tick: &Value| tick["cluster_ns"].as_i64().unwrap() - tick["raw_ns"].as_i64().unwrap();

    let first = start_server();
    let member = start_member(&first.address());
    let early = lead(&first.wait_for_any("tick"));
    wait_until(KEPT_WITHIN, "the time to be kept", || kept().iter().all(Option::is_some));
    let before = kept();
    let mut set = Command::new(env!("CARGO_BIN_EXE_meantime"));
    set.args(["set-time", "+1h", "--step", "--control", &socket]);
    assert!(set.stdout(Stdio::null()).status().expect("meantime runs").success());
    // At once, not when ten minutes are over.
    let changed = || kept().iter().zip(&before).all(|(now, before)| now != before);
    wait_until(PATIENCE, "the time that was set to be kept", changed);
    let is_set = |tick: &Value| lead(tick) - early > HOUR / 2;
    let left = lead(&first.wait_for("tick", 0, is_set));
    member.wait_for("tick", 0, is_set);
    // Killed, not asked to end.
    drop((member, first));

    let second = start_server();
    let member = start_member(&second.address());
    for node in [&second, &member] {
        let apart = lead(&node.wait_for_any("tick")) - left;
        assert!(apart.abs() < ALLOWED, "{apart} ns apart\n{}", node.log());
        let told = "the time goes on from the last run's: this machine's clock and +1.0 h";
        assert!(node.log().contains(told), "{}", node.log());
    }
    drop((member, second));
    // Who pretends to be wrong does not know better.
    let third = server("127.0.0.1:0", &[&keep[..], &["--simulate-offset", "-1s"]].concat());
    let apart = lead(&third.wait_for_any("tick")) - left;
    assert!((apart + HOUR + 1_000_000_000).abs() < ALLOWED, "{apart} ns apart\n{}", third.log());
}

/// What is measured on a busy machine is worth keeping later.
const KEPT_WITHIN: Duration = Duration::from_secs(180);
const HOUR: i64 = 3_600_000_000_000;
/// Of an hour: what a second's outage costs on any machine.
const ALLOWED: i64 = 200_000_000;

#[test]
fn where_nothing_can_be_kept_it_is_told_once_at_the_start_and_life_goes_on() {
    let (_dir, path) = scratch();
    let in_the_way = path.join("file");
    fs::write(&in_the_way, "").expect("a file");
    let state = in_the_way.display().to_string();
    let mut server = server("127.0.0.1:0", &["--interval", "200ms", "--state-dir", &state]);
    let mut client = client(&server.address(), "keeper", &["--state-dir", &state]);
    client.wait_for("tick", 0, |tick| tick["state"] == "synchronized");
    for node in [&server, &client] {
        let log = node.log();
        let warned = log.lines().position(|line| line.contains("cannot write in the state directory"));
        assert!(warned.is_some_and(|line| line < 3), "{log}");
    }
    // The client is sure of its frequency by then, and tries to keep it.
    client.wait_for("corrected", 60, |_| true);
    for node in [&mut client, &mut server] {
        assert!(node.end(Signal::SIGTERM).0.success());
        let log = node.log();
        let troubles = log.lines().filter(|line| line.contains("frequency") && line.contains("[WARN]"));
        assert_eq!(troubles.count(), 1, "{log}");
    }
}
