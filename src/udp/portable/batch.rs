//! Without `recvmmsg` and `sendmmsg`, a batch is one datagram.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::sys::socket::{MsgFlags, SockaddrStorage, recvmsg, sendmsg};

use super::control_messages::{control_buffer, destination, with_source};
use crate::udp::datagram::{BUFFER_LEN, ReceivedDatagram, SendMetadata};
use meantime_core::wire::DATAGRAM_LEN;

/// The datagram that was received.
#[derive(Debug)]
pub struct ReceiveBatch {
    bytes: [u8; BUFFER_LEN],
    control: Vec<u8>,
    length: Option<usize>,
    peer: Option<SocketAddr>,
    local: Option<IpAddr>,
}

impl ReceiveBatch {
    /// Room for one.
    pub fn new() -> ReceiveBatch {
        ReceiveBatch {
            bytes: [0; BUFFER_LEN],
            control: control_buffer(),
            length: None,
            peer: None,
            local: None,
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.length.iter().count()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.length.is_none()
    }

    /// The one that there is.
    pub fn get(&self, _index: usize) -> ReceivedDatagram<'_> {
        let bytes = &self.bytes[..self.length.unwrap_or(0)];
        ReceivedDatagram {
            bytes,
            peer: self.peer,
            local: self.local,
            interface: None,
            timestamp: None,
            card: None,
            card_interface: None,
            lost: None,
        }
    }

    /// Receives a datagram in place of the previous one.
    ///
    /// # Errors
    /// `WouldBlock` when there is none, else the system's error.
    pub(in crate::udp) fn receive(
        &mut self,
        socket: BorrowedFd<'_>,
        _flags: nix::libc::c_int,
    ) -> io::Result<()> {
        self.length = None;
        let mut slices = [IoSliceMut::new(&mut self.bytes)];
        let control = Some(&mut self.control[..]);
        let got = recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut slices, control, MsgFlags::empty())?;
        self.peer = got.address.as_ref().and_then(socket_address);
        self.local = got.cmsgs()?.find_map(destination);
        self.length = Some(got.bytes);
        Ok(())
    }
}

impl Default for ReceiveBatch {
    fn default() -> ReceiveBatch {
        ReceiveBatch::new()
    }
}

/// The datagram that is to be sent.
#[derive(Debug)]
pub(in crate::udp) struct SendBatch {
    ready: Option<([u8; DATAGRAM_LEN], Option<SocketAddr>, SendMetadata)>,
}

impl SendBatch {
    /// Room for one.
    pub(in crate::udp) fn new() -> SendBatch {
        SendBatch { ready: None }
    }

    /// Adds a datagram, for the connected peer if `peer` is none; false if there is no room left.
    pub(in crate::udp) fn add(
        &mut self,
        datagram: &[u8; DATAGRAM_LEN],
        peer: Option<SocketAddr>,
        metadata: &SendMetadata,
    ) -> bool {
        if self.ready.is_some() {
            return false;
        }
        self.ready = Some((*datagram, peer, *metadata));
        true
    }

    /// Sends it, and forgets it. Returns how many were sent.
    ///
    /// # Errors
    /// When it could not be sent.
    pub(in crate::udp) fn send(&mut self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        let Some((datagram, peer, metadata)) = self.ready.take() else { return Ok(0) };
        let peer = peer.map(SockaddrStorage::from);
        let slices = [IoSlice::new(&datagram)];
        with_source(&metadata, |from| {
            sendmsg(socket.as_raw_fd(), &slices, from, MsgFlags::empty(), peer.as_ref())
        })?;
        Ok(1)
    }
}

fn socket_address(storage: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = storage.as_sockaddr_in().map(|v4| SocketAddr::from(*v4));
    v4.or_else(|| storage.as_sockaddr_in6().map(|v6| SocketAddr::from(*v6)))
}

/// Datagrams in a batch.
pub const BATCH: usize = 1;
/// A flag for [`ReceiveBatch::receive`]; a batch of one needs none.
pub(in crate::udp) const WAIT_FOR_ONE: nix::libc::c_int = 0;
