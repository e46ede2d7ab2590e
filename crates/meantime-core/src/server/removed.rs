//! The clients whose votes an operator has taken away: by name, by address, or a whole network.
//!
//! It holds for the sessions of now and of later. The [timekeeper](crate::consensus) leaves these clocks out
//! of the vote.

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;

use super::decided;
use super::member::Member;
use super::members::Members;
use crate::event::Exclusion;
use crate::peer::{ClientSelector, ClientsChange, Peer};
use crate::wire::{DecidedClients, Name, Ruling};

/// Why clients' votes cannot be taken away or given back.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VoteChangeError {
    /// The server is a standby server.
    #[error("the server is a standby server: votes are taken away and given back at the active server")]
    Standby,
    /// No client has this name or address.
    #[error("no client has the name or the address '{0}'")]
    Unknown(String),
    /// The votes were taken away together with others'.
    #[error("the vote of '{name}' is taken away with those of all of {entry}")]
    Within {
        /// The name or address in the request.
        name: String,
        /// What was removed.
        entry: ClientSelector,
    },
    /// It is the name of the server's own clock.
    #[error(
        "'{0}' is the server's own clock, which carries cluster time between rounds: its vote cannot be taken away"
    )]
    OwnClock(String),
    /// The same, when its vote is to be given back.
    #[error("'{0}' is the server's own clock, whose vote is never taken away")]
    OwnClockVotes(String),
    /// The table is full.
    #[error("{0} names and addresses have no vote already, which is the maximum")]
    TableFull(usize),
}

