//! An on-path attacker without a key on one client's path: it can delay datagrams, and so move that client's
//! clock within its bound, and it can cut the client off. It can do nothing else, and nothing to other
//! members.

use meantime_core::time::{Frequency, Span};
use meantime_core::wire::ClientState;
use meantime_sim::{Attack, Directions, Fault, MemberIndex, Sample, Scenario, Simulation};

use crate::support::{Running, distance, s, sampled_seeds, seeds, us};

/// Who stands in the way.
const VICTIM: MemberIndex = MemberIndex::client(3);

/// Five clients with keys, and an attacker on the path of the third from the second minute to the twentieth.
fn intruded(seed: u64, attack: Attack) -> Scenario {
    let faults =
        vec![(s(120), Fault::Attack(VICTIM.into(), attack)), (s(1_200), Fault::EndAttack(VICTIM.into()))];
    Scenario { clients: 5, keys: true, duration: s(1_800), faults, ..Scenario::seeded(seed) }
}

/// The same in a cluster that has settled, whose rate is not steered much any more, for ten minutes; and what
/// takes longer than 2 ms is not believed.
fn later(seed: u64, attack: Attack) -> Scenario {
    let faults =
        vec![(s(2_400), Fault::Attack(VICTIM.into(), attack)), (s(3_000), Fault::EndAttack(VICTIM.into()))];
    Scenario { duration: s(3_600), faults, max_delay: us(2_000), ..intruded(seed, attack) }
}

/// What a run has shown.
#[derive(Default)]
struct Shown {
    /// The largest distance of the victim from the others, and of the others from one another, after the
    /// second minute.
    victim: Span,
    others: Span,
    /// The same at the end.
    victim_at_last: Span,
    /// The victim's while it was synchronized.
    believing: Span,
    /// Whether the victim was in holdover, and how it stood at the end.
    holdover: bool,
    state: ClientState,
}

/// Runs it. At no moment may a good clock be outside of what it guarantees, nor the time of one that had it
/// be lost.
fn run(scenario: &Scenario) -> Shown {
    let _running = Running(scenario);
    let mut shown = Shown::default();
    Simulation::new(scenario).run_until(scenario.duration, &mut |sample: &Sample| {
        let beyond = sample.beyond_bounds().unwrap_or_default();
        assert!(beyond <= Span::ZERO, "at {}: {beyond} beyond the bounds: {:?}", sample.at, sample.clocks);
        if sample.at <= s(120) {
            return;
        }
        let victim = sample.clock(VICTIM).expect("it runs");
        assert!(victim.state.has_cluster_time(), "at {}: {victim:?}", sample.at);
        shown.holdover |= victim.state == ClientState::Holdover;
        shown.state = victim.state;
        shown.victim_at_last = distance(sample, VICTIM).expect("the others are synchronized");
        shown.victim = shown.victim.max(shown.victim_at_last);
        if victim.state == ClientState::Synchronized && !shown.holdover {
            shown.believing = shown.believing.max(shown.victim_at_last);
        }
        let others = sample.worst(|member| member != VICTIM).expect("they are synchronized");
        shown.others = shown.others.max(others);
    });
    shown
}

#[ignore = "long: scripts/check.sh runs it"]
#[test]
fn whatever_he_does_no_clock_leaves_its_bound_and_the_others_do_not_notice() {
    for seed in sampled_seeds(0..12, 4) {
        let shown = run(&intruded(seed, Attack::Random));
        assert!(shown.others < us(300), "seed {seed}: the others are {} apart", shown.others);
        assert!(shown.victim_at_last < us(300), "seed {seed}: {} after the attack", shown.victim_at_last);
        assert_eq!(shown.state, ClientState::Synchronized, "seed {seed}");
    }
}

#[ignore = "long: scripts/check.sh runs it"]
#[test]
fn with_a_short_accepted_delay_chaos_moves_a_clock_by_half_of_it_at_most() {
    for seed in sampled_seeds(0..8, 3) {
        let shown = run(&Scenario { max_delay: us(2_000), ..intruded(seed, Attack::Random) });
        // Half of the delay, and what a good crystal of which the frequency is known drifts meanwhile.
        assert!(shown.victim < us(1_000 + 200), "seed {seed}: {}", shown.victim);
        assert!(shown.others < us(300), "seed {seed}: {}", shown.others);
    }
}

