//! The client's socket.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;

use mio::{Registry, Token};

use super::datagram::{ReceivedDatagram, Stamping, TransmitStamp};
use super::platform::ReceiveBatch;
use super::resolver::Resolver;
use super::socket::DatagramSocket;
use super::timestamp_source::TimestampSource;
use super::transport::Transport;
use meantime_core::roles::rank::Rank;
use meantime_core::{Path, Transmit};

/// A client has a socket for each of its servers. It is connected, so the system drops what other addresses
/// send, finds the route to each server by itself, and reports the closed port of one server apart from the
/// others. Its local address is the one from the time of connecting, even when the machine has a new address.
/// So the client opens a new socket when the server's address changes, when the local address has gone, and
/// for the next registration after it has failed to send.
#[derive(Debug)]
pub struct ClientSocket {
    resolver: Resolver,
    token: Option<Token>,
    /// One for each server.
    connections: Vec<Connection>,
    /// The connection that was received from last.
    current: usize,
    /// The timestamps to request; `None`: none, or the kernel has none.
    stamping: Option<Stamping>,
}

/// The socket for one server.
#[derive(Debug)]
struct Connection {
    rank: Rank,
    /// The address of the server that was found last; `None`: none was yet.
    found: Option<SocketAddr>,
    /// Where the socket is connected to, or was last; `None`: there was none yet.
    peer: Option<SocketAddr>,
    /// It is opened when something is sent.
    socket: Option<DatagramSocket>,
    has_failed: bool,
}

impl ClientSocket {
    /// Sockets for the servers that the resolver finds; each is opened when something is sent to its server.
    pub fn new(resolver: Resolver) -> ClientSocket {
        let connection = |rank| Connection { rank, found: None, peer: None, socket: None, has_failed: false };
        let connections = resolver.ranks().map(connection).collect();
        ClientSocket { resolver, token: None, connections, current: 0, stamping: None }
    }

    /// Requests timestamps; if the kernel has none, the log says why.
    #[must_use]
    pub fn with_timestamps(mut self, stamping: Stamping) -> ClientSocket {
        self.stamping = Some(stamping);
        self
    }

    /// The connection to `peer`: one that is open to there, or was, else that of the server which was found
    /// there.
    fn connection_to(&self, peer: SocketAddr) -> Option<usize> {
        let is_open = |connection: &Connection| connection.peer == Some(peer);
        let is_found = |connection: &Connection| connection.found == Some(peer);
        self.connections.iter().position(is_open).or_else(|| self.connections.iter().position(is_found))
    }

    /// The socket connected to `peer`.
    fn open(
        &mut self,
        registry: &Registry,
        place: usize,
        peer: SocketAddr,
    ) -> io::Result<&mut DatagramSocket> {
        let connection = &mut self.connections[place];
        if connection.peer != Some(peer) {
            // Closing a socket takes it out of the event loop.
            connection.socket = None;
        }
        if connection.socket.is_none() {
            let mut udp = DatagramSocket::connected(peer)?;
            self.stamping = self.stamping.filter(|stamping| udp.try_timestamps(*stamping));
            if let Some(token) = self.token {
                udp.register(registry, token)?;
            }
            (connection.peer, connection.socket) = (Some(peer), Some(udp));
        }
        connection.socket.as_mut().ok_or_else(|| ErrorKind::NotConnected.into())
    }

    fn sockets(&mut self) -> impl Iterator<Item = &mut DatagramSocket> {
        self.connections.iter_mut().filter_map(|connection| connection.socket.as_mut())
    }
}

