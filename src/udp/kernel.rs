//! What Linux tells beside a datagram: which of our addresses it came to, when, and how many were lost before
//! it (`SO_TIMESTAMPING`, `IP_PKTINFO`, `SO_RXQ_OVFL`); and when a datagram has left.
//!
//! A receive timestamp comes with its datagram, as a control message. A transmit timestamp is asked for in
//! the same way, by the datagrams whose time of leaving matters, and is put into the socket's error queue,
//! without the datagram but with its number: the kernel counts from zero what is to be stamped. We count
//! along. After such a send has failed nobody knows whether it was counted, so both begin anew.

use std::ffi::c_int;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsFd;

use nix::sys::socket::{TimestampingFlag, setsockopt, sockopt};

use super::ancillary::{add, array, messages};
use super::batch::{ReceiveBatch, ReceivedDatagram};
use super::sockets::{SendMetadata, v6_source};
use meantime_core::StampId;
use meantime_core::time::{Span, Timestamp};

/// The datagrams of a socket whose transmit timestamps are still to come.
#[derive(Debug)]
pub(super) struct TransmitTimestamps {
    /// The number that the kernel gives to the next datagram.
    next: u32,
    waiting: Box<[Option<(u32, StampId)>]>,
    told: ReceiveBatch,
}

impl TransmitTimestamps {
    /// Asks the kernel for the timestamps of a socket.
    ///
    /// # Errors
    /// When it has none.
    pub(super) fn request(socket: &impl AsFd) -> io::Result<TransmitTimestamps> {
        setsockopt(socket, sockopt::Timestamping, &wanted())?;
        Ok(TransmitTimestamps { next: 0, waiting: vec![None; WAITING].into(), told: ReceiveBatch::new() })
    }

    /// A datagram was sent that is to be stamped.
    pub(super) fn sent(&mut self, id: StampId) {
        self.waiting[self.next as usize % WAITING] = Some((self.next, id));
        self.next = self.next.wrapping_add(1);
    }

    /// A datagram that was to be stamped could not be sent: the kernel may have counted it or not. Timestamps of
    /// datagrams sent before are taken for those of later ones then, and found to lie before them.
    ///
    /// # Errors
    /// When the system refuses; it does not.
    pub(super) fn failed(&mut self, socket: &impl AsFd) -> io::Result<()> {
        self.waiting.fill(None);
        self.next = 0;
        setsockopt(socket, sockopt::Timestamping, &(wanted() - TimestampingFlag::SOF_TIMESTAMPING_OPT_ID))?;
        setsockopt(socket, sockopt::Timestamping, &wanted())?;
        Ok(())
    }

    /// Takes a batch from the error queue and says which datagram left when. False if there may be more.
    ///
    /// # Errors
    /// `WouldBlock` when the queue is empty.
    pub(super) fn next(
        &mut self,
        socket: &impl AsFd,
        left: &mut dyn FnMut(StampId, Timestamp),
    ) -> io::Result<bool> {
        self.told.receive(socket.as_fd(), libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT)?;
        for index in 0..self.told.len() {
            let (mut stamp, mut number) = (None, None);
            for (level, kind, data) in messages(self.told.control(index)) {
                match (level, kind) {
                    (libc::SOL_SOCKET, libc::SCM_TIMESTAMPING) => stamp = timestamp(data),
                    (libc::SOL_IP, libc::IP_RECVERR) | (libc::SOL_IPV6, libc::IPV6_RECVERR) => {
                        number = number_of(data);
                    }
                    _ => {}
                }
            }
            let (Some(stamp), Some(number)) = (stamp, number) else { continue };
            let slot = &mut self.waiting[number as usize % WAITING];
            if let Some((_, id)) = slot.take_if(|(sent, _)| *sent == number) {
                left(id, stamp);
            }
        }
        Ok(!self.told.is_full())
    }
}

