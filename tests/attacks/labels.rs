//! Attackers that claim labels. A label lowers the weight of those that have it, and no other.

use meantime_core::event::ServerEvent;
use meantime_core::time::Span;
use meantime_core::wire::{ClientState, Name};
use meantime_core::{ClientConfig, ServerConfig};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::attacker::Plan;
use crate::island::{Island, NOISE, s};

/// Four good clients with these labels.
fn good(labels: [&str; 4]) -> Vec<ClientConfig> {
    let client = |(index, label): (usize, &str)| {
        let name = Name::new(&format!("good-{index}"));
        ClientConfig { name, label: Name::new(label), ..ClientConfig::default() }
    };
    labels.into_iter().enumerate().map(client).collect()
}

/// An island with good clients of these labels, and machines that claim those, each with so many sessions.
fn attacked(labels: [&str; 4], bad: &[&str], sessions: usize) -> Island {
    let mut island = Island::with_clients(ServerConfig::default(), good(labels));
    for (machine, label) in bad.iter().enumerate() {
        let label = Some(Name::new(label)).filter(|label| *label != Name::default());
        let plan = Plan { label, jump: Some((s(120), s(10))), ..Plan::default() };
        (0..sessions).for_each(|_| island.attacker.add(&format!("198.51.{machine}.1"), plan));
    }
    island.run(115);
    island.mark_synchronized();
    island.run(60);
    island
}

/// g = 9: the server and four good machines; f = 4 that claim the label of one of these, or one each.
/// Together with it they have one vote, so a good group loses at most what a bad one gives up.
#[test]
fn false_labels_do_not_help_four_of_nine_groups() {
    let own = ["a", "b", "c", "d"];
    for bad in [["a"; 4], own, ["a", "a", "b", ""], ["x"; 4]] {
        for sessions in [1, 5] {
            let island = attacked(own, &bad, sessions);
            assert!(island.moved() < NOISE, "{bad:?} × {sessions}: {}", island.moved());
            assert_eq!(island.named(), 4, "{bad:?} × {sessions}");
            assert!(island.no_good_clock_is_named(), "{bad:?} × {sessions}");
        }
    }
}

/// A true label makes four good machines one group: with the server g = 3 for one bad machine, and 5 for
/// three bad ones, which are more than half.
#[test]
fn the_machines_of_one_label_are_one_group() {
    let rack = ["rack"; 4];
    let island = attacked(rack, &[""], 5);
    assert!(island.moved() < NOISE, "{}", island.moved());
    assert!(island.named() == 1 && island.no_good_clock_is_named());
    // Those that claim the label are of that group.
    let island = attacked(rack, &["rack", "rack", "rack"], 1);
    assert!(island.moved() < NOISE, "{}", island.moved());
    assert!(island.named() == 3 && island.no_good_clock_is_named());
    let island = attacked(rack, &["", "", ""], 1);
    assert!((island.moved() - s(10)).abs() < Span::from_millis(50), "{}", island.moved());
    assert_eq!(island.count(|event| matches!(event, ServerEvent::Deposed { .. })), 1);
}

/// g = 9, f = 4. The bad machines choose how many sessions they have, and what each claims and does.
fn whatever_they_do(seed: u64) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut island = Island::with_clients(ServerConfig::default(), good(["a", "", "c", "d"]));
    for machine in 0..4 {
        for _ in 0..rng.random_range(1..8) {
            let label = ["", "a", "c", "d", "x", "y"][rng.random_range(0..6)];
            let by = Span::from_nanos(10_i64.pow(rng.random_range(3..13)));
            let at = s(rng.random_range(0..400));
            let jumps = [None, Some((at, by)), Some((s(240), s(7))), Some((at, -by))];
            let states = [None, None, None, Some(ClientState::Holdover), Some(ClientState::Unsynchronized)];
            let plan = Plan {
                begin: s(rng.random_range(0..120)),
                jump: jumps[rng.random_range(0..4)],
                state: states[rng.random_range(0..5)],
                late: rng.random_bool(0.2).then_some((at, [Span::ZERO, Span::from_millis(100)])),
                label: Some(Name::new(label)).filter(|label| *label != Name::default()),
                ..Plan::default()
            };
            island.attacker.add(&format!("198.51.{machine}.1"), plan);
        }
    }
    island.run(235);
    island.mark_synchronized();
    island.run(200);
    assert!(island.moved() < NOISE, "seed {seed}: {}", island.moved());
    assert!(island.no_good_clock_is_named(), "seed {seed}");
}

#[test]
fn whatever_four_of_nine_groups_do_no_good_clock_is_moved() {
    (0..3).for_each(whatever_they_do);
}

#[ignore = "long: scripts/check.sh runs it"]
#[test]
fn whatever_four_of_nine_groups_do_no_good_clock_is_moved_in_forty_worlds() {
    (0..40).for_each(whatever_they_do);
}
