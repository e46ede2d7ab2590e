//! Whose votes somebody has taken away by hand.
//!
//! A client is known again by its name or by its address when it comes back: its process may be another one
//! by then, at another port. What a removed clock counts for, the [keeper](crate::consensus) decides:
//! nothing.

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use super::Server;
use crate::ServerEvent;
use crate::event::{Exclusion, Peer};
use crate::wire::Name;

/// What came of a word about somebody's vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Changed {
    /// Whose vote it is.
    pub client: Peer,
    /// False: it was so already.
    pub changed: bool,
}

/// Why nobody's vote was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unchangeable {
    /// Nobody is called so.
    #[error("no client is called '{0}' or is at that address; `meantime status` shows who is there")]
    Nobody(String),
    /// More than one is.
    #[error(
        "{1} clients are called '{0}' or are at that address: name one by its address with its port, as in {2}"
    )]
    Several(String, usize, SocketAddr),
    /// The server's own clock.
    #[error(
        "'{0}' is the server's own clock, which carries the cluster's time from one round to the next: its vote cannot be \
         taken away; run the server on another machine"
    )]
    Itself(String),
    /// The table is full.
    #[error("{0} votes are taken away already, and more are not remembered; pin some first")]
    Full(usize),
}

/// The clients that have no vote, registered now or not.
#[derive(Clone, Debug, Default)]
pub(super) struct Removed(Vec<Entry>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    peer: Peer,
    /// Whether its name was its own when it was removed, and so stands for it.
    by_name: bool,
}

impl Entry {
    fn is(&self, peer: &Peer) -> bool {
        self.peer.address == peer.address || (self.by_name && self.peer.name == peer.name)
    }
}

impl Removed {
    /// Whether this client has no vote.
    pub(super) fn includes(&self, peer: &Peer) -> bool {
        self.0.iter().any(|entry| entry.is(peer))
    }

    /// All that have none, in the order in which they lost it.
    pub(super) fn all(&self) -> impl Iterator<Item = Peer> {
        self.0.iter().map(|entry| entry.peer)
    }

    /// Whether both are the same client, which has no vote.
    fn is_same(&self, one: &Peer, other: &Peer) -> bool {
        self.0.iter().any(|entry| entry.is(one) && entry.is(other))
    }

    /// Takes a client's vote away; false if there is no room for more.
    fn add(&mut self, peer: Peer, by_name: bool) -> bool {
        let room = self.0.len() < MAX_REMOVED;
        if room {
            self.0.push(Entry { peer, by_name });
        }
        room
    }

    /// Gives it back; false if it was not taken.
    fn forget(&mut self, peer: &Peer) -> bool {
        let before = self.0.len();
        self.0.retain(|entry| !entry.is(peer));
        self.0.len() < before
    }
}

impl Server {
    /// Takes away the vote of the client that has this name or address: it is measured and corrected as
    /// before, and to the vote and the cluster's rate it is as if it were not there. Holds when it registers
    /// again.
    ///
    /// # Errors
    /// When it is not clear who is meant, or the vote cannot be taken away.
    pub fn remove_from_vote(&mut self, whom: &str) -> Result<Changed, Unchangeable> {
        let client = one_of(whom, self.registered().collect());
        let client = client.map_err(|error| self.unless_itself(whom, error))?;
        if self.removed.includes(&client) {
            return Ok(Changed { client, changed: false });
        }
        let namesakes = self.members.iter().filter(|member| member.name == client.name).count();
        let by_name = client.name != Name::default() && namesakes == 1;
        if !self.removed.add(client, by_name) {
            return Err(Unchangeable::Full(MAX_REMOVED));
        }
        self.note_removed();
        self.events.push_back(ServerEvent::Removed { client });
        Ok(Changed { client, changed: true })
    }

    /// Gives the client that has this name or address its vote back; from then on the vote judges it as it
    /// judges all others.
    ///
    /// # Errors
    /// When it is not clear who is meant.
    pub fn pin_to_vote(&mut self, whom: &str) -> Result<Changed, Unchangeable> {
        // Who is not registered now can have it back, too.
        let client = match one_of(whom, self.removed.all().collect()) {
            Err(Unchangeable::Nobody(_)) => one_of(whom, self.registered().collect()),
            found => found,
        };
        client.map(|client| self.give_back(client)).map_err(|error| self.unless_itself(whom, error))
    }

