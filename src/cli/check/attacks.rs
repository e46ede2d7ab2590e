//! What `check` and `status` say of members that lie about their clocks: a server, three honest clients and a
//! hostile one, with real datagrams between them.

use super::*;
use crate::cli::status::server::page;
use crate::clock::HostRaw;
use crate::control::ControlledNode;
use crate::control::protocol::{NodeStatus, Status, Vote, examples};
use crate::report::ClockSnapshot;
use crate::udp::TimestampSource;
use meantime_core::wire::{ClientState, ClusterId, Name};
use meantime_core::{Client, ClientConfig, ClockReading, Server, ServerConfig};
use meantime_sim::testkit::{Claims, Delay, Endpoint, Host, HostClock, HostileClient, Network};

/// The hostile client's name.
const EVE: &str = "eve";

/// What an honest client would say.
const HONEST: Claims = Claims {
    ahead: Span::ZERO,
    state: ClientState::Synchronized,
    bound: Some(BOUND),
    cluster: ClusterId(0),
    answers: true,
};
const BOUND: Span = Span::from_micros(200);

/// The server's answer after three minutes, of which the hostile client was there for two. The clocks are
/// perfect, and a datagram takes `delay`.
fn answer(claims: Claims, delay: Span) -> StatusResponse {
    let perfect = || HostClock::Offset(Span::ZERO);
    let mut server =
        Host::start(0, perfect(), Span::ZERO, |now| Server::new(ServerConfig::default(), [0; 32], now));
    let client = |number: u8| {
        let config = ClientConfig { name: Name::new(&format!("c{number}")), ..ClientConfig::default() };
        Host::start(number.into(), perfect(), Span::ZERO, |now| Client::new(config, [number; 32], now))
    };
    let mut clients: Vec<Host<Client>> = (1..=3).map(client).collect();
    let mut hostile = HostileClient::new(9, EVE, Span::from_secs(60), claims);
    let mut endpoints: Vec<&mut dyn Endpoint> = vec![&mut server, &mut hostile];
    endpoints.extend(clients.iter_mut().map(|client| client as &mut dyn Endpoint));
    let mut network = Network::new(Delay::constant(delay));
    let end = Span::from_millis(184_500);
    network.run_until(end, &mut endpoints);
    drop(endpoints);
    let now = server.now(end);
    let at = ClockSnapshot {
        host: HostRaw::from_nanos(now.raw.as_nanos()),
        reading: ClockReading::unsynchronized(now.raw),
        timestamps: TimestampSource::Kernel,
        system: None,
    };
    let status = Status { node: ControlledNode::status(&server.node, now, &at), ..examples::server() };
    StatusResponse {
        status,
        clients: ControlledNode::clients(&server.node, now, 0, 10).expect("a server").rows,
    }
}

/// What is said of the hostile client: its row, what `check` finds, its line, and the page of `status`.
fn said(claims: Claims, delay: Span) -> (ClientRow, Finding, String, String) {
    let response = answer(claims, delay);
    let (max, allow_minority) = (Span::from_millis(50), false);
    let wanted = Wanted { max, min_members: 2, expect: &[], ignore: &[], allow_minority };
    let (finding, line) = judge(&response, &wanted);
    let NodeStatus::Server(server) = &response.status.node else { panic!("it is a server") };
    let page = page(server, &response.clients, Paint::Plain, usize::MAX);
    let row = response.clients.iter().find(|row| row.name == EVE).expect("it is registered").clone();
    let others = response.clients.iter().filter(|row| row.name != EVE);
    others.for_each(|row| assert_eq!(row.coverage, ClockCoverage::Covered, "{row:?}"));
    let round = &server.last_round.as_ref().expect("rounds").summary;
    let honest = round.largest_bound_ns.is_some_and(|largest| largest < 2_000_000);
    assert!(honest && round.covered >= 4, "the others are as well guaranteed as without it: {round:?}");
    (row, finding, line, page)
}

const LAN: Span = Span::from_micros(100);

#[test]
fn an_honest_member_is_covered() {
    let (row, finding, line, page) = said(HONEST, LAN);
    assert_eq!((row.coverage, finding), (ClockCoverage::Covered, Finding::Within), "{line}");
    assert!(page.contains("Any two of the 5 covered clocks differ by "), "{page}");
}

#[test]
fn a_member_that_is_an_hour_off_and_states_bound_zero_is_critical() {
    let claims = Claims { ahead: Span::from_secs(3_600), bound: Some(Span::ZERO), ..HONEST };
    let (row, finding, line, page) = said(claims, LAN);
    assert_eq!((row.coverage, row.vote), (ClockCoverage::Falseticker, Vote::Out));
    assert!(finding == Finding::Beyond && line.ends_with("; not covered: eve (falseticker)"), "{line}");
    assert!(page.contains("Any two of the 4 covered clocks differ by "), "{page}");
    assert!(page.contains("eve is left out of the vote: outside window"), "{page}");
}

#[test]
fn a_member_that_agrees_and_states_a_bound_below_its_measured_distance_is_critical() {
    // Half of the delay and the allowance for timestamps are 2 µs; the window is 4 µs.
    let claims = Claims { ahead: Span::from_micros(3), bound: Some(Span::ZERO), ..HONEST };
    let (row, finding, line, page) = said(claims, Span::from_micros(1));
    assert_eq!(row.coverage, ClockCoverage::ContradictedBound, "{row:?}");
    assert!(finding == Finding::Beyond && line.contains("; not covered: eve (it was measured"), "{line}");
    assert!(page.contains("eve is not covered by the guarantee: it was measured farther off"), "{page}");
}

#[test]
fn a_member_that_never_has_cluster_time_is_in_no_vote_and_no_guarantee() {
    let claims = Claims { state: ClientState::Unsynchronized, bound: Some(Span::ZERO), ..HONEST };
    let (row, finding, line, page) = said(claims, LAN);
    assert_eq!((row.coverage, row.vote), (ClockCoverage::Unsynchronized, Vote::None));
    assert!(finding == Finding::Unknown && line.contains("eve (its clock has no cluster time)"), "{line}");
    assert!(page.contains("eve is not covered by the guarantee: its clock has no cluster time"), "{page}");
}

#[test]
fn a_member_that_states_no_bound_is_named_and_hides_nothing() {
    let (row, finding, line, page) = said(Claims { bound: None, ..HONEST }, LAN);
    assert_eq!(row.coverage, ClockCoverage::NoBound);
    assert!(finding == Finding::Unknown && line.contains("eve (it states no bound)"), "{line}");
    assert!(line.starts_with("any two of 4 clocks differ by "), "{line}");
    assert!(page.contains("eve is not covered by the guarantee: it states no bound"), "{page}");
}

#[test]
fn a_member_that_never_answers_is_named_and_hides_nothing() {
    let (row, finding, line, page) = said(Claims { answers: false, ..HONEST }, LAN);
    assert!(row.coverage == ClockCoverage::NotHeard && row.vote != Vote::In, "{row:?}");
    assert!(finding == Finding::Unknown && line.contains("eve (it was not heard in"), "{line}");
    assert!(page.contains("eve is not covered by the guarantee: it was not heard"), "{page}");
}
