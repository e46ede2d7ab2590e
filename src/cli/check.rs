//! `meantime check`: may the clocks of this cluster be relied on to be so close? For monitoring, and before
//! something starts that needs it.

use std::process::ExitCode;

use super::guarantee;
use super::member_pattern::MemberPattern;
use super::status::Paint;
use super::status::server::{label, why_not_covered};
use super::status::servers;
use super::status::utc::what_is_missing;
use super::target::ControlTarget;
use super::units;
use crate::control::protocol::{
    ClientRow, ClockCoverage, ClockState, ReplicaStatus, RoundOutcome, ServerStatus, StatusResponse,
};
use crate::report::counted;
use crate::report::undecided::{self, Figures};
use meantime_core::time::Span;

/// Exit with 0 if any two nodes are guaranteed to be within a limit now, 1 if they are not, 2 if that cannot
/// be told, 3 if they are but no standby server could take over
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct CheckArgs {
    /// No two clocks, the server's included, may differ by more than this
    #[arg(long, value_name = "SPAN", value_parser = units::positive_span)]
    max: Span,
    /// So many clocks, the server's included, must be registered (else exit 1) and covered by the guarantee
    /// (else exit 2)
    #[arg(long, value_name = "N", default_value = "2")]
    min_members: u64,
    /// Only these members must be covered by the guarantee, and each must be registered: a name, an address
    /// with or without the port, or a network. The server is a member by its name. May be repeated. Without
    /// it, all members that have been registered for a minute
    #[arg(long, value_name = "NAME|ADDRESS|NETWORK")]
    expect: Vec<MemberPattern>,
    /// This member need not be covered by the guarantee. May be repeated. A note says if that excepts no
    /// member
    #[arg(long, value_name = "NAME|ADDRESS|NETWORK")]
    ignore: Vec<MemberPattern>,
    /// At an active server of several: do not exit with 2 if it hears no majority of the members that it
    /// knew, as in the smaller part of a network that was cut in two
    #[arg(long)]
    allow_minority: bool,
    #[command(flatten)]
    target: ControlTarget,
}

/// What a check has found. The worst comes last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Finding {
    Within,
    /// The clocks are within the limit, but no standby server could take over.
    Alone,
    Unknown,
    Beyond,
}

/// What a check asks for.
#[derive(Clone, Copy, Debug)]
struct Wanted<'a> {
    max: Span,
    min_members: u64,
    expect: &'a [MemberPattern],
    ignore: &'a [MemberPattern],
    allow_minority: bool,
}

/// Asks the server on this machine, and says in one line on stdout what came of it.
pub(super) fn run(args: &CheckArgs) -> ExitCode {
    let CheckArgs { max, min_members, expect, ignore, allow_minority, target } = args;
    let (max, min_members, allow_minority) = (*max, *min_members, *allow_minority);
    let wanted = Wanted { max, min_members, expect, ignore, allow_minority };
    let (finding, line) = match &target.connect().and_then(|mut node| node.status()) {
        Ok(status) => {
            let (finding, line) = judge(status, &wanted);
            let (of_servers, servers) = judge_servers(status, &wanted);
            let notes = without_effect(status, &wanted) + &missing_references(status);
            (finding.max(of_servers), line + &servers + &notes)
        }
        Err(error) => (Finding::Unknown, error.to_string()),
    };
    let (word, code) = match finding {
        Finding::Within => ("OK", 0),
        Finding::Alone => ("WARNING", 3),
        Finding::Beyond => ("CRITICAL", 1),
        Finding::Unknown => ("UNKNOWN", 2),
    };
    // If stdout is closed, there is still the exit code.
    let _ = std::io::Write::write_all(&mut std::io::stdout(), format!("{word}: {line}\n").as_bytes());
    ExitCode::from(code)
}

