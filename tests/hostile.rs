//! What a network may throw at a node: other versions of the protocol, noise, and genuine datagrams with
//! some bits changed, a million of them. Nothing panics, memory does not grow, the log is not flooded, and
//! the service goes on.

#![expect(clippy::disallowed_types, reason = "the test sends what no node would")]

mod support;

use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::process::Command;
use std::time::Duration;

use meantime_core::wire::{Body, DATAGRAM_LEN, Datagram, Header, Message, Reject, RejectReason, VERSION};
use nix::sys::signal::Signal;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use support::{Process, client, now, server};

#[test]
fn another_version_is_refused_and_the_server_says_so_once() {
    let mut server = server("127.0.0.1:0", &[]);
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    socket.set_read_timeout(Some(support::PATIENCE)).expect("a socket");
    socket.connect(server.address()).expect("a socket");
    let mut request = [7; DATAGRAM_LEN];
    request[..4].copy_from_slice(b"MT\x02\x01");
    for _ in 0..50 {
        socket.send(&request).expect("loopback");
    }
    let mut answer = [0; DATAGRAM_LEN + 1];
    assert_eq!(socket.recv(&mut answer).expect("a Reject"), DATAGRAM_LEN);
    match Message::decode(&answer[..DATAGRAM_LEN]).expect("a datagram").body {
        Body::Reject(Reject { nonce, reason: RejectReason::Version, version: VERSION }) => {
            assert_eq!(nonce.to_be_bytes(), [7; 8]);
        }
        other => panic!("answered with {other:?}"),
    }
    assert_eq!(server.wait_for_any("refused")["protocol_version"], 2);
    server.end(Signal::SIGTERM);
    let log = server.log();
    assert_eq!(log.matches("speaks version 2 of the protocol").count(), 1, "{log}");
}

#[test]
fn a_client_that_is_of_another_version_than_its_server_says_so_once() {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    socket.set_read_timeout(Some(support::PATIENCE)).expect("a socket");
    let client = client(&socket.local_addr().expect("an address").to_string(), "old", &[]);
    let mut request = [0; DATAGRAM_LEN];
    let (_, from) = socket.recv_from(&mut request).expect("a Register");
    let Ok(Message { body: Body::Register(register), .. }) = Message::decode(&request) else {
        panic!("asked with something else: {request:?}");
    };
    let reject = Reject { nonce: register.nonce, reason: RejectReason::Version, version: 2 };
    let mut answer = Message { header: Header::default(), body: Body::Reject(reject) }.encode();
    for version in [VERSION, 2, 2] {
        answer[2] = version;
        socket.send_to(&answer, from).expect("loopback");
    }
    assert_eq!(client.wait_for_any("refused")["protocol_version"], 2);
    support::pause(Duration::from_millis(500));
    let log = client.log();
    assert_eq!(log.matches("speaks version 2 of the protocol").count(), 1, "{log}");
}

#[test]
fn a_million_hostile_datagrams_harm_neither_server_nor_client() {
    let mut server = server("127.0.0.1:0", &["--interval", "500ms"]);
    let mut relay = Relay::new(&server.address());
    let mut client = client(&relay.address(), "target", &[]);
    relay.until("the client to be synchronized", || is_synchronized(&client, 0));
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    relay.attack(&mut rng, 50_000);
    let before = [server.resident_kb(), client.resident_kb()];
    relay.attack(&mut rng, 950_000);
    for (process, before) in [(&server, before[0]), (&client, before[1])] {
        let grown = process.resident_kb().saturating_sub(before);
        println!("{} grew by {grown} kB", process.name());
        assert!(grown < 2_048, "{} grew by {grown} kB", process.name());
        let log = process.log();
        let lines = log.lines().count();
        assert!(lines < 100, "{} logged {lines} lines:\n{log}", process.name());
    }
    let corrected = client.events_of("corrected").len();
    relay.until("the service to go on", || {
        client.events_of("corrected").len() > corrected && is_synchronized(&client, corrected)
    });
    assert!(received(&mut server) > 450_000 && received(&mut client) > 450_000, "{}", relay.statistics());
}

