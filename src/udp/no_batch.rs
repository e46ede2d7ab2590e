//! Systems without `recvmmsg`: a batch is one datagram.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::sys::socket::{MsgFlags, SockaddrStorage, recvmsg, sendmsg};

use super::kernel;
use super::sockets::SendMetadata;
use meantime_core::time::Timestamp;
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

/// A datagram that was received, and what the system says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReceivedDatagram<'a> {
    /// Its bytes; if it is too long, some more than a datagram may have.
    pub bytes: &'a [u8],
    /// Who sent it.
    pub peer: Option<SocketAddr>,
    /// The address of ours that it was sent to.
    pub local: Option<IpAddr>,
    /// When it came: never known here.
    pub stamp: Option<Timestamp>,
    /// How many were lost: never known here.
    pub lost: Option<u32>,
}

impl ReceiveBatch {
    /// Room for one.
    pub fn new() -> ReceiveBatch {
        ReceiveBatch {
            bytes: [0; BUFFER_LEN],
            control: kernel::control_buffer(),
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
        ReceivedDatagram { bytes, peer: self.peer, local: self.local, stamp: None, lost: None }
    }

    /// Takes in what has come, in place of what was here.
    ///
    /// # Errors
    /// `WouldBlock` when there is nothing; the system's.
    pub(super) fn receive(&mut self, socket: BorrowedFd<'_>, _flags: nix::libc::c_int) -> io::Result<()> {
        self.length = None;
        let mut slices = [IoSliceMut::new(&mut self.bytes)];
        let control = Some(&mut self.control[..]);
        let got = recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut slices, control, MsgFlags::empty())?;
        self.peer = got.address.as_ref().and_then(socket_address);
        self.local = got.cmsgs()?.find_map(kernel::destination);
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
pub(super) struct SendBatch {
    ready: Option<([u8; DATAGRAM_LEN], Option<SocketAddr>, SendMetadata)>,
}

impl SendBatch {
    /// Room for one.
    pub(super) fn new() -> SendBatch {
        SendBatch { ready: None }
    }

    /// Adds a datagram, for the connected peer if `peer` is none; false if there is no room left.
    pub(super) fn add(
        &mut self,
        datagram: &[u8; DATAGRAM_LEN],
        peer: Option<SocketAddr>,
        beside: &SendMetadata,
    ) -> bool {
        if self.ready.is_some() {
            return false;
        }
        self.ready = Some((*datagram, peer, *beside));
        true
    }

    /// Sends it, and forgets it. Returns how many were sent.
    ///
    /// # Errors
    /// When it could not be sent.
    pub(super) fn send(&mut self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        let Some((datagram, peer, beside)) = self.ready.take() else { return Ok(0) };
        let peer = peer.map(SockaddrStorage::from);
        let slices = [IoSlice::new(&datagram)];
        kernel::with_source(&beside, |from| {
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
/// Longer than a datagram, so that one that is too long does not look right when its end is cut off.
pub const BUFFER_LEN: usize = DATAGRAM_LEN + 32;
