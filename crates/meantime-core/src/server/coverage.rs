//! Which members the guarantee of a round covers, and how far two of them may differ.
//!
//! A bound is what a member says of itself. It counts only together with what the server has measured in the
//! same exchange: [`Measurement::beyond_bound`]. So a member that states a false bound, none at all, or does
//! not answer takes itself out of the guarantee, and leaves that of the others as it is.

use super::context::Context;
use super::measurement::Measurement;
use super::member::Member;
use crate::ServerEvent;
use crate::consensus::{Conclusion, PhaseTransition};
use crate::coverage::Coverage;
use crate::estimation::bound::TOLERANCE;
use crate::estimation::timescale::Timescale;
use crate::event::{Adjustment, Outcome};
use crate::time::{Frequency, Now, Span, Timestamp};
use crate::wire::ManualAdjustment;
use alloc::vec::Vec;

/// Decides about each clock of a round that has just been concluded, stores it with the members, and puts the
/// figures into the round's report. `before` is the server's clock before the conclusion.
pub(super) fn decide(context: &mut Context, now: Now, before: &Timescale, conclusion: &mut Conclusion) {
    let timescale = match conclusion.adjustment {
        // A steered rate moves the past a little; what the clocks showed then refers to the rate before.
        Adjustment::Slew => *before,
        Adjustment::Step => *context.timekeeper.timescale(),
    };
    let is_judged = conclusion.report.outcome == Outcome::Agreed;
    let mut covered = CoveredBounds::default();
    for ((_, member), judgement) in context.members.iter_mut().zip(&conclusion.judgements) {
        let agrees = judgement.filter(|_| is_judged).map(|judgement| judgement.agrees);
        let (coverage, bound) = coverage_of(member, conclusion.report.round, agrees, &timescale);
        member.coverage = coverage;
        covered.extend(bound.filter(|_| coverage == Coverage::Covered));
    }
    let own_agrees = is_judged && conclusion.own.is_some_and(|own| own.agrees);
    covered.extend(context.timekeeper.own_bound(now.raw).filter(|_| own_agrees));
    let report = &mut conclusion.report;
    (report.covered, report.largest_bound) = (covered.count, covered.sum());
    report.not_covered = 1 + context.members.len() - covered.count;
}

/// Whether the guarantee of a round covers a member, and the bound that it has stated. `agrees`: what the
/// round has found of its clock; `None`: nothing.
fn coverage_of(
    member: &Member,
    round: u32,
    agrees: Option<bool>,
    timescale: &Timescale,
) -> (Coverage, Option<Span>) {
    let measured = member.reading_of(round);
    let bound = measured.and_then(|measured| measured.quality.bound());
    let is_contradicted = |measured: Measurement| {
        measured.beyond_bound(measured.offset_from(timescale.phase_at(measured.at()))).is_some()
    };
    let coverage = match (measured, agrees, bound) {
        _ if !member.state.has_cluster_time() => Coverage::Unsynchronized,
        (None, ..) => Coverage::NotHeard,
        (_, None, _) => Coverage::Unjudged,
        (_, Some(false), _) => Coverage::Falseticker,
        (.., None) => Coverage::NoBound,
        (Some(measured), ..) if is_contradicted(measured) => Coverage::ContradictedBound,
        _ => Coverage::Covered,
    };
    (coverage, bound)
}

/// The event to report if the server corrects its members, from this round on, to a time beyond the bounds
/// that some of them have stated; or if it has done so since the last round with members that had come with
/// another cluster's time.
pub(super) fn broken_bounds(context: &mut Context, now: Now, conclusion: &Conclusion) -> Option<ServerEvent> {
    let (mut members, mut largest) = core::mem::take(&mut context.taken_over);
    // A server that follows corrects no member that has a time.
    let resumes = conclusion.transition == Some(PhaseTransition::Resumed);
    let transition = conclusion.transition.filter(|_| resumes || conclusion.begins_correcting());
    if let Some(transition) = transition {
        for beyond in beyond_bounds(context, now, transition) {
            (members, largest) = (members + 1, largest.max(beyond));
        }
        // Those that have come with another cluster's time are counted, too, if they were measured lately.
        let (cluster, max_age) = (context.timekeeper.cluster(), context.config.lifetime());
        for (_, member) in context.members.iter_mut().filter(|(_, it)| newest(it, now, max_age).is_some()) {
            member.cluster = cluster;
        }
    }
    (members > 0).then_some(ServerEvent::BoundsBroken { members, largest })
}

