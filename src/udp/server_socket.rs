//! The server's socket.

use std::io;
use std::net::SocketAddr;

use mio::{Registry, Token};

use super::datagram::{ReceivedDatagram, Stamping, TransmitStamp};
use super::platform::ReceiveBatch;
use super::resolver::Resolver;
use super::server_name::ServerName;
use super::socket::DatagramSocket;
use super::timestamp_source::TimestampSource;
use super::transport::Transport;
use meantime_core::roles::rank::Rank;
use meantime_core::{Path, Transmit};

/// A server has one socket. It answers from the address that the request was sent to. A server that is also
/// a client of others, as a relay is, and one of several servers, reaches them through the same socket.
#[derive(Debug)]
pub struct ServerSocket {
    udp: DatagramSocket,
    /// Finds the servers that this one is a client of.
    others: Option<Resolver>,
}

impl ServerSocket {
    /// Listens on `address`. `[::]` serves both families, and IPv4 alone where there is no IPv6.
    ///
    /// # Errors
    /// When the address is in use, or is not one of this machine.
    pub fn bind(address: SocketAddr) -> io::Result<ServerSocket> {
        let udp = match DatagramSocket::bound(address) {
            Err(error) if is_unspecified_v6(address) && means_no_ipv6(&error) => {
                log::info!("no IPv6 on this machine ({error}): serving IPv4 only");
                DatagramSocket::bound(SocketAddr::from(([0, 0, 0, 0], address.port())))?
            }
            result => result?,
        };
        Ok(ServerSocket { udp, others: None })
    }

    /// The socket of a server that is also a client of the servers that `others` finds.
    ///
    /// # Errors
    /// With the first server of which the socket cannot reach any of the addresses that were found.
    pub fn with_others(self, mut others: Resolver) -> Result<ServerSocket, ServerName> {
        others.limit_to(self.udp.reachable())?;
        Ok(ServerSocket { others: Some(others), ..self })
    }

    /// Requests timestamps; if the kernel has none, the log says why.
    #[must_use]
    pub fn with_timestamps(mut self, stamping: Stamping) -> ServerSocket {
        self.udp.try_timestamps(stamping);
        self
    }

    /// The address that it listens on, with the port that the system has chosen if none was.
    ///
    /// # Errors
    /// The system's.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.udp.local_address()
    }
}

impl Transport for ServerSocket {
    fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        self.others.as_mut().map_or(Ok(()), |others| others.register(registry, token))?;
        self.udp.register(registry, token)
    }

    fn receive(&mut self, batch: &mut ReceiveBatch) -> io::Result<()> {
        self.udp.receive(batch)
    }

    fn take_lost(&mut self) -> u32 {
        self.udp.take_lost()
    }

    fn path(&self, received: &ReceivedDatagram<'_>) -> Option<Path> {
        self.udp.path(received)
    }

    fn send(&mut self, _registry: &Registry, transmits: &[Transmit]) -> io::Result<usize> {
        self.udp.send(transmits)
    }

    fn take_transmit_timestamps(&mut self, report: &mut dyn FnMut(TransmitStamp)) -> io::Result<bool> {
        self.udp.take_transmit_timestamps(report)
    }

    fn timestamp_source(&self) -> TimestampSource {
        self.udp.timestamp_source()
    }

    fn resolve(&mut self, server: Rank) {
        self.others.iter_mut().for_each(|others| others.resolve(server));
    }

    fn take_resolved(&mut self) -> Option<(Rank, io::Result<SocketAddr>)> {
        let (server, found) = self.others.as_mut()?.take()?;
        Some((server, found.map_err(io::Error::from)))
    }
}

fn is_unspecified_v6(address: SocketAddr) -> bool {
    address.is_ipv6() && address.ip().is_unspecified()
}

/// The errors by which systems report that they have no IPv6: built without, switched off, or without any
/// address.
fn means_no_ipv6(error: &io::Error) -> bool {
    use nix::errno::Errno;
    let lacks = [Errno::EAFNOSUPPORT, Errno::EADDRNOTAVAIL, Errno::ENOPROTOOPT, Errno::EPROTONOSUPPORT];
    error.raw_os_error().is_some_and(|raw| lacks.contains(&Errno::from_raw(raw)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_without_ipv6_is_recognized_by_its_errors() {
        assert!(means_no_ipv6(&nix::errno::Errno::EAFNOSUPPORT.into()));
        assert!(!means_no_ipv6(&io::ErrorKind::AddrInUse.into()));
    }
}
