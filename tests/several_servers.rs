//! Several servers as real processes on loopback: one is active, the others stand by and take over. Nothing
//! here depends on how long anything takes: every test waits for a state.

mod support;

use std::path::Path;
use std::process::Command;

use nix::sys::signal::Signal;
use serde_json::Value;
use support::ticks::{self, assert_agreement};
use support::{PATIENCE, Process, client, meantime, scratch, server, wait_until};
use tempfile::TempDir;

/// Servers of one list, by their places, and their control sockets.
struct Servers {
    dir: TempDir,
    addresses: Vec<String>,
    running: Vec<Option<Process>>,
    arguments: Vec<Vec<String>>,
}

impl Servers {
    /// So many servers, which are not started yet, in a network that only this test uses.
    fn new(network: u8, count: u8) -> Servers {
        let free = |place| server(&format!("127.84.{network}.{place}:0"), &[]).address();
        Servers {
            dir: scratch().0,
            addresses: (1..=count).map(free).collect(),
            running: (0..count).map(|_| None).collect(),
            arguments: vec![Vec::new(); count.into()],
        }
    }

    /// The same, and all of them are started.
    fn started(network: u8, count: u8) -> Servers {
        let mut servers = Servers::new(network, count);
        (1..=usize::from(count)).for_each(|place| servers.start(place));
        servers
    }

    fn list(&self) -> String {
        self.addresses.join(",")
    }

    fn control(&self, place: usize) -> String {
        self.file(&format!("{place}.sock"))
    }

    /// A file of this test.
    fn file(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().expect("a path in UTF-8").to_owned()
    }

    /// Starts the server at this place of the list.
    fn start(&mut self, place: usize) {
        let (list, control, name) = (self.list(), self.control(place), format!("server-{place}"));
        let mut arguments = vec!["server", "--listen", &self.addresses[place - 1], "--servers", &list];
        arguments.extend(["--name", &name, "--control", &control, "--interval", "2s"]);
        arguments.extend(["--output", "json", "--tick", "100ms"]);
        arguments.extend(self.arguments[place - 1].iter().map(String::as_str));
        self.running[place - 1] = Some(Process::start(&name, &arguments));
    }

    fn get(&self, place: usize) -> &Process {
        self.running[place - 1].as_ref().expect("it runs")
    }

    /// Ends a server by a signal, and returns how it was.
    fn end(&mut self, place: usize, signal: Signal) -> Process {
        let mut process = self.running[place - 1].take().expect("it runs");
        let (status, _) = process.end(signal);
        assert_eq!(status.success(), signal == Signal::SIGTERM, "{status}");
        process
    }

    /// What a server states of its role.
    fn replica(&self, place: usize) -> Value {
        status(&self.control(place))["replica"].clone()
    }

    /// The places of the servers that run.
    fn places(&self) -> Vec<usize> {
        (1..=self.running.len()).filter(|place| self.running[*place - 1].is_some()).collect()
    }

    /// Waits until one of the running servers is active, and all others follow it. Returns its place.
    fn agreed(&self) -> usize {
        let mut active = 0;
        wait_until(PATIENCE, &format!("one active server that all follow\n{}", self.pages()), || {
            let places = self.places();
            let states: Vec<Value> = places.iter().map(|place| self.replica(*place)).collect();
            let is_active = |state: &&Value| state["role"] == "active";
            let Some(one) = states.iter().find(is_active) else { return false };
            active = one["rank"].as_u64().expect("a place") as usize;
            let agrees = |state: &&Value| state["term"] == one["term"] && state["service"] == "served";
            let agreeing = states.iter().filter(agrees).count();
            agreeing == places.len() && one["standbys"] == places.len() - 1
        });
        active
    }

    /// What the servers tell people, for messages.
    fn pages(&self) -> String {
        self.places().iter().map(|place| page(&self.control(*place))).collect()
    }
}

/// The status of a node at this control socket; null: it does not answer yet.
fn status(control: &str) -> Value {
    if !Path::new(control).exists() {
        return Value::Null;
    }
    let (_, text) = meantime(&["status", "--json", "--control", control]);
    serde_json::from_str(&text).unwrap_or_default()
}

