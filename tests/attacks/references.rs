//! Attackers that offer references. A cluster follows what more than half of the groups with a reference
//! state.

use meantime_core::config::FollowedReferences;
use meantime_core::event::{ServerEvent, UndecidedReason, Voter};
use meantime_core::reference::UtcState;
use meantime_core::time::Span;
use meantime_core::wire::{ClusterId, Name};
use meantime_core::{ClientConfig, Keyring, ServerConfig};
use meantime_sim::{ReferenceModel, START};

use crate::attacker::Plan;
use crate::island::{Island, KEY, NOISE, keyed, master, s};

/// What honest machines state of their maximum error.
const MAX_ERROR: Span = Span::from_millis(1);
/// When times from outside are offered first: the attacker's clients have a vote by then.
const OFFERED: Span = s(240);

/// A client of this name that offers its machine's reference, with its node's key if the server has keys.
fn offering(config: &ServerConfig, name: &str) -> ClientConfig {
    let name = Name::new(name);
    let keys = (!config.keys.is_empty()).then(|| (KEY, master().node(&name)));
    let keys = vec![Keyring::new(keys.into_iter().collect())];
    ClientConfig { name, keys, offers_reference: true, ..ClientConfig::default() }
}

/// Four good clients, and a time from outside that is the one that they agree on after a minute, so that
/// leading the cluster to it moves nothing.
struct Led {
    island: Island,
    utc: Span,
}

impl Led {
    fn new(config: ServerConfig) -> Led {
        let clients = (1..=4).map(|number| offering(&config, &format!("good-{number}"))).collect();
        let mut island = Island::with_clients(config, clients);
        island.run(60);
        let at = island.now();
        let utc = island.ahead(at)[0].expect("the cluster has a time");
        Led { island, utc }
    }

    /// The machine of a good clock, the server's is 0, has a time from outside that is off by so much.
    fn offer(&mut self, machine: usize, off: Span) {
        self.offer_from(OFFERED, machine, off);
    }

    /// The same from this time on.
    fn offer_from(&mut self, from: Span, machine: usize, off: Span) {
        let (error, max_error, outages) = (self.utc + off, MAX_ERROR, vec![(Span::ZERO, from)]);
        self.island.references[machine] =
            Some(ReferenceModel { error, max_error, outages, ..ReferenceModel::default() });
    }

    /// A client of the attacker, which agrees with the good clocks and offers a reference that is off by
    /// `off` and claims this maximum error.
    fn lie(&mut self, address: &str, name: &str, off: Span, max_error: Span) {
        let reference = Some((OFFERED, self.utc + off, max_error));
        let plan = Plan { begin: self.island.now(), reference, ..Plan::default() };
        self.island.attacker.add_keyed(address, name, None, plan);
    }

    /// Until the attacker's clients have a vote, and ten minutes.
    fn run(&mut self) {
        let until = OFFERED - s(5) - self.island.now();
        self.island.run(until.as_nanos() / 1_000_000_000);
        assert_eq!(self.island.voters(), self.island.server.node.clients() + 1);
        self.island.mark_synchronized();
        self.island.run(600);
    }

    /// The states to UTC that the server has reported.
    fn states(&self) -> Vec<UtcState> {
        let state = |event: &ServerEvent| match event {
            ServerEvent::Utc { state, .. } => Some(*state),
            _ => None,
        };
        self.island.told.iter().filter_map(state).collect()
    }

    /// The references that were named: how many of the attacker's, and how many good ones.
    fn named(&self) -> (usize, usize) {
        let voter = |event: &ServerEvent| match event {
            ServerEvent::ReferenceFalseticker { voter, .. } => Some(*voter),
            _ => None,
        };
        let is_bad = |voter: &Voter| match voter {
            Voter::Client(peer) => self.island.attacker.is_at(peer.address),
            Voter::Server => false,
        };
        let (bad, good): (Vec<Voter>, Vec<Voter>) =
            self.island.told.iter().filter_map(voter).partition(is_bad);
        (bad.len(), good.len())
    }

    fn moves_nothing(&self, what: &str) {
        assert!(self.island.moved() < NOISE, "{what}: {}", self.island.moved());
        assert!(self.island.no_good_clock_is_named(), "{what}");
    }
}

/// Follows the references of all members.
fn any() -> ServerConfig {
    ServerConfig { follow_references: FollowedReferences::Any, ..ServerConfig::default() }
}

/// Follows those of these members.
fn named(names: &[&str]) -> FollowedReferences {
    FollowedReferences::Named(names.iter().map(|name| Name::new(name)).collect())
}

const LEADS: [UtcState; 2] = [UtcState::Learning, UtcState::Leading];

