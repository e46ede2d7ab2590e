//! How a node's datagrams reach the network: by a server's listening socket, or by a client's connected one.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;

use mio::{Registry, Token};

use super::batch::{ReceiveBatch, ReceivedDatagram};
use super::resolver::Resolver;
use super::sockets::DatagramSocket;
use super::stamps::TimestampSource;
use meantime_core::time::Timestamp;
use meantime_core::{Path, StampId, Transmit};

/// A node's way to the network.
pub trait Transport {
    /// Joins the event loop: readiness is reported under `token`.
    ///
    /// # Errors
    /// When the system refuses.
    fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()>;

    /// Takes in the datagrams that have come, up to a batch. What is longer than a datagram is cut off
    /// somewhere behind that.
    ///
    /// # Errors
    /// `WouldBlock` when there are none; anything else concerns one datagram only.
    fn receive(&mut self, arrivals: &mut ReceiveBatch) -> io::Result<()>;

    /// How many datagrams have been lost since this was asked last, as a receive buffer was full.
    fn lost(&mut self) -> u32;

    /// The path that a datagram has come along; `None` if that cannot be known.
    fn path(&self, received: &ReceivedDatagram<'_>) -> Option<Path>;

    /// Sends datagrams, at most a batch, and returns how many of the first were sent.
    ///
    /// # Errors
    /// When the first of them could not be sent; the next may well be.
    fn send(&mut self, registry: &Registry, transmits: &[Transmit]) -> io::Result<usize>;

    /// Says when datagrams really left, as far as that is known, up to a batch. False if there may be more to
    /// say.
    ///
    /// # Errors
    /// `WouldBlock` when nothing more is known.
    fn departed(&mut self, left: &mut dyn FnMut(StampId, Timestamp)) -> io::Result<bool> {
        let _ = left;
        Err(ErrorKind::WouldBlock.into())
    }

    /// Which timestamps the system has granted.
    fn timestamps(&self) -> TimestampSource {
        TimestampSource::User
    }

    /// Looks the server up; only a client has one.
    ///
    /// # Errors
    /// When it cannot be found out.
    fn resolve(&mut self) -> io::Result<SocketAddr>;
}

/// The server's one socket. It answers from the address that was asked.
#[derive(Debug)]
pub struct ServerSocket {
    udp: DatagramSocket,
}

impl ServerSocket {
    /// Listens on `address`. `[::]` serves both families, and IPv4 alone where there is no IPv6.
    ///
    /// # Errors
    /// When the address cannot be had.
    pub fn bind(address: SocketAddr) -> io::Result<ServerSocket> {
        let udp = match DatagramSocket::bound(address) {
            Err(error) if is_any_v6(address) && is_lack_of_v6(&error) => {
                log::info!("no IPv6 on this machine ({error}): serving IPv4 only");
                DatagramSocket::bound(SocketAddr::from(([0, 0, 0, 0], address.port())))?
            }
            result => result?,
        };
        Ok(ServerSocket { udp })
    }

    /// Has the kernel take the timestamps, if it can; else the log says why not.
    #[must_use]
    pub fn with_kernel_timestamps(mut self) -> ServerSocket {
        request_stamps(&mut self.udp);
        self
    }

    /// Where it listens, the port being the real one.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.udp.local_address()
    }
}

impl Transport for ServerSocket {
    fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        self.udp.register(registry, token)
    }

    fn receive(&mut self, arrivals: &mut ReceiveBatch) -> io::Result<()> {
        self.udp.receive(arrivals)
    }

    fn lost(&mut self) -> u32 {
        self.udp.lost()
    }

    fn path(&self, received: &ReceivedDatagram<'_>) -> Option<Path> {
        self.udp.path(received)
    }

    fn send(&mut self, _registry: &Registry, transmits: &[Transmit]) -> io::Result<usize> {
        self.udp.send(transmits)
    }

    fn departed(&mut self, left: &mut dyn FnMut(StampId, Timestamp)) -> io::Result<bool> {
        self.udp.departed(left)
    }

    fn timestamps(&self) -> TimestampSource {
        kind(self.udp.is_stamped())
    }

    fn resolve(&mut self) -> io::Result<SocketAddr> {
        Err(io::Error::new(ErrorKind::Unsupported, "a server looks nobody up"))
    }
}

/// The client's socket: connected, so that the system drops what others send. It keeps the address of ours
/// that it got when it was made, even when the machine has another one by now; so it is made anew when the
/// server's address changes, when ours is known to have gone, and for every new try to get in after it
/// has failed to send.
#[derive(Debug)]
pub struct ClientSocket {
    resolver: Resolver,
    token: Option<Token>,
    open: Option<(SocketAddr, DatagramSocket)>,
    has_failed: bool,
    stamped: bool,
}

