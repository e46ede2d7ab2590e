//! What Prometheus reads: names and units by its conventions, seconds and ratios, never their parts.
//!
//! The text is OpenMetrics 1.0, or for a reader that does not ask for that, Prometheus' own older format
//! (0.0.4). An unknown value has no sample.

use std::fmt::Error;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Metric, Registry, Unit};

use super::board::Board;
use super::roster::RosterMember;
use crate::control::protocol::{
    ClientRow, ClientStatus, ClockCoverage, ClockState, ListedServerStatus, NodeStatus, ReplicaStatus,
    RoundOutcome, ServerStatus, Status, UtcWord, Vote,
};
use crate::report::UndecidedCause;
use meantime_core::time::Monotonic;

/// A number that goes up and down.
type Gauge = prometheus_client::metrics::gauge::Gauge<f64, std::sync::atomic::AtomicU64>;

/// A length of time in the row of a client.
type NanosOf = fn(&ClientRow) -> Option<i64>;

/// How the metrics are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MetricsFormat {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// Prometheus' text format, version 0.0.4.
    Classic,
}

impl MetricsFormat {
    /// What a reader wants that sends this header `Accept`.
    pub(super) fn wanted(accept: &str) -> MetricsFormat {
        match accept.contains("application/openmetrics-text") {
            true => MetricsFormat::OpenMetrics,
            false => MetricsFormat::Classic,
        }
    }

    /// The media type of it.
    pub(super) fn media_type(self) -> &'static str {
        match self {
            MetricsFormat::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            MetricsFormat::Classic => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// All metrics of this moment.
///
/// # Errors
/// None that could come from a string.
pub(super) fn page(board: &Board, now: Monotonic, format: MetricsFormat) -> Result<String, Error> {
    let mut sheet = Sheet(Registry::with_prefix("meantime"));
    sheet.add(
        "build",
        "The program that serves these metrics",
        Info::new([("version", env!("CARGO_PKG_VERSION"))]),
    );
    sheet.number("node_up", "Whether the node answers at its control socket", known(board.answer().is_ok()));
    if let Ok(answer) = board.answer() {
        let status = &answer.response.status;
        let since = (now - answer.received).as_secs_f64();
        sheet.seconds("answer_age", "Since when the node has not answered", Some(since));
        sheet.node(status);
        match &status.node {
            NodeStatus::Server(server) => {
                // Of a standby server's clients the active server's rounds and vote judge.
                if server.replica.as_ref().is_none_or(|replica| replica.is_active()) {
                    sheet.cluster(server, since);
                    sheet.members(board);
                }
                let help = "Datagrams that the server's socket had no room for, since it was started";
                sheet.count("datagrams_lost", help, Some(server.datagrams_lost));
                if let Some(upstream) = &server.upstream {
                    sheet.client(upstream, since);
                }
                if let Some(replica) = &server.replica {
                    sheet.replica(replica);
                }
            }
            NodeStatus::Client(client) => sheet.client(client, since),
        }
        sheet.count(
            "events",
            "Events worth a line in a log, since the node was started",
            board.events_of_node(),
        );
    }
    let mut text = String::new();
    encode(&mut text, &sheet.0)?;
    Ok(if format == MetricsFormat::OpenMetrics { text } else { classic(&text) })
}

/// The metrics of a page, as they are added.
struct Sheet(Registry);

/// The labels of the samples of a member.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MemberLabels {
    name: String,
    address: String,
}

/// The label of the sample of a cluster that has no time.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct UndecidedLabels {
    reason: String,
}

impl Sheet {
    fn add(&mut self, name: &str, help: &str, metric: impl Metric) {
        self.0.register(name, help, metric);
    }

    fn number(&mut self, name: &str, help: &str, value: Option<f64>) {
        if let Some(value) = value {
            self.add(name, help, gauge(value));
        }
    }

