//! Many datagrams in one system call: `recvmmsg` and `sendmmsg`. All buffers are made once and used again.
//!
//! nix has both calls, but with the same control messages for all datagrams that are sent, and those received
//! lose theirs from the second call on. So they are called here, by way of libc.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd};

use super::ancillary::{NAME, messages, read_address, write_address};
use super::kernel;
use super::sockets::SendMetadata;
use meantime_core::time::Timestamp;
use meantime_core::wire::DATAGRAM_LEN;

/// Datagrams that were received together.
#[derive(Debug)]
pub struct ReceiveBatch {
    envelopes: Box<[Envelope]>,
    headers: Headers,
    count: usize,
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
    /// When it came, by the kernel's wall clock; `None` where the kernel takes no timestamps.
    pub stamp: Option<Timestamp>,
    /// How many datagrams the socket has lost so far since its buffer was full; `None`: none, or nobody
    /// counts.
    pub lost: Option<u32>,
}

impl ReceiveBatch {
    /// Room for a batch.
    pub fn new() -> ReceiveBatch {
        ReceiveBatch { envelopes: envelopes(), headers: Headers::new(), count: 0 }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether there may be more where these came from.
    pub fn is_full(&self) -> bool {
        self.count == BATCH
    }

    /// One of them.
    pub fn get(&self, index: usize) -> ReceivedDatagram<'_> {
        let (envelope, header) = (&self.envelopes[index], &self.headers.messages[index]);
        let name = &envelope.name[..NAME.min(header.msg_hdr.msg_namelen as usize)];
        let mut received = ReceivedDatagram {
            bytes: &envelope.bytes[..BUFFER_LEN.min(header.msg_len as usize)],
            peer: read_address(name),
            local: None,
            stamp: None,
            lost: None,
        };
        for (level, kind, data) in messages(self.control(index)) {
            kernel::read(level, kind, data, &mut received);
        }
        received
    }

    /// The control messages of one of them.
    pub(super) fn control(&self, index: usize) -> &[u8] {
        let length = self.headers.messages[index].msg_hdr.msg_controllen as u64;
        &self.envelopes[index].control.0[..length.min(CONTROL as u64) as usize]
    }