impl Transport for ClientSocket {
    fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        self.token = Some(token);
        self.resolver.register(registry, token)
    }

    /// From one server after the other, so that none of them keeps the others waiting.
    fn receive(&mut self, batch: &mut ReceiveBatch) -> io::Result<()> {
        for _ in 0..self.connections.len() {
            self.current = (self.current + 1) % self.connections.len();
            let Some(udp) = &mut self.connections[self.current].socket else { continue };
            match udp.receive(batch) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                result => return result,
            }
        }
        Err(ErrorKind::WouldBlock.into())
    }

    fn take_lost(&mut self) -> u32 {
        self.sockets().map(DatagramSocket::take_lost).sum()
    }

    fn path(&self, received: &ReceivedDatagram<'_>) -> Option<Path> {
        self.connections.get(self.current)?.socket.as_ref()?.path(received)
    }

    fn send(&mut self, registry: &Registry, transmits: &[Transmit]) -> io::Result<usize> {
        let Some(first) = transmits.first() else { return Ok(0) };
        let peer = first.path.peer;
        let same = transmits.iter().take_while(|transmit| transmit.path.peer == peer).count();
        let place = self.connection_to(peer).ok_or(ErrorKind::NotConnected)?;
        let result = self.open(registry, place, peer).and_then(|udp| udp.send(&transmits[..same]));
        if let Err(error) = &result {
            let connection = &mut self.connections[place];
            // A closed port, or a full buffer, is no defect of the socket.
            connection.has_failed |=
                !matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::WouldBlock);
            if means_address_gone(error) {
                connection.socket = None;
            }
        }
        result
    }

    fn take_transmit_timestamps(&mut self, report: &mut dyn FnMut(TransmitStamp)) -> io::Result<bool> {
        let mut all = Err(ErrorKind::WouldBlock.into());
        for udp in self.sockets() {
            all = match (udp.take_transmit_timestamps(report), all) {
                (Ok(done), Ok(before)) => Ok(done && before),
                (Ok(done), Err(_)) => Ok(done),
                (Err(error), Err(_)) if error.kind() != ErrorKind::WouldBlock => Err(error),
                (Err(_), before) => before,
            };
        }
        all
    }

    fn timestamp_source(&self) -> TimestampSource {
        if self.stamping.is_some() { TimestampSource::Kernel } else { TimestampSource::User }
    }

    fn resolve(&mut self, server: Rank) {
        for connection in self.connections.iter_mut().filter(|connection| connection.rank == server) {
            if std::mem::take(&mut connection.has_failed) {
                connection.socket = None;
            }
        }
        self.resolver.resolve(server);
    }

    fn take_resolved(&mut self) -> Option<(Rank, io::Result<SocketAddr>)> {
        let (server, found) = self.resolver.take()?;
        if let (Ok(address), Some(connection)) =
            (&found, self.connections.iter_mut().find(|connection| connection.rank == server))
        {
            connection.found = Some(*address);
        }
        Some((server, found.map_err(io::Error::from)))
    }
}

