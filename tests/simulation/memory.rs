//! What a node keeps of its oscillator's frequency over restarts: what it is good for, and that a wrong one
//! does no harm.

use meantime_core::saved_state::{self, Boot};
use meantime_core::time::{Frequency, Span};
use meantime_sim::machine::ProcessModel;
use meantime_sim::scenario::ClockOverride;
use meantime_sim::{Fault, MemberIndex, Sample, Scenario, Simulation};

use crate::support::{Running, distance, s, sampled_seeds, seeds, settled, us};

/// How long all members, or the server, are away.
const AWAY: Span = s(60);

fn scenario(seed: u64) -> Scenario {
    Scenario { clients: 5, ..Scenario::seeded(seed) }
}

/// What a member would have saved by now, as it will be when the member is back.
fn saved_frequency(simulation: &mut Simulation, member: MemberIndex) -> (Frequency, Frequency) {
    let reading = simulation.world().read(member).unwrap();
    let error = reading.frequency_error.unwrap();
    assert!(saved_state::is_worth_saving(error), "{member}: {:?} ± {error:?}", reading.frequency);
    (reading.frequency, saved_state::aged(error, AWAY, Boot::Same))
}

/// The server dies and is started again; then `what` is what has become of its saved frequency.
fn restart(simulation: &mut Simulation, what: Option<(Frequency, Frequency)>) {
    simulation.inject(Fault::Crash(MemberIndex::SERVER));
    simulation.run_for(AWAY, &mut ());
    if let Some((frequency, error)) = what {
        simulation.world().machine_mut(MemberIndex::SERVER).remember(frequency, error);
    }
    simulation.inject(Fault::Start(MemberIndex::SERVER));
}

/// Runs for so long; the worst distance of the server's clock, once it has the time, from its clients'
/// median.
fn worst_server(simulation: &mut Simulation, span: Span) -> Span {
    let mut worst = Span::ZERO;
    simulation.run_for(span, &mut |sample: &Sample| {
        let server = sample.clocks[0].filter(|clock| clock.state.has_cluster_time());
        let mut clients: Vec<Span> = sample
            .synchronized()
            .filter(|(member, _)| *member != MemberIndex::SERVER)
            .map(|(_, off)| off)
            .collect();
        clients.sort_unstable();
        worst =
            worst.max(server.map_or(Span::ZERO, |server| (server.off - clients[clients.len() / 2]).abs()));
    });
    worst
}

#[ignore = "long: scripts/check.sh runs it"]
#[test]
fn a_server_knows_how_well_it_knows_its_frequency() {
    for seed in sampled_seeds(0..20, 6) {
        let scenario = scenario(seed);
        let _running = Running(&scenario);
        let mut simulation = settled(&scenario, s(3_600));
        let (before, error) = saved_frequency(&mut simulation, MemberIndex::SERVER);
        assert!((0.1..0.5).contains(&error.ppm()), "seed {seed}: {error:?}");
        restart(&mut simulation, None);
        simulation.run_for(s(140), &mut ());
        let after = simulation.world().read(MemberIndex::SERVER).unwrap();
        let learned = after.frequency_error.unwrap();
        let apart = (after.frequency - before).ratio().abs();
        let expected = error.ratio().hypot(learned.ratio());
        println!("seed {seed}: {} ppb apart, {} expected", apart * 1e9, expected * 1e9);
        assert!(apart < 4.0 * expected, "seed {seed}: {apart} apart, {expected} expected");
    }
}

#[ignore = "long: scripts/check.sh runs it"]
#[test]
fn a_server_that_kept_its_frequency_is_close_to_its_members_from_the_first_round() {
    let (mut with, mut without) = (Span::ZERO, Span::ZERO);
    for seed in sampled_seeds(0..10, 4) {
        let scenario = scenario(seed);
        let _running = Running(&scenario);
        let mut simulation = settled(&scenario, s(3_600));
        restart(&mut simulation, None);
        without = without.max(worst_server(&mut simulation, s(120)));
        let mut simulation = settled(&scenario, s(3_600));
        let known = saved_frequency(&mut simulation, MemberIndex::SERVER);
        restart(&mut simulation, Some(known));
        with = with.max(worst_server(&mut simulation, s(120)));
    }
    println!("at most {with} from the members with a saved frequency, {without} without");
    assert!(with < us(30), "{with}");
    assert!(without > us(200), "{without}: it gains nothing");
}

