//! Decision: what an operator has decided about clients, as the active server passes it on.

use core::net::{IpAddr, Ipv6Addr};

use byteorder::{BigEndian, ByteOrder};
use ipnet::IpNet;

use super::datagram::BodyBytes;
use super::error::DecodeError;
use super::name::Name;

/// Server to the client of a standby server: one entry of the list of clients that an operator has removed
/// from the vote or banned. A list has at least one entry; that of an empty list is `None`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The number of the list, not 0: each change of the list has another one.
    pub generation: u16,
    /// The place of the entry in the list, from 0; less than 2¹⁵.
    pub index: u16,
    /// Whether it is the last one.
    pub last: bool,
    /// What was decided; `None`: nothing, the list is empty.
    pub decided: Option<DecidedClients>,
}

/// Clients, and what was decided about them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecidedClients {
    /// What was decided.
    pub ruling: Ruling,
    /// The network of the clients; `None`: they are meant by their name.
    pub network: Option<IpNet>,
    /// The port of the one client that is meant, whose address is the network; 0: all in the network.
    pub port: u16,
    /// The name by which they are known, too; empty: none.
    pub name: Name,
}

/// What an operator can decide about clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ruling {
    /// They have no vote.
    Removed,
    /// They are not admitted.
    Banned,
}

impl Decision {
    pub(super) fn encode(&self, body: &mut BodyBytes) {
        BigEndian::write_u16(&mut body[field::GENERATION], self.generation);
        BigEndian::write_u16(&mut body[field::INDEX], self.index | if self.last { LAST } else { 0 });
        body[field::PREFIX] = NO_NETWORK;
        let Some(DecidedClients { ruling, network, port, name }) = self.decided else { return };
        body[field::RULING] = match ruling {
            Ruling::Removed => 1,
            Ruling::Banned => 2,
        };
        if let Some(network) = network {
            let (address, shorter) = match network.addr() {
                IpAddr::V4(address) => (address.to_ipv6_mapped(), MAPPED),
                IpAddr::V6(address) => (address, 0),
            };
            body[field::PREFIX] = network.prefix_len() + shorter;
            body[field::ADDRESS].copy_from_slice(&address.octets());
        }
        BigEndian::write_u16(&mut body[field::PORT], port);
        body[field::NAME].copy_from_slice(&name.to_bytes());
    }

    pub(super) fn decode(body: &BodyBytes) -> Result<Decision, DecodeError> {
        let generation = BigEndian::read_u16(&body[field::GENERATION]);
        let index = BigEndian::read_u16(&body[field::INDEX]);
        if generation == 0 {
            return Err(DecodeError::Field("generation"));
        }
        let ruling = match body[field::RULING] {
            0 => None,
            1 => Some(Ruling::Removed),
            2 => Some(Ruling::Banned),
            _ => return Err(DecodeError::Field("ruling")),
        };
        let decided = ruling.map(|ruling| DecidedClients::decode(ruling, body)).transpose()?;
        if decided.is_none() && index != LAST {
            return Err(DecodeError::Field("index"));
        }
        Ok(Decision { generation, index: index & !LAST, last: index & LAST != 0, decided })
    }
}

impl DecidedClients {
    fn decode(ruling: Ruling, body: &BodyBytes) -> Result<DecidedClients, DecodeError> {
        let (mut name, mut address) = ([0; Name::LEN], [0; 16]);
        name.copy_from_slice(&body[field::NAME]);
        address.copy_from_slice(&body[field::ADDRESS]);
        let name = Name::from_bytes(name).ok_or(DecodeError::Field("name"))?;
        let address = Ipv6Addr::from(address).to_canonical();
        let shorter = if address.is_ipv4() { MAPPED } else { 0 };
        let network = match body[field::PREFIX] {
            NO_NETWORK => None,
            prefix => {
                let prefix = prefix.checked_sub(shorter).ok_or(DecodeError::Field("network"))?;
                Some(IpNet::new(address, prefix).map_err(|_| DecodeError::Field("network"))?)
            }
        };
        let port = BigEndian::read_u16(&body[field::PORT]);
        let is_host = network.is_some_and(|network| network.prefix_len() == network.max_prefix_len());
        if port != 0 && !is_host {
            return Err(DecodeError::Field("port"));
        }
        if network.is_none() && name == Name::default() {
            return Err(DecodeError::Field("name"));
        }
        Ok(DecidedClients { ruling, network, port, name })
    }
}

/// In the index: this entry is the last one.
const LAST: u16 = 1 << 15;
/// The prefix where there is no network.
const NO_NETWORK: u8 = u8::MAX;
/// By how much the prefix of an IPv4 network is longer as one of IPv6.
const MAPPED: u8 = 96;

mod field {
    use core::ops::Range;

    pub(super) const GENERATION: Range<usize> = 0..2;
    pub(super) const INDEX: Range<usize> = 2..4;
    pub(super) const RULING: usize = 4;
    pub(super) const PREFIX: usize = 5;
    pub(super) const PORT: Range<usize> = 6..8;
    pub(super) const ADDRESS: Range<usize> = 8..24;
    pub(super) const NAME: Range<usize> = 24..48;
}

#[cfg(test)]
mod tests {
    use super::super::datagram::BODY_LEN;
    use super::*;

    fn decision(network: Option<&str>, port: u16, name: &str) -> Decision {
        let network = network.map(|network| network.parse().unwrap());
        let decided = DecidedClients { ruling: Ruling::Banned, network, port, name: Name::new(name) };
        Decision { generation: 7, index: 3, last: true, decided: Some(decided) }
    }

    fn read(decision: Decision) -> Result<Decision, DecodeError> {
        let mut body = [0; BODY_LEN];
        decision.encode(&mut body);
        Decision::decode(&body)
    }

    #[test]
    fn decisions_are_read_as_they_were_written() {
        let empty = Decision { generation: 1, index: 0, last: true, decided: None };
        for decision in [
            empty,
            decision(None, 0, "pump"),
            decision(Some("192.0.2.7/32"), 4_000, "pump"),
            decision(Some("192.0.2.0/24"), 0, ""),
            decision(Some("0.0.0.0/0"), 0, ""),
            decision(Some("2001:db8::/48"), 0, "pump"),
            decision(Some("::/0"), 0, ""),
        ] {
            assert_eq!(read(decision), Ok(decision));
        }
    }

    #[test]
    fn a_decision_about_nobody_or_with_a_port_in_a_network_is_malformed() {
        assert!(read(decision(None, 0, "")).is_err());
        assert!(read(decision(Some("192.0.2.0/24"), 4_000, "")).is_err());
        assert!(read(Decision { generation: 0, ..decision(None, 0, "pump") }).is_err());
        assert!(read(Decision { decided: None, ..decision(None, 0, "pump") }).is_err(), "none at a place");
    }
}