/// Three groups with a reference, f = 1. What it states moves nothing, however exact it says that is, and it
/// is named.
#[test]
fn one_false_reference_of_three_moves_nothing_and_is_named() {
    for (off, max_error) in [(s(1), MAX_ERROR), (s(-1), Span::ZERO), (s(3_600), s(1))] {
        let mut led = Led::new(any());
        led.offer(1, Span::from_micros(-10));
        led.offer(2, Span::from_micros(10));
        led.lie("198.51.100.66", "", off, max_error);
        led.run();
        led.moves_nothing(&format!("{off}"));
        assert_eq!((led.named(), led.states()), ((1, 0), LEADS.to_vec()), "{off}");
    }
}

/// The same with so large a maximum error that it contains the truth: it is not false then, and moves
/// nothing either.
#[test]
fn a_reference_that_states_a_wide_interval_moves_nothing() {
    let mut led = Led::new(any());
    led.offer(1, Span::from_micros(-10));
    led.offer(2, Span::from_micros(10));
    led.lie("198.51.100.66", "", s(1), s(2));
    led.run();
    led.moves_nothing("wide");
    assert_eq!((led.named(), led.states()), ((0, 0), LEADS.to_vec()));
}

/// Three groups with a reference, f = 1, however many sessions the bad one has.
#[test]
fn the_references_of_one_address_count_once() {
    for sessions in [3, 20] {
        let mut led = Led::new(any());
        led.offer(1, Span::from_micros(-10));
        led.offer(2, Span::from_micros(10));
        for _ in 0..sessions {
            led.lie("198.51.100.66", "", s(1), MAX_ERROR);
        }
        led.run();
        led.moves_nothing(&format!("{sessions} sessions"));
        assert_eq!((led.named(), led.states()), ((sessions, 0), LEADS.to_vec()));
    }
}

/// Three groups of five with a reference are more than half, and lead the cluster where they like if they
/// were there first.
#[test]
fn more_than_half_of_the_groups_with_a_reference_lead_the_cluster() {
    let mut led = Led::new(any());
    (1..=3).for_each(|k| led.lie(&format!("198.51.{k}.1"), "", s(1), MAX_ERROR));
    led.offer_from(OFFERED + s(100), 1, Span::ZERO);
    led.offer_from(OFFERED + s(100), 2, Span::ZERO);
    led.run();
    assert!(led.island.moved() > Span::from_millis(1), "{}", led.island.moved());
    assert_eq!(led.named().1, 2);
}

/// If they come when the clocks have shown another time from outside, what they state is farther from it than
/// oscillators explain: they are refused, and that is told.
#[test]
fn more_than_half_of_the_groups_with_a_reference_are_refused_if_they_come_later() {
    let mut led = Led::new(any());
    led.offer_from(s(60), 1, Span::ZERO);
    led.offer_from(s(60), 2, Span::ZERO);
    (1..=3).for_each(|k| led.lie(&format!("198.51.{k}.1"), "", s(1), MAX_ERROR));
    led.run();
    led.moves_nothing("three of five");
    assert_eq!(led.states(), [UtcState::Refused]);
    assert_eq!(led.named().1, 2, "they contradict the majority");
}

/// A false reference is alone for 17 minutes, and leads the cluster. Then four good ones come, one after the
/// other: g = 5, f = 1. Two of three decide against it, and what it has shown is forgotten by and by.
#[test]
fn a_false_reference_that_is_first_gives_way_to_the_good_ones() {
    let mut led = Led::new(any());
    led.lie("198.51.100.66", "", Span::from_millis(5), MAX_ERROR);
    for number in 1..=4 {
        led.offer_from(OFFERED + s(1_000 + 200 * number as i64), number, Span::ZERO);
    }
    led.run();
    led.island.run(400);
    let moved = led.island.moved();
    assert!(moved > Span::from_millis(4), "it does not lead the cluster: {moved}");
    led.island.run(1_600);
    assert_eq!((led.named().0, led.states().last()), (1, Some(&UtcState::Leading)));
    let at = led.island.now();
    for ahead in led.island.ahead(at) {
        let off = ahead.expect("the cluster has a time") - led.utc;
        assert!(off.abs() < Span::from_millis(1), "{off} from UTC");
    }
}

