//! Attackers at a server that has restarted.

use meantime_core::event::{Outcome, ServerEvent, UndecidedReason};
use meantime_core::saved_state::KeptTime;
use meantime_core::time::Span;
use meantime_core::wire::{ClientState, ClusterId, Name};
use meantime_core::{ClockReading, ServerConfig};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::attacker::Plan;
use crate::island::{Island, KEY, NOISE, keyed, master, s};

/// Three good clients, and bad ones of so many groups that come when the server restarts, and say that they
/// have the cluster's time, off by so much from the time that they should have.
struct Restart {
    island: Island,
    bad: usize,
    off: Span,
}

impl Restart {
    fn new(config: ServerConfig, bad: usize, off: Span) -> Restart {
        let mut island = Island::new(config, 3);
        island.run(60);
        Restart { island, bad, off }
    }

    /// The bad ones register, and the server restarts.
    fn restart(&mut self, config: ServerConfig, server_ahead: Span, key_names: Option<&[&str]>) {
        let plan = Plan {
            begin: self.island.now(),
            ahead: ahead(&mut self.island) + self.off,
            state: Some(ClientState::Synchronized),
            cluster: Some(self.island.server.node.cluster()),
            ..Plan::default()
        };
        for k in 0..self.bad {
            let address = format!("198.51.{k}.1");
            match key_names {
                Some(names) => {
                    let key = master().node(&Name::new(names[k]));
                    self.island.attacker.add_keyed(&address, names[k], Some((KEY, key)), plan);
                }
                None => self.island.attacker.add(&address, plan),
            }
        }
        self.island.restart(config, server_ahead);
    }

    /// The time that the server has kept over its restart, and its configuration.
    fn keeping(&mut self, config: ServerConfig) -> (ServerConfig, Span) {
        let kept = kept(&mut self.island, Span::from_micros(100));
        (ServerConfig { kept: Some(kept), ..config }, ahead(&mut self.island) + Span::from_micros(30))
    }
}

/// What cluster time is ahead of true time.
fn ahead(island: &mut Island) -> Span {
    let at = island.now();
    island.ahead(at)[0].expect("the cluster has a time")
}

/// What the server keeps of the time that its clock shows now.
fn kept(island: &mut Island, error: Span) -> KeptTime {
    let at = island.now();
    let ClockReading { cluster, manual_adjustment, .. } = island.server.read(at);
    KeptTime { cluster, manual_adjustment, error }
}

fn adopted(event: &ServerEvent) -> bool {
    matches!(event, ServerEvent::TimeAdopted { .. })
}

/// g = 7, f = 3. Three honest carriers are not more than half of seven, and the server's own clock knows
/// nothing: nobody is moved.
#[test]
fn a_server_that_has_kept_no_time_waits_among_three_honest_and_three_lying_carriers() {
    for (server_ahead, consents) in [(s(-3_600), false), (s(1), true)] {
        let mut restart = Restart::new(ServerConfig::default(), 3, s(100));
        restart.island.mark_synchronized();
        restart.restart(ServerConfig::default(), server_ahead, None);
        restart.island.run(300);
        let island = &mut restart.island;
        let at = island.now();
        for (before, now) in island.since_mark(at).into_iter().skip(1) {
            assert!((now - before).abs() < NOISE, "moved by {}", now - before);
        }
        // After a minute the server's own clock consents to those that are near it, but the carriers are
        // divided.
        assert_eq!(island.count(adopted), 0, "{consents}");
        let undecided = |event: &ServerEvent| {
            matches!(event, ServerEvent::Undecided { reason: UndecidedReason::Carried, .. })
        };
        assert_eq!((island.count(undecided), island.server.node.cluster()), (1, ClusterId(0)));
        decides_nothing(island);
    }
}

/// No clock counts in any result: the server has none, corrects no clock, and guarantees nothing.
fn decides_nothing(island: &Island) {
    let last = island.last_round();
    assert_eq!((last.outcome, last.covered, last.largest_bound), (Outcome::Listening, 0, None));
    let corrects = |event: &ServerEvent| matches!(event, ServerEvent::CorrectionSent { .. });
    assert_eq!(island.count(corrects), 0);
}

/// g = 7, f = 3. The server's kept time decides.
#[test]
fn a_server_that_has_kept_its_time_finds_the_honest_carriers() {
    for off in [s(2), s(3_600), Span::from_millis(-300)] {
        let mut restart = Restart::new(ServerConfig::default(), 3, off);
        restart.island.mark_synchronized();
        let (config, ahead) = restart.keeping(ServerConfig::default());
        restart.restart(config, ahead, None);
        restart.island.run(300);
        let island = &restart.island;
        assert!(island.moved() < NOISE, "{}", island.moved());
        assert_eq!((island.count(adopted), island.named()), (1, 3), "{off}");
        assert!(island.no_good_clock_is_named());
    }
}

