//! The nodes' events in a simulation, one line each: the milestones, not every datagram.

use serde_json::{Value, json};

use crate::cli::output::{time_set, utc_changed};
use crate::report::counted;
use meantime_core::roles::rank::Rank;
use meantime_core::roles::server_role::RoleChange;
use meantime_core::roles::term::Term;
use meantime_core::time::Span;
use meantime_core::{ClientEvent, ReplicaEvent, ServerEvent};
use meantime_sim::{MemberIndex, NodeEvent, ReportedEvent};

/// A milestone of a run.
pub(super) struct Milestone {
    at: Span,
    member: MemberIndex,
    kind: &'static str,
    sentence: String,
}

impl Milestone {
    /// The line for people.
    pub(super) fn text(&self) -> String {
        format!("{:12.6} s  {:<10} {}", self.at.as_secs_f64(), self.member, self.sentence)
    }

    /// The object for programs.
    pub(super) fn json(&self) -> Value {
        json!({
            "event": self.kind,
            "true_s": self.at.as_nanos() as f64 / 1e9,
            "node": self.member.to_string(),
            "text": self.sentence,
        })
    }
}

/// The milestone that an event is, if it is one.
pub(super) fn milestone(happening: &ReportedEvent) -> Option<Milestone> {
    let event = &happening.event;
    let (kind, sentence) = match event {
        NodeEvent::Replica(ReplicaEvent::Role(change)) => role(*change),
        NodeEvent::Replica(ReplicaEvent::HandsOver(rank)) => {
            ("hands_over", format!("hands over to {}", server_of(*rank)))
        }
        _ => event.of_server().and_then(server).or_else(|| event.of_client().and_then(client))?,
    };
    Some(Milestone { at: happening.at, member: happening.member, kind, sentence })
}

fn role(change: RoleChange) -> (&'static str, String) {
    match change {
        RoleChange::TookOver(term) => ("took_over", format!("takes over, in {}", term_of(term))),
        RoleChange::Succeeded(term) => {
            ("succeeded", format!("is active, in {}, by a handover", term_of(term)))
        }
        RoleChange::Resumed(term) => ("resumed_role", format!("is active again, in {}", term_of(term))),
        RoleChange::Raised(term) => ("raised", format!("stays active, in {}", term_of(term))),
        RoleChange::Yielded(term) => ("yielded", format!("yields to {}", term_of(term))),
        RoleChange::Shunned => ("shunned", "is a standby server: most members distrust it".to_owned()),
        RoleChange::LostQuorum => ("lost_quorum", "is a standby server: it hears too few members".to_owned()),
        RoleChange::Followed(term) => ("follows", format!("follows {}", term_of(term))),
        RoleChange::Stalled => ("stalled", "is a standby server: it was stopped".to_owned()),
    }
}

/// `term 7 of server-2`.
fn term_of(term: Term) -> String {
    term.rank().map_or_else(
        || "no term".to_owned(),
        |rank| format!("term {} of {}", term.counter(), server_of(rank)),
    )
}

fn server_of(rank: Rank) -> MemberIndex {
    MemberIndex::server(rank.place() + 1)
}

fn server(event: &ServerEvent) -> Option<(&'static str, String)> {
    Some(match event {
        ServerEvent::Connected { client, .. } => ("connected", format!("{client} connected")),
        ServerEvent::Left { client } => ("left", format!("{client} has left")),
        ServerEvent::Lost { client, silent } => ("lost", format!("{client} is lost: not heard for {silent}")),
        ServerEvent::Unauthentic { address, .. } => {
            ("unauthentic", format!("a datagram from {address} has a wrong tag, and is dropped"))
        }
        ServerEvent::Falseticker(f) => {
            ("falseticker", format!("{} is left out of the vote: {}, by {}", f.voter, f.reason, f.offset))
        }
        ServerEvent::Truechimer { voter } => ("truechimer", format!("{voter} agrees again")),
        ServerEvent::Removed(change) => {
            ("removed", format!("{} is removed from the vote by an operator", change.selector))
        }
        ServerEvent::Pinned(change) => ("pinned", format!("{} has its vote back", change.selector)),
        ServerEvent::TimeSet { manual_adjustment } => ("time_set", time_set(manual_adjustment)),
        ServerEvent::TimeAgreed { agreeing, members, .. } => {
            ("time_agreed", format!("the cluster has a time: the mean of {agreeing} of {members} clocks"))
        }
        ServerEvent::Undecided { members, agreeing, .. } => {
            ("undecided", format!("undecided: only {agreeing} of {members} clocks agree"))
        }
        ServerEvent::TimeFounded { added, .. } => {
            ("time_founded", format!("an operator has founded the cluster's time: {added}"))
        }
        ServerEvent::TimeAdopted { members, .. } => {
            ("time_adopted", format!("takes the cluster's time from {}", counted(*members, "member")))
        }
        ServerEvent::Deposed { offset } => {
            ("deposed", format!("its own clock is {offset} from the members: sends no corrections"))
        }
        ServerEvent::Utc { state, offset, error, explained } => {
            ("utc", utc_changed(*state, *offset, *error, *explained))
        }
        ServerEvent::ReferenceFalseticker { voter, offset } => {
            ("reference_falseticker", format!("the reference of {voter} is {offset} from UTC, as most say"))
        }
        ServerEvent::ReferenceTruechimer { voter } => {
            ("reference_truechimer", format!("the reference of {voter} agrees again"))
        }
        ServerEvent::Suspended { slept } => ("suspended", format!("was suspended for {slept}: listens")),
        ServerEvent::BoundsBroken { members, largest } => (
            "bounds_broken",
            format!("its time is beyond the bounds of {}, by {largest}", counted(*members, "member")),
        ),
        ServerEvent::Resumed => ("resumed", "corrects the members again".to_owned()),
        _ => return None,
    })
}

fn client(event: &ClientEvent) -> Option<(&'static str, String)> {
    Some(match event {
        ClientEvent::Registered { .. } => ("registered", "is registered".to_owned()),
        ClientEvent::Corrected { first: true, added, .. } => {
            ("synchronized", format!("has the cluster's time: {added} added"))
        }
        ClientEvent::Follows { term, .. } => ("follows", format!("follows {}", term_of(*term))),
        ClientEvent::Doubts { rank, gap } => {
            ("doubts", format!("doubts the time of {}, by {gap}", server_of(*rank)))
        }
        ClientEvent::Distrusts { rank, .. } => ("distrusts", format!("distrusts {}", server_of(*rank))),
        ClientEvent::Trusts { rank, .. } => ("trusts", format!("trusts {} again", server_of(*rank))),
        ClientEvent::Ignored { correction, in_a_row, .. } => {
            ("ignored", format!("takes {correction} for an outlier, {in_a_row} in a row"))
        }
        ClientEvent::RefusedCorrection { correction, refused, reason, .. } => {
            ("refused_correction", format!("refuses {}: {reason}", refused.unwrap_or(*correction)))
        }
        ClientEvent::TimeSet { late, adjustment, .. } if late.span() != Span::ZERO => {
            ("time_set", format!("receives the manual adjustment late: {late} is added ({adjustment})"))
        }
        ClientEvent::BoundBroken { gap } => ("bound_broken", format!("its bound is broken by {gap}")),
        ClientEvent::Suspended { slept } => {
            ("suspended", format!("was suspended for {slept}: registers again"))
        }
        ClientEvent::Holdover { reason } => ("holdover", format!("holdover: {reason}")),
        ClientEvent::Recovered => ("recovered", "is corrected again".to_owned()),
        _ => return None,
    })
}
