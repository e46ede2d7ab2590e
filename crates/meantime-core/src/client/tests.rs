use alloc::vec::Vec;

use super::*;
use crate::roles::statement::Role;
use crate::server_by_hand::{ServerByHand, at, rank};
use crate::time::Frequency;

fn client_of_three() -> Client {
    Client::new(ClientConfig { servers: 3, ..ClientConfig::default() }, [3; 32], at(Span::ZERO))
}

/// The terms that the client has reported to follow.
fn followed(client: &mut Client) -> Vec<Term> {
    let events = core::iter::from_fn(|| client.poll_event());
    let follows = events.filter_map(|event| match event {
        ClientEvent::Follows { term, .. } => Some(term),
        _ => None,
    });
    follows.collect()
}

#[test]
fn a_server_that_raises_its_term_all_the_time_floods_no_reader() {
    let (mut client, mut server) = (client_of_three(), ServerByHand::new(0));
    server.register(at(Span::ZERO), &mut client);
    let terms = (1..=6_000).filter_map(|counter| Term::new(counter, rank(0)));
    let mut reported = 0;
    for (ms, term) in (10..).step_by(10).zip(terms) {
        let now = at(Span::from_secs(5) + Span::from_millis(ms));
        server.claim(now, &mut client, term);
        client.handle_timeout(now);
        reported += followed(&mut client).len();
    }
    assert!((2..=30).contains(&reported), "in a minute {reported}");
    // The last term lasts, and is reported.
    let last = Term::new(6_000, rank(0)).unwrap();
    let now = at(Span::from_secs(66));
    server.claim(now, &mut client, last);
    let due = client.poll_timeout().unwrap();
    assert!(due > now.mono, "it does not spin");
    let mut now = now;
    let reported = (0..100).find_map(|_| {
        now = at(now.mono - Monotonic::from_nanos(0) + Span::from_millis(200));
        server.claim(now, &mut client, last);
        client.handle_timeout(now);
        followed(&mut client).pop()
    });
    assert_eq!(reported, Some(last));
}

#[test]
fn a_name_that_cannot_be_resolved_is_that_of_a_place_in_the_list() {
    let mut client = client_of_three();
    client.handle_resolved(at(Span::ZERO), rank(2), None);
    assert_eq!(client.poll_event(), Some(ClientEvent::Unresolved { rank: rank(2), attempt: 1 }));
}

#[test]
fn a_false_number_of_a_rate_command_does_not_count_for_longer_than_a_statement() {
    let (mut client, mut server) = (client_of_three(), ServerByHand::new(0));
    let after = |s| at(Span::from_secs(s));
    server.register(after(0), &mut client);
    let (right, wrong) = (Frequency::from_ppm(0.5), Frequency::from_ppm(90.0));
    // Of a server that the client does not follow, a forged datagram of a far higher number.
    let number = core::mem::replace(&mut server.sequence, 50_000);
    server.probe(after(1), &mut client, wrong);
    server.sequence = number;
    server.probe(after(2), &mut client, right);
    server.probe(after(11), &mut client, right);
    // It follows the server, and counts changes from the newest command.
    let term = Term::new(1, rank(0)).unwrap();
    server.claim(after(11), &mut client, term);
    server.claim(after(17), &mut client, term);
    assert_eq!(followed(&mut client), [term]);
    assert_eq!(server.probe(after(17), &mut client, right), right);
}

#[test]
fn a_client_of_one_server_follows_its_rate_after_it_has_stood_by_for_long() {
    let (mut client, mut server) =
        (Client::new(ClientConfig::default(), [3; 32], at(Span::ZERO)), ServerByHand::new(0));
    let after = |s| at(Span::from_secs(s));
    server.register(after(0), &mut client);
    let (own, other) = (Term::new(1, rank(0)).unwrap(), Term::new(2, rank(1)).unwrap());
    server.claim(after(1), &mut client, own);
    let before = Frequency::from_ppm(0.5);
    assert_eq!(server.probe(after(1), &mut client, before), before);
    for s in 2..9 {
        server.state(after(s), &mut client, Role::Standby, other);
        server.probe(after(s), &mut client, before);
        server.sequence += 20_000;
    }
    server.claim(after(9), &mut client, Term::new(3, rank(0)).unwrap());
    let later = Frequency::from_ppm(0.7);
    assert_eq!(server.probe(after(9), &mut client, later), later);
}
