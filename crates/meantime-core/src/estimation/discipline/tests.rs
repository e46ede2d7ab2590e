//! The discipline as stories.

use super::*;
use crate::estimation::exchange::Exchange;
use crate::time::{Frequency, Raw, Span, Timestamp};
use alloc::vec::Vec;

const START: i64 = 1_800_000_000_000_000_000;

/// An exchange at second `s` over a path with these one-way delays (ns), for an oscillator over which the
/// cluster's time is `phase_ns` ahead.
fn exchange(s: f64, phase_ns: i64, there: i64, back: i64) -> Exchange<Timestamp, Raw> {
    let t2 = START + (s * 1e9) as i64;
    Exchange {
        t1: Timestamp::from_nanos(t2 + phase_ns - there),
        t2: Raw::from_nanos(t2),
        t3: Raw::from_nanos(t2 + 1_000),
        t4: Timestamp::from_nanos(t2 + 1_000 + phase_ns + back),
    }
}

fn settled() -> Discipline {
    let mut discipline = Discipline::default();
    for k in 0..40 {
        let noise = (k % 4) * 10_000;
        discipline.update(&[exchange(5.0 * k as f64, 0, 100_000 + noise, 100_000)], OutlierLimit::MAJORITY);
    }
    discipline
}

fn phase_at(discipline: &Discipline, s: f64) -> i64 {
    let at = Raw::from_nanos(START + (s * 1e9) as i64);
    discipline.estimate(at).unwrap().phase.as_nanos()
}

#[test]
fn little_delay_says_more_than_much() {
    let mut discipline = Discipline::default();
    let burst = [exchange(0.0, 500, 900_000, 100_000), exchange(0.1, 500, 100_000, 100_000)];
    assert_eq!(discipline.update(&burst, OutlierLimit::MAJORITY), Some(BurstOutcome::Started));
    assert!((phase_at(&discipline, 0.1) - 500).abs() < 10_000);
}

#[test]
fn a_frequency_that_was_known_is_there_from_the_first_burst() {
    let (known, error) = (Frequency::from_ppm(-37.0), Frequency::from_ppm(0.5));
    let mut discipline = Discipline::with_frequency(known, error);
    discipline.update(&[exchange(0.0, 500, 100_000, 100_000)], OutlierLimit::MAJORITY);
    let now = discipline.estimate(Raw::from_nanos(START)).unwrap();
    assert!((now.frequency.ppm() - known.ppm()).abs() < 1e-6, "{now:?}");
    assert!((now.frequency_error.ppm() / error.ppm() - 1.0).abs() < 1e-3, "{now:?}");
}

#[test]
fn exchanges_that_make_no_sense_are_nothing() {
    let mut discipline = Discipline::default();
    assert_eq!(discipline.update(&[exchange(0.0, 0, -900_000, 100_000)], OutlierLimit::None), None);
    assert_eq!(discipline.update(&[], OutlierLimit::None), None);
}

#[test]
fn one_outlier_moves_nothing() {
    let mut discipline = settled();
    let before = phase_at(&discipline, 205.0);
    let judged = discipline.update(&[exchange(200.0, 3_000_000, 100_000, 100_000)], OutlierLimit::MINORITY);
    assert_eq!(judged, Some(BurstOutcome::Ignored(1)));
    assert_eq!(phase_at(&discipline, 205.0), before);
}

#[test]
fn a_step_that_persists_is_followed_and_leaves_the_frequency_alone() {
    let mut discipline = settled();
    let before = discipline.estimate(Raw::from_nanos(START)).unwrap();
    for (k, expected) in
        [BurstOutcome::Ignored(1), BurstOutcome::Ignored(2), BurstOutcome::Restarted].into_iter().enumerate()
    {
        let burst = [exchange(200.0 + 5.0 * k as f64, 3_000_000, 100_000, 100_000)];
        assert_eq!(discipline.update(&burst, OutlierLimit::MINORITY), Some(expected));
    }
    let now = discipline.estimate(Raw::from_nanos(START + 210_000_000_000)).unwrap();
    assert!((now.phase.as_nanos() - 3_000_000).abs() < 10_000, "{now:?}");
    assert!(now.frequency_error.ratio() < before.frequency_error.ratio() * 2.0, "{before:?} {now:?}");
}

#[test]
fn a_change_of_frequency_is_found_out_from_the_drift_of_the_outliers() {
    let mut discipline = settled();
    for k in 1..12 {
        let s = 195.0 + 5.0 * f64::from(k);
        let phase = (150e-6 * 5.0 * f64::from(k) * 1e9) as i64;
        discipline.update(&[exchange(s, phase, 100_000, 100_000)], OutlierLimit::MINORITY);
    }
    let now = discipline.estimate(Raw::from_nanos(START + 250_000_000_000)).unwrap();
    assert!((now.frequency.ppm() - 150.0).abs() < 1.0, "{now:?}");
    assert!((now.phase.as_nanos() - 8_250_000).abs() < 20_000, "{now:?}");
}

#[test]
fn a_clock_in_the_majority_holds_out_for_twelve_rounds() {
    let mut discipline = settled();
    for k in 0..12 {
        let burst = [exchange(200.0 + 5.0 * f64::from(k), 3_000_000, 100_000, 100_000)];
        let judged = discipline.update(&burst, OutlierLimit::MAJORITY).unwrap();
        assert_eq!(judged == BurstOutcome::Restarted, k == 11);
    }
}

