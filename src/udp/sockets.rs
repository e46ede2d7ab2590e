//! UDP sockets as the links need them: which of our addresses a datagram came to, and went from.
//!
//! On an IPv6 socket that serves both families, IPv4 addresses look like `::ffff:192.0.2.1`. Outside this
//! module they never do: a [`Path`] has plain IPv4 addresses, and is translated back when it is sent on.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd};

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Protocol, Type};

use super::batch::{ReceiveBatch, ReceivedDatagram, SendBatch};
use super::kernel::{self, TransmitTimestamps};
use meantime_core::time::Timestamp;
use meantime_core::{Path, StampId, Transmit};

/// A nonblocking UDP socket.
#[derive(Debug)]
#[expect(clippy::disallowed_types, reason = "the one place that owns sockets")]
pub struct DatagramSocket {
    socket: socket2::Socket,
    is_v6: bool,
    /// The one other side, of a connected socket.
    peer: Option<SocketAddr>,
    /// The one address of ours, of a socket that is bound to one: what it sends leaves from there anyway.
    local: Option<IpAddr>,
    departing: SendBatch,
    departures: Option<TransmitTimestamps>,
    /// How many datagrams it has lost because its buffer was full, by the system's count; and when that was
    /// asked last.
    lost: u32,
    lost_before: u32,
}

#[expect(clippy::disallowed_types, reason = "the one place that owns sockets")]
impl DatagramSocket {
    fn new(is_v6: bool) -> io::Result<DatagramSocket> {
        let domain = if is_v6 { Domain::IPV6 } else { Domain::IPV4 };
        let socket = socket2::Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_nonblocking(true)?;
        // Not to be told of losses is no reason to do without the network.
        let _ = kernel::count_lost(&socket);
        Ok(DatagramSocket {
            socket,
            is_v6,
            peer: None,
            local: None,
            departing: SendBatch::new(),
            departures: None,
            lost: 0,
            lost_before: 0,
        })
    }

    /// A socket bound to `address`; `[::]` serves both families.
    pub fn bound(address: SocketAddr) -> io::Result<DatagramSocket> {
        let mut udp = DatagramSocket::new(address.is_ipv6())?;
        udp.local = Some(address.ip().to_canonical()).filter(is_one);
        if udp.is_v6 {
            udp.socket.set_only_v6(false)?;
        }
        match (udp.local, udp.is_v6) {
            (Some(_), _) => {}
            (None, true) => setsockopt(&udp.socket, sockopt::Ipv6RecvPacketInfo, &true)?,
            (None, false) => setsockopt(&udp.socket, sockopt::Ipv4PacketInfo, &true)?,
        }
        kernel::enlarge_buffers(&udp.socket, RECEIVE_BUFFER, SEND_BUFFER);
        udp.socket.bind(&address.into())?;
        Ok(udp)
    }

    /// A socket that talks to `peer` only.
    pub fn connected(peer: SocketAddr) -> io::Result<DatagramSocket> {
        let udp = DatagramSocket::new(peer.is_ipv6())?;
        udp.socket.connect(&peer.into())?;
        Ok(DatagramSocket { peer: Some(peer), ..udp })
    }

    /// Asks for the kernel's timestamps.
    ///
    /// # Errors
    /// When there are none.
    pub fn request_stamps(&mut self) -> io::Result<()> {
        self.departures = Some(TransmitTimestamps::request(&self.socket)?);
        Ok(())
    }

    /// Whether the kernel has granted its timestamps.
    pub fn is_stamped(&self) -> bool {
        self.departures.is_some()
    }

