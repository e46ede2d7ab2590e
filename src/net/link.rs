//! How a node's datagrams reach the network: by a server's listening socket, or by a client's connected one.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;

use mio::{Registry, Token};

use super::resolver::Resolver;
use super::sockets::{Udp, control_buffer};
use crate::berkeley::{Path, Transmit};

/// A node's way to the network.
pub trait Link {
    /// Joins the event loop: readiness is reported under `token`.
    ///
    /// # Errors
    /// When the system refuses.
    fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()>;

    /// The next datagram and the path it came along. Bytes beyond the buffer's length are cut off.
    ///
    /// # Errors
    /// `WouldBlock` when there is none; anything else concerns one datagram only.
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<(usize, Path)>;

    /// Sends a datagram.
    ///
    /// # Errors
    /// When this datagram could not be sent; the next may well be.
    fn send(&mut self, registry: &Registry, transmit: &Transmit) -> io::Result<()>;

    /// Looks the server up; only a client has one.
    ///
    /// # Errors
    /// When it cannot be found out.
    fn resolve(&mut self) -> io::Result<SocketAddr>;
}

/// The server's one socket. It answers from the address that was asked.
#[derive(Debug)]
pub struct Listener {
    udp: Udp,
    control: Vec<u8>,
}

impl Listener {
    /// Listens on `address`. `[::]` serves both families, and IPv4 alone where there is no IPv6.
    ///
    /// # Errors
    /// When the address cannot be had.
    pub fn bind(address: SocketAddr) -> io::Result<Listener> {
        let udp = match Udp::bound(address) {
            Err(error) if is_any_v6(address) && is_lack_of_v6(&error) => {
                log::info!("no IPv6 on this machine ({error}): serving IPv4 only");
                Udp::bound(SocketAddr::from(([0, 0, 0, 0], address.port())))?
            }
            result => result?,
        };
        Ok(Listener { udp, control: control_buffer() })
    }

    /// Where it listens, the port being the real one.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.udp.local_address()
    }
}

impl Link for Listener {
    fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        self.udp.register(registry, token)
    }

    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<(usize, Path)> {
        self.udp.receive_from(buffer, &mut self.control)
    }

    fn send(&mut self, _registry: &Registry, transmit: &Transmit) -> io::Result<()> {
        self.udp.send_to(transmit)
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
pub struct Connection {
    resolver: Resolver,
    token: Option<Token>,
    open: Option<(SocketAddr, Udp)>,
    has_failed: bool,
}

impl Connection {
    /// A connection, not made yet, to the server that the resolver finds.
    pub fn new(resolver: Resolver) -> Connection {
        Connection { resolver, token: None, open: None, has_failed: false }
    }

    /// The socket connected to `peer`.
    fn open(&mut self, registry: &Registry, peer: SocketAddr) -> io::Result<&Udp> {
        if self.open.as_ref().is_some_and(|(to, _)| *to != peer) {
            // Closing a socket takes it out of the event loop.
            self.open = None;
        }
        if self.open.is_none() {
            let udp = Udp::connected(peer)?;
            if let Some(token) = self.token {
                udp.register(registry, token)?;
            }
            self.open = Some((peer, udp));
        }
        self.open.as_ref().map(|(_, udp)| udp).ok_or_else(|| ErrorKind::NotConnected.into())
    }
}

impl Link for Connection {
    fn register(&mut self, _registry: &Registry, token: Token) -> io::Result<()> {
        self.token = Some(token);
        Ok(())
    }

    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<(usize, Path)> {
        let Some((peer, udp)) = &self.open else {
            return Err(ErrorKind::WouldBlock.into());
        };
        let length = udp.receive(buffer)?;
        Ok((length, Path { peer: *peer, local: None }))
    }

    fn send(&mut self, registry: &Registry, transmit: &Transmit) -> io::Result<()> {
        let result = self.open(registry, transmit.path.peer)?.send(&transmit.datagram);
        if let Err(error) = &result {
            // Nobody there, or a full buffer, is no fault of the socket's.
            self.has_failed |= !matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::WouldBlock);
            if is_lost_address(error) {
                self.open = None;
            }
        }
        result
    }

    fn resolve(&mut self) -> io::Result<SocketAddr> {
        if std::mem::take(&mut self.has_failed) {
            self.open = None;
        }
        self.resolver.next()
    }
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
    use crate::berkeley::Path;
    use crate::wire::DATAGRAM_LEN;

    fn listener() -> (Udp, Path) {
        let udp = Udp::bound("127.0.0.1:0".parse().unwrap()).unwrap();
        let peer = udp.local_address().unwrap();
        (udp, Path { peer, local: None })
    }

    /// Sends to `path`, and returns the client's address as `server` sees it.
    fn seen_by(server: &Udp, client: &mut Connection, path: Path) -> SocketAddr {
        let poll = mio::Poll::new().unwrap();
        client.send(poll.registry(), &Transmit { path, datagram: [1; DATAGRAM_LEN], stamp: None }).unwrap();
        for _ in 0..400 {
            match server.receive_from(&mut [0; DATAGRAM_LEN], &mut control_buffer()) {
                Ok((_, path)) => return path.peer,
                Err(_) => std::thread::sleep(std::time::Duration::from_millis(5)),
            }
        }
        panic!("nothing came within two seconds");
    }

    #[test]
    fn the_socket_is_kept_for_the_same_server_and_made_anew_for_another() {
        let ((one, to_one), (two, to_two)) = (listener(), listener());
        let mut client = Connection::new(Resolver::new(to_one.peer.to_string().parse().unwrap()));
        let first = seen_by(&one, &mut client, to_one);
        client.resolve().unwrap();
        assert_eq!(seen_by(&one, &mut client, to_one), first);
        seen_by(&two, &mut client, to_two);
        assert_eq!(client.open.as_ref().map(|(to, _)| *to), Some(to_two.peer));
    }

    #[test]
    fn after_a_failure_the_next_try_has_a_new_socket() {
        let (one, to_one) = listener();
        let mut client = Connection::new(Resolver::new(to_one.peer.to_string().parse().unwrap()));
        seen_by(&one, &mut client, to_one);
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
