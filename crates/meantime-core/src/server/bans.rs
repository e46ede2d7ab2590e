//! The clients that an operator has banned: their sessions end, and they are not admitted any more.
//!
//! With keys, a name identifies a client, since a Register with it has that name's tag. Without keys a
//! client can give itself any name, so the address counts.

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;

use super::member::Member;
use super::members::Members;
use crate::peer::{ClientSelector, ClientsChange, Peer};
use crate::wire::Name;

/// Why clients cannot be banned, or their ban lifted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BanError {
    /// It is neither a name, nor an address, nor a network; or without keys no client has the name.
    #[error("no client has the name or the address '{0}'")]
    Unknown(String),
    /// It is the name of the server's own clock.
    #[error("'{0}' is the server itself")]
    Server(String),
    /// It is not banned.
    #[error("'{0}' is not banned")]
    NotBanned(String),
    /// It is banned together with others.
    #[error("'{name}' is banned with all of {entry}")]
    Within {
        /// The name or address in the request.
        name: String,
        /// What is banned.
        entry: ClientSelector,
    },
    /// The table is full.
    #[error("{0} names and addresses are banned already, which is the maximum")]
    TableFull(usize),
}

/// The clients that are not admitted.
#[derive(Clone, Debug, Default)]
pub(super) struct Bans(Vec<Ban>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ban {
    selector: ClientSelector,
    /// The name by which the operator has banned an address; `None`: by the selector itself.
    asked: Option<Name>,
}

impl Bans {
    /// Whether this client is banned.
    pub(super) fn include(&self, peer: &Peer) -> bool {
        self.0.iter().any(|ban| ban.selector.includes(peer))
    }

    /// All that is banned.
    pub(super) fn all(&self) -> impl Iterator<Item = ClientSelector> {
        self.0.iter().map(|ban| ban.selector)
    }

    /// Bans the clients that have this name or address, or are in this network. The change contains those
    /// whose sessions have to end.
    ///
    /// # Errors
    /// If it is not clear who is meant, or the table is full; then nothing has changed.
    pub(super) fn add(
        &mut self,
        members: &Members,
        server: &Name,
        has_keys: bool,
        text: &str,
    ) -> Result<ClientsChange, BanError> {
        let selector: ClientSelector = text.parse().map_err(|_| BanError::Unknown(text.to_owned()))?;
        let new: Vec<Ban> = bans(members, has_keys, selector);
        if text == server.as_str() {
            return Err(BanError::Server(text.to_owned()));
        }
        let Some(first) = new.first() else {
            let is_asked = |ban: &&Ban| ban.asked.map(ClientSelector::Name) == Some(selector);
            let known = self.0.iter().find(is_asked).ok_or_else(|| BanError::Unknown(text.to_owned()))?;
            return Ok(ClientsChange { selector: known.selector, clients: Vec::new(), changed: false });
        };
        let selector = if new.len() == 1 { first.selector } else { selector };
        let is_new = |ban: &&Ban| !self.0.iter().any(|known| known.selector.covers(&ban.selector));
        let added: Vec<Ban> = new.iter().filter(is_new).copied().collect();
        if self.0.len() + added.len() > MAX_BANS {
            return Err(BanError::TableFull(MAX_BANS));
        }
        let clients = members.iter().map(Member::peer);
        let clients = clients.filter(|peer| new.iter().any(|ban| ban.selector.includes(peer))).collect();
        let changed = !added.is_empty();
        self.0.extend(added);
        Ok(ClientsChange { selector, clients, changed })
    }

    /// Lifts the ban of what has this name or address, or of this network.
    ///
    /// # Errors
    /// If it is not banned, or only together with others.
    pub(super) fn lift(&mut self, text: &str) -> Result<ClientsChange, BanError> {
        let not_banned = || BanError::NotBanned(text.to_owned());
        let selector: ClientSelector = text.parse().map_err(|_| not_banned())?;
        let host = match selector {
            ClientSelector::Address(address) => ClientSelector::host(address.ip()),
            other => other,
        };
        let is_meant =
            |ban: &Ban| host.covers(&ban.selector) || ban.asked.map(ClientSelector::Name) == Some(selector);
        // Without the narrower ban it would still be banned.
        let meant = || self.0.iter().filter(|ban| is_meant(ban)).map(|ban| ban.selector).chain([host]);
        let covers = |wider: &&Ban| meant().any(|selector| wider.selector.covers(&selector));
        if let Some(wider) = self.0.iter().filter(|ban| !is_meant(ban)).find(covers) {
            return Err(BanError::Within { name: text.to_owned(), entry: wider.selector });
        }
        if !self.0.iter().any(is_meant) {
            return Err(not_banned());
        }
        self.0.retain(|ban| !is_meant(ban));
        Ok(ClientsChange { selector, clients: Vec::new(), changed: true })
    }
}

/// What is to be banned.
fn bans(members: &Members, has_keys: bool, selector: ClientSelector) -> Vec<Ban> {
    let found = || members.selected(selector);
    let by_machine = |peer: Peer, asked| Ban { selector: ClientSelector::machine(peer.address.ip()), asked };
    match selector {
        ClientSelector::Network(_) => [Ban { selector, asked: None }].into(),
        ClientSelector::Name(_) if has_keys => [Ban { selector, asked: None }].into(),
        ClientSelector::Name(name) => {
            let mut bans: Vec<Ban> = Vec::new();
            for ban in found().map(|peer| by_machine(peer, Some(name))) {
                if !bans.contains(&ban) {
                    bans.push(ban);
                }
            }
            bans
        }
        ClientSelector::Address(address) => {
            let named = found().map(|peer| peer.name).find(|name| has_keys && *name != Name::default());
            let machine = ClientSelector::machine(address.ip());
            [Ban { selector: named.map_or(machine, ClientSelector::Name), asked: None }].into()
        }
    }
}

/// More than an operator bans in practice.
const MAX_BANS: usize = 256;