    fn seconds(&mut self, name: &str, help: &str, value: Option<f64>) {
        if let Some(value) = value {
            self.0.register_with_unit(name, help, Unit::Seconds, gauge(value));
        }
    }

    fn ratio(&mut self, name: &str, help: &str, value: Option<f64>) {
        if let Some(value) = value {
            self.0.register_with_unit(name, help, unit_ratio(), gauge(value));
        }
    }

    fn count(&mut self, name: &str, help: &str, value: Option<u64>) {
        if let Some(value) = value {
            let counter: Counter = Counter::default();
            counter.inc_by(value);
            self.add(name, help, counter);
        }
    }

    /// What every node says of itself.
    fn node(&mut self, status: &Status) {
        let labels = [
            ("role", status.role().to_owned()),
            ("cluster", status.cluster().to_owned()),
            ("timestamps", status.timestamps().to_string()),
        ];
        self.add("node", "The node that is asked", Info::new(labels));
        self.number(
            "synchronized",
            "Whether the node's own clock has the cluster's time, and follows it",
            known(*status.state() == ClockState::Synchronized),
        );
        self.seconds(
            "error",
            "Estimated distance of the node's clock from the cluster's time, one standard deviation",
            seconds(status.header.error_ns),
        );
        self.seconds(
            "bound",
            "Guaranteed distance of the node's clock from the cluster's time",
            seconds(status.header.bound_ns),
        );
        self.ratio(
            "frequency",
            "Rate of the cluster's time over the node's oscillator, minus one",
            ratio(Some(status.frequency_ppb())),
        );
        self.seconds("round_interval", "From one round to the next", seconds(status.interval_ns()));
    }

    /// What the last round has found.
    fn cluster(&mut self, server: &ServerStatus, since: f64) {
        let last = server.last_round.as_ref();
        let round = last.map(|last| &last.summary);
        self.count("rounds", "Rounds since the server was started", round.map(|round| round.round.into()));
        self.number(
            "agreed",
            "Whether the last round ended in agreement",
            round.map(|round| f64::from(round.outcome == RoundOutcome::Agreed)),
        );
        self.undecided(server.undecided.as_ref());
        self.number(
            "members",
            "Clocks with a vote in the last round, the server's own included",
            round.map(|round| round.members as f64),
        );
        self.number(
            "members_heard",
            "Clocks that were heard in the last round",
            round.map(|round| round.heard as f64),
        );
        self.number(
            "members_agreeing",
            "Clocks that agreed in the last round",
            round.map(|round| round.agreeing as f64),
        );
        self.seconds(
            "spread",
            "From the lowest to the highest agreeing reading of the last round",
            seconds(round.map(|round| round.spread_ns)),
        );
        self.guarantee(server);
        self.references(server);
        self.seconds(
            "round_age",
            "Since when the last round is over",
            seconds(last.and_then(|last| last.ago_ns)).map(|ago| ago + since),
        );
    }

    /// What references do to the cluster's time.
    fn references(&mut self, server: &ServerStatus) {
        let help =
            "References that the server is to follow by name, or to offer itself, and that are missing";
        self.number("references_missing", help, Some(server.missing_references.len() as f64));
        let Some(utc) = &server.utc else { return };
        let help = "Members that offer a reference, a time from outside, the server included";
        self.number("references", help, Some(utc.offered as f64));
        let help = "References that agree with the majority of them";
        self.number("references_agreeing", help, Some(utc.agreeing as f64));
        let help = "Whether references lead the cluster's time";
        self.number("utc_followed", help, known(utc.state == UtcWord::Leading));
        let help = "What the cluster's clocks show minus UTC, as a majority of the references states it";
        self.seconds("utc_offset", help, seconds(utc.offset_ns));
        self.seconds("utc_error", "The maximum error of that", seconds(utc.error_ns));
    }