/// The clients without a vote, whether they are registered now or not.
#[derive(Clone, Debug, Default)]
pub(super) struct RemovedClients(Vec<Removed>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Removed {
    selector: ClientSelector,
    /// The name of a client that was removed by its address and port, if no other client had it then: it
    /// identifies the client after its process has ended, and its port has changed.
    name: Option<Name>,
}

impl Removed {
    fn is(&self, peer: &Peer) -> bool {
        self.selector.includes(peer) || self.name == Some(peer.name)
    }

    fn is_named(&self, selector: &ClientSelector) -> bool {
        self.selector == *selector || self.name.map(ClientSelector::Name).as_ref() == Some(selector)
    }
}

impl RemovedClients {
    /// Takes away the votes of the clients that have this name or address, or are in this network.
    ///
    /// # Errors
    /// If there is no such client, or the vote cannot be taken away.
    pub(super) fn remove(
        &mut self,
        members: &mut Members,
        server: &Name,
        text: &str,
    ) -> Result<ClientsChange, VoteChangeError> {
        let selector = selector(text)?;
        let clients: Vec<Peer> = members.selected(selector).collect();
        // Of a network, no client needs to be registered now.
        if clients.is_empty() && !matches!(selector, ClientSelector::Network(_)) {
            return Err(unknown(server, text));
        }
        let is_known = match selector {
            ClientSelector::Address(_) => clients.iter().all(|client| self.includes(client)),
            _ => self.0.iter().any(|removed| removed.is_named(&selector)),
        };
        if is_known {
            return Ok(ClientsChange::of(selector, clients, false));
        }
        let name = match (selector, clients.first()) {
            (ClientSelector::Address(_), Some(client)) => unique_name(members, client),
            _ => None,
        };
        if !self.add(Removed { selector, name }) {
            return Err(VoteChangeError::TableFull(MAX_REMOVED));
        }
        self.mark_all(members);
        Ok(ClientsChange::of(selector, clients, true))
    }

    /// Gives the votes back of the clients that have this name or address, or are in this network.
    ///
    /// # Errors
    /// If there is no such client, or it was removed together with others.
    pub(super) fn restore(
        &mut self,
        members: &mut Members,
        server: &Name,
        text: &str,
    ) -> Result<ClientsChange, VoteChangeError> {
        let selector = selector(text)?;
        let registered: Vec<Peer> = members.selected(selector).collect();
        let meant = |removed: &Removed| {
            removed.is_named(&selector)
                || selector.covers(&removed.selector)
                || registered.iter().any(|peer| removed.is(peer))
        };
        let entries: Vec<Removed> = self.0.iter().copied().filter(|removed| meant(removed)).collect();
        if entries.is_empty() && registered.is_empty() {
            return Err(match unknown(server, text) {
                VoteChangeError::OwnClock(name) => VoteChangeError::OwnClockVotes(name),
                other => other,
            });
        }
        let is_part = |removed: &&Removed| {
            let wider = !removed.is_named(&selector) && !selector.covers(&removed.selector);
            let network = matches!(removed.selector, ClientSelector::Network(_));
            let others = || {
                members.iter().any(|member| removed.is(&member.peer()) && !selector.includes(&member.peer()))
            };
            wider && (network || others())
        };
        if let Some(removed) = entries.iter().find(is_part) {
            return Err(VoteChangeError::Within { name: text.to_owned(), entry: removed.selector });
        }
        let clients: Vec<Peer> = members
            .iter()
            .map(Member::peer)
            .filter(|peer| selector.includes(peer) || entries.iter().any(|entry| entry.is(peer)))
            .collect();
        self.0.retain(|removed| !entries.contains(removed));
        self.mark_all(members);
        Ok(ClientsChange::of(selector, clients, !entries.is_empty()))
    }

    /// The table, for a standby server.
    pub(super) fn decided(&self) -> impl Iterator<Item = DecidedClients> {
        self.0.iter().map(|removed| decided::decided(Ruling::Removed, removed.selector, removed.name))
    }

    /// The table of the active server replaces this one.
    pub(super) fn adopt(&mut self, members: &mut Members, table: impl Iterator<Item = DecidedClients>) {
        let removed = table.map(|decided| {
            let (selector, name) = decided::selector(&decided);
            Removed { selector, name }
        });
        self.0 = removed.take(MAX_REMOVED).collect();
        self.mark_all(members);
    }

    /// Marks a new member as removed if its vote is taken away.
    pub(super) fn mark_new(&self, member: &mut Member) {
        member.exclusion = self.includes(&member.peer()).then_some(Exclusion::Removed);
    }

    /// Those of which no client is registered now.
    pub(super) fn not_registered(&self, members: &Members) -> Vec<ClientSelector> {
        let is_here = |removed: &Removed| members.iter().any(|member| removed.is(&member.peer()));
        self.0.iter().filter(|removed| !is_here(removed)).map(Removed::shown).collect()
    }

    /// Whether this client has no vote.
    fn includes(&self, peer: &Peer) -> bool {
        self.0.iter().any(|removed| removed.is(peer))
    }

    /// Adds an entry; returns false if the table is full.
    fn add(&mut self, removed: Removed) -> bool {
        let has_room = self.0.len() < MAX_REMOVED;
        if has_room {
            self.0.push(removed);
        }
        has_room
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

impl Removed {
    /// How the operator knows it: a client that was removed by its address has a name, too.
    fn shown(&self) -> ClientSelector {
        self.name.map_or(self.selector, ClientSelector::Name)
    }
}

fn selector(text: &str) -> Result<ClientSelector, VoteChangeError> {
    text.parse().map_err(|_| VoteChangeError::Unknown(text.to_owned()))
}

fn unknown(server: &Name, text: &str) -> VoteChangeError {
    match text == server.as_str() {
        true => VoteChangeError::OwnClock(text.to_owned()),
        false => VoteChangeError::Unknown(text.to_owned()),
    }
}

/// The name of a client, if it has one and no other client has it.
fn unique_name(members: &Members, client: &Peer) -> Option<Name> {
    let namesakes = members.iter().filter(|member| member.name == client.name).count();
    (client.name != Name::default() && namesakes == 1).then_some(client.name)
}

/// More than an operator takes away in practice.
const MAX_REMOVED: usize = 256;
