//! The conclusion of a round, whatever the phase.

use alloc::borrow::Cow;

use super::reading::{Conclusion, Electorate, MemberJudgement, MemberReading, PhaseTransition, Recipients};
use super::timekeeper::{Phase, Timekeeper};
use crate::event::{Exclusion, Outcome};
use crate::time::{Correction, Offset, Raw};
use crate::wire::ClusterId;

impl Timekeeper {
    /// Concludes round `round`: votes, and adjusts the server's own clock. `now` is not before any reading;
    /// `new_cluster` is the id of the cluster if this round founds one.
    pub fn conclude(
        &mut self,
        round: u32,
        now: Raw,
        electorate: Electorate<'_>,
        new_cluster: ClusterId,
    ) -> Conclusion {
        let (own, member_readings) = (electorate.own, electorate.clients);
        // A removed member does not count as a member.
        let some_removed = member_readings.iter().any(MemberReading::is_removed);
        let voters: Cow<'_, [MemberReading<'_>]> = match some_removed {
            true => member_readings.iter().filter(|member| !member.is_removed()).copied().collect(),
            false => member_readings.into(),
        };
        let mut conclusion = Conclusion::blank(round, voters.len());
        let voters = Electorate { own, clients: &voters };
        self.contradicted = false;
        let manual_before = self.manual_part(now);
        self.voters = match self.phase {
            Phase::Steady => voters.voters(),
            // Some may be gone for the moment.
            Phase::Listening(_) | Phase::Following(_) => self.voters.max(voters.voters()),
        };
        match self.phase {
            // The time is not given yet.
            Phase::Listening(_) if self.is_given() => {}
            Phase::Listening(votes) => {
                self.conclude_listening(votes, now, voters, new_cluster, &mut conclusion);
            }
            Phase::Following(left) => self.conclude_following(left, now, voters, &mut conclusion),
            Phase::Steady => self.conclude_steady(now, voters, &mut conclusion),
        }
        if some_removed {
            self.judge_removed(member_readings, &mut conclusion);
        }
        self.recipients = match conclusion.report.outcome {
            // For a member without cluster time, the server's time is better than none.
            Outcome::Unsure if self.phase == Phase::Steady && !self.contradicted => Recipients::Joining,
            Outcome::Listening | Outcome::Unsure | Outcome::ServerInDoubt => Recipients::None,
            Outcome::Following => Recipients::Joining,
            Outcome::Agreed => Recipients::All,
        };
        self.last_window = conclusion.report.window;
        let manual = self.manual_part(now) - manual_before;
        conclusion.added = Correction::adding(conclusion.correction.span() + manual);
        conclusion.report.mean_frequency = self.anchor.mean();
        conclusion.report.rate = self.anchor.rate();
        conclusion
    }

    /// Adds the judgements about removed members to those of the voters, so that the operator sees how far
    /// off they are.
    fn judge_removed(&self, member_readings: &[MemberReading<'_>], conclusion: &mut Conclusion) {
        let (median, window) = (conclusion.report.median.span(), conclusion.report.window);
        let set_since = matches!(conclusion.transition, Some(PhaseTransition::Deposed(_)));
        let no_vote = conclusion.own.is_none() || set_since;
        let removed = |member: &MemberReading<'_>| {
            let reading = member.reading.filter(|_| member.state.has_cluster_time() && !no_vote)?;
            let offset = self.offset(&reading).span() - median;
            let agrees = offset.abs() <= window + reading.excess && self.implausible(&reading).is_none();
            Some(MemberJudgement {
                offset: Offset::ahead_by(offset),
                agrees,
                exclusion: Some(Exclusion::Removed),
            })
        };
        let mut voters = core::mem::take(&mut conclusion.judgements).into_iter();
        conclusion.judgements = member_readings
            .iter()
            .map(|member| if member.is_removed() { removed(member) } else { voters.next().flatten() })
            .collect();
    }
}