/// Takes note of what a control message says of a datagram that was received.
pub(super) fn read(level: c_int, kind: c_int, data: &[u8], received: &mut ReceivedDatagram<'_>) {
    match (level, kind) {
        (libc::SOL_SOCKET, libc::SCM_TIMESTAMPING) => received.stamp = timestamp(data),
        (libc::SOL_SOCKET, libc::SO_RXQ_OVFL) => received.lost = array(data, 0).map(u32::from_ne_bytes),
        // The specific destination: for a broadcast the address of the interface, which can answer.
        (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
            received.local = array::<4>(data, 4).map(|octets| Ipv4Addr::from(octets).into());
        }
        (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
            received.local = array::<16>(data, 0).map(|octets| Ipv6Addr::from(octets).to_canonical());
        }
        _ => {}
    }
}

/// Writes the control messages of a datagram that is to be sent. Returns their length.
pub(super) fn write(control: &mut [u8], beside: &SendMetadata) -> usize {
    let used = match beside.local {
        None => 0,
        Some(IpAddr::V4(local)) if !beside.is_v6 => {
            add(control, 0, libc::IPPROTO_IP, libc::IP_PKTINFO, &[&[0; 4], &local.octets(), &[0; 4]])
        }
        Some(local) => {
            let (address, interface) = v6_source(local, beside.peer);
            let data: [&[u8]; 2] = [&address.octets(), &interface.to_ne_bytes()];
            add(control, 0, libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &data)
        }
    };
    if !beside.stamped {
        return used;
    }
    let how = TimestampingFlag::SOF_TIMESTAMPING_TX_SOFTWARE.bits();
    add(control, used, libc::SOL_SOCKET, libc::SO_TIMESTAMPING, &[&how.to_ne_bytes()])
}

/// Asks to be told how many datagrams were lost because the socket's buffer was full.
pub(super) fn count_lost(socket: &impl AsFd) -> io::Result<()> {
    Ok(setsockopt(socket, sockopt::RxqOvfl, &1)?)
}

/// Asks for buffers of this size, beyond what the system grants to everybody where this process may have
/// that.
pub(super) fn enlarge_buffers(socket: &impl AsFd, receive: usize, send: usize) {
    if setsockopt(socket, sockopt::RcvBufForce, &receive).is_err() {
        // More is welcome and less will do: the system may grant less.
        let _ = setsockopt(socket, sockopt::RcvBuf, &receive);
    }
    if setsockopt(socket, sockopt::SndBufForce, &send).is_err() {
        let _ = setsockopt(socket, sockopt::SndBuf, &send);
    }
}

/// The kernel's wall clock, the first of three times; `None` where it has taken none.
fn timestamp(data: &[u8]) -> Option<Timestamp> {
    // Seconds and nanoseconds, each a word.
    let half = size_of::<libc::timespec>() / 2;
    let word = |at: usize| match half {
        4 => array(data, at).map(|bytes| i64::from(i32::from_ne_bytes(bytes))),
        _ => array(data, at).map(i64::from_ne_bytes),
    };
    let ns = Span::from_secs(word(0)?) + Span::from_nanos(word(half)?);
    (ns != Span::ZERO).then(|| Timestamp::from_nanos(ns.as_nanos()))
}

/// The number of the datagram that a transmit timestamp is for: of a `sock_extended_err`.
fn number_of(error: &[u8]) -> Option<u32> {
    let origin = *error.get(4)?;
    let is_stamp =
        origin == libc::SO_EE_ORIGIN_TIMESTAMPING && array(error, 8) == Some(SCM_TSTAMP_SND.to_ne_bytes());
    array(error, 12).filter(|_| is_stamp).map(u32::from_ne_bytes)
}

/// Timestamps by the kernel's clock of what comes, and of what goes where it is asked for, with a number instead
/// of the datagram.
fn wanted() -> TimestampingFlag {
    TimestampingFlag::SOF_TIMESTAMPING_SOFTWARE
        | TimestampingFlag::SOF_TIMESTAMPING_RX_SOFTWARE
        | TimestampingFlag::SOF_TIMESTAMPING_OPT_ID
        | TimestampingFlag::SOF_TIMESTAMPING_OPT_TSONLY
}