    /// Where it is bound.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.socket
            .local_addr()?
            .as_socket()
            .ok_or_else(|| io::Error::other("a UDP socket without an address"))
    }

    /// Makes the poll report this socket under `token`.
    pub fn register(&self, registry: &Registry, token: Token) -> io::Result<()> {
        registry.register(&mut SourceFd(&self.socket.as_raw_fd()), token, Interest::READABLE)
    }

    /// Takes in what has come, up to a batch.
    ///
    /// # Errors
    /// `WouldBlock` when there is nothing; anything else concerns one datagram only.
    pub fn receive(&mut self, arrivals: &mut ReceiveBatch) -> io::Result<()> {
        arrivals.receive(self.socket.as_fd(), ONE_IS_ENOUGH)?;
        let newest = arrivals.len().checked_sub(1).and_then(|last| arrivals.get(last).lost);
        self.lost = newest.unwrap_or(self.lost);
        Ok(())
    }

    /// How many datagrams have been lost since this was asked last, as the receive buffer was full.
    pub fn lost(&mut self) -> u32 {
        let before = std::mem::replace(&mut self.lost_before, self.lost);
        self.lost.wrapping_sub(before)
    }

    /// The path that a datagram has come along; `None` if that cannot be known.
    pub fn path(&self, received: &ReceivedDatagram<'_>) -> Option<Path> {
        if let Some(peer) = self.peer {
            return Some(Path { peer, local: None });
        }
        let local = self.local.or(received.local).filter(|local| !local.is_multicast());
        received.peer.map(|peer| Path { peer: canonical(peer), local })
    }

    /// Sends datagrams, each along its path, no more than a batch. Returns how many of the first were sent.
    ///
    /// # Errors
    /// When the first could not be sent.
    pub fn send(&mut self, transmits: &[Transmit]) -> io::Result<usize> {
        let stamping = self.departures.is_some();
        let mut asked = 0;
        for transmit in transmits {
            let Path { peer, local } = transmit.path;
            let to = if self.peer.is_some() { None } else { Some(addressed(peer, self.is_v6)) };
            let beside = SendMetadata {
                is_v6: self.is_v6,
                peer,
                local: local.filter(|_| local != self.local),
                stamped: stamping && transmit.stamp.is_some(),
            };
            if !self.departing.add(&transmit.datagram, to, &beside) {
                break;
            }
            asked += 1;
        }
        let sent = self.departing.send(self.socket.as_fd());
        self.count(&transmits[..asked], *sent.as_ref().unwrap_or(&0))?;
        sent
    }

    /// Says which datagrams have really left when, as far as the error queue tells, up to a batch. False if
    /// there may be more.
    ///
    /// # Errors
    /// `WouldBlock` when there is nothing.
    pub fn departed(&mut self, left: &mut dyn FnMut(StampId, Timestamp)) -> io::Result<bool> {
        match &mut self.departures {
            Some(departures) => departures.next(&self.socket, left),
            None => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    /// Makes the receive buffer as small as the system lets it be.
    #[cfg(test)]
    pub fn shrink_receive_buffer(&self) {
        setsockopt(&self.socket, sockopt::RcvBuf, &0).unwrap();
    }

    /// Sends what a node never would.
    #[cfg(test)]
    pub fn send_bytes(&self, bytes: &[u8]) {
        self.socket.send(bytes).unwrap();
    }

    /// Of datagrams to be stamped, so many were sent; the next, if there is one, has been tried.
    fn count(&mut self, transmits: &[Transmit], sent: usize) -> io::Result<()> {
        let Some(departures) = &mut self.departures else { return Ok(()) };
        transmits[..sent].iter().filter_map(|transmit| transmit.stamp).for_each(|id| departures.sent(id));
        match transmits.get(sent) {
            Some(Transmit { stamp: Some(_), .. }) => departures.failed(&self.socket),
            _ => Ok(()),
        }
    }
}

/// What the system is told beside a datagram that is sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct SendMetadata {
    /// Whether the socket is an IPv6 one.
    pub is_v6: bool,
    /// Where the datagram goes.
    pub peer: SocketAddr,
    /// The address of ours that it has to leave from, if the system would not choose that by itself.
    pub local: Option<IpAddr>,
    /// Whether the kernel is to tell when it has left.
    pub stamped: bool,
}

/// The address and interface that make an IPv6 socket send from `local`.
pub(super) fn v6_source(local: IpAddr, peer: SocketAddr) -> (Ipv6Addr, u32) {
    let local = match local {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    };
    let interface = match peer {
        // A link-local address says nothing without its link.
        SocketAddr::V6(peer) if local.is_unicast_link_local() => peer.scope_id(),
        _ => 0,
    };
    (local, interface)
}

