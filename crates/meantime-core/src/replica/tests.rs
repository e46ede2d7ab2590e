use super::*;
use crate::roles::server_role::Quorum;
use crate::roles::term::Term;
use crate::server_by_hand::{ServerByHand, at, rank};

/// The second server of three.
fn second() -> Replica {
    let place = ServerPlace { rank: rank(1), servers: 3, quorum: Quorum::Any };
    Replica::new(place, ClientConfig::default(), ServerConfig::default(), [[3; 32], [4; 32]], at(Span::ZERO))
}

#[test]
fn a_server_that_raises_its_term_all_the_time_floods_no_reader_of_another() {
    let (mut replica, mut first) = (second(), ServerByHand::new(0));
    first.register(at(Span::ZERO), &mut replica);
    let terms = (1..=6_000).filter_map(|counter| Term::new(counter, rank(0)));
    let mut changes = Vec::new();
    for (ms, term) in (10..).step_by(10).zip(terms) {
        let now = at(Span::from_millis(ms));
        first.claim(now, &mut replica, term);
        replica.handle_timeout(now);
        let events = core::iter::from_fn(|| replica.poll_event());
        changes.extend(events.filter(|event| matches!(event, ReplicaEvent::Role(_))));
    }
    assert!((2..=30).contains(&changes.len()), "in a minute {}", changes.len());
    // The last change lasts, and is reported.
    let last = Term::new(6_000, rank(0)).unwrap();
    let reported = (0..100).find_map(|step| {
        let now = at(Span::from_secs(60) + Span::from_millis(200 * step));
        first.claim(now, &mut replica, last);
        replica.handle_timeout(now);
        core::iter::from_fn(|| replica.poll_event()).find(|event| matches!(event, ReplicaEvent::Role(_)))
    });
    assert_eq!(reported, Some(ReplicaEvent::Role(RoleChange::Followed(last))));
}
