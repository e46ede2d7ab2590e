//! A UDP socket that knows the paths of its datagrams: the peer, and the local address.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd};

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Protocol, Type};

use super::address::{AddressFamilies, Family, canonical, is_unicast};
use super::datagram::{ReceivedDatagram, SendMetadata, Stamping, TransmitStamp};
use super::platform::{self, ReceiveBatch, SendBatch, TransmitTimestamps, WAIT_FOR_ONE};
use super::timestamp_source::TimestampSource;
use meantime_core::{Path, Transmit};

/// A nonblocking UDP socket.
#[derive(Debug)]
#[expect(clippy::disallowed_types, reason = "the one place that owns UDP sockets")]
pub struct DatagramSocket {
    socket: socket2::Socket,
    family: Family,
    /// The peer of a connected socket.
    peer: Option<SocketAddr>,
    /// The local address of a socket that is bound to a single one; everything that it sends leaves from
    /// there.
    local: Option<IpAddr>,
    send_batch: SendBatch,
    /// `None` without kernel timestamps.
    transmit_timestamps: Option<TransmitTimestamps>,
    /// How many datagrams it has lost because its buffer was full, by the system's count.
    lost: u32,
    /// How many of those [`take_lost`](DatagramSocket::take_lost) has reported.
    lost_reported: u32,
}

#[expect(clippy::disallowed_types, reason = "the one place that owns UDP sockets")]
impl DatagramSocket {
    fn new(family: Family) -> io::Result<DatagramSocket> {
        let domain = match family {
            Family::V4 => Domain::IPV4,
            Family::V6 => Domain::IPV6,
        };
        let socket = socket2::Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_nonblocking(true)?;
        // The socket works without the count of lost datagrams.
        let _ = platform::count_lost(&socket);
        Ok(DatagramSocket {
            socket,
            family,
            peer: None,
            local: None,
            send_batch: SendBatch::new(),
            transmit_timestamps: None,
            lost: 0,
            lost_reported: 0,
        })
    }

    /// A socket bound to `address`; `[::]` serves both families.
    ///
    /// # Errors
    /// The system's.
    pub fn bound(address: SocketAddr) -> io::Result<DatagramSocket> {
        let mut udp = DatagramSocket::new(Family::of(address))?;
        udp.local = Some(address.ip().to_canonical()).filter(is_unicast);
        if udp.family == Family::V6 {
            udp.socket.set_only_v6(false)?;
        }
        if udp.local.is_none() {
            udp.request_packet_info()?;
        }
        platform::enlarge_buffers(&udp.socket, RECEIVE_BUFFER, SEND_BUFFER);
        udp.socket.bind(&address.into())?;
        Ok(udp)
    }

    /// A socket connected to `peer`: the system drops what other addresses send.
    ///
    /// # Errors
    /// The system's.
    pub fn connected(peer: SocketAddr) -> io::Result<DatagramSocket> {
        let udp = DatagramSocket::new(Family::of(peer))?;
        udp.socket.connect(&peer.into())?;
        Ok(DatagramSocket { peer: Some(peer), ..udp })
    }

    /// Requests timestamps.
    ///
    /// # Errors
    /// When there are none.
    pub fn request_timestamps(&mut self, stamping: Stamping) -> io::Result<()> {
        if stamping == Stamping::Hardware {
            // Which card a datagram has passed.
            self.request_packet_info()?;
        }
        self.transmit_timestamps = Some(TransmitTimestamps::request(&self.socket, stamping)?);
        Ok(())
    }

    /// Requests the local address and the interface of each datagram.
    fn request_packet_info(&self) -> nix::Result<()> {
        match self.family {
            Family::V6 => setsockopt(&self.socket, sockopt::Ipv6RecvPacketInfo, &true),
            Family::V4 => setsockopt(&self.socket, sockopt::Ipv4PacketInfo, &true),
        }
    }

