//! What the discipline of one client costs: for each burst once the start is over, and at the start, whose
//! bursts are replayed. Beside it the bank of two-state Kalman filters, which the cross-check and a following
//! server run.

mod support;

use std::hint::black_box;

use criterion::{BatchSize, Criterion};
use meantime_core::estimation::discipline::{Discipline, OutlierLimit};
use meantime_core::estimation::kalman::Bank;
use meantime_core::time::Frequency;
use support::bursts_of_start;
use support::path::Path;

fn main() {
    let mut criterion = support::criterion();
    for size in [4, 1] {
        steady(&mut criterion, size);
        start(&mut criterion, size);
    }
    estimate(&mut criterion);
    bank(&mut criterion);
    criterion.final_summary();
}

/// Bursts after the start, each later than the one before.
fn steady(criterion: &mut Criterion, size: usize) {
    let mut path = Path::new(size);
    let mut discipline = path.discipline(bursts_of_start(size));
    criterion.bench_function(&format!("discipline/a burst of {size}"), |bencher| {
        let update = |burst: Vec<_>| discipline.update(&burst, OutlierLimit::MAJORITY);
        bencher.iter_batched(|| path.burst(), update, BatchSize::SmallInput);
    });
}

/// The last burst of the start, which replays all before it, is the most expensive; and all of the start
/// together.
fn start(criterion: &mut Criterion, size: usize) {
    let mut group = criterion.benchmark_group("start");
    group.sample_size(10);
    let count = bursts_of_start(size);
    let mut path = Path::new(size);
    let before = path.discipline(count - 1);
    let last = path.burst();
    group.bench_function(format!("the last burst of {size}"), |bencher| {
        let update = |mut discipline: Discipline| {
            discipline.update(&last, OutlierLimit::MAJORITY);
            discipline
        };
        bencher.iter_batched(|| before.clone(), update, BatchSize::LargeInput);
    });
    group.bench_function(format!("all {count} bursts of {size}"), |bencher| {
        bencher.iter(|| Path::new(size).discipline(count));
    });
}

/// What is known now; asked some times for each burst.
fn estimate(criterion: &mut Criterion) {
    let mut path = Path::new(4);
    let discipline = path.discipline(bursts_of_start(4));
    let at = path.burst()[0].t3;
    criterion.bench_function("discipline/estimate", |bencher| {
        bencher.iter(|| discipline.estimate(black_box(at)));
    });
}

/// One phase for each burst.
fn bank(criterion: &mut Criterion) {
    let mut path = Path::new(1);
    let mut reading = || {
        let exchange = path.burst()[0];
        (exchange.t3, -exchange.offset())
    };
    let (at, phase) = reading();
    let mut bank = Bank::new(at, phase, DEVIATION_S, Frequency::ZERO, Frequency::from_ppm(200.0));
    criterion.bench_function("Kalman bank/a phase", |bencher| {
        let observe = |(at, phase)| bank.observe(at, phase, DEVIATION_S);
        bencher.iter_batched(&mut reading, observe, BatchSize::SmallInput);
    });
    let (at, _) = reading();
    criterion.bench_function("Kalman bank/estimate", |bencher| bencher.iter(|| bank.estimate(black_box(at))));
}

/// What the offset of one exchange of this path is off by.
const DEVIATION_S: f64 = 10e-6;
