//! What a simulated machine can run: a server, a client, or another node that a test makes.

use std::net::SocketAddr;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use meantime_core::config::ServerPlace;
use meantime_core::event::Adjustment;
use meantime_core::reference::{NoReference, ReferenceReading};
use meantime_core::roles::rank::Rank;
use meantime_core::server::Target;
use meantime_core::time::{Monotonic, Now, Raw, Span};
use meantime_core::wire::ClusterId;
use meantime_core::{
    Action, Client, ClientConfig, ClientEvent, ClockReading, Counters, Node, Path, Replica, ReplicaEvent,
    Server, ServerConfig, ServerEvent, StampId, Transmit,
};

/// What a process is started as.
#[derive(Clone, Debug, PartialEq)]
pub enum NodeConfig {
    /// The only server.
    Server(Box<ServerConfig>),
    /// One of several servers.
    Replica {
        /// Which one.
        place: ServerPlace,
        /// The client by which it follows the active one.
        client: Box<ClientConfig>,
        /// The server.
        server: Box<ServerConfig>,
    },
    /// A client.
    Client(ClientConfig),
}

/// A node that a simulated machine can start.
pub trait SimNode: Node<Event = NodeEvent> {
    /// Starts a process.
    fn start(plan: &NodeConfig, seed: [u8; 32], now: Now) -> Self;

    /// The cluster whose time its clock has; 0: none.
    fn cluster(&self) -> ClusterId {
        ClusterId(0)
    }

    /// Whether it is an active server. The only server always is.
    fn is_active(&self) -> bool {
        false
    }

    /// An operator sets the cluster's time at this server; it may refuse.
    fn set_time(&mut self, now: Now, by: Span, how: Adjustment) {
        let _ = (now, by, how);
    }
}

/// What a node reports.
#[derive(Clone, Debug, PartialEq)]
pub enum NodeEvent {
    /// A server's event.
    Server(ServerEvent),
    /// An event of one of several servers.
    Replica(ReplicaEvent),
    /// A client's event.
    Client(ClientEvent),
}

impl NodeEvent {
    /// The event of a server, be it the only one or one of several.
    pub fn of_server(&self) -> Option<&ServerEvent> {
        match self {
            NodeEvent::Server(event) | NodeEvent::Replica(ReplicaEvent::Server(event)) => Some(event),
            NodeEvent::Replica(_) | NodeEvent::Client(_) => None,
        }
    }

    /// The event of a client, be it one by itself or that of one of several servers.
    pub fn of_client(&self) -> Option<&ClientEvent> {
        match self {
            NodeEvent::Client(event) | NodeEvent::Replica(ReplicaEvent::Client(event)) => Some(event),
            NodeEvent::Replica(_) | NodeEvent::Server(_) => None,
        }
    }

    /// Whether this reports that the published time was stepped.
    pub fn is_step(&self) -> bool {
        use Adjustment::Step;
        let client = matches!(
            self.of_client(),
            Some(
                ClientEvent::Corrected { adjustment: Step, .. }
                    | ClientEvent::TimeSet { adjustment: Step, .. }
                    | ClientEvent::Suspended { .. }
            )
        );
        client
            || matches!(
                self.of_server(),
                Some(ServerEvent::OwnClockCorrected { adjustment: Step, .. } | ServerEvent::Suspended { .. })
            )
    }
}

/// A server, one of several servers, or a client.
#[derive(Debug)]
pub enum AnyNode {
    /// The only server.
    Server(Box<Server>),
    /// One of several servers.
    Replica(Box<Replica>),
    /// A client.
    Client(Box<Client>),
}

/// Hands a call to whichever node it is.
macro_rules! any {
    ($role:expr, $node:ident => $call:expr) => {
        match $role {
            AnyNode::Server($node) => $call,
            AnyNode::Replica($node) => $call,
            AnyNode::Client($node) => $call,
        }
    };
}

impl SimNode for AnyNode {
    fn start(plan: &NodeConfig, seed: [u8; 32], now: Now) -> AnyNode {
        match plan {
            NodeConfig::Server(config) => {
                AnyNode::Server(Box::new(Server::new((**config).clone(), seed, now)))
            }
            NodeConfig::Replica { place, client, server } => {
                let (client, server, seeds) = ((**client).clone(), (**server).clone(), two_seeds(seed));
                AnyNode::Replica(Box::new(Replica::new(*place, client, server, seeds, now)))
            }
            NodeConfig::Client(config) => AnyNode::Client(Box::new(Client::new(config.clone(), seed, now))),
        }
    }