/// By how much the cluster's time is beyond the bounds of those members for which it is, after this
/// transition.
fn beyond_bounds(context: &mut Context, now: Now, transition: PhaseTransition) -> Vec<Span> {
    let (timescale, max_age) = (*context.timekeeper.timescale(), context.config.lifetime());
    let added = context.timekeeper.manual_part(now.raw);
    let beyond = |(member, adjustment): (&mut Member, Option<&ManualAdjustment>)| {
        let measured = newest(member, now, max_age).filter(|_| member.state.has_cluster_time())?;
        let (shown, drift) = match transition {
            // Clocks are counted as they are shown; how fast they drift from the mean is not known.
            PhaseTransition::Agreed => (shown(&measured, member.manual_adjustment(adjustment)), TOLERANCE),
            PhaseTransition::Adopted => (measured, TOLERANCE),
            _ => (measured, Frequency::ZERO),
        };
        let time = match transition {
            PhaseTransition::Agreed => timescale.phase_at(shown.at()) + added,
            _ => timescale.phase_at(shown.at()),
        };
        let offset = shown.offset_from(time);
        let beyond = shown.beyond_bound(offset)? - drift.over(now.raw - shown.at());
        (beyond > Span::ZERO).then_some(beyond)
    };
    context.members.iter_with_adjustments().filter_map(beyond).collect()
}

/// A member's newest measurement, if it is not older than `max_age`.
fn newest(member: &Member, now: Now, max_age: Span) -> Option<Measurement> {
    member.reading().filter(|measured| now.raw - measured.t4 <= max_age)
}

/// A measurement of a clock as it is shown, with the manual time adjustment that it carries.
fn shown(measured: &Measurement, adjustment: Option<&ManualAdjustment>) -> Measurement {
    let base = Timestamp::from_nanos((measured.at() + measured.phase).as_nanos());
    let added = adjustment.unwrap_or(&ManualAdjustment::NONE).added_at(base);
    Measurement { phase: measured.phase + added, ..*measured }
}

/// The bounds of the covered clocks: how many there are, and the two largest.
#[derive(Clone, Copy, Debug, Default)]
struct CoveredBounds {
    count: usize,
    first: Span,
    second: Span,
}

impl CoveredBounds {
    /// The maximum difference of two of these clocks; `None`: there are not two.
    fn sum(&self) -> Option<Span> {
        (self.count >= 2).then(|| self.first + self.second)
    }
}

impl Extend<Span> for CoveredBounds {
    fn extend<I: IntoIterator<Item = Span>>(&mut self, bounds: I) {
        for bound in bounds {
            self.count += 1;
            self.second = self.second.max(bound.min(self.first));
            self.first = self.first.max(bound);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(bounds: &[i64]) -> Option<Span> {
        let mut covered = CoveredBounds::default();
        covered.extend(bounds.iter().map(|us| Span::from_micros(*us)));
        covered.sum()
    }

    #[test]
    fn two_clocks_differ_by_the_sum_of_the_two_largest_bounds() {
        let us = |us| Some(Span::from_micros(us));
        assert_eq!(sum(&[0, 7, 5, 9]), us(16));
        assert_eq!(sum(&[0, 7]), us(7));
        assert_eq!(sum(&[9, 7, 7]), us(16));
        assert_eq!((sum(&[0]), sum(&[])), (None, None));
    }
}