/// g = 6, f = 2: the server, three good nodes, and two stolen keys of six. Four in six are more than half,
/// three carriers with the kept time of the server. Without that they are half of all, and the server takes
/// their time after a minute, since it is amid that of the good ones. In either case nobody is moved.
#[test]
fn a_third_of_the_keys_moves_nothing_at_a_server_that_restarts() {
    for keeps in [true, false] {
        let mut restart = Restart::new(keyed(), 2, s(-5));
        restart.island.mark_synchronized();
        let (config, ahead) = restart.keeping(keyed());
        let config = if keeps { config } else { keyed() };
        let ahead = if keeps { ahead } else { s(-3_600) };
        restart.restart(config, ahead, Some(&["stolen-1", "stolen-2"]));
        restart.island.run(300);
        let island = &mut restart.island;
        assert_eq!(island.count(adopted), 1);
        let at = island.now();
        for (before, now) in island.since_mark(at).into_iter().skip(1) {
            assert!((now - before).abs() < NOISE, "moved by {}", now - before);
        }
        assert!(island.named() == 2 && island.no_good_clock_is_named());
    }
}

/// g = 5, f = 1: the server, three good nodes, and one stolen key. Three carriers in five are more than half,
/// with or without the kept time of the server.
#[test]
fn a_stolen_key_moves_nothing_at_a_server_that_restarts() {
    for keeps in [true, false] {
        for off in [s(-5), s(3_600), Span::from_millis(20)] {
            let mut restart = Restart::new(keyed(), 1, off);
            restart.island.mark_synchronized();
            let (config, ahead) = restart.keeping(keyed());
            let (config, ahead) = if keeps { (config, ahead) } else { (keyed(), s(-3_600)) };
            restart.restart(config, ahead, Some(&["stolen"]));
            restart.island.run(300);
            let island = &mut restart.island;
            let at = island.now();
            for (before, now) in island.since_mark(at).into_iter().skip(1) {
                assert!((now - before).abs() < NOISE, "{off}, kept: {keeps}: moved by {}", now - before);
            }
            assert_eq!((island.count(adopted), island.named()), (1, 1), "{off}, kept: {keeps}");
            assert!(island.no_good_clock_is_named(), "{off}, kept: {keeps}");
        }
    }
}

/// g = 4, f = 1: the key is that of a good node, which loses its session to the thief again and again. The
/// server and two good nodes are three of four if the server has kept its time. If not, the two good nodes
/// are half of all, and the server takes their time after a minute.
#[test]
fn the_key_of_a_live_node_moves_nothing_at_a_server_that_restarts() {
    for keeps in [true, false] {
        let mut restart = Restart::new(keyed(), 1, s(100));
        restart.island.mark_synchronized();
        let (config, ahead) = restart.keeping(keyed());
        let (config, ahead) = if keeps { (config, ahead) } else { (keyed(), s(-3_600)) };
        restart.restart(config, ahead, Some(&["good-1"]));
        restart.island.run(300);
        let island = &mut restart.island;
        let at = island.now();
        for (before, now) in island.since_mark(at).into_iter().skip(1) {
            assert!((now - before).abs() < NOISE, "kept: {keeps}: moved by {}", now - before);
        }
        assert_eq!((island.count(adopted), island.named()), (1, 1), "kept: {keeps}");
        assert!(island.no_good_clock_is_named(), "kept: {keeps}");
    }
}

/// g = 6, f = 2: two of three good clients have restarted, too, so that the bad ones are most of those that
/// carry a time. All fresh clocks are within the radius of it, but of the good time as well: they do not
/// consent.
#[test]
fn fresh_clocks_that_are_near_two_times_consent_to_neither() {
    for off in [s(20), s(40)] {
        let mut island = Island::new(ServerConfig::default(), 3);
        [1, 2].into_iter().for_each(|client| island.start_one_at(client, s(61)));
        island.run(60);
        let mut restart = Restart { island, bad: 2, off };
        restart.island.mark();
        restart.restart(ServerConfig::default(), s(1), None);
        restart.island.run(300);
        let island = &mut restart.island;
        let at = island.now();
        let (before, now) = *island.since_mark(at).last().expect("the client that carries the time");
        assert!((now - before).abs() < NOISE, "moved by {}", now - before);
        let told = |event: &ServerEvent| matches!(event, ServerEvent::BoundsBroken { .. });
        assert_eq!((island.count(adopted), island.count(told)), (0, 0));
        decides_nothing(island);
    }
}

