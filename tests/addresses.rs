//! Local addresses: a server with several of them, both families, and hosts in network namespaces.
//!
//! A client's socket is connected, so the system drops datagrams from every other address: a client that
//! registers proves that the server answers from the address that was asked.

mod support;

use std::borrow::Borrow;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use nix::sys::signal::Signal;
use support::{Process, client, not_run, pause, server};

#[test]
fn a_server_on_every_ipv4_address_answers_from_the_one_that_was_asked() {
    let server = server("0.0.0.0:0", &["--interval", "500ms"]);
    let port = server.port();
    let clients = ["127.0.0.1", "127.0.0.2", "127.9.9.9"].map(|address| joined(&format!("{address}:{port}")));
    assert_one_cluster(&server, &clients);
}

#[test]
fn a_server_on_every_address_serves_both_families_in_one_cluster() {
    if !has_ipv6() {
        return not_run("the test of both families: this machine has no IPv6");
    }
    let server = server("[::]:0", &["--interval", "500ms"]);
    let port = server.port();
    let addresses = ["127.0.0.1", "127.0.0.2", "[::1]", "localhost", "[::ffff:127.0.0.3]"];
    let clients = addresses.map(|address| joined(&format!("{address}:{port}")));
    assert_one_cluster(&server, &clients);
    let known = server.events_of("connected");
    let is_mapped = |event: &serde_json::Value| event["address"].to_string().contains("ffff");
    assert!(!known.iter().any(is_mapped), "an IPv4 address is reported as IPv6: {known:?}");
}

#[expect(clippy::disallowed_types, reason = "to try what the system can do")]
fn has_ipv6() -> bool {
    std::net::UdpSocket::bind("[::1]:0").is_ok()
}

/// A client of the server at this address, once it is registered.
fn joined(address: &str) -> Process {
    let client = client(address, "member", &[]);
    client.wait_for_any("registered");
    client
}

fn assert_one_cluster<P: Borrow<Process>>(server: &Process, clients: &[P]) {
    let clients = clients.iter().map(P::borrow);
    for client in clients.clone() {
        client.wait_for("tick", 0, |tick| tick["state"] == "synchronized");
    }
    pause(Duration::from_secs(4));
    let nodes: Vec<&Process> = std::iter::once(server).chain(clients).collect();
    support::ticks::assert_agreement(&nodes, 2, 5_000_000, "in one cluster");
}

#[test]
fn hosts_with_several_addresses_form_one_cluster() {
    let hosts = match Hosts::new() {
        Ok(hosts) => hosts,
        Err(why) => return not_run(&format!("the test in network namespaces: {why}")),
    };
    let server = in_host(&hosts.server, "server", &["server", "--listen", "[::]:0", "--interval", "500ms"]);
    let port = server.port();
    let clients = ["10.99.1.1", "10.99.1.2", "[fd99::1]", "[fd99::2]", "[fe80::1%lan]"].map(|address| {
        let client = in_host(&hosts.client, address, &["client", &format!("{address}:{port}")]);
        client.wait_for_any("registered");
        client
    });
    assert_one_cluster(&server, &clients);
}

#[test]
fn a_client_whose_own_address_changes_registers_again() {
    let hosts = match Hosts::new() {
        Ok(hosts) => hosts,
        Err(why) => return not_run(&format!("the test of a changing address: {why}")),
    };
    let server = in_host(&hosts.server, "server", &["server", "--listen", "[::]:0", "--interval", "200ms"]);
    let asked = format!("10.99.1.1:{}", server.port());
    let client = in_host(&hosts.client, "roaming", &["client", &asked]);
    client.wait_for("tick", 0, |tick| tick["state"] == "synchronized");
    hosts.on_client(&["address", "delete", "10.99.1.7/24", "dev", "lan"]);
    client.wait_for("holdover", 0, |_| true);
    hosts.on_client(&["address", "add", "10.99.1.8/24", "dev", "lan"]);
    let connected = server.wait_for("connected", 1, |_| true);
    assert!(connected["address"].as_str().is_some_and(|address| address.starts_with("10.99.1.8:")));
    client.wait_for("recovered", 0, |_| true);
}

#[test]
fn an_interface_that_goes_down_and_comes_up_only_interrupts() {
    let hosts = match Hosts::new() {
        Ok(hosts) => hosts,
        Err(why) => return not_run(&format!("the test of an interface that goes down: {why}")),
    };
    let server = in_host(&hosts.server, "server", &["server", "--listen", "[::]:0", "--interval", "200ms"]);
    let client = in_host(&hosts.client, "cut off", &["client", &format!("10.99.1.1:{}", server.port())]);
    client.wait_for("tick", 0, |tick| tick["state"] == "synchronized");
    for times in 0..2 {
        hosts.on_client(&["link", "set", "lan", "down"]);
        client.wait_for("holdover", times, |_| true);
        pause(Duration::from_secs(1));
        hosts.on_client(&["link", "set", "lan", "up"]);
        client.wait_for("recovered", times, |_| true);
    }
    assert_one_cluster(&server, &[&client]);
    assert!(client.log().lines().count() < 40, "{}", client.log());
}

