//! The results of the last rounds: the lines of the page's plots.

use std::collections::{BTreeSet, VecDeque};

use serde::Serialize;

use super::roster::{Id, Roster};
use crate::control::protocol::{ClientStatus, LastRound, NodeStatus, ServerStatus, Status};

/// The last rounds, and the clocks of some members in them.
#[derive(Debug, Default)]
pub(super) struct PlotHistory {
    samples: VecDeque<RoundSample>,
    /// The number of the newest sample.
    newest: u64,
    /// The members whose clocks are kept.
    plotted: BTreeSet<Id>,
}

/// A part of the history, as `/api/history` serves it.
#[derive(Debug, Serialize)]
pub(super) struct HistoryPage<'a> {
    newest: u64,
    columns: [&'static str; 6],
    samples: Vec<&'a RoundSample>,
}

/// The result of a round.
#[derive(Debug, Serialize)]
struct RoundSample {
    raw_ns: i64,
    time: String,
    cluster: String,
    round: u32,
    /// The outcome of the round; of a client the state of its clock.
    outcome: String,
    #[serde(flatten)]
    cluster_figures: Option<ClusterFigures>,
    number: u64,
    clocks: Vec<ClockRow>,
}

/// What only a server knows of a round.
#[derive(Debug, Serialize)]
struct ClusterFigures {
    members: u64,
    heard: u64,
    agreeing: u64,
    spread_ns: i64,
    largest_bound_ns: Option<i64>,
}

/// A clock in a round: the columns of [`COLUMNS`].
#[derive(Debug, PartialEq, Serialize)]
struct ClockRow(Id, Option<i64>, Option<i64>, Option<i64>, Option<f64>, String);

impl PlotHistory {
    /// Adds the last round of a node's answer, unless it was added before.
    pub(super) fn add(&mut self, status: &Status, roster: &Roster) {
        let sample = match &status.node {
            NodeStatus::Server(server) => {
                let Some(last) = &server.last_round else { return };
                let clocks = self.members(roster);
                sample_of_cluster(status, server, last, clocks)
            }
            NodeStatus::Client(client) => match sample_of_client(status, client) {
                Some(sample) => sample,
                None => return,
            },
        };
        let is_same = |last: &RoundSample| last.round == sample.round && last.cluster == sample.cluster;
        if self.samples.back().is_some_and(is_same) {
            return;
        }
        self.newest += 1;
        self.samples.push_back(RoundSample { number: self.newest, ..sample });
        if self.samples.len() > MAX_SAMPLES {
            self.samples.pop_front();
        }
    }

    /// The rounds after this number, oldest first.
    pub(super) fn since(&self, number: u64) -> HistoryPage<'_> {
        let samples = self.samples.iter().filter(|sample| sample.number > number).collect();
        HistoryPage { newest: self.newest, columns: COLUMNS, samples }
    }

    /// Whether the history has the clock of this member.
    pub(super) fn contains(&self, id: Id) -> bool {
        self.plotted.contains(&id)
    }

    fn members(&mut self, roster: &Roster) -> Vec<ClockRow> {
        self.plotted.retain(|id| roster.contains(*id));
        let mut clocks = Vec::new();
        for (id, member) in roster.iter() {
            if member.is_listed() && self.plotted.len() < MAX_PLOTTED {
                self.plotted.insert(id);
            }
            if !self.plotted.contains(&id) {
                continue;
            }
            let row = &member.row;
            clocks.push(match member.is_listed() {
                true => {
                    let vote = if row.heard_rounds.newest() { row.vote.as_str() } else { "unheard" };
                    ClockRow(
                        id,
                        row.offset_ns,
                        row.bound_ns,
                        row.delay_ns,
                        row.frequency_ppb,
                        vote.to_owned(),
                    )
                }
                false => ClockRow(id, None, None, None, None, member.presence.as_str().to_owned()),
            });
        }
        clocks
    }
}