/// g = 7, f = 3: the bad ones agree almost with the good ones, and jump by an hour while the server follows.
#[test]
fn carriers_that_jump_while_the_server_follows_take_nobody_with_them() {
    for off_us in [-100_040, -49_000, 20, 100_040] {
        for keeps in [false, true] {
            let mut island = Island::new(ServerConfig::default(), 3);
            island.run(60);
            let before = ahead(&mut island);
            let begin = island.now();
            let plan = Plan {
                begin,
                ahead: before + Span::from_micros(off_us),
                jump: Some((begin + s(40), s(3_600))),
                state: Some(ClientState::Synchronized),
                cluster: Some(island.server.node.cluster()),
                ..Plan::default()
            };
            (0..3).for_each(|k| island.attacker.add(&format!("198.51.{k}.1"), plan));
            island.mark_synchronized();
            let kept = kept(&mut island, Span::from_millis(1));
            let config = ServerConfig { kept: keeps.then_some(kept), ..ServerConfig::default() };
            island.restart(config, before + Span::from_micros(30));
            island.run(400);
            let at = island.now();
            for (before, now) in island.since_mark(at).into_iter().skip(1) {
                let moved = (now - before).abs();
                assert!(moved < Span::from_millis(100), "{off_us} µs, kept: {keeps}: moved by {moved}");
            }
            assert!(island.no_good_clock_is_named(), "{off_us} µs, kept: {keeps}");
            match island.last_round().outcome {
                Outcome::Listening => decides_nothing(&island),
                _ => assert_eq!(island.named(), 3, "{off_us} µs, kept: {keeps}"),
            }
        }
    }
}

/// g = 6, f = 2, within the maximum window of the good ones: the adopted time is that of a good clock.
#[test]
fn carriers_that_lie_within_the_window_move_nothing_at_a_server_that_restarts() {
    let mut restart = Restart::new(ServerConfig::default(), 2, Span::from_millis(49));
    restart.island.mark_synchronized();
    restart.restart(ServerConfig::default(), s(20), None);
    restart.island.run(300);
    let island = &mut restart.island;
    assert_eq!(island.count(adopted), 1);
    let at = island.now();
    for (before, now) in island.since_mark(at) {
        assert!((now - before).abs() < NOISE, "moved by {}", now - before);
    }
    // When the window is narrower, they are named.
    assert!(island.named() == 2 && island.no_good_clock_is_named());
}

/// g = 9, f = 4: bad machines with several sessions each, which say anything, at a server that has kept its
/// time and restarts, and restarts again when it follows.
fn whatever_they_say(seed: u64) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut island = Island::new(ServerConfig::default(), 4);
    island.run(60);
    let ahead = ahead(&mut island);
    for machine in 0..4 {
        for _ in 0..rng.random_range(1..5) {
            let off = Span::from_nanos(10_i64.pow(rng.random_range(4..13)));
            let states = [ClientState::Unsynchronized, ClientState::Synchronized, ClientState::Holdover];
            let clusters = [None, Some(ClusterId(7)), Some(island.server.node.cluster())];
            let later = s(rng.random_range(60..400));
            let plan = Plan {
                begin: s(rng.random_range(0..100)),
                ahead: ahead + if rng.random_bool(0.5) { off } else { -off },
                jump: rng.random_bool(0.5).then_some((later, off)),
                state: Some(states[rng.random_range(0..3)]),
                cluster: clusters[rng.random_range(0..3)],
                ..Plan::default()
            };
            island.attacker.add(&format!("198.51.{machine}.1"), plan);
        }
    }
    island.mark_synchronized();
    for seconds in [90, 240] {
        let kept = kept(&mut island, Span::from_micros(100));
        let config = ServerConfig { kept: Some(kept), ..ServerConfig::default() };
        island.restart(config, ahead + Span::from_micros(30));
        island.run(seconds);
    }
    assert!(island.moved() < NOISE, "seed {seed}: {}", island.moved());
    assert!(island.no_good_clock_is_named(), "seed {seed}");
    assert_eq!(island.last_round().outcome, Outcome::Agreed, "seed {seed}");
}

#[test]
fn whatever_four_of_nine_groups_say_at_restarts_no_good_clock_is_moved() {
    (0..3).for_each(whatever_they_say);
}

#[ignore = "long: scripts/check.sh runs it"]
#[test]
fn whatever_four_of_nine_groups_say_at_restarts_no_good_clock_is_moved_in_forty_worlds() {
    (0..40).for_each(whatever_they_say);
}