    /// What the last round guarantees, and of how many clocks.
    fn guarantee(&mut self, server: &ServerStatus) {
        let round = server.last_round.as_ref().map(|last| &last.summary);
        self.number(
            "clocks_covered",
            "Clocks that the guarantee of the last round covers, the server's own included",
            round.map(|round| round.covered as f64),
        );
        self.number(
            "clocks_not_covered",
            "Registered clocks that it does not cover, the server's own included",
            round.map(|round| round.not_covered as f64),
        );
        self.count(
            "bounds_broken",
            "How often the server has begun to correct its members to a time beyond bounds that they had stated",
            Some(server.bounds_broken),
        );
        self.seconds(
            "largest_bound",
            "No two clocks that are covered differ by more than this, as of the last round",
            seconds(round.and_then(|round| round.largest_bound_ns)),
        );
    }

    /// That the cluster has no time, if it has none.
    fn undecided(&mut self, cause: Option<&UndecidedCause>) {
        let Some(cause) = cause else { return };
        let family = Family::<UndecidedLabels, Gauge>::default();
        family.get_or_create(&UndecidedLabels { reason: cause.to_string() }).set(1.0);
        self.add("undecided", "The cluster has no time, for this reason", family);
    }

    /// What the server knows of each client.
    fn members(&mut self, board: &Board) {
        self.each(
            board,
            "member_up",
            "Whether the member was heard in the last two rounds; 0 until an hour after it was lost",
            None,
            |member| member.is_up().map(f64::from),
        );
        let listed = |value: fn(&ClientRow) -> Option<f64>| {
            move |member: &RosterMember| if member.is_listed() { value(&member.row) } else { None }
        };
        let lengths: [(&str, NanosOf, &str); 6] = [
            (
                "member_offset",
                |row| row.offset_ns,
                "The member's clock minus the cluster's time, as last measured, before it was corrected",
            ),
            (
                "member_offset_error",
                |row| row.offset_error_ns,
                "One standard deviation of such a measurement",
            ),
            ("member_delay", |row| row.delay_ns, "Round-trip delay of that measurement"),
            (
                "member_error",
                |row| row.error_ns,
                "Estimated distance of the member's clock from the cluster's time, by its own word",
            ),
            (
                "member_bound",
                |row| row.bound_ns,
                "Guaranteed distance of the member's clock from the cluster's time, by its own word",
            ),
            ("member_silence", |row| Some(row.heard_ago_ns), "Since when nothing was heard of the member"),
        ];
        for (name, field, help) in lengths {
            let value = move |member: &RosterMember| {
                if member.is_listed() { seconds(field(&member.row)) } else { None }
            };
            self.each(board, name, help, Some(Unit::Seconds), value);
        }
        let help = "Rate of the member's clock over its oscillator, minus one";
        self.each(
            board,
            "member_frequency",
            help,
            Some(unit_ratio()),
            listed(|row| ratio(row.frequency_ppb)),
        );
        self.standing(board);
    }

    /// How each client stands in the vote and in the guarantee.
    fn standing(&mut self, board: &Board) {
        let listed = |value: fn(&ClientRow) -> Option<f64>| {
            move |member: &RosterMember| if member.is_listed() { value(&member.row) } else { None }
        };
        self.each(
            board,
            "member_in_vote",
            "Whether the vote counts the member",
            None,
            listed(|row| Some(f64::from(row.vote == Vote::In))),
        );
        self.each(
            board,
            "member_covered",
            "Whether the guarantee of the last round covers the member's clock",
            None,
            listed(|row| Some(f64::from(row.coverage == ClockCoverage::Covered))),
        );
    }

    fn each(
        &mut self,
        board: &Board,
        name: &str,
        help: &str,
        unit: Option<Unit>,
        value: impl Fn(&RosterMember) -> Option<f64>,
    ) {
        let family = Family::<MemberLabels, Gauge>::default();
        for member in board.members() {
            if let Some(value) = value(member) {
                let (name, address) = (member.row.name.clone(), member.row.address.to_string());
                family.get_or_create(&MemberLabels { name, address }).set(value);
            }
        }
        match unit {
            Some(unit) => self.0.register_with_unit(name, help, unit, family),
            None => self.0.register(name, help, family),
        }
    }

