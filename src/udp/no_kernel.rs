//! Systems whose kernel takes no timestamps that this program knows of: user-space time has to do.

use std::io;
use std::net::IpAddr;
use std::os::fd::AsFd;

use nix::libc::{in_addr, in_pktinfo, in6_addr, in6_pktinfo};
use nix::sys::socket::{ControlMessage, ControlMessageOwned, setsockopt, sockopt};

use super::sockets::{SendMetadata, v6_source};
use meantime_core::StampId;
use meantime_core::time::Timestamp;

/// Never there.
#[derive(Debug)]
pub(super) enum TransmitTimestamps {}

impl TransmitTimestamps {
    pub(super) fn request<S>(_socket: &S) -> io::Result<TransmitTimestamps> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn sent(&mut self, _id: StampId) {
        match *self {}
    }

    pub(super) fn failed<S>(&mut self, _socket: &S) -> io::Result<()> {
        match *self {}
    }

    pub(super) fn next<S>(
        &mut self,
        _socket: &S,
        _left: &mut dyn FnMut(StampId, Timestamp),
    ) -> io::Result<bool> {
        match *self {}
    }
}

/// Which of our addresses the datagram was sent to.
pub(super) fn destination(message: ControlMessageOwned) -> Option<IpAddr> {
    match message {
        // The specific destination: for a broadcast the address of the interface, which can answer.
        ControlMessageOwned::Ipv4PacketInfo(info) => {
            Some(IpAddr::from(info.ipi_spec_dst.s_addr.to_ne_bytes()))
        }
        ControlMessageOwned::Ipv6PacketInfo(info) => {
            Some(IpAddr::from(info.ipi6_addr.s6_addr).to_canonical())
        }
        _ => None,
    }
}

/// Sends with the control message that makes the socket send from the right address.
pub(super) fn with_source<T>(beside: &SendMetadata, send: impl FnOnce(&[ControlMessage<'_>]) -> T) -> T {
    match beside.local {
        None => send(&[]),
        Some(IpAddr::V4(local)) if !beside.is_v6 => {
            let address = in_addr { s_addr: u32::from_ne_bytes(local.octets()) };
            let info = in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: address, ipi_addr: in_addr { s_addr: 0 } };
            send(&[ControlMessage::Ipv4PacketInfo(&info)])
        }
        Some(local) => {
            let (address, interface) = v6_source(local, beside.peer);
            let info = in6_pktinfo {
                ipi6_addr: in6_addr { s6_addr: address.octets() },
                ipi6_ifindex: interface as _,
            };
            send(&[ControlMessage::Ipv6PacketInfo(&info)])
        }
    }
}

/// Nobody counts them.
pub(super) fn count_lost<S>(_socket: &S) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Asks for buffers of this size. More is welcome and less will do: the system may grant less.
pub(super) fn enlarge_buffers(socket: &impl AsFd, receive: usize, send: usize) {
    let _ = setsockopt(socket, sockopt::RcvBuf, &receive);
    let _ = setsockopt(socket, sockopt::SndBuf, &send);
}

pub(super) fn control_buffer() -> Vec<u8> {
    nix::cmsg_space!(in6_pktinfo)
}
