//! The one-sided filter as stories.

use super::*;

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

fn settled() -> OneSided {
    let mut discipline = OneSided::default();
    for k in 0..40 {
        let noise = (k % 4) * 10_000;
        discipline.update(&[exchange(5.0 * k as f64, 0, 100_000 + noise, 100_000)], Trust::MAJORITY);
    }
    discipline
}

fn phase_at(discipline: &OneSided, s: f64) -> i64 {
    let at = Raw::from_nanos(START + (s * 1e9) as i64);
    discipline.estimate(at).unwrap().phase.as_nanos()
}

#[test]
fn little_delay_says_more_than_much() {
    let mut discipline = OneSided::default();
    let burst = [exchange(0.0, 500, 900_000, 100_000), exchange(0.1, 500, 100_000, 100_000)];
    assert_eq!(discipline.update(&burst, Trust::MAJORITY), Some(Judgement::Started));
    assert!((phase_at(&discipline, 0.1) - 500).abs() < 10_000);
}

#[test]
fn exchanges_that_make_no_sense_are_nothing() {
    let mut discipline = OneSided::default();
    assert_eq!(discipline.update(&[exchange(0.0, 0, -900_000, 100_000)], Trust::AtOnce), None);
    assert_eq!(discipline.update(&[], Trust::AtOnce), None);
}

#[test]
fn one_outlier_moves_nothing() {
    let mut discipline = settled();
    let before = phase_at(&discipline, 205.0);
    let judged = discipline.update(&[exchange(200.0, 3_000_000, 100_000, 100_000)], Trust::MINORITY);
    assert_eq!(judged, Some(Judgement::Ignored(1)));
    assert_eq!(phase_at(&discipline, 205.0), before);
}

#[test]
fn a_step_that_persists_is_followed_and_leaves_the_frequency_alone() {
    let mut discipline = settled();
    let before = discipline.estimate(Raw::from_nanos(START)).unwrap();
    for (k, expected) in
        [Judgement::Ignored(1), Judgement::Ignored(2), Judgement::Restarted].into_iter().enumerate()
    {
        let burst = [exchange(200.0 + 5.0 * k as f64, 3_000_000, 100_000, 100_000)];
        assert_eq!(discipline.update(&burst, Trust::MINORITY), Some(expected));
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
        discipline.update(&[exchange(s, phase, 100_000, 100_000)], Trust::MINORITY);
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
        let judged = discipline.update(&burst, Trust::MAJORITY).unwrap();
        assert_eq!(judged == Judgement::Restarted, k == 11);
    }
}
