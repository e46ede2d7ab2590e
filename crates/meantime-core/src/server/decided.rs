//! Clients that an operator has decided about, as the wire names them and as the tables of a server do.

use ipnet::IpNet;

use crate::peer::ClientSelector;
use crate::wire::{DecidedClients, Name, Ruling};

/// The clients that are meant by this selector, and known by this name, too.
pub(super) fn decided(ruling: Ruling, selector: ClientSelector, known: Option<Name>) -> DecidedClients {
    let name = known.unwrap_or_default();
    match selector {
        ClientSelector::Name(name) => DecidedClients { ruling, network: None, port: 0, name },
        ClientSelector::Network(network) => DecidedClients { ruling, network: Some(network), port: 0, name },
        ClientSelector::Address(address) => {
            DecidedClients { ruling, network: Some(IpNet::from(address.ip())), port: address.port(), name }
        }
    }
}

/// The selector of these clients, and the name by which they are known, too.
pub(super) fn selector(decided: &DecidedClients) -> (ClientSelector, Option<Name>) {
    let name = Some(decided.name).filter(|name| *name != Name::default());
    match decided.network {
        None => (ClientSelector::Name(decided.name), None),
        Some(network) if decided.port == 0 => (ClientSelector::Network(network), name),
        Some(network) => (ClientSelector::Address((network.addr(), decided.port).into()), name),
    }
}