    /// Takes in what has come, up to a batch, in place of what was here.
    ///
    /// # Errors
    /// `WouldBlock` when there is nothing; the system's.
    pub(super) fn receive(&mut self, socket: BorrowedFd<'_>, flags: libc::c_int) -> io::Result<()> {
        self.count = 0;
        self.count = self.headers.receive(socket, &mut self.envelopes, flags)?;
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
pub(super) struct SendBatch {
    envelopes: Box<[Envelope]>,
    headers: Headers,
    count: usize,
}

impl SendBatch {
    /// Room for a batch.
    pub(super) fn new() -> SendBatch {
        SendBatch { envelopes: envelopes(), headers: Headers::new(), count: 0 }
    }

    /// Adds a datagram, for the connected peer if `peer` is none; false if there is no room left.
    pub(super) fn add(
        &mut self,
        datagram: &[u8; DATAGRAM_LEN],
        peer: Option<SocketAddr>,
        beside: &SendMetadata,
    ) -> bool {
        let Some(envelope) = self.envelopes.get_mut(self.count) else { return false };
        envelope.bytes[..DATAGRAM_LEN].copy_from_slice(datagram);
        let name = peer.map_or(0, |peer| write_address(peer, &mut envelope.name));
        self.headers.lengths[self.count] = (name, kernel::write(&mut envelope.control.0, beside));
        self.count += 1;
        true
    }

    /// Sends all, and forgets them. Returns how many were sent: if fewer than there were, then the next one
    /// has been tried.
    ///
    /// # Errors
    /// When the first could not be sent.
    pub(super) fn send(&mut self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        let count = std::mem::take(&mut self.count);
        self.headers.send(socket, &mut self.envelopes[..count])
    }
}

/// One datagram with everything beside it.
#[derive(Clone, Debug)]
struct Envelope {
    control: Control,
    name: [u8; NAME],
    bytes: [u8; BUFFER_LEN],
}

/// Control messages begin with a word.
#[derive(Clone, Debug)]
#[repr(align(8))]
struct Control([u8; CONTROL]);

fn envelopes() -> Box<[Envelope]> {
    vec![Envelope { control: Control([0; CONTROL]), name: [0; NAME], bytes: [0; BUFFER_LEN] }; BATCH].into()
}

/// What the calls want to be told of each datagram. Between two calls the pointers in here mean nothing.
struct Headers {
    messages: Box<[libc::mmsghdr]>,
    vectors: Box<[libc::iovec]>,
    /// Of what is to be sent: the length of its address and of its control messages.
    lengths: Box<[(usize, usize)]>,
}

#[expect(
    unsafe_code,
    reason = "these two calls take pointers, and no package that we know calls them as we need"
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

    fn receive(
        &mut self,
        socket: BorrowedFd<'_>,
        to: &mut [Envelope],
        flags: libc::c_int,
    ) -> io::Result<usize> {
        let count = self.aim(to, |_| (NAME, CONTROL, BUFFER_LEN));
        let no_timeout = std::ptr::null_mut();
        // SAFETY: `count` headers point to buffers of the lengths that they state, which nobody else uses
        // meanwhile.
        let received = unsafe {
            libc::recvmmsg(socket.as_raw_fd(), self.messages.as_mut_ptr(), count as _, flags as _, no_timeout)
        };
        counted(received)
    }

    fn send(&mut self, socket: BorrowedFd<'_>, from: &mut [Envelope]) -> io::Result<usize> {
        let lengths = std::mem::take(&mut self.lengths);
        let count = self.aim(from, |index| (lengths[index].0, lengths[index].1, DATAGRAM_LEN));
        self.lengths = lengths;
        // SAFETY: `count` headers point to buffers of the lengths that they state, which nobody else uses
        // meanwhile.
        let sent = unsafe { libc::sendmmsg(socket.as_raw_fd(), self.messages.as_mut_ptr(), count as _, 0) };
        counted(sent)
    }

    /// Points the headers to the envelopes, with the lengths of name, control messages and bytes of each. How
    /// many there are.
    fn aim(&mut self, at: &mut [Envelope], lengths: impl Fn(usize) -> (usize, usize, usize)) -> usize {
        let headers = self.messages.iter_mut().zip(self.vectors.iter_mut());
        let mut count = 0;
        for ((message, vector), envelope) in headers.zip(at) {
            let (name, control, bytes) = lengths(count);
            assert!(
                name <= NAME && control <= CONTROL && bytes <= BUFFER_LEN,
                "no header points beyond its buffer"
            );
            vector.iov_base = envelope.bytes.as_mut_ptr().cast();
            vector.iov_len = bytes;
            let header = &mut message.msg_hdr;
            header.msg_name =
                if name == 0 { std::ptr::null_mut() } else { envelope.name.as_mut_ptr().cast() };
            header.msg_namelen = name as _;
            header.msg_iov = vector;
            header.msg_iovlen = 1;
            header.msg_control =
                if control == 0 { std::ptr::null_mut() } else { envelope.control.0.as_mut_ptr().cast() };
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

/// As many as are handled in well under a millisecond; with more of them the calls are hardly cheaper for
/// each.
pub const BATCH: usize = 64;
/// Longer than a datagram, so that one that is too long does not look right when its end is cut off.
pub(crate) const BUFFER_LEN: usize = DATAGRAM_LEN + 32;
/// Room for all control messages that a datagram, or an entry of the error queue, may have: three timestamps,
/// the address of ours, the count of what was lost; or an error and the address that has caused it.
const CONTROL: usize = 224;
