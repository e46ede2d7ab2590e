//! What a server of several states of itself.
//!
//! Its clients and most commands are those of its server. The clock that it states is the server's while it
//! is active, and else that of the client by which it follows the active server.

use super::node::{ClientPage, CommandError, ControlledNode, commands_of_its_server, server_status};
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

    commands_of_its_server!();

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
            bound_ns: view.bound.map(Span::as_nanos),
            heard_ago_ns: view.heard_ago.map(Span::as_nanos),
        }
    }
}