/// The errors by which systems report that the local address of a connected socket has gone from this
/// machine.
fn means_address_gone(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::AddrNotAvailable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use meantime_core::wire::DATAGRAM_LEN;

    fn listener() -> (DatagramSocket, Path) {
        let udp = DatagramSocket::bound("127.0.0.1:0".parse().unwrap()).unwrap();
        let peer = udp.local_address().unwrap();
        (udp, Path { peer, local: None })
    }

    fn rank(place: u8) -> Rank {
        Rank::new(place).unwrap()
    }

    /// The client of servers at these addresses, which it has found.
    fn client(servers: &[SocketAddr]) -> ClientSocket {
        let named = servers.iter().map(|server| server.to_string().parse().unwrap());
        let mut client = ClientSocket::new(Resolver::new((0..).map(rank).zip(named)));
        for place in 0..servers.len() {
            client.resolve(rank(place as u8));
            assert!(client.take_resolved().is_some_and(|(_, found)| found.is_ok()));
        }
        client
    }

    fn transmit(path: Path) -> Transmit {
        Transmit { path, datagram: [1; DATAGRAM_LEN], stamp: None }
    }

    /// Tries for a minute while there is nothing yet.
    fn received(mut receive: impl FnMut(&mut ReceiveBatch) -> io::Result<()>) -> ReceiveBatch {
        let mut batch = ReceiveBatch::new();
        for _ in 0..12_000 {
            match receive(&mut batch) {
                Ok(()) => return batch,
                Err(_) => std::thread::sleep(std::time::Duration::from_millis(5)),
            }
        }
        panic!("nothing came within a minute");
    }

    /// Sends to `path`, and returns the client's address as `server` sees it.
    fn seen_by(server: &mut DatagramSocket, client: &mut ClientSocket, path: Path) -> SocketAddr {
        let poll = mio::Poll::new().unwrap();
        client.send(poll.registry(), &[transmit(path)]).unwrap();
        let batch = received(|batch| server.receive(batch));
        server.path(&batch.get(0)).unwrap().peer
    }

    #[test]
    fn the_socket_is_kept_for_the_same_address_and_replaced_for_another() {
        let ((mut one, to_one), (mut two, to_two)) = (listener(), listener());
        let mut client = client(&[to_one.peer]);
        let first = seen_by(&mut one, &mut client, to_one);
        client.resolve(Rank::FIRST);
        assert_eq!(seen_by(&mut one, &mut client, to_one), first);
        client.connections[0].found = Some(to_two.peer);
        assert_eq!(seen_by(&mut one, &mut client, to_one), first, "a session goes on");
        seen_by(&mut two, &mut client, to_two);
        assert_eq!(client.connections[0].peer, Some(to_two.peer));
        let poll = mio::Poll::new().unwrap();
        let stranger = client.send(poll.registry(), &[transmit(to_one)]);
        assert_eq!(stranger.unwrap_err().kind(), ErrorKind::NotConnected);
    }

    #[test]
    fn after_a_failure_the_next_registration_has_a_new_socket() {
        let (mut one, to_one) = listener();
        let mut client = client(&[to_one.peer]);
        seen_by(&mut one, &mut client, to_one);
        client.connections[0].has_failed = true;
        client.resolve(Rank::FIRST);
        assert!(client.connections[0].socket.is_none());
    }

    #[test]
    fn each_server_has_a_socket_and_a_path_of_its_own() {
        let ((mut one, to_one), (mut two, to_two)) = (listener(), listener());
        let mut client = client(&[to_one.peer, to_two.peer]);
        let (seen_by_one, seen_by_two) =
            (seen_by(&mut one, &mut client, to_one), seen_by(&mut two, &mut client, to_two));
        assert_ne!(seen_by_one, seen_by_two);
        for (server, seen, path) in [(&mut two, seen_by_two, to_two), (&mut one, seen_by_one, to_one)] {
            server.send(&[transmit(Path { peer: seen, local: None })]).unwrap();
            let batch = received(|batch| client.receive(batch));
            assert_eq!(client.path(&batch.get(0)), Some(path));
        }
        client.connections[1].has_failed = true;
        client.resolve(rank(1));
        assert_eq!(seen_by(&mut one, &mut client, to_one), seen_by_one);
        assert_ne!(seen_by(&mut two, &mut client, to_two), seen_by_two);
    }

    #[test]
    fn servers_that_send_much_are_heard_in_turn() {
        let ((mut one, to_one), (mut two, to_two)) = (listener(), listener());
        let mut client = client(&[to_one.peer, to_two.peer]);
        let (seen_by_one, seen_by_two) =
            (seen_by(&mut one, &mut client, to_one), seen_by(&mut two, &mut client, to_two));
        for (server, seen) in [(&mut one, seen_by_one), (&mut two, seen_by_two)] {
            for _ in 0..3 * crate::udp::BATCH {
                server.send(&[transmit(Path { peer: seen, local: None })]).unwrap();
            }
        }
        let mut heard = Vec::new();
        for _ in 0..2 {
            let batch = received(|batch| client.receive(batch));
            heard.extend(client.path(&batch.get(0)).map(|path| path.peer));
        }
        heard.sort_unstable();
        let mut both = vec![to_one.peer, to_two.peer];
        both.sort_unstable();
        assert_eq!(heard, both);
    }
}
