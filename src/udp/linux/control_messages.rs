//! The control messages that travel with a datagram (`IP_PKTINFO`, `SO_TIMESTAMPING`, `SO_RXQ_OVFL`): the
//! local address, the kernel's timestamp, and how many datagrams were lost before this one.

use std::ffi::c_int;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nix::sys::socket::TimestampingFlag;

use super::ancillary::{add, array, messages};
use crate::udp::address::{Family, v6_source};
use crate::udp::datagram::{ReceivedDatagram, SendMetadata};
use meantime_core::time::{Span, Timestamp};

/// Takes over what one control message reports of a datagram that was received.
pub(super) fn read(level: c_int, kind: c_int, data: &[u8], received: &mut ReceivedDatagram<'_>) {
    match (level, kind) {
        (libc::SOL_SOCKET, libc::SCM_TIMESTAMPING) => received.timestamp = timestamp(data),
        (libc::SOL_SOCKET, libc::SO_RXQ_OVFL) => received.lost = array(data, 0).map(u32::from_ne_bytes),
        // The specific destination: for a broadcast the address of the interface, which can answer.
        (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
            received.local = array::<4>(data, 4).map(|octets| Ipv4Addr::from(octets).into());
        }
        (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
            received.local = array::<16>(data, 0).map(|octets| Ipv6Addr::from(octets).to_canonical());
        }
        _ => {}
    }
}

/// Writes the control messages of a datagram that is to be sent. Returns their length in bytes.
pub(super) fn write(control: &mut [u8], metadata: &SendMetadata) -> usize {
    let used = match metadata.local {
        None => 0,
        Some(IpAddr::V4(local)) if metadata.family == Family::V4 => {
            add(control, 0, libc::IPPROTO_IP, libc::IP_PKTINFO, &[&[0; 4], &local.octets(), &[0; 4]])
        }
        Some(local) => {
            let (address, interface) = v6_source(local, metadata.peer);
            let data: [&[u8]; 2] = [&address.octets(), &interface.to_ne_bytes()];
            add(control, 0, libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &data)
        }
    };
    if !metadata.wants_timestamp {
        return used;
    }
    let how = TimestampingFlag::SOF_TIMESTAMPING_TX_SOFTWARE.bits();
    add(control, used, libc::SOL_SOCKET, libc::SO_TIMESTAMPING, &[&how.to_ne_bytes()])
}

/// The transmit timestamp in the control messages of an entry of the error queue, and the number of the
/// datagram that it belongs to.
pub(super) fn transmit_timestamp(control: &[u8]) -> Option<(u32, Timestamp)> {
    let (mut sent, mut number) = (None, None);
    for (level, kind, data) in messages(control) {
        match (level, kind) {
            (libc::SOL_SOCKET, libc::SCM_TIMESTAMPING) => sent = timestamp(data),
            (libc::SOL_IP, libc::IP_RECVERR) | (libc::SOL_IPV6, libc::IPV6_RECVERR) => {
                number = datagram_number(data);
            }
            _ => {}
        }
    }
    Some((number?, sent?))
}

/// The kernel's wall clock, the first of three times; `None` where the kernel has recorded none.
fn timestamp(data: &[u8]) -> Option<Timestamp> {
    // Seconds and nanoseconds, each a word.
    let half = size_of::<libc::timespec>() / 2;
    let word = |at: usize| match half {
        4 => array(data, at).map(|bytes| i64::from(i32::from_ne_bytes(bytes))),
        _ => array(data, at).map(i64::from_ne_bytes),
    };
    let ns = Span::from_secs(word(0)?) + Span::from_nanos(word(half)?);
    (ns != Span::ZERO).then(|| Timestamp::from_nanos(ns.as_nanos()))
}

/// The number of the datagram that a transmit timestamp belongs to, from a `sock_extended_err`.
fn datagram_number(error: &[u8]) -> Option<u32> {
    let origin = *error.get(4)?;
    let is_timestamp =
        origin == libc::SO_EE_ORIGIN_TIMESTAMPING && array(error, 8) == Some(SCM_TSTAMP_SND.to_ne_bytes());
    array(error, 12).filter(|_| is_timestamp).map(u32::from_ne_bytes)
}

/// The datagram was given to the network card: of `linux/errqueue.h`.
const SCM_TSTAMP_SND: u32 = 0;
