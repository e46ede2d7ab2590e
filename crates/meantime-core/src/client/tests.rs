use alloc::vec::Vec;

use super::*;
use crate::server_by_hand::{ServerByHand, at, rank};

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
