//! The members whose votes an operator has taken away.
//!
//! A client that registers again is identified by its name or by its address: its process, and its port, may
//! be new by then. The [timekeeper](crate::consensus) leaves these clocks out of the vote.

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use super::member::Member;
use super::members::Members;
use crate::event::{Exclusion, Peer};
use crate::wire::Name;

/// The effect of a request to take a client's vote away, or to give it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VoteChange {
    /// The client.
    pub client: Peer,
    /// Whether anything has changed.
    pub changed: bool,
}

/// Why a client's vote cannot be taken away or given back.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VoteChangeError {
    /// No client has this name or address.
    #[error("no client has the name or the address '{0}'")]
    Unknown(String),
    /// Several clients have this name or address.
    #[error("{count} clients have the name or the address '{name}'; one of them is at {example}")]
    Ambiguous {
        /// The name or address in the request.
        name: String,
        /// How many clients have it.
        count: usize,
        /// The address of one of them.
        example: SocketAddr,
    },
    /// It is the name of the server's own clock.
    #[error(
        "'{0}' is the server's own clock, which carries cluster time between rounds: its vote cannot be taken away"
    )]
    OwnClock(String),
    /// The table is full.
    #[error("{0} votes are taken away already, which is the maximum")]
    TableFull(usize),
}

