//! The timekeeper of a standby server that takes over.

use super::relay::given;
use super::*;
use crate::relayed_time::ExternalTime;

/// The timekeeper of a server that has stood by with a time of this cluster and takes over; if the cluster
/// has no name yet, it gives it one.
fn taken_over(cluster: ClusterId, new_cluster: impl FnOnce() -> ClusterId) -> Story {
    let mut story = Story::begin();
    story.timekeeper.stand_by();
    let now = story.now;
    let time = ExternalTime { cluster, ..given(now, Span::from_secs(3), Frequency::ZERO) };
    assert!(story.timekeeper.set_external_time(now, Some(time)), "it has time from now on");
    let shown = story.timekeeper.shown(now);
    let bound = story.timekeeper.take_over(now, shown, new_cluster);
    assert!(bound.is_some_and(|bound| bound >= Span::from_micros(80)), "{bound:?}");
    assert_eq!(story.timekeeper.state(), ClientState::Synchronized);
    let carried = story.timekeeper.carried(now).expect("it carries a time");
    assert_eq!((carried.cluster, carried.phase), (story.timekeeper.cluster(), Span::from_secs(3)));
    story
}

#[test]
fn a_time_whose_cluster_nobody_has_named_gets_a_name_from_the_server_that_takes_over() {
    let story = taken_over(ClusterId(0), || ClusterId(9));
    assert_eq!(story.timekeeper.cluster(), ClusterId(9));
}

#[test]
fn the_cluster_keeps_its_name_when_a_server_takes_over() {
    let story = taken_over(CLUSTER, || panic!("the cluster has a name"));
    assert_eq!(story.timekeeper.cluster(), CLUSTER);
}
