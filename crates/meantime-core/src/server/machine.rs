//! Machines, as far as their addresses tell them apart.

use core::net::IpAddr;

use ipnet::IpNet;

use crate::ServerConfig;

/// All addresses of the machine that has this one, by the configuration: unless set otherwise one IPv4
/// address, or one IPv6 /64.
pub(super) fn machine_of(config: &ServerConfig, ip: IpAddr) -> IpNet {
    let prefix = if ip.is_ipv4() { config.ipv4_machine_prefix } else { config.ipv6_machine_prefix };
    IpNet::new(ip, prefix).unwrap_or(IpNet::from(ip)).trunc()
}
