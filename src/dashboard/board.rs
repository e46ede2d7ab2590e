//! The state of the dashboard: the node's last answer, its members, the history and the events.

use std::collections::VecDeque;
use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};

use serde::Serialize;

use super::history::{HistoryPage, PlotHistory};
use super::roster::{Id, Presence, Roster, RosterMember};
use super::source::Update;
use crate::control::client::ControlError;
use crate::control::protocol::{
    ClientRow, ClientStatus, ClockState, EventEntry, EventLevel, NodeStatus, RoundOutcome, ServerStatus,
    Status, StatusResponse, Vote,
};
use crate::report::undecided::{self, Figures};
use crate::report::{RoundSummary, UndecidedCause};
use meantime_core::time::{Monotonic, Span};

/// Everything that the dashboard shows.
#[derive(Debug)]
pub(super) struct Board {
    answer: Result<NodeAnswer, NoAnswer>,
    roster: Roster,
    history: PlotHistory,
    events: VecDeque<BoardEvent>,
    /// The number of the newest event.
    newest_event: u64,
    /// Distinguishes this board from that of another process: numbers begin again there.
    instance: String,
}

/// The last answer of a node.
#[derive(Debug)]
pub(super) struct NodeAnswer {
    /// The node and its clients.
    pub response: StatusResponse,
    /// When it arrived.
    pub received: Monotonic,
}

/// Why there is no answer of the node.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoAnswer {
    /// The node was not polled yet.
    #[error("the node was not asked yet")]
    NotPolled,
    /// The node has not answered.
    #[error(transparent)]
    Failed(#[from] ControlError),
}

/// An event of the node, or one that the dashboard itself has noticed.
#[derive(Debug, Serialize)]
struct BoardEvent {
    number: u64,
    time: Option<String>,
    event: String,
    level: EventLevel,
    text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    /// The node's own number of the event; null: the event is the dashboard's.
    of_node: Option<u64>,
}

/// What the page shows at its top and in its table, as `/api/overview` serves it.
#[derive(Debug, Serialize)]
pub(super) struct Overview<'a> {
    instance: &'a str,
    healthy: bool,
    health: String,
    members: Vec<MemberRow<'a>>,
    members_total: usize,
    newest_event: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<&'a Status>,
    #[serde(skip_serializing_if = "Option::is_none")]
    answered_ago_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    no_answer: Option<String>,
}

/// A member in the overview.
#[derive(Debug, Serialize)]
struct MemberRow<'a> {
    #[serde(flatten)]
    row: &'a ClientRow,
    id: Id,
    presence: Presence,
    plotted: bool,
    gone_s: Option<u64>,
}

/// A part of the events, as `/api/events` serves it.
#[derive(Debug, Serialize)]
pub(super) struct EventsPage<'a> {
    newest: u64,
    events: Vec<&'a BoardEvent>,
}

/// What is well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Health {
    /// The last round of the server has ended in agreement.
    Agreed {
        /// Clocks that agree.
        agreeing: u64,
        /// Clocks with a vote.
        members: u64,
    },
    /// The client is registered and synchronized.
    Synchronized,
    /// The standby server follows the active one.
    StandsBy,
}

/// What is wrong with the node.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unhealthy {
    /// It does not answer, for this reason.
    #[error("{0}")]
    NoAnswer(String),
    /// Its last answer is old.
    #[error("the node has not answered for {0} s")]
    Stale(i64),
    /// The client has no server.
    #[error("the client is not registered at a server")]
    NotRegistered,
    /// The client, or the standby server, does not follow corrections.
    #[error("the node's clock is {}", words(.0.as_str()))]
    NotSynchronized(ClockState),
    /// The standby server follows no active one.
    #[error("the standby server hears no active one")]
    NotServed,
    /// The server was started just now.
    #[error("no round is over yet")]
    NoRound,
    /// The server has stopped its rounds.
    #[error("the last round was {0} ago")]
    OldRound(Span),
    /// The majority was not heard.
    #[error("only {heard} of {members} clocks were heard in the last round")]
    FewHeard {
        /// Clocks that were heard.
        heard: u64,
        /// Clocks with a vote.
        members: u64,
    },
    /// The cluster has no time.
    #[error("the cluster has no time: {why}. {advice}")]
    Undecided {
        /// Why.
        why: String,
        /// What the operator can do.
        advice: String,
    },
    /// The last round has not ended in agreement.
    #[error("the last round ended: {}", words(.0.as_str()))]
    NoAgreement(RoundOutcome),
}

