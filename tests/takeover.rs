//! A server that begins to correct its members to a time beyond the bounds that they have stated says so.

use meantime_core::time::Span;
use meantime_core::wire::{ClientState, ClusterId};
use meantime_core::{Server, ServerConfig, ServerEvent};
use meantime_sim::testkit::{Claims, Delay, Endpoint, Host, HostClock, HostileClient, Network};

/// What a server that has just been started reports within five minutes, if its members carry a time already:
/// each is so much ahead, and states a bound of a millisecond.
fn events(ahead: &[Span]) -> Vec<ServerEvent> {
    let claims = |ahead| Claims {
        ahead,
        state: ClientState::Synchronized,
        bound: Some(Span::from_millis(1)),
        cluster: ClusterId(7),
        answers: true,
    };
    let clock = HostClock::Offset(Span::from_secs(2));
    let mut server =
        Host::start(0, clock, Span::ZERO, |now| Server::new(ServerConfig::default(), [0; 32], now));
    let member =
        |(number, ahead): (usize, &Span)| HostileClient::new(number, "x", Span::ZERO, claims(*ahead));
    let mut members: Vec<HostileClient> = (1..).zip(ahead).map(member).collect();
    let mut endpoints: Vec<&mut dyn Endpoint> = vec![&mut server];
    endpoints.extend(members.iter_mut().map(|member| member as &mut dyn Endpoint));
    Network::new(Delay::constant(Span::from_micros(100))).run_until(Span::from_secs(300), &mut endpoints);
    drop(endpoints);
    server.events()
}

/// The members and the largest excess of each report of broken bounds.
fn broken(events: &[ServerEvent]) -> Vec<(usize, Span)> {
    let broken = |event: &ServerEvent| match event {
        ServerEvent::BoundsBroken { members, largest } => Some((*members, *largest)),
        _ => None,
    };
    events.iter().filter_map(broken).collect()
}

fn has_taken_over(events: &[ServerEvent]) -> bool {
    let adopted = |event: &ServerEvent| matches!(event, ServerEvent::TimeAdopted { .. });
    events.iter().any(adopted) && events.contains(&ServerEvent::Resumed)
}

#[test]
fn a_takeover_within_all_bounds_is_no_event() {
    let told = events(&[Span::ZERO, Span::from_micros(20), Span::ZERO, Span::from_micros(-20), Span::ZERO]);
    assert!(has_taken_over(&told), "{told:?}");
    assert_eq!(broken(&told), []);
}

#[test]
fn a_takeover_beyond_the_bound_of_a_member_says_by_how_much() {
    let told = events(&[Span::ZERO, Span::ZERO, Span::ZERO, Span::ZERO, Span::from_millis(500)]);
    assert!(has_taken_over(&told), "{told:?}");
    let [(1, largest)] = broken(&told)[..] else { panic!("{told:?}") };
    assert!((largest - Span::from_millis(499)).abs() < Span::from_millis(1), "{largest}");
}
