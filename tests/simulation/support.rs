//! What the simulation tests share.

use meantime_core::time::Span;
use meantime_sim::{Impairments, Jitter, MemberIndex, Sample, Scenario, Simulation};

use crate::worlds;

/// The seeds of a test: these, or the one in `MEANTIME_SEED`.
pub(crate) fn seeds(range: std::ops::Range<u64>) -> Vec<u64> {
    match std::env::var("MEANTIME_SEED") {
        Ok(seed) => vec![seed.parse().expect("MEANTIME_SEED is a number")],
        Err(_) => range.collect(),
    }
}

/// The first `sample` of these seeds; all of them for `scripts/long.sh`; or the one in `MEANTIME_SEED`.
pub(crate) fn sampled_seeds(range: std::ops::Range<u64>, sample: u64) -> Vec<u64> {
    seeds(worlds::sampled(range, sample))
}

/// Prints what was being run if the test panics, wherever that may be.
pub(crate) struct Running<'a>(pub &'a Scenario);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Scenario { seed, clients, interval, burst, impairments, .. } = self.0;
            eprintln!(
                "MEANTIME_SEED={}, {clients} clients, {interval}, burst {burst}, {impairments:?}",
                seed.0
            );
        }
    }
}

/// One of each kind of jitter, but the exponential one that most scenarios have.
pub(crate) fn jitters() -> [Jitter; 5] {
    [
        Jitter::None,
        Jitter::Gamma { shape: 4.0, mean: us(40) },
        Jitter::Pareto { alpha: 1.5, scale: us(50) },
        Jitter::Gaussian { sigma: us(30) },
        Jitter::Mixture { mean: us(20), chance: 0.2, extra: us(500) },
    ]
}

/// Loss, and nothing else.
pub(crate) fn loss(loss: f64) -> Impairments {
    Impairments { loss, ..Impairments::default() }
}

/// Eight clients, one exchange a round, the 20 µs link, 20 % loss: where a fault's harm is measured.
pub(crate) fn battery(seed: u64) -> Scenario {
    Scenario { clients: 8, burst: 1, impairments: loss(0.2), ..Scenario::seeded(seed) }
}

/// A cluster that has been running for so long.
pub(crate) fn settled(scenario: &Scenario, span: Span) -> Simulation {
    let mut simulation = Simulation::new(scenario);
    simulation.run_until(span, &mut ());
    simulation
}

/// Runs for so long; the worst distance of the clients (of those that `count`) from their median.
pub(crate) fn worst_client(
    simulation: &mut Simulation,
    span: Span,
    count: impl Fn(MemberIndex) -> bool,
) -> Span {
    let mut worst = Span::ZERO;
    simulation.run_for(span, &mut |sample: &Sample| {
        let found = sample.worst(|member| member != MemberIndex::SERVER && count(member));
        worst = worst.max(found.unwrap_or(Span::MAX));
    });
    worst
}

/// How far a member's clock is from the median of the other good, synchronized clients'.
pub(crate) fn distance(sample: &Sample, member: MemberIndex) -> Option<Span> {
    let own = sample.clock(member)?.off;
    let others = sample.synchronized().filter(|(other, _)| *other != member && *other != MemberIndex::SERVER);
    let mut others: Vec<Span> = others.map(|(_, off)| off).collect();
    others.sort_unstable();
    let median = others.get(others.len() / 2)?;
    Some((own - *median).abs())
}

/// A number of seconds.
pub(crate) const fn s(seconds: i64) -> Span {
    Span::from_secs(seconds)
}

/// A number of microseconds.
pub(crate) const fn us(micros: i64) -> Span {
    Span::from_micros(micros)
}