#[ignore = "long: scripts/check.sh runs it"]
#[test]
fn a_wrong_frequency_does_the_members_no_harm() {
    for seed in sampled_seeds(0..3, 1) {
        for wrong_by in [0.3, -1.0, 3.0, -10.0, 30.0, -100.0, 300.0] {
            let scenario = scenario(seed);
            let _running = Running(&scenario);
            let mut simulation = settled(&scenario, s(3_600));
            let (frequency, error) = saved_frequency(&mut simulation, MemberIndex::SERVER);
            let before = simulation.sample().clone().cluster().unwrap();
            restart(&mut simulation, Some((frequency + Frequency::from_ppm(wrong_by), error)));
            let mut worst = Span::ZERO;
            simulation.run_for(s(900), &mut |sample: &Sample| {
                worst = worst.max(sample.worst(|member| member != MemberIndex::SERVER).unwrap_or(Span::MAX));
            });
            let apart = simulation.sample().disagreement().unwrap();
            let after = simulation.sample().clone().cluster().unwrap();
            let rate = (after - before).as_secs_f64() / (AWAY + s(900)).as_secs_f64();
            let now = simulation.world().read(MemberIndex::SERVER).unwrap();
            println!(
                "seed {seed}, wrong by {wrong_by} ppm: members at most {worst} apart, {apart} in the end, rate {:.1} \
                 ppb from true time, frequency off by {:.1} ppb",
                rate * 1e9,
                (now.frequency - frequency).ppb()
            );
            assert!(worst < us(100), "seed {seed}, wrong by {wrong_by} ppm: a client was {worst} off");
            assert!(apart < us(100), "seed {seed}, wrong by {wrong_by} ppm: {apart} apart in the end");
        }
    }
}

/// All machines lose power and come back; the largest disagreement from ten seconds after that on, for two
/// minutes.
fn island_restarts(seed: u64, kept_by: impl Fn(MemberIndex) -> bool) -> Span {
    let scenario = scenario(seed);
    let _running = Running(&scenario);
    let mut simulation = settled(&scenario, s(3_600));
    for member in scenario.members() {
        let (frequency, error) = saved_frequency(&mut simulation, member);
        if kept_by(member) {
            simulation.world().machine_mut(member).remember(frequency, error);
        }
        simulation.inject(Fault::Crash(member));
    }
    simulation.run_for(AWAY, &mut ());
    scenario.members().for_each(|member| simulation.inject(Fault::Start(member)));
    simulation.run_for(s(10), &mut ());
    let mut worst = Span::ZERO;
    simulation.run_for(s(120), &mut |sample: &Sample| {
        worst = worst.max(sample.disagreement().unwrap_or(Span::MAX));
    });
    worst
}

#[ignore = "long: scripts/check.sh runs it"]
#[test]
fn after_a_power_cut_of_all_machines_what_was_kept_helps_if_the_server_kept_it_too_and_harms_no_clock() {
    let largest = |kept_by: fn(MemberIndex) -> bool| {
        seeds(0..5).into_iter().map(|seed| island_restarts(seed, kept_by)).max().unwrap()
    };
    let all = largest(|_| true);
    let clients = largest(|member| member != MemberIndex::SERVER);
    let none = largest(|_| false);
    println!("at most {all} apart if all have one, {clients} if only clients have one, {none} if none does");
    assert!(all.times(2) < none, "{all}, {none}: it gains nothing");
    assert!(clients < none.times(2), "{clients}, {none}");
}

/// A client of a running cluster is started again, with its frequency wrong by so many ppm, or without one:
/// its worst distance from the others in the first half minute, and in the second.
fn client_restarts(seed: u64, wrong_by: Option<f64>) -> [Span; 2] {
    const BACK: MemberIndex = MemberIndex::client(2);
    // Who knows nothing of it is far off within a second.
    let clocks =
        vec![(BACK, ClockOverride { drift: Some(Frequency::from_ppm(90.0)), ..ClockOverride::default() })];
    let scenario = Scenario { clocks, ..scenario(seed) };
    let _running = Running(&scenario);
    let mut simulation = settled(&scenario, s(900));
    let (frequency, error) = saved_frequency(&mut simulation, BACK);
    simulation.inject(Fault::Crash(BACK));
    if let Some(ppm) = wrong_by {
        let wrong = frequency + Frequency::from_ppm(ppm);
        simulation.world().machine_mut(BACK).remember(wrong, error);
    }
    simulation.inject(Fault::Start(BACK));
    [(); 2].map(|()| {
        let mut worst = Span::ZERO;
        simulation.run_for(s(30), &mut |sample: &Sample| {
            let synchronized = sample.synchronized().any(|(member, _)| member == BACK);
            worst = worst.max(distance(sample, BACK).filter(|_| synchronized).unwrap_or_default());
            let beyond = sample.beyond_bounds().unwrap_or(-Span::MAX);
            assert!(
                beyond <= Span::ZERO,
                "seed {seed}, wrong by {wrong_by:?} ppm: {beyond} beyond its bound"
            );
        });
        worst
    })
}

