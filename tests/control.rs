//! The control interface at real processes: what is shown is true, and bad requests do no harm.

mod support;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use meantime::control::protocol::{
    ClientRow, ClientStatus, ClockState, ErrorResponse, EventLevel, EventsResponse, ExclusionReason,
    ServerStatus, Status, StatusResponse, VERSION, Vote,
};
use serde_json::Value;
use support::{Process, ask_until, pause};
use tempfile::TempDir;

/// A server and two clients whose clocks are wrong, each with a control socket in `dir`.
struct Cluster {
    server: Process,
    alice: Process,
    bob: Process,
    dir: TempDir,
}

impl Cluster {
    fn start() -> Cluster {
        let dir = TempDir::new().unwrap();
        let socket = |name: &str| dir.path().join(name).display().to_string();
        let start = |name: &str, arguments: &[&str]| {
            let common = ["--output", "json", "--control"];
            let control = socket(name);
            Process::start(name, &[arguments, &common, &[control.as_str()]].concat())
        };
        let server = start(
            "server",
            &["server", "--listen", "127.0.0.1:0", "--interval", "500ms", "--simulate-offset", "-3s"],
        );
        let address = server.wait_for("listening", 0, |_| true)["address"].as_str().unwrap().to_owned();
        let client = |name: &str, offset: &str, drift: &str| {
            let wrong = ["--simulate-offset", offset, "--simulate-drift", drift];
            start(name, &[&["client", address.as_str(), "--name", name], &wrong[..]].concat())
        };
        let (alice, bob) = (client("alice", "2.5s", "50ppm"), client("bob", "-1h", "-30ppm"));
        for client in [&alice, &bob] {
            client.wait_for("corrected", 20, |_| true);
        }
        server.wait_for("round_ended", 12, |round| round["largest_bound_ns"].is_i64());
        Cluster { server, alice, bob, dir }
    }

    fn command(&self, socket: &str, arguments: &[&str]) -> Output {
        let (command, rest) = arguments.split_first().unwrap();
        Command::new(env!("CARGO_BIN_EXE_meantime"))
            .args([command, "--control", &self.dir.path().join(socket).display().to_string()])
            .args(rest)
            .output()
            .unwrap()
    }

    /// What `meantime members` says, or why it fails.
    fn members(&self, socket: &str, what: &str, whom: &str) -> Result<String, String> {
        let socket = self.dir.path().join(socket).display().to_string();
        let output = Command::new(env!("CARGO_BIN_EXE_meantime"))
            .args(["members", what, whom, "--control", &socket])
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
    }

    /// What the server shows of a client.
    fn shown(&self, name: &str) -> ClientRow {
        let clients = self.status("server").clients;
        clients.into_iter().find(|client| client.name == name).expect("the client is listed")
    }

    fn server_status(&self) -> ServerStatus {
        self.status("server").server().expect("a server").clone()
    }

    fn client_status(&self, socket: &str) -> ClientStatus {
        self.status(socket).status.client().expect("a client").clone()
    }

