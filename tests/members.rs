//! Votes taken away from whole hosts, and bans: with datagrams in the test's hands, and with real processes.

mod support;

use meantime_core::event::{Exclusion, HoldoverReason};
use meantime_core::server::{BanError, VoteChangeError};
use meantime_core::time::Span;
use meantime_core::wire::{Body, ClientState, Message, Name, RejectReason};
use meantime_core::{ClientEvent, Node, Server, ServerConfig, ServerEvent};
use meantime_sim::testkit::by_hand::*;
use meantime_sim::testkit::{Pair, drain, events};
use serde_json::Value;
use support::{Process, client, meantime, scratch, server};

const HOST: [&str; 3] = ["192.0.2.7:40000", "192.0.2.7:40001", "192.0.2.7:40002"];
const OTHER: &str = "192.0.2.8:40000";

/// The addresses of the clients without a vote.
fn removed(server: &Server) -> Vec<String> {
    let members = server.view(at(1.0, Span::ZERO)).members;
    let removed = members.iter().filter(|member| member.exclusion == Some(Exclusion::Removed));
    removed.map(|member| member.peer.address.to_string()).collect()
}

/// Registers a client of this name; returns the answer to its Register with the cookie.
fn named(server: &mut Server, seconds: f64, address: &str, name: &str, sender: u64) -> Body {
    let request = |cookie| {
        let mut request = register(sender, cookie, sender);
        if let Body::Register(register) = &mut request.body {
            register.name = Name::new(name);
        }
        request
    };
    let challenged = ask(server, seconds, from(address), &request(0));
    // A session that was banned before is told so first.
    let Some(Message { body: Body::Challenge(challenge), .. }) = challenged.last() else {
        panic!("{challenged:?}")
    };
    ask(server, seconds, from(address), &request(challenge.cookie))[0].body
}

fn is_banned(answer: &Body) -> bool {
    matches!(answer, Body::Reject(reject) if reject.reason == RejectReason::Banned)
}

#[test]
fn a_host_has_no_vote_with_all_its_sessions_of_now_and_later() {
    let mut server = default_server();
    for (address, sender) in [HOST[0], HOST[1], OTHER].into_iter().zip(1..) {
        enter(&mut server, from(address), sender, sender);
    }
    events(&mut server);
    let change = server.remove_from_vote("192.0.2.7").expect("it is an address");
    assert_eq!((change.changed, change.clients.len()), (true, 2));
    assert_eq!(removed(&server), HOST[..2]);
    let told = events(&mut server);
    assert!(matches!(&told[..], [ServerEvent::Removed(told)] if *told == change), "{told:?}");
    assert!(!server.remove_from_vote("192.0.2.7").expect("it was removed").changed);
    enter(&mut server, from(HOST[2]), 7, 7);
    assert_eq!(removed(&server), HOST);
    let part = server.pin_to_vote(HOST[0]);
    assert!(matches!(part, Err(VoteChangeError::Within { .. })), "{part:?}");
    assert_eq!(server.pin_to_vote("192.0.2.0/24").expect("it covers the host").clients.len(), 4);
    assert!(removed(&server).is_empty());
}

#[test]
fn a_network_can_be_removed_before_a_client_of_it_comes() {
    let mut server = default_server();
    assert!(server.remove_from_vote("192.0.2.0/25").expect("it is a network").clients.is_empty());
    let shown = |server: &Server| -> Vec<String> {
        server.overview(at(1.0, Span::ZERO)).removed.iter().map(ToString::to_string).collect()
    };
    assert_eq!(shown(&server), ["192.0.2.0/25"]);
    let own = Err(VoteChangeError::OwnClockVotes("server".into()));
    assert_eq!(server.pin_to_vote("server"), own);
    enter(&mut server, from(OTHER), 1, 1);
    assert_eq!(removed(&server), [OTHER]);
    assert!(shown(&server).is_empty(), "one of it is registered");
    let nobody = server.remove_from_vote("192.0.2.9:1");
    assert_eq!(nobody, Err(VoteChangeError::Unknown("192.0.2.9:1".into())));
    assert_eq!(server.remove_from_vote("server"), Err(VoteChangeError::OwnClock("server".into())));
}