#[test]
fn a_name_that_cannot_be_resolved_yet_and_one_that_moves_are_followed() {
    let hosts = match Hosts::new().and_then(|hosts| hosts.with_names().map(|names| (hosts, names))) {
        Ok(hosts) => hosts,
        Err(why) => return not_run(&format!("the test of a server that moves: {why}")),
    };
    let (hosts, names) = hosts;
    let at = |address: &str| ["server", "--listen", address, "--interval", "200ms"].map(str::to_owned);
    let start = |address: &str| in_host(&hosts.server, "server", &at(address).each_ref().map(String::as_str));
    let mut first = start("10.99.1.1:5525");
    first.address();
    let client = in_host(&hosts.client, "looking", &["client", "server.test"]);
    client.wait_for("unresolved", 1, |_| true);
    names.say("10.99.1.1 server.test\n");
    client.wait_for("tick", 0, |tick| tick["state"] == "synchronized");
    names.say("");
    first.end(Signal::SIGTERM);
    client.wait_for("unresolved", 2, |_| true);
    let second = start("10.99.1.2:5525");
    second.address();
    names.say("10.99.1.2 server.test\n");
    client.wait_for("registered", 1, |event| event["server"] == "10.99.1.2:5525");
    assert_one_cluster(&second, &[&client]);
    assert!(client.log().lines().count() < 40, "{}", client.log());
}

fn in_host(host: &str, name: &str, arguments: &[&str]) -> Process {
    Process::start_in(host, name, &[arguments, &["--output", "json", "--tick", "100ms"]].concat())
}

static HOSTS: AtomicUsize = AtomicUsize::new(0);

/// Two hosts with a link between them; the server's has two addresses of each family, and a link-local one.
struct Hosts {
    server: String,
    client: String,
}

impl Hosts {
    fn new() -> Result<Hosts, String> {
        // One pair for each test, and for each run of the tests.
        let id = format!("{}-{}", std::process::id(), HOSTS.fetch_add(1, Ordering::Relaxed));
        let hosts = Hosts { server: format!("mt-server-{id}"), client: format!("mt-client-{id}") };
        ip(&["netns", "add", &hosts.server])?;
        ip(&["netns", "add", &hosts.client])?;
        let (s, c) = (hosts.server.as_str(), hosts.client.as_str());
        ip(&["-n", s, "link", "add", "lan", "type", "veth", "peer", "name", "lan", "netns", c])?;
        for (host, addresses) in [
            (s, &["10.99.1.1/24", "10.99.1.2/24", "fd99::1/64", "fd99::2/64", "fe80::1/64"][..]),
            (c, &["10.99.1.7/24", "fd99::7/64", "fe80::7/64"]),
        ] {
            for address in addresses {
                // An address that is still being checked for duplicates cannot be used.
                let unchecked: &[&str] = if address.contains(':') { &["nodad"] } else { &[] };
                ip(&[&["-n", host, "address", "add", address, "dev", "lan"], unchecked].concat())?;
            }
            ip(&["-n", host, "link", "set", "lan", "up"])?;
            ip(&["-n", host, "link", "set", "lo", "up"])?;
        }
        Ok(hosts)
    }
}

impl Hosts {
    fn on_client(&self, arguments: &[&str]) {
        ip(&[&["-n", &self.client], arguments].concat()).expect("a command that worked before");
    }
}

/// The content of a host's /etc/hosts; no other resolver there knows a name.
struct Names(PathBuf);

impl Names {
    fn say(&self, text: &str) {
        // The file is a bind mount: it is changed, not replaced.
        fs::write(self.0.join("hosts"), text).expect("a file of ours");
    }
}

impl Drop for Names {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Hosts {
    /// Gives the client's host its own /etc/hosts, and a name server that never answers.
    fn with_names(&self) -> Result<Names, String> {
        let names = Names(PathBuf::from("/etc/netns").join(&self.client));
        fs::create_dir_all(&names.0).map_err(|error| error.to_string())?;
        let asked = "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n";
        fs::write(names.0.join("resolv.conf"), asked).map_err(|error| error.to_string())?;
        names.say("");
        Ok(names)
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        for host in [&self.server, &self.client] {
            // It may not exist if the setup has failed.
            let _ = ip(&["netns", "delete", host]);
        }
    }
}

fn ip(arguments: &[&str]) -> Result<(), String> {
    let output: Output = Command::new("ip")
        .args(arguments)
        .output()
        .map_err(|error| format!("the program ip of iproute2 cannot be run: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
    }
}
