//! The kernel's timestamps of a socket's datagrams: `SO_TIMESTAMPING` of Linux.
//!
//! A receive timestamp comes with its datagram, as a control message. A transmit timestamp is put into the
//! socket's error queue, without the datagram but with its number: the kernel counts what is sent from zero. We
//! count along. After a send that has failed nobody knows whether it was counted, so both begin anew.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use nix::libc::{in6_pktinfo, sock_extended_err, sockaddr_in6, timespec};
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, SockaddrStorage, TimestampingFlag, recvmsg, setsockopt, sockopt,
};
use nix::sys::time::TimeSpec;

use crate::berkeley::StampId;
use crate::time::{Span, Timestamp};

/// The datagrams of a socket whose transmit timestamps are still to come.
#[derive(Debug)]
pub(super) struct Departures {
    /// The number that the kernel gives to the next datagram.
    next: u32,
    waiting: Box<[Option<(u32, StampId)>; WAITING]>,
    control: Vec<u8>,
}

impl Departures {
    /// Asks the kernel for the timestamps of a socket.
    ///
    /// # Errors
    /// When it has none.
    pub(super) fn request(socket: &impl AsFd) -> io::Result<Departures> {
        setsockopt(socket, sockopt::Timestamping, &wanted())?;
        Ok(Departures { next: 0, waiting: Box::new([None; WAITING]), control: control_buffer() })
    }

    /// A datagram was sent.
    pub(super) fn sent(&mut self, id: Option<StampId>) {
        self.waiting[self.next as usize % WAITING] = id.map(|id| (self.next, id));
        self.next = self.next.wrapping_add(1);
    }

    /// A datagram could not be sent: the kernel may have counted it or not. Stamps of datagrams sent before are
    /// taken for those of later ones then, and found to lie before them.
    ///
    /// # Errors
    /// When the system refuses; it does not.
    pub(super) fn failed(&mut self, socket: &impl AsFd) -> io::Result<()> {
        *self.waiting = [None; WAITING];
        self.next = 0;
        setsockopt(socket, sockopt::Timestamping, &(wanted() - TimestampingFlag::SOF_TIMESTAMPING_OPT_ID))?;
        setsockopt(socket, sockopt::Timestamping, &wanted())?;
        Ok(())
    }

    /// The next entry of the error queue: which datagram left when, or `None` if it speaks of something else.
    ///
    /// # Errors
    /// `WouldBlock` when the queue is empty.
    pub(super) fn next(&mut self, socket: &impl AsRawFd) -> io::Result<Option<(StampId, Timestamp)>> {
        let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
        let got = recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut [], Some(&mut self.control), flags)?;
        let (mut stamp, mut number) = (None, None);
        for message in got.cmsgs()? {
            match message {
                ControlMessageOwned::ScmTimestampsns(times) => stamp = timestamp(times.system),
                ControlMessageOwned::Ipv4RecvErr(error, _) | ControlMessageOwned::Ipv6RecvErr(error, _) => {
                    number = number_of(&error);
                }
                _ => {}
            }
        }
        let (Some(stamp), Some(number)) = (stamp, number) else { return Ok(None) };
        let slot = &mut self.waiting[number as usize % WAITING];
        Ok(slot.take_if(|(sent, _)| *sent == number).map(|(_, id)| (id, stamp)))
    }
}

/// The receive timestamp among a datagram's control messages.
pub(super) fn receive_stamp(message: &ControlMessageOwned) -> Option<Timestamp> {
    match message {
        ControlMessageOwned::ScmTimestampsns(times) => timestamp(times.system),
        _ => None,
    }
}

/// Room for all control messages that a datagram, or an entry of the error queue, may have.
pub(super) fn control_buffer() -> Vec<u8> {
    nix::cmsg_space!(in6_pktinfo, [timespec; 3], sock_extended_err, sockaddr_in6)
}

/// The kernel's wall clock; zero where it has taken none.
fn timestamp(time: TimeSpec) -> Option<Timestamp> {
    let ns = Span::from_secs(time.tv_sec()) + Span::from_nanos(time.tv_nsec());
    (ns != Span::ZERO).then(|| Timestamp::from_nanos(ns.as_nanos()))
}

/// The number of the datagram that a transmit timestamp is for.
fn number_of(error: &sock_extended_err) -> Option<u32> {
    let is_stamp = error.ee_origin == nix::libc::SO_EE_ORIGIN_TIMESTAMPING && error.ee_info == SCM_TSTAMP_SND;
    is_stamp.then_some(error.ee_data)
}

/// Stamps by the kernel's clock, of what comes and what goes, with a number instead of the datagram.
fn wanted() -> TimestampingFlag {
    TimestampingFlag::SOF_TIMESTAMPING_SOFTWARE
        | TimestampingFlag::SOF_TIMESTAMPING_RX_SOFTWARE
        | TimestampingFlag::SOF_TIMESTAMPING_TX_SOFTWARE
        | TimestampingFlag::SOF_TIMESTAMPING_OPT_ID
        | TimestampingFlag::SOF_TIMESTAMPING_OPT_TSONLY
}

