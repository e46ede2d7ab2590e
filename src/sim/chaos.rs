//! Worlds of random faults: everything that can go wrong goes wrong for a while, then nothing.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::seed::{Purpose, Seed};
use super::{Fault, Member, Scenario, Trouble, Ways};
use crate::time::{Frequency, Span};

impl Scenario {
    /// A random world of three to eight clients in which datagrams are lost, doubled, reordered and
    /// corrupted, processes crash, stand still and come back, links are cut and clocks jump; from
    /// [`Scenario::settle`] on all is quiet, and the cluster must come back into agreement before the end.
    pub fn random_faults(seed: u64) -> Scenario {
        let mut rng = Seed(seed).stream(Purpose::Chaos, 0);
        let clients = rng.random_range(3..=8);
        let quiet = Span::from_secs(rng.random_range(120..=300));
        let interval = [Span::from_secs(1), Span::from_secs(2), Span::from_secs(5)][rng.random_range(0..3)];
        let mut faults = vec![(quiet, Fault::Trouble(Trouble::default()))];
        let wild = wild_ones(&mut rng, clients);
        for _ in 0..rng.random_range(2..=10) {
            mishap(&mut rng, clients, &wild, quiet, &mut faults);
        }
        Scenario {
            seed: Seed(seed),
            clients,
            interval,
            burst: rng.random_range(1..=4),
            trouble: random_trouble(&mut rng),
            faults,
            settle: quiet,
            duration: quiet + interval.times(RECOVERY_ROUNDS) + SLEWING,
            start_within: Span::from_secs(rng.random_range(0..=20)),
            ..Scenario::default()
        }
    }
}

/// One thing that goes wrong, and is made right before the quiet time begins.
fn mishap(
    rng: &mut ChaCha8Rng,
    clients: usize,
    wild: &[Member],
    quiet: Span,
    faults: &mut Vec<(Span, Fault)>,
) {
    let from = quiet.scaled(rng.random_range(0.05..0.95));
    let until = (from + Span::from_secs(60).scaled(rng.random())).min(quiet);
    let anybody = Member::client(rng.random_range(0..=clients));
    let client = Member::client(rng.random_range(1..=clients));
    let (wrong, right) = match rng.random_range(0..8) {
        0 => (Fault::Crash(client), Some(Fault::Start(client))),
        1 => (Fault::Crash(Member::SERVER), Some(Fault::Start(Member::SERVER))),
        2 => (Fault::Shutdown(anybody), Some(Fault::Start(anybody))),
        3 => (Fault::Pause(anybody), Some(Fault::Resume(anybody))),
        4 => (Fault::Cut(client, random_ways(rng)), Some(Fault::Heal(client))),
        5 | 6 => (Fault::Jump(wild[rng.random_range(0..wild.len())], random_jump(rng)), None),
        _ => (Fault::FrequencyStep(anybody, Frequency::from_ppm(rng.random_range(-50.0..50.0))), None),
    };
    faults.push((from, wrong));
    faults.extend(right.map(|right| (until, right)));
}

/// Whose clocks may jump: one or two members, never so many that those whose clocks were always right could
/// be outvoted. If everybody forgot the time at once, they would have to agree on it anew.
fn wild_ones(rng: &mut ChaCha8Rng, clients: usize) -> Vec<Member> {
    let first = rng.random_range(0..=clients);
    let second = (first + rng.random_range(1..=clients)) % (clients + 1);
    let most = if clients >= 4 { 2 } else { 1 };
    [first, second].into_iter().take(most).map(Member::client).collect()
}

fn random_trouble(rng: &mut ChaCha8Rng) -> Trouble {
    Trouble {
        loss: rng.random_range(0.0..0.4),
        duplication: rng.random_range(0.0..0.2),
        reordering: rng.random_range(0.0..0.2),
        corruption: rng.random_range(0.0..0.02),
    }
}

fn random_ways(rng: &mut ChaCha8Rng) -> Ways {
    [Ways::Down, Ways::Up, Ways::Both][rng.random_range(0..3)]
}

/// From 100 µs to three hours, either way, every order of magnitude alike.
fn random_jump(rng: &mut ChaCha8Rng) -> Span {
    let size = 10_f64.powf(rng.random_range(-4.0..4.0));
    Span::from_secs_f64(if rng.random() { size } else { -size })
}

/// Longer than a deposition (24 rounds) after a lost membership, an election and a few lost rounds.
const RECOVERY_ROUNDS: i64 = 120;
/// What is not stepped is slewed at 500 ppm: 128 ms take 256 s.
const SLEWING: Span = Span::from_secs(300);
