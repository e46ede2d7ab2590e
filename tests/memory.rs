//! The frequency that a client keeps over restarts: found again, and no trouble with it ever ends a client.

mod support;

use std::fs;
use std::time::Duration;

use nix::sys::signal::Signal;
use support::{client, scratch, server, wait_until};

#[test]
fn a_client_finds_its_frequency_again_and_nothing_that_is_damaged() {
    let server = server("127.0.0.1:0", &["--interval", "200ms"]);
    let (_dir, path) = scratch();
    let state = path.join("state").display().to_string();
    let file = path.join("state").join("keeper.frequency");
    let start =
        || client(&server.address(), "keeper", &["--simulate-drift", "-80ppm", "--state-dir", &state]);

    let mut first = start();
    wait_until(Duration::from_secs(60), "the frequency to be kept", || file.exists());
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
    assert_eq!(log.matches("[WARN]").count(), 1, "{log}");
}

#[test]
fn where_nothing_can_be_kept_it_is_told_once_and_life_goes_on() {
    let server = server("127.0.0.1:0", &["--interval", "200ms"]);
    let (_dir, path) = scratch();
    let in_the_way = path.join("file");
    fs::write(&in_the_way, "").expect("a file");
    let state = in_the_way.display().to_string();
    let mut client = client(&server.address(), "keeper", &["--state-dir", &state]);
    wait_until(Duration::from_secs(60), "a warning", || client.log().contains("cannot keep the frequency"));
    let count = client.events_of("corrected").len();
    client.wait_for("corrected", count, |_| true);
    assert!(client.end(Signal::SIGTERM).0.success());
    assert_eq!(client.log().matches("cannot keep").count(), 1, "{}", client.log());
}
