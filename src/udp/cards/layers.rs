//! Which network cards are below the addresses of this machine, as sysfs shows the interfaces.

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;

use nix::ifaddrs::getifaddrs;
use nix::net::if_::{InterfaceFlags, if_nametoindex};

use crate::udp::address::address_of;

/// The names of the network cards that carry the datagrams of the address `local`, each with the indexes of
/// the interfaces above it (VLANs, bonds, bridges). Without an address: of all addresses of this machine.
pub fn cards_below(local: Option<IpAddr>) -> BTreeMap<String, Vec<u32>> {
    let mut cards = BTreeMap::new();
    for interface in getifaddrs().into_iter().flatten() {
        let address = interface.address.as_ref().and_then(address_of);
        let is_asked = address.is_some_and(|address| local.is_none_or(|local| local == address));
        let is_up = interface.flags.contains(InterfaceFlags::IFF_UP);
        if is_asked && is_up && !interface.flags.contains(InterfaceFlags::IFF_LOOPBACK) {
            add_cards(without_label(&interface.interface_name), &mut Vec::new(), &mut cards);
        }
    }
    cards
}

/// The interface of an address, which may have a label of its own: `eth0:1` is an address of `eth0`.
fn without_label(name: &str) -> &str {
    name.split(':').next().unwrap_or(name)
}

/// Adds the cards at the bottom of the interface `name`, which is below the interfaces `above`.
fn add_cards(name: &str, above: &mut Vec<u32>, cards: &mut BTreeMap<String, Vec<u32>>) {
    let lower = lower_interfaces(name);
    if lower.is_empty() || above.len() == MAX_DEPTH {
        if cards.len() < MAX_CARDS || cards.contains_key(name) {
            let known = cards.entry(name.to_owned()).or_default();
            known.extend(above.iter().filter(|index| !known.contains(index)).copied().collect::<Vec<_>>());
        }
        return;
    }
    let Ok(index) = if_nametoindex(name) else { return };
    above.push(index);
    lower.iter().for_each(|lower| add_cards(lower, above, cards));
    above.pop();
}

/// The interfaces right below this one.
fn lower_interfaces(name: &str) -> Vec<String> {
    let entries = fs::read_dir(format!("/sys/class/net/{name}")).into_iter().flatten().flatten();
    let name = |entry: fs::DirEntry| entry.file_name().to_str()?.strip_prefix("lower_").map(str::to_owned);
    entries.filter_map(name).collect()
}

/// A VLAN on a bond in a bridge has two interfaces between it and its cards.
const MAX_DEPTH: usize = 8;
/// Each card is read once for a batch of datagrams that it has stamped.
const MAX_CARDS: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_no_card() {
        assert_eq!(cards_below(Some("127.0.0.1".parse().unwrap())), BTreeMap::new());
        assert!(!cards_below(None).contains_key("lo"));
    }

    #[test]
    fn an_address_with_a_label_is_one_of_its_interface() {
        assert_eq!(["eth0", "eth0:1", "eth0.5:label"].map(without_label), ["eth0", "eth0", "eth0.5"]);
    }
}
