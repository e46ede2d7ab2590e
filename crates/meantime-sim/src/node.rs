//! What a simulated machine can run: a server, a client, or another node that a test makes.

use std::net::SocketAddr;

use meantime_core::event::Adjustment;
use meantime_core::reference::{NoReference, ReferenceReading};
use meantime_core::server::Target;
use meantime_core::time::{Monotonic, Now, Raw, Span};
use meantime_core::wire::ClusterId;
use meantime_core::{
    Action, Client, ClientConfig, ClientEvent, ClockReading, Counters, Node, Path, Server, ServerConfig,
    ServerEvent, StampId, Transmit,
};

/// What a process is started as.
#[derive(Clone, Debug, PartialEq)]
pub enum NodeConfig {
    /// A server.
    Server(Box<ServerConfig>),
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
    /// A client's event.
    Client(ClientEvent),
}

impl NodeEvent {
    /// Whether this reports that the published time was stepped.
    pub fn is_step(&self) -> bool {
        use Adjustment::Step;
        matches!(
            self,
            NodeEvent::Client(
                ClientEvent::Corrected { adjustment: Step, .. }
                    | ClientEvent::TimeSet { adjustment: Step, .. }
                    | ClientEvent::Suspended { .. }
            ) | NodeEvent::Server(
                ServerEvent::OwnClockCorrected { adjustment: Step, .. } | ServerEvent::Suspended { .. }
            )
        )
    }
}

/// A server or a client.
#[derive(Debug)]
pub enum AnyNode {
    /// A server.
    Server(Box<Server>),
    /// A client.
    Client(Box<Client>),
}

/// Hands a call to whichever node it is.
macro_rules! either {
    ($role:expr, $node:ident => $call:expr) => {
        match $role {
            AnyNode::Server($node) => $call,
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
            NodeConfig::Client(config) => AnyNode::Client(Box::new(Client::new(config.clone(), seed, now))),
        }
    }

    fn cluster(&self) -> ClusterId {
        either!(self, node => node.cluster())
    }

    fn set_time(&mut self, now: Now, by: Span, how: Adjustment) {
        if let AnyNode::Server(server) = self {
            // A refusal is an answer to the operator; here only the events count.
            let _ = server.set_time(now, Target::By(by), how);
        }
    }
}

impl Node for AnyNode {
    type Event = NodeEvent;

    fn handle_datagram(&mut self, now: Now, path: Path, datagram: &[u8]) {
        either!(self, node => node.handle_datagram(now, path, datagram));
    }

    fn handle_received(&mut self, now: Now, received: Raw, path: Path, datagram: &[u8]) {
        either!(self, node => node.handle_received(now, received, path, datagram));
    }

    fn handle_transmitted(&mut self, id: StampId, raw: Raw) {
        either!(self, node => node.handle_transmitted(id, raw));
    }

    fn handle_timeout(&mut self, now: Now) {
        either!(self, node => node.handle_timeout(now));
    }

    fn handle_shutdown(&mut self, now: Now) {
        either!(self, node => node.handle_shutdown(now));
    }

    fn handle_resolved(&mut self, now: Now, server: Option<SocketAddr>) {
        either!(self, node => node.handle_resolved(now, server));
    }

    fn handle_reference(&mut self, now: Now, reading: Result<ReferenceReading, NoReference>) {
        either!(self, node => node.handle_reference(now, reading));
    }

    fn handle_suspended(&mut self, now: Now, slept: Span) {
        either!(self, node => node.handle_suspended(now, slept));
    }

    fn poll_transmit(&mut self, now: Now) -> Option<Transmit> {
        either!(self, node => node.poll_transmit(now))
    }

    fn poll_action(&mut self) -> Option<Action> {
        either!(self, node => node.poll_action())
    }

    fn poll_event(&mut self) -> Option<NodeEvent> {
        match self {
            AnyNode::Server(node) => node.poll_event().map(NodeEvent::Server),
            AnyNode::Client(node) => node.poll_event().map(NodeEvent::Client),
        }
    }

    fn poll_timeout(&self) -> Option<Monotonic> {
        either!(self, node => node.poll_timeout())
    }

    fn read(&self, raw: Raw) -> ClockReading {
        either!(self, node => node.read(raw))
    }

    fn counters(&self) -> &Counters {
        either!(self, node => node.counters())
    }
}