/// As long as a client needs at most to notice that its saved frequency is wrong.
const NOTICED_WITHIN: Span = s(2);

#[ignore = "long: scripts/check.sh runs it"]
#[test]
fn a_client_notices_a_wrong_frequency_within_two_seconds() {
    let largest = |wrong_by| {
        let worst: Vec<_> =
            sampled_seeds(0..5, 2).into_iter().map(|seed| client_restarts(seed, wrong_by)).collect();
        [0, 1].map(|half| worst.iter().map(|halves| halves[half]).max().unwrap())
    };
    let none = largest(None);
    let right = largest(Some(0.0));
    println!("off by at most {right:?} with a right frequency, {none:?} without one");
    assert!(right[0].times(4) < none[0], "{right:?}, {none:?}: it gains nothing");
    for wrong_by in [0.3, -1.0, 3.0, -10.0, 30.0, -100.0_f64] {
        let wrong = largest(Some(wrong_by));
        println!("wrong by {wrong_by} ppm: {wrong:?}");
        // Besides, the first burst leaves it 20 µs off, as the scatter of delays does.
        let harm = NOTICED_WITHIN.scaled(wrong_by.abs() * 1e-6);
        assert!(wrong[0] < us(20) + harm, "wrong by {wrong_by} ppm: {wrong:?}");
        assert!(wrong[1] < us(20), "wrong by {wrong_by} ppm: {wrong:?}");
    }
}

/// A cluster whose machines' clocks came to be minutes apart, as clocks do that are not set for months, and
/// whose processes all end and start again: how far the cluster's time has moved over that against the truth,
/// if the clocks agree on one.
fn processes_restart(seed: u64, keeps: bool) -> Option<Span> {
    let default = scenario(seed);
    let faults = default.members().map(|member| {
        let index = member.place(default.clients) as i64;
        // One after the other, and each is put right by the others.
        (s(900 + 300 * index), Fault::Jump(member, s(if index % 2 == 0 { 90 } else { -70 }).times(index + 1)))
    });
    let scenario =
        Scenario { faults: faults.collect(), process: ProcessModel { keeps, ..default.process }, ..default };
    let _running = Running(&scenario);
    let mut simulation = settled(&scenario, s(3_600));
    let before = simulation.sample().clone().cluster().expect("a cluster");
    scenario.members().for_each(|member| simulation.inject(Fault::Crash(member)));
    simulation.run_for(AWAY, &mut ());
    scenario.members().for_each(|member| simulation.inject(Fault::Start(member)));
    simulation.run_for(s(60), &mut ());
    let mut sample = simulation.sample().clone();
    if sample.synchronized().count() == 0 {
        return None;
    }
    let apart = sample.disagreement();
    assert!(apart.is_some_and(|apart| apart < us(200)), "seed {seed}: {apart:?} apart");
    Some(sample.cluster()? - before)
}

#[ignore = "long: scripts/check.sh runs it"]
#[test]
fn a_cluster_whose_processes_all_start_again_goes_on_from_its_own_time_if_that_was_kept() {
    for seed in seeds(0..5) {
        assert_eq!(processes_restart(seed, false), None, "seed {seed}: machines' clocks are minutes apart");
        let moved = processes_restart(seed, true).expect("agreement");
        println!("seed {seed}: the cluster's time moved by {moved}");
        // Two minutes at the cluster's rate, which is not the truth's by up to 100 ppm, and what a minute
        // alone has cost.
        assert!(moved.abs() < s(120).scaled(100e-6) + Span::from_millis(1), "seed {seed}: {moved}");
    }
}
