use alloc::vec::Vec;
use proptest::prelude::*;

use super::super::term::MAX_COUNTER;
use super::*;

fn rank(place: u8) -> Rank {
    Rank::new(place).unwrap()
}

fn term(counter: u64, place: u8) -> Term {
    Term::new(counter, rank(place)).unwrap()
}

fn active(counter: u64, place: u8) -> (u8, ServerStatement) {
    let (role, service) = (Role::Active, Service::Served);
    (place, ServerStatement { role, term: term(counter, place), service, successor: None })
}

fn standby(place: u8, term: Term, service: Service) -> (u8, ServerStatement) {
    (place, ServerStatement { role: Role::Standby, term, service, successor: None })
}

/// What a server of three hears, and which change it makes in one round.
#[derive(Clone, Debug, Default)]
struct Around {
    servers: HeardServers,
    clients: Census,
    distrusted: ServerSet,
    known_members: usize,
    has_time: bool,
    with_time: ServerSet,
}

impl Around {
    fn new(servers: &[(u8, ServerStatement)], clients: &[(Term, Service, usize)]) -> Around {
        let mut heard = HeardServers::default();
        for (place, statement) in servers {
            heard.note(rank(*place), *statement);
        }
        let clients = clients.iter().flat_map(|(follows, service, count)| {
            core::iter::repeat_n(MemberStatement { follows: *follows, service: *service }, *count)
        });
        Around {
            servers: heard,
            clients: clients.collect(),
            distrusted: ServerSet::EMPTY,
            known_members: 0,
            has_time: true,
            with_time: ServerSet::ALL,
        }
    }

    fn surroundings(&self) -> Surroundings<'_> {
        Surroundings {
            servers: &self.servers,
            clients: &self.clients,
            distrusted: self.distrusted,
            known_members: Weight::votes(self.known_members),
            own_weight: Weight::ONE,
            has_time: self.has_time,
            with_time: self.with_time,
        }
    }

    fn round(&self, role: &mut ServerRole) -> Option<RoleChange> {
        role.handle_round(&self.surroundings())
    }
}

fn new(place: u8) -> ServerRole {
    ServerRole::new(rank(place), 3, Quorum::Any)
}

/// The server of this rank, active in the term with this counter.
fn active_server(counter: u64, place: u8) -> ServerRole {
    let mut role = new(place);
    role.become_active(term(counter, place), RoleChange::TookOver);
    role
}

/// The server of this rank, which has heard all others and follows this term.
fn standby_server(place: u8, follows: Term) -> ServerRole {
    let mut role = new(place);
    role.step_down(follows);
    role.ever_heard = (0..3).map(rank).collect();
    role
}

use RoleChange::*;
use Service::{Distrusted, Lost, Served};

#[test]
fn a_server_that_is_alone_in_its_list_is_always_active() {
    let mut role = ServerRole::new(rank(0), 1, Quorum::Majority);
    let mut around = Around::new(&[], &[(term(1, 0), Distrusted, 5)]);
    around.known_members = 100;
    assert_eq!(around.round(&mut role), None);
    role.handle_stall();
    assert_eq!((role.role(), role.term()), (Role::Active, term(1, 0)));
}

#[test]
fn the_first_server_of_a_new_cluster_is_active_at_once_and_the_others_wait_for_it() {
    let clients = [(Term::NONE, Lost, 2)];
    let none = |place| standby(place, Term::NONE, Lost);
    let mut first = new(0);
    assert_eq!(Around::new(&[none(1), none(2)], &clients).round(&mut first), Some(TookOver(term(1, 0))));
    let mut third = new(2);
    let around = Around::new(&[none(1)], &clients);
    assert_eq!(around.round(&mut third), None, "the first may be beginning, the second is heard");
    assert_eq!(around.round(&mut third), None);
    assert_eq!(around.round(&mut third), Some(TookOver(term(1, 2))));
}

#[test]
fn a_server_that_hears_no_member_stays_standby() {
    let mut role = new(0);
    assert!((0..9).all(|_| Around::default().round(&mut role).is_none()));
}