#[test]
fn a_name_removes_all_who_have_it_and_an_address_follows_the_name_of_one() {
    let mut server = default_server();
    for (address, name, sender) in [(HOST[0], "twin", 1), (OTHER, "twin", 2), (HOST[1], "a", 3)] {
        named(&mut server, 0.5, address, name, sender);
    }
    assert_eq!(server.remove_from_vote("twin").expect("two have it").clients.len(), 2);
    assert_eq!(removed(&server), [HOST[0], OTHER]);
    server.remove_from_vote(HOST[1]).expect("it is there");
    named(&mut server, 2.0, "198.51.100.1:9", "a", 4);
    assert!(removed(&server).contains(&"198.51.100.1:9".to_owned()), "the same name at another address");
    server.pin_to_vote("a").expect("it was removed");
    assert_eq!(removed(&server), [HOST[0], OTHER]);
}

#[test]
fn the_sessions_of_a_banned_host_end_and_it_is_not_admitted_until_the_ban_is_lifted() {
    let mut server = default_server();
    for (address, sender) in [HOST[0], HOST[1], OTHER].into_iter().zip(1..) {
        enter(&mut server, from(address), sender, sender);
    }
    events(&mut server);
    let now = at(1.0, Span::ZERO);
    let change = server.ban(now, "192.0.2.7").expect("it is an address");
    assert_eq!((change.changed, change.clients.len(), server.clients()), (true, 2, 1));
    let sent: Vec<Message> = drain(&mut server, now).iter().map(|sent| decoded(&sent.datagram)).collect();
    assert!(sent.len() == 2 && sent.iter().all(|message| is_banned(&message.body)), "{sent:?}");
    let told = events(&mut server);
    let expelled = told.iter().filter(|event| matches!(event, ServerEvent::Expelled { .. })).count();
    assert_eq!((expelled, told.last()), (2, Some(&ServerEvent::Banned(change))));
    for (seconds, sender) in [(2.0, 11), (100.0, 12), (100_000.0, 13)] {
        assert!(is_banned(&named(&mut server, seconds, HOST[2], "a", sender)));
    }
    assert!(matches!(named(&mut server, 100_000.0, "192.0.2.9:1", "a", 14), Body::Welcome(_)));
    assert_eq!(server.overview(now).banned.len(), 1);
    assert!(matches!(server.unban("192.0.2.8"), Err(BanError::NotBanned(_))));
    server.unban("192.0.2.7").expect("it is banned");
    assert!(matches!(named(&mut server, 100_001.0, HOST[2], "a", 15), Body::Welcome(_)));
}

#[test]
fn without_keys_a_name_stands_for_its_address() {
    let mut server = default_server();
    named(&mut server, 0.5, HOST[0], "attic", 1);
    let now = at(1.0, Span::ZERO);
    assert_eq!(server.ban(now, "cellar"), Err(BanError::Unknown("cellar".into())));
    assert_eq!(server.ban(now, "server"), Err(BanError::Server("server".into())));
    assert_eq!(server.ban(now, "attic").expect("it is there").selector.to_string(), "192.0.2.7");
    drain(&mut server, now);
    assert!(!server.ban(now, "attic").expect("it is banned").changed, "its session has ended");
    assert!(is_banned(&named(&mut server, 3.0, HOST[1], "other", 2)), "another name helps nothing");
    assert!(matches!(named(&mut server, 3.0, OTHER, "attic", 3), Body::Welcome(_)));
    let part = server.ban(now, "192.0.2.0/24").map(|_| server.unban("attic"));
    assert!(matches!(part, Ok(Err(BanError::Within { .. }))), "{part:?}");
    assert!(matches!(server.unban(HOST[0]), Err(BanError::Within { .. })));
}