fn judge(response: &StatusResponse, wanted: &Wanted<'_>) -> (Finding, String) {
    let Some(server) = response.server() else {
        return (Finding::Unknown, "this is a client; only the server knows all clocks".into());
    };
    if let Some(replica) = server.replica.as_ref().filter(|replica| !replica.is_active()) {
        return judge_standby(server, replica, wanted);
    }
    let round = server.last_round.as_ref();
    let Some((round, ago)) = round.and_then(|round| Some((&round.summary, round.ago_ns?))) else {
        return (Finding::Unknown, "no round is over yet".into());
    };
    let (ago, interval) = (Span::from_nanos(ago), Span::from_nanos(server.interval_ns));
    if ago > interval.times(2) {
        return (Finding::Unknown, format!("the last round was {ago} ago"));
    }
    if let Some(cause) = &server.undecided {
        let figures = Figures::of(Some(round), server.waits_ns);
        let (why, advice) = (undecided::why(cause, figures), undecided::advice(cause, figures));
        return (Finding::Unknown, format!("the cluster has no time: {why}. {advice}"));
    }
    if server.upstream.is_some() && server.state == ClockState::Unsynchronized {
        return (Finding::Unknown, "this relay has no time from the server above yet".into());
    }
    if round.outcome != RoundOutcome::Agreed {
        let outcome = round.outcome.as_str().replace('_', " ");
        return (Finding::Unknown, format!("nothing is guaranteed: the last round ended {outcome}"));
    }
    let Wanted { max, min_members, .. } = *wanted;
    let clocks = response.clients.len() as u64 + 1;
    if clocks < min_members {
        return (Finding::Beyond, format!("registered: {}, wanted: {min_members}", counted(clocks, "clock")));
    }
    let (uncovered, whose) = uncovered(server, &response.clients, wanted);
    let covered = round.covered;
    let (finding, line) = match guarantee::by_now(server, &response.clients) {
        None => (Finding::Unknown, "fewer than two clocks are covered by the guarantee".to_owned()),
        Some(_) if covered < min_members => (
            Finding::Unknown,
            format!("covered by the guarantee: {}, wanted: {min_members}", counted(covered, "clock")),
        ),
        Some(bound) => {
            let finding = if bound <= max { Finding::Within } else { Finding::Beyond };
            let line = format!("any two of {covered} clocks differ by {bound} at most, {max} is allowed");
            (finding, line)
        }
    };
    (finding.max(uncovered), line + &whose)
}

/// What a standby server knows: whether it is served, and how far its own clock may be from the cluster's
/// time.
fn judge_standby(server: &ServerStatus, replica: &ReplicaStatus, wanted: &Wanted<'_>) -> (Finding, String) {
    let role = servers::role(replica, Paint::Plain);
    if !replica.is_served() {
        return (Finding::Unknown, role);
    }
    let max = wanted.max;
    match server.own_bound_ns.map(Span::from_nanos) {
        None => (Finding::Unknown, format!("{role}; its own clock has no bound yet")),
        Some(bound) => {
            let finding = if bound <= max { Finding::Within } else { Finding::Beyond };
            (
                finding,
                format!("{role}; its own clock is within {bound} of the cluster's time, {max} is allowed"),
            )
        }
    }
}

/// What it means, and a note, if an active server of several hears a part of the cluster only, or if no
/// standby server could take over.
fn judge_servers(response: &StatusResponse, wanted: &Wanted<'_>) -> (Finding, String) {
    let replica = response.server().and_then(|server| server.replica.as_ref());
    let Some(replica) = replica.filter(|replica| replica.is_active()) else {
        return (Finding::Within, String::new());
    };
    let ReplicaStatus { members, known_members, .. } = **replica;
    let heard = format!("; hears {members} of {known_members} known members");
    match (replica.is_minority(), replica.standbys) {
        (true, _) if !wanted.allow_minority => (Finding::Unknown, format!("{heard}, no majority")),
        (_, 0) => (Finding::Alone, "; no standby server could take over".into()),
        (true, _) => (Finding::Within, heard),
        (false, _) => (Finding::Within, String::new()),
    }
}