#[test]
fn one_broken_link_moves_nothing() {
    let (mut role, old) = (standby_server(1, term(1, 0)), term(1, 0));
    let around = Around::new(&[standby(2, old, Served)], &[(old, Served, 2), (old, Lost, 1)]);
    assert!((0..9).all(|_| around.round(&mut role).is_none()), "two of five have lost the active server");
}

#[test]
fn the_next_in_rank_takes_over_when_most_members_have_lost_the_active_server() {
    let old = term(4, 0);
    let clients = [(old, Served, 1), (old, Lost, 2)];
    let mut second = standby_server(1, old);
    let around = Around::new(&[standby(2, old, Lost)], &clients);
    assert_eq!(around.round(&mut second), Some(TookOver(term(5, 1))));
    let mut third = standby_server(2, old);
    let around = Around::new(&[standby(1, old, Lost)], &clients);
    assert_eq!(around.round(&mut third), None, "the second goes first");
    assert_eq!(around.round(&mut third), Some(TookOver(term(5, 2))));
}

#[test]
fn a_server_that_was_stopped_gets_a_round_to_go_on() {
    let old = term(4, 2);
    let mut first = standby_server(0, old);
    let around = Around::new(&[standby(2, old, Lost)], &[(old, Lost, 3)]);
    assert_eq!(around.round(&mut first), None, "the third may go on");
    assert_eq!(around.round(&mut first), Some(TookOver(term(5, 0))));
    let mut first = standby_server(0, old);
    assert_eq!(Around::new(&[], &[(old, Lost, 3)]).round(&mut first), Some(TookOver(term(5, 0))));
}

#[test]
fn a_wait_begins_anew_when_the_members_are_served_for_two_intervals_meanwhile() {
    let old = term(4, 0);
    let lost = Around::new(&[standby(1, old, Lost)], &[(old, Lost, 3)]);
    let served = Around::new(&[standby(1, old, Served)], &[(old, Served, 3)]);
    let mut third = standby_server(2, old);
    for around in [&lost, &served, &served, &served, &served, &lost] {
        assert_eq!(around.round(&mut third), None);
    }
    assert_eq!(lost.round(&mut third), Some(TookOver(term(5, 2))));
    let mut third = standby_server(2, old);
    for around in [&lost, &served, &served, &served] {
        assert_eq!(around.round(&mut third), None);
    }
    assert_eq!(lost.round(&mut third), Some(TookOver(term(5, 2))), "the wait goes on");
}

#[test]
fn a_server_that_claims_terms_and_steps_down_in_turn_does_not_keep_others_waiting() {
    let old = term(4, 0);
    for claimed_for in 1..4 {
        let mut third = standby_server(2, old);
        let mut last = old;
        let takes_over = (5..).take(3).any(|counter| {
            // The second server has stepped down, and is of a better rank.
            let lost = Around::new(&[standby(1, last, Lost)], &[(last, Lost, 3)]);
            let has_taken_over = matches!(lost.round(&mut third), Some(TookOver(_)));
            last = term(counter, 1);
            let claims = Around::new(&[active(counter, 1)], &[(last, Served, 3)]);
            (0..claimed_for).for_each(|_| assert!(!matches!(claims.round(&mut third), Some(TookOver(_)))));
            has_taken_over
        });
        assert!(takes_over, "claimed for {claimed_for} turns");
    }
}

#[test]
fn a_new_term_is_above_all_that_members_have_followed() {
    let (old, later) = (term(1, 0), term(7, 2));
    let mut role = standby_server(1, old);
    let around = Around::new(&[], &[(old, Lost, 2), (later, Lost, 1)]);
    assert_eq!(around.round(&mut role), Some(TookOver(term(8, 1))));
}