/// `scripts/flood.py` measures the same with 50 clients for minutes; here it only has to go on.
#[test]
fn rounds_go_on_and_clocks_stay_together_while_a_server_is_flooded() {
    for key in [false, true] {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("cluster.key");
        let path = path.to_str().expect("a plain path");
        let made = Command::new(env!("CARGO_BIN_EXE_meantime")).args(["keygen", path]).output();
        assert!(made.expect("it runs").status.success());
        let options = if key { vec!["--key-file", path] } else { vec![] };
        let mut server = server("127.0.0.1:0", &[&["--interval", "500ms"][..], &options].concat());
        let mut relay = Relay::new(&server.address());
        let target: SocketAddr = server.address().parse().expect("an address");
        let direct = client(&server.address(), "direct", &options);
        let relayed = client(&relay.address(), "relayed", &options);
        relay
            .until("both to be synchronized", || is_synchronized(&direct, 4) && is_synchronized(&relayed, 4));
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let noise = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let elsewhere: Vec<UdpSocket> = (2..200)
            .map(|k| {
                UdpSocket::bind(SocketAddr::from(([127, 9, k, 1], 0))).expect("an address of this machine")
            })
            .collect();
        for kind in ["noise", "registers", "recorded"] {
            let (rounds, corrected) =
                (server.events_of("round_started").len(), direct.events_of("corrected").len());
            let before = server.resident_kb();
            let end = now() + 2 * support::PATIENCE;
            while server.events_of("round_started").len() < rounds + 5 {
                for k in 0..20_000 {
                    let mut bytes = [0; DATAGRAM_LEN];
                    rng.fill_bytes(&mut bytes);
                    let _ = match kind {
                        "noise" => noise.send_to(&bytes, target),
                        "registers" => {
                            elsewhere[k % elsewhere.len()].send_to(&forged_register(&bytes), target)
                        }
                        _ => relay.outside.send(&relay.genuine[1]),
                    };
                    if k % 100 == 0 {
                        relay.pass();
                    }
                }
                assert!(now() < end, "{kind}: the rounds have stopped");
            }
            relay.until("corrections to go on", || {
                is_synchronized(&direct, corrected) && is_synchronized(&relayed, 4)
            });
            let grown = server.resident_kb().saturating_sub(before);
            assert!(grown < 4_096, "{kind}: the server grew by {grown} kB");
        }
        assert_eq!(server.events_of("connected").len(), 2, "no other client was registered");
        assert!(server.events_of("lost").is_empty());
        assert!(received(&mut server) > 10_000);
    }
}

/// A Register from a forged address, which never receives the answer.
fn forged_register(random: &Datagram) -> Datagram {
    let mut register = [0; DATAGRAM_LEN];
    register[..4].copy_from_slice(&[b'M', b'T', VERSION, 1]);
    register[8..16].copy_from_slice(&random[8..16]);
    register[32..40].copy_from_slice(&random[32..40]);
    register
}

fn is_synchronized(client: &Process, corrections: usize) -> bool {
    client.events_of("corrected").len() > corrections
        && client.events_of("tick").last().is_some_and(|tick| tick["state"] == "synchronized")
}

/// Ends a process, and how many datagrams it says that it received.
fn received(process: &mut Process) -> u64 {
    let (status, _) = process.end(Signal::SIGTERM);
    assert!(status.success(), "{} ended with {status}: {}", process.name(), process.log());
    let log = process.log();
    let line = log.lines().find(|line| line.contains("datagrams received")).expect("the counters in the log");
    let count = line.split_whitespace().filter_map(|word| word.parse().ok()).next();
    count.unwrap_or_else(|| panic!("no number in {line}"))
}

/// Stands between a client and its server: passes on what they send, remembers it, and can change it.
struct Relay {
    inside: UdpSocket,
    outside: UdpSocket,
    client: Option<SocketAddr>,
    /// The newest genuine datagrams of each direction: to the client, to the server.
    genuine: [Datagram; 2],
    sent: u64,
}