    /// Whether the kernel has granted its timestamps.
    pub fn has_kernel_timestamps(&self) -> bool {
        self.transmit_timestamps.is_some()
    }

    /// Requests timestamps; true if the kernel grants at least its own, else the log says why not.
    pub(super) fn try_timestamps(&mut self, stamping: Stamping) -> bool {
        let granted = self.request_timestamps(stamping).or_else(|error| match stamping {
            Stamping::Kernel => Err(error),
            Stamping::Hardware => {
                log::warn!("timestamps: no network card's; the kernel refuses them: {error}");
                self.request_timestamps(Stamping::Kernel)
            }
        });
        if let Err(error) = &granted {
            log::warn!("timestamps: user; the kernel refuses its own: {error}");
        }
        granted.is_ok()
    }

    /// Which timestamps this socket has.
    pub(super) fn timestamp_source(&self) -> TimestampSource {
        if self.has_kernel_timestamps() { TimestampSource::Kernel } else { TimestampSource::User }
    }

    /// The local address and port.
    ///
    /// # Errors
    /// The system's.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.socket
            .local_addr()?
            .as_socket()
            .ok_or_else(|| io::Error::other("a UDP socket without an address"))
    }

    /// To which addresses datagrams can be sent.
    pub(super) fn reachable(&self) -> AddressFamilies {
        match self.family {
            Family::V4 => AddressFamilies::V4,
            // One that is bound to a single address has no IPv4 address to send from.
            Family::V6 if self.local.is_some() => AddressFamilies::V6,
            Family::V6 => AddressFamilies::Both,
        }
    }

    /// Makes the poll report this socket under `token`.
    ///
    /// # Errors
    /// The system's.
    pub fn register(&self, registry: &Registry, token: Token) -> io::Result<()> {
        registry.register(&mut SourceFd(&self.socket.as_raw_fd()), token, Interest::READABLE)
    }

    /// Receives up to a batch of datagrams.
    ///
    /// # Errors
    /// `WouldBlock` when there are none; anything else concerns one datagram only.
    pub fn receive(&mut self, batch: &mut ReceiveBatch) -> io::Result<()> {
        batch.receive(self.socket.as_fd(), WAIT_FOR_ONE)?;
        let newest = batch.len().checked_sub(1).and_then(|last| batch.get(last).lost);
        self.lost = newest.unwrap_or(self.lost);
        Ok(())
    }

    /// How many datagrams have been lost since the last call because the receive buffer was full.
    pub fn take_lost(&mut self) -> u32 {
        let before = std::mem::replace(&mut self.lost_reported, self.lost);
        self.lost.wrapping_sub(before)
    }

    /// The path of a datagram that was received; `None` if it is unknown.
    pub fn path(&self, received: &ReceivedDatagram<'_>) -> Option<Path> {
        if let Some(peer) = self.peer {
            return Some(Path { peer, local: None });
        }
        let local = self.local.or(received.local).filter(|local| !local.is_multicast());
        received.peer.map(|peer| Path { peer: canonical(peer), local })
    }

    /// Sends datagrams, each along its path, at most a batch. Returns how many were sent, from the first one
    /// on.
    ///
    /// # Errors
    /// When the first could not be sent.
    pub fn send(&mut self, transmits: &[Transmit]) -> io::Result<usize> {
        let stamping = self.transmit_timestamps.as_ref().map(TransmitTimestamps::stamping);
        let mut added = 0;
        for transmit in transmits {
            let Path { peer, local } = transmit.path;
            let to = if self.peer.is_some() { None } else { Some(self.family.address_of(peer)) };
            let metadata = SendMetadata {
                family: self.family,
                peer,
                local: local.filter(|_| local != self.local),
                stamping: stamping.filter(|_| transmit.stamp.is_some()),
            };
            if !self.send_batch.add(&transmit.datagram, to, &metadata) {
                break;
            }
            added += 1;
        }
        let sent = self.send_batch.send(self.socket.as_fd());
        self.count_timestamps(&transmits[..added], *sent.as_ref().unwrap_or(&0))?;
        sent
    }

    /// Reports up to a batch of transmit timestamps: which datagram left when. False if there may be more.
    ///
    /// # Errors
    /// `WouldBlock` when there are none.
    pub fn take_transmit_timestamps(&mut self, report: &mut dyn FnMut(TransmitStamp)) -> io::Result<bool> {
        match &mut self.transmit_timestamps {
            Some(timestamps) => timestamps.take(&self.socket, report),
            None => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    /// Makes the receive buffer as small as the system lets it be.
    #[cfg(test)]
    pub fn shrink_receive_buffer(&self) {
        setsockopt(&self.socket, sockopt::RcvBuf, &0).unwrap();
    }

    /// Sends bytes of any length, which a node does not.
    #[cfg(test)]
    pub fn send_bytes(&self, bytes: &[u8]) {
        self.socket.send(bytes).unwrap();
    }

    /// Counts along with the kernel: the first `sent` datagrams were sent; the next one, if any, could not
    /// be.
    fn count_timestamps(&mut self, transmits: &[Transmit], sent: usize) -> io::Result<()> {
        let Some(timestamps) = &mut self.transmit_timestamps else { return Ok(()) };
        transmits[..sent].iter().filter_map(|transmit| transmit.stamp).for_each(|id| timestamps.sent(id));
        match transmits.get(sent) {
            Some(Transmit { stamp: Some(_), .. }) => timestamps.failed(&self.socket),
            _ => Ok(()),
        }
    }
}

/// Checks that the kernel records timestamps.
///
/// # Errors
/// When it does not, the system's error.
pub fn require_kernel_timestamps() -> io::Result<()> {
    DatagramSocket::new(Family::V4)
        .or_else(|_| DatagramSocket::new(Family::V6))?
        .request_timestamps(Stamping::Kernel)
}

/// The local address from which this machine would send to `peer` now.
///
/// # Errors
/// When there is no route.
pub(super) fn local_address_towards(peer: SocketAddr) -> io::Result<IpAddr> {
    Ok(DatagramSocket::connected(peer)?.local_address()?.ip().to_canonical())
}

/// Room for 20,000 reports while the program is not scheduled: each takes less than a kilobyte by the
/// system's accounting. Without the privilege for so much, the system grants its own limit.
const RECEIVE_BUFFER: usize = 16 << 20;
/// Probes and corrections are paced; this is for bursts all the same.
const SEND_BUFFER: usize = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::udp::not_run;

    /// Sends a datagram to `to` and returns its path as the server at `listen` sees it, after the client has
    /// received the answer along that path.
    fn round_trip(listen: &str, to: &str) -> Path {
        let mut server = DatagramSocket::bound(format!("{listen}:0").parse().unwrap()).unwrap();
        let port = server.local_address().unwrap().port();
        let mut client = DatagramSocket::connected(format!("{to}:{port}").parse().unwrap()).unwrap();
        for udp in [&server, &client] {
            udp.socket.set_nonblocking(false).unwrap();
            udp.socket.set_read_timeout(Some(std::time::Duration::from_secs(60))).unwrap();
        }
        let to = Path { peer: server.local_address().unwrap(), local: None };
        client.send(&[Transmit { path: to, datagram: [1; 96], stamp: None }]).unwrap();
        let mut batch = ReceiveBatch::new();
        server.receive(&mut batch).unwrap();
        let received = batch.get(0);
        assert_eq!((batch.len(), received.bytes), (1, &[1; 96][..]));
        let path = server.path(&received).unwrap();
        assert_eq!(path.peer, client.local_address().unwrap());
        server.send(&[Transmit { path, datagram: [2; 96], stamp: None }]).unwrap();
        client.receive(&mut batch).unwrap();
        assert_eq!(batch.get(0).bytes, [2; 96]);
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
}