#[test]
fn a_server_that_comes_back_follows_the_active_one() {
    let mut role = new(0);
    let now = term(6, 1);
    let around = Around::new(&[active(6, 1), standby(2, now, Served)], &[(now, Served, 3)]);
    assert_eq!(around.round(&mut role), Some(Followed(now)));
    assert_eq!(around.round(&mut role), None);
    let (role, service) = (Role::Standby, Served);
    let stated = ServerStatement { role, term: now, service, successor: None };
    let mut again = new(0);
    around.round(&mut again);
    assert_eq!(again.statement(&around.servers, ServerSet::EMPTY), stated);
}

#[test]
fn a_handover_has_no_gap() {
    let old = term(2, 0);
    let clients = [(old, Served, 3)];
    let (mut first, mut second) = (active_server(2, 0), standby_server(1, old));
    let around = Around::new(&[standby(1, old, Served), standby(2, old, Served)], &clients);
    assert_eq!(first.resign(&around.surroundings(), None), Some(rank(1)));
    let resigning = (0, first.statement(&around.servers, ServerSet::EMPTY));

    let heard = Around::new(&[resigning, standby(2, old, Served)], &clients);
    assert_eq!(second.handle_handover(&heard.surroundings()), Some(Succeeded(term(3, 1))));
    assert_eq!(first.role(), Role::Active, "until it hears of the new one");
    let heard = Around::new(&[active(3, 1), standby(2, old, Served)], &clients);
    assert_eq!(first.handle_handover(&heard.surroundings()), Some(Yielded(term(3, 1))));
}

#[test]
fn an_operator_chooses_the_successor_among_those_that_follow() {
    let old = term(2, 0);
    let mut first = active_server(2, 0);
    let servers = [standby(1, old, Lost), standby(2, old, Served)];
    let around = Around::new(&servers, &[]);
    assert_eq!(first.resign(&around.surroundings(), Some(rank(1))), None, "it does not hear this one");
    assert_eq!(first.resign(&around.surroundings(), Some(rank(2))), Some(rank(2)));
    assert_eq!(standby_server(1, old).resign(&around.surroundings(), None), None, "it is not active");
}

#[test]
fn a_server_names_no_second_successor_while_it_waits_for_the_first() {
    let old = term(2, 0);
    let mut first = active_server(2, 0);
    let around = Around::new(&[standby(1, old, Served), standby(2, old, Served)], &[(old, Served, 3)]);
    assert_eq!(first.resign(&around.surroundings(), Some(rank(2))), Some(rank(2)));
    assert_eq!(first.resign(&around.surroundings(), Some(rank(1))), None);
    assert_eq!(first.resign(&around.surroundings(), None), Some(rank(2)), "it ends, too");
    assert_eq!(first.successor(), Some(rank(2)));
    for _ in 0..HANDOVER_ROUNDS {
        assert_eq!(around.round(&mut first), None);
    }
    assert_eq!(first.resign(&around.surroundings(), Some(rank(1))), Some(rank(1)), "the second did not come");
}

#[test]
fn a_successor_that_claims_an_implausible_term_is_not_followed() {
    let old = term(2, 0);
    let mut first = active_server(2, 0);
    let clients = [(old, Served, 3)];
    let before = Around::new(&[standby(1, old, Served), standby(2, old, Served)], &clients);
    assert_eq!(first.resign(&before.surroundings(), Some(rank(1))), Some(rank(1)));
    let claims = |counter| Around::new(&[active(counter, 1), standby(2, old, Served)], &clients);
    assert_eq!(first.handle_handover(&claims(MAX_COUNTER).surroundings()), None);
    assert_eq!(first.handle_handover(&claims(3).surroundings()), Some(RoleChange::Yielded(term(3, 1))));
}

#[test]
fn a_successor_that_is_gone_is_not_waited_for() {
    let old = term(2, 0);
    let mut first = active_server(2, 0);
    let around = Around::new(&[standby(1, old, Served)], &[(old, Served, 3)]);
    first.resign(&around.surroundings(), None);
    for _ in 0..HANDOVER_ROUNDS {
        assert_eq!(around.round(&mut first), None);
    }
    assert_eq!(first.statement(&around.servers, ServerSet::EMPTY).successor, None);
    assert_eq!(first.role(), Role::Active);
}