#[test]
fn an_address_with_its_port_stands_for_the_machine_of_the_configuration() {
    let config = ServerConfig { ipv4_machine_prefix: 24, ..ServerConfig::default() };
    let mut server = Server::new(config, [3; 32], at(0.0, Span::ZERO));
    let now = at(1.0, Span::ZERO);
    let machines = [(HOST[0], "192.0.2.0/24"), ("[2001:db8::7]:4000", "2001:db8::/64")];
    for (asked, machine) in [&machines[..], &[("127.0.0.1:4000", "127.0.0.0/8")]].concat() {
        assert_eq!(server.ban(now, asked).expect("it is an address").selector.to_string(), machine);
        let lifted = server.unban(asked).expect("it is what was asked for").lifted;
        assert_eq!(lifted.iter().map(ToString::to_string).collect::<Vec<_>>(), [machine]);
    }
    named(&mut server, 1.0, OTHER, "attic", 1);
    server.ban(now, "attic").expect("it is there");
    assert!(is_banned(&named(&mut server, 3.0, HOST[0], "a", 2)), "another address of that machine");
}

#[test]
fn a_network_is_unbanned_with_all_narrower_bans_which_are_told() {
    let mut server = default_server();
    let now = at(1.0, Span::ZERO);
    for banned in ["192.0.2.7", "198.51.100.1", "192.0.2.0/24"] {
        server.ban(now, banned).expect("it is an address or a network");
    }
    let lifted = server.unban("192.0.2.0/24").expect("it is banned").lifted;
    assert_eq!(lifted.iter().map(ToString::to_string).collect::<Vec<_>>(), ["192.0.2.7", "192.0.2.0/24"]);
    assert_eq!(server.overview(now).banned.len(), 1);
}

#[test]
fn what_the_configuration_denies_is_not_said_to_be_admitted() {
    let deny = vec!["192.0.2.0/24".parse().expect("a network")];
    let mut server =
        Server::new(ServerConfig { deny, ..ServerConfig::default() }, [3; 32], at(0.0, Span::ZERO));
    for denied in ["192.0.2.7", HOST[0], "192.0.0.0/16"] {
        assert_eq!(server.unban(denied), Err(BanError::Denied(denied.into())));
    }
    assert_eq!(server.unban("192.0.3.7"), Err(BanError::NotBanned("192.0.3.7".into())));
}

#[test]
fn an_address_stays_banned_while_a_network_of_it_is() {
    let mut server = default_server();
    let now = at(1.0, Span::ZERO);
    assert!(server.ban(now, "192.0.2.7").expect("it is an address").changed);
    assert!(server.ban(now, "192.0.2.0/24").expect("it is a network").changed);
    assert!(!server.ban(now, "192.0.2.8").expect("it is an address").changed);
    assert!(matches!(server.unban("192.0.2.7"), Err(BanError::Within { .. })));
    server.unban("192.0.2.0/24").expect("it is banned");
    assert_eq!(server.overview(now).banned.len(), 0);
}

#[test]
fn the_table_of_bans_is_limited() {
    let mut server = default_server();
    let ban = |server: &mut Server, k: u32| {
        server.ban(at(1.0, Span::ZERO), &std::net::Ipv4Addr::from(0x0a00_0000 + k).to_string())
    };
    let banned = (0..1_000).filter(|k| ban(&mut server, *k).is_ok()).count();
    assert_eq!(banned, 256);
    assert_eq!(ban(&mut server, 5_000), Err(BanError::TableFull(256)));
    assert!(ban(&mut server, 0).is_ok(), "it is banned already");
}

#[test]
fn a_banned_client_is_in_holdover_says_why_once_and_comes_back() {
    let mut pair = Pair::agreed();
    events(&mut pair.client);
    let now = pair.server_now();
    pair.server.ban(now, "192.0.2.7").expect("it is an address");
    pair.run(60.0);
    assert_eq!(pair.client.read(pair.client_now().raw).state, ClientState::Holdover);
    let told = events(&mut pair.client);
    let banned = |event: &&ClientEvent| {
        matches!(
            event,
            ClientEvent::Holdover { reason: HoldoverReason::Banned }
                | ClientEvent::Refused { reason: RejectReason::Banned, .. }
        )
    };
    assert_eq!(told.iter().filter(banned).count(), 2, "{told:?}");
    assert_eq!(pair.server.clients(), 0);
    pair.server.unban("192.0.2.7").expect("it is banned");
    pair.run(90.0);
    assert_eq!(
        (pair.server.clients(), pair.client.read(pair.client_now().raw).state),
        (1, ClientState::Synchronized)
    );
}

