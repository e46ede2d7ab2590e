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
use meantime_core::{Path, Transmit};

/// A client's socket is connected, so the system drops what other addresses send. Its local address is the
/// one from the time of connecting, even when the machine has a new address. So the client opens a new socket
/// when the server's address changes, when the local address has gone, and for the next registration after it
/// has failed to send.
#[derive(Debug)]
pub struct ClientSocket {
    resolver: Resolver,
    token: Option<Token>,
    open: Option<(SocketAddr, DatagramSocket)>,
    has_failed: bool,
    /// The timestamps to request; `None`: none, or the kernel has none.
    stamping: Option<Stamping>,
}

impl ClientSocket {
    /// A socket for the server that the resolver finds; it is opened when something is sent.
    pub fn new(resolver: Resolver) -> ClientSocket {
        ClientSocket { resolver, token: None, open: None, has_failed: false, stamping: None }
    }

    /// Requests timestamps; if the kernel has none, the log says why.
    #[must_use]
    pub fn with_timestamps(mut self, stamping: Stamping) -> ClientSocket {
        self.stamping = Some(stamping);
        self
    }

    /// The socket connected to `peer`.
    fn open(&mut self, registry: &Registry, peer: SocketAddr) -> io::Result<&mut DatagramSocket> {
        if self.open.as_ref().is_some_and(|(to, _)| *to != peer) {
            // Closing a socket takes it out of the event loop.
            self.open = None;
        }
        if self.open.is_none() {
            let mut udp = DatagramSocket::connected(peer)?;
            self.stamping = self.stamping.filter(|stamping| udp.try_timestamps(*stamping));
            if let Some(token) = self.token {
                udp.register(registry, token)?;
            }
            self.open = Some((peer, udp));
        }
        self.open.as_mut().map(|(_, udp)| udp).ok_or_else(|| ErrorKind::NotConnected.into())
    }
}

impl Transport for ClientSocket {
    fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        self.token = Some(token);
        self.resolver.register(registry, token)
    }

    fn receive(&mut self, batch: &mut ReceiveBatch) -> io::Result<()> {
        self.open.as_mut().map_or(Err(ErrorKind::WouldBlock.into()), |(_, udp)| udp.receive(batch))
    }

    fn take_lost(&mut self) -> u32 {
        self.open.as_mut().map_or(0, |(_, udp)| udp.take_lost())
    }

    fn path(&self, received: &ReceivedDatagram<'_>) -> Option<Path> {
        self.open.as_ref().and_then(|(_, udp)| udp.path(received))
    }

    fn send(&mut self, registry: &Registry, transmits: &[Transmit]) -> io::Result<usize> {
        let Some(first) = transmits.first() else { return Ok(0) };
        let peer = first.path.peer;
        let same = transmits.iter().take_while(|transmit| transmit.path.peer == peer).count();
        let result = self.open(registry, peer)?.send(&transmits[..same]);
        if let Err(error) = &result {
            // A closed port, or a full buffer, is no defect of the socket.
            self.has_failed |= !matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::WouldBlock);
            if means_address_gone(error) {
                self.open = None;
            }
        }
        result
    }

    fn take_transmit_timestamps(&mut self, report: &mut dyn FnMut(TransmitStamp)) -> io::Result<bool> {
        self.open
            .as_mut()
            .map_or(Err(ErrorKind::WouldBlock.into()), |(_, udp)| udp.take_transmit_timestamps(report))
    }

    fn timestamp_source(&self) -> TimestampSource {
        if self.stamping.is_some() { TimestampSource::Kernel } else { TimestampSource::User }
    }

    fn resolve(&mut self) {
        if std::mem::take(&mut self.has_failed) {
            self.open = None;
        }
        self.resolver.resolve();
    }

    fn take_resolved(&mut self) -> Option<io::Result<SocketAddr>> {
        Some(self.resolver.take()?.map_err(io::Error::from))
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

    /// Sends to `path`, and returns the client's address as `server` sees it.
    fn seen_by(server: &mut DatagramSocket, client: &mut ClientSocket, path: Path) -> SocketAddr {
        let poll = mio::Poll::new().unwrap();
        client.send(poll.registry(), &[Transmit { path, datagram: [1; DATAGRAM_LEN], stamp: None }]).unwrap();
        let mut batch = ReceiveBatch::new();
        for _ in 0..400 {
            match server.receive(&mut batch) {
                Ok(()) => return server.path(&batch.get(0)).unwrap().peer,
                Err(_) => std::thread::sleep(std::time::Duration::from_millis(5)),
            }
        }
        panic!("nothing came within two seconds");
    }

    #[test]
    fn the_socket_is_kept_for_the_same_server_and_replaced_for_another() {
        let ((mut one, to_one), (mut two, to_two)) = (listener(), listener());
        let mut client = ClientSocket::new(Resolver::new(to_one.peer.to_string().parse().unwrap()));
        let first = seen_by(&mut one, &mut client, to_one);
        client.resolve();
        assert_eq!(seen_by(&mut one, &mut client, to_one), first);
        seen_by(&mut two, &mut client, to_two);
        assert_eq!(client.open.as_ref().map(|(to, _)| *to), Some(to_two.peer));
    }

    #[test]
    fn after_a_failure_the_next_registration_has_a_new_socket() {
        let (mut one, to_one) = listener();
        let mut client = ClientSocket::new(Resolver::new(to_one.peer.to_string().parse().unwrap()));
        seen_by(&mut one, &mut client, to_one);
        client.has_failed = true;
        client.resolve();
        assert!(client.open.is_none());
    }
}