#[ignore = "long: scripts/check.sh runs it"]
#[test]
fn a_client_that_meets_him_from_the_first_moment_on_is_right_or_has_no_time() {
    for seed in sampled_seeds(0..8, 3) {
        let mut scenario = intruded(seed, Attack::Random);
        scenario.faults[0].0 = Span::ZERO;
        scenario.max_delay = us(5_000);
        let _running = Running(&scenario);
        Simulation::new(&scenario).run_until(scenario.duration, &mut |sample: &Sample| {
            let beyond = sample.beyond_bounds().unwrap_or_default();
            assert!(beyond <= Span::ZERO, "at {}: {beyond} beyond the bounds", sample.at);
            let victim = sample.clock(VICTIM).is_some_and(|clock| clock.state.has_cluster_time());
            if let Some(distance) = distance(sample, VICTIM).filter(|_| victim && sample.at > s(60)) {
                assert!(distance < us(5_000), "at {}: {distance}", sample.at);
            }
        });
    }
}

#[test]
fn old_datagrams_leave_a_client_in_holdover_on_what_it_has_learned() {
    for seed in seeds(0..4) {
        let shown = run(&later(seed, Attack::Replay));
        assert!(shown.holdover, "seed {seed}: it believed what was old");
        assert!(shown.victim < us(1_500), "seed {seed}: {}", shown.victim);
        assert!(shown.others < us(300) && shown.victim_at_last < us(300), "seed {seed}");
        assert_eq!(shown.state, ClientState::Synchronized, "seed {seed}");
    }
}

#[test]
fn delays_move_a_clock_by_half_of_them_and_no_further_than_half_of_what_is_accepted() {
    for seed in seeds(0..3) {
        // Too slow to be noticed: 3 µs a second, until it is more than is accepted.
        let creep = Attack::GrowingDelay(Directions::ToClient, Frequency::from_ppm(3.0));
        let shown = run(&Scenario { max_delay: us(1_000), ..intruded(seed, creep) });
        assert!(shown.believing > us(350), "seed {seed}: that is no attack: {}", shown.believing);
        assert!(shown.believing < us(500 + 50), "seed {seed}: {}", shown.believing);
        assert!(shown.others < us(300), "seed {seed}: {}", shown.others);
    }
}

/// A growing delay teaches a frequency; in holdover on it, the bound covers its effect.
#[ignore = "long: scripts/check.sh runs it"]
#[test]
fn a_clock_that_was_taught_a_wrong_frequency_by_growing_delays_stays_within_its_bound() {
    for seed in seeds(0..2) {
        for (ppm, accepted, begin) in
            [(3.0, us(1_000), s(120)), (10.0, us(20_000), s(1)), (10.0, us(20_000), s(1_800))]
        {
            let creep = Attack::GrowingDelay(Directions::ToClient, Frequency::from_ppm(ppm));
            let faults = vec![(begin, Fault::Attack(VICTIM.into(), creep))];
            let scenario = Scenario {
                clients: 3,
                keys: true,
                duration: s(12_000),
                faults,
                max_delay: accepted,
                ..Scenario::seeded(seed)
            };
            let _running = Running(&scenario);
            let mut holdover = false;
            Simulation::new(&scenario).run_until(scenario.duration, &mut |sample: &Sample| {
                let beyond = sample.beyond_bounds().unwrap_or_default();
                assert!(beyond <= Span::ZERO, "{ppm} ppm from {begin}: {beyond} beyond at {}", sample.at);
                let victim = sample.clock(VICTIM).expect("it runs");
                holdover |= victim.state == ClientState::Holdover;
            });
            assert!(holdover, "{ppm} ppm from {begin}: the delays were never too long");
        }
    }
}

#[test]
fn what_is_forged_moves_a_clock_without_keys_and_nothing_with_them() {
    for seed in seeds(0..3) {
        let forge = later(seed, Attack::Forge(Span::from_millis(50)));
        let shown = run(&forge);
        assert!(shown.holdover && shown.victim < us(1_500), "seed {seed}: {}", shown.victim);
        assert!(shown.victim_at_last < us(300), "seed {seed}: {}", shown.victim_at_last);
        let mut believed = Span::ZERO;
        let scenario = Scenario { keys: false, ..forge };
        Simulation::new(&scenario).run_until(s(2_900), &mut |sample: &Sample| {
            believed = distance(sample, VICTIM).unwrap_or_default();
        });
        assert!((believed - Span::from_millis(50)).abs() < us(300), "seed {seed}: {believed}");
    }
}

#[test]
fn liars_with_keys_are_left_out_as_others_are() {
    for seed in seeds(0..3) {
        let scenario = Scenario { clients: 5, liars: 2, keys: true, ..Scenario::seeded(seed) };
        let _running = Running(&scenario);
        let summary = Simulation::new(&scenario).run();
        assert!(summary.spreads.max() < Some(us(300)), "seed {seed}: {:?}", summary.spreads.max());
    }
}