    /// Those whose votes are taken away and that are not registered now.
    pub(super) fn removed_and_gone(&self) -> Vec<Peer> {
        let removed = self.members.iter().filter(|member| member.exclusion == Some(Exclusion::Removed));
        let here: Vec<Peer> = removed.map(|member| member.peer()).collect();
        let gone = self.removed.0.iter().filter(|entry| !here.iter().any(|peer| entry.is(peer)));
        gone.map(|entry| entry.peer).collect()
    }

    fn registered(&self) -> impl Iterator<Item = Peer> {
        self.members.iter().map(|member| member.peer())
    }

    fn give_back(&mut self, client: Peer) -> Changed {
        let here = self.registered().find(|peer| self.removed.is_same(&client, peer));
        let client = here.unwrap_or(client);
        let changed = self.removed.forget(&client);
        if changed {
            self.note_removed();
            self.events.push_back(ServerEvent::Pinned { client });
        }
        Changed { client, changed }
    }

    /// Brings what is known of each client up to date with the table.
    fn note_removed(&mut self) {
        for (_, member) in self.members.iter_mut() {
            let (was, is) =
                (member.exclusion == Some(Exclusion::Removed), self.removed.includes(&member.peer()));
            if was != is {
                member.exclusion = is.then_some(Exclusion::Removed);
            }
        }
    }

    fn unless_itself(&self, whom: &str, error: Unchangeable) -> Unchangeable {
        match error {
            Unchangeable::Nobody(_) if self.config.name.as_str() == whom => {
                Unchangeable::Itself(whom.to_owned())
            }
            error => error,
        }
    }
}

/// The one of these that is meant by a name, an address, or an address without its port.
fn one_of(whom: &str, peers: Vec<Peer>) -> Result<Peer, Unchangeable> {
    let host = whom.parse::<IpAddr>().ok().map(|ip| ip.to_canonical());
    let address = whom.parse::<SocketAddr>().ok().map(canonical);
    let is_meant = |peer: &Peer| {
        let here = canonical(peer.address);
        let named = !whom.is_empty() && peer.name.as_str() == whom;
        named || address == Some(here) || host == Some(here.ip())
    };
    let meant: Vec<Peer> = peers.into_iter().filter(is_meant).collect();
    match meant[..] {
        [] => Err(Unchangeable::Nobody(whom.to_owned())),
        [one] => Ok(one),
        [first, ..] => Err(Unchangeable::Several(whom.to_owned(), meant.len(), first.address)),
    }
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// More than anybody takes away by hand.
const MAX_REMOVED: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn peer(name: &str, address: &str) -> Peer {
        Peer { name: Name::new(name), address: address.parse().unwrap() }
    }

    #[test]
    fn a_name_an_address_or_a_host_says_who_is_meant_if_it_is_one() {
        let all = || {
            vec![
                peer("a", "192.0.2.1:4000"),
                peer("twin", "192.0.2.2:4000"),
                peer("twin", "[2001:db8::2]:4001"),
                peer("", "192.0.2.2:4002"),
            ]
        };
        assert_eq!(one_of("a", all()), Ok(all()[0]));
        assert_eq!(one_of("192.0.2.1", all()), Ok(all()[0]));
        assert_eq!(one_of("[2001:0db8::0002]:4001", all()), Ok(all()[2]));
        assert_eq!(one_of("192.0.2.2:4002", all()), Ok(all()[3]));
        assert_eq!(one_of("", all()), Err(Unchangeable::Nobody(String::new())));
        assert_eq!(one_of("b", all()), Err(Unchangeable::Nobody("b".into())));
        for several in ["twin", "192.0.2.2"] {
            assert_eq!(
                one_of(several, all()),
                Err(Unchangeable::Several(several.into(), 2, "192.0.2.2:4000".parse().unwrap()))
            );
        }
    }

    #[test]
    fn who_was_removed_is_known_again_by_name_or_address_and_the_table_has_an_end() {
        let mut removed = Removed::default();
        removed.add(peer("a", "192.0.2.1:4000"), true);
        removed.add(peer("twin", "192.0.2.2:4000"), false);
        assert!(removed.includes(&peer("a", "192.0.2.9:5000")));
        assert!(removed.includes(&peer("renamed", "192.0.2.1:4000")));
        assert!(!removed.includes(&peer("twin", "192.0.2.3:4000")), "its name was not its own");
        assert!(removed.forget(&peer("a", "192.0.2.9:5000")));
        assert!(!removed.forget(&peer("a", "192.0.2.1:4000")));
        let added = (0..2 * MAX_REMOVED).filter(|_| removed.add(peer("", "192.0.2.1:1"), false)).count();
        assert_eq!(added, MAX_REMOVED - 1);
    }
}
