//! A server and a client; every datagram is recorded and can be changed or withheld.

use meantime_core::time::{Now, Span, Timestamp};
use meantime_core::wire::{ClientState, Datagram, Kind, Message, Name};
use meantime_core::{Client, ClientConfig, Node, Server, ServerConfig};

use super::by_hand::{CLIENT, SERVER, address, decoded};
use super::delay::Delay;
use super::host::{Borrowed, HostClock, moment};
use super::network::{Flight, Network};

/// A server and a client with 100 µs between them, each way. Both oscillators are perfect but for a constant.
#[derive(Debug)]
pub struct Pair {
    /// The server.
    pub server: Server,
    /// The client.
    pub client: Client,
    /// The client's oscillator minus true time.
    pub ahead: Span,
    /// The server's oscillator minus true time.
    pub server_ahead: Span,
    /// Every datagram that was sent, either way, decoded.
    pub seen: Vec<Message>,
    /// The same, encoded.
    pub wire: Vec<Datagram>,
    network: Network,
}

impl Pair {
    /// A server with this configuration and a client whose oscillator is ahead by so much.
    pub fn new(config: ServerConfig, ahead: Span) -> Pair {
        Pair::with_client(config, ClientConfig::default(), ahead)
    }

    /// The same, with a configuration of the client; its name is `lab-7`.
    pub fn with_client(config: ServerConfig, client: ClientConfig, ahead: Span) -> Pair {
        let server = Server::new(config, [1; 32], moment(Span::ZERO, Span::ZERO));
        let name = Name::new("lab-7");
        let client = Client::new(ClientConfig { name, ..client }, [2; 32], moment(Span::ZERO, ahead));
        let network = Network::new(Delay::constant(DELAY));
        Pair { server, client, ahead, server_ahead: Span::ZERO, seen: Vec::new(), wire: Vec::new(), network }
    }

    /// A pair that has agreed: 22 seconds old, its client synchronized.
    ///
    /// # Panics
    /// When the client is not.
    pub fn agreed() -> Pair {
        let mut pair = Pair::new(ServerConfig::default(), Span::from_secs(2));
        pair.run(22.0);
        assert_eq!(pair.client.read(pair.client_now().raw).state, ClientState::Synchronized);
        pair
    }

    /// Seconds of true time since the beginning.
    pub fn now_s(&self) -> f64 {
        self.network.now().as_secs_f64()
    }

    /// The client's clocks now.
    pub fn client_now(&self) -> Now {
        moment(self.network.now(), self.ahead)
    }

    /// The server's clocks now.
    pub fn server_now(&self) -> Now {
        moment(self.network.now(), self.server_ahead)
    }

    /// What the server's oscillator shows now, as a time.
    pub fn server_oscillator(&self) -> Timestamp {
        Timestamp::from_nanos(self.server_now().raw.as_nanos())
    }

    /// Lets so many seconds pass.
    pub fn run(&mut self, seconds: f64) {
        self.run_through(seconds, |_| true);
    }

    /// Lets so many seconds pass, in which only those datagrams arrive that `passes` accepts.
    pub fn run_through(&mut self, seconds: f64, mut passes: impl FnMut(&Message) -> bool) {
        self.run_altering(seconds, |message| passes(message));
    }

    /// Lets so many seconds pass, in which only those datagrams arrive that `passes` accepts, as it leaves
    /// them.
    pub fn run_altering(&mut self, seconds: f64, mut passes: impl FnMut(&mut Message) -> bool) {
        let until = self.network.now() + Span::from_secs_f64(seconds);
        let Pair { server, client, ahead, server_ahead, seen, wire, network } = self;
        let clocks = [HostClock::Offset(*server_ahead), HostClock::Offset(*ahead)];
        let [mut server_clock, mut client_clock] = clocks;
        let at_server = address(SERVER);
        let mut server =
            Borrowed { node: server, clock: &mut server_clock, address: at_server, server: at_server };
        let mut client =
            Borrowed { node: client, clock: &mut client_clock, address: address(CLIENT), server: at_server };
        network.run_altering(until, &mut [&mut client, &mut server], |Flight { datagram, .. }| {
            let sent = decoded(datagram);
            seen.push(sent);
            wire.push(*datagram);
            let mut message = sent;
            let arrives = passes(&mut message);
            if message != sent {
                *datagram = message.encode();
            }
            arrives
        });
    }

    /// Lets so many seconds pass in which both processes stand still.
    pub fn skip(&mut self, seconds: f64) {
        self.network.skip(Span::from_secs_f64(seconds));
    }

    /// The client's published time minus the server's.
    pub fn difference(&self) -> Span {
        let client = self.client.read(self.client_now().raw).time;
        client - self.server.read(self.server_now().raw).time
    }

    /// How many datagrams of this kind were sent.
    pub fn count(&self, kind: Kind) -> usize {
        self.seen.iter().filter(|message| message.body.kind() == kind).count()
    }

    /// The last datagram of this kind that was sent.
    ///
    /// # Panics
    /// When there was none.
    pub fn last(&self, kind: Kind) -> Message {
        let last = self.seen.iter().rfind(|message| message.body.kind() == kind);
        *last.expect("a datagram of this kind was sent")
    }
}

/// One way.
const DELAY: Span = Span::from_micros(100);
