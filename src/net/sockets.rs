//! UDP sockets as the links need them: which of our addresses a datagram came to, and went from.
//!
//! On an IPv6 socket that serves both families, IPv4 addresses look like `::ffff:192.0.2.1`. Outside this
//! module they never do: a [`Path`] has plain IPv4 addresses, and is translated back when it is sent on.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::os::fd::{AsRawFd, RawFd};

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use nix::libc::{in_addr, in_pktinfo, in6_addr, in6_pktinfo};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, sendmsg, setsockopt, sockopt,
};
use socket2::{Domain, Protocol, Type};

use super::kernel::{Departures, control_buffer, receive_stamp};
use super::link::Received;
use crate::berkeley::{Path, StampId, Transmit};
use crate::time::Timestamp;

/// A nonblocking UDP socket.
#[derive(Debug)]
#[expect(clippy::disallowed_types, reason = "the one place that owns sockets")]
pub(super) struct Udp {
    socket: socket2::Socket,
    is_v6: bool,
    control: Vec<u8>,
    departures: Option<Departures>,
}

#[expect(clippy::disallowed_types, reason = "the one place that owns sockets")]
impl Udp {
    fn new(is_v6: bool) -> io::Result<Udp> {
        let domain = if is_v6 { Domain::IPV6 } else { Domain::IPV4 };
        let socket = socket2::Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_nonblocking(true)?;
        Ok(Udp { socket, is_v6, control: control_buffer(), departures: None })
    }

    /// A socket bound to `address`; `[::]` serves both families.
    pub(super) fn bound(address: SocketAddr) -> io::Result<Udp> {
        let udp = Udp::new(address.is_ipv6())?;
        if udp.is_v6 {
            udp.socket.set_only_v6(false)?;
            setsockopt(&udp.socket, sockopt::Ipv6RecvPacketInfo, &true)?;
        } else {
            setsockopt(&udp.socket, sockopt::Ipv4PacketInfo, &true)?;
        }
        // More is welcome and less will do: the system may grant less.
        let _ = udp.socket.set_recv_buffer_size(RECEIVE_BUFFER);
        udp.socket.bind(&address.into())?;
        Ok(udp)
    }

    /// A socket that talks to `peer` only.
    pub(super) fn connected(peer: SocketAddr) -> io::Result<Udp> {
        let udp = Udp::new(peer.is_ipv6())?;
        udp.socket.connect(&peer.into())?;
        Ok(udp)
    }

    /// Asks for the kernel's timestamps.
    ///
    /// # Errors
    /// When there are none.
    pub(super) fn request_stamps(&mut self) -> io::Result<()> {
        self.departures = Some(Departures::request(&self.socket)?);
        Ok(())
    }

    /// Whether the kernel has granted its timestamps.
    pub(super) fn is_stamped(&self) -> bool {
        self.departures.is_some()
    }

    /// Where it is bound.
    pub(super) fn local_address(&self) -> io::Result<SocketAddr> {
        self.socket
            .local_addr()?
            .as_socket()
            .ok_or_else(|| io::Error::other("a UDP socket without an address"))
    }

    pub(super) fn register(&self, registry: &Registry, token: Token) -> io::Result<()> {
        registry.register(&mut SourceFd(&self.fd()), token, Interest::READABLE)
    }

    /// The next datagram, who sent it, to which of our addresses, and when.
    pub(super) fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Received> {
        let mut slices = [IoSliceMut::new(buffer)];
        let (fd, control) = (self.fd(), Some(&mut self.control[..]));
        let got = recvmsg::<SockaddrStorage>(fd, &mut slices, control, MsgFlags::empty())?;
        let peer = got.address.as_ref().and_then(socket_address);
        let peer = peer.ok_or_else(|| io::Error::other("a datagram without a sender"))?;
        let (mut local, mut stamp) = (None, None);
        for message in got.cmsgs()? {
            stamp = stamp.or(receive_stamp(&message));
            local = local.or(destination(message).filter(|local| !local.is_multicast()));
        }
        Ok(Received { length: got.bytes, path: Path { peer: canonical(peer), local }, stamp })
    }

