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
