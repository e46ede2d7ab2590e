//! Several servers: takeovers, partitions, and servers that lie, with three servers and eight clients on a
//! LAN.

mod broken;
mod handover;
mod lies;
mod partition;
mod random_faults;
mod stopped;
mod takeover;
mod watch;

use meantime_core::time::Span;
use meantime_sim::{MemberIndex, Scenario};

use crate::support::{loss, s};

/// The server that is active in a cluster that has settled: the first in rank.
const ACTIVE: MemberIndex = MemberIndex::server(1);
/// A duration, if there is one.
fn or_never(span: Option<Span>) -> String {
    span.map_or_else(|| "never".to_owned(), |span| span.to_string())
}

/// The clients of a scenario.
fn clients(scenario: &Scenario) -> impl Iterator<Item = MemberIndex> {
    (1..=scenario.clients).map(MemberIndex::client)
}

/// The interval of the rounds.
const ROUND: Span = s(5);
/// After so long the clocks of a cluster have settled.
const SETTLED: Span = s(1_200);

/// Three servers and eight clients on a LAN that loses so many datagrams.
fn lan(seed: u64, lost: f64) -> Scenario {
    Scenario {
        servers: 3,
        clients: 8,
        interval: ROUND,
        // The turns of the servers are not in step.
        start_within: ROUND,
        impairments: loss(lost),
        ..Scenario::seeded(seed)
    }
}
