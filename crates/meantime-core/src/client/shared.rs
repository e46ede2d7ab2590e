//! What a client's links work with: its configuration, its clock, and what it states to its servers.

use rand_chacha::ChaCha12Rng;

use super::clock::MemberClock;
use super::decisions::CollectedDecisions;
use crate::roles::rank::Rank;
use crate::roles::statement::MemberStatement;
use crate::time::Span;
use crate::transmit_latency::MinTransmitLatency;
use crate::wire::{ClusterId, Name, NodeId};
use crate::{ClientConfig, NodeKeys};

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Shared {
    pub config: ClientConfig,
    pub node: NodeId,
    pub rng: ChaCha12Rng,
    pub clock: MemberClock,
    pub latency: MinTransmitLatency,
    /// What the nodes below need to be told a manual time adjustment.
    pub relay_lead: Span,
    /// What the client states to each of several servers; `None`: it has one server, or is a server itself.
    pub statement: Option<MemberStatement>,
    /// What the operator of the active server has decided about clients, for a standby server.
    pub decisions: CollectedDecisions,
}

impl Shared {
    /// The keys that the server of this rank has: its own, or those that all servers have.
    pub(super) fn keys(&self, rank: Rank) -> &NodeKeys {
        self.config.keys_of(rank)
    }

    /// The name that heartbeats carry, where keys are in use: the server finds the key by it.
    pub(super) fn heartbeat_name(&self) -> Name {
        if self.config.has_keys() { self.config.name } else { Name::default() }
    }

    /// The cluster that a registration states: the one whose time the clock has now; 0: none.
    pub(super) fn stated_cluster(&self) -> ClusterId {
        let published = self.clock.published();
        if published.has_cluster_time() { published.cluster() } else { ClusterId::default() }
    }
}