#[test]
fn a_clock_that_was_set_in_the_middle_of_a_burst_is_no_frequency() {
    let mut discipline = Discipline::default();
    let burst = [exchange(0.0, 0, 110_000, 100_000), exchange(0.1, 300_000_000_000, 100_000, 105_000)];
    discipline.update(&burst, OutlierLimit::None);
    let now = discipline.estimate(Raw::from_nanos(START + 5_000_000_000)).unwrap();
    assert!(now.frequency.ppm().abs() < 1.0, "{now:?}");
    assert!((phase_at(&discipline, 0.1) - 300_000_000_000).abs() < 100_000, "{now:?}");
}

/// The old and the new time differ by so little that an oscillator could explain it.
#[test]
fn a_small_difference_between_the_times_of_two_clusters_is_no_frequency() {
    let mut discipline = settled();
    discipline.inflate_frequency();
    let burst = [exchange(210.0, 2_000_000, 100_000, 100_000)];
    assert_eq!(discipline.update(&burst, OutlierLimit::None), Some(BurstOutcome::Restarted));
    let now = discipline.estimate(Raw::from_nanos(START + 210_000_000_000)).unwrap();
    assert!(now.frequency.ppm().abs() < 1.0, "{now:?}");
    assert!((phase_at(&discipline, 210.0) - 2_000_000).abs() < 10_000, "{now:?}");
}

#[test]
fn an_oscillator_that_jumped_back_is_followed_back() {
    let mut discipline = Discipline::default();
    discipline.update(&[exchange(3_600.0, 0, 100_000, 100_000)], OutlierLimit::MAJORITY);
    let back = 3_600_000_000_000;
    for k in 0..20 {
        let s = 5.0 * f64::from(k);
        let phase = back + (100e-6 * s * 1e9) as i64;
        discipline.update(&[exchange(s, phase, 100_000, 100_000)], OutlierLimit::After(1));
    }
    let now = discipline.estimate(Raw::from_nanos(START + 100_000_000_000)).unwrap();
    assert!((now.frequency.ppm() - 100.0).abs() < 1.0, "{now:?}");
    assert!((now.phase.as_nanos() - back - 10_000_000).abs() < 5_000, "{now:?}");
}

#[test]
fn an_outlier_during_the_start_does_not_tear_the_replay() {
    let mut discipline = Discipline::default();
    for k in 0..60i64 {
        let exchange = |j: i64| {
            let s = 5.0 * k as f64 + 0.05 * j as f64;
            let glitch = if k == 15 { 3_000_000 } else { 0 };
            let wait = |a: i64, b: i64, modulus: i64| 100_000 + (k * a + j * b) % modulus * 1_000;
            exchange(s, (100e-6 * s * 1e9) as i64 + glitch, wait(7, 13, 29), wait(11, 5, 31))
        };
        let judged = discipline.update(&[0, 1, 2, 3].map(exchange), OutlierLimit::MAJORITY);
        assert_eq!(judged == Some(BurstOutcome::Ignored(1)), k == 15, "{k}: {judged:?}");
    }
    assert!((phase_at(&discipline, 295.15) - (100e-6 * 295.15 * 1e9) as i64).abs() < 10_000);
}

#[test]
fn a_delay_that_no_network_has_is_nothing() {
    let mut discipline = settled();
    let mut late = exchange(200.0, 0, 100_000, 100_000);
    late.t4 += Span::from_secs(3);
    assert_eq!(discipline.update(&[late], OutlierLimit::MAJORITY), None);
}

/// The first seconds of a machine that is busy coming up may look like another oscillator; and what comes
/// after that, like outliers, all but a few of them.
#[test]
fn a_start_that_was_not_like_the_rest_is_given_up() {
    use rand::{RngExt, SeedableRng};
    for seed in 0..20 {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
        let mut discipline = Discipline::default();
        for second in 0..90 {
            let early = second < 6;
            let mut queue = || -(rng.random_range(1e-9..1.0_f64).ln() * 1_200_000.0) as i64;
            let (there, back) = if early { (0, 0) } else { (queue(), queue()) };
            let burst: Vec<_> = (0..16)
                .map(|k| {
                    let s = f64::from(second) + 0.05 * f64::from(k);
                    let phase = if early { (150_000.0 * (s - 6.0)) as i64 } else { 0 };
                    let mut wait = || 300_000 + rng.random_range(0..100_000);
                    exchange(s, phase, there + wait(), back + wait())
                })
                .collect();
            discipline.update(&burst, OutlierLimit::MAJORITY);
        }
        let off = phase_at(&discipline, 90.0);
        assert!(off.abs() < 600_000, "seed {seed}: {off} ns off after a minute and a half");
    }
}

#[test]
fn another_scale_moves_the_estimate_and_no_observation() {
    let (mut moved, same) = (settled(), settled());
    let (at, ahead, faster) = (195.0, 3_000_000, Frequency::from_ppm(40.0));
    let raw = |s: f64| Raw::from_nanos(START + (s * 1e9) as i64);
    moved.change_scale(raw(at), (Span::from_nanos(ahead), faster));
    let phase = |s: f64| ahead + faster.over(raw(s) - raw(at)).as_nanos();
    for s in [195.0, 200.0, 300.0] {
        assert!((phase_at(&moved, s) - phase_at(&same, s) - phase(s)).abs() <= 2, "{s}");
    }
    for s in [200.0, 205.0, 210.0] {
        let outcome = moved.update(&[exchange(s, phase(s), 100_000, 100_000)], OutlierLimit::MAJORITY);
        assert_eq!(outcome, Some(BurstOutcome::Followed));
        assert!((phase_at(&moved, s) - phase(s)).abs() < 5_000, "{}", phase_at(&moved, s) - phase(s));
    }
}
