//! A cluster that references lead: within which limits, what is refused, and what an operator can do.

use super::*;
use crate::consensus::reference_vote::ReferenceInterval;
use crate::reference::UtcState;

const MILLISECOND: Span = Span::from_millis(1);

/// Three clients agree with a server that leads within these limits.
fn story(leading: LeadingConfig) -> Story {
    let mut story = Story::begin();
    let config = TimekeeperConfig { leading, ..story.timekeeper.config };
    story.timekeeper = Timekeeper::new(config, story.now);
    story.round_of(CLUSTER, &[new_member(Span::ZERO); 3]);
    story
}

impl Story {
    /// So many rounds, in which one reference states that UTC is so far ahead of the server's oscillator, to
    /// a millisecond. The last conclusion.
    fn refer(&mut self, rounds: u32, utc: Span) -> UtcConclusion {
        let stated = ReferenceInterval { middle: utc, reach: MILLISECOND, weight: Weight::ONE };
        let mut last = None;
        for _ in 0..rounds {
            self.round(&self.agreeing(3));
            last = Some(self.timekeeper.follow_references(self.now, &[stated]));
        }
        last.expect("a round")
    }

    /// What the clocks show minus the server's oscillator.
    fn shown(&self) -> Span {
        self.timekeeper.shown_phase(self.now)
    }

    /// The time is set at once.
    fn set_time(&mut self, by: Span) -> Result<ManualAdjustment, SetTimeError> {
        self.timekeeper.set_time(self.now, by, Adjustment::Step, Span::ZERO)
    }
}

const ROUNDS_AN_HOUR: u32 = 720;

#[test]
fn no_more_than_the_daily_limit_is_led() {
    let utc = MILLISECOND.times(100);
    let mut story = story(LeadingConfig { daily: MILLISECOND.times(20), ..LeadingConfig::default() });
    // Half of it at once, and the other half within a day.
    for (hours, most) in [(6, 12.5), (6, 15.0), (12, 20.0)] {
        assert_eq!(story.refer(hours * ROUNDS_AN_HOUR, utc).state, UtcState::Leading);
        let led = story.shown();
        let most = MILLISECOND.scaled(most);
        assert!(led <= most && led >= most.scaled(0.9), "{led} of {most}");
    }
}

#[test]
fn the_rate_over_utc_is_limited() {
    let max_rate = Frequency::from_ppm(5.0);
    let mut story = story(LeadingConfig { max_rate, daily: SECOND.times(100) });
    story.refer(ROUNDS_AN_HOUR, SECOND.times(20));
    let before = story.shown();
    assert_eq!(story.refer(ROUNDS_AN_HOUR, SECOND.times(20)).state, UtcState::Leading);
    let (led, most) = (story.shown() - before, max_rate.over(HOUR));
    assert!((led - most).abs() <= most.scaled(0.001), "{led} in an hour, not {most}");
}

/// A story in which the clocks show UTC, which is what the server's oscillator shows.
fn at_utc() -> Story {
    let mut story = story(LeadingConfig::default());
    assert_eq!(story.refer(200, Span::ZERO).state, UtcState::Leading);
    story
}

#[test]
fn a_reference_beyond_what_holdover_explains_since_the_clocks_showed_utc_is_refused() {
    let (mut story, jumped) = (at_utc(), MILLISECOND.times(100));
    let told = story.refer(1, jumped);
    assert_eq!(told.state, UtcState::Refused);
    let offset = told.offset.expect("it is known").span();
    assert!((offset + jumped).abs() < MILLISECOND, "{offset}");
    // Its error, and 100 ppm of five seconds.
    assert!(told.explained < MILLISECOND.times(2), "{:?}", told.explained);
    let before = story.shown();
    assert_eq!(story.refer(60, jumped).state, UtcState::Refused);
    assert!((story.shown() - before).abs() < MILLISECOND, "{}", story.shown() - before);
    // Within 1,000 s oscillators may go so far.
    assert_eq!(story.refer(240, jumped).state, UtcState::Leading);
}

#[test]
fn to_set_the_time_ends_a_refusal() {
    let (mut story, jumped) = (at_utc(), MILLISECOND.times(100));
    assert_eq!(story.refer(20, jumped).state, UtcState::Refused);
    // The operator need not hit the reference's time: what it says is believed from now on.
    story.set_time(MILLISECOND.times(10)).unwrap();
    assert_ne!(story.refer(1, jumped).state, UtcState::Refused);
    assert_eq!(story.refer(60, jumped).state, UtcState::Leading);
}

#[test]
fn the_time_is_not_set_away_from_references_that_lead_it() {
    let mut story = story(LeadingConfig::default());
    let told = story.refer(200, SECOND);
    assert_eq!(told.state, UtcState::Leading);
    let missing = -told.offset.expect("it is known").span();
    assert!(missing > MILLISECOND.times(900), "{missing}");
    for by in [-MILLISECOND, missing.times(2) + MILLISECOND, HOUR] {
        assert_eq!(story.set_time(by), Err(SetTimeError::AwayFromReferences(missing)), "{by}");
    }
    assert!(story.set_time(MILLISECOND.times(500)).is_ok());
    // Without references nobody knows better than the operator.
    let mut story = at_utc();
    assert_eq!(story.refer(20, HOUR).state, UtcState::Refused);
    assert!(story.set_time(-SECOND).is_ok());
}
