//! Which rows an event adds to the record.

use super::row::{NodeRole, Row};
use crate::report::ClockSnapshot;
use meantime_core::time::{Correction, Now, Offset};
use meantime_core::view::{MemberView, MemberVote};
use meantime_core::wire::Verdict;
use meantime_core::{
    Client, ClientEvent, Node, Relay, RelayEvent, Replica, ReplicaEvent, Server, ServerEvent,
};

/// A node that writes a record.
pub trait Recorded: Node {
    /// Adds the rows for an event that has just happened. The node is in the state after the event.
    fn record(&self, now: Now, at: &ClockSnapshot, event: &Self::Event, rows: &mut Vec<Row>);
}

impl Recorded for Server {
    /// At the end of a round, when the server knows the offset of its own clock: a row for itself and one for
    /// each client.
    fn record(&self, now: Now, at: &ClockSnapshot, event: &ServerEvent, rows: &mut Vec<Row>) {
        let ServerEvent::OwnClockCorrected { round, correction, .. } = event else { return };
        let view = self.view(now);
        let time = at.reading.time;
        let has_time = view.state.has_cluster_time();
        rows.push(Row {
            round: Some(*round),
            heard: true,
            offset: has_time.then(|| offset_before(*correction)),
            error: at.reading.error,
            bound: view.bound,
            frequency: Some(view.frequency),
            frequency_error: view.frequency_error,
            vote: has_time.then_some(view.exclusion.is_none()),
            exclusion: view.exclusion,
            report: view.last_round,
            utc: view.utc,
            ..Row::new(time, NodeRole::Server, self.name(), view.state)
        });
        rows.extend(view.members.iter().map(|member| Row { round: Some(*round), ..client(member, at) }));
    }
}

fn client(member: &MemberView, at: &ClockSnapshot) -> Row {
    let row = Row {
        address: Some(member.peer.address),
        ..Row::new(at.reading.time, NodeRole::Client, member.peer.name, member.state)
    };
    // The lowest bit is this round. Earlier measurements are in earlier rows.
    let Some(measured) = member.measured.filter(|_| member.heard & 1 == 1) else { return row };
    Row {
        heard: true,
        offset: Some(measured.offset),
        offset_error: Some(measured.error),
        delay: Some(measured.delay),
        error: member.error,
        bound: member.bound,
        frequency: member.frequency,
        frequency_error: member.frequency_error,
        vote: match member.vote {
            MemberVote::In => Some(true),
            MemberVote::Out => Some(false),
            MemberVote::None => None,
        },
        exclusion: member.exclusion,
        ..row
    }
}

impl Recorded for Client {
    /// At each correction; without corrections, at each attempt to register.
    fn record(&self, _now: Now, at: &ClockSnapshot, event: &ClientEvent, rows: &mut Vec<Row>) {
        let reading = at.reading;
        let row = Row {
            error: reading.error,
            bound: reading.bound,
            frequency: Some(reading.frequency),
            frequency_error: reading.frequency_error,
            ..Row::new(reading.time, NodeRole::Client, self.name(), reading.state)
        };
        rows.push(match event {
            ClientEvent::Corrected { round, added, delay, verdict, .. } => Row {
                round: Some(*round),
                heard: true,
                offset: Some(offset_before(*added)),
                delay: Some(*delay),
                vote: match verdict {
                    Verdict::Unjudged => None,
                    Verdict::Agrees => Some(true),
                    Verdict::Minority => Some(false),
                },
                ..row
            },
            ClientEvent::Ignored { round, correction, .. }
            | ClientEvent::RefusedCorrection { round, correction, .. } => {
                Row { round: Some(*round), heard: true, offset: Some(offset_before(*correction)), ..row }
            }
            ClientEvent::Holdover { .. } | ClientEvent::Registering { .. } => row,
            _ => return,
        });
    }
}

impl Recorded for Relay {
    /// The rows of its server. That of its own clock is at the end of a round, too: it has the errors of the
    /// time that it follows.
    fn record(&self, now: Now, at: &ClockSnapshot, event: &RelayEvent, rows: &mut Vec<Row>) {
        if let RelayEvent::Server(event) = event {
            self.server().record(now, at, event, rows);
        }
    }
}

impl Recorded for Replica {
    /// The rows of its server, at the end of a round, too. While it stands by, those of its clients are
    /// sparse: it measures each of them in some rounds only.
    fn record(&self, now: Now, at: &ClockSnapshot, event: &ReplicaEvent, rows: &mut Vec<Row>) {
        if let ReplicaEvent::Server(event) = event {
            self.server().record(now, at, event, rows);
        }
    }
}

/// The offset of a clock before this correction.
fn offset_before(correction: Correction) -> Offset {
    Offset::ahead_by(-correction.span())
}