#[test]
fn a_denied_name_counts_only_with_keys() {
    let config = ServerConfig { deny_names: vec![Name::new("attic")], ..ServerConfig::default() };
    let mut server = Server::new(config, [3; 32], at(0.0, Span::ZERO));
    assert!(matches!(named(&mut server, 0.5, OTHER, "attic", 1), Body::Welcome(_)));
}

#[test]
fn a_key_is_banned_by_its_name_whatever_its_address() {
    let (_dir, dir) = scratch();
    let path = |name: &str| dir.join(name).display().to_string();
    let (socket, all, own) = (path("s"), path("a.key"), path("lab-7.key"));
    for arguments in [&["keygen", &all][..], &["keygen", "--for", "lab-7", "--from", &all, &own]] {
        let (fine, said) = meantime(arguments);
        assert!(fine, "{said}");
    }
    let keyed = ["--interval", "300ms", "--key-file", &all, "--control", &socket];
    let host = server("127.0.0.1:0", &keyed);
    let start = |server: &Process| {
        let arguments = ["client", &server.address(), "--output", "json", "--key-file", &own];
        Process::start("lab-7", &arguments)
    };
    let lab = start(&host);
    lab.wait_for_any("corrected");
    let (fine, said) = meantime(&["members", "ban", "lab-7", "--control", &socket]);
    assert!(fine && said.contains("lab-7 is banned; sessions ended: 1 (lab-7)"), "{said}");
    lab.wait_for("holdover", 0, |event| event["reason"] == "banned");
    assert_eq!(lab.wait_for_any("refused")["reason"], "banned");
    let (_, page) = meantime(&["status", "--control", &socket]);
    assert!(page.contains("lab-7 is banned\n"), "{page}");
    // Another process, with the same key.
    let again = start(&host);
    assert_eq!(again.wait_for_any("refused")["reason"], "banned");
    assert!(again.events_of("registered").is_empty());
    // Neither of them is to come back when the ban is lifted.
    drop((lab, again));
    let (fine, said) = meantime(&["members", "unban", "lab-7", "--control", &socket]);
    assert!(fine && said.contains("lab-7 is not banned any more"), "{said}");
    let third = start(&host);
    third.wait_for_any("registered");
    let (_, rows) = meantime(&["status", "--json", "--control", &socket]);
    let rows: Value = serde_json::from_str(&rows).expect("an object");
    let address = rows["clients"][0]["address"].as_str().expect("the third is registered").to_owned();
    let (fine, said) = meantime(&["members", "ban", &address, "--control", &socket]);
    assert!(fine && said.starts_with(&format!("{address} is banned by its name: lab-7")), "{said}");
    let (fine, said) = meantime(&["members", "unban", &address, "--control", &socket]);
    assert!(fine && said.contains(&format!("{address} is not banned any more; lifted: lab-7")), "{said}");

    let denies = ["--key-file", &all, "--deny", "name:lab-7", "--control", &path("d")];
    let denying = server("127.0.0.1:0", &denies);
    let lab = start(&denying);
    assert_eq!(lab.wait_for_any("refused")["reason"], "banned");
    let (fine, said) = meantime(&["members", "unban", "lab-7", "--control", &path("d")]);
    assert!(!fine && said.contains("'lab-7' is denied by the server's configuration; start"), "{said}");
    let (fine, said) = meantime(&["server", "--listen", "127.0.0.1:0", "--deny", "name:lab-7"]);
    assert!(!fine && said.contains("works with --key-file only") && said.lines().count() == 1, "{said}");
}