impl ClientSocket {
    /// A connection, not made yet, to the server that the resolver finds.
    pub fn new(resolver: Resolver) -> ClientSocket {
        ClientSocket { resolver, token: None, open: None, has_failed: false, stamped: false }
    }

    /// Has the kernel take the timestamps, if it can; else the log says why not.
    #[must_use]
    pub fn with_kernel_timestamps(mut self) -> ClientSocket {
        self.stamped = true;
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
            self.stamped = self.stamped && request_stamps(&mut udp);
            if let Some(token) = self.token {
                udp.register(registry, token)?;
            }
            self.open = Some((peer, udp));
        }
        self.open.as_mut().map(|(_, udp)| udp).ok_or_else(|| ErrorKind::NotConnected.into())
    }
}

impl Transport for ClientSocket {
    fn register(&mut self, _registry: &Registry, token: Token) -> io::Result<()> {
        self.token = Some(token);
        Ok(())
    }

    fn receive(&mut self, arrivals: &mut ReceiveBatch) -> io::Result<()> {
        self.open.as_mut().map_or(Err(ErrorKind::WouldBlock.into()), |(_, udp)| udp.receive(arrivals))
    }

    fn lost(&mut self) -> u32 {
        self.open.as_mut().map_or(0, |(_, udp)| udp.lost())
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
            // Nobody there, or a full buffer, is no fault of the socket's.
            self.has_failed |= !matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::WouldBlock);
            if is_lost_address(error) {
                self.open = None;
            }
        }
        result
    }

    fn departed(&mut self, left: &mut dyn FnMut(StampId, Timestamp)) -> io::Result<bool> {
        self.open.as_mut().map_or(Err(ErrorKind::WouldBlock.into()), |(_, udp)| udp.departed(left))
    }

    fn timestamps(&self) -> TimestampSource {
        kind(self.stamped)
    }

    fn resolve(&mut self) -> io::Result<SocketAddr> {
        if std::mem::take(&mut self.has_failed) {
            self.open = None;
        }
        self.resolver.try_next()
    }
}

/// True if they were granted; else it is said why not.
fn request_stamps(udp: &mut DatagramSocket) -> bool {
    let granted = udp.request_stamps();
    if let Err(error) = &granted {
        log::warn!("timestamps: user; the kernel refuses its own: {error}");
    }
    granted.is_ok()
}

fn kind(stamped: bool) -> TimestampSource {
    if stamped { TimestampSource::Kernel } else { TimestampSource::User }
}

fn is_any_v6(address: SocketAddr) -> bool {
    address.is_ipv6() && address.ip().is_unspecified()
}

/// How systems say that they have no IPv6: built without, switched off, or without any address.
fn is_lack_of_v6(error: &io::Error) -> bool {
    use nix::errno::Errno;
    let lacks = [Errno::EAFNOSUPPORT, Errno::EADDRNOTAVAIL, Errno::ENOPROTOOPT, Errno::EPROTONOSUPPORT];
    error.raw_os_error().is_some_and(|raw| lacks.contains(&Errno::from_raw(raw)))
}

/// How systems say that the local address of a connected socket has gone from this machine.
fn is_lost_address(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::AddrNotAvailable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use meantime_core::Path;
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
        let mut arrivals = ReceiveBatch::new();
        for _ in 0..400 {
            match server.receive(&mut arrivals) {
                Ok(()) => return server.path(&arrivals.get(0)).unwrap().peer,
                Err(_) => std::thread::sleep(std::time::Duration::from_millis(5)),
            }
        }
        panic!("nothing came within two seconds");
    }

    #[test]
    fn the_socket_is_kept_for_the_same_server_and_made_anew_for_another() {
        let ((mut one, to_one), (mut two, to_two)) = (listener(), listener());
        let mut client = ClientSocket::new(Resolver::new(to_one.peer.to_string().parse().unwrap()));
        let first = seen_by(&mut one, &mut client, to_one);
        client.resolve().unwrap();
        assert_eq!(seen_by(&mut one, &mut client, to_one), first);
        seen_by(&mut two, &mut client, to_two);
        assert_eq!(client.open.as_ref().map(|(to, _)| *to), Some(to_two.peer));
    }

    #[test]
    fn after_a_failure_the_next_try_has_a_new_socket() {
        let (mut one, to_one) = listener();
        let mut client = ClientSocket::new(Resolver::new(to_one.peer.to_string().parse().unwrap()));
        seen_by(&mut one, &mut client, to_one);
        client.has_failed = true;
        client.resolve().unwrap();
        assert!(client.open.is_none());
    }

    #[test]
    fn a_machine_without_ipv6_is_known_by_its_errors() {
        assert!(is_lack_of_v6(&nix::errno::Errno::EAFNOSUPPORT.into()));
        assert!(!is_lack_of_v6(&ErrorKind::AddrInUse.into()));
    }
}
