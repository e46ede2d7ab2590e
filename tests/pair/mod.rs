//! A server and a client, pure state machines, with every datagram in the test's hands.

#![allow(dead_code, reason = "each test binary uses a part of this")]

use std::net::SocketAddr;

use meantime_core::time::{Monotonic, Now, Raw, Span, Timestamp};
use meantime_core::wire::{
    Body, ClientState, Datagram, Header, Kind, Message, Name, NodeId, Register, SessionId,
};
use meantime_core::{Action, Client, ClientConfig, Node, Path, Server, ServerConfig, Transmit};

pub(crate) const SERVER: &str = "192.0.2.1:5525";
pub(crate) const CLIENT: &str = "192.0.2.7:40000";
pub(crate) const STRANGER: &str = "192.0.2.66:6666";

pub(crate) fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

pub(crate) fn from(text: &str) -> Path {
    Path { peer: address(text), local: None }
}

/// A moment: seconds since everything began. Both sides' oscillators are perfect; the client's is ahead.
pub(crate) fn at(seconds: f64, ahead: Span) -> Now {
    let since = Span::from_secs_f64(seconds);
    let raw = Raw::from_nanos(1_800_000_000_000_000_000) + since + ahead;
    Now { mono: Monotonic::from_nanos(0) + since, raw }
}

pub(crate) fn read(datagram: &Datagram) -> Message {
    Message::decode(datagram).expect("what a node sends can be read")
}

pub(crate) fn drain<N: Node>(node: &mut N, now: Now) -> Vec<Transmit> {
    std::iter::from_fn(|| node.poll_transmit(now)).collect()
}

pub(crate) fn events<N: Node>(node: &mut N) -> Vec<N::Event> {
    std::iter::from_fn(|| node.poll_event()).collect()
}

/// A server and a client with 100 µs between them, each way.
pub(crate) struct Pair {
    pub server: Server,
    pub client: Client,
    /// The client's oscillator minus the true time, and the server's.
    pub ahead: Span,
    pub server_ahead: Span,
    pub now: f64,
    /// Every datagram that was sent, either way: read, and as it was.
    pub seen: Vec<Message>,
    pub wire: Vec<Datagram>,
}

impl Pair {
    pub(crate) fn new(config: ServerConfig, ahead: Span) -> Pair {
        Pair::of(config, ClientConfig::default(), ahead)
    }

    pub(crate) fn of(config: ServerConfig, client: ClientConfig, ahead: Span) -> Pair {
        let server = Server::new(config, [1; 32], at(0.0, Span::ZERO));
        let name = Name::new("lab-7");
        let client = Client::new(ClientConfig { name, ..client }, [2; 32], at(0.0, ahead));
        Pair { server, client, ahead, server_ahead: Span::ZERO, now: 0.0, seen: Vec::new(), wire: Vec::new() }
    }

    /// A pair that has agreed.
    pub(crate) fn agreed() -> Pair {
        let mut pair = Pair::new(ServerConfig::default(), Span::from_secs(2));
        pair.run(22.0);
        assert_eq!(pair.client.read(pair.client_now().raw).state, ClientState::Synchronized);
        pair
    }

    pub(crate) fn client_now(&self) -> Now {
        at(self.now, self.ahead)
    }

    pub(crate) fn server_now(&self) -> Now {
        at(self.now, self.server_ahead)
    }

    pub(crate) fn run(&mut self, seconds: f64) {
        self.run_through(seconds, |_| true);
    }

    /// Lets so much time pass, in which only those datagrams arrive that `passes` lets through.
    pub(crate) fn run_through(&mut self, seconds: f64, mut passes: impl FnMut(&Message) -> bool) {
        self.run_altering(seconds, |message| passes(message));
    }

