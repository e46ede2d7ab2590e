//! The control messages that travel with a datagram (`IP_PKTINFO`, `SO_TIMESTAMPING`, `SO_RXQ_OVFL`): the
//! local address and the interface, the timestamps of kernel and card, and how many datagrams were lost
//! before this one.

use std::ffi::c_int;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nix::sys::socket::TimestampingFlag;

use super::ancillary::{add, array, messages};
use crate::udp::address::{Family, v6_source};
use crate::udp::datagram::{CardStamp, ReceivedDatagram, SendMetadata, Stamping, TransmitTime};
use meantime_core::time::{Span, Timestamp};

/// Takes over what one control message reports of a datagram that was received.
pub(super) fn read(level: c_int, kind: c_int, data: &[u8], received: &mut ReceivedDatagram<'_>) {
    match (level, kind) {
        (libc::SOL_SOCKET, libc::SCM_TIMESTAMPING) => {
            received.timestamp = timestamp(data, KERNEL);
            let interface = received.card_interface;
            received.card = timestamp(data, CARD).map(|time| CardStamp { interface, time });
        }
        // The card's own interface, below a VLAN or a bond. The kernel reports it before the timestamps.
        (libc::SOL_SOCKET, SCM_TIMESTAMPING_PKTINFO) => {
            let interface = array(data, 0).map(u32::from_ne_bytes).filter(|index| *index != 0);
            received.card_interface = interface;
            received.card = received.card.map(|stamp| CardStamp { interface, ..stamp });
        }
        (libc::SOL_SOCKET, libc::SO_RXQ_OVFL) => received.lost = array(data, 0).map(u32::from_ne_bytes),
        // The specific destination: for a broadcast the address of the interface, which can answer.
        (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
            received.local = array::<4>(data, 4).map(|octets| Ipv4Addr::from(octets).into());
            received.interface = interface(level, data);
        }
        (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
            received.local = array::<16>(data, 0).map(|octets| Ipv6Addr::from(octets).to_canonical());
            received.interface = interface(level, data);
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
    let how = match metadata.stamping {
        None => return used,
        Some(Stamping::Kernel) => TimestampingFlag::SOF_TIMESTAMPING_TX_SOFTWARE,
        Some(Stamping::Hardware) => {
            TimestampingFlag::SOF_TIMESTAMPING_TX_SOFTWARE | TimestampingFlag::SOF_TIMESTAMPING_TX_HARDWARE
        }
    };
    add(control, used, libc::SOL_SOCKET, libc::SO_TIMESTAMPING, &[&how.bits().to_ne_bytes()])
}

/// A transmit timestamp, as an entry of the error queue reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Departure {
    /// The number of the datagram.
    pub(super) number: u32,
    /// The index of the network interface, if it was asked for.
    pub(super) interface: Option<u32>,
    pub(super) time: TransmitTime,
}

/// The transmit timestamp in the control messages of an entry of the error queue.
pub(super) fn departure(control: &[u8]) -> Option<Departure> {
    let (mut sent, mut number, mut through) = (None, None, None);
    for (level, kind, data) in messages(control) {
        match (level, kind) {
            (libc::SOL_SOCKET, libc::SCM_TIMESTAMPING) => {
                let kernel = timestamp(data, KERNEL).map(TransmitTime::Kernel);
                sent = timestamp(data, CARD).map(TransmitTime::Card).or(kernel);
            }
            (libc::IPPROTO_IP, libc::IP_PKTINFO) | (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                through = interface(level, data);
            }
            (libc::SOL_IP, libc::IP_RECVERR) | (libc::SOL_IPV6, libc::IPV6_RECVERR) => {
                number = datagram_number(data);
            }
            _ => {}
        }
    }
    Some(Departure { number: number?, interface: through, time: sent? })
}

/// The index of the interface in a control message with the local address.
fn interface(level: c_int, data: &[u8]) -> Option<u32> {
    let at = if level == libc::IPPROTO_IP { 0 } else { 16 };
    array(data, at).map(u32::from_ne_bytes).filter(|index| *index != 0)
}

/// One of three times; `None` where none was recorded.
fn timestamp(data: &[u8], which: usize) -> Option<Timestamp> {
    let data = data.get(which * size_of::<libc::timespec>()..)?;
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

/// The first of three times is the kernel's, by its wall clock.
const KERNEL: usize = 0;
/// The third is the card's, by its own clock.
const CARD: usize = 2;
/// The datagram was given to the network card, or left it: of `linux/errqueue.h`.
const SCM_TSTAMP_SND: u32 = 0;
/// Of `asm-generic/socket.h`.
const SCM_TIMESTAMPING_PKTINFO: c_int = 58;

/// The control messages of a datagram that the kernel and the card of this interface have stamped.
#[cfg(test)]
pub(crate) fn stamped_by_a_card(kernel: Timestamp, card: Timestamp, interface: u32) -> Vec<u8> {
    let mut control = [0; 256];
    let info = [interface, 96, 0, 0].map(u32::to_ne_bytes).concat();
    let used = add(&mut control, 0, libc::SOL_SOCKET, SCM_TIMESTAMPING_PKTINFO, &[&info]);
    let used = tests::add_times(&mut control, used, [kernel.as_nanos(), 0, card.as_nanos()]);
    control[..used].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Adds the three times of one datagram, in nanoseconds; zero: none.
    pub(super) fn add_times(control: &mut [u8], used: usize, times: [i64; 3]) -> usize {
        let words = times.map(|ns| [(ns / 1_000_000_000) as usize, (ns % 1_000_000_000) as usize]);
        let bytes: Vec<u8> = words.iter().flatten().flat_map(|word| word.to_ne_bytes()).collect();
        add(control, used, libc::SOL_SOCKET, libc::SCM_TIMESTAMPING, &[&bytes])
    }

    fn nothing() -> ReceivedDatagram<'static> {
        let (interface, timestamp, card) = (None, None, None);
        ReceivedDatagram {
            bytes: &[],
            peer: None,
            local: None,
            interface,
            timestamp,
            card,
            card_interface: None,
            lost: None,
        }
    }

    fn received(control: &[u8]) -> ReceivedDatagram<'static> {
        let mut received = nothing();
        for (level, kind, data) in messages(control) {
            read(level, kind, data, &mut received);
        }
        received
    }

    #[test]
    fn the_kernels_timestamp_the_cards_and_its_interface_are_told_apart() {
        let mut control = [0; 256];
        let used = add_times(&mut control, 0, [7_000_000_009, 5, 3_000_000_004]);
        let only_times = received(&control[..used]);
        assert_eq!(only_times.timestamp, Some(Timestamp::from_nanos(7_000_000_009)));
        let time = Timestamp::from_nanos(3_000_000_004);
        assert_eq!(only_times.card, Some(CardStamp { interface: None, time }));
        let info = [3_u32, 96, 0, 0].map(u32::to_ne_bytes).concat();
        let used = add(&mut control, used, libc::SOL_SOCKET, SCM_TIMESTAMPING_PKTINFO, &[&info]);
        assert_eq!(received(&control[..used]).card, Some(CardStamp { interface: Some(3), time }));
    }

    #[test]
    fn a_datagram_that_no_card_has_stamped_has_no_cards_timestamp() {
        let mut control = [0; 256];
        let used = add_times(&mut control, 0, [7, 0, 0]);
        let info = [3_u32, 96, 0, 0].map(u32::to_ne_bytes).concat();
        let used = add(&mut control, used, libc::SOL_SOCKET, SCM_TIMESTAMPING_PKTINFO, &[&info]);
        let found = received(&control[..used]);
        assert_eq!((found.timestamp, found.card), (Some(Timestamp::from_nanos(7)), None));
        // Cut off after the first of three times.
        let mut short = [0; 64];
        let used = add(&mut short, 0, libc::SOL_SOCKET, libc::SCM_TIMESTAMPING, &[&[1; 16]]);
        assert_eq!(received(&short[..used]).card, None);
    }

    #[test]
    fn the_interface_stands_beside_the_local_address_in_both_families() {
        let mut control = [0; 128];
        let v4 = [4_u8, 0, 0, 0, 192, 0, 2, 1, 192, 0, 2, 1];
        let used = add(&mut control, 0, libc::IPPROTO_IP, libc::IP_PKTINFO, &[&v4]);
        let found = received(&control[..used]);
        assert_eq!((found.interface, found.local), (Some(4), Some("192.0.2.1".parse().unwrap())));
        let address = Ipv4Addr::new(192, 0, 2, 1).to_ipv6_mapped().octets();
        let parts: [&[u8]; 2] = [&address, &5_u32.to_ne_bytes()];
        let used = add(&mut control, 0, libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &parts);
        let found = received(&control[..used]);
        assert_eq!((found.interface, found.local), (Some(5), Some("192.0.2.1".parse().unwrap())));
    }

    #[test]
    fn a_departure_is_read_from_the_error_queue_with_its_interface() {
        for (times, time) in [
            ([9, 0, 0], TransmitTime::Kernel(Timestamp::from_nanos(9))),
            ([0, 0, 8], TransmitTime::Card(Timestamp::from_nanos(8))),
        ] {
            let mut control = [0; 256];
            let mut used = add_times(&mut control, 0, times);
            let parts: [&[u8]; 2] = [&[0; 16], &5_u32.to_ne_bytes()];
            used = add(&mut control, used, libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &parts);
            assert_eq!(departure(&control[..used]), None, "no number");
            let mut error = [0; 28];
            error[4] = libc::SO_EE_ORIGIN_TIMESTAMPING;
            error[12] = 77;
            used = add(&mut control, used, libc::SOL_IPV6, libc::IPV6_RECVERR, &[&error]);
            assert_eq!(departure(&control[..used]), Some(Departure { number: 77, interface: Some(5), time }));
        }
    }
}
