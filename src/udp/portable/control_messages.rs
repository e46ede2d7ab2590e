//! The control message that travels with a datagram: its local address.

use std::net::IpAddr;

use nix::libc::{in_addr, in_pktinfo, in6_addr, in6_pktinfo};
use nix::sys::socket::{ControlMessage, ControlMessageOwned};

use crate::udp::address::{Family, v6_source};
use crate::udp::datagram::SendMetadata;

/// The local address that a datagram was sent to.
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
pub(super) fn with_source<T>(metadata: &SendMetadata, send: impl FnOnce(&[ControlMessage<'_>]) -> T) -> T {
    match metadata.local {
        None => send(&[]),
        Some(IpAddr::V4(local)) if metadata.family == Family::V4 => {
            let address = in_addr { s_addr: u32::from_ne_bytes(local.octets()) };
            let info = in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: address, ipi_addr: in_addr { s_addr: 0 } };
            send(&[ControlMessage::Ipv4PacketInfo(&info)])
        }
        Some(local) => {
            let (address, interface) = v6_source(local, metadata.peer);
            let info = in6_pktinfo {
                ipi6_addr: in6_addr { s6_addr: address.octets() },
                ipi6_ifindex: interface as _,
            };
            send(&[ControlMessage::Ipv6PacketInfo(&info)])
        }
    }
}

/// Room for the control message of one datagram.
pub(super) fn control_buffer() -> Vec<u8> {
    nix::cmsg_space!(in6_pktinfo)
}