#[test]
fn of_two_active_servers_the_one_with_more_members_stays() {
    let (low, high) = (term(3, 0), term(5, 1));
    let clients = [(low, Served, 2), (high, Served, 1)];
    let (mut first, mut second) = (active_server(3, 0), active_server(5, 1));
    assert_eq!(Around::new(&[active(3, 0)], &clients).round(&mut second), None, "only the lower term acts");
    assert_eq!(Around::new(&[active(5, 1)], &clients).round(&mut first), Some(Raised(term(6, 0))));
    let heard = Around::new(&[active(6, 0)], &clients);
    assert_eq!(heard.round(&mut second), Some(Yielded(term(6, 0))));
}

#[test]
fn a_stopped_server_goes_on_if_its_members_still_follow_it() {
    let own = term(3, 0);
    let mut role = active_server(3, 0);
    role.handle_stall();
    assert_eq!((role.role(), role.term()), (Role::Standby, own));
    assert_eq!(Around::default().round(&mut role), None);
    let around = Around::new(&[standby(1, own, Lost)], &[(own, Lost, 2)]);
    assert_eq!(around.round(&mut role), Some(Resumed(own)));
}

#[test]
fn a_stopped_server_that_was_replaced_follows_the_new_one() {
    let (own, new) = (term(3, 0), term(4, 1));
    let mut role = active_server(3, 0);
    role.handle_stall();
    let before = Around::new(&[standby(2, new, Lost)], &[(own, Lost, 2)]);
    assert_eq!(before.round(&mut role), Some(TookOver(term(5, 0))), "above the term that a member names");
    let mut role = active_server(3, 0);
    role.handle_stall();
    let around = Around::new(&[active(4, 1), standby(2, new, Served)], &[(new, Served, 2)]);
    assert_eq!(around.round(&mut role), Some(Followed(new)));
}

#[test]
fn a_server_that_most_members_distrust_steps_down_and_takes_over_last() {
    let own = term(3, 0);
    let mut role = active_server(3, 0);
    let clients = [(own, Distrusted, 2), (own, Served, 1)];
    let around = Around::new(&[standby(1, own, Served)], &clients);
    assert_eq!(around.round(&mut role), None, "two of five");
    let around = Around::new(&[standby(1, own, Distrusted)], &clients);
    assert_eq!(around.round(&mut role), Some(Shunned));
    for _ in 0..3 {
        assert_eq!(around.round(&mut role), None);
    }
    assert_eq!(around.round(&mut role), Some(TookOver(term(4, 0))), "better than none");
    let mut second = standby_server(1, own);
    let mut heard = Around::new(&[standby(0, own, Lost)], &clients);
    heard.distrusted = [rank(0)].into_iter().collect();
    assert_eq!(heard.round(&mut second), Some(TookOver(term(4, 1))), "it does not wait");
}

#[test]
fn with_a_quorum_of_a_majority_a_smaller_part_has_no_active_server() {
    let own = term(3, 0);
    let mut role = ServerRole { quorum: Quorum::Majority, ..active_server(3, 0) };
    let mut around = Around::new(&[standby(1, own, Served)], &[(own, Served, 1)]);
    around.known_members = 6;
    assert_eq!(around.round(&mut role), Some(LostQuorum), "three of six");
    let lost = Around { clients: [(own, Lost)].map(of_member).into_iter().collect(), ..around.clone() };
    assert_eq!(lost.round(&mut role), None);
    let mut whole = Around::new(&[standby(1, own, Lost)], &[(own, Lost, 2)]);
    whole.known_members = 6;
    assert_eq!(whole.round(&mut role), Some(Resumed(own)));
}

fn of_member((follows, service): (Term, Service)) -> MemberStatement {
    MemberStatement { follows, service }
}

fn terms() -> impl Strategy<Value = Term> {
    (1u64..9, 0u8..3).prop_map(|(counter, of)| term(counter, of))
}

fn services() -> impl Strategy<Value = Service> {
    prop::sample::select([Served, Lost, Distrusted].to_vec())
}