impl Default for Board {
    fn default() -> Board {
        Board {
            answer: Err(NoAnswer::NotPolled),
            roster: Roster::default(),
            history: PlotHistory::default(),
            events: VecDeque::new(),
            newest_event: 0,
            instance: format!("{:016x}", RandomState::new().build_hasher().finish()),
        }
    }
}

impl Board {
    /// Takes over what a node has answered, or why it has not.
    pub(super) fn handle_poll(&mut self, result: Result<Update, ControlError>, now: Monotonic) {
        match result {
            Ok(update) => self.update(update, now),
            Err(error) => {
                if self.answer.is_ok() {
                    log::warn!("{error}");
                    self.add_own_event("no_answer", EventLevel::Warning, &error.to_string());
                }
                self.answer = Err(NoAnswer::Failed(error));
            }
        }
    }

    fn update(&mut self, Update { response, events }: Update, now: Monotonic) {
        if self.answer.is_err() && self.newest_event > 0 {
            log::info!("the node answers again");
            self.add_own_event("answers_again", EventLevel::Info, "The node answers again");
        }
        self.roster.update(&response.clients, now);
        for event in events {
            let leaver =
                matches!(&*event.event, "left" | "expelled").then(|| event.address.clone()).flatten();
            let leaver = leaver.and_then(|address| address.parse().ok());
            if self.add_node_event(event)
                && let Some(address) = leaver
            {
                self.roster.mark_left(address);
            }
        }
        self.history.add(&response.status, &self.roster);
        self.answer = Ok(NodeAnswer { response, received: now });
    }

    /// Adds an event of the node; false: it is known. The numbers of a node begin again when it is restarted.
    fn add_node_event(&mut self, event: EventEntry) -> bool {
        let is_same = |known: &BoardEvent| {
            known.of_node == Some(event.number) && known.time.as_ref() == Some(&event.time)
        };
        if self.events.iter().any(is_same) {
            return false;
        }
        self.push(BoardEvent {
            number: 0,
            time: Some(event.time),
            event: event.event.into_owned(),
            level: event.level,
            text: event.text,
            client: event.client,
            address: event.address,
            of_node: Some(event.number),
        });
        true
    }

    /// Adds an event that the dashboard itself has noticed.
    fn add_own_event(&mut self, event: &str, level: EventLevel, text: &str) {
        let time = self.answer.as_ref().ok().map(|answer| answer.response.status.header.time.clone());
        let (event, text) = (event.to_owned(), text.to_owned());
        self.push(BoardEvent {
            number: 0,
            time,
            event,
            level,
            text,
            client: None,
            address: None,
            of_node: None,
        });
    }

    fn push(&mut self, event: BoardEvent) {
        self.newest_event += 1;
        self.events.push_back(BoardEvent { number: self.newest_event, ..event });
        if self.events.len() > MAX_EVENTS {
            self.events.pop_front();
        }
    }

    /// The node's last answer.
    ///
    /// # Errors
    /// Why the node does not answer.
    pub(super) fn answer(&self) -> Result<&NodeAnswer, &NoAnswer> {
        self.answer.as_ref()
    }

    /// The members that the node lists, and for a while those that are gone.
    pub(super) fn members(&self) -> impl Iterator<Item = &RosterMember> {
        self.roster.iter().map(|(_, member)| member)
    }

