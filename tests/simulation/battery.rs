//! Single faults in a settled cluster: what they do to the other members.
//!
//! Eight clients, one exchange a round on the 20 µs link, 20 % loss. The worst good client stays within
//! 20 µs of the others; a server that was wrong is back within 30 s.

use meantime_core::time::{Frequency, Span};
use meantime_sim::{Fault, Lie, MemberIndex, Sample};

use crate::support::{Running, battery, distance, s, sampled_seeds, settled, us, worst_client};

const WORST: Span = us(20);
const BACK: Span = s(30);
/// A server is back when it is no farther off than a good client may be.
const CLOSE: Span = us(20);
const LAST: MemberIndex = MemberIndex::client(8);

/// Something happens to the server after half an hour.
fn server_fault(fault: &Fault) {
    for seed in sampled_seeds(0..4, 2) {
        let scenario = battery(seed);
        let _running = Running(&scenario);
        let mut simulation = settled(&scenario, s(1_800));
        simulation.inject(fault.clone());
        let (mut worst, mut away) = (Span::ZERO, Span::ZERO);
        simulation.run_for(s(1_800), &mut |sample: &Sample| {
            worst = worst.max(sample.worst(|member| member != MemberIndex::SERVER).unwrap());
            if distance(sample, MemberIndex::SERVER).unwrap() > CLOSE {
                away = sample.at - s(1_800);
            }
        });
        assert!(worst <= WORST, "seed {seed}: a good client was {worst} off");
        assert!(away <= BACK, "seed {seed}: the server was away until {away}");
    }
}

#[test]
fn a_server_that_jumps_an_hour_moves_no_other_clock() {
    server_fault(&Fault::Jump(MemberIndex::SERVER, s(3_600)));
}

#[ignore = "long: scripts/check.sh runs it"]
#[test]
fn a_server_that_jumps_ten_milliseconds_moves_no_other_clock() {
    server_fault(&Fault::Jump(MemberIndex::SERVER, Span::from_millis(10)));
}

#[ignore = "long: scripts/check.sh runs it"]
#[test]
fn a_server_that_jumps_two_hundred_microseconds_moves_no_other_clock() {
    server_fault(&Fault::Jump(MemberIndex::SERVER, us(200)));
}

#[ignore = "long: scripts/check.sh runs it"]
#[test]
fn a_server_whose_oscillator_goes_150_ppm_wrong_moves_no_other_clock() {
    server_fault(&Fault::FrequencyStep(MemberIndex::SERVER, Frequency::from_ppm(150.0)));
}

/// Something happens to one client after half an hour.
fn client_fault(fault: &Fault) {
    for seed in sampled_seeds(0..4, 2) {
        let scenario = battery(seed);
        let _running = Running(&scenario);
        let mut simulation = settled(&scenario, s(1_800));
        simulation.inject(fault.clone());
        let worst = worst_client(&mut simulation, s(1_800), |member| member != LAST);
        assert!(worst <= WORST, "seed {seed}: a good client was {worst} off");
        let last = distance(simulation.sample(), LAST).unwrap();
        assert!(last <= us(40), "seed {seed}: after half an hour the client is still {last} off");
    }
}

#[ignore = "long: scripts/check.sh runs it"]
#[test]
fn a_client_that_jumps_an_hour_moves_no_other_clock_and_comes_back() {
    client_fault(&Fault::Jump(LAST, s(3_600)));
}

#[ignore = "long: scripts/check.sh runs it"]
#[test]
fn a_client_whose_oscillator_goes_150_ppm_wrong_moves_no_other_clock_and_comes_back() {
    client_fault(&Fault::FrequencyStep(LAST, Frequency::from_ppm(150.0)));
}

/// One client, then four of eight, tell a lie for an hour from the middle of a run on.
fn lie(lie: Lie) {
    for (seed, liars) in sampled_seeds(0..3, 1).into_iter().flat_map(|seed| [(seed, 1), (seed, 4)]) {
        let scenario = battery(seed);
        let _running = Running(&scenario);
        let mut simulation = settled(&scenario, s(1_800));
        for liar in 9 - liars..=8 {
            simulation.inject(Fault::Lie(MemberIndex::client(liar), lie));
        }
        let worst = worst_client(&mut simulation, s(3_600), |_| true);
        assert!(worst <= WORST, "seed {seed}, {liars} liars: a good client was {worst} off");
    }
}

#[test]
fn constant_liars_move_no_other_clock() {
    lie(Lie::Constant(s(1)));
}

#[ignore = "long: scripts/check.sh runs it"]
#[test]
fn random_liars_move_no_other_clock() {
    lie(Lie::Random(s(1)));
}

#[ignore = "long: scripts/check.sh runs it"]
#[test]
fn two_faced_liars_move_no_other_clock() {
    lie(Lie::TwoFaced(us(500)));
}

#[ignore = "long: scripts/check.sh runs it"]
#[test]
fn boiling_frogs_move_no_other_clock() {
    lie(Lie::Frog(Frequency::from_ppm(1.0)));
}

#[ignore = "long: scripts/check.sh runs it"]
#[test]
fn liars_at_the_edge_of_the_window_move_no_other_clock() {
    lie(Lie::Edge(0.9));
}

#[ignore = "long: scripts/check.sh runs it"]
#[test]
fn liars_about_frequency_move_no_other_clock() {
    lie(Lie::Frequency(Frequency::from_ppm(25.0)));
    lie(Lie::Frequency(Frequency::from_ppm(500.0)));
}

#[ignore = "long: scripts/check.sh runs it"]
#[test]
fn liars_who_hold_their_reports_back_move_no_other_clock() {
    lie(Lie::Delayed(Span::from_millis(20)));
}
