//! A thousand worlds of three servers in which everything goes wrong for a while.

use meantime_core::ClientEvent;
use meantime_core::time::Span;
use meantime_sim::{Observer, ReportedEvent, Sample, Scenario, Simulation};

use super::watch::Watch;
use crate::support::{Running, sampled_seeds, us};

/// A watch that looks at terms, too: each is followed at one server only.
#[derive(Default)]
struct TermWatch {
    watch: Watch,
    /// Who has followed a term at a server of another rank.
    wrong: Vec<ReportedEvent>,
}

impl Observer for TermWatch {
    fn sampled(&mut self, sample: &Sample) {
        self.watch.sampled(sample);
    }

    fn reported(&mut self, event: &ReportedEvent) {
        if let Some(ClientEvent::Follows { rank, term, .. }) = event.event.of_client()
            && term.rank() != Some(*rank)
        {
            self.wrong.push(event.clone());
        }
        self.watch.reported(event);
    }
}

/// What a world has come to.
struct Recovery {
    /// How long after the end of the faults there was exactly one active server, for good; `None`: never.
    one_active: Option<Span>,
    /// How long after the end of the faults all clocks were within 200 µs of each other, for good; `None`:
    /// never.
    together: Option<Span>,
}

fn recover(seed: u64) -> Recovery {
    let scenario = Scenario::random_faults_of_servers(seed, 3);
    let _running = Running(&scenario);
    let (mut simulation, mut seen) = (Simulation::new(&scenario), TermWatch::default());
    simulation.run_until(scenario.duration, &mut seen);
    assert_eq!(seen.wrong, [], "seed {seed}");
    let after = |at: Span| (at - scenario.settle).max(Span::ZERO);
    let is_close = |(_, apart): &&(Span, Span)| *apart <= us(200);
    let together = seen.watch.apart.iter().rev().take_while(is_close).last();
    let all = simulation.sample().synchronized().count() == simulation.sample().good().count();
    Recovery {
        one_active: seen.watch.one_active_since().map(after),
        together: together.map(|(at, _)| after(*at)).filter(|_| all),
    }
}

/// Runs a sample of these worlds, or all of them.
fn all_recover(range: std::ops::Range<u64>) {
    let seeds = sampled_seeds(range, 15);
    let (mut failed, mut soon, mut slowest) = (Vec::new(), 0, Span::ZERO);
    for &seed in &seeds {
        let Recovery { one_active, together } = recover(seed);
        match (one_active, together) {
            (Some(active), Some(together)) => {
                soon += usize::from(together <= SOON);
                slowest = slowest.max(active);
            }
            _ => failed.push((seed, one_active, together)),
        }
    }
    println!(
        "{} worlds of three servers: {soon} together within five rounds; one active server after {slowest} at most",
        seeds.len()
    );
    assert!(failed.is_empty(), "not recovered, of {}: {failed:?}", seeds.len());
}

/// Five rounds.
const SOON: Span = Span::from_secs(25);

#[ignore = "long: scripts/check.sh runs it"]
#[test]
fn worlds_of_three_servers_come_back_into_agreement() {
    all_recover(0..500);
}

#[ignore = "long: scripts/check.sh runs it"]
#[test]
fn more_worlds_of_three_servers_come_back_into_agreement() {
    all_recover(500..1_000);
}