impl Relay {
    fn new(server: &str) -> Relay {
        let socket = || {
            let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
            socket.set_nonblocking(true).expect("a socket");
            socket
        };
        let (inside, outside) = (socket(), socket());
        outside.connect(server).expect("loopback");
        Relay { inside, outside, client: None, genuine: [[0; DATAGRAM_LEN]; 2], sent: 0 }
    }

    fn address(&self) -> String {
        self.inside.local_addr().expect("an address").to_string()
    }

    /// Passes on what is waiting.
    fn pass(&mut self) {
        let mut datagram = [0; DATAGRAM_LEN];
        while let Ok((length, from)) = self.inside.recv_from(&mut datagram) {
            self.client = Some(from);
            self.genuine[1] = datagram;
            let _ = self.outside.send(&datagram[..length]);
        }
        while let Ok(length) = self.outside.recv(&mut datagram) {
            self.genuine[0] = datagram;
            if let Some(client) = self.client {
                let _ = self.inside.send_to(&datagram[..length], client);
            }
        }
    }

    /// Relays until `done`.
    fn until(&mut self, what: &str, mut done: impl FnMut() -> bool) {
        let end = now() + 2 * support::PATIENCE;
        let mut turns = 0_u32;
        loop {
            self.pass();
            turns += 1;
            if turns.is_multiple_of(100) && done() {
                return;
            }
            assert!(now() < end, "waited in vain for {what}");
            support::pause(Duration::from_millis(1));
        }
    }

    /// Sends so many datagrams, half to the client and half to the server, no faster than they are read.
    fn attack(&mut self, rng: &mut ChaCha8Rng, count: usize) {
        let client = self.client.expect("the client has spoken");
        let server = self.outside.peer_addr().expect("connected");
        for _ in 0..count / (2 * BATCH) {
            let end = now() + support::PATIENCE;
            for _ in 0..BATCH {
                let (bytes, length) = hostile(rng, &self.genuine[0]);
                let _ = self.inside.send_to(&bytes[..length], client);
                let (bytes, length) = hostile(rng, &self.genuine[1]);
                let _ = self.outside.send(&bytes[..length]);
                self.sent += 2;
            }
            for node in [client, server] {
                while queued(node) > 0 {
                    self.pass();
                    assert!(now() < end, "{node} does not read any more: {}", self.statistics());
                }
            }
            self.pass();
        }
    }

    fn statistics(&self) -> String {
        format!("{} hostile datagrams were sent", self.sent)
    }
}

/// Noise of any length, or a genuine datagram with some bits changed or its end missing.
fn hostile(rng: &mut ChaCha8Rng, genuine: &Datagram) -> ([u8; MAX], usize) {
    let mut bytes = [0; MAX];
    rng.fill_bytes(&mut bytes);
    let choice = rng.next_u32();
    if choice.is_multiple_of(8) {
        return (bytes, (choice / 8) as usize % MAX);
    }
    if choice % 8 > 1 {
        bytes[..DATAGRAM_LEN].copy_from_slice(genuine);
        for _ in 0..choice % 5 {
            let bit = rng.next_u32() as usize % (DATAGRAM_LEN * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        if choice.is_multiple_of(3) {
            bytes[3] = rng.next_u32() as u8 % 12;
        }
    } else {
        // Noise that passes for a datagram at first sight.
        bytes[..4].copy_from_slice(&[b'M', b'T', VERSION, rng.next_u32() as u8 % 12]);
    }
    (bytes, DATAGRAM_LEN)
}

/// How many bytes wait in the socket that has this address. Other tests have sockets with the same port at
/// other addresses, which they do not read.
fn queued(address: SocketAddr) -> u64 {
    let SocketAddr::V4(address) = address else { panic!("{address} is no IPv4 address") };
    let local = format!("{:08X}:{:04X}", u32::from_ne_bytes(address.ip().octets()), address.port());
    let table = fs::read_to_string("/proc/net/udp").expect("Linux");
    let row = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let queue = row.filter(|row| row.len() > 4 && row[1] == local).find_map(|row| {
        let (_, received) = row[4].split_once(':')?;
        u64::from_str_radix(received, 16).ok()
    });
    queue.unwrap_or(0)
}

const MAX: usize = 200;

/// Fits into the smallest receive buffer that systems have.
const BATCH: usize = 100;
