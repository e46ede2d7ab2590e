//! What people get wrong: one clear line on stderr, the right exit code, and nothing else.

mod support;

use std::process::{Command, Output};

use support::{Process, scratch, server};

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_meantime")).args(arguments).output().expect("meantime starts")
}

/// Runs it, and checks that it ends with `code` and one line that contains `hint`.
fn assert_refused(arguments: &[&str], code: i32, hint: &str) {
    let output = run(arguments);
    let stderr = String::from_utf8_lossy(&output.stderr);
    let said: Vec<&str> = stderr.lines().filter(|line| !line.contains("[INFO]")).collect();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {stderr}");
    assert_eq!(said.len(), 1, "{arguments:?} is answered with other than one line: {stderr}");
    assert!(said[0].starts_with("meantime: ") && said[0].contains(hint), "{arguments:?}: {stderr}");
    assert!(output.stdout.is_empty(), "{arguments:?} printed something");
}

#[test]
fn wrong_usage_is_answered_with_what_to_type() {
    for (arguments, hint) in [
        (&["serve"][..], "server"),
        (&["server", "--outptu", "json"], "--output"),
        (&["server", "--output", "xml"], "json"),
        (&["server", "--listen", "here"], "[::]:5525"),
        (&["server", "--listen", "127.0.0.1:70000"], "[::]:5525"),
        (&["server", "--interval", "5"], "type 5s"),
        (&["server", "--interval", "1ms"], "at least 50ms"),
        (&["server", "--interval", "2h"], "at most 1h"),
        (&["server", "--burst", "0"], "1..=32"),
        (&["server", "--burst", "33"], "1..=32"),
        (&["server", "--max-clients", "0"], "1..="),
        (&["server", "--radius", "-1s"], "more than zero"),
        (&["server", "--plausible-from", "tomorrow"], "2026-01-31"),
        (&["server", "--plausible-until", "tomorrow"], "2026-01-31"),
        (&["server", "--plausible-until", "2025-06-01"], "later than --plausible-from"),
        (&["client", "localhost", "--plausible-from", "2080-01-01"], "later than --plausible-from"),
        (&["server", "--name", "a name of more than twenty-four bytes"], "24 bytes"),
        (&["server", "--simulate-offset", "1e30s"], "36500d"),
        (&["server", "--simulate-offset", "soon"], "250ms"),
        (&["server", "--simulate-drift", "900ppm"], "500ppm"),
        (&["server", "--tick", "0s"], "more than zero"),
        (&["server", "--log-level", "loud"], "debug"),
        (&["server", "--record", "r.csv", "--record-size", "5"], "type 5B"),
        (&["server", "--record", "r.csv", "--record-size", "1kB"], "at least 4KiB"),
        (&["server", "--record-keep", "2"], "--record"),
        (&["client"], "SERVER"),
        (&["client", "localhost:99999"], "localhost:5525"),
        (&["client", "localhost:"], "localhost:5525"),
        (&["client", "[::1"], "bracket"),
        (&["client", "http://host"], "type host"),
        (&["client", "0.0.0.0"], "no server has the address 0.0.0.0"),
        (&["client", "[ff02::1]:5525"], "no server has the address ff02::1"),
        (&["server", "--name", ""], "a server needs a name"),
        (&["server", "--follow-references", ""], "names of members separated by commas"),
        (&["server", "--follow-references", "a,,b"], "names of members separated by commas"),
        (&["server", "--follow-references", "any,b"], "type any alone"),
        (&["server", "--deny", "name:"], "as in name:attic"),
        (&["server", "--deny", "foo"], "or name:attic"),
        (&["server", "--votes-per-address", "x"], "not a whole number"),
        (&["set-time"], "--from"),
        (&["client", "1:2:3:4:5:6:7:8:5525"], "type [1:2:3:4:5:6:7:8]:5525"),
        (&["client", "localhost", "--simulate-drift", "50"], "type 50ppm"),
        (&["client", "localhost", "--simulate-offset", "-5"], "type -5s"),
        (&["client", "no-such-host.invalid", "--clock", "system", "--simulate-drift", "5ppm"], "real clock"),
        (
            &["server", "--listen", "192.0.2.77:1", "--clock", "system", "--simulate-offset", "5s"],
            "real clock",
        ),
        (&["client", "no-such-host.invalid", "--force"], "--clock system"),
        (&["client", "localhost", "--clock", "sundial"], "overlay"),
        (&["client", "localhost", "--simulate-offset", "-1e30s"], "36500d"),
        (&["client", "localhost", "--step-threshold", "-1s"], "more than zero"),
        (&["server", "--user", "nobody-of-this-name"], "--user"),
    ] {
        assert_refused(arguments, 2, hint);
    }
}

#[test]
fn what_cannot_be_had_is_told_in_one_line() {
    let (_dir, path) = scratch();
    let unwritable = path.join("missing").join("log").display().to_string();
    for (arguments, hint) in [
        (&["server", "--listen", "192.0.2.77:5525"][..], "no such address"),
        (&["server", "--listen", "127.0.0.1:0", "--log-file", &unwritable], "--log-file"),
        (&["client", "no-such-host.invalid"], "no-such-host.invalid"),
        (&["client", "300.300.300.300"], "300.300.300.300"),
        (&["client", "localhost", "--log-file", "/"], "--log-file"),
        (&["status", "--control", "/etc/passwd"], "/etc/passwd is no socket"),
    ] {
        assert_refused(arguments, 1, hint);
    }
}

#[test]
fn a_port_in_use_is_told_with_a_way_out() {
    for listen in ["127.0.0.1:0", "[::]:0"] {
        let first = server(listen, &[]);
        assert_refused(&["server", "--listen", &first.address()], 1, "choose another port with --listen");
    }
}

#[test]
fn help_and_version_are_no_failures() {
    for arguments in [&["--help"][..], &["server", "--help"], &["client", "--help"]] {
        let output = run(arguments);
        assert!(output.status.success() && output.stderr.is_empty(), "{arguments:?}");
        assert!(
            String::from_utf8_lossy(&output.stdout).contains("Examples:"),
            "{arguments:?} has no examples"
        );
    }
    let version = run(&["--version"]);
    assert_eq!(
        String::from_utf8_lossy(&version.stdout),
        concat!("meantime ", env!("CARGO_PKG_VERSION"), "\n")
    );
    assert_eq!(run(&[]).status.code(), Some(2));
}

#[test]
fn help_fits_into_80_columns() {
    for page in [&[][..], &["server"], &["client"], &["simulate"]] {
        for help in ["--help", "-h"] {
            let output = run(&[page, &[help]].concat());
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let wide: Vec<&str> = text.lines().filter(|line| line.chars().count() > 80).collect();
            assert!(wide.is_empty(), "{page:?} {help}: {wide:#?}");
        }
    }
}

#[test]
fn the_log_goes_to_a_file_as_well_if_asked() {
    let (_dir, path) = scratch();
    let file = path.join("log");
    let mut process = Process::start(
        "server",
        &["server", "--listen", "127.0.0.1:0", "--output", "json", "--log-file", &file.display().to_string()],
    );
    process.address();
    let (status, _) = process.end(nix::sys::signal::Signal::SIGTERM);
    assert!(status.success());
    let text = std::fs::read_to_string(file).expect("the log");
    assert!(text.contains("listening on 127.0.0.1:"), "{text}");
    assert_eq!(text.lines().count(), process.log().lines().count());
    let stamp = text.split_whitespace().next().expect("a line");
    assert!(chrono::DateTime::parse_from_rfc3339(stamp).is_ok() && stamp.ends_with('Z'), "{stamp}");
}
