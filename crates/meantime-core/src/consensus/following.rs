//! Following: the server learns phase and frequency of the time that its clients carry.

use super::ensemble::EnsembleObservation;
use super::noise::deviation_of_median;
use super::reading::{Conclusion, MemberReading, PhaseReading, PhaseTransition};
use super::timekeeper::{Phase, Timekeeper};
use super::vote;
use super::window::MAX_WINDOW;
use crate::config::STEP_THRESHOLD;
use crate::event::{Adjustment, Outcome};
use crate::time::Raw;
use alloc::vec::Vec;

impl Timekeeper {
    /// A round while following: learns the time that the members carry.
    pub(super) fn conclude_following(
        &mut self,
        left: u32,
        now: Raw,
        member_readings: &[MemberReading<'_>],
        conclusion: &mut Conclusion,
    ) {
        conclusion.report.outcome = Outcome::Unsure;
        if !self.follow_members(now, member_readings, conclusion) {
            self.count_unsure_round();
            return;
        }
        self.unsure = 0;
        conclusion.report.outcome = Outcome::Following;
        self.phase = Phase::Following(left.saturating_sub(1));
        if left <= 1 {
            self.become_steady();
            conclusion.transition = Some(PhaseTransition::Resumed);
        }
    }

    /// Updates the ensemble with this round's median of the members that carry cluster time, and sets the
    /// server's clock from it. Returns false, and does nothing, if no majority of them agrees.
    pub(super) fn follow_members(
        &mut self,
        now: Raw,
        member_readings: &[MemberReading<'_>],
        conclusion: &mut Conclusion,
    ) -> bool {
        let frequency = self.timescale.frequency();
        let carriers = member_readings.iter().filter(|member| member.state.has_cluster_time());
        let members = carriers.clone().count();
        let readings: Vec<PhaseReading> = carriers
            .filter_map(|member| member.reading)
            .filter(|reading| reading.fresh && self.implausible(reading).is_none())
            .collect();
        let votes: Vec<vote::VoteReading> = readings
            .iter()
            .map(|reading| vote::VoteReading {
                offset: reading.phase + frequency.over(now - reading.at),
                error: reading.excess,
            })
            .collect();
        let agreement = vote::agreement(&votes, MAX_WINDOW, members);
        conclusion.report.members = members + 1;
        conclusion.report.heard = readings.len();
        conclusion.report.agreeing = agreement.agreeing;
        conclusion.report.window = MAX_WINDOW;
        conclusion.report.spread = agreement.spread;
        if !agreement.majority {
            return false;
        }
        let first = self.ensemble.estimate(now).is_none();
        let deviation_s = deviation_of_median(&votes, &readings);
        let believed =
            self.ensemble.observe(EnsembleObservation { at: now, phase: agreement.median, deviation_s });
        let Some(known) = self.ensemble.estimate(now).filter(|_| believed) else {
            return false;
        };
        let published = self.timescale.phase_at(now) + self.timescale.residue_at(now);
        let far = (known.phase - published).abs() > STEP_THRESHOLD;
        conclusion.adjustment = if first || far { Adjustment::Step } else { Adjustment::Slew };
        conclusion.correction = self.timescale.set(now, known.phase, known.frequency, conclusion.adjustment);
        true
    }
}