/// One of three references is false, and is named. Then another one goes wrong, so that two of three are bad:
/// no two agree. The one that was named is left out, and what the clocks have shown decides between the
/// others.
#[test]
fn of_three_references_that_go_wrong_one_after_the_other_the_last_good_one_leads() {
    let mut led = Led::new(any());
    led.offer(1, Span::ZERO);
    led.offer(2, Span::ZERO);
    led.lie("198.51.100.66", "", s(1), MAX_ERROR);
    led.run();
    assert_eq!((led.named(), led.states()), ((1, 0), LEADS.to_vec()));
    led.offer(2, Span::from_millis(-20));
    led.island.mark();
    led.island.run(600);
    led.moves_nothing("two of three");
    assert_eq!((led.named(), led.states()), ((0, 1), vec![]), "good-2 is bad now");
}

/// A single reference that leads the cluster, and then says that it is a second later: oscillators do not
/// explain that. It is refused, and that is told.
#[test]
fn a_reference_that_jumps_after_the_cluster_has_shown_its_time_is_refused() {
    let mut led = Led::new(any());
    led.lie("198.51.100.66", "", Span::ZERO, MAX_ERROR);
    led.run();
    assert_eq!(led.states(), LEADS);
    led.island.attacker.refer_to(led.utc + s(1));
    led.island.mark();
    led.island.run(600);
    led.moves_nothing("one of one");
    assert_eq!(led.states(), [UtcState::Held, UtcState::Refused]);
}

/// A server that follows one member by its name hears no other: neither three groups of strangers, nor its
/// own machine.
#[test]
fn references_of_members_that_are_not_named_do_not_count() {
    let follow_references = named(&["good-1"]);
    let mut led =
        Led::new(ServerConfig { follow_references, offers_reference: true, ..ServerConfig::default() });
    led.offer(0, s(-1));
    led.offer(2, s(1));
    led.offer_from(OFFERED + s(100), 1, Span::ZERO);
    (1..=3).for_each(|k| led.lie(&format!("198.51.{k}.1"), &format!("good-{k}0"), s(1), MAX_ERROR));
    led.run();
    led.moves_nothing("not named");
    assert_eq!((led.named(), led.states()), ((0, 0), LEADS.to_vec()), "nor are they judged");
}

/// A server and three clients, of which one has a battery and a time from outside. The others begin in 1970.
fn without_batteries(config: ServerConfig) -> Island {
    let clients = (1..=3).map(|number| offering(&config, &format!("good-{number}"))).collect();
    let in_1970 = Span::from_nanos(-START.as_nanos());
    let ahead = |number: usize| if number == 1 { s(40) } else { in_1970 + s(number as i64) };
    let mut island = Island::with_clocks(config, clients, ahead);
    island.references[1] = Some(ReferenceModel::default());
    island
}

/// Where no majority of clocks shows a plausible time, the reference of one member founds the cluster's time
/// if the operator has named that member, and keys prove the name.
#[test]
fn one_reference_founds_a_time_if_it_is_named_and_has_a_key() {
    let follows = |config, follow_references| ServerConfig { follow_references, ..config };
    let founded = |event: &ServerEvent| matches!(event, ServerEvent::TimeFounded { .. });
    let mut island = without_batteries(follows(keyed(), named(&["good-1"])));
    island.run(150);
    assert_eq!(island.count(founded), 1);
    let at = island.now();
    for ahead in island.ahead(at) {
        let ahead = ahead.expect("the cluster has a time");
        assert!(ahead.abs() < Span::from_millis(1), "{ahead} from UTC");
    }
    let others = [
        follows(keyed(), FollowedReferences::Any),
        follows(keyed(), named(&["good-2"])),
        follows(ServerConfig::default(), named(&["good-1"])),
        follows(keyed(), FollowedReferences::None),
    ];
    for config in others {
        let what = format!("{:?}, keys: {}", config.follow_references, !config.keys.is_empty());
        let mut island = without_batteries(config);
        island.run(150);
        assert_eq!((island.count(founded), island.server.node.cluster()), (0, ClusterId(0)), "{what}");
        let undecided = |event: &ServerEvent| {
            matches!(event, ServerEvent::Undecided { reason: UndecidedReason::BeforePlausible, .. })
        };
        assert_eq!(island.count(undecided), 1, "{what}");
    }
}

/// A thief of names without a key founds nothing: two groups have to agree then.
#[test]
fn a_stranger_with_the_name_of_a_followed_member_founds_no_time() {
    let mut island =
        without_batteries(ServerConfig { follow_references: named(&["good-1"]), ..ServerConfig::default() });
    island.references[1] = None;
    let plan = Plan { reference: Some((Span::ZERO, s(7_200), MAX_ERROR)), ..Plan::default() };
    (0..3).for_each(|_| island.attacker.add_keyed("198.51.100.66", "good-1", None, plan));
    island.run(300);
    assert_eq!(island.server.node.cluster(), ClusterId(0));
}