#[test]
fn a_host_is_removed_and_banned_with_all_its_sessions() {
    let (_dir, dir) = scratch();
    let socket = dir.join("s").display().to_string();
    let server = server("127.0.0.1:0", &["--interval", "300ms", "--control", &socket]);
    let address = server.address();
    let clients = ["alice", "bob"].map(|name| client(&address, name, &[]));
    clients.iter().for_each(|client| drop(client.wait_for_any("corrected")));
    let (fine, said) = meantime(&["members", "remove", "127.0.0.1", "--control", &socket]);
    assert!(
        fine && said.starts_with("127.0.0.1: 2 clients (") && said.contains("have no vote any more"),
        "{said}"
    );
    let removed = server.wait_for_any("removed");
    assert_eq!((&removed["member"], &removed["clients"]), (&Value::from("127.0.0.1"), &Value::from(2)));
    let (fine, said) = meantime(&["members", "pin", "127.0.0.0/8", "--control", &socket]);
    assert!(fine && said.contains("have their votes back"), "{said}");
    let (fine, said) = meantime(&["members", "remove", "192.0.2.0/24", "--control", &socket]);
    assert!(fine && said.starts_with("no client of 192.0.2.0/24 is registered now; one that"), "{said}");
    let (fine, said) = meantime(&["members", "pin", "192.0.2.0/24", "--control", &socket]);
    assert!(fine && said.starts_with("192.0.2.0/24 is not removed any more; no client"), "{said}");
    let (fine, said) = meantime(&["members", "ban", "127.0.0.0/8", "--control", &socket]);
    assert!(fine && said.contains("sessions ended: 2"), "{said}");
    for client in &clients {
        client.wait_for("holdover", 0, |event| event["reason"] == "banned");
    }
    let (_, page) = meantime(&["status", "--control", &socket]);
    assert!(page.contains("0 clients") && page.contains("127.0.0.0/8 is banned\n"), "{page}");
    let (fine, said) = meantime(&["members", "ban", "127.0.0.0/8", "--control", &socket]);
    assert!(fine && said.contains("banned already"), "{said}");
    let (fine, said) = meantime(&["members", "unban", "127.0.0.0/8", "--control", &socket]);
    assert!(fine && said.contains("127.0.0.0/8 is not banned any more"), "{said}");
    for client in &clients {
        let banned = client.events_of("holdover").len();
        client.wait_for("recovered", banned - 1, |_| true);
    }
    for already in [false, true] {
        let (fine, said) = meantime(&["members", "ban", "alice", "--control", &socket]);
        let banned = if already { "is banned already" } else { "is banned" };
        assert!(fine && said.starts_with(&format!("alice {banned} by its address: 127.0.0.0/8")), "{said}");
    }
    let (fine, said) = meantime(&["members", "unban", "127.0.0.1", "--control", &socket]);
    assert!(!fine && said.contains("lift that ban (`meantime members unban 127.0.0.0/8`)"), "{said}");
    let (fine, said) = meantime(&["members", "unban", "alice", "--control", &socket]);
    assert!(fine && said.contains("alice is not banned any more; lifted: 127.0.0.0/8"), "{said}");
}

#[test]
fn a_label_takes_the_place_of_the_votes_per_address_and_the_server_logs_that_once() {
    let (_dir, dir) = scratch();
    let socket = dir.join("s").display().to_string();
    let votes = ["--interval", "300ms", "--votes-per-address", "3", "--control", &socket];
    let server = server("127.0.0.1:0", &votes);
    let labelled = |name, label| client(&server.address(), name, &["--group", label]);
    let _first = labelled("alice", "rack1");
    let event = server.wait_for_any("label_overrides_votes");
    let (client, label) = (&event["client"], &event["label"]);
    assert_eq!((client, label, &event["votes_per_address"]), (&"alice".into(), &"rack1".into(), &3.into()));
    let _second = labelled("bob", "rack2");
    let status = || {
        let (fine, said) = meantime(&["status", "--json", "--control", &socket]);
        assert!(fine, "{said}");
        serde_json::from_str::<Value>(&said).expect("an object")
    };
    let row = || {
        status()["clients"].as_array().and_then(|rows| rows.iter().find(|it| it["name"] == "bob").cloned())
    };
    support::wait_until(support::PATIENCE, "the label of bob", || {
        row().is_some_and(|row| row["label"] == "rack2" && row["counted_label"] == "rack1")
    });
    let (_, page) = meantime(&["status", "--control", &socket]);
    assert!(page.contains("rack1 (stated rack2): server's machine"), "{page}");
    assert_eq!(server.events_of("label_overrides_votes").len(), 1);
}

#[test]
fn the_label_that_overrides_the_votes_is_the_one_that_counts() {
    let server = server("127.0.0.1:0", &["--votes-per-address", "3", "--group", "rack1"]);
    let _client = client(&server.address(), "alice", &["--group", "rack9"]);
    assert_eq!(server.wait_for_any("label_overrides_votes")["label"], "rack1");
}
