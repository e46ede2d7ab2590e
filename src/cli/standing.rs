//! How a node stands, in one line: for the service manager, which shows it to people.

use crate::report::{counted, snake_case};
use meantime_core::time::{Now, Span};
use meantime_core::{Client, Node, Relay, Server};

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
            (None, _) => "looking for the server".into(),
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

fn known(bound: Option<Span>) -> String {
    bound.map_or_else(|| "unknown".to_owned(), |bound| bound.to_string())
}