/// The clients without a vote, whether they are registered now or not.
#[derive(Clone, Debug, Default)]
pub(super) struct RemovedMembers(Vec<RemovedMember>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct RemovedMember {
    peer: Peer,
    /// Whether no other client had its name when it was removed, so that the name identifies it.
    by_name: bool,
}

impl RemovedMember {
    fn is(&self, peer: &Peer) -> bool {
        self.peer.address == peer.address || (self.by_name && self.peer.name == peer.name)
    }
}

impl RemovedMembers {
    /// Takes away the vote of the client that has this name or address.
    ///
    /// # Errors
    /// If there is not exactly one such client, or its vote cannot be taken away.
    pub(super) fn remove(
        &mut self,
        members: &mut Members,
        server: &Name,
        name: &str,
    ) -> Result<VoteChange, VoteChangeError> {
        let client = find_client(name, registered(members).collect());
        let client = client.map_err(|error| unless_own_clock(server, error))?;
        if self.includes(&client) {
            return Ok(VoteChange { client, changed: false });
        }
        let namesakes = members.iter().filter(|member| member.name == client.name).count();
        let by_name = client.name != Name::default() && namesakes == 1;
        if !self.add(RemovedMember { peer: client, by_name }) {
            return Err(VoteChangeError::TableFull(MAX_REMOVED));
        }
        self.mark_all(members);
        Ok(VoteChange { client, changed: true })
    }

    /// Gives the vote of the client that has this name or address back.
    ///
    /// # Errors
    /// If there is not exactly one such client.
    pub(super) fn restore(
        &mut self,
        members: &mut Members,
        server: &Name,
        name: &str,
    ) -> Result<VoteChange, VoteChangeError> {
        // A client that is not registered now can get its vote back, too.
        let client = match find_client(name, self.0.iter().map(|removed| removed.peer).collect()) {
            Err(VoteChangeError::Unknown(_)) => find_client(name, registered(members).collect()),
            found => found,
        };
        let client = client.map_err(|error| unless_own_clock(server, error))?;
        let same = registered(members).find(|peer| self.is_same(&client, peer));
        let client = same.unwrap_or(client);
        let changed = self.forget(&client);
        if changed {
            self.mark_all(members);
        }
        Ok(VoteChange { client, changed })
    }

    /// Marks a new member as removed if its vote is taken away.
    pub(super) fn mark_new(&self, member: &mut Member) {
        member.exclusion = self.includes(&member.peer()).then_some(Exclusion::Removed);
    }

    /// Those that are not registered now.
    pub(super) fn not_registered(&self, members: &Members) -> Vec<Peer> {
        let removed = members.iter().filter(|member| member.exclusion == Some(Exclusion::Removed));
        let here: Vec<Peer> = removed.map(Member::peer).collect();
        let gone = self.0.iter().filter(|removed| !here.iter().any(|peer| removed.is(peer)));
        gone.map(|removed| removed.peer).collect()
    }

    /// Whether this client has no vote.
    fn includes(&self, peer: &Peer) -> bool {
        self.0.iter().any(|removed| removed.is(peer))
    }

    /// Whether both are the same client, which has no vote.
    fn is_same(&self, one: &Peer, other: &Peer) -> bool {
        self.0.iter().any(|removed| removed.is(one) && removed.is(other))
    }

    /// Adds a client; returns false if the table is full.
    fn add(&mut self, removed: RemovedMember) -> bool {
        let has_room = self.0.len() < MAX_REMOVED;
        if has_room {
            self.0.push(removed);
        }
        has_room
    }

    /// Removes a client from the table; returns false if it was not in it.
    fn forget(&mut self, peer: &Peer) -> bool {
        let before = self.0.len();
        self.0.retain(|removed| !removed.is(peer));
        self.0.len() < before
    }

    /// Marks all members according to the table.
    fn mark_all(&self, members: &mut Members) {
        for (_, member) in members.iter_mut() {
            let was_removed = member.exclusion == Some(Exclusion::Removed);
            let is_removed = self.includes(&member.peer());
            if was_removed != is_removed {
                member.exclusion = is_removed.then_some(Exclusion::Removed);
            }
        }
    }
}

/// The registered clients.
pub(super) fn registered(members: &Members) -> impl Iterator<Item = Peer> {
    members.iter().map(Member::peer)
}

fn unless_own_clock(server: &Name, error: VoteChangeError) -> VoteChangeError {
    match error {
        VoteChangeError::Unknown(name) if server.as_str() == name => VoteChangeError::OwnClock(name),
        error => error,
    }
}

/// The one of these clients that has this name, this address, or this address without its port.
pub(super) fn find_client(name: &str, peers: Vec<Peer>) -> Result<Peer, VoteChangeError> {
    let host = name.parse::<IpAddr>().ok().map(|ip| ip.to_canonical());
    let address = name.parse::<SocketAddr>().ok().map(canonical);
    let matches = |peer: &Peer| {
        let here = canonical(peer.address);
        let has_name = !name.is_empty() && peer.name.as_str() == name;
        has_name || address == Some(here) || host == Some(here.ip())
    };
    let matching: Vec<Peer> = peers.into_iter().filter(matches).collect();
    match matching[..] {
        [] => Err(VoteChangeError::Unknown(name.to_owned())),
        [one] => Ok(one),
        [first, ..] => Err(VoteChangeError::Ambiguous {
            name: name.to_owned(),
            count: matching.len(),
            example: first.address,
        }),
    }
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// More than an operator takes away in practice.
const MAX_REMOVED: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn peer(name: &str, address: &str) -> Peer {
        Peer { name: Name::new(name), address: address.parse().unwrap() }
    }

    #[test]
    fn a_name_or_an_address_with_or_without_port_identifies_one_client() {
        let all = || {
            vec![
                peer("a", "192.0.2.1:4000"),
                peer("twin", "192.0.2.2:4000"),
                peer("twin", "[2001:db8::2]:4001"),
                peer("", "192.0.2.2:4002"),
            ]
        };
        assert_eq!(find_client("a", all()), Ok(all()[0]));
        assert_eq!(find_client("192.0.2.1", all()), Ok(all()[0]));
        assert_eq!(find_client("[2001:0db8::0002]:4001", all()), Ok(all()[2]));
        assert_eq!(find_client("192.0.2.2:4002", all()), Ok(all()[3]));
        assert_eq!(find_client("", all()), Err(VoteChangeError::Unknown(String::new())));
        assert_eq!(find_client("b", all()), Err(VoteChangeError::Unknown("b".into())));
        for several in ["twin", "192.0.2.2"] {
            assert_eq!(
                find_client(several, all()),
                Err(VoteChangeError::Ambiguous {
                    name: several.into(),
                    count: 2,
                    example: "192.0.2.2:4000".parse().unwrap()
                })
            );
        }
    }

    #[test]
    fn a_removed_client_is_identified_by_name_or_address_and_the_table_is_limited() {
        let mut removed = RemovedMembers::default();
        removed.add(RemovedMember { peer: peer("a", "192.0.2.1:4000"), by_name: true });
        removed.add(RemovedMember { peer: peer("twin", "192.0.2.2:4000"), by_name: false });
        assert!(removed.includes(&peer("a", "192.0.2.9:5000")));
        assert!(removed.includes(&peer("renamed", "192.0.2.1:4000")));
        assert!(!removed.includes(&peer("twin", "192.0.2.3:4000")), "another client had the same name");
        assert!(removed.forget(&peer("a", "192.0.2.9:5000")));
        assert!(!removed.forget(&peer("a", "192.0.2.1:4000")));
        let unnamed = RemovedMember { peer: peer("", "192.0.2.1:1"), by_name: false };
        let added = (0..2 * MAX_REMOVED).filter(|_| removed.add(unnamed)).count();
        assert_eq!(added, MAX_REMOVED - 1);
    }
}
