//! Worlds of random faults: everything that can go wrong goes wrong for a while, then nothing; once, or again
//! and again.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::machine::ProcessModel;
use super::seed::{Purpose, Seed};
use super::simulation::Observer;
use super::{Directions, Fault, Impairments, MemberIndex, Paths, Sample, Scenario};
use meantime_core::time::{Frequency, Span};

impl Scenario {
    /// A random world of three to eight clients in which datagrams are lost, doubled, reordered and
    /// corrupted, processes crash, stand still and come back, links are cut and clocks jump; from
    /// [`Scenario::settle`] on all is quiet, and the cluster must come back into agreement before the end.
    pub fn random_faults(seed: u64) -> Scenario {
        let mut rng = Seed(seed).stream(Purpose::Chaos, 0);
        let clients = rng.random_range(3..=8);
        let quiet = Span::from_secs(rng.random_range(120..=300));
        let interval = [Span::from_secs(1), Span::from_secs(2), Span::from_secs(5)][rng.random_range(0..3)];
        let mut faults = vec![(quiet, Fault::Impairments(Impairments::default()))];
        let jumpers = members_with_jumps(&mut rng, clients);
        for _ in 0..rng.random_range(2..=10) {
            add_fault(&mut rng, clients, &jumpers, quiet, &mut faults);
        }
        Scenario {
            seed: Seed(seed),
            clients,
            interval,
            burst: rng.random_range(1..=4),
            impairments: random_impairments(&mut rng),
            faults,
            settle: quiet,
            duration: quiet + interval.times(RECOVERY_ROUNDS) + SLEWING,
            start_within: Span::from_secs(rng.random_range(0..=20)),
            ..Scenario::default()
        }
    }
}

impl Scenario {
    /// A random world of so many servers, three to eight clients, and an interval of five seconds, in which
    /// the same goes wrong, with servers as with clients, and the network is cut in two anywhere. From
    /// [`Scenario::settle`] on all is quiet.
    pub fn random_faults_of_servers(seed: u64, servers: usize) -> Scenario {
        let mut rng = Seed(seed).stream(Purpose::Chaos, 2);
        let clients = rng.random_range(3..=8);
        let quiet = Span::from_secs(rng.random_range(120..=300));
        let mut faults =
            vec![(quiet, Fault::Impairments(Impairments::default())), (quiet, Fault::HealPartition)];
        let jumper = MemberIndex::at(rng.random_range(0..clients + servers), clients, servers);
        for _ in 0..rng.random_range(2..=10) {
            add_fault_of_servers(&mut rng, (clients, servers), jumper, quiet, &mut faults);
        }
        let default = Scenario::default();
        Scenario {
            seed: Seed(seed),
            clients,
            servers,
            impairments: random_impairments(&mut rng),
            process: ProcessModel { keeps: rng.random(), ..default.process },
            faults,
            settle: quiet,
            duration: quiet + default.interval.times(RECOVERY_ROUNDS) + SLEWING,
            start_within: Span::from_secs(rng.random_range(0..=20)),
            ..default
        }
    }
}

/// One thing that goes wrong in a world of several servers, and is made right before the quiet time begins.
fn add_fault_of_servers(
    rng: &mut ChaCha8Rng,
    (clients, servers): (usize, usize),
    jumper: MemberIndex,
    quiet: Span,
    faults: &mut Vec<(Span, Fault)>,
) {
    let from = quiet.scaled(rng.random_range(0.05..0.95));
    let until = (from + Span::from_secs(60).scaled(rng.random())).min(quiet);
    let all = clients + servers;
    let member = MemberIndex::at(rng.random_range(0..all), clients, servers);
    let server = MemberIndex::server(rng.random_range(1..=servers as u8));
    let other = Some(member).filter(|member| *member != server);
    let path = Paths::between(server, other.unwrap_or(MemberIndex::client(1)));
    let (wrong, right) = match rng.random_range(0..9) {
        0 => (Fault::Crash(server), Some(Fault::Start(server))),
        1 => (Fault::Crash(member), Some(Fault::Start(member))),
        2 => (Fault::Shutdown(member), Some(Fault::Start(member))),
        3 => (Fault::Pause(server), Some(Fault::Resume(server))),
        4 => (Fault::Pause(member), Some(Fault::Resume(member))),
        5 => (Fault::Cut(path, random_directions(rng)), Some(Fault::Heal(path))),
        6 => {
            let everyone = (0..all).map(|place| MemberIndex::at(place, clients, servers));
            let side = everyone.filter(|_| rng.random()).collect();
            (Fault::Partition(side), Some(Fault::HealPartition))
        }
        7 => (Fault::Jump(jumper, random_jump(rng)), None),
        _ => (Fault::FrequencyStep(member, Frequency::from_ppm(rng.random_range(-50.0..50.0))), None),
    };
    faults.push((from, wrong));
    faults.extend(right.map(|right| (until, right)));
}

