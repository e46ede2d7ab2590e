//! How a node's datagrams reach the network: by a server's listening socket, or by a client's connected one.

use std::io;
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
        Err(io::Error::new(io::ErrorKind::Unsupported, "a server looks nobody up"))
    }
}

/// The client's socket: connected, so that the system drops what others send. Made anew when the server's
/// address changes, or when our own address that it is bound to has gone.
#[derive(Debug)]
pub struct Connection {
    resolver: Resolver,
    token: Option<Token>,
    open: Option<(SocketAddr, Udp)>,
}

impl Connection {
    /// A connection, not made yet, to the server that the resolver finds.
    pub fn new(resolver: Resolver) -> Connection {
        Connection { resolver, token: None, open: None }
    }

    fn close(&mut self, registry: &Registry) {
        if let Some((_, udp)) = self.open.take() {
            // Closing the socket ends the registration in any case.
            let _ = udp.deregister(registry);
        }
    }

    /// The socket connected to `peer`.
    fn open(&mut self, registry: &Registry, peer: SocketAddr) -> io::Result<&Udp> {
        if self.open.as_ref().is_some_and(|(to, _)| *to != peer) {
            self.close(registry);
        }
        if self.open.is_none() {
            let udp = Udp::connected(peer)?;
            if let Some(token) = self.token {
                udp.register(registry, token)?;
            }
            self.open = Some((peer, udp));
        }
        self.open.as_ref().map(|(_, udp)| udp).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl Link for Connection {
    fn register(&mut self, _registry: &Registry, token: Token) -> io::Result<()> {
        self.token = Some(token);
        Ok(())
    }

    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<(usize, Path)> {
        let Some((peer, udp)) = &self.open else {
            return Err(io::ErrorKind::WouldBlock.into());
        };
        let length = udp.receive(buffer)?;
        Ok((length, Path { peer: *peer, local: None }))
    }

    fn send(&mut self, registry: &Registry, transmit: &Transmit) -> io::Result<()> {
        let result = self.open(registry, transmit.path.peer)?.send(&transmit.datagram);
        if result.as_ref().is_err_and(is_lost_address) {
            self.close(registry);
        }
        result
    }

    fn resolve(&mut self) -> io::Result<SocketAddr> {
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

/// How Linux says that the local address of a connected socket has gone from this machine.
fn is_lost_address(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::AddrNotAvailable)
}