fn statements() -> impl Strategy<Value = ServerStatement> {
    let successor = prop::option::of((0u8..3).prop_map(rank));
    (prop::bool::ANY, 1u64..9, 0u8..3, services(), successor).prop_map(
        |(is_active, counter, of, service, successor)| {
            let role = if is_active { Role::Active } else { Role::Standby };
            ServerStatement { role, term: term(counter, of), service, successor }
        },
    )
}

prop_compose! {
    /// Whatever other nodes may state, true or not.
    fn arounds()(
        servers in prop::collection::vec((1u8..3, statements()), 0..3),
        clients in prop::collection::vec((terms(), services()), 0..6),
        distrusted in 0u8..8,
        known_members in 0usize..9,
    ) -> Around {
        let around = Around::new(&servers, &[]);
        let distrusted = (0..3).filter(|&place| distrusted & (1 << place) != 0).map(rank).collect();
        let clients: Vec<MemberStatement> = clients.into_iter().map(of_member).collect();
        Around { clients: clients.into_iter().collect(), distrusted, known_members, ..around }
    }
}

proptest! {
    #[test]
    fn whatever_others_state_terms_never_decrease_and_an_active_server_has_a_term_of_its_own(
        rounds in prop::collection::vec((arounds(), 0u8..6), 1..40),
        majority: bool,
    ) {
        let quorum = if majority { Quorum::Majority } else { Quorum::Any };
        let mut role = ServerRole::new(rank(0), 3, quorum);
        for (around, input) in rounds {
            let before = role.clone();
            let change = match input {
                0 => { role.handle_stall(); None }
                1 => { role.resign(&around.surroundings(), None); None }
                2 => role.handle_handover(&around.surroundings()),
                _ => around.round(&mut role),
            };
            prop_assert!(role.term() >= before.term());
            if role.role() == Role::Active {
                prop_assert_eq!(role.term().rank(), Some(rank(0)));
            }
            let is_new_term = matches!(change, Some(TookOver(_) | Succeeded(_) | Raised(_)));
            prop_assert!(!is_new_term || role.term() > before.term());
            let census = before.census(&around.surroundings());
            if let Some(TookOver(_)) = change {
                prop_assert!(census.lost().is_majority_of(census.heard()) && census.members() >= 2);
            }
        }
    }

    #[test]
    fn an_active_server_never_yields_to_one_that_serves_fewer_members(around in arounds()) {
        let mut role = active_server(3, 0);
        let census = role.census(&around.surroundings());
        if let Some(Yielded(to)) = around.round(&mut role) {
            let served = |of: Option<Rank>| of.map_or(Weight::ZERO, |of| census.served_by(of));
            prop_assert!(served(to.rank()) >= served(Some(rank(0))));
        }
    }
}

#[test]
fn a_server_without_the_clusters_time_takes_over_last() {
    let (lost, own) = (term(3, 0), term(3, 0));
    let mut role = standby_server(1, lost);
    let mut around = Around::new(&[standby(2, own, Lost)], &[(own, Lost, 4)]);
    around.has_time = false;
    for _ in 0..3 {
        assert_eq!(around.round(&mut role), None, "the other one has the time");
    }
    assert_eq!(around.round(&mut role), Some(TookOver(term(4, 1))));
    let mut role = standby_server(2, lost);
    let mut around = Around::new(&[standby(1, own, Lost)], &[(own, Lost, 4)]);
    around.with_time = ServerSet::EMPTY;
    assert_eq!(around.round(&mut role), Some(TookOver(term(4, 2))), "it waits for none without the time");
}

#[test]
fn a_server_hands_over_to_one_that_carries_the_time() {
    let own = term(3, 0);
    let mut around = Around::new(&[standby(1, own, Served), standby(2, own, Served)], &[(own, Served, 4)]);
    around.with_time = [rank(2)].into_iter().collect();
    assert_eq!(active_server(3, 0).resign(&around.surroundings(), None), Some(rank(2)));
    around.with_time = ServerSet::ALL;
    assert_eq!(active_server(3, 0).resign(&around.surroundings(), None), Some(rank(1)));
}
