//! Several servers: the role of one of them, and what a node knows of the others.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::report::{HoldoverCause, QuorumWord, RoleWord, ServiceWord};

/// The role of a server of several.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaStatus {
    /// Its place in the list of servers, from 1.
    pub rank: u8,
    /// Its name or address in the list.
    pub name: String,
    /// How many servers the list has.
    pub servers: u8,
    /// How many of the members that it knew it must hear to be active.
    pub quorum: QuorumWord,
    /// What it is.
    pub role: RoleWord,
    /// The number of its term, if it is active, else of the term that it follows or has followed last; 0:
    /// none yet.
    pub term: u64,
    /// The place of the server whose term that is; `None`: there is no term yet.
    pub term_of: Option<u8>,
    /// How it is served by that server; an active server serves itself.
    pub service: ServiceWord,
    /// The place of the standby server to which it hands over; `None`: it does not.
    pub successor: Option<u8>,
    /// How many members it hears that have all servers, all servers that it hears and itself among them.
    pub members: u32,
    /// How many there were at most in the last minutes in which it was active or followed an active server.
    pub known_members: u32,
    /// How many standby servers follow it.
    pub standbys: usize,
    /// Why the clock of a standby server is in holdover, if it is.
    pub holdover: Option<HoldoverCause>,
    /// The other servers.
    pub others: Vec<ListedServerStatus>,
}

/// A server of a list, as another node knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedServerStatus {
    /// Its place in the list, from 1.
    pub rank: u8,
    /// Its name or address in the list.
    pub name: String,
    /// Its address; `None`: unknown.
    pub address: Option<SocketAddr>,
    /// Whether the node is registered there.
    pub registered: bool,
    /// What it states to be; `None`: it has stated nothing lately.
    pub role: Option<RoleWord>,
    /// The number of the term that it states; 0: none yet.
    pub term: Option<u64>,
    /// The place of the server whose term that is.
    pub term_of: Option<u8>,
    /// How it states to be served.
    pub service: Option<ServiceWord>,
    /// Whether the node's clock follows it.
    pub followed: bool,
    /// Whether other servers contradict its time and agree with each other.
    pub distrusted: bool,
    /// The maximum distance of its clock from the cluster's time, as it states: of an active server zero, but
    /// for a while after it has taken over; `None`: it does not know that, or has stated nothing lately.
    pub bound_ns: Option<i64>,
    /// The time since a datagram of it arrived; `None`: not registered.
    pub heard_ago_ns: Option<i64>,
}

impl ReplicaStatus {
    /// Whether it is the active server.
    pub fn is_active(&self) -> bool {
        self.role == RoleWord::Active
    }

    /// Whether it is active, or follows a server that is.
    pub fn is_served(&self) -> bool {
        self.is_active() || self.service == ServiceWord::Served
    }

    /// Whether it hears no majority of the members that there were.
    pub fn is_minority(&self) -> bool {
        2 * u64::from(self.members) <= u64::from(self.known_members)
    }

    /// The server that it follows.
    pub fn followed(&self) -> Option<&ListedServerStatus> {
        self.others.iter().find(|other| other.followed)
    }

    /// Whether another server follows it as a standby server, and so can take over, if it has the time.
    pub fn is_followed_by(&self, other: &ListedServerStatus) -> bool {
        let follows = other.term == Some(self.term) && other.term_of == self.term_of;
        let stands_by = other.role == Some(RoleWord::Standby) && other.service == Some(ServiceWord::Served);
        self.is_active() && follows && stands_by && !other.distrusted
    }
}

impl ListedServerStatus {
    /// As people are told of it: `server 1 (a.lan:5525)`.
    pub fn title(&self) -> String {
        let address = self.address.map(|address| address.to_string());
        match (self.name.as_str(), address) {
            ("", None) => format!("server {}", self.rank),
            ("", Some(address)) => format!("server {} ({address})", self.rank),
            (name, _) => format!("server {} ({name})", self.rank),
        }
    }
}