/// The datagram was handed to the network card: of `linux/errqueue.h`.
const SCM_TSTAMP_SND: u32 = 0;
/// Some batches, in case that a queue in front of the network card is long.
const WAITING: usize = 1024;

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::super::sockets::DatagramSocket;
    use super::*;
    use crate::clock::{NodeClock, Overlay};
    use crate::udp::not_run;
    use meantime_core::time::Frequency;
    use meantime_core::wire::DATAGRAM_LEN;
    use meantime_core::{Path, Transmit};

    /// A stamped listener, and a stamped socket connected to it.
    fn pair() -> Option<(DatagramSocket, DatagramSocket)> {
        let mut server = DatagramSocket::bound("127.0.0.1:0".parse().unwrap()).unwrap();
        let mut client = DatagramSocket::connected(server.local_address().unwrap()).unwrap();
        let granted = [&mut server, &mut client].into_iter().all(|udp| udp.request_stamps().is_ok());
        if !granted {
            not_run("the kernel takes no timestamps here");
        }
        if !granted || !has_begun(&mut client, &mut server) {
            return None;
        }
        Some((server, client))
    }

    /// A datagram to whoever the socket is connected to, to be called by this id when it has left.
    fn stamped(id: impl Into<Option<u64>>) -> Transmit {
        let path = Path { peer: "127.0.0.1:9".parse().unwrap(), local: None };
        Transmit { path, datagram: [1; DATAGRAM_LEN], stamp: id.into().map(StampId) }
    }

    /// The stamps of the datagrams that have come, and the path of the last.
    fn came(udp: &mut DatagramSocket) -> (Vec<Option<Timestamp>>, Path) {
        let mut arrivals = ReceiveBatch::new();
        udp.receive(&mut arrivals).unwrap();
        let path = udp.path(&arrivals.get(arrivals.len() - 1)).unwrap();
        ((0..arrivals.len()).map(|index| arrivals.get(index).stamp).collect(), path)
    }

    /// Sends until something comes with a stamp: the kernel begins to take them a moment after it was asked
    /// to.
    fn has_begun(client: &mut DatagramSocket, server: &mut DatagramSocket) -> bool {
        let begun = (0..400).any(|_| {
            client.send(&[stamped(None)]).unwrap();
            let stamped = came(server).0[0].is_some();
            if !stamped {
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
            stamped
        });
        departures(client, 0);
        if !begun {
            not_run("the kernel gives no timestamps on loopback");
        }
        begun
    }

    /// Everything that the error queue tells within two seconds, but no more than `count`.
    fn departures(udp: &mut DatagramSocket, count: usize) -> Vec<(StampId, Timestamp)> {
        let mut found = Vec::new();
        for _ in 0..400 {
            match udp.departed(&mut |id, stamp| found.push((id, stamp))) {
                Ok(_) => {}
                Err(_) if found.len() >= count => break,
                Err(error) => {
                    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                    std::thread::sleep(std::time::Duration::from_millis(5));
                }
            }
        }
        found
    }

    fn wall_clock() -> Timestamp {
        Overlay::start(Span::ZERO, Frequency::ZERO).pair().real
    }

    #[test]
    fn the_kernel_tells_when_each_datagram_left_and_came() {
        let Some((mut server, mut client)) = pair() else { return };
        let began = wall_clock();
        assert_eq!(client.send(&[stamped(71), stamped(None), stamped(73)]).unwrap(), 3);
        let left = departures(&mut client, 2);
        assert_eq!(left.iter().map(|(id, _)| id.0).collect::<Vec<_>>(), [71, 73]);
        let came = came(&mut server).0[2].expect("a stamp");
        let ended = wall_clock();
        assert!(began <= left[0].1 && left[0].1 <= left[1].1 && left[1].1 <= came && came <= ended);
        assert_eq!(departures(&mut client, 0), [], "the queue is empty");
    }

    #[test]
    fn answers_of_a_listener_are_told_of_over_both_families() {
        let mut server = match DatagramSocket::bound("[::]:0".parse().unwrap()) {
            Ok(server) => server,
            Err(error) => return not_run(&format!("this machine has no IPv6: {error}")),
        };
        if server.request_stamps().is_err() {
            return not_run("the kernel takes no timestamps here");
        }
        let port = server.local_address().unwrap().port();
        for (id, host) in ["127.0.0.1", "[::1]"].iter().enumerate() {
            let Ok(mut client) = DatagramSocket::connected(format!("{host}:{port}").parse().unwrap()) else {
                continue;
            };
            client.send(&[stamped(None)]).unwrap();
            let (_, path) = came(&mut server);
            let stamp = Some(StampId(id as u64));
            server.send(&[Transmit { path, ..stamped(id as u64) }]).unwrap();
            let left = departures(&mut server, 1);
            assert_eq!(left.iter().map(|(id, _)| Some(*id)).collect::<Vec<_>>(), [stamp], "{host}");
        }
    }

    #[test]
    fn after_a_datagram_that_could_not_be_sent_the_numbers_still_agree() {
        let Some((server, mut client)) = pair() else { return };
        client.send(&[stamped(1)]).unwrap();
        departures(&mut client, 1);
        drop(server);
        // Nobody is there any more: of this one the kernel learns only afterwards.
        client.send(&[stamped(2)]).unwrap();
        departures(&mut client, 1);
        let refused = client.send(&[stamped(3)]).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        client.send(&[stamped(4)]).unwrap();
        let left = departures(&mut client, 1);
        assert_eq!(left.iter().map(|(id, _)| id.0).collect::<Vec<_>>(), [4]);
        // The error queue does not swallow what the socket has to say about its peer.
        let error = client.receive(&mut ReceiveBatch::new()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }

    #[test]
    fn a_socket_that_asks_for_no_stamps_gets_none() {
        let mut server = DatagramSocket::bound("127.0.0.1:0".parse().unwrap()).unwrap();
        let mut client = DatagramSocket::connected(server.local_address().unwrap()).unwrap();
        client.send(&[stamped(1)]).unwrap();
        assert_eq!(came(&mut server).0, [None]);
        assert!(!client.is_stamped() && client.departed(&mut |_, _| {}).is_err());
    }

    #[test]
    fn a_batch_of_which_one_cannot_be_sent_is_sent_around_it_and_the_numbers_still_agree() {
        let Some((server, _)) = pair() else { return };
        let mut sender = DatagramSocket::bound("127.0.0.1:0".parse().unwrap()).unwrap();
        sender.request_stamps().unwrap();
        let to = |peer: SocketAddr, id: u64| Transmit { path: Path { peer, local: None }, ..stamped(id) };
        let good = server.local_address().unwrap();
        // To an address of the other family nothing goes.
        let bad = "[2001:db8::1]:9".parse().unwrap();
        let batch = [to(good, 1), to(good, 2), to(bad, 3), to(good, 4)];
        assert_eq!(sender.send(&batch).unwrap(), 2);
        departures(&mut sender, 0);
        assert!(sender.send(&batch[2..]).is_err());
        assert_eq!(sender.send(&batch[3..]).unwrap(), 1);
        let left = departures(&mut sender, 1);
        assert_eq!(left.iter().map(|(id, _)| id.0).collect::<Vec<_>>(), [4]);
    }

    #[test]
    fn what_a_full_buffer_has_lost_is_counted() {
        let mut server = DatagramSocket::bound("127.0.0.1:0".parse().unwrap()).unwrap();
        let mut client = DatagramSocket::connected(server.local_address().unwrap()).unwrap();
        server.shrink_receive_buffer();
        let batch = [stamped(None); 64];
        (0..20).for_each(|_| assert_eq!(client.send(&batch).unwrap(), 64));
        let (mut received, mut lost) = (0, 0);
        let mut arrivals = ReceiveBatch::new();
        while server.receive(&mut arrivals).is_ok() {
            received += arrivals.len();
        }
        // The count comes with the next that is received.
        client.send(&batch[..1]).unwrap();
        server.receive(&mut arrivals).unwrap();
        lost += arrivals.get(0).lost.unwrap_or_default();
        assert_eq!(received as u32 + lost, 20 * 64);
        assert!(lost > 0);
    }
}
