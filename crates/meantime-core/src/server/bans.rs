//! The clients that an operator has banned: their sessions end, and they are not admitted any more.
//!
//! With keys, a name identifies a client, since a Register with it has that name's tag. Without keys a
//! client can give itself any name, so its whole machine counts, as far as addresses tell machines apart.

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;

use core::net::{IpAddr, SocketAddr};

use ipnet::{IpNet, Ipv4Net};

use super::decided;
use super::machine::machine_of;
use super::member::Member;
use super::members::Members;
use crate::ServerConfig;
use crate::peer::{ClientSelector, ClientsChange, Peer};
use crate::wire::{DecidedClients, Name, Ruling};

/// Why clients cannot be banned, or their ban lifted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BanError {
    /// The server is a standby server.
    #[error("the server is a standby server: clients are banned at the active server")]
    Standby,
    /// It is neither a name, nor an address, nor a network; or without keys no client has the name.
    #[error("no client has the name or the address '{0}'")]
    Unknown(String),
    /// It is the name of the server's own clock.
    #[error("'{0}' is the server itself")]
    Server(String),
    /// It is not banned.
    #[error("'{0}' is not banned")]
    NotBanned(String),
    /// The configuration does not admit it.
    #[error("'{0}' is denied by the server's configuration")]
    Denied(String),
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
    /// What the operator has asked for: the selector, or a client for which it stands.
    asked: ClientSelector,
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

    /// The table, for a standby server.
    pub(super) fn decided(&self) -> impl Iterator<Item = DecidedClients> {
        self.0.iter().map(|ban| {
            let asked = if let ClientSelector::Name(name) = ban.asked { Some(name) } else { None };
            decided::decided(Ruling::Banned, ban.selector, asked)
        })
    }

    /// The table of the active server replaces this one. Returns the members whose sessions have to end.
    pub(super) fn adopt(
        &mut self,
        members: &Members,
        table: impl Iterator<Item = DecidedClients>,
    ) -> Vec<SocketAddr> {
        let bans = table.map(|decided| {
            let (selector, name) = decided::selector(&decided);
            Ban { selector, asked: name.map_or(selector, ClientSelector::Name) }
        });
        self.0 = bans.take(MAX_BANS).collect();
        let peers = members.iter().map(Member::peer);
        peers.filter(|peer| self.include(peer)).map(|peer| peer.address).collect()
    }

    /// Bans the clients that have this name or address, or are in this network. `has_keys`: the server asks
    /// for keys, so that a name identifies a client. The change contains those whose sessions have to end.
    ///
    /// # Errors
    /// If it is not clear who is meant, or the table is full; then nothing has changed.
    pub(super) fn add(
        &mut self,
        members: &Members,
        config: &ServerConfig,
        has_keys: bool,
        text: &str,
    ) -> Result<ClientsChange, BanError> {
        let selector: ClientSelector = text.parse().map_err(|_| BanError::Unknown(text.to_owned()))?;
        let new: Vec<Ban> = bans(members, config, has_keys, selector);
        if text == config.name.as_str() {
            return Err(BanError::Server(text.to_owned()));
        }
        let Some(first) = new.first() else {
            let known = self.0.iter().find(|ban| ban.asked == selector);
            let known = known.ok_or_else(|| BanError::Unknown(text.to_owned()))?;
            return Ok(ClientsChange::of(known.selector, Vec::new(), false));
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
        Ok(ClientsChange::of(selector, clients, changed))
    }

    /// Lifts the bans of what has this name or address, or is in this network. The change says which.
    ///
    /// # Errors
    /// If it is not banned, or only together with others, or by the configuration.
    pub(super) fn lift(
        &mut self,
        config: &ServerConfig,
        has_keys: bool,
        text: &str,
    ) -> Result<ClientsChange, BanError> {
        let not_banned = || BanError::NotBanned(text.to_owned());
        let selector: ClientSelector = text.parse().map_err(|_| not_banned())?;
        let host = match selector {
            ClientSelector::Address(address) => ClientSelector::host(address.ip()),
            other => other,
        };
        let is_meant = |ban: &Ban| host.covers(&ban.selector) || ban.asked == selector;
        // Without the narrower ban it would still be banned.
        let meant = || self.0.iter().filter(|ban| is_meant(ban)).map(|ban| ban.selector).chain([host]);
        let covers = |wider: &&Ban| meant().any(|selector| wider.selector.covers(&selector));
        if let Some(wider) = self.0.iter().filter(|ban| !is_meant(ban)).find(covers) {
            return Err(BanError::Within { name: text.to_owned(), entry: wider.selector });
        }
        let lifted: Vec<ClientSelector> =
            self.0.iter().filter(|ban| is_meant(ban)).map(|ban| ban.selector).collect();
        if lifted.is_empty() {
            let is_denied = is_denied(config, has_keys, &host);
            return Err(if is_denied { BanError::Denied(text.to_owned()) } else { not_banned() });
        }
        self.0.retain(|ban| !is_meant(ban));
        Ok(ClientsChange { lifted, ..ClientsChange::of(selector, Vec::new(), true) })
    }
}

/// What is to be banned.
fn bans(members: &Members, config: &ServerConfig, has_keys: bool, selector: ClientSelector) -> Vec<Ban> {
    let found = || members.selected(selector);
    let ban = |stands_for| Ban { selector: stands_for, asked: selector };
    match selector {
        ClientSelector::Network(_) => [ban(selector)].into(),
        ClientSelector::Name(_) if has_keys => [ban(selector)].into(),
        ClientSelector::Name(_) => {
            let mut bans: Vec<Ban> = Vec::new();
            for ban in found().map(|peer| ban(machine(config, peer.address.ip()))) {
                if !bans.contains(&ban) {
                    bans.push(ban);
                }
            }
            bans
        }
        ClientSelector::Address(address) => {
            let named = found().map(|peer| peer.name).find(|name| has_keys && *name != Name::default());
            [ban(named.map_or_else(|| machine(config, address.ip()), ClientSelector::Name))].into()
        }
    }
}

/// All addresses of the machine that has this one: the network of a machine by the configuration, or all
/// IPv4 loopback addresses, of which a local user can take any.
fn machine(config: &ServerConfig, ip: IpAddr) -> ClientSelector {
    ClientSelector::Network(match ip.to_canonical() {
        IpAddr::V4(ip) if ip.is_loopback() => IpNet::V4(Ipv4Net::new_assert(ip, 8).trunc()),
        ip => machine_of(config, ip),
    })
}

/// Whether the configuration does not admit these clients, or some of them.
fn is_denied(config: &ServerConfig, has_keys: bool, selector: &ClientSelector) -> bool {
    let overlaps = |network| {
        let denied = ClientSelector::Network(network);
        denied.covers(selector) || selector.covers(&denied)
    };
    match selector {
        ClientSelector::Name(name) => has_keys && config.deny_names.contains(name),
        _ => config.deny.iter().copied().any(overlaps),
    }
}

/// More than an operator bans in practice.
const MAX_BANS: usize = 256;
