//! How a node stands, in one line: for the service manager, which shows it to people.

use crate::report::{counted, place_of, snake_case};
use meantime_core::roles::statement::Service;
use meantime_core::time::{Now, Span};
use meantime_core::{Client, Node, Relay, Replica, Server};

/// A node that can say in one line how it stands.
pub(super) trait Standing: Node {
    /// As in `synchronized, bound 120.0 µs, 3 members`.
    fn standing(&self, now: Now) -> String;
}

impl Standing for Server {
    fn standing(&self, now: Now) -> String {
        let view = self.overview(now);
        let Some(round) = view.last_round else { return "no round is over yet".into() };
        let state = snake_case(view.state);
        format!(
            "{state}, {}, bound {}, {}, {} heard",
            round.outcome,
            known(round.largest_bound),
            counted(round.members, "member"),
            round.heard
        )
    }
}

impl Standing for Client {
    fn standing(&self, now: Now) -> String {
        let (view, reading) = (self.view(now), self.read(now.raw));
        let state = snake_case(reading.state);
        let server = match (view.server, view.registered) {
            (Some(server), true) => format!("server {server}"),
            (Some(server), false) => format!("asking {server}"),
            (None, _) if view.servers.is_empty() => "looking for the server".into(),
            (None, _) => "no server followed".into(),
        };
        format!("{state}, bound {}, {server}", known(reading.bound))
    }
}

/// Its clock, the server above, and its own clients.
impl Standing for Relay {
    fn standing(&self, now: Now) -> String {
        let clients = counted(self.server().clients(), "client");
        format!("relay {}, {clients}", self.client().standing(now))
    }
}

/// Its role, and its clock or the cluster as the active server sees it.
impl Standing for Replica {
    fn standing(&self, now: Now) -> String {
        let view = self.view(now);
        let (place, servers, term) = (place_of(view.rank), view.servers, view.statement.term);
        let number = term.counter();
        match (self.is_active(), term.rank()) {
            (true, _) => {
                let standbys = counted(view.standbys as u64, "standby server");
                let cluster = self.server().standing(now);
                format!("server {place} of {servers}, active in term {number}, {standbys}; {cluster}")
            }
            (false, None) => format!("server {place} of {servers}, standby, follows none yet"),
            (false, Some(rank)) if rank == view.rank => {
                format!("server {place} of {servers}, standby, was active last itself, in term {number}")
            }
            (false, Some(rank)) => {
                let service = match view.statement.service {
                    Service::Served => "follows",
                    Service::Lost => "has lost",
                    Service::Distrusted => "distrusts",
                };
                let clock = self.client().standing(now);
                let followed = format!("server {} in term {number}", place_of(rank));
                format!("server {place} of {servers}, standby, {service} {followed}; {clock}")
            }
        }
    }
}

fn known(bound: Option<Span>) -> String {
    bound.map_or_else(|| "unknown".to_owned(), |bound| bound.to_string())
}
