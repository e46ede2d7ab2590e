//! The events of a server of several: those of its role, of its server, and of the client by which it follows
//! the active server, which are marked, since both nodes report events of the same kinds.

use log::Level;
use serde_json::Value;

use super::Tell;
use super::record::Record;
use crate::report::{ClockSnapshot, RoleWord, place_of, snake_case};
use meantime_core::ReplicaEvent::{self, Client, HandsOver, Role, Server};
use meantime_core::roles::server_role::RoleChange::{self, *};
use meantime_core::roles::term::Term;

impl Tell for ReplicaEvent {
    fn kind(&self) -> &'static str {
        match self {
            Client(event) => event.kind(),
            Server(event) => event.kind(),
            Role(_) => "role_changed",
            HandsOver(_) => "hands_over",
        }
    }

    fn fields(&self, record: &mut Record) {
        match self {
            Client(event) => {
                record.put("of", "client");
                event.fields(record);
            }
            Server(event) => event.fields(record),
            Role(change) => role_fields(record, *change),
            HandsOver(successor) => record.put("successor", place_of(*successor)),
        }
    }

    fn text(&self, at: &ClockSnapshot) -> Option<String> {
        match self {
            Client(event) => Some(format!("As a client: {}", event.text(at)?)),
            Server(event) => event.text(at),
            Role(change) => Some(role_text(*change)),
            HandsOver(successor) => {
                Some(format!("Handover: server {} is to take over from this one", place_of(*successor)))
            }
        }
    }

    fn level(&self) -> Option<Level> {
        match self {
            Client(event) => event.level(),
            Server(event) => event.level(),
            Role(TookOver(term)) if is_first(*term) => Some(Level::Info),
            Role(TookOver(_) | Shunned | LostQuorum | Stalled) => Some(Level::Warn),
            Role(_) | HandsOver(_) => Some(Level::Info),
        }
    }
}

/// What the server is from now on, in which term, and why.
fn role_fields(record: &mut Record, change: RoleChange) {
    let (role, term) = match change {
        TookOver(term) | Succeeded(term) | Resumed(term) | Raised(term) => (RoleWord::Active, Some(term)),
        Yielded(term) | Followed(term) => (RoleWord::Standby, Some(term)),
        Shunned | LostQuorum | Stalled => (RoleWord::Standby, None),
    };
    record.put("role", role.as_str());
    put_term(record, term);
    let reason = snake_case(change);
    record.put("reason", reason.split('(').next().unwrap_or_default());
}

/// Adds the number of a term, and the place of the server whose term it is.
pub(super) fn put_term(record: &mut Record, term: Option<Term>) {
    let of = term.and_then(Term::rank).map(place_of);
    record.put("term", term.map_or(Value::Null, |term| term.counter().into()));
    record.put("term_of", of.map_or(Value::Null, Value::from));
}

/// Whether no server was active before, as far as any node knows.
fn is_first(term: Term) -> bool {
    term.counter() == 1
}

fn role_text(change: RoleChange) -> String {
    match change {
        TookOver(term) if is_first(term) => "This server is the first active one, in term 1".into(),
        TookOver(term) => format!(
            "Takeover: most members have no active server; this server is active now, in term {}",
            term.counter()
        ),
        Succeeded(term) => format!(
            "Takeover: the active server has handed over; this server is active now, in term {}",
            term.counter()
        ),
        Resumed(term) => format!("This server is active again, in term {}", term.counter()),
        Raised(term) => format!(
            "This server stays active, in term {} now, above the terms that others name",
            term.counter()
        ),
        Yielded(term) => format!("This server stands by now: it follows {}", server_of(term)),
        Followed(term) => format!("This server stands by: it follows {}", server_of(term)),
        Shunned => "This server stands by now: most members distrust its time".into(),
        LostQuorum => {
            "This server stands by now: it hears no majority of the members that it knew (--quorum)".into()
        }
        Stalled => {
            "This server stands by now: it was stopped for so long that another one may have taken over"
                .into()
        }
    }
}

/// A server and its term: `server 1 in term 7`.
fn server_of(term: Term) -> String {
    let place = term.rank().map_or_else(|| "no server".into(), |rank| format!("server {}", place_of(rank)));
    format!("{place} in term {}", term.counter())
}

#[cfg(test)]
mod tests {
    use super::super::OutputFormat;
    use super::super::tests::printed;
    use super::*;
    use meantime_core::roles::rank::Rank;
    use meantime_core::time::Span;
    use meantime_core::{ClientEvent, ServerEvent};

    fn term() -> Term {
        Term::new(7, Rank::new(1).unwrap()).unwrap()
    }

    #[test]
    fn an_event_of_its_client_says_so() {
        let slept = Span::from_secs(7);
        let client = Client(ClientEvent::Suspended { slept });
        assert!(printed(OutputFormat::Text, &client).starts_with("As a client: Suspended: "));
        assert!(printed(OutputFormat::Json, &client).contains("\"of\":\"client\",\"slept_ns\""));
        let server = Server(ServerEvent::Suspended { slept });
        assert!(!printed(OutputFormat::Json, &server).contains("\"of\""));
    }

    #[test]
    fn a_change_of_role_has_the_role_the_term_and_the_reason() {
        for (change, fields) in [
            (TookOver(term()), "\"role\":\"active\",\"term\":7,\"term_of\":2,\"reason\":\"took_over\"}"),
            (Yielded(term()), "\"role\":\"standby\",\"term\":7,\"term_of\":2,\"reason\":\"yielded\"}"),
            (LostQuorum, "\"role\":\"standby\",\"term\":null,\"term_of\":null,\"reason\":\"lost_quorum\"}"),
        ] {
            let line = printed(OutputFormat::Json, &Role(change));
            assert!(line.trim_end().ends_with(fields), "{line}");
        }
        assert_eq!(
            printed(OutputFormat::Text, &Role(Followed(term()))),
            "This server stands by: it follows server 2 in term 7\n"
        );
    }

    #[test]
    fn takeovers_that_nobody_has_ordered_are_warnings() {
        assert_eq!(Role(TookOver(term())).level(), Some(Level::Warn));
        assert_eq!(Role(Succeeded(term())).level(), Some(Level::Info));
    }

    #[test]
    fn the_first_active_server_is_no_reason_to_warn() {
        let first = Role(TookOver(Term::new(1, Rank::new(1).unwrap()).unwrap()));
        assert_eq!(first.level(), Some(Level::Info));
        let text = printed(OutputFormat::Text, &first);
        assert_eq!(text, "This server is the first active one, in term 1\n");
    }
}
