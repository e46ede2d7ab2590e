//! Many datagrams in one system call: `recvmmsg` and `sendmmsg`. All buffers are allocated once and reused.
//!
//! nix wraps both calls, but it sends all datagrams of a batch with the same control messages, and the
//! datagrams that it receives have no control messages from the second call on. So they are called here,
//! through libc.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::ancillary::{NAME, messages, read_address, write_address};
use super::control_messages;
use crate::udp::datagram::{BUFFER_LEN, ReceivedDatagram, SendMetadata};
use meantime_core::wire::DATAGRAM_LEN;

/// Datagrams that were received together.
#[derive(Debug)]
pub struct ReceiveBatch {
    slots: Box<[Slot]>,
    headers: Headers,
    count: usize,
}

impl ReceiveBatch {
    /// Room for a batch.
    pub fn new() -> ReceiveBatch {
        ReceiveBatch { slots: slots(), headers: Headers::new(), count: 0 }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether more may be waiting.
    pub(super) fn is_full(&self) -> bool {
        self.count == BATCH
    }

    /// One of them.
    pub fn get(&self, index: usize) -> ReceivedDatagram<'_> {
        let (slot, header) = (&self.slots[index], &self.headers.messages[index]);
        let name = &slot.name[..NAME.min(header.msg_hdr.msg_namelen as usize)];
        let mut received = ReceivedDatagram {
            bytes: &slot.bytes[..BUFFER_LEN.min(header.msg_len as usize)],
            peer: read_address(name),
            local: None,
            interface: None,
            timestamp: None,
            card: None,
            card_interface: None,
            lost: None,
        };
        for (level, kind, data) in messages(self.control(index)) {
            control_messages::read(level, kind, data, &mut received);
        }
        received
    }

    /// The control messages of one of them.
    pub(super) fn control(&self, index: usize) -> &[u8] {
        let length = self.headers.messages[index].msg_hdr.msg_controllen as u64;
        &self.slots[index].control.0[..length.min(CONTROL as u64) as usize]
    }

    /// Makes a datagram with these control messages the only one of the batch.
    #[cfg(test)]
    pub(crate) fn inject(&mut self, bytes: &[u8], control: &[u8]) {
        let (slot, header) = (&mut self.slots[0], &mut self.headers.messages[0]);
        slot.bytes[..bytes.len()].copy_from_slice(bytes);
        slot.control.0[..control.len()].copy_from_slice(control);
        header.msg_len = bytes.len() as _;
        header.msg_hdr.msg_namelen = 0;
        header.msg_hdr.msg_controllen = control.len() as _;
        self.count = 1;
    }

    /// Receives up to a batch of datagrams in place of the previous ones.
    ///
    /// # Errors
    /// `WouldBlock` when there are none, else the system's error.
    pub(in crate::udp) fn receive(&mut self, socket: BorrowedFd<'_>, flags: libc::c_int) -> io::Result<()> {
        self.count = 0;
        self.count = self.headers.receive(socket, &mut self.slots, flags)?;
        Ok(())
    }
}

impl Default for ReceiveBatch {
    fn default() -> ReceiveBatch {
        ReceiveBatch::new()
    }
}

/// Datagrams that are sent together.
#[derive(Debug)]
pub(in crate::udp) struct SendBatch {
    slots: Box<[Slot]>,
    headers: Headers,
    count: usize,
}

impl SendBatch {
    /// Room for a batch.
    pub(in crate::udp) fn new() -> SendBatch {
        SendBatch { slots: slots(), headers: Headers::new(), count: 0 }
    }

    /// Adds a datagram, for the connected peer if `peer` is none; false if there is no room left.
    pub(in crate::udp) fn add(
        &mut self,
        datagram: &[u8; DATAGRAM_LEN],
        peer: Option<SocketAddr>,
        metadata: &SendMetadata,
    ) -> bool {
        let Some(slot) = self.slots.get_mut(self.count) else { return false };
        slot.bytes[..DATAGRAM_LEN].copy_from_slice(datagram);
        let name = peer.map_or(0, |peer| write_address(peer, &mut slot.name));
        self.headers.lengths[self.count] = (name, control_messages::write(&mut slot.control.0, metadata));
        self.count += 1;
        true
    }

    /// Sends all and empties the batch. Returns how many were sent; if not all were, the kernel has tried to
    /// send the next one as well.
    ///
    /// # Errors
    /// When the first could not be sent.
    pub(in crate::udp) fn send(&mut self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        let count = std::mem::take(&mut self.count);
        self.headers.send(socket, &mut self.slots[..count])
    }
}

