//! Groups: the units that fail apart. The members of a group share its votes, however many they are.
//!
//! | member | its group |
//! |---|---|
//! | the server's own clock, and clients on the server's machine: at a loopback address, at the address that they send to, or at another address of it | the server's machine |
//! | with a key | the node of that name |
//! | without a key | the machine at its address: by default one IPv4 address, or one IPv6 /64 |
//!
//! A group has one vote, but the members of a machine have up to `votes_per_address` together: a router with
//! address translation, or simulated clocks. Each of n members of a group counts an equal share of its votes.
//! So a group of which k members are bad counts as bad by k/n of its votes, and never by more than all of
//! them.
//!
//! A *label* puts several groups together: the groups with one label have one vote in all. A group has the
//! label of its member that has had one for the longest. So a label only ever lowers weights, and a group
//! that claims a false label shares the one vote of that label: the good groups of that label lose no more
//! than the bad one gives up.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::hash::BuildHasher;
use core::net::IpAddr;

use hashbrown::HashTable;

use super::handles::Slot;
use super::keyed_hasher::KeyedHasher;
use super::machine::machine_of;
use super::member::Member;
use super::members::{Members, StatedLabel};
use crate::ServerConfig;
use crate::consensus::{Weight, share};
use crate::event::Exclusion;
use crate::view::GroupView;
use crate::wire::{KeyId, Name};

/// What the clocks of a server and its members count.
#[derive(Clone, Debug)]
pub(super) struct Weights {
    /// The server's own clock.
    pub own: Weight,
    /// Each member, in the order of the slots; none for removed members.
    pub members: Vec<Weight>,
}

/// The group of a member, without labels.
pub(super) fn group_of(config: &ServerConfig, member: &Member, local: Option<IpAddr>) -> GroupView {
    let ip = member.address().ip().to_canonical();
    let is_here = local.is_some_and(|local| local.to_canonical() == ip) || config.own_addresses.contains(&ip);
    if ip.is_loopback() || is_here {
        GroupView::ServersMachine
    } else if member.key != KeyId::NONE {
        GroupView::Node(member.name)
    } else {
        GroupView::Machine(machine_of(config, ip))
    }
}

/// The label that counts for each group that has one: the first of those that its members have stated.
#[derive(Debug)]
pub(super) struct CountedLabels {
    hasher: KeyedHasher,
    by_hash: BTreeMap<u64, StatedLabel>,
}

impl CountedLabels {
    /// The labels now. Removed members do not count.
    pub(super) fn of(config: &ServerConfig, members: &Members) -> CountedLabels {
        let mut labels = CountedLabels { hasher: members.hasher(), by_hash: BTreeMap::new() };
        if let Some(own) = own_label(config) {
            labels.add(&GroupView::ServersMachine, own);
        }
        let counts = |member: &&Member| member.exclusion != Some(Exclusion::Removed);
        for (slot, label) in members.labels() {
            if let Some(member) = members.get(slot).filter(counts) {
                labels.add(&group_of(config, member, members.local(member)), label);
            }
        }
        labels
    }

    fn add(&mut self, group: &GroupView, label: StatedLabel) {
        let counted = self.by_hash.entry(self.hasher.hash_one(group)).or_insert(label);
        *counted = (*counted).min(label);
    }

    /// The label that counts for the members of this group; `None`: none of them has stated one.
    pub(super) fn label(&self, group: &GroupView) -> Option<Name> {
        self.by_hash.get(&self.hasher.hash_one(group)).map(|label| label.name)
    }
}

/// The label of the server's own machine, if it has one.
fn own_label(config: &ServerConfig) -> Option<StatedLabel> {
    let name = Some(config.label).filter(|label| *label != Name::default())?;
    Some(StatedLabel { order: 0, name })
}

/// What each clock counts now.
pub(super) fn weigh(config: &ServerConfig, members: &Members) -> Weights {
    let mut table = GroupTable::new(config, members.hasher());
    let mut place = |(slot, member): (Slot, &Member)| {
        let counts = member.exclusion != Some(Exclusion::Removed);
        counts
            .then(|| table.add(config, &group_of(config, member, members.local(member)), members.label(slot)))
    };
    let places: Vec<Option<usize>> = members.from(0).map(&mut place).collect();
    table.share_labels();
    let own = table.next_share(GroupTable::SERVERS_MACHINE);
    let members = places.into_iter().map(|place| place.map_or(Weight::ZERO, |place| table.next_share(place)));
    Weights { own, members: members.collect() }
}

/// The groups of all members, by the hashes of their names and addresses.
struct GroupTable {
    hasher: KeyedHasher,
    by_hash: HashTable<(u64, usize)>,
    groups: Vec<Group>,
}

/// The members of one group.
struct Group {
    /// How many members it has, and how many of them have their share.
    members: usize,
    shared: usize,
    /// How many votes it may have, without its label.
    max_votes: usize,
    /// The label that one of its members has had for the longest.
    label: Option<StatedLabel>,
    /// What its members count together.
    weight: Weight,
}

