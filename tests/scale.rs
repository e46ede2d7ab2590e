//! Thousands of members: what each of them takes, and that no step takes long.

#[path = "../benches/support/counting.rs"]
mod counting;
#[path = "../benches/support/hall.rs"]
mod hall;

use hall::Hall;
use meantime_core::event::Outcome;
use meantime_core::time::Span;
use meantime_core::{ServerConfig, ServerEvent};

/// What a server with so many members has on the heap once they are members like all others, and no newcomers
/// any more: a timer for each takes 26 bytes more for two minutes.
fn heap(clients: usize) -> usize {
    // How fast they may come in decides how many bursts go on at a time meanwhile: the same for few and for
    // many.
    let config = ServerConfig { max_clients: 12_000, ..ServerConfig::default() };
    let mut hall = Hall::new(config, clients);
    hall.run(Span::from_secs(200));
    let rounds = hall
        .told
        .iter()
        .filter(|event| matches!(event, ServerEvent::RoundEnded(report) if report.heard == clients + 1));
    assert!(rounds.count() >= 3, "not everybody is a member like all others");
    let Hall { server, .. } = hall;
    counting::heap(server)
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
    let mut hall = Hall::new(ServerConfig::default(), 10_000);
    // Past the newcomers' haste.
    hall.run(Span::from_secs(200));
    (hall.sent, hall.most_at_once) = (0, 0);
    hall.told.clear();
    hall.run(Span::from_secs(25));
    assert_eq!(hall.sent, 5 * 5 * 10_000, "four probes and a correction each");
    assert!(hall.most_at_once <= 256, "{} datagrams at once", hall.most_at_once);
    let agreed = |event: &&ServerEvent| matches!(event, ServerEvent::RoundEnded(report) if report.outcome == Outcome::Agreed && report.agreeing == 10_001);
    assert_eq!(hall.told.iter().filter(agreed).count(), 5, "{:?}", hall.told);
    let measure = hall.finish();
    assert_eq!((measure.lost_probes, measure.lost_reports, measure.unconfirmed_reports), (0, 0, 0));
    assert!(
        measure.correction_error_ns().is_some_and(|ns| ns < 100.0),
        "{:?}",
        measure.correction_error_ns()
    );
    assert_eq!(hall.shut_down(), 10_000, "everybody hears of the end");
}

#[test]
fn bursts_become_shorter_when_a_round_would_not_fit_and_that_is_told() {
    let config = ServerConfig { probe_rate: 1_000, ..ServerConfig::default() };
    let mut hall = Hall::new(config, 1_500);
    hall.run(Span::from_secs(200));
    let adapted: Vec<_> = hall
        .told
        .iter()
        .filter_map(|event| match event {
            ServerEvent::BurstAdapted { burst, wanted, .. } => Some((*burst, *wanted)),
            _ => None,
        })
        .collect();
    assert_eq!(adapted, [(2, 4)]);
    hall.sent = 0;
    hall.run(Span::from_secs(5));
    assert_eq!(hall.sent, 3 * 1_500, "two probes and a correction each");
}

#[test]
fn when_not_even_single_probes_fit_a_round_takes_as_many_intervals_as_it_needs() {
    let config = ServerConfig { probe_rate: 1_000, ..ServerConfig::default() };
    let mut hall = Hall::new(config, 12_000);
    hall.run(Span::from_secs(120));
    hall.told.clear();
    hall.run(Span::from_secs(45));
    let begun = hall.told.iter().filter(|event| matches!(event, ServerEvent::RoundStarted { .. })).count();
    assert_eq!(begun, 3, "one in three intervals");
    let heard =
        |event: &&ServerEvent| matches!(event, ServerEvent::RoundEnded(report) if report.heard == 12_001);
    assert_eq!(hall.told.iter().filter(heard).count(), 3);
}