    fn cluster(&self) -> ClusterId {
        match self {
            AnyNode::Server(server) => server.cluster(),
            AnyNode::Replica(replica) if replica.is_active() => replica.server().cluster(),
            AnyNode::Replica(replica) => replica.client().cluster(),
            AnyNode::Client(client) => client.cluster(),
        }
    }

    fn is_active(&self) -> bool {
        match self {
            AnyNode::Server(_) => true,
            AnyNode::Replica(replica) => replica.is_active(),
            AnyNode::Client(_) => false,
        }
    }

    fn set_time(&mut self, now: Now, by: Span, how: Adjustment) {
        // A refusal is an answer to the operator; here only the events count.
        let _ = match self {
            AnyNode::Server(server) => server.set_time(now, Target::By(by), how),
            AnyNode::Replica(replica) => replica.server_mut().set_time(now, Target::By(by), how),
            AnyNode::Client(_) => return,
        };
    }
}

/// The seeds of the two nodes of a process.
fn two_seeds(seed: [u8; 32]) -> [[u8; 32]; 2] {
    let mut rng = ChaCha8Rng::from_seed(seed);
    let mut seeds = [[0; 32]; 2];
    seeds.iter_mut().for_each(|seed| rng.fill_bytes(seed));
    seeds
}

impl Node for AnyNode {
    type Event = NodeEvent;

    fn handle_datagram(&mut self, now: Now, path: Path, datagram: &[u8]) {
        any!(self, node => node.handle_datagram(now, path, datagram));
    }

    fn handle_received(&mut self, now: Now, received: Raw, path: Path, datagram: &[u8]) {
        any!(self, node => node.handle_received(now, received, path, datagram));
    }

    fn handle_transmitted(&mut self, id: StampId, raw: Raw) {
        any!(self, node => node.handle_transmitted(id, raw));
    }

    fn handle_lost(&mut self, datagrams: u32) {
        any!(self, node => node.handle_lost(datagrams));
    }

    fn handle_timeout(&mut self, now: Now) {
        any!(self, node => node.handle_timeout(now));
    }

    fn handle_shutdown(&mut self, now: Now) {
        any!(self, node => node.handle_shutdown(now));
    }

    fn hand_over(&mut self, now: Now) -> bool {
        any!(self, node => node.hand_over(now))
    }

    fn is_handing_over(&self) -> bool {
        any!(self, node => node.is_handing_over())
    }

    fn handle_resolved(&mut self, now: Now, rank: Rank, server: Option<SocketAddr>) {
        any!(self, node => node.handle_resolved(now, rank, server));
    }

    fn handle_reference(&mut self, now: Now, reading: Result<ReferenceReading, NoReference>) {
        any!(self, node => node.handle_reference(now, reading));
    }

    fn handle_suspended(&mut self, now: Now, slept: Span) {
        any!(self, node => node.handle_suspended(now, slept));
    }

    fn poll_transmit(&mut self, now: Now) -> Option<Transmit> {
        any!(self, node => node.poll_transmit(now))
    }

    fn poll_action(&mut self) -> Option<Action> {
        any!(self, node => node.poll_action())
    }

    fn poll_event(&mut self) -> Option<NodeEvent> {
        match self {
            AnyNode::Server(node) => node.poll_event().map(NodeEvent::Server),
            AnyNode::Replica(node) => node.poll_event().map(NodeEvent::Replica),
            AnyNode::Client(node) => node.poll_event().map(NodeEvent::Client),
        }
    }

    fn poll_timeout(&self) -> Option<Monotonic> {
        any!(self, node => node.poll_timeout())
    }

    fn read(&self, raw: Raw) -> ClockReading {
        any!(self, node => node.read(raw))
    }

    fn counters(&self) -> &Counters {
        any!(self, node => node.counters())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use meantime_core::roles::server_role::RoleChange;
    use meantime_core::roles::term::Term;
    use meantime_core::time::Correction;

    #[test]
    fn the_steps_of_a_server_of_several_are_those_of_its_two_nodes() {
        let event = |adjustment| ServerEvent::OwnClockCorrected {
            round: 1,
            correction: Correction::default(),
            added: Correction::default(),
            adjustment,
        };
        let replica = |event| NodeEvent::Replica(ReplicaEvent::Server(event));
        assert!(replica(event(Adjustment::Step)).is_step());
        assert!(!replica(event(Adjustment::Slew)).is_step());
        let slept = ClientEvent::Suspended { slept: Span::from_secs(1) };
        assert!(NodeEvent::Replica(ReplicaEvent::Client(slept)).is_step());
        let takeover = ReplicaEvent::Role(RoleChange::TookOver(Term::NONE));
        assert!(!NodeEvent::Replica(takeover).is_step());
    }
}
