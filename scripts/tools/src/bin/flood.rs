//! Floods a server on this machine with datagrams as fast as they can be sent, for `scripts/flood.py`.
//!
//! ```console
//! flood 127.0.0.1:5525 noise 60          # random bytes, of the right length and others
//! flood 127.0.0.1:5525 register 60       # Registers from many addresses of 127.0.0.0/8, that read nothing
//! flood 127.0.0.1:5525 replay 60         # what a client has sent, from that client's address
//! ```
//!
//! To replay, it relays between the server and a client that is started with the address that is printed
//! first; it forwards all datagrams, and records the client's for a quarter of a minute. At the end it prints
//! how many datagrams it has sent. Only loopback addresses are accepted as targets.

#![expect(clippy::disallowed_types, reason = "it sends what no node would")]
#![expect(clippy::disallowed_methods, reason = "it measures real time")]

use std::error::Error;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use meantime_core::wire::{Body, DATAGRAM_LEN, Datagram, Header, Message, Name, NodeId, Register};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [target, kind, seconds] = &arguments[..] else {
        return Err("usage: flood ADDRESS:PORT noise|register|replay SECONDS".into());
    };
    let (target, span) = (target.parse()?, Duration::from_secs(seconds.parse()?));
    if !SocketAddr::ip(&target).is_loopback() {
        return Err("the target is not a loopback address".into());
    }
    let rng = ChaCha8Rng::seed_from_u64(1);
    let sent = match kind.as_str() {
        "noise" => noise(target, span, rng)?,
        "register" => register(target, span, rng)?,
        "replay" => Relay::new(target)?.replay(span)?,
        _ => return Err("the kinds are noise, register and replay".into()),
    };
    println!("{sent}");
    Ok(())
}

fn noise(target: SocketAddr, span: Duration, mut rng: ChaCha8Rng) -> Result<u64> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.connect(target)?;
    let mut bytes = [0; 1_400];
    rng.fill_bytes(&mut bytes);
    let (end, mut sent) = (Instant::now() + span, 0);
    while Instant::now() < end {
        for _ in 0..BATCH {
            let at = rng.random_range(0..1_000);
            let length = if rng.random() { DATAGRAM_LEN } else { rng.random_range(0..400) };
            sent += u64::from(socket.send(&bytes[at..at + length]).is_ok());
        }
    }
    Ok(sent)
}

fn register(target: SocketAddr, span: Duration, mut rng: ChaCha8Rng) -> Result<u64> {
    let mut sockets = Vec::new();
    let (end, mut sent) = (Instant::now() + span, 0);
    while Instant::now() < end {
        if sockets.len() < 200 {
            sockets.push(random_source(&mut rng)?);
        } else {
            let place = rng.random_range(0..sockets.len());
            sockets[place] = random_source(&mut rng)?;
        }
        for socket in &sockets {
            let ask = Register {
                nonce: rng.next_u64(),
                cookie: rng.random_range(0..2),
                name: Name::new("flood"),
                ..Register::default()
            };
            let header = Header { sender: NodeId(rng.next_u64()), ..Header::default() };
            let datagram = Message { header, body: Body::Register(ask) }.encode();
            sent += u64::from(socket.send_to(&datagram, target).is_ok());
        }
    }
    Ok(sent)
}

/// A socket at a random loopback address; its answers are never read.
fn random_source(rng: &mut ChaCha8Rng) -> Result<UdpSocket> {
    let [a, b, c] = [rng.random(), rng.random(), rng.random_range(2..255)];
    Ok(UdpSocket::bind(SocketAddr::from(([127, a, b, c], 0)))?)
}

/// Relays between a client and its server.
struct Relay {
    inside: UdpSocket,
    outside: UdpSocket,
    client: Option<SocketAddr>,
    recorded: Vec<Datagram>,
}

impl Relay {
    fn new(target: SocketAddr) -> Result<Relay> {
        let (inside, outside) = (UdpSocket::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?);
        outside.connect(target)?;
        inside.set_nonblocking(true)?;
        outside.set_nonblocking(true)?;
        println!("{}", inside.local_addr()?);
        Ok(Relay { inside, outside, client: None, recorded: Vec::new() })
    }

    fn replay(mut self, span: Duration) -> Result<u64> {
        let recording_ends = Instant::now() + Duration::from_secs(15);
        while Instant::now() < recording_ends {
            self.forward();
            std::thread::sleep(Duration::from_millis(1));
        }
        let (end, mut sent) = (Instant::now() + span, 0);
        while Instant::now() < end {
            for datagram in &self.recorded {
                sent += u64::from(self.outside.send(datagram).is_ok());
            }
            self.forward();
        }
        Ok(sent)
    }

    /// Forwards all datagrams, and records those of the client.
    fn forward(&mut self) {
        let mut datagram = [0; DATAGRAM_LEN];
        while let Ok((_, from)) = self.inside.recv_from(&mut datagram) {
            self.client = Some(from);
            if self.recorded.len() < MAX_RECORDED {
                self.recorded.push(datagram);
            }
            let _ = self.outside.send(&datagram);
        }
        for _ in 0..BATCH {
            let (Ok(_), Some(client)) = (self.outside.recv(&mut datagram), self.client) else { break };
            let _ = self.inside.send_to(&datagram, client);
        }
    }
}

/// Datagrams between two readings of the clock.
const BATCH: usize = 64;
/// A minute of a client's datagrams.
const MAX_RECORDED: usize = 256;