fn sample_of_cluster(
    status: &Status,
    server: &ServerStatus,
    LastRound { summary: last, .. }: &LastRound,
    clocks: Vec<ClockRow>,
) -> RoundSample {
    RoundSample {
        raw_ns: status.header.raw_ns,
        time: status.header.time.clone(),
        cluster: server.cluster.clone(),
        round: last.round,
        outcome: last.outcome.to_string(),
        cluster_figures: Some(ClusterFigures {
            members: last.members,
            heard: last.heard,
            agreeing: last.agreeing,
            spread_ns: last.spread_ns,
            largest_bound_ns: last.largest_bound_ns,
        }),
        number: 0,
        clocks,
    }
}

/// A client's last correction as a round with one member: what was added to its clock is what that was
/// behind.
fn sample_of_client(status: &Status, client: &ClientStatus) -> Option<RoundSample> {
    let correction = client.last_correction.as_ref()?;
    let offset = correction.added_ns.wrapping_neg();
    let (bound, delay) = (status.header.bound_ns, Some(correction.delay_ns));
    let clock = ClockRow(OWN, Some(offset), bound, delay, Some(client.frequency_ppb), "in".to_owned());
    Some(RoundSample {
        raw_ns: status.header.raw_ns,
        time: status.header.time.clone(),
        cluster: client.cluster.clone(),
        round: correction.round,
        outcome: client.state.to_string(),
        cluster_figures: None,
        number: 0,
        clocks: vec![clock],
    })
}

/// The number of the node itself, where that is a client.
pub(super) const OWN: Id = 0;

/// The columns of a row of a clock.
const COLUMNS: [&str; 6] = ["id", "offset_ns", "bound_ns", "delay_ns", "frequency_ppb", "vote"];

/// 50 minutes of rounds of five seconds.
const MAX_SAMPLES: usize = 600;
/// More lines than a reader can tell apart.
const MAX_PLOTTED: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::protocol::{ClientRow, HeardRounds, examples};
    use meantime_core::time::Monotonic;

    const NOW: Monotonic = Monotonic::from_nanos(1);

    fn status(round: u32) -> Status {
        let (mut server, mut last) = (examples::server_status(), examples::round());
        last.summary.round = round;
        server.last_round = Some(last);
        Status { node: NodeStatus::Server(Box::new(server)), ..examples::server() }
    }

    fn clients(count: u16) -> Vec<ClientRow> {
        let client = |port: u16| ClientRow {
            offset_ns: Some(port.into()),
            bound_ns: None,
            delay_ns: None,
            frequency_ppb: None,
            heard_rounds: HeardRounds(1),
            ..examples::row("n", port)
        };
        (1..=count).map(client).collect()
    }

    #[test]
    fn a_round_is_one_sample_however_often_the_node_is_polled() {
        let (mut history, mut roster) = (PlotHistory::default(), Roster::default());
        roster.update(&clients(2), NOW);
        for round in [1, 1, 1, 2, 2] {
            history.add(&status(round), &roster);
        }
        let all = history.since(0);
        assert_eq!(all.newest, 2);
        let json = serde_json::to_string(&all.samples[0].clocks).unwrap();
        assert_eq!(json, r#"[[1,1,null,null,null,"in"],[2,2,null,null,null,"in"]]"#);
        assert_eq!(history.since(1).samples.len(), 1);
    }

    #[test]
    fn the_history_is_bounded_in_rounds_and_members() {
        let (mut history, mut roster) = (PlotHistory::default(), Roster::default());
        roster.update(&clients(100), NOW);
        for round in 1..=1_000 {
            history.add(&status(round), &roster);
        }
        let all = history.since(0);
        assert_eq!(all.samples.len(), MAX_SAMPLES);
        assert_eq!(all.samples[0].clocks.len(), MAX_PLOTTED);
        assert!(history.contains(1) && !history.contains(100));
    }

    #[test]
    fn a_client_shows_how_far_its_clock_was_off() {
        let mut history = PlotHistory::default();
        history.add(&examples::client(), &Roster::default());
        let expected = ClockRow(OWN, Some(3), Some(110_000), Some(1), Some(1_500.0), "in".to_owned());
        assert_eq!(history.since(0).samples[0].clocks, [expected]);
    }
}