impl Group {
    fn votes(&self) -> usize {
        self.members.min(self.max_votes)
    }
}

impl GroupTable {
    /// The place of the group of the server's own clock.
    const SERVERS_MACHINE: usize = 0;

    /// A table with the server's own clock alone.
    fn new(config: &ServerConfig, hasher: KeyedHasher) -> GroupTable {
        let mut table = GroupTable { hasher, by_hash: HashTable::new(), groups: Vec::new() };
        table.add(config, &GroupView::ServersMachine, own_label(config));
        table
    }

    /// Adds a member; returns the place of its group.
    fn add(&mut self, config: &ServerConfig, group: &GroupView, label: Option<StatedLabel>) -> usize {
        let hash = self.hasher.hash_one(group);
        let known = self.by_hash.find(hash, |(known, _)| *known == hash).map(|(_, place)| *place);
        let place = known.unwrap_or_else(|| {
            let max_votes = if matches!(group, GroupView::Node(_)) { 1 } else { config.votes_per_address };
            let new = Group { members: 0, shared: 0, max_votes, label: None, weight: Weight::ZERO };
            self.by_hash.insert_unique(hash, (hash, self.groups.len()), |(known, _)| *known);
            self.groups.push(new);
            self.groups.len() - 1
        });
        let group = &mut self.groups[place];
        group.members += 1;
        group.label = [group.label, label].into_iter().flatten().min();
        place
    }

    /// Gives each group its weight: all groups of one label share one vote, by the votes that they would have
    /// without it.
    fn share_labels(&mut self) {
        let mut labels: BTreeMap<Name, usize> = BTreeMap::new();
        for group in &self.groups {
            if let Some(label) = group.label {
                *labels.entry(label.name).or_default() += group.votes();
            }
        }
        let mut given: BTreeMap<Name, usize> = BTreeMap::new();
        for group in &mut self.groups {
            let votes = group.votes();
            group.weight = match group.label.and_then(|label| Some((label.name, *labels.get(&label.name)?))) {
                None => Weight::votes(votes),
                Some((name, all)) => {
                    let from = given.entry(name).or_default();
                    let parts = *from..*from + votes;
                    *from += votes;
                    parts.map(|index| share(Weight::ONE, all, index)).sum()
                }
            };
        }
    }

    /// The share of the next member of a group.
    fn next_share(&mut self, place: usize) -> Weight {
        let group = &mut self.groups[place];
        group.shared += 1;
        share(group.weight, group.members, group.shared - 1)
    }
}

#[cfg(test)]
mod tests {
    use alloc::borrow::ToOwned;
    use alloc::vec;
    use core::net::SocketAddr;

    use proptest::prelude::*;

    use super::*;
    use crate::server::member::NewMember;
    use crate::time::Monotonic;
    use crate::wire::{ClientState, ClusterId, NodeId, SessionId};

    struct TestMembers {
        members: Members,
        config: ServerConfig,
    }

    impl TestMembers {
        fn new(config: ServerConfig) -> TestMembers {
            TestMembers { members: Members::new([3; 16]), config }
        }

        fn add(&mut self, address: &str, key: u16, name: &str, label: &str) -> Slot {
            let number = self.members.len() as u64 + 1;
            let ip: IpAddr = address.parse().unwrap();
            let new = NewMember {
                address: SocketAddr::new(ip, number as u16),
                node: NodeId(number),
                session: SessionId(number),
                name: Name::new(name),
                nonce: number,
                key: KeyId(key),
                state: ClientState::Synchronized,
                cluster: ClusterId(0),
            };
            let local = self.members.number_of_local(Some([192, 0, 2, 1].into())).unwrap();
            let slot = self.members.insert(Monotonic::default(), &new, local).unwrap();
            if !label.is_empty() {
                self.members.record_label(slot, Name::new(label));
            }
            slot
        }

        /// The weights of the server's own clock and of all members, in votes.
        fn votes(&self) -> Vec<f64> {
            let weights = weigh(&self.config, &self.members);
            let all = core::iter::once(weights.own).chain(weights.members);
            all.map(|weight| (weight.as_f64() * 1e4).round() / 1e4).collect()
        }
    }

    #[test]
    fn the_members_at_one_address_share_a_vote() {
        let mut test = TestMembers::new(ServerConfig::default());
        for address in ["192.0.2.7", "192.0.2.7", "2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"] {
            test.add(address, 0, "", "");
        }
        assert_eq!(test.votes(), [1.0, 0.5, 0.5, 0.5, 0.5, 1.0]);
        test.config.votes_per_address = 2;
        test.config.ipv6_machine_prefix = 48;
        test.add("192.0.2.7", 0, "", "");
        assert_eq!(test.votes(), [1.0, 0.6667, 0.6667, 0.6667, 0.6667, 0.6667, 0.6667]);
    }

