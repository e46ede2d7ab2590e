//! A datagram and its metadata, as they cross the line between this program and the operating system.

use std::net::{IpAddr, SocketAddr};

use super::address::Family;
use meantime_core::StampId;
use meantime_core::time::Timestamp;
use meantime_core::wire::DATAGRAM_LEN;

/// A datagram that was received, and what the system reports of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReceivedDatagram<'a> {
    /// Its bytes; of a datagram that is too long, more than a valid one has, but not all.
    pub bytes: &'a [u8],
    /// The sender's address.
    pub peer: Option<SocketAddr>,
    /// The local address that it was sent to.
    pub local: Option<IpAddr>,
    /// The index of the network interface that it came through, if the system reports that.
    pub interface: Option<u32>,
    /// When it was received, by the kernel's wall clock; `None` where the kernel takes no timestamps.
    pub timestamp: Option<Timestamp>,
    /// The timestamp of the network card, if it has stamped the datagram.
    pub card: Option<CardStamp>,
    /// The index of the interface of the card that has received it, below a VLAN or a bond, if the kernel
    /// reports that.
    pub card_interface: Option<u32>,
    /// How many datagrams the socket has lost so far because its buffer was full; `None` if it has lost none,
    /// or the system does not count them.
    pub lost: Option<u32>,
}

/// A network card's timestamp of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CardStamp {
    /// The index of the card's network interface, if the kernel reports that.
    pub interface: Option<u32>,
    /// When the datagram passed the card, by the card's clock.
    pub time: Timestamp,
}

/// A timestamp of a datagram that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransmitStamp {
    /// The datagram.
    pub id: StampId,
    /// The index of the network interface that it left through, if the kernel reports that.
    pub interface: Option<u32>,
    /// The timestamp.
    pub time: TransmitTime,
}

/// When a datagram was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransmitTime {
    /// By the kernel's wall clock.
    Kernel(Timestamp),
    /// By the clock of the network card.
    Card(Timestamp),
}

/// Which timestamps the kernel is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stamping {
    /// Its own.
    Kernel,
    /// Its own, and those of network cards.
    Hardware,
}

/// What the system must know to send a datagram, beside its bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct SendMetadata {
    /// The family of the socket.
    pub(super) family: Family,
    /// The destination.
    pub(super) peer: SocketAddr,
    /// The local address to send from, if the system would not choose it by itself.
    pub(super) local: Option<IpAddr>,
    /// Which timestamps of its departure are to be reported.
    pub(super) stamping: Option<Stamping>,
}

/// Longer than a datagram, so that one that is too long does not look valid when its end is cut off.
pub(crate) const BUFFER_LEN: usize = DATAGRAM_LEN + 32;
