//! Which network cards are below the addresses of this machine, as sysfs shows the interfaces.

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;

use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;

use crate::udp::address::address_of;
use crate::udp::upper_interface::UpperInterface;

/// The names of the network cards that carry the datagrams of the address `local`, each with the interfaces
/// above it (VLANs, bonds, bridges). Without an address: of all addresses of this machine. Many of them may
/// be none that stamp: each virtual interface without another one below it counts as a card here.
pub fn cards_below(local: Option<IpAddr>) -> BTreeMap<String, Vec<UpperInterface>> {
    let interfaces = Interfaces { directory: PathBuf::from("/sys/class/net") };
    let mut cards = BTreeMap::new();
    for interface in getifaddrs().into_iter().flatten() {
        let address = interface.address.as_ref().and_then(address_of);
        let is_asked = address.is_some_and(|address| local.is_none_or(|local| local == address));
        let is_up = interface.flags.contains(InterfaceFlags::IFF_UP);
        if is_asked && is_up && !interface.flags.contains(InterfaceFlags::IFF_LOOPBACK) {
            interfaces.add_cards(without_label(&interface.interface_name), &mut Vec::new(), &mut cards);
        }
    }
    cards
}

/// The interface of an address, which may have a label of its own: `eth0:1` is an address of `eth0`.
fn without_label(name: &str) -> &str {
    name.split(':').next().unwrap_or(name)
}

/// The interfaces of this machine.
struct Interfaces {
    /// Where each has a directory.
    directory: PathBuf,
}

impl Interfaces {
    /// Adds the cards at the bottom of the interface `name`, which is below the interfaces `above`.
    fn add_cards(
        &self,
        name: &str,
        above: &mut Vec<UpperInterface>,
        cards: &mut BTreeMap<String, Vec<UpperInterface>>,
    ) {
        let lower = self.lower(name);
        if lower.is_empty() || above.len() == MAX_DEPTH {
            let known = cards.entry(name.to_owned()).or_default();
            let mut all_pass = true;
            for upper in above.iter().rev() {
                all_pass &= upper.all_pass;
                let upper = UpperInterface { all_pass, ..*upper };
                if !known.contains(&upper) {
                    known.push(upper);
                }
            }
            return;
        }
        let Some(index) = self.index(name) else { return };
        above.push(UpperInterface { index, all_pass: self.is_vlan(name) });
        lower.iter().for_each(|lower| self.add_cards(lower, above, cards));
        above.pop();
    }

    /// The interfaces right below this one.
    fn lower(&self, name: &str) -> Vec<String> {
        let entries = fs::read_dir(self.directory.join(name)).into_iter().flatten().flatten();
        let name =
            |entry: fs::DirEntry| entry.file_name().to_str()?.strip_prefix("lower_").map(str::to_owned);
        entries.filter_map(name).collect()
    }

    /// The index of this interface; `None`: it does not exist any more.
    fn index(&self, name: &str) -> Option<u32> {
        fs::read_to_string(self.directory.join(name).join("ifindex")).ok()?.trim().parse().ok()
    }

    /// Whether this interface is a VLAN, which has exactly one interface below it.
    fn is_vlan(&self, name: &str) -> bool {
        let described = fs::read_to_string(self.directory.join(name).join("uevent"));
        described.is_ok_and(|described| described.lines().any(|line| line == "DEVTYPE=vlan"))
    }
}

/// A VLAN on a bond in a bridge has two interfaces between it and its cards.
const MAX_DEPTH: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    /// Interfaces, each with its index, type, and the interfaces right below it.
    fn machine(interfaces: &[(&str, u32, &str, &[&str])]) -> (tempfile::TempDir, Interfaces) {
        let root = tempfile::tempdir().unwrap();
        for (name, index, kind, lower) in interfaces {
            let directory = root.path().join(name);
            fs::create_dir(&directory).unwrap();
            fs::write(directory.join("ifindex"), format!("{index}\n")).unwrap();
            fs::write(directory.join("uevent"), format!("DEVTYPE={kind}\nIFINDEX={index}\n")).unwrap();
            for lower in *lower {
                fs::write(directory.join(format!("lower_{lower}")), "").unwrap();
            }
        }
        let directory = root.path().to_owned();
        (root, Interfaces { directory })
    }

    /// The cards below one interface.
    fn below(interfaces: &Interfaces, name: &str) -> BTreeMap<String, Vec<UpperInterface>> {
        let mut cards = BTreeMap::new();
        interfaces.add_cards(name, &mut Vec::new(), &mut cards);
        cards
    }

    fn upper(index: u32, all_pass: bool) -> UpperInterface {
        UpperInterface { index, all_pass }
    }

    #[test]
    fn the_taps_of_a_bridge_do_not_crowd_out_its_card() {
        let taps: Vec<String> = (0..100).map(|tap| format!("a-tap{tap}")).collect();
        let mut ports: Vec<&str> = taps.iter().map(String::as_str).collect();
        ports.push("eth0");
        let (_root, interfaces) = machine(&[("br0", 7, "bridge", &ports[..]), ("eth0", 3, "", &[])]);
        let cards = below(&interfaces, "br0");
        assert_eq!(cards.len(), 101);
        assert_eq!(cards["eth0"], [upper(7, false)]);
    }

    #[test]
    fn all_datagrams_of_a_vlan_pass_its_card_and_those_of_a_bridge_or_a_bond_may_not() {
        let (_root, interfaces) = machine(&[
            ("eth0", 3, "", &[]),
            ("eth0.5", 5, "vlan", &["eth0"]),
            ("eth0.5.6", 6, "vlan", &["eth0.5"]),
            ("br0", 7, "bridge", &["eth0.5"]),
            ("br0.8", 8, "vlan", &["br0"]),
            ("bond0", 9, "bond", &["eth0"]),
        ]);
        assert_eq!(below(&interfaces, "eth0")["eth0"], []);
        assert_eq!(below(&interfaces, "eth0.5.6")["eth0"], [upper(5, true), upper(6, true)]);
        let through_the_bridge = [upper(5, true), upper(7, false), upper(8, false)];
        assert_eq!(below(&interfaces, "br0.8")["eth0"], through_the_bridge);
        assert_eq!(below(&interfaces, "bond0")["eth0"], [upper(9, false)]);
    }

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
