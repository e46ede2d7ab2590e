//! The addresses of numbered nodes: number 0 is 10.0.0.1, and all use the default port.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use meantime_core::wire::DEFAULT_PORT;

/// The address of the node with this number.
pub fn address(number: usize) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::from_bits(FIRST + number as u32)), DEFAULT_PORT)
}

/// The number of the node at this address; `None`: it is no address of [`address`].
pub fn number(address: SocketAddr) -> Option<usize> {
    match address.ip() {
        IpAddr::V4(ip) => ip.to_bits().checked_sub(FIRST).map(|number| number as usize),
        IpAddr::V6(_) => None,
    }
}

/// 10.0.0.1.
const FIRST: u32 = 0x0a00_0001;
