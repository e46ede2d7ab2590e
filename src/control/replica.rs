//! What a server of several states of itself.
//!
//! Its clients and most commands are those of its server. The clock that it states is the server's while it
//! is active, and else that of the client by which it follows the active server.

use super::node::{ClientPage, CommandError, ControlledNode, server_status};
use super::protocol::{
    ClientsChangeResponse, ListedServerStatus, NodeStatus, ReplicaStatus, ScheduledAdjustment, ServerStatus,
    SetTime,
};
use super::socket_path::Role;
use crate::report::{ClockSnapshot, place_of};
use meantime_core::Replica;
use meantime_core::roles::rank::Rank;
use meantime_core::roles::statement::{Role as ActiveOrStandby, ServerStatement};
use meantime_core::time::{Now, Span};
use meantime_core::view::{ListedServerView, ReplicaView};

impl ControlledNode for Replica {
    const ROLE: Role = Role::Server;

    fn status(&self, now: Now, at: &ClockSnapshot) -> NodeStatus {
        let server = self.server();
        let status = server_status(server.name(), &server.overview(now), at);
        let holdover = self.client().view(now).holdover.filter(|_| !self.is_active());
        let replica = ReplicaStatus { holdover: holdover.map(Into::into), ..replica_status(&self.view(now)) };
        NodeStatus::Server(Box::new(ServerStatus {
            state: at.reading.state.into(),
            own_bound_ns: at.reading.bound.map(Span::as_nanos),
            replica: Some(Box::new(replica)),
            ..status
        }))
    }

    fn clients(&self, now: Now, first: usize, max: usize) -> Option<ClientPage> {
        ControlledNode::clients(self.server(), now, first, max)
    }

    fn remove(&mut self, member: &str) -> Result<ClientsChangeResponse, CommandError> {
        self.server_mut().remove(member)
    }

    fn pin(&mut self, member: &str) -> Result<ClientsChangeResponse, CommandError> {
        self.server_mut().pin(member)
    }

    fn ban(&mut self, now: Now, member: &str) -> Result<ClientsChangeResponse, CommandError> {
        ControlledNode::ban(self.server_mut(), now, member)
    }

    fn unban(&mut self, member: &str) -> Result<ClientsChangeResponse, CommandError> {
        ControlledNode::unban(self.server_mut(), member)
    }

    fn set_time(&mut self, now: Now, request: &SetTime) -> Result<ScheduledAdjustment, CommandError> {
        ControlledNode::set_time(self.server_mut(), now, request)
    }

    fn resign(&mut self, now: Now, wanted: Option<Rank>) -> Option<Rank> {
        Replica::resign(self, now, wanted)
    }
}

fn replica_status(view: &ReplicaView) -> ReplicaStatus {
    let ServerStatement { role, term, service, successor } = view.statement;
    ReplicaStatus {
        rank: place_of(view.rank),
        name: String::new(),
        servers: view.servers,
        quorum: view.quorum.into(),
        role: role.into(),
        term: term.counter(),
        term_of: term.rank().map(place_of),
        service: service.into(),
        successor: successor.map(place_of),
        members: view.members,
        known_members: view.known_members,
        standbys: if role == ActiveOrStandby::Active { view.standbys } else { 0 },
        holdover: None,
        others: view.others.iter().map(Into::into).collect(),
    }
}

impl From<&ListedServerView> for ListedServerStatus {
    fn from(view: &ListedServerView) -> ListedServerStatus {
        let stated = view.stated;
        ListedServerStatus {
            rank: place_of(view.rank),
            name: String::new(),
            address: view.address,
            registered: view.registered,
            role: stated.map(|stated| stated.role.into()),
            term: stated.map(|stated| stated.term.counter()),
            term_of: stated.and_then(|stated| stated.term.rank()).map(place_of),
            service: stated.map(|stated| stated.service.into()),
            followed: view.followed,
            distrusted: view.distrusted,
            heard_ago_ns: view.heard_ago.map(Span::as_nanos),
        }
    }
}
