//! What many members cost: the vote, the timers, and a whole round in memory.

mod support;

use std::hint::black_box;
use std::time::Duration;

use criterion::{BatchSize, Criterion};
use meantime_core::ServerConfig;
use meantime_core::consensus::Weight;
use meantime_core::consensus::vote::{VoteReading, agreement, winsorised_mean};
use meantime_core::time::{Monotonic, Span};
use meantime_core::timers::Timers;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use support::load::loaded;

fn main() {
    let mut criterion = support::criterion();
    votes(&mut criterion);
    timers(&mut criterion);
    rounds(&mut criterion);
    criterion.final_summary();
}

fn votes(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("vote");
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    for members in MEMBERS {
        let noise = |_| Span::from_nanos(rng.random_range(-5_000..5_000));
        let offsets: Vec<Span> = (0..members).map(noise).collect();
        let readings: Vec<VoteReading> = offsets
            .iter()
            .map(|offset| VoteReading { offset: *offset, error: Span::ZERO, weight: Weight::ONE })
            .collect();
        let rates: Vec<(f64, Weight)> =
            offsets.iter().map(|offset| (offset.as_secs_f64(), Weight::ONE)).collect();
        group.bench_function(format!("agreement of {members}"), |bencher| {
            bencher.iter(|| agreement(black_box(&readings), Span::from_micros(4), Weight::votes(members)));
        });
        group.bench_function(format!("mean rate of {members}"), |bencher| {
            bencher.iter(|| winsorised_mean(black_box(&rates), 25e-6));
        });
    }
}

/// A timer is set and the next one fires, while so many wait.
fn timers(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("timers");
    for waiting in MEMBERS {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut timers = Timers::default();
        let mut at = Monotonic::from_nanos(0);
        (0..waiting).for_each(|k| timers.set(at + Span::from_nanos(rng.random_range(0..5_000_000_000)), k));
        group.bench_function(format!("set and fire among {waiting}"), |bencher| {
            let step = |after: Span| {
                at = timers.next().unwrap_or(at);
                let fired = timers.fire(at);
                timers.set(at + after, 0);
                fired
            };
            bencher.iter_batched(
                || Span::from_nanos(rng.random_range(0..5_000_000_000)),
                step,
                BatchSize::SmallInput,
            );
        });
    }
}

/// All that the server does in a round, but for sockets and clocks.
fn rounds(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("round");
    group.sample_size(10);
    for members in MEMBERS {
        let mut load = loaded(ServerConfig::default(), members);
        load.run(Span::from_secs(160));
        group.bench_function(format!("server with {members} members"), |bencher| {
            bencher.iter_custom(|rounds| {
                load.server.spent = Span::ZERO;
                load.run(support::INTERVAL.times(rounds as i64));
                Duration::from_nanos(load.server.spent.as_nanos() as u64)
            });
        });
    }
}

const MEMBERS: [usize; 3] = [1_000, 10_000, 100_000];