    /// The role of a server of several.
    fn replica(&mut self, replica: &ReplicaStatus) {
        let help = "Whether the server is the active one of several";
        self.number("server_active", help, known(replica.is_active()));
        let help = "Whether the server is active, or follows one that is";
        self.number("server_served", help, known(replica.is_served()));
        let help = "The number of the term in which the server is active, or that it follows";
        self.number("server_term", help, Some(replica.term as f64));
        let help = "Members that the server hears, all servers and itself included";
        self.number("known_members_heard", help, Some(replica.members.into()));
        let help = "Members that the cluster had in the last minutes";
        self.number("known_members", help, Some(replica.known_members.into()));
        let standbys = replica.is_active().then_some(replica.standbys as f64);
        self.number("standby_servers", "Standby servers that follow this active server", standbys);
        self.listed_servers(&replica.others);
    }

    /// The other servers of a list.
    fn listed_servers(&mut self, servers: &[ListedServerStatus]) {
        let count = |of: fn(&ListedServerStatus) -> bool| {
            Some(servers.iter().filter(|server| of(server)).count() as f64)
        };
        self.number("other_servers", "Servers of the list, without this node", count(|_| true));
        let help = "Servers of the list that state their role to this node";
        self.number("other_servers_heard", help, count(|server| server.role.is_some()));
        let help = "Servers whose time others contradict, as this node sees it";
        self.number("other_servers_distrusted", help, count(|server| server.distrusted));
    }

    /// What a client knows.
    fn client(&mut self, client: &ClientStatus, since: f64) {
        self.number(
            "server_level",
            "How many servers are above the server in a tree of relays",
            client.server_level.map(f64::from),
        );
        self.number("registered", "Whether the client is registered at its server", known(client.registered));
        if !client.servers.is_empty() {
            self.listed_servers(&client.servers);
        }
        self.seconds(
            "server_silence",
            "Since when nothing was heard of the server",
            seconds(client.heard_ago_ns).map(|ago| ago + since),
        );
        let last = client.last_correction.as_ref();
        self.seconds(
            "correction",
            "What the last correction has added to the clock",
            seconds(last.map(|last| last.added_ns)),
        );
        self.seconds(
            "delay",
            "Round-trip delay of the last correction's measurement",
            seconds(last.map(|last| last.delay_ns)),
        );
        self.seconds(
            "correction_age",
            "Since when the clock was not corrected",
            seconds(last.map(|last| last.ago_ns)).map(|ago| ago + since),
        );
    }
}

/// OpenMetrics as the older format has it: a family is called as its samples are, there are no units and no
/// end.
fn classic(text: &str) -> String {
    let suffix = |kind: &str| match kind {
        "counter" => ("_total", "counter"),
        "info" => ("_info", "gauge"),
        _ => ("", "gauge"),
    };
    let mut kinds = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let mut older = String::with_capacity(text.len());
    for line in text.lines() {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
            // The type of a family stands right after its help.
            let (suffix, kind) = suffix(kinds.next().map_or("", |(_, kind)| kind));
            older += &format!("# HELP {name}{suffix} {help}\n# TYPE {name}{suffix} {kind}\n");
        } else if !line.starts_with('#') {
            older += line;
            older.push('\n');
        }
    }
    older
}

fn gauge(value: f64) -> Gauge {
    let gauge = Gauge::default();
    gauge.set(value);
    gauge
}

fn unit_ratio() -> Unit {
    Unit::Other("ratio".into())
}

fn known(yes: bool) -> Option<f64> {
    Some(f64::from(yes))
}

fn seconds(nanos: Option<i64>) -> Option<f64> {
    nanos.map(|nanos| nanos as f64 / 1e9)
}

fn ratio(ppb: Option<f64>) -> Option<f64> {
    ppb.map(|ppb| ppb / 1e9)
}

