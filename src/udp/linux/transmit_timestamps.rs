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
use super::control_messages::transmit_timestamp;
use meantime_core::StampId;
use meantime_core::time::Timestamp;

/// The datagrams of a socket whose transmit timestamps are still to come.
#[derive(Debug)]
pub(in crate::udp) struct TransmitTimestamps {
    /// The number that the kernel gives to the next datagram.
    next: u32,
    waiting: Box<[Option<(u32, StampId)>]>,
    reports: ReceiveBatch,
}

impl TransmitTimestamps {
    /// Requests the kernel's timestamps of a socket, for receiving and sending.
    ///
    /// # Errors
    /// When it has none.
    pub(in crate::udp) fn request(socket: &impl AsFd) -> io::Result<TransmitTimestamps> {
        setsockopt(socket, sockopt::Timestamping, &timestamping_flags())?;
        Ok(TransmitTimestamps {
            next: 0,
            waiting: vec![None; MAX_WAITING].into(),
            reports: ReceiveBatch::new(),
        })
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
        let without_numbers = timestamping_flags() - TimestampingFlag::SOF_TIMESTAMPING_OPT_ID;
        setsockopt(socket, sockopt::Timestamping, &without_numbers)?;
        setsockopt(socket, sockopt::Timestamping, &timestamping_flags())?;
        Ok(())
    }

    /// Takes a batch from the error queue and reports which datagram left when. False if there may be more.
    ///
    /// # Errors
    /// `WouldBlock` when the queue is empty.
    pub(in crate::udp) fn take(
        &mut self,
        socket: &impl AsFd,
        report: &mut dyn FnMut(StampId, Timestamp),
    ) -> io::Result<bool> {
        self.reports.receive(socket.as_fd(), libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT)?;
        for index in 0..self.reports.len() {
            let Some((number, timestamp)) = transmit_timestamp(self.reports.control(index)) else { continue };
            let slot = &mut self.waiting[number as usize % MAX_WAITING];
            if let Some((_, id)) = slot.take_if(|(sent, _)| *sent == number) {
                report(id, timestamp);
            }
        }
        Ok(!self.reports.is_full())
    }
}

/// Software timestamps of all datagrams that are received, and of those sent where it is requested, with a
/// number instead of the datagram.
fn timestamping_flags() -> TimestampingFlag {
    TimestampingFlag::SOF_TIMESTAMPING_SOFTWARE
        | TimestampingFlag::SOF_TIMESTAMPING_RX_SOFTWARE
        | TimestampingFlag::SOF_TIMESTAMPING_OPT_ID
        | TimestampingFlag::SOF_TIMESTAMPING_OPT_TSONLY
}

/// Some batches, in case the queue in front of the network card is long.
const MAX_WAITING: usize = 1024;
