//! How a node's datagrams reach the network.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;

use mio::{Registry, Token};

use super::datagram::{ReceivedDatagram, TransmitStamp};
use super::platform::ReceiveBatch;
use super::timestamp_source::TimestampSource;
use meantime_core::roles::rank::Rank;
use meantime_core::{Path, Transmit};

/// A node's access to the network: the server's socket, the client's, or many of them.
pub trait Transport {
    /// Joins the event loop: readiness is reported under `token`.
    ///
    /// # Errors
    /// When the system refuses.
    fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()>;

    /// Receives up to a batch of datagrams. One that is too long is cut off, but stays too long.
    ///
    /// # Errors
    /// `WouldBlock` when there are none; anything else concerns one datagram only.
    fn receive(&mut self, batch: &mut ReceiveBatch) -> io::Result<()>;

    /// How many datagrams have been lost since the last call because a receive buffer was full.
    fn take_lost(&mut self) -> u32;

    /// The path of a datagram that was received; `None` if it is unknown.
    fn path(&self, received: &ReceivedDatagram<'_>) -> Option<Path>;

    /// Sends datagrams, at most a batch. Returns how many were sent, from the first one on.
    ///
    /// # Errors
    /// When the first of them could not be sent; the next may well be.
    fn send(&mut self, registry: &Registry, transmits: &[Transmit]) -> io::Result<usize>;

    /// Reports up to a batch of transmit timestamps: which datagram left when. With hardware, the kernel's
    /// and the card's of a datagram are reported one after the other. False if there may be more.
    ///
    /// # Errors
    /// `WouldBlock` when there are none.
    fn take_transmit_timestamps(&mut self, report: &mut dyn FnMut(TransmitStamp)) -> io::Result<bool> {
        let _ = report;
        Err(ErrorKind::WouldBlock.into())
    }

    /// The timestamp source that the system has granted: the kernel's are granted together with a card's.
    fn timestamp_source(&self) -> TimestampSource {
        TimestampSource::User
    }

    /// Begins to find the address of the server of this rank; only the transports of nodes that are clients
    /// do so.
    fn resolve(&mut self, server: Rank);

    /// The address of a server that was asked for, or why it cannot be found; `None`: none is known yet,
    /// which is reported like readiness.
    fn take_resolved(&mut self) -> Option<(Rank, io::Result<SocketAddr>)>;
}