    /// What the page shows: the members in trouble first, and not more rows than a reader looks at.
    pub(super) fn overview(&self, now: Monotonic) -> Overview<'_> {
        let mut members: Vec<_> = self.roster.iter().collect();
        let members_total = members.len();
        members.sort_by_cached_key(|(id, member)| {
            (member.presence, member.row.vote != Vote::Out, member.row.name.clone(), *id)
        });
        let rows = members.into_iter().take(MAX_ROWS).map(|(id, member)| MemberRow {
            row: &member.row,
            id,
            presence: member.presence,
            plotted: self.history.contains(id),
            gone_s: (!member.is_listed()).then(|| whole_seconds(now - member.seen).unsigned_abs()),
        });
        let health = self.health(now);
        let answer = self.answer.as_ref();
        let age_ms = |answer: &NodeAnswer| (now - answer.received).as_nanos() / 1_000_000;
        Overview {
            instance: &self.instance,
            healthy: health.is_ok(),
            health: health.map_or_else(|why| why.to_string(), |health| health.to_string()),
            members: rows.collect(),
            members_total,
            newest_event: self.newest_event,
            node: answer.ok().map(|answer| &answer.response.status),
            answered_ago_ms: answer.ok().map(|answer| age_ms(answer).unsigned_abs()),
            no_answer: answer.err().map(ToString::to_string),
        }
    }

    /// The rounds after this number.
    pub(super) fn history(&self, since: u64) -> HistoryPage<'_> {
        self.history.since(since)
    }

    /// The events after this number.
    pub(super) fn events(&self, since: u64) -> EventsPage<'_> {
        let events = self.events.iter().filter(|event| event.number > since).collect();
        EventsPage { newest: self.newest_event, events }
    }

    /// Whether the clocks of the cluster, or the client's, are as they should be.
    ///
    /// # Errors
    /// What is wrong.
    pub(super) fn health(&self, now: Monotonic) -> Result<Health, Unhealthy> {
        let answer = self.answer.as_ref().map_err(|why| Unhealthy::NoAnswer(why.to_string()))?;
        let age = now - answer.received;
        if age > MAX_AGE {
            return Err(Unhealthy::Stale(whole_seconds(age)));
        }
        match &answer.response.status.node {
            NodeStatus::Server(server) => health_of_server(server, age),
            NodeStatus::Client(client) => health_of_client(client),
        }
    }

    /// How many events the node has logged since it was started.
    pub(super) fn events_of_node(&self) -> Option<u64> {
        self.answer.as_ref().ok().map(|answer| answer.response.status.newest_event)
    }
}

fn health_of_client(client: &ClientStatus) -> Result<Health, Unhealthy> {
    match &client.state {
        _ if !client.registered => Err(Unhealthy::NotRegistered),
        ClockState::Synchronized => Ok(Health::Synchronized),
        state => Err(Unhealthy::NotSynchronized(state.clone())),
    }
}

/// `age` is the time since the server has answered.
fn health_of_server(server: &ServerStatus, age: Span) -> Result<Health, Unhealthy> {
    if let Some(upstream) = &server.upstream {
        health_of_client(upstream)?;
    }
    if let Some(replica) = server.replica.as_ref().filter(|replica| !replica.is_active()) {
        return match (&server.state, replica.is_served()) {
            (_, false) => Err(Unhealthy::NotServed),
            (ClockState::Synchronized, true) => Ok(Health::StandsBy),
            (state, true) => Err(Unhealthy::NotSynchronized(state.clone())),
        };
    }
    let round = server.last_round.as_ref();
    let (round, ago) =
        round.and_then(|round| Some((&round.summary, round.ago_ns?))).ok_or(Unhealthy::NoRound)?;
    let ago = Span::from_nanos(ago.saturating_add(age.as_nanos()));
    let limit = server.interval_ns.saturating_mul(2).saturating_add(MAX_AGE.as_nanos());
    let (heard, members) = (round.heard, round.members);
    match &round.outcome {
        _ if ago.as_nanos() > limit => Err(Unhealthy::OldRound(ago)),
        _ if server.undecided.is_some() => Err(undecided(server, round)),
        _ if 2 * heard <= members => Err(Unhealthy::FewHeard { heard, members }),
        RoundOutcome::Agreed => Ok(Health::Agreed { agreeing: round.agreeing, members }),
        outcome => Err(Unhealthy::NoAgreement(outcome.clone())),
    }
}

fn undecided(server: &ServerStatus, round: &RoundSummary) -> Unhealthy {
    let cause = server.undecided.clone().unwrap_or(UndecidedCause::Waiting);
    let figures = Figures::of(Some(round), server.waits_ns);
    Unhealthy::Undecided { why: undecided::why(&cause, figures), advice: undecided::advice(&cause, figures) }
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Health::Agreed { agreeing, members } => write!(f, "{agreeing} of {members} clocks agree"),
            Health::Synchronized => f.write_str("the client is synchronized"),
            Health::StandsBy => f.write_str("the standby server follows the active one"),
        }
    }
}

fn words(name: &str) -> String {
    name.replace('_', " ")
}

fn whole_seconds(span: Span) -> i64 {
    span.as_nanos() / 1_000_000_000
}