    fn status(&self, socket: &str) -> StatusResponse {
        let output = self.command(socket, &["status", "--json"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// What the status command shows people.
    fn page(&self, socket: &str) -> String {
        String::from_utf8(self.command(socket, &["status"]).stdout).unwrap()
    }

    /// Exit code and line of a check.
    fn check(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let output = self.command("server", &[&["check"], arguments].concat());
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    }
}

/// What the server states of a client without a vote.
const REMOVED: Option<ExclusionReason> = Some(ExclusionReason::Removed);

fn int(value: &Value) -> i64 {
    value.as_i64().unwrap_or_else(|| panic!("no number: {value}"))
}

/// The cluster's time minus the host's oscillator at a node, in nanoseconds.
fn lead(status: &Status) -> i64 {
    status.header.cluster_ns - status.header.raw_ns
}

fn connect(path: &Path) -> UnixStream {
    let stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream
}

#[test]
fn what_is_shown_is_what_the_clocks_themselves_show() {
    let cluster = Cluster::start();
    let mut close = 0;
    for _ in 0..10 {
        let (server, client) = (cluster.status("server"), cluster.status("alice").status);
        let shown = server.clients.iter().find(|client| client.name == "alice").unwrap();
        let apart = lead(&client) - lead(&server.status);
        let bound = shown.bound_ns.unwrap() + server.server().unwrap().own_bound_ns.unwrap();
        // Both clocks are read over one oscillator, against which the cluster's time drifts meanwhile.
        let bound = bound + (client.header.raw_ns - server.status.header.raw_ns).abs() / 10_000;
        assert!(apart.abs() <= bound, "{apart} ns apart, bound {bound}: {client:?} {server:?}");
        let error = shown.offset_error_ns.unwrap() + client.header.error_ns.unwrap();
        close += i32::from((shown.offset_ns.unwrap() - apart).abs() <= 4 * error);
        assert_eq!((&shown.vote, &shown.state), (&Vote::In, &ClockState::Synchronized));
        assert!(client.client().unwrap().registered);
        pause(Duration::from_millis(300));
    }
    assert!(close >= 8, "{close} of 10 offsets were within four times their error");
    let page = cluster.page("server");
    assert!(page.starts_with("Server synchronized, 2 clients, a round each 500 ms\nRound "), "{page}");
    assert!(page.contains("\nNAME ") && page.contains("\nalice ") && page.contains("\nbob "), "{page}");
    let page = cluster.page("alice");
    assert!(page.starts_with("State            synchronized\nServer           127.0.0.1:"), "{page}");
}

#[test]
fn a_check_says_whether_all_clocks_are_as_close_as_wanted() {
    let cluster = Cluster::start();
    let check = || cluster.check(&["--max", "1s", "--min-members", "3"]);
    let (_, line) = ask_until("all to be well", check, |(code, _)| *code == Some(0));
    assert!(line.starts_with("OK: any two of 3 clocks differ by "), "{line}");
    assert_eq!(cluster.check(&["--max", "1ns"]).0, Some(1));
    assert_eq!(cluster.check(&["--max", "1s", "--min-members", "4"]).0, Some(1));
    let client = cluster.command("alice", &["check", "--max", "1s"]);
    assert_eq!(client.status.code(), Some(2), "a client does not know all clocks");
    assert_eq!(cluster.command("nobody", &["check", "--max", "1s"]).status.code(), Some(2));
    assert_eq!(cluster.command("server", &["check", "--max", "soon"]).status.code(), Some(2));
}

#[test]
fn a_client_that_is_gone_is_told_as_an_event() {
    let Cluster { server, alice, dir, .. } = Cluster::start();
    drop(alice);
    server.wait_for("lost", 0, |lost| lost["client"] == "alice");
    let mut stream = connect(&dir.path().join("server"));
    writeln!(stream, "{{\"request\":\"events\",\"since\":1}}").unwrap();
    let answer: EventsResponse = serde_json::from_str(&line(&mut stream)).unwrap();
    assert!(answer.events.iter().all(|event| event.number > 1), "{answer:?}");
    let lost = answer.events.iter().find(|event| event.event == "lost").unwrap();
    assert_eq!(lost.level, EventLevel::Warning);
}

#[test]
fn a_program_that_sends_nonsense_or_does_not_read_disturbs_no_other() {
    let cluster = Cluster::start();
    let path = cluster.dir.path().join("server");
    // Many questions, and no ear for the answers.
    let mut deaf = connect(&path);
    deaf.set_nonblocking(true).unwrap();
    let question = b"{\"request\":\"status\"}\n".repeat(1_000);
    let _ = deaf.write(&question);
    let mut stream = connect(&path);
    for nonsense in ["", "status", "{}", "{\"request\":7}", "[1,2", "{\"request\":\"destroy\"}", "\u{0}"] {
        writeln!(stream, "{nonsense}").unwrap();
        let answer: ErrorResponse = serde_json::from_str(&line(&mut stream)).unwrap();
        assert!(!answer.error.is_empty() && answer.version == VERSION, "{nonsense}: {answer:?}");
    }
    stream.write_all(&[b'x'; 10_000]).unwrap();
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    assert_eq!(rest, b"", "a line without an end is cut off");
    // The rounds go on as before.
    let before = cluster.server.events_of("round_ended").len();
    let started = support::now();
    cluster.server.wait_for("round_ended", before + 5, |_| true);
    assert!(started.elapsed() < Duration::from_secs(20));
}

fn line(stream: &mut UnixStream) -> String {
    let (mut line, mut byte) = (Vec::new(), [0]);
    while stream.read_exact(&mut byte).is_ok() && byte[0] != b'\n' {
        line.push(byte[0]);
    }
    String::from_utf8(line).unwrap()
}

#[test]
fn a_vote_is_taken_away_by_hand_and_given_back() {
    let mut cluster = Cluster::start();
    let said = cluster.members("server", "remove", "bob").unwrap();
    assert!(said.starts_with("bob (127.0.0.1:") && said.contains("has no vote any more"), "{said}");
    let told = cluster.server.wait_for_any("removed");
    assert_eq!(told["client"], "bob");
    assert_eq!(cluster.shown("bob").excluded, REMOVED, "at once");
    let round = i64::from(cluster.server_status().last_round.unwrap().summary.round);
    cluster.server.wait_for("round_ended", 0, |ended| int(&ended["round"]) > round + 1);
    let after = |event: &Value| int(&event["round"]) > round + 1;
    let counted = |event: &Value| event["members"] == 2 && event["heard"] == 2;
    cluster.server.wait_for("round_ended", 0, |ended| after(ended) && counted(ended));
    let ended = cluster.server.events_of("round_ended");
    assert!(ended.iter().filter(|ended| after(ended)).all(|ended| ended["members"] == 2), "{ended:?}");
    let bob = cluster.shown("bob");
    assert_eq!((bob.vote, bob.excluded), (Vote::Out, REMOVED));
    assert!(cluster.page("server").contains("bob is left out of the vote: removed by an operator"));
    let corrected = cluster.bob.events_of("corrected").len();
    cluster.bob.wait_for("corrected", corrected, |_| true);
    assert!(cluster.members("server", "remove", "bob").unwrap().contains("nothing has changed"));
    ask_until("alice to have a vote", || cluster.shown("alice").vote, |vote| *vote == Vote::In);

    // Another process at another port, but the same name.
    cluster.bob.end(nix::sys::signal::Signal::SIGTERM);
    cluster.server.wait_for("left", 0, |left| left["client"] == "bob");
    assert!(cluster.page("server").contains("bob is removed from the vote by hand, and not registered now"));
    let address = cluster.server.address();
    cluster.bob = Process::start("bob", &["client", &address, "--name", "bob", "--output", "json"]);
    cluster.bob.wait_for("corrected", 3, |_| true);
    let bob = cluster.shown("bob");
    assert_eq!((bob.vote, bob.excluded), (Vote::Out, REMOVED));

    let said = cluster.members("server", "pin", &bob.address.to_string()).unwrap();
    assert!(said.contains("has its vote back"), "{said}");
    let pinned = cluster.server.wait_for_any("pinned");
    assert_eq!(pinned["client"], "bob");
    cluster.server.wait_for("round_ended", 0, |ended| {
        int(&ended["raw_ns"]) > int(&pinned["raw_ns"]) && ended["members"] == 3 && ended["agreeing"] == 3
    });
    ask_until("bob to have a vote", || cluster.shown("bob").vote, |vote| *vote == Vote::In);
    assert!(cluster.members("server", "pin", "bob").unwrap().contains("nothing has changed"));
}

#[test]
fn a_name_of_no_member_or_of_several_is_refused_in_one_line() {
    let cluster = Cluster::start();
    for (socket, whom, why) in [
        ("server", "carol", "no client has the name or the address 'carol'"),
        ("server", "", "'' is neither a client's name, nor an address, nor a network"),
        ("server", "192.0.2.99:7", "no client has the name or the address '192.0.2.99:7'"),
        ("server", "server", "'server' is the server's own clock, wh"),
        ("alice", "bob", "its server knows the cluster"),
    ] {
        for what in ["remove", "pin"] {
            let error = cluster.members(socket, what, whom).unwrap_err();
            assert!(error.contains(why) && error.lines().count() == 1, "{what} {whom}: {error}");
        }
    }
    assert!(cluster.server.events_of("removed").is_empty());
}

/// What `meantime set-time` says, or why it fails, and the code that it fails with.
fn set_time(dir: &Path, socket: &str, arguments: &[&str]) -> Result<String, (String, Option<i32>)> {
    let socket = dir.join(socket).display().to_string();
    let output = Command::new(env!("CARGO_BIN_EXE_meantime"))
        .arg("set-time")
        .args(arguments)
        .args(["--control", &socket])
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    if output.status.success() {
        Ok(text(output.stdout))
    } else {
        Err((text(output.stderr), output.status.code()))
    }
}

/// Asserts that the time of each node was set by `amount` nanoseconds between the two. Meanwhile it runs over
/// the host's oscillator as the members want.
fn assert_set(now: [Status; 3], before: [Status; 3], amount: i64) {
    for (now, before) in now.into_iter().zip(before) {
        let (set, took) = (lead(&now) - lead(&before), now.header.raw_ns - before.header.raw_ns);
        assert!(
            (set - amount).abs() < 1_000_000 + took / 50_000,
            "{set} instead of {amount}: {now:?} {before:?}"
        );
    }
}

#[test]
fn the_time_of_all_is_set_slowly_or_at_once_and_no_bound_is_broken() {
    let cluster = Cluster::start();
    let leads = || ["server", "alice", "bob"].map(|node| cluster.status(node).status);
    // One whose clock is not set with the others is off by 4 ms, or an hour.
    let off = |named: &&Value| int(&named["offset_ns"]).abs() > 1_000_000;
    let falsetickers = || cluster.server.events_of("falseticker").iter().filter(off).count();
    let (before, falsetickers_before) = (leads(), falsetickers());
    let said = set_time(cluster.dir.path(), "server", &["-4ms"]).unwrap();
    assert!(said.contains("slews by -4.0 ms") && said.contains("takes 10.0 s"), "{said}");
    let (busy, code) = set_time(cluster.dir.path(), "server", &["+1s"]).unwrap_err();
    assert!(busy.contains("is being set already") && code == Some(1), "{busy}");
    let page = cluster.page("server");
    let has_begun = !cluster.alice.events_of("time_set").is_empty();
    assert!(page.contains("Being set by -4.0 ms (slew): begins in ") || has_begun, "{page}");
    let alice = cluster.alice.wait_for_any("time_set");
    assert_eq!((int(&alice["amount_ns"]), alice["adjustment"].as_str()), (-4_000_000, Some("slew")));
    assert_eq!(int(&alice["late_ns"]), 0);
    let mut asked = 0;
    while cluster.server_status().manual_adjustment.is_some() {
        let (server, client) = (cluster.status("server").status, cluster.status("alice").status);
        let bound = client.header.bound_ns.unwrap() + server.server().unwrap().own_bound_ns.unwrap();
        // Over the milliseconds between the two readings both slew by some microseconds.
        let between = (client.header.raw_ns - server.header.raw_ns).abs() / 2_000;
        let apart = lead(&client) - lead(&server);
        assert!(apart.abs() <= bound + between, "{apart} ns apart, bound {bound}: {client:?} {server:?}");
        asked += 1;
        assert!(asked < 200, "it is never over");
        pause(Duration::from_millis(200));
    }
    assert_set(leads(), before, -4_000_000);

    let before = leads();
    let said = set_time(cluster.dir.path(), "server", &["+1h", "--step"]).unwrap();
    assert!(said.contains("steps by +1.0 h in"), "{said}");
    cluster.alice.wait_for("time_set", 1, |set| set["adjustment"] == "step");
    while cluster.client_status("alice").manual_adjustment.is_some() {
        pause(Duration::from_millis(100));
    }
    pause(Duration::from_millis(100));
    assert_set(leads(), before, 3_600_000_000_000);
    let corrected = cluster.alice.events_of("corrected");
    cluster.alice.wait_for("corrected", corrected.len() + 3, |corrected| corrected["adjustment"] == "slew");
    for node in [&cluster.alice, &cluster.bob] {
        for bad in ["holdover", "bound_broken", "refused_correction"] {
            assert!(node.events_of(bad).is_empty(), "{}: {:?}", node.name(), node.events_of(bad));
        }
    }
    assert_eq!(falsetickers(), falsetickers_before);
    assert!(cluster.server_status().last_round.unwrap().summary.largest_bound_ns.is_some());
}

#[test]
fn a_time_that_cannot_be_set_is_refused_in_one_line() {
    let cluster = Cluster::start();
    for (socket, arguments, why) in [
        ("server", &["+60s"][..], "no more than 34.6 s is slewed; add --step"),
        ("server", &["1999-12-31 23:59:59"], "cannot be the time"),
        ("server", &["--step", "-30d"], ""),
        ("alice", &["+1s"], "its server knows the cluster"),
    ] {
        match set_time(cluster.dir.path(), socket, arguments) {
            Err((error, Some(1))) => {
                assert!(!why.is_empty() && error.contains(why) && error.lines().count() == 1, "{error}");
            }
            Ok(said) => assert!(why.is_empty() && said.contains("--max-step"), "{said}"),
            other => panic!("{arguments:?}: {other:?}"),
        }
    }
    let refused = cluster.alice.wait_for_any("refused_correction");
    assert_eq!(refused["reason"], "step_too_large");
    cluster.alice.wait_for("holdover", 0, |held| held["reason"] == "correction_refused");
    let (error, code) = set_time(cluster.dir.path(), "server", &["tomorrow"]).unwrap_err();
    assert!(error.contains("neither a time nor an offset") && code == Some(2), "{error}");
    let lone = TempDir::new().unwrap();
    let socket = lone.path().join("server").display().to_string();
    let arguments = ["server", "--listen", "127.0.0.1:0", "--output", "json", "--control", &socket];
    let server = Process::start("lone", &arguments);
    server.wait_for_any("listening");
    let (error, _) = set_time(lone.path(), "server", &["+1s"]).unwrap_err();
    assert!(error.contains("the cluster has no time yet"), "{error}");
}

#[test]
fn references_that_are_missing_are_told_once_and_shown() {
    let (_dir, dir) = support::scratch();
    let socket = dir.join("s").display().to_string();
    let options = ["--interval", "100ms", "--reference", "system", "--reference-max-error", "1ns"];
    let follow = ["--follow-references", "ghost,server", "--control", &socket];
    let server = support::server("127.0.0.1:0", &[&options[..], &follow].concat());
    let lost = server.wait_for_any("reference_lost");
    assert!(lost["reason"].is_string(), "no clock is as good as that: {lost}");
    let missing = server.wait_for_any("reference_missing");
    assert_eq!((&missing["member"], &missing["reason"]), (&Value::from("ghost"), &"not_registered".into()));
    let (_, page) = support::meantime(&["status", "--control", &socket]);
    assert!(page.contains("The reference of ghost is missing: no member of that name is"), "{page}");
    assert!(page.contains("The reference of server is missing: "), "{page}");
    let (_, line) = support::meantime(&["check", "--max", "1s", "--control", &socket]);
    assert!(line.contains("; the reference of ghost is missing: "), "{line}");
    let ghost = support::client(&server.address(), "ghost", &[]);
    ghost.wait_for("corrected", 3, |_| true);
    let (_, page) = support::meantime(&["status", "--control", &socket]);
    assert!(page.contains("The reference of ghost is missing: the member offers no reference"), "{page}");
    for once in ["reference_lost", "reference_missing"] {
        assert_eq!(server.events_of(once).len(), 1, "{once}");
    }
}