/// A world in which episodes of faults come one after the other, for any length of time; at the end of
/// each the cluster must be in agreement.
#[derive(Clone, Debug, PartialEq)]
pub struct Soak {
    /// The world.
    pub scenario: Scenario,
    /// What has been seen of it.
    pub recoveries: Recoveries,
}

/// Whether a cluster that is tried again and again comes back into agreement each time. It wants to see every
/// sample.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recoveries {
    /// How many episodes are over.
    pub episodes: usize,
    /// When those ended, in true time, after which the cluster was not in agreement.
    pub failed: Vec<Span>,
    /// The longest that it has taken from the end of the faults until the cluster was in agreement and stayed
    /// so.
    pub slowest: Span,
    /// When the faults of this episode are over.
    quiet: Vec<Span>,
    /// Since when all good clocks have been close to one another.
    since: Option<Span>,
}

impl Soak {
    /// The world of this seed, for so long: whole episodes, at least one.
    pub fn new(seed: u64, length: Span) -> Soak {
        let mut rng = Seed(seed).stream(Purpose::Chaos, 1);
        let clients = rng.random_range(3..=8);
        // The same all the time: what an oscillator has jumped stays, and after a restart that is what its
        // machine believes.
        let jumpers = members_with_jumps(&mut rng, clients);
        let episodes = (length.as_nanos() / EPISODE.as_nanos()).max(1);
        let (mut faults, mut quiet) = (Vec::new(), Vec::new());
        for begin in (0..episodes).map(|number| EPISODE.times(number)) {
            let span = Span::from_secs(rng.random_range(120..=300));
            let mut episode = vec![(Span::ZERO, Fault::Impairments(random_impairments(&mut rng)))];
            for _ in 0..rng.random_range(2..=10) {
                add_fault(&mut rng, clients, &jumpers, span, &mut episode);
            }
            let changed = episode.iter().filter_map(|(_, fault)| undone(fault)).collect::<Vec<_>>();
            episode.extend(changed.into_iter().map(|fault| (span, fault)));
            episode.push((span, Fault::Impairments(Impairments::default())));
            faults.extend(episode.into_iter().map(|(at, fault)| (begin + at, fault)));
            quiet.push(begin + span);
        }
        let default = Scenario::default();
        let scenario = Scenario {
            seed: Seed(seed),
            clients,
            // For months no operator sets these machines' clocks: the processes need a state file to know
            // the time.
            process: ProcessModel { keeps: true, ..default.process },
            faults,
            duration: EPISODE.times(episodes),
            settle: EPISODE.half(),
            ..default
        };
        Soak { scenario, recoveries: Recoveries { quiet, ..Recoveries::default() } }
    }
}

impl Observer for Recoveries {
    fn sampled(&mut self, sample: &Sample) {
        let together = sample.disagreement().is_some_and(|apart| apart <= TOGETHER);
        self.since = if together { self.since.or(Some(sample.at)) } else { None };
        let end = EPISODE.times(self.episodes as i64 + 1);
        if sample.at < end {
            return;
        }
        let quiet = self.quiet.get(self.episodes).copied().unwrap_or(end);
        match self.since {
            Some(since) => self.slowest = self.slowest.max(since - quiet),
            None => self.failed.push(sample.at),
        }
        self.episodes += 1;
    }
}