#[cfg(test)]
mod tests {
    use super::super::source::Update;
    use super::*;
    use crate::control::client::ControlError;
    use crate::control::protocol::{
        MissingReferenceStatus, MissingReferenceWord, StatusResponse, UtcStatus, examples,
    };

    const NOW: Monotonic = Monotonic::from_nanos(1);

    fn board() -> Board {
        let (mut server, mut round) = (examples::server_status(), examples::round());
        round.summary.round = 12;
        server.last_round = Some(round);
        let mut status = Status { node: NodeStatus::Server(Box::new(server)), ..examples::server() };
        status.header.bound_ns = None;
        let client = ClientRow { delay_ns: None, ..examples::row("a \"b\\", 4_000) };
        let response = StatusResponse { status, clients: vec![client] };
        let mut board = Board::default();
        board.handle_poll(Ok(Update { response, events: vec![] }), NOW);
        board
    }

    fn line<'a>(page: &'a str, start: &str) -> &'a str {
        page.lines().find(|line| line.starts_with(start)).unwrap_or_else(|| panic!("no {start} in\n{page}"))
    }

    #[test]
    fn a_standby_server_has_the_metrics_of_its_role_and_none_of_a_vote() {
        let page_of = |replica| {
            let server = ServerStatus { replica: Some(Box::new(replica)), ..examples::server_status() };
            let status = Status { node: NodeStatus::Server(Box::new(server)), ..examples::server() };
            let response = StatusResponse { status, clients: vec![examples::row("a", 4_000)] };
            let mut board = Board::default();
            board.handle_poll(Ok(Update { response, events: vec![] }), NOW);
            page(&board, NOW, MetricsFormat::Classic).unwrap()
        };
        let active = page_of(examples::active_replica());
        assert_eq!(line(&active, "meantime_server_active"), "meantime_server_active 1.0");
        assert_eq!(line(&active, "meantime_standby_servers"), "meantime_standby_servers 2.0");
        assert_eq!(line(&active, "meantime_agreed"), "meantime_agreed 1.0");
        let standby = page_of(examples::standby_replica());
        assert_eq!(line(&standby, "meantime_server_active"), "meantime_server_active 0.0");
        assert_eq!(line(&standby, "meantime_server_term"), "meantime_server_term 7.0");
        assert_eq!(line(&standby, "meantime_other_servers_heard"), "meantime_other_servers_heard 2.0");
        for of_active in ["meantime_agreed", "meantime_member_in_vote", "meantime_standby_servers"] {
            assert!(!standby.contains(of_active), "{of_active}");
        }
    }

    #[test]
    fn open_metrics_have_units_and_an_end() {
        let page = page(&board(), NOW, MetricsFormat::OpenMetrics).unwrap();
        assert!(page.ends_with("# EOF\n"), "{page}");
        assert_eq!(line(&page, "meantime_rounds"), "meantime_rounds_total 12");
        assert_eq!(
            line(&page, "# UNIT meantime_member_offset_seconds"),
            "# UNIT meantime_member_offset_seconds seconds"
        );
        assert_eq!(
            line(&page, "meantime_member_offset_seconds"),
            "meantime_member_offset_seconds{name=\"a \\\"b\\\\\",address=\"192.0.2.1:4000\"} -5.83e-7"
        );
        assert_eq!(line(&page, "meantime_frequency_ratio"), "meantime_frequency_ratio -0.0000015");
        assert!(!page.contains("meantime_bound_seconds") && !page.contains("delay_seconds{"), "{page}");
    }

    #[test]
    fn a_relay_has_the_metrics_of_its_client_too() {
        let upstream = Some(Box::new(examples::client_status()));
        let server = ServerStatus { upstream, ..examples::server_status() };
        let status = Status { node: NodeStatus::Server(Box::new(server)), ..examples::server() };
        let mut board = Board::default();
        let response = StatusResponse { status, clients: vec![] };
        board.handle_poll(Ok(Update { response, events: vec![] }), NOW);
        let page = page(&board, NOW, MetricsFormat::OpenMetrics).unwrap();
        assert_eq!(line(&page, "meantime_registered"), "meantime_registered 1.0");
        assert_eq!(line(&page, "meantime_server_level"), "meantime_server_level 0.0");
        assert!(page.contains("meantime_clocks_covered"), "{page}");
    }

    /// The page of a server that stands to UTC like this.
    fn page_about(utc: Option<UtcStatus>) -> String {
        let missing = |name: &str| MissingReferenceStatus {
            name: name.into(),
            reason: MissingReferenceWord::NotRegistered,
        };
        let missing_references = vec![missing("bridge"), missing("mast")];
        let server = ServerStatus { utc, missing_references, ..examples::server_status() };
        let status = Status { node: NodeStatus::Server(Box::new(server)), ..examples::server() };
        let mut board = Board::default();
        let response = StatusResponse { status, clients: vec![] };
        board.handle_poll(Ok(Update { response, events: vec![] }), NOW);
        page(&board, NOW, MetricsFormat::OpenMetrics).unwrap()
    }

    #[test]
    fn the_distance_to_utc_and_its_references_are_shown() {
        let utc = UtcStatus {
            state: UtcWord::Leading,
            offset_ns: Some(-357_000),
            error_ns: Some(1_250_000),
            offered: 3,
            agreeing: 2,
            own: None,
        };
        let shown = page_about(Some(utc.clone()));
        for (start, expected) in [
            ("meantime_references_missing", "2.0"),
            ("meantime_references ", "3.0"),
            ("meantime_references_agreeing", "2.0"),
            ("meantime_utc_followed", "1.0"),
            ("meantime_utc_offset_seconds", "-0.000357"),
            ("meantime_utc_error_seconds", "0.00125"),
        ] {
            assert_eq!(line(&shown, start), format!("{} {expected}", start.trim_end()));
        }
        let unknown = UtcStatus { state: UtcWord::Disagreeing, offset_ns: None, error_ns: None, ..utc };
        let shown = page_about(Some(unknown));
        assert_eq!(line(&shown, "meantime_utc_followed"), "meantime_utc_followed 0.0");
        assert!(!shown.contains("meantime_utc_offset") && !shown.contains("meantime_utc_error"), "{shown}");
        let shown = page_about(None);
        assert_eq!(line(&shown, "meantime_references_missing"), "meantime_references_missing 2.0");
        assert!(!shown.contains("meantime_utc") && !shown.contains("meantime_references "), "{shown}");
    }

    #[test]
    fn in_the_older_format_families_are_called_as_their_samples() {
        let page = page(&board(), NOW, MetricsFormat::Classic).unwrap();
        assert!(page.contains("# TYPE meantime_rounds_total counter\nmeantime_rounds_total 12\n"), "{page}");
        assert!(page.contains("# TYPE meantime_build_info gauge\nmeantime_build_info{version="), "{page}");
        assert!(!page.contains("# UNIT") && !page.contains("# EOF"), "{page}");
    }

    #[test]
    fn of_a_node_that_does_not_answer_nothing_old_is_told() {
        let mut board = board();
        board.handle_poll(Err(ControlError::Refused("gone".into())), NOW);
        let page = page(&board, NOW, MetricsFormat::Classic).unwrap();
        assert_eq!(line(&page, "meantime_node_up"), "meantime_node_up 0.0");
        assert!(!page.contains("meantime_member") && !page.contains("meantime_rounds"), "{page}");
    }

    #[test]
    fn prometheus_gets_what_it_asks_for() {
        let prometheus = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5";
        assert_eq!(MetricsFormat::wanted(prometheus), MetricsFormat::OpenMetrics);
        assert_eq!(MetricsFormat::wanted("*/*"), MetricsFormat::Classic);
    }
}
