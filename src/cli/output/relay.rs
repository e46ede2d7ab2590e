//! A relay's events: those of its client are marked, since both nodes report events of the same kinds.

use log::Level;

use super::Tell;
use super::record::Record;
use crate::report::ClockSnapshot;
use meantime_core::RelayEvent::{self, Server, Upstream};

impl Tell for RelayEvent {
    fn kind(&self) -> &'static str {
        match self {
            Upstream(event) => event.kind(),
            Server(event) => event.kind(),
        }
    }

    fn fields(&self, record: &mut Record) {
        match self {
            Upstream(event) => {
                record.put("of", "upstream");
                event.fields(record);
            }
            Server(event) => event.fields(record),
        }
    }

    fn text(&self, at: &ClockSnapshot) -> Option<String> {
        match self {
            Upstream(event) => Some(format!("Upstream: {}", event.text(at)?)),
            Server(event) => event.text(at),
        }
    }

    fn level(&self) -> Option<Level> {
        match self {
            Upstream(event) => event.level(),
            Server(event) => event.level(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::OutputFormat;
    use super::super::tests::printed;
    use super::*;
    use meantime_core::event::UpstreamFault;
    use meantime_core::time::Span;
    use meantime_core::{ClientEvent, ServerEvent};

    #[test]
    fn an_event_of_the_relays_client_says_so() {
        let slept = Span::from_secs(7);
        let upstream = Upstream(ClientEvent::Suspended { slept });
        assert!(printed(OutputFormat::Text, &upstream).starts_with("Upstream: Suspended: "));
        assert!(printed(OutputFormat::Json, &upstream).contains("\"of\":\"upstream\",\"slept_ns\""));
        let server = Server(ServerEvent::Suspended { slept });
        assert!(!printed(OutputFormat::Text, &server).contains("Upstream"));
        assert!(!printed(OutputFormat::Json, &server).contains("\"of\""));
    }

    #[test]
    fn a_loop_is_told_with_the_option_to_change() {
        let server = "192.0.2.1:5525".parse().unwrap();
        let refused = Upstream(ClientEvent::UpstreamRefused { server, reason: UpstreamFault::Loop });
        assert_eq!(
            printed(OutputFormat::Text, &refused),
            "Upstream: No time is taken from the server 192.0.2.1:5525: it is a client of this relay itself, or of a \
             relay below this one; one of the two needs another --upstream\n"
        );
    }
}
