//! Thousands of members: what each of them takes, and that no step takes long.

#[path = "../benches/support/counting.rs"]
mod counting;
#[path = "../benches/support/load.rs"]
mod load;

use load::{finish, loaded, shut_down};
use meantime_core::event::Outcome;
use meantime_core::time::Span;
use meantime_core::{ServerConfig, ServerEvent};

/// What a server with so many members has on the heap once they are members like all others, and no newcomers
/// any more: a timer for each takes 26 bytes more for three minutes.
fn heap(clients: usize) -> usize {
    // How fast they may come in decides how many bursts go on at a time meanwhile: the same for few and for
    // many.
    let config = ServerConfig { max_clients: 12_000, ..ServerConfig::default() };
    let mut load = loaded(config, clients);
    load.run(Span::from_secs(200));
    let rounds = load
        .server
        .events
        .iter()
        .filter(|event| matches!(event, ServerEvent::RoundEnded(report) if report.heard == clients + 1));
    assert!(rounds.count() >= 3, "some clients are not measured in each round");
    counting::heap(load.server.host.node)
}

#[test]
fn a_member_costs_no_more_than_256_bytes() {
    let (few, many) = (heap(6_000), heap(12_000));
    let each = (many - few) / 6_000;
    assert!(each <= 256, "{each} bytes");
    assert!(each >= size_of::<[u64; 20]>(), "{each} bytes are too few to be true");
}

#[test]
fn ten_thousand_members_are_measured_and_corrected_each_round_and_a_few_at_a_time() {
    let mut load = loaded(ServerConfig::default(), 10_000);
    // Past the newcomers' haste.
    load.run(Span::from_secs(200));
    (load.server.sent, load.server.max_at_once) = (0, 0);
    load.server.events.clear();
    load.run(Span::from_secs(25));
    assert_eq!(load.server.sent, 5 * 5 * 10_000, "four probes and a correction each");
    assert!(load.server.max_at_once <= 256, "{} datagrams at once", load.server.max_at_once);
    let agreed = |event: &&ServerEvent| match event {
        ServerEvent::RoundEnded(report) => report.outcome == Outcome::Agreed && report.agreeing == 10_001,
        _ => false,
    };
    assert_eq!(load.server.events.iter().filter(agreed).count(), 5, "{:?}", load.server.events);
    let measure = finish(&mut load);
    assert_eq!((measure.lost_probes, measure.lost_reports, measure.unconfirmed_reports), (0, 0, 0));
    assert!(
        measure.correction_error_ns().is_some_and(|ns| ns < 100.0),
        "{:?}",
        measure.correction_error_ns()
    );
    assert_eq!(shut_down(&mut load), 10_000, "all clients receive the Leave");
}

#[test]
fn bursts_become_shorter_when_a_round_would_not_fit_and_that_is_told() {
    let config = ServerConfig { probe_rate: 1_000, ..ServerConfig::default() };
    let mut load = loaded(config, 1_500);
    load.run(Span::from_secs(200));
    let adapted: Vec<_> = load
        .server
        .events
        .iter()
        .filter_map(|event| match event {
            ServerEvent::BurstAdapted { burst, wanted, .. } => Some((*burst, *wanted)),
            _ => None,
        })
        .collect();
    assert_eq!(adapted, [(2, 4)]);
    load.server.sent = 0;
    load.run(Span::from_secs(5));
    assert_eq!(load.server.sent, 3 * 1_500, "two probes and a correction each");
}

#[test]
fn when_not_even_single_probes_fit_a_round_takes_as_many_intervals_as_it_needs() {
    let config = ServerConfig { probe_rate: 1_000, ..ServerConfig::default() };
    let mut load = loaded(config, 12_000);
    // Until all newcomers have a vote.
    load.run(Span::from_secs(480));
    load.server.events.clear();
    load.run(Span::from_secs(45));
    let begun =
        load.server.events.iter().filter(|event| matches!(event, ServerEvent::RoundStarted { .. })).count();
    assert_eq!(begun, 3, "one in three intervals");
    let heard =
        |event: &&ServerEvent| matches!(event, ServerEvent::RoundEnded(report) if report.heard == 12_001);
    assert_eq!(load.server.events.iter().filter(heard).count(), 3);
}