    /// Sends a datagram along its path.
    pub(super) fn send_to(&mut self, transmit: &Transmit) -> io::Result<()> {
        let peer = SockaddrStorage::from(self.addressed(transmit.path.peer));
        let (v4, v6);
        let from = match transmit.path.local {
            None => None,
            Some(IpAddr::V4(local)) if !self.is_v6 => {
                let address = in_addr { s_addr: u32::from_ne_bytes(local.octets()) };
                v4 = in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: address, ipi_addr: in_addr { s_addr: 0 } };
                Some(ControlMessage::Ipv4PacketInfo(&v4))
            }
            Some(local) => {
                v6 = v6_source(local, transmit.path.peer);
                Some(ControlMessage::Ipv6PacketInfo(&v6))
            }
        };
        let slices = [IoSlice::new(&transmit.datagram)];
        let sent = sendmsg(self.fd(), &slices, from.as_slice(), MsgFlags::empty(), Some(&peer));
        self.count(sent.map(|_| ()).map_err(io::Error::from), transmit.stamp)
    }

    /// Sends a datagram to the connected peer.
    pub(super) fn send(&mut self, datagram: &[u8], stamp: Option<StampId>) -> io::Result<()> {
        let sent = self.socket.send(datagram).map(|_| ());
        self.count(sent, stamp)
    }

    /// Which datagram really left when, or `None` if something else stands next in the error queue.
    ///
    /// # Errors
    /// `WouldBlock` when there is nothing.
    pub(super) fn departed(&mut self) -> io::Result<Option<(StampId, Timestamp)>> {
        match &mut self.departures {
            Some(departures) => departures.next(&self.socket),
            None => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn count(&mut self, sent: io::Result<()>, stamp: Option<StampId>) -> io::Result<()> {
        match (&mut self.departures, &sent) {
            (None, _) => {}
            (Some(departures), Ok(())) => departures.sent(stamp),
            (Some(departures), Err(_)) => departures.failed(&self.socket)?,
        }
        sent
    }

    /// The address as this socket's family writes it.
    fn addressed(&self, peer: SocketAddr) -> SocketAddr {
        match peer {
            SocketAddr::V4(v4) if self.is_v6 => {
                SocketAddrV6::new(v4.ip().to_ipv6_mapped(), v4.port(), 0, 0).into()
            }
            other => other,
        }
    }

    fn fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

/// Whether the kernel takes timestamps at all.
///
/// # Errors
/// Why not.
pub fn require_kernel_timestamps() -> io::Result<()> {
    Udp::new(false).or_else(|_| Udp::new(true))?.request_stamps()
}

/// The address with IPv4 written as IPv4.
pub(super) fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        ip @ IpAddr::V4(_) => SocketAddr::new(ip, address.port()),
        IpAddr::V6(_) => address,
    }
}

fn socket_address(storage: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = storage.as_sockaddr_in().map(|v4| SocketAddr::from(*v4));
    v4.or_else(|| storage.as_sockaddr_in6().map(|v6| SocketAddr::from(*v6)))
}

/// Which of our addresses the datagram was sent to.
fn destination(message: ControlMessageOwned) -> Option<IpAddr> {
    match message {
        // The specific destination: for a broadcast the address of the interface, which can answer.
        ControlMessageOwned::Ipv4PacketInfo(info) => {
            Some(IpAddr::from(info.ipi_spec_dst.s_addr.to_ne_bytes()))
        }
        ControlMessageOwned::Ipv6PacketInfo(info) => {
            Some(IpAddr::from(info.ipi6_addr.s6_addr).to_canonical())
        }
        _ => None,
    }
}

/// The control message that makes an IPv6 socket send from `local`.
fn v6_source(local: IpAddr, peer: SocketAddr) -> in6_pktinfo {
    let local = match local {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    };
    let interface = match peer {
        // A link-local address says nothing without its link.
        SocketAddr::V6(peer) if local.is_unicast_link_local() => peer.scope_id(),
        _ => 0,
    };
    in6_pktinfo { ipi6_addr: in6_addr { s6_addr: local.octets() }, ipi6_ifindex: interface as _ }
}

/// Reports of ten thousand members, should they all come at once: each takes less than a kilobyte of
/// the system's accounting, and most systems grant some hundred kilobytes.
const RECEIVE_BUFFER: usize = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::not_run;

    /// Sends a datagram to `to` and returns the path on which the server of `listen` saw it, after the
    /// answer along that path was received by the connected client.
    fn round_trip(listen: &str, to: &str) -> Path {
        let mut server = Udp::bound(format!("{listen}:0").parse().unwrap()).unwrap();
        let port = server.local_address().unwrap().port();
        let mut client = Udp::connected(format!("{to}:{port}").parse().unwrap()).unwrap();
        for udp in [&server, &client] {
            udp.socket.set_nonblocking(false).unwrap();
            udp.socket.set_read_timeout(Some(std::time::Duration::from_secs(2))).unwrap();
        }
        client.send(&[1; 96], None).unwrap();
        let mut buffer = [0; 128];
        let Received { length, path, .. } = server.receive(&mut buffer).unwrap();
        assert_eq!(length, 96);
        assert_eq!(path.peer, client.local_address().unwrap());
        server.send_to(&Transmit { path, datagram: [2; 96], stamp: None }).unwrap();
        assert_eq!(client.receive(&mut buffer).unwrap().length, 96);
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
        if Udp::bound("[::1]:0".parse().unwrap()).is_err() {
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
