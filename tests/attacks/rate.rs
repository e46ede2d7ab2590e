//! Attackers that claim false frequencies. They can change the cluster's rate within the limits of the rate
//! anchor, and not how well the good clocks agree.

use meantime_core::ServerConfig;
use meantime_core::event::{RoundReport, ServerEvent};
use meantime_core::time::{Frequency, Span};

use crate::attacker::Plan;
use crate::island::{Island, NOISE, s};

/// g = 9: the server and four good clients; f = 4 machines with eight sessions each, that claim this from
/// minute four on, or from the beginning.
fn claim(from: Span, ppm: f64, seconds: i64) -> (Island, Vec<RoundReport>) {
    let mut island = Island::new(ServerConfig::default(), 4);
    let plan = Plan { frequency: Some((from, Frequency::from_ppm(ppm))), ..Plan::default() };
    for k in 0..32 {
        island.attacker.add(&format!("198.51.{}.1", k % 4), plan);
    }
    island.run(60);
    island.mark_synchronized();
    island.run(seconds - 60);
    let report = |event: &ServerEvent| match event {
        ServerEvent::RoundEnded(report) => Some(*report),
        _ => None,
    };
    let reports = island.told.iter().filter_map(report).collect();
    // They count what their groups do. The limits hold because that is less than half.
    assert_eq!(island.last_round().votes.as_f64(), 9.0);
    (island, reports)
}

/// The largest change of the rate from one round to the next, in ppb.
fn largest_change(reports: &[RoundReport]) -> f64 {
    let change = |pair: &[RoundReport]| (pair[1].rate - pair[0].rate).ppb().abs();
    reports.windows(2).map(change).fold(0.0, f64::max)
}

/// How far the good clocks are apart.
fn apart(island: &mut Island) -> Span {
    let at = island.now();
    let ahead: Vec<Span> = island.ahead(at).into_iter().flatten().collect();
    *ahead.iter().max().expect("clocks") - *ahead.iter().min().expect("clocks")
}

/// What the limit allows: 25 ppm · f/g, and some noise.
const MOST_PPM: f64 = 25.0 * 4.0 / 9.0 + 0.1;

#[test]
fn false_frequencies_move_the_rate_of_a_settled_cluster_by_a_billionth_a_second_at_most() {
    for ppm in [500.0, -500.0] {
        let (mut island, reports) = claim(s(240), ppm, 600);
        let settled: Vec<RoundReport> = reports.iter().copied().filter(|it| it.round > 50).collect();
        assert!(largest_change(&settled) < 5.01, "{} ppb", largest_change(&settled));
        let mean = |report: &RoundReport| report.mean_frequency.map_or(0.0, |mean| mean.ppm().abs());
        let largest = settled.iter().map(mean).fold(0.0, f64::max);
        assert!(largest > 5.0 && largest < MOST_PPM, "F is {largest} ppm");
        assert!(apart(&mut island) < NOISE, "{}", apart(&mut island));
        // Their clocks agree, so the vote names none of them.
        assert!(island.named() == 0 && island.no_good_clock_is_named());
    }
}

#[test]
fn false_frequencies_move_the_rate_of_a_new_cluster_by_their_share_of_the_reach_at_most() {
    let (mut island, reports) = claim(s(0), 500.0, 900);
    assert!(largest_change(&reports) < 501.0, "{} ppb", largest_change(&reports));
    let last = reports.last().expect("rounds").rate.ppm();
    assert!(last < -5.0, "that is no attack: {last} ppm");
    let largest = reports.iter().map(|report| report.rate.ppm().abs()).fold(0.0, f64::max);
    assert!(largest < MOST_PPM, "the rate is moved by {largest} ppm");
    assert!(apart(&mut island) < NOISE, "{}", apart(&mut island));
}

#[ignore = "long: scripts/check.sh runs it"]
#[test]
fn false_frequencies_move_the_rate_in_hours_by_their_share_of_the_reach_at_most() {
    let (mut island, reports) = claim(s(240), -500.0, 6 * 3_600);
    let largest = reports.iter().map(|report| report.rate.ppm().abs()).fold(0.0, f64::max);
    assert!(largest > 5.0 && largest < MOST_PPM, "the rate is moved by {largest} ppm");
    assert!(apart(&mut island) < NOISE, "{}", apart(&mut island));
}
