//! A server driven by hand: one datagram in, its answers out.

use std::net::SocketAddr;

use meantime_core::time::{Now, Span};
use meantime_core::wire::{Body, Datagram, Header, Message, Name, NodeId, Register, SessionId};
use meantime_core::{Node, Path, Server, ServerConfig};

use super::host::{drain, moment};

/// The address of the server of a [`Pair`](super::Pair).
pub const SERVER: &str = "192.0.2.1:5525";
/// The address of its client.
pub const CLIENT: &str = "192.0.2.7:40000";
/// An address of no node.
pub const STRANGER: &str = "192.0.2.66:6666";

/// An address, from text.
///
/// # Panics
/// When the text is no address with a port.
pub fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address with a port")
}

/// The path of a datagram from this address.
pub fn from(text: &str) -> Path {
    Path { peer: address(text), local: None }
}

/// Both clocks so many seconds after the beginning, with an oscillator that is ahead by a constant.
pub fn at(seconds: f64, ahead: Span) -> Now {
    moment(Span::from_secs_f64(seconds), ahead)
}

/// A datagram that a node has sent, decoded.
///
/// # Panics
/// When it cannot be decoded.
pub fn decoded(datagram: &Datagram) -> Message {
    Message::decode(datagram).expect("a node sends well-formed datagrams")
}

/// A server with the default configuration, started at the beginning.
pub fn default_server() -> Server {
    Server::new(ServerConfig::default(), [3; 32], at(0.0, Span::ZERO))
}

/// A Register of a client without keys.
pub fn register(nonce: u64, cookie: u64, sender: u64) -> Message {
    let body = Register { nonce, cookie, name: Name::new("x"), ..Register::default() };
    Message { header: Header { sender: NodeId(sender), ..Header::default() }, body: Body::Register(body) }
}

/// Sends one datagram to a server; its answers.
pub fn ask(server: &mut Server, seconds: f64, path: Path, message: &Message) -> Vec<Message> {
    let now = at(seconds, Span::ZERO);
    server.handle_datagram(now, path, &message.encode());
    drain(server, now).iter().map(|transmit| decoded(&transmit.datagram)).collect()
}

/// Registers a client one second after the beginning; its session.
pub fn enter(server: &mut Server, path: Path, nonce: u64, sender: u64) -> SessionId {
    enter_at(server, 1.0, path, nonce, sender)
}

/// Registers a client so many seconds after the beginning; its session.
///
/// # Panics
/// When the server does not answer with a Challenge and then a Welcome.
pub fn enter_at(server: &mut Server, seconds: f64, path: Path, nonce: u64, sender: u64) -> SessionId {
    let challenged = ask(server, seconds, path, &register(nonce, 0, sender));
    let [Message { body: Body::Challenge(challenge), .. }] = challenged[..] else {
        panic!("{challenged:?}");
    };
    let welcomed = ask(server, seconds, path, &register(nonce, challenge.cookie, sender));
    match welcomed[..] {
        [Message { header, body: Body::Welcome(welcome) }, ..] if welcome.nonce == nonce => header.session,
        _ => panic!("{welcomed:?}"),
    }
}