    /// Lets so much time pass, in which only those datagrams arrive that `passes` lets through, and as it has
    /// left them.
    pub(crate) fn run_altering(&mut self, seconds: f64, mut passes: impl FnMut(&mut Message) -> bool) {
        let end = self.now + seconds;
        while self.now < end {
            self.now += 0.000_1;
            let (client_now, server_now) = (self.client_now(), self.server_now());
            if self.client.poll_timeout().is_some_and(|due| due <= client_now.mono) {
                self.client.handle_timeout(client_now);
            }
            while self.client.poll_action() == Some(Action::Resolve) {
                self.client.handle_resolved(client_now, Some(address(SERVER)));
            }
            if self.server.poll_timeout().is_some_and(|due| due <= server_now.mono) {
                self.server.handle_timeout(server_now);
            }
            let to_server = drain(&mut self.client, client_now);
            let to_client = drain(&mut self.server, server_now);
            let quiet = to_server.is_empty() && to_client.is_empty();
            self.now += 0.000_1;
            for transmit in to_server {
                if let Some(datagram) = self.pass(&transmit, &mut passes) {
                    self.server.handle_datagram(self.server_now(), from(CLIENT), &datagram);
                }
            }
            for transmit in to_client {
                if let Some(datagram) = self.pass(&transmit, &mut passes) {
                    self.client.handle_datagram(self.client_now(), from(SERVER), &datagram);
                }
            }
            if quiet {
                self.sleep(end);
            }
        }
    }

    /// What arrives of a datagram, if it does.
    fn pass(
        &mut self,
        transmit: &Transmit,
        passes: &mut impl FnMut(&mut Message) -> bool,
    ) -> Option<Datagram> {
        let sent = *self.note(transmit);
        let mut message = sent;
        let arrives = passes(&mut message);
        arrives.then(|| if message == sent { transmit.datagram } else { message.encode() })
    }

    pub(crate) fn note(&mut self, transmit: &Transmit) -> &Message {
        self.seen.push(read(&transmit.datagram));
        self.wire.push(transmit.datagram);
        &self.seen[self.seen.len() - 1]
    }

    /// Nothing happens before somebody's timeout: skip there.
    pub(crate) fn sleep(&mut self, end: f64) {
        let next = [self.client.poll_timeout(), self.server.poll_timeout()].into_iter().flatten().min();
        let next = next.map_or(end, |due| due.as_nanos() as f64 * 1e-9);
        self.now = self.now.max(next.min(end) - 0.000_1);
    }

    /// Client's published time minus the server's.
    pub(crate) fn difference(&self) -> Span {
        let client = self.client.read(self.client_now().raw).time;
        client - self.server.read(self.server_now().raw).time
    }

    pub(crate) fn count(&self, kind: Kind) -> usize {
        self.seen.iter().filter(|message| message.body.kind() == kind).count()
    }

    pub(crate) fn last(&self, kind: Kind) -> Message {
        *self.seen.iter().rfind(|message| message.body.kind() == kind).expect("one of that kind")
    }
}

pub(crate) fn register(nonce: u64, cookie: u64, sender: u64) -> Message {
    let body = Register { nonce, cookie, name: Name::new("x"), ..Register::default() };
    Message { header: Header { sender: NodeId(sender), ..Header::default() }, body: Body::Register(body) }
}

/// Sends one datagram to a server, returns what it answers.
pub(crate) fn ask(server: &mut Server, seconds: f64, path: Path, message: &Message) -> Vec<Message> {
    let now = at(seconds, Span::ZERO);
    server.handle_datagram(now, path, &message.encode());
    drain(server, now).iter().map(|transmit| read(&transmit.datagram)).collect()
}

/// Registers by hand; returns the session.
pub(crate) fn enter(server: &mut Server, path: Path, nonce: u64, sender: u64) -> SessionId {
    enter_at(server, 1.0, path, nonce, sender)
}

pub(crate) fn enter_at(server: &mut Server, seconds: f64, path: Path, nonce: u64, sender: u64) -> SessionId {
    let challenged = ask(server, seconds, path, &register(nonce, 0, sender));
    let [Message { body: Body::Challenge(challenge), .. }] = challenged[..] else {
        panic!("{challenged:?}");
    };
    let welcomed = ask(server, seconds, path, &register(nonce, challenge.cookie, sender));
    match welcomed[0] {
        Message { header, body: Body::Welcome(welcome) } if welcome.nonce == nonce => header.session,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn a_server() -> Server {
    Server::new(ServerConfig::default(), [3; 32], at(0.0, Span::ZERO))
}
impl Pair {
    pub(crate) fn server_now_as_time(&self) -> Timestamp {
        Timestamp::from_nanos(self.server_now().raw.as_nanos())
    }
}