/// The address as a socket of this family writes it.
fn addressed(peer: SocketAddr, is_v6: bool) -> SocketAddr {
    match peer {
        SocketAddr::V4(v4) if is_v6 => SocketAddrV6::new(v4.ip().to_ipv6_mapped(), v4.port(), 0, 0).into(),
        other => other,
    }
}

/// Whether this is the address of one machine.
fn is_one(address: &IpAddr) -> bool {
    !address.is_unspecified() && !address.is_multicast() && *address != IpAddr::V4(Ipv4Addr::BROADCAST)
}

/// Whether the kernel takes timestamps at all.
///
/// # Errors
/// Why not.
pub fn require_kernel_timestamps() -> io::Result<()> {
    DatagramSocket::new(false).or_else(|_| DatagramSocket::new(true))?.request_stamps()
}

/// The address with IPv4 written as IPv4.
pub(super) fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        ip @ IpAddr::V4(_) => SocketAddr::new(ip, address.port()),
        IpAddr::V6(_) => address,
    }
}

/// Not to wait for a whole batch.
#[cfg(any(target_os = "linux", target_os = "android"))]
const ONE_IS_ENOUGH: nix::libc::c_int = nix::libc::MSG_WAITFORONE;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const ONE_IS_ENOUGH: nix::libc::c_int = 0;
/// Room for 20,000 reports, should the program be kept from its work for a moment: each takes less than a
/// kilobyte of the system's accounting. Without the privilege to have so much, the system grants what it
/// grants to everybody.
const RECEIVE_BUFFER: usize = 16 << 20;
/// Probes and corrections are paced; this is for many at once all the same.
const SEND_BUFFER: usize = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::udp::not_run;

    /// Sends a datagram to `to` and returns the path on which the server of `listen` saw it, after the
    /// answer along that path was received by the connected client.
    fn round_trip(listen: &str, to: &str) -> Path {
        let mut server = DatagramSocket::bound(format!("{listen}:0").parse().unwrap()).unwrap();
        let port = server.local_address().unwrap().port();
        let mut client = DatagramSocket::connected(format!("{to}:{port}").parse().unwrap()).unwrap();
        for udp in [&server, &client] {
            udp.socket.set_nonblocking(false).unwrap();
            udp.socket.set_read_timeout(Some(std::time::Duration::from_secs(2))).unwrap();
        }
        let to = Path { peer: server.local_address().unwrap(), local: None };
        client.send(&[Transmit { path: to, datagram: [1; 96], stamp: None }]).unwrap();
        let mut arrivals = ReceiveBatch::new();
        server.receive(&mut arrivals).unwrap();
        let received = arrivals.get(0);
        assert_eq!((arrivals.len(), received.bytes), (1, &[1; 96][..]));
        let path = server.path(&received).unwrap();
        assert_eq!(path.peer, client.local_address().unwrap());
        server.send(&[Transmit { path, datagram: [2; 96], stamp: None }]).unwrap();
        client.receive(&mut arrivals).unwrap();
        assert_eq!(arrivals.get(0).bytes, [2; 96]);
        path
    }

    #[test]
    fn an_answer_leaves_from_the_address_that_was_asked() {
        for (listen, to) in [("0.0.0.0", "127.0.0.2"), ("127.0.0.4", "127.0.0.4")] {
            assert_eq!(round_trip(listen, to).local, Some(to.parse().unwrap()), "{listen} asked at {to}");
        }
    }

    #[test]
    fn one_socket_serves_both_families() {
        if DatagramSocket::bound("[::1]:0".parse().unwrap()).is_err() {
            not_run("this machine has no IPv6");
            return;
        }
        assert_eq!(round_trip("[::]", "127.0.0.3").local, Some("127.0.0.3".parse().unwrap()));
        assert_eq!(round_trip("[::]", "[::1]").local, Some("::1".parse().unwrap()));
    }

    #[test]
    fn ipv4_addresses_are_written_as_ipv4() {
        assert_eq!(canonical("[::ffff:192.0.2.1]:7".parse().unwrap()), "192.0.2.1:7".parse().unwrap());
        let scoped = SocketAddr::from(SocketAddrV6::new("fe80::1".parse().unwrap(), 7, 0, 3));
        assert_eq!(canonical(scoped), scoped);
    }
}
