//! Control messages and socket addresses, as the bytes that the kernel reads and writes.
//!
//! A control message is a header (its length, level and type), then its data, padded to the size of a word.
//! Everything here works on slices: what does not fit is not written, and an invalid length ends the reading.

use std::ffi::c_int;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

/// The control messages of one datagram that was received: level, type and data of each.
pub(super) fn messages(mut rest: &[u8]) -> impl Iterator<Item = (c_int, c_int, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from_ne_bytes(array(rest, 0)?);
        let (level, kind) =
            (c_int::from_ne_bytes(array(rest, WORD)?), c_int::from_ne_bytes(array(rest, WORD + 4)?));
        let data = rest.get(HEADER..length)?;
        rest = rest.get(padded(length)..).unwrap_or_default();
        Some((level, kind, data))
    })
}

/// Adds a control message after the first `used` bytes; how many bytes are used then.
pub(super) fn add(control: &mut [u8], used: usize, level: c_int, kind: c_int, data: &[&[u8]]) -> usize {
    let length = HEADER + data.iter().map(|part| part.len()).sum::<usize>();
    let Some(message) = control.get_mut(used..used + padded(length)) else { return used };
    message.fill(0);
    message[..WORD].copy_from_slice(&length.to_ne_bytes());
    message[WORD..WORD + 4].copy_from_slice(&level.to_ne_bytes());
    message[WORD + 4..HEADER].copy_from_slice(&kind.to_ne_bytes());
    let mut at = HEADER;
    for part in data {
        message[at..at + part.len()].copy_from_slice(part);
        at += part.len();
    }
    used + padded(length)
}

/// The bytes at `at`, if there are so many.
pub(super) fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

/// Writes a socket address; its length.
pub(super) fn write_address(address: SocketAddr, name: &mut [u8; NAME]) -> usize {
    name.fill(0);
    name[2..4].copy_from_slice(&address.port().to_be_bytes());
    match address {
        SocketAddr::V4(v4) => {
            name[..2].copy_from_slice(&(libc::AF_INET as u16).to_ne_bytes());
            name[4..8].copy_from_slice(&v4.ip().octets());
            V4_NAME
        }
        SocketAddr::V6(v6) => {
            name[..2].copy_from_slice(&(libc::AF_INET6 as u16).to_ne_bytes());
            name[4..8].copy_from_slice(&v6.flowinfo().to_ne_bytes());
            name[8..24].copy_from_slice(&v6.ip().octets());
            name[24..].copy_from_slice(&v6.scope_id().to_ne_bytes());
            NAME
        }
    }
}

/// Reads a socket address; `None` if there is none, or of another family.
pub(super) fn read_address(name: &[u8]) -> Option<SocketAddr> {
    let port = u16::from_be_bytes(array(name, 2)?);
    match i32::from(u16::from_ne_bytes(array(name, 0)?)) {
        libc::AF_INET => Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::from(array::<4>(name, 4)?)), port)),
        libc::AF_INET6 => {
            let (flow, scope) = (u32::from_ne_bytes(array(name, 4)?), u32::from_ne_bytes(array(name, 24)?));
            Some(SocketAddrV6::new(Ipv6Addr::from(array::<16>(name, 8)?), port, flow, scope).into())
        }
        _ => None,
    }
}

const fn padded(length: usize) -> usize {
    length.next_multiple_of(WORD)
}

/// Room for a socket address of either family: `sockaddr_in6`.
pub(super) const NAME: usize = 28;
/// A `sockaddr_in`.
const V4_NAME: usize = 16;
const WORD: usize = size_of::<usize>();
/// The header of a control message: its length, level and type.
const HEADER: usize = WORD + 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_they_were_written() {
        let scoped = SocketAddr::from(SocketAddrV6::new("fe80::1".parse().unwrap(), 7, 9, 3));
        for address in ["192.0.2.1:5525".parse().unwrap(), "[2001:db8::1]:1".parse().unwrap(), scoped] {
            let mut name = [0xa5; NAME];
            let length = write_address(address, &mut name);
            assert_eq!(read_address(&name[..length]), Some(address));
            assert_eq!(read_address(&name[..length - 9]), None, "cut off");
        }
        assert_eq!(read_address(&[]), None);
    }

    #[test]
    fn control_messages_are_read_as_they_were_written_and_not_beyond_their_end() {
        let mut control = [0xa5; 64];
        let one = add(&mut control, 0, 1, 2, &[&[7; 3], &[8]]);
        let two = add(&mut control, one, 3, 4, &[&[9; 12]]);
        let read: Vec<_> = messages(&control[..two]).collect();
        assert_eq!(read, [(1, 2, &[7, 7, 7, 8][..]), (3, 4, &[9; 12][..])]);
        assert_eq!(messages(&control[..one + 3]).count(), 1);
        assert_eq!(add(&mut control, two, 5, 6, &[&[0; 40]]), two, "what does not fit is left out");
    }

    #[test]
    fn invalid_lengths_end_the_reading() {
        for length in [0_usize, 1, HEADER - 1, usize::MAX, usize::MAX - 7] {
            let mut control = [0; 64];
            add(&mut control, 0, 1, 2, &[&[7; 4]]);
            control[..WORD].copy_from_slice(&length.to_ne_bytes());
            assert_eq!(messages(&control).count(), 0, "{length}");
        }
    }
}
