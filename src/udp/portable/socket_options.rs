//! Options of a UDP socket that every system has.

use std::io;
use std::os::fd::AsFd;

use nix::sys::socket::{setsockopt, sockopt};

/// Losses are not counted.
pub(in crate::udp) fn count_lost<S>(_socket: &S) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Requests buffers of these sizes, in bytes. A smaller buffer works as well, so a refusal is no error.
pub(in crate::udp) fn enlarge_buffers(socket: &impl AsFd, receive: usize, send: usize) {
    let _ = setsockopt(socket, sockopt::RcvBuf, &receive);
    let _ = setsockopt(socket, sockopt::SndBuf, &send);
}