    #[test]
    fn clients_on_the_servers_machine_share_its_vote_with_or_without_a_key() {
        let mut test = TestMembers::new(ServerConfig::default());
        for (address, key) in [("127.0.0.1", 0), ("127.0.0.9", 5), ("192.0.2.1", 5), ("192.0.2.9", 5)] {
            test.add(address, key, "a", "");
        }
        assert_eq!(test.votes(), [0.25, 0.25, 0.25, 0.25, 1.0]);
    }

    #[test]
    fn a_user_of_the_servers_machine_has_no_vote_for_each_of_its_addresses() {
        let mut test = TestMembers::new(ServerConfig {
            own_addresses: vec!["198.51.100.1".parse().unwrap()],
            ..ServerConfig::default()
        });
        for address in ["198.51.100.1", "198.51.100.2"] {
            test.add(address, 0, "", "");
        }
        assert_eq!(test.votes(), [0.5, 0.5, 1.0]);
    }

    #[test]
    fn a_name_with_a_key_is_a_group_wherever_it_is() {
        let mut test = TestMembers::new(ServerConfig::default());
        for (address, name) in [("192.0.2.7", "a"), ("192.0.2.7", "b"), ("192.0.2.8", "b")] {
            test.add(address, 5, name, "");
        }
        assert_eq!(test.votes(), [1.0, 1.0, 0.5, 0.5]);
    }

    #[test]
    fn the_groups_of_a_label_have_one_vote() {
        let mut test = TestMembers::new(ServerConfig::default());
        for (address, label) in
            [("192.0.2.7", "rack"), ("192.0.2.8", "rack"), ("192.0.2.8", ""), ("192.0.2.9", "alone")]
        {
            test.add(address, 0, "", label);
        }
        assert_eq!(test.votes(), [1.0, 0.5, 0.25, 0.25, 1.0]);
        test.config.label = Name::new("alone");
        assert_eq!(test.votes(), [0.5, 0.5, 0.25, 0.25, 0.5]);
    }

    #[test]
    fn a_machine_that_claims_many_labels_has_the_first() {
        let mut test = TestMembers::new(ServerConfig::default());
        test.add("192.0.2.7", 0, "", "a");
        test.add("192.0.2.8", 0, "", "b");
        for label in ["b", "a", "c"] {
            test.add("192.0.2.66", 0, "", label);
        }
        let sixth = 0.1667;
        assert_eq!(test.votes(), [1.0, 1.0, 0.5, sixth, sixth, sixth]);
    }

    #[test]
    fn the_label_that_counts_is_the_first_of_those_of_a_machine_that_are_not_removed() {
        let mut test = TestMembers::new(ServerConfig { label: Name::new("here"), ..ServerConfig::default() });
        let first = test.add("192.0.2.7", 0, "", "a");
        let others = [("192.0.2.7", "b"), ("192.0.2.7", ""), ("192.0.2.8", ""), ("127.0.0.1", "c")];
        let others = others.map(|(address, label)| test.add(address, 0, "", label));
        let counted = |test: &TestMembers, slot: Slot| {
            let member = test.members.get(slot).unwrap();
            let group = group_of(&test.config, member, test.members.local(member));
            CountedLabels::of(&test.config, &test.members).label(&group).map(|name| name.as_str().to_owned())
        };
        let [second, third, elsewhere, here] = others;
        for slot in [first, second, third] {
            assert_eq!(counted(&test, slot).as_deref(), Some("a"));
        }
        assert_eq!((counted(&test, elsewhere), counted(&test, here).as_deref()), (None, Some("here")));
        test.members.at(first).unwrap().exclusion = Some(Exclusion::Removed);
        assert_eq!(counted(&test, third).as_deref(), Some("b"));
    }

    proptest! {
        /// Bad machines choose how many sessions they have and what these claim; the good ones have one each.
        #[test]
        fn fewer_than_half_bad_machines_never_have_half_of_the_weight(
            good in prop::collection::vec(0usize..4, 2..8),
            bad in prop::collection::vec(prop::collection::vec(0usize..6, 1..30), 1..8),
        ) {
            // With a label in use, the good machines of a label are one unit: only one in each here.
            prop_assume!(bad.len() < good.len() + 1);
            let mut test = TestMembers::new(ServerConfig::default());
            for (machine, labelled) in good.iter().enumerate() {
                let label = alloc::format!("l{machine}");
                let label = if *labelled == 0 { label.as_str() } else { "" };
                test.add(&alloc::format!("192.0.2.{}", machine + 2), 0, "", label);
            }
            for (machine, sessions) in bad.iter().enumerate() {
                for label in sessions {
                    let label = alloc::format!("l{label}");
                    test.add(&alloc::format!("198.51.100.{}", machine + 2), 0, "", &label);
                }
            }
            let weights = weigh(&test.config, &test.members);
            let good_weight: Weight =
                core::iter::once(weights.own).chain(weights.members[..good.len()].iter().copied()).sum();
            let bad_weight: Weight = weights.members[good.len()..].iter().copied().sum();
            let mut all = good_weight;
            all += bad_weight;
            prop_assert!(!bad_weight.is_half_of(all), "{bad_weight:?} of {all:?}");
        }
    }
}