/// What the members mean that must be covered and are not, and their names with the reasons.
fn uncovered(server: &ServerStatus, clients: &[ClientRow], wanted: &Wanted<'_>) -> (Finding, String) {
    let fits = |patterns: &[MemberPattern], client: &ClientRow| {
        patterns.iter().any(|pattern| pattern.matches(&client.name, client.address))
    };
    let is_expected = |client: &&ClientRow| match wanted.expect {
        [] => client.admitted_ago_ns >= NEW.as_nanos(),
        expected => fits(expected, client),
    };
    let is_server = |pattern: &MemberPattern| pattern.names(&server.name);
    let missing = distinct(wanted.expect)
        .filter(|pattern| !is_server(pattern))
        .filter(|pattern| !clients.iter().any(|client| pattern.matches(&client.name, client.address)));
    let mut found: Vec<(Finding, String)> =
        missing.map(|pattern| (Finding::Unknown, format!("{pattern} (not registered)"))).collect();
    let expected = clients.iter().filter(is_expected).filter(|client| !fits(wanted.ignore, client));
    found.extend(expected.filter(|client| client.coverage != ClockCoverage::Covered).map(|client| {
        let (label, reason) = (label(&client.name, client.address), why_not_covered(&client.coverage));
        (severity(&client.coverage), format!("{label} ({reason})"))
    }));
    let own = own_coverage(server);
    let must_be_covered = wanted.expect.iter().any(is_server) && !wanted.ignore.iter().any(is_server);
    if must_be_covered && own != ClockCoverage::Covered {
        found.push((severity(&own), format!("{} ({})", server.name, why_not_covered(&own))));
    }
    // The worst stand first, where only some are named.
    found.sort_by_key(|(finding, _)| std::cmp::Reverse(*finding));
    let Some((worst, _)) = found.first() else { return (Finding::Within, String::new()) };
    let named: Vec<&str> = found.iter().take(NAMED).map(|(_, name)| name.as_str()).collect();
    let more = match found.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    (*worst, format!("; not covered: {}{more}", named.join(", ")))
}

/// A note for each `--ignore` that excepts no member: its text may be wrong. It changes no finding.
fn without_effect(response: &StatusResponse, wanted: &Wanted<'_>) -> String {
    let Some(server) = response.server() else { return String::new() };
    let clients = || response.clients.iter();
    let is_client =
        |pattern: &MemberPattern| clients().any(|client| pattern.matches(&client.name, client.address));
    let is_expected = |pattern: &MemberPattern| {
        let own = wanted.expect.iter().any(|expected| expected.names(&server.name));
        let expected = |client: &ClientRow| {
            let mut patterns = wanted.expect.iter();
            patterns.any(|expected| expected.matches(&client.name, client.address))
        };
        let mut meant = clients().filter(|client| pattern.matches(&client.name, client.address));
        (own && pattern.names(&server.name)) || wanted.expect.is_empty() || meant.any(expected)
    };
    let note = |pattern: &MemberPattern| match is_client(pattern) || pattern.names(&server.name) {
        false => Some(format!("; --ignore {pattern} excepts no member: none is registered so")),
        true if !is_expected(pattern) => {
            Some(format!("; --ignore {pattern} excepts no member: --expect does not name it"))
        }
        true => None,
    };
    distinct(wanted.ignore).filter_map(note).collect()
}

/// A note of the references that the server is to follow by name, or to offer, and that are missing. It
/// changes no finding: the clocks agree without them.
fn missing_references(response: &StatusResponse) -> String {
    let missing = response.server().map_or(&[][..], |server| &server.missing_references);
    missing.iter().take(NAMED).map(|it| format!("; the {}", what_is_missing(it))).collect()
}

/// The patterns, each once.
fn distinct(patterns: &[MemberPattern]) -> impl Iterator<Item = &MemberPattern> {
    let is_first = |(at, pattern): &(usize, &MemberPattern)| !patterns[..*at].contains(pattern);
    patterns.iter().enumerate().filter(is_first).map(|(_, pattern)| pattern)
}

/// Whether the guarantee covers the server's own clock in a round that has agreed, or why it does not.
fn own_coverage(server: &ServerStatus) -> ClockCoverage {
    match server.own_bound_ns {
        _ if server.excluded.is_some() => ClockCoverage::Falseticker,
        Some(_) => ClockCoverage::Covered,
        None => ClockCoverage::NoBound,
    }
}

/// What it means that a member is not covered for this reason.
fn severity(coverage: &ClockCoverage) -> Finding {
    match coverage {
        ClockCoverage::Covered => Finding::Within,
        ClockCoverage::Falseticker | ClockCoverage::ContradictedBound => Finding::Beyond,
        _ => Finding::Unknown,
    }
}

/// A member that was registered a minute ago has had twelve rounds of the usual length to be covered.
const NEW: Span = Span::from_secs(60);
/// So many members are named in the line.
const NAMED: usize = 3;

const EXAMPLES: &str = "\
Examples:
  meantime check --max 50ms
  meantime check --max 1ms --min-members 5 --control /run/meantime/server.sock
  meantime check --max 1ms --ignore attic --ignore 192.0.2.0/28
  meantime check --max 1ms --expect crane --expect winch --expect 192.0.2.7";

