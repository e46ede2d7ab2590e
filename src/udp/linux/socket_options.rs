//! Options of a UDP socket that Linux alone has, or has more of.

use std::io;
use std::os::fd::AsFd;

use nix::sys::socket::{setsockopt, sockopt};

/// Makes the kernel report how many datagrams were lost because the socket's buffer was full.
///
/// # Errors
/// When the kernel does not count them.
pub(in crate::udp) fn count_lost(socket: &impl AsFd) -> io::Result<()> {
    Ok(setsockopt(socket, sockopt::RxqOvfl, &1)?)
}

/// Requests buffers of these sizes, in bytes; beyond the system's limit where this process has the privilege.
pub(in crate::udp) fn enlarge_buffers(socket: &impl AsFd, receive: usize, send: usize) {
    if setsockopt(socket, sockopt::RcvBufForce, &receive).is_err() {
        // A smaller buffer works as well, so a refusal is no error.
        let _ = setsockopt(socket, sockopt::RcvBuf, &receive);
    }
    if setsockopt(socket, sockopt::SndBufForce, &send).is_err() {
        let _ = setsockopt(socket, sockopt::SndBuf, &send);
    }
}