/// The datagram was handed to the network card: of `linux/errqueue.h`.
const SCM_TSTAMP_SND: u32 = 0;
/// Hardly more than one waits, unless a queue in front of the network card is long.
const WAITING: usize = 256;

#[cfg(test)]
mod tests {
    use super::super::sockets::Udp;
    use super::*;
    use crate::berkeley::{Path, Transmit};
    use crate::clock::{Clock, Overlay};
    use crate::net::not_run;
    use crate::time::Frequency;

    /// A stamped listener, and a stamped socket connected to it.
    fn pair() -> Option<(Udp, Udp)> {
        let mut server = Udp::bound("127.0.0.1:0".parse().unwrap()).unwrap();
        let mut client = Udp::connected(server.local_address().unwrap()).unwrap();
        let granted = [&mut server, &mut client].into_iter().all(|udp| udp.request_stamps().is_ok());
        if !granted {
            not_run("the kernel takes no timestamps here");
        }
        if !granted || !has_begun(&mut client, &mut server) {
            return None;
        }
        Some((server, client))
    }

    /// Sends until something comes with a stamp: the kernel begins to take them a moment after it was asked to.
    fn has_begun(client: &mut Udp, server: &mut Udp) -> bool {
        let begun = (0..400).any(|_| {
            client.send(&[0; 96], None).unwrap();
            let stamped = server.receive(&mut [0; 128]).unwrap().stamp.is_some();
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
    fn departures(udp: &mut Udp, count: usize) -> Vec<(StampId, Timestamp)> {
        let mut found = Vec::new();
        for _ in 0..400 {
            match udp.departed() {
                Ok(departed) => found.extend(departed),
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
        client.send(&[1; 96], Some(StampId(71))).unwrap();
        client.send(&[2; 96], None).unwrap();
        client.send(&[3; 96], Some(StampId(73))).unwrap();
        let left = departures(&mut client, 2);
        assert_eq!(left.iter().map(|(id, _)| id.0).collect::<Vec<_>>(), [71, 73]);
        let mut buffer = [0; 128];
        let came: Vec<_> = (0..3).map(|_| server.receive(&mut buffer).unwrap().stamp).collect();
        let came = came[2].expect("a stamp");
        let ended = wall_clock();
        assert!(began <= left[0].1 && left[0].1 <= left[1].1 && left[1].1 <= came && came <= ended);
        assert_eq!(departures(&mut client, 0), [], "the queue is empty");
    }

    #[test]
    fn answers_of_a_listener_are_told_of_over_both_families() {
        let mut server = match Udp::bound("[::]:0".parse().unwrap()) {
            Ok(server) => server,
            Err(error) => return not_run(&format!("this machine has no IPv6: {error}")),
        };
        if server.request_stamps().is_err() {
            return not_run("the kernel takes no timestamps here");
        }
        let port = server.local_address().unwrap().port();
        for (id, host) in ["127.0.0.1", "[::1]"].iter().enumerate() {
            let Ok(mut client) = Udp::connected(format!("{host}:{port}").parse().unwrap()) else { continue };
            client.send(&[1; 96], None).unwrap();
            let path: Path = server.receive(&mut [0; 128]).unwrap().path;
            let stamp = Some(StampId(id as u64));
            server.send_to(&Transmit { path, datagram: [2; 96], stamp }).unwrap();
            let left = departures(&mut server, 1);
            assert_eq!(left.iter().map(|(id, _)| Some(*id)).collect::<Vec<_>>(), [stamp], "{host}");
        }
    }

    #[test]
    fn after_a_datagram_that_could_not_be_sent_the_numbers_still_agree() {
        let Some((server, mut client)) = pair() else { return };
        client.send(&[1; 96], Some(StampId(1))).unwrap();
        departures(&mut client, 1);
        drop(server);
        // Nobody is there any more: of this one the kernel learns only afterwards.
        client.send(&[1; 96], Some(StampId(2))).unwrap();
        departures(&mut client, 1);
        let refused = client.send(&[1; 96], Some(StampId(3))).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        client.send(&[1; 96], Some(StampId(4))).unwrap();
        let left = departures(&mut client, 1);
        assert_eq!(left.iter().map(|(id, _)| id.0).collect::<Vec<_>>(), [4]);
        // The error queue does not swallow what the socket has to say about its peer.
        let error = client.receive(&mut [0; 128]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }

    #[test]
    fn a_socket_that_asks_for_no_stamps_gets_none() {
        let mut server = Udp::bound("127.0.0.1:0".parse().unwrap()).unwrap();
        let mut client = Udp::connected(server.local_address().unwrap()).unwrap();
        client.send(&[1; 96], Some(StampId(1))).unwrap();
        assert_eq!(server.receive(&mut [0; 128]).unwrap().stamp, None);
        assert!(!client.is_stamped() && client.departed().is_err());
    }
}
