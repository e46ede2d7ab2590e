//! When datagrams really left (`SO_TIMESTAMPING`).
//!
//! A transmit timestamp is requested by the datagrams whose time of sending matters. The kernel puts it into
//! the socket's error queue, without the datagram but with a number: it counts from zero the datagrams for
//! which a timestamp is requested. This module counts along. After such a datagram could not be sent it is
//! unknown whether the kernel has counted it, so both counts start again at zero.

use std::io;
use std::os::fd::AsFd;

use nix::sys::socket::{TimestampingFlag, setsockopt, sockopt};

use super::batch::ReceiveBatch;
use super::control_messages::{Departure, departure};
use crate::udp::datagram::{Stamping, TransmitStamp, TransmitTime};
use meantime_core::StampId;

/// The datagrams of a socket whose transmit timestamps are still to come.
#[derive(Debug)]
pub(in crate::udp) struct TransmitTimestamps {
    /// The number that the kernel gives to the next datagram.
    next: u32,
    waiting: Box<[Option<(u32, StampId)>]>,
    reports: ReceiveBatch,
    stamping: Stamping,
}

impl TransmitTimestamps {
    /// Requests timestamps of a socket, for receiving and sending.
    ///
    /// # Errors
    /// When it has none.
    pub(in crate::udp) fn request(socket: &impl AsFd, stamping: Stamping) -> io::Result<TransmitTimestamps> {
        setsockopt(socket, sockopt::Timestamping, &timestamping_flags(stamping))?;
        Ok(TransmitTimestamps {
            next: 0,
            waiting: vec![None; MAX_WAITING].into(),
            reports: ReceiveBatch::new(),
            stamping,
        })
    }

    /// Which timestamps were requested.
    pub(in crate::udp) fn stamping(&self) -> Stamping {
        self.stamping
    }

    /// A datagram was sent for which a timestamp is requested.
    pub(in crate::udp) fn sent(&mut self, id: StampId) {
        self.waiting[self.next as usize % MAX_WAITING] = Some((self.next, id));
        self.next = self.next.wrapping_add(1);
    }

    /// A datagram for which a timestamp is requested could not be sent: the kernel may have counted it or
    /// not, so the count starts again. Timestamps of datagrams sent before are then attributed to later ones;
    /// they lie before the time of sending, and are dropped for that.
    ///
    /// # Errors
    /// When the system refuses; it does not.
    pub(in crate::udp) fn failed(&mut self, socket: &impl AsFd) -> io::Result<()> {
        self.waiting.fill(None);
        self.next = 0;
        let flags = timestamping_flags(self.stamping);
        let without_numbers = flags - TimestampingFlag::SOF_TIMESTAMPING_OPT_ID;
        setsockopt(socket, sockopt::Timestamping, &without_numbers)?;
        setsockopt(socket, sockopt::Timestamping, &flags)?;
        Ok(())
    }

    /// Takes a batch from the error queue and reports which datagram left when. False if there may be more.
    ///
    /// # Errors
    /// `WouldBlock` when the queue is empty.
    pub(in crate::udp) fn take(
        &mut self,
        socket: &impl AsFd,
        report: &mut dyn FnMut(TransmitStamp),
    ) -> io::Result<bool> {
        self.reports.receive(socket.as_fd(), libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT)?;
        for index in 0..self.reports.len() {
            let Some(departure) = departure(self.reports.control(index)) else { continue };
            let Departure { number, interface, time } = departure;
            let slot = &mut self.waiting[number as usize % MAX_WAITING];
            let Some((_, id)) = slot.filter(|(sent, _)| *sent == number) else { continue };
            // The card's timestamp comes after the kernel's.
            if self.stamping == Stamping::Kernel || matches!(time, TransmitTime::Card(_)) {
                *slot = None;
            }
            report(TransmitStamp { id, interface, time });
        }
        Ok(!self.reports.is_full())
    }
}

/// Software timestamps of all datagrams that are received, and of those sent where it is requested, with a
/// number instead of the datagram. With hardware, the card's timestamps beside them, and the interface of
/// each; with a datagram that was sent the kernel reports that only if it returns the datagram.
fn timestamping_flags(stamping: Stamping) -> TimestampingFlag {
    let kernel = TimestampingFlag::SOF_TIMESTAMPING_SOFTWARE
        | TimestampingFlag::SOF_TIMESTAMPING_RX_SOFTWARE
        | TimestampingFlag::SOF_TIMESTAMPING_OPT_ID;
    let options = libc::SOF_TIMESTAMPING_OPT_CMSG
        | libc::SOF_TIMESTAMPING_OPT_PKTINFO
        | libc::SOF_TIMESTAMPING_OPT_TX_SWHW;
    match stamping {
        Stamping::Kernel => kernel | TimestampingFlag::SOF_TIMESTAMPING_OPT_TSONLY,
        Stamping::Hardware => {
            kernel
                | TimestampingFlag::SOF_TIMESTAMPING_RAW_HARDWARE
                | TimestampingFlag::SOF_TIMESTAMPING_RX_HARDWARE
                | TimestampingFlag::from_bits_retain(options)
        }
    }
}

/// Some batches, in case the queue in front of the network card is long.
const MAX_WAITING: usize = 1024;