/// A node that answers at all does so within this.
const MAX_AGE: Span = Span::from_secs(12);
/// More than a reader scrolls through.
const MAX_EVENTS: usize = 500;
/// More rows than a reader looks at.
const MAX_ROWS: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::protocol::{LastRound, examples};

    const NOW: Monotonic = Monotonic::from_nanos(1_000_000_000);

    /// An answer of a server after a round that `change` has changed.
    fn update(change: impl FnOnce(&mut LastRound)) -> Update {
        let (mut server, mut round) = (examples::server_status(), examples::round());
        change(&mut round);
        server.last_round = Some(round);
        let status = Status { node: NodeStatus::Server(Box::new(server)), ..examples::server() };
        let (a, mut b) = (examples::row("a", 1), examples::row("b", 2));
        b.vote = Vote::Out;
        let events = vec![examples::event(1, "connected")];
        Update { response: StatusResponse { status, clients: vec![a, b] }, events }
    }

    fn outcome(outcome: RoundOutcome) -> Update {
        update(|round| round.summary.outcome = outcome)
    }

    fn agreed() -> Update {
        outcome(RoundOutcome::Agreed)
    }

    fn gone() -> ControlError {
        ControlError::Refused("gone".into())
    }

    fn health(board: &Board, now: Monotonic) -> Result<String, String> {
        board.health(now).map(|health| health.to_string()).map_err(|why| why.to_string())
    }

    #[test]
    fn a_cluster_without_a_time_says_why_and_what_to_do() {
        let mut board = Board::default();
        let mut without = outcome(RoundOutcome::Listening);
        if let NodeStatus::Server(server) = &mut without.response.status.node {
            server.undecided = Some(UndecidedCause::TwoDiffer);
        }
        board.handle_poll(Ok(without), NOW);
        let why = health(&board, NOW).unwrap_err();
        assert!(why.contains("farther apart than --radius") && why.contains("set-time --from NAME"), "{why}");
    }

    #[test]
    fn a_relay_is_healthy_while_it_follows_the_server_above() {
        let health_with = |state: ClockState| {
            let mut update = agreed();
            if let NodeStatus::Server(server) = &mut update.response.status.node {
                server.upstream = Some(Box::new(ClientStatus { state, ..examples::client_status() }));
            }
            let mut board = Board::default();
            board.handle_poll(Ok(update), NOW);
            health(&board, NOW)
        };
        assert_eq!(health_with(ClockState::Synchronized), Ok("2 of 3 clocks agree".into()));
        assert!(health_with(ClockState::Holdover).is_err());
    }

    #[test]
    fn a_cluster_is_healthy_that_agrees_and_says_so_now() {
        let mut board = Board::default();
        assert!(board.health(NOW).is_err());
        board.handle_poll(Ok(agreed()), NOW);
        assert_eq!(health(&board, NOW), Ok("2 of 3 clocks agree".into()));
        assert!(board.health(NOW + MAX_AGE.times(2)).is_err(), "it is not fresh");
        board.handle_poll(Ok(outcome(RoundOutcome::ServerInDoubt)), NOW);
        assert_eq!(health(&board, NOW), Err("the last round ended: server in doubt".into()));
        board.handle_poll(Err(gone()), NOW);
        assert_eq!(health(&board, NOW), Err("gone".into()));
    }

    #[test]
    fn a_round_that_is_long_ago_is_not_healthy() {
        let mut board = Board::default();
        board.handle_poll(Ok(update(|round| round.ago_ns = Some(23_000_000_000))), NOW);
        assert_eq!(health(&board, NOW), Err("the last round was 23.0 s ago".into()));
    }

    #[test]
    fn clocks_that_agree_only_by_earlier_readings_are_not_healthy() {
        let mut board = Board::default();
        board.handle_poll(Ok(update(|round| round.summary.heard = 1)), NOW);
        assert_eq!(health(&board, NOW), Err("only 1 of 3 clocks were heard in the last round".into()));
    }

    #[test]
    fn an_event_is_kept_once_and_a_silent_node_makes_one() {
        let mut board = Board::default();
        board.handle_poll(Ok(agreed()), NOW);
        board.handle_poll(Ok(agreed()), NOW);
        assert_eq!(board.events(0).newest, 1);
        board.handle_poll(Err(gone()), NOW);
        board.handle_poll(Err(gone()), NOW);
        board.handle_poll(Ok(agreed()), NOW);
        let page = board.events(1);
        let kinds: Vec<&str> = page.events.iter().map(|event| event.event.as_str()).collect();
        assert_eq!(kinds, ["no_answer", "answers_again"]);
    }

    #[test]
    fn members_in_trouble_stand_first_in_the_table() {
        let mut board = Board::default();
        board.handle_poll(Ok(agreed()), NOW);
        let overview = board.overview(NOW);
        assert_eq!(
            (overview.members[0].row.name.as_str(), overview.members[1].row.name.as_str()),
            ("b", "a")
        );
        let json = serde_json::to_value(&overview).unwrap();
        assert!(json["node"].get("clients").is_none() && overview.healthy);
    }
}
