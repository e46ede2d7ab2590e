//! Floods a server on this machine with datagrams as fast as they can be sent: what `scripts/flood.py`
//! measures it under.
//!
//! ```console
//! flood 127.0.0.1:5525 noise 60          # random bytes, of the right length and others
//! flood 127.0.0.1:5525 register 60       # Registers from ever other addresses of 127.0.0.0/8, which no answer finds
//! flood 127.0.0.1:5525 replay 60         # what a client has sent, from that client's address
//! ```
//!
//! To replay, it stands between the server and a client, which is to be told to follow the address that is
//! printed first; it passes on what they send and records it for a quarter of a minute. Prints at the end how
//! many it has sent. It takes no target but a loopback address.

#![expect(clippy::disallowed_types, reason = "somebody has to send what no node would")]
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
        return Err("only this machine itself is flooded".into());
    }
    let rng = ChaCha8Rng::seed_from_u64(1);
    let sent = match kind.as_str() {
        "noise" => noise(target, span, rng)?,
        "register" => register(target, span, rng)?,
        "replay" => Relay::new(target)?.replay(span)?,
        _ => return Err("there are noise, register and replay".into()),
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
            sockets.push(somewhere(&mut rng)?);
        } else {
            let place = rng.random_range(0..sockets.len());
            sockets[place] = somewhere(&mut rng)?;
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

/// A socket at some address of this machine, which nobody reads.
fn somewhere(rng: &mut ChaCha8Rng) -> Result<UdpSocket> {
    let [a, b, c] = [rng.random(), rng.random(), rng.random_range(2..255)];
    Ok(UdpSocket::bind(SocketAddr::from(([127, a, b, c], 0)))?)
}

/// Stands between a client and its server.
struct Relay {
    inside: UdpSocket,
    outside: UdpSocket,
    client: Option<SocketAddr>,
    tape: Vec<Datagram>,
}

impl Relay {
    fn new(target: SocketAddr) -> Result<Relay> {
        let (inside, outside) = (UdpSocket::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?);
        outside.connect(target)?;
        inside.set_nonblocking(true)?;
        outside.set_nonblocking(true)?;
        println!("{}", inside.local_addr()?);
        Ok(Relay { inside, outside, client: None, tape: Vec::new() })
    }

    fn replay(mut self, span: Duration) -> Result<u64> {
        let recorded = Instant::now() + Duration::from_secs(15);
        while Instant::now() < recorded {
            self.pass();
            std::thread::sleep(Duration::from_millis(1));
        }
        let (end, mut sent) = (Instant::now() + span, 0);
        while Instant::now() < end {
            for datagram in &self.tape {
                sent += u64::from(self.outside.send(datagram).is_ok());
            }
            self.pass();
        }
        Ok(sent)
    }

    /// Passes on what has come, and remembers what the client has sent.
    fn pass(&mut self) {
        let mut datagram = [0; DATAGRAM_LEN];
        while let Ok((_, from)) = self.inside.recv_from(&mut datagram) {
            self.client = Some(from);
            if self.tape.len() < MAX_RECORDED {
                self.tape.push(datagram);
            }
            let _ = self.outside.send(&datagram);
        }
        for _ in 0..BATCH {
            let (Ok(_), Some(client)) = (self.outside.recv(&mut datagram), self.client) else { break };
            let _ = self.inside.send_to(&datagram, client);
        }
    }
}

/// So many between two looks at the clock.
const BATCH: usize = 64;
/// A minute of what a client says, and no more.
const MAX_RECORDED: usize = 256;