/// The same for people.
fn page(control: &str) -> String {
    meantime(&["status", "--control", control]).1
}

/// The exit code of `meantime check`, and its line.
fn check(control: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_meantime"));
    let output = command.args(["check", "--max", "1s", "--control", control]).args(arguments).output();
    let output = output.expect("meantime starts");
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The newest reading of the oscillator that a node has told.
fn newest_reading(node: &Process) -> i64 {
    node.wait_for_any("tick");
    ticks::of(node).last().expect("a tick").raw
}

/// Waits until a client has been corrected after this reading.
fn wait_for_correction(client: &Process, after: i64) {
    client.wait_for("corrected", 0, |event| event["raw_ns"].as_i64() > Some(after));
}

/// Waits until a node's clock is synchronized, and within its bound of the cluster's time.
fn wait_for_time(node: &Process) {
    node.wait_for("tick", 0, |tick| tick["state"] == "synchronized" && tick["bound_ns"].is_i64());
}

#[test]
fn another_server_takes_over_from_one_that_is_killed_and_it_stands_by_when_it_comes_back() {
    let mut servers = Servers::started(21, 3);
    let list = servers.list();
    let clients = [
        client(&list, "pump", &["--simulate-offset=3s", "--simulate-drift=40ppm"]),
        client(&list, "crane", &["--simulate-offset=-2s", "--simulate-drift=-30ppm"]),
    ];
    clients.iter().for_each(wait_for_time);
    let first = servers.agreed();
    for node in &clients {
        node.wait_for("follows", 0, |event| event["rank"] == first);
    }

    servers.end(first, Signal::SIGKILL);
    let killed = newest_reading(&clients[0]);
    let second = servers.agreed();
    assert_ne!(second, first);
    let took_over = servers.get(second).wait_for("role_changed", 0, |event| event["role"] == "active");
    assert_eq!((&took_over["reason"], &took_over["term_of"]), (&"took_over".into(), &second.into()));
    for node in &clients {
        node.wait_for("follows", 0, |event| event["rank"] == second);
        wait_for_correction(node, killed);
    }

    servers.start(first);
    let role = servers.get(first).wait_for_any("role_changed");
    assert_eq!((&role["role"], &role["reason"]), (&"standby".into(), &"followed".into()), "no failback");
    wait_for_time(servers.get(first));
    servers.agreed();
    wait_until(PATIENCE, "the page of the standby server", || {
        // On a busy machine another one may be active by now, even this one.
        let active = servers.agreed();
        if active == first {
            return true;
        }
        let page = page(&servers.control(first));
        let address = &servers.addresses[active - 1];
        page.contains(&format!("standby, follows server {active} ({address}), term "))
            && page.contains("Its clock is synchronized, within ")
    });
    for node in &clients {
        let stepped =
            |event: &Value| event["raw_ns"].as_i64() > Some(killed) && event["adjustment"] == "step";
        assert!(!node.events_of("corrected").iter().any(stepped), "{} has stepped", node.name());
        wait_for_correction(node, newest_reading(node));
    }
    let back = servers.get(first);
    let since = back.wait_for("tick", 0, |tick| tick["bound_ns"].is_i64())["raw_ns"].as_i64();
    let later = since.map(|raw| raw + 4_000_000_000);
    back.wait_for("tick", 0, |tick| tick["raw_ns"].as_i64() > later);
    let all: Vec<&Process> = clients.iter().chain([back, servers.get(second)]).collect();
    assert_agreement(&all, 3, LIMIT_NS, "after a takeover");
}

#[test]
fn the_active_server_hands_over_when_an_operator_asks_and_before_it_ends() {
    let mut servers = Servers::started(22, 3);
    let pump = client(&servers.list(), "pump", &["--simulate-offset=1s"]);
    wait_for_time(&pump);
    let first = servers.agreed();
    let standby = (1..=3).find(|place| *place != first).expect("another one");
    let takeover = |servers: &Servers, place: usize, argument: &str| {
        meantime(&["takeover", argument, "--control", &servers.control(place)])
    };

    let (done, line) = takeover(&servers, standby, "1");
    let active = format!("server {first} ({}) is active: ask there", servers.addresses[first - 1]);
    assert!(!done && line.contains("this is a standby server") && line.contains(&active), "{line}");
    let (done, line) = takeover(&servers, first, "192.0.2.1");
    assert!(!done && line.contains("no server of the list is 192.0.2.1"), "{line}");
    let (done, line) = takeover(&servers, first, &servers.addresses[standby - 1]);
    assert!(done && line.starts_with(&format!("Server {standby} (")), "{line}");
    wait_until(PATIENCE, "the wanted server to be active", || servers.replica(standby)["role"] == "active");
    servers.get(standby).wait_for("role_changed", 0, |event| event["reason"] == "succeeded");
    servers.get(first).wait_for("role_changed", 0, |event| event["reason"] == "yielded");

    let second = servers.agreed();
    let ended = servers.end(second, Signal::SIGTERM);
    assert!(!ended.events_of("hands_over").is_empty(), "{}", ended.log());
    let third = servers.agreed();
    assert_ne!(third, second);
    pump.wait_for("follows", 0, |event| event["rank"] == third);
    wait_for_correction(&pump, newest_reading(&pump));

    // The last one has nobody to hand over to.
    let places = servers.places();
    let other = places.into_iter().find(|place| *place != third).expect("two are left");
    servers.end(other, Signal::SIGTERM);
    wait_until(PATIENCE, "the server to stand alone", || servers.replica(third)["standbys"] == 0);
    let (done, line) = meantime(&["takeover", "--control", &servers.control(third)]);
    assert!(!done && line.contains("no standby server follows this one"), "{line}");
    servers.end(third, Signal::SIGTERM);
}

#[test]
fn a_server_that_was_stopped_while_another_took_over_stands_by_when_it_goes_on() {
    let servers = Servers::started(28, 3);
    let pump = client(&servers.list(), "pump", &["--simulate-offset=2s"]);
    wait_for_time(&pump);
    let first = servers.agreed();
    servers.get(first).signal(Signal::SIGSTOP);
    pump.wait_for("follows", 0, |event| event["rank"] != first);
    servers.get(first).signal(Signal::SIGCONT);
    servers.agreed();
    servers.get(first).wait_for("role_changed", 0, |event| event["role"] == "standby");
    let stepped = |event: &Value| event["first"] == false && event["adjustment"] == "step";
    assert!(!pump.events_of("corrected").iter().any(stepped), "the clock has stepped");
    wait_for_correction(&pump, newest_reading(&pump));
}

#[test]
fn check_warns_of_an_active_server_without_a_standby_server() {
    let mut servers = Servers::started(23, 2);
    let nodes = [client(&servers.list(), "pump", &[]), client(&servers.list(), "crane", &[])];
    nodes.iter().for_each(wait_for_time);
    let active = servers.agreed();
    let standby = 3 - active;
    let (of_active, of_standby) = (servers.control(active), servers.control(standby));
    wait_until(PATIENCE, "both to be well", || check(&of_active, &[]).0 == Some(0));
    wait_until(PATIENCE, "both to be well", || check(&of_standby, &[]).0 == Some(0));
    assert!(check(&of_standby, &[]).1.starts_with("OK: standby, follows server "));

    servers.end(standby, Signal::SIGKILL);
    wait_until(PATIENCE, "the warning", || check(&of_active, &[]).0 == Some(3));
    let (_, line) = check(&of_active, &[]);
    assert!(line.starts_with("WARNING: ") && line.contains("; no standby server could take over"), "{line}");
}

#[test]
fn each_server_may_have_keys_of_its_own_and_a_client_a_key_for_each() {
    let mut servers = Servers::new(24, 3);
    let keygen = |arguments: &[&str]| {
        let (done, text) = meantime(&[&["keygen"], arguments].concat());
        assert!(done, "{text}");
    };
    let master = |servers: &Servers, place: usize| servers.file(&format!("{place}.key"));
    for place in 1..=3 {
        keygen(&[&master(&servers, place)]);
    }
    // The key that the node of this name has at the server at this place.
    let key = |servers: &Servers, name: &str, place: usize| {
        let file = servers.file(&format!("{name}-at-{place}.key"));
        keygen(&["--from", &master(servers, place), "--for", name, &file]);
        file
    };
    for place in 1..=3 {
        let mut arguments = vec!["--key-file".to_owned(), master(&servers, place)];
        for other in (1..=3).filter(|other| *other != place) {
            let peer = key(&servers, &format!("server-{place}"), other);
            arguments.extend(["--peer-key-file".to_owned(), peer]);
        }
        servers.arguments[place - 1] = arguments;
        servers.start(place);
    }
    let keys: Vec<String> = (1..=3).map(|place| key(&servers, "pump", place)).collect();
    let arguments: Vec<&str> = keys.iter().flat_map(|file| ["--key-file", file]).collect();
    let pump = client(&servers.list(), "pump", &arguments);
    let stranger = client(&servers.list(), "stranger", &[]);
    wait_for_time(&pump);
    let first = servers.agreed();
    servers.end(first, Signal::SIGKILL);
    let killed = newest_reading(&pump);
    let second = servers.agreed();
    pump.wait_for("follows", 0, |event| event["rank"] == second);
    wait_for_correction(&pump, killed);
    assert!(stranger.events_of("registered").is_empty());
}

#[test]
fn servers_that_share_a_key_file_need_no_other() {
    let mut servers = Servers::new(25, 2);
    let (master, pumps) = (servers.file("cluster.key"), servers.file("pump.key"));
    for arguments in
        [vec!["keygen", &master], vec!["keygen", "--from", &master, "--for", "pump", pumps.as_str()]]
    {
        let (done, text) = meantime(&arguments);
        assert!(done, "{text}");
    }
    for place in 1..=2 {
        servers.arguments[place - 1] = vec!["--key-file".to_owned(), master.clone()];
        servers.start(place);
    }
    let pump = client(&servers.list(), "pump", &["--key-file", &pumps]);
    wait_for_time(&pump);
    servers.agreed();
}

#[test]
fn a_client_with_another_list_is_told_so() {
    let servers = Servers::started(26, 2);
    let pump = client(&servers.list(), "pump", &[]);
    wait_for_time(&pump);
    servers.agreed();
    let turned = [servers.addresses[1].as_str(), &servers.addresses[0]].join(",");
    let wrong = client(&turned, "wrong", &[]);
    let told = wrong.wait_for_any("list_differs");
    assert!(told["rank"] != told["stated_rank"] && told["stated_servers"] == 2, "{told}");
    wait_until(PATIENCE, "the log to say so", || {
        wrong.log().contains("The lists of servers differ: ") && wrong.log().contains("the same list")
    });
    assert!(wrong.events_of("follows").is_empty());
}

#[test]
fn what_does_not_fit_together_is_said_in_a_line() {
    let server =
        |arguments: &[&str]| meantime(&[&["server", "--listen", "127.84.27.1:0"], arguments].concat());
    for (arguments, said) in [
        (&["--servers", "127.84.27.1"][..], "a server that is alone needs no list"),
        (&["--servers", "127.84.27.1,127.84.27.2", "--rank", "3"], "the list of --servers has 2 servers"),
        (&["--servers", "127.84.27.1,127.84.27.2"], "with --rank 1 to --rank 2"),
        (&["--servers", "127.84.27.1,127.84.27.1"], "is in the list twice"),
        (
            &["--servers", "127.84.27.1,127.84.27.2", "--upstream", "127.84.27.3"],
            "leave out --servers or --upstream",
        ),
        (&["--rank", "1"], "--servers"),
        (&["--upstream", "[::1]:7"], "no address of the family of --listen"),
    ] {
        let (done, text) = server(arguments);
        assert!(!done && text.contains(said), "{arguments:?}: {text}");
    }
    let sixteen = (1..=16).map(|host| format!("127.84.27.{host}")).collect::<Vec<_>>().join(",");
    let (done, text) = meantime(&["client", &sixteen]);
    assert!(!done && text.contains("a list has at most 15 servers, not 16"), "{text}");
    let keys = ["client", "127.84.27.1,127.84.27.2,127.84.27.3", "--key-file", "a", "--key-file", "b"];
    let (done, text) = meantime(&keys);
    assert!(!done && text.contains("--key-file is given 2 times for 3 servers"), "{text}");
}

/// As the other tests of real processes: what a busy machine does to timestamps is no fault of the servers.
const LIMIT_NS: i64 = 1_000_000;