#[cfg(test)]
mod attacks;
#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::status::server::page;
    use crate::control::protocol::{LastRound, NodeStatus, ServerStatus, ServiceWord, examples};
    use crate::report::{ExclusionReason, UndecidedCause};

    /// Any two clocks within a millisecond.
    const ANY: Wanted<'_> =
        Wanted { max: Span::from_millis(1), min_members: 2, expect: &[], ignore: &[], allow_minority: false };

    fn response() -> StatusResponse {
        let mut round = examples::round();
        (round.ago_ns, round.summary.heard, round.summary.covered) = (Some(1_000_000_000), 3, 3);
        round.summary.largest_bound_ns = Some(400_000);
        let mut clients = vec![examples::row("a", 1), examples::row("b", 2)];
        clients[0].frequency_error_ppb = Some(10.0);
        clients[1].frequency_error_ppb = Some(0.5);
        with_round(Some(round), clients)
    }

    fn with_round(last_round: Option<LastRound>, clients: Vec<ClientRow>) -> StatusResponse {
        let node = ServerStatus { interval_ns: 5_000_000_000, last_round, ..examples::server_status() };
        let mut status = examples::server();
        status.node = NodeStatus::Server(Box::new(node));
        StatusResponse { status, clients }
    }

    fn judged(response: &StatusResponse, max_us: i64, members: u64) -> Finding {
        let max = Span::from_micros(max_us);
        judge(response, &Wanted { max, min_members: members, ..ANY }).0
    }

    /// What is found of clients with these coverages, called a, b and so on, with options for patterns.
    fn found(coverages: &[ClockCoverage], expect: &[&str], ignore: &[&str]) -> (Finding, String) {
        let StatusResponse { status, .. } = response();
        let client = |(port, coverage): (u16, &ClockCoverage)| {
            let name = char::from(b'a' + port as u8).to_string();
            let row = examples::row(&name, 4_000 + port);
            ClientRow { coverage: coverage.clone(), frequency_error_ppb: Some(1.0), ..row }
        };
        let clients = (0..).zip(coverages).map(client).collect();
        let patterns = |texts: &[&str]| -> Vec<MemberPattern> {
            texts.iter().map(|text| text.parse().unwrap()).collect()
        };
        let (expect, ignore) = (&patterns(expect)[..], &patterns(ignore)[..]);
        let wanted = Wanted { expect, ignore, ..ANY };
        judge(&StatusResponse { status, clients }, &wanted)
    }

    #[test]
    fn what_is_guaranteed_is_compared_as_it_is_by_now() {
        let wanted = Wanted { min_members: 3, ..ANY };
        let (finding, line) = judge(&response(), &wanted);
        // 2 × (1 ppm + 60 ppb) for 6 s.
        assert_eq!(line, "any two of 3 clocks differ by 413 µs at most, 1.0 ms is allowed");
        let page = page(response().server().unwrap(), &response().clients, Paint::Plain, usize::MAX);
        assert!(
            page.contains("Any two of the 3 covered clocks differ by 413 µs at most now, guar"),
            "{page}"
        );
        assert_eq!(finding, Finding::Within);
        assert_eq!(judged(&response(), 412, 3), Finding::Beyond);
        assert_eq!(judged(&response(), 413, 3), Finding::Within);
    }

    #[test]
    fn a_member_that_is_missing_is_no_agreement() {
        assert_eq!(judged(&response(), 1_000, 4), Finding::Beyond);
    }

    #[test]
    fn what_is_not_known_is_said() {
        let changed = |change: fn(&mut LastRound)| {
            let StatusResponse { status, clients } = response();
            let mut round = status.server().unwrap().last_round.clone().unwrap();
            change(&mut round);
            with_round(Some(round), clients)
        };
        let old = changed(|round| round.ago_ns = Some(11_000_000_000));
        let unbounded = changed(|round| round.summary.largest_bound_ns = None);
        let unsure = changed(|round| round.summary.outcome = RoundOutcome::Unsure);
        let lone = changed(|round| round.summary.covered = 1);
        let young = with_round(None, response().clients);
        let mut undecided = response();
        if let NodeStatus::Server(server) = &mut undecided.status.node {
            server.undecided = Some(UndecidedCause::BeforePlausible);
        }
        let wanted = Wanted { max: Span::from_secs(1), min_members: 1, ..ANY };
        let (_, line) = judge(&undecided, &wanted);
        assert!(
            line.starts_with("the cluster has no time: too few of 3 clocks show a plausible time"),
            "{line}"
        );
        let client = StatusResponse { status: examples::client(), clients: vec![] };
        for unknown in [old, unbounded, unsure, lone, young, undecided, client] {
            assert_eq!(judged(&unknown, 1_000_000, 2), Finding::Unknown, "{unknown:?}");
        }
    }

    use ClockCoverage::{ContradictedBound, Covered, Falseticker, NoBound, NotHeard, Unsynchronized};

    #[test]
    fn a_member_that_the_guarantee_does_not_cover_is_named() {
        let (finding, line) = found(&[Covered, Falseticker], &[], &[]);
        assert_eq!(finding, Finding::Beyond);
        assert!(line.ends_with(" is allowed; not covered: b (falseticker)"), "{line}");
        assert_eq!(found(&[Covered, ContradictedBound], &[], &[]).0, Finding::Beyond);
        for silent in [Unsynchronized, NotHeard, NoBound, ClockCoverage::Unknown("newer".into())] {
            let (finding, line) = found(&[Covered, silent], &[], &[]);
            assert_eq!(finding, Finding::Unknown);
            assert!(line.contains("any two of 3 clocks differ by ") && line.contains("b ("), "{line}");
        }
        let (finding, line) = found(&[NoBound, NoBound, NoBound, NoBound, Falseticker], &[], &[]);
        assert_eq!(finding, Finding::Beyond);
        let named =
            "; not covered: e (falseticker), a (it states no bound), b (it states no bound) and 2 more";
        assert!(line.ends_with(named), "{line}");
    }

    #[test]
    fn an_ignored_name_that_excepts_no_member_is_noted() {
        let notes = |expect: &[&str], ignore: &[&str]| {
            let parse = |texts: &[&str]| -> Vec<MemberPattern> {
                texts.iter().map(|text| text.parse().unwrap()).collect()
            };
            let (expect, ignore) = (&parse(expect)[..], &parse(ignore)[..]);
            let wanted = Wanted { expect, ignore, ..ANY };
            without_effect(&response(), &wanted)
        };
        assert_eq!(notes(&[], &["a", "harbour"]), "");
        let ghost = "; --ignore ghost excepts no member: none is registered so";
        assert_eq!(notes(&[], &["ghost", "a", "ghost"]), ghost);
        let unexpected = "; --ignore b excepts no member: --expect does not name it";
        assert_eq!(notes(&["a"], &["a", "b"]), unexpected);
        assert_eq!(notes(&["harbour"], &["harbour"]), "");
        let (_, line) = found(&[Covered], &["ghost", "ghost"], &[]);
        assert!(line.ends_with("; not covered: ghost (not registered)"), "{line}");
    }

    #[test]
    fn members_that_are_not_covered_hide_no_excess() {
        let mut excess = response();
        excess.clients[0].coverage = NotHeard;
        excess.clients[0].admitted_ago_ns = 60_000_000_000;
        assert_eq!(judged(&excess, 100, 2), Finding::Beyond);
        assert_eq!(judged(&excess, 1_000, 2), Finding::Unknown);
        excess.clients[0].admitted_ago_ns = 59_000_000_000;
        assert_eq!(judged(&excess, 1_000, 2), Finding::Within, "it is new");
    }

    #[test]
    fn strangers_do_not_matter_where_the_expected_members_are_named() {
        let clients = [Covered, Falseticker, NotHeard];
        assert_eq!(found(&clients, &["a"], &[]).0, Finding::Within);
        assert_eq!(found(&clients, &["192.0.2.1:4000"], &[]).0, Finding::Within);
        assert_eq!(found(&clients, &["a", "c"], &[]).0, Finding::Unknown);
        assert_eq!(found(&clients, &["192.0.2.0/24"], &[]).0, Finding::Beyond);
        assert_eq!(found(&clients, &["192.0.2.0/24"], &["b", "c"]).0, Finding::Within);
        assert_eq!(found(&clients, &[], &["b"]).0, Finding::Unknown);
        assert_eq!(found(&clients, &[], &["b", "c"]).0, Finding::Within);
        let (finding, line) = found(&clients, &["a", "crane"], &[]);
        assert_eq!(finding, Finding::Unknown);
        assert!(line.ends_with("; not covered: crane (not registered)"), "{line}");
    }

    #[test]
    fn the_server_is_a_member_by_its_name() {
        let found = |change: fn(&mut ServerStatus), expect: &str, ignore: &[&str]| {
            let mut response = response();
            if let NodeStatus::Server(server) = &mut response.status.node {
                server.name = "harbour".into();
                change(server);
            }
            let [expect]: [MemberPattern; 1] = [expect.parse().unwrap()];
            let ignore: Vec<MemberPattern> = ignore.iter().map(|text| text.parse().unwrap()).collect();
            let wanted = Wanted { expect: &[expect], ignore: &ignore, ..ANY };
            judge(&response, &wanted)
        };
        assert_eq!(found(|_| {}, "harbour", &[]).0, Finding::Within);
        let (finding, line) = found(|server| server.own_bound_ns = None, "harbour", &[]);
        assert_eq!(finding, Finding::Unknown);
        assert!(line.ends_with("; not covered: harbour (it states no bound)"), "{line}");
        let excluded = |server: &mut ServerStatus| server.excluded = Some(ExclusionReason::OutsideWindow);
        assert_eq!(found(excluded, "harbour", &[]).0, Finding::Beyond);
        assert_eq!(found(excluded, "harbour", &["harbour"]).0, Finding::Within);
        let nameless = found(|server| server.name.clear(), "harbour", &[]);
        assert!(nameless.1.ends_with("; not covered: harbour (not registered)"), "{nameless:?}");
    }

    /// The answer of a server with this role.
    fn of_several(replica: ReplicaStatus) -> StatusResponse {
        let mut response = response();
        if let NodeStatus::Server(server) = &mut response.status.node {
            server.replica = Some(Box::new(replica));
        }
        response
    }

    #[test]
    fn an_active_server_without_a_standby_server_is_a_warning_and_without_a_majority_unknown() {
        let judged = |change: fn(&mut ReplicaStatus), allow_minority: bool| {
            let mut replica = examples::active_replica();
            change(&mut replica);
            let (response, wanted) = (of_several(replica), Wanted { allow_minority, ..ANY });
            assert_eq!(judge(&response, &wanted).0, Finding::Within, "the clocks agree");
            judge_servers(&response, &wanted)
        };
        assert_eq!(judged(|_| {}, false), (Finding::Within, String::new()));
        let alone = (Finding::Alone, "; no standby server could take over".to_owned());
        assert_eq!(judged(|replica| replica.standbys = 0, false), alone);
        let half = "; hears 4 of 8 known members, no majority".to_owned();
        assert_eq!(judged(|replica| replica.members = 4, false), (Finding::Unknown, half));
        let note = "; hears 4 of 8 known members".to_owned();
        assert_eq!(judged(|replica| replica.members = 4, true), (Finding::Within, note));
        assert_eq!(judged(|replica| replica.members = 5, false).0, Finding::Within);
        assert_eq!(judge_servers(&response(), &ANY).0, Finding::Within, "it is the only server");
    }

    #[test]
    fn a_standby_server_is_well_while_it_is_served() {
        let judged = |change: fn(&mut ReplicaStatus), bound: Option<i64>| {
            let mut replica = examples::standby_replica();
            change(&mut replica);
            let mut response = of_several(replica);
            if let NodeStatus::Server(server) = &mut response.status.node {
                (server.own_bound_ns, server.last_round) = (bound, None);
            }
            assert_eq!(judge_servers(&response, &ANY).0, Finding::Within);
            judge(&response, &ANY)
        };
        let (finding, line) = judged(|_| {}, Some(40_000));
        assert_eq!(
            (finding, line.as_str()),
            (
                Finding::Within,
                "standby, follows server 1 (a.lan:5525), term 7; its own clock is within 40.0 µs of the cluster's \
                 time, 1.0 ms is allowed"
            )
        );
        assert_eq!(judged(|_| {}, Some(1_000_001)).0, Finding::Beyond);
        assert_eq!(judged(|_| {}, None).0, Finding::Unknown);
        let (finding, line) = judged(|replica| replica.service = ServiceWord::Lost, Some(40_000));
        assert_eq!(
            (finding, line.as_str()),
            (Finding::Unknown, "standby, has lost server 1 (a.lan:5525), term 7")
        );
    }
}