/// The buffers of one datagram: address, control messages, bytes.
#[derive(Clone, Debug)]
struct Slot {
    control: Control,
    name: [u8; NAME],
    bytes: [u8; BUFFER_LEN],
}

/// The buffer for control messages, which begin with a word and are aligned like one.
#[derive(Clone, Debug)]
#[repr(align(8))]
struct Control([u8; CONTROL]);

fn slots() -> Box<[Slot]> {
    vec![Slot { control: Control([0; CONTROL]), name: [0; NAME], bytes: [0; BUFFER_LEN] }; BATCH].into()
}

/// The headers of a batch, as the system calls take them. Between two calls their pointers are not valid.
struct Headers {
    messages: Box<[libc::mmsghdr]>,
    vectors: Box<[libc::iovec]>,
    /// For sending: the lengths of each datagram's address and control messages.
    lengths: Box<[(usize, usize)]>,
}

#[expect(
    unsafe_code,
    reason = "these two calls take pointers, and no wrapper passes control messages for each datagram"
)]
impl Headers {
    fn new() -> Headers {
        // SAFETY: zeros are a value of these structures of numbers and pointers.
        let (message, vector) =
            unsafe { (std::mem::zeroed::<libc::mmsghdr>(), std::mem::zeroed::<libc::iovec>()) };
        Headers {
            messages: vec![message; BATCH].into(),
            vectors: vec![vector; BATCH].into(),
            lengths: vec![(0, 0); BATCH].into(),
        }
    }

    fn receive(&mut self, socket: BorrowedFd<'_>, to: &mut [Slot], flags: libc::c_int) -> io::Result<usize> {
        let count = self.prepare(to, |_| (NAME, CONTROL, BUFFER_LEN));
        let no_timeout = std::ptr::null_mut();
        // SAFETY: `count` headers point to buffers of the lengths that they state, and no other code
        // uses them during the call.
        let received = unsafe {
            libc::recvmmsg(socket.as_raw_fd(), self.messages.as_mut_ptr(), count as _, flags as _, no_timeout)
        };
        counted(received)
    }

    fn send(&mut self, socket: BorrowedFd<'_>, from: &mut [Slot]) -> io::Result<usize> {
        let lengths = std::mem::take(&mut self.lengths);
        let count = self.prepare(from, |index| (lengths[index].0, lengths[index].1, DATAGRAM_LEN));
        self.lengths = lengths;
        // SAFETY: `count` headers point to buffers of the lengths that they state, and no other code
        // uses them during the call.
        let sent = unsafe { libc::sendmmsg(socket.as_raw_fd(), self.messages.as_mut_ptr(), count as _, 0) };
        counted(sent)
    }

    /// Points the headers at the slots, with the lengths of name, control messages and bytes of each. Returns
    /// how many there are.
    fn prepare(&mut self, at: &mut [Slot], lengths: impl Fn(usize) -> (usize, usize, usize)) -> usize {
        let headers = self.messages.iter_mut().zip(self.vectors.iter_mut());
        let mut count = 0;
        for ((message, vector), slot) in headers.zip(at) {
            let (name, control, bytes) = lengths(count);
            assert!(
                name <= NAME && control <= CONTROL && bytes <= BUFFER_LEN,
                "no header points beyond its buffer"
            );
            vector.iov_base = slot.bytes.as_mut_ptr().cast();
            vector.iov_len = bytes;
            let header = &mut message.msg_hdr;
            header.msg_name = if name == 0 { std::ptr::null_mut() } else { slot.name.as_mut_ptr().cast() };
            header.msg_namelen = name as _;
            header.msg_iov = vector;
            header.msg_iovlen = 1;
            header.msg_control =
                if control == 0 { std::ptr::null_mut() } else { slot.control.0.as_mut_ptr().cast() };
            header.msg_controllen = control as _;
            header.msg_flags = 0;
            message.msg_len = 0;
            count += 1;
        }
        count
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Headers").finish_non_exhaustive()
    }
}

fn counted(result: libc::c_int) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

/// A batch of this size is handled in well under a millisecond; a larger one hardly lowers the cost of each
/// datagram.
pub const BATCH: usize = 64;
/// A flag for [`ReceiveBatch::receive`]: return what has been received, without waiting for a whole batch.
pub(in crate::udp) const WAIT_FOR_ONE: libc::c_int = libc::MSG_WAITFORONE;
/// Room for all control messages that a datagram, or an entry of the error queue, may have: three timestamps,
/// the card's interface, the local address (in both families), the count of lost datagrams; or an error and
/// the address that caused it.
const CONTROL: usize = 256;