/// What has to be undone at the end of an episode, so that months of them do not add up to an oscillator that
/// there is not.
fn undone(fault: &Fault) -> Option<Fault> {
    match fault {
        Fault::FrequencyStep(member, by) => {
            Some(Fault::FrequencyStep(*member, Frequency::from_ratio(-by.ratio())))
        }
        _ => None,
    }
}

/// One thing that goes wrong, and is made right before the quiet time begins.
fn add_fault(
    rng: &mut ChaCha8Rng,
    clients: usize,
    jumpers: &[MemberIndex],
    quiet: Span,
    faults: &mut Vec<(Span, Fault)>,
) {
    let from = quiet.scaled(rng.random_range(0.05..0.95));
    let until = (from + Span::from_secs(60).scaled(rng.random())).min(quiet);
    let member = MemberIndex::at(rng.random_range(0..=clients), clients, 1);
    let client = MemberIndex::client(rng.random_range(1..=clients));
    let (wrong, right) = match rng.random_range(0..8) {
        0 => (Fault::Crash(client), Some(Fault::Start(client))),
        1 => (Fault::Crash(MemberIndex::SERVER), Some(Fault::Start(MemberIndex::SERVER))),
        2 => (Fault::Shutdown(member), Some(Fault::Start(member))),
        3 => (Fault::Pause(member), Some(Fault::Resume(member))),
        4 => (Fault::Cut(client.into(), random_directions(rng)), Some(Fault::Heal(client.into()))),
        5 | 6 => (Fault::Jump(jumpers[rng.random_range(0..jumpers.len())], random_jump(rng)), None),
        _ => (Fault::FrequencyStep(member, Frequency::from_ppm(rng.random_range(-50.0..50.0))), None),
    };
    faults.push((from, wrong));
    faults.extend(right.map(|right| (until, right)));
}

/// Whose clocks may jump: one or two members, never so many that those whose clocks were always right could
/// be outvoted. If all members lost the time at once, they would have to agree on it anew.
fn members_with_jumps(rng: &mut ChaCha8Rng, clients: usize) -> Vec<MemberIndex> {
    let first = rng.random_range(0..=clients);
    let second = (first + rng.random_range(1..=clients)) % (clients + 1);
    let most = if clients >= 4 { 2 } else { 1 };
    [first, second].into_iter().take(most).map(|place| MemberIndex::at(place, clients, 1)).collect()
}

fn random_impairments(rng: &mut ChaCha8Rng) -> Impairments {
    Impairments {
        loss: rng.random_range(0.0..0.4),
        duplication: rng.random_range(0.0..0.2),
        reordering: rng.random_range(0.0..0.2),
        corruption: rng.random_range(0.0..0.02),
    }
}

fn random_directions(rng: &mut ChaCha8Rng) -> Directions {
    [Directions::ToClient, Directions::ToServer, Directions::Both][rng.random_range(0..3)]
}

/// From 100 µs to three hours, either way, every order of magnitude alike.
fn random_jump(rng: &mut ChaCha8Rng) -> Span {
    let size = 10_f64.powf(rng.random_range(-4.0..4.0));
    Span::from_secs_f64(if rng.random() { size } else { -size })
}

/// Five minutes of faults at most, then what a cluster with rounds of five seconds needs to recover, and a
/// while.
const EPISODE: Span = Span::from_secs(1_800);
/// Clocks this close have recovered; as in the tests of single worlds of faults.
const TOGETHER: Span = Span::from_micros(200);
/// Longer than a deposition (24 rounds) after a lost membership, an election and a few lost rounds.
const RECOVERY_ROUNDS: i64 = 120;
/// What is not stepped is slewed at 500 ppm: 128 ms take 256 s.
const SLEWING: Span = Span::from_secs(300);
