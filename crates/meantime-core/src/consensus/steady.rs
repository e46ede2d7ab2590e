//! Steady: the server's disciplined clock carries the cluster's time, and the vote watches it.

use super::ensemble::{Ensemble, EnsembleObservation};
use super::{
    Conclusion, FrequencyReport, MemberJudgement, MemberReading, Phase, PhaseReading, PhaseTransition,
    Timekeeper, deviation_of_median, typical_noise,
};
use crate::consensus::vote::{self, Agreement};
use crate::event::{Adjustment, Exclusion, Outcome};
use crate::time::{Frequency, Offset, Raw, Span};
use alloc::vec::Vec;

impl Timekeeper {
    /// A round while steady: checks whether the majority agrees with the server's clock.
    pub(super) fn conclude_steady(
        &mut self,
        now: Raw,
        member_readings: &[MemberReading<'_>],
        conclusion: &mut Conclusion,
    ) {
        let voice = |member: &MemberReading<'_>| {
            let reading = member.reading.filter(|reading| self.implausible(reading).is_none())?;
            member.state.has_cluster_time().then_some((member.excluded, reading))
        };
        let (excluded, readings): (Vec<bool>, Vec<PhaseReading>) =
            member_readings.iter().filter_map(voice).unzip();
        let members = 1 + member_readings.iter().filter(|member| member.state.has_cluster_time()).count();
        let clients: Vec<vote::VoteReading> = readings
            .iter()
            .map(|reading| vote::VoteReading { offset: self.offset(reading).span(), error: reading.excess })
            .collect();
        let noise = typical_noise(&readings);
        let window = self.window.width(noise, members);
        // Deposing the server takes more than half of all, newcomers included: they have no vote yet.
        let among_clients = vote::agreement(&without_errors(&clients), window, 1 + member_readings.len());
        let own = vote::VoteReading { offset: Span::ZERO, error: Span::ZERO };
        let all: Vec<vote::VoteReading> = core::iter::once(own).chain(clients.iter().copied()).collect();
        let agreement = vote::agreement(&all, window, members);
        let heard = 1 + readings.iter().filter(|reading| reading.fresh).count();
        self.report(&agreement, members, heard, window, conclusion);
        self.judge(&agreement, window, member_readings, conclusion);
        let external_cluster = self.config.external_cluster.is_some();
        let doubted = !external_cluster
            && members >= 3
            && among_clients.majority
            && among_clients.median.abs() > window.times(2);
        if doubted {
            conclusion.report.outcome = Outcome::ServerInDoubt;
            self.doubt_own_clock(now, &among_clients, noise, conclusion);
            return;
        }
        let fresh = readings
            .iter()
            .zip(&excluded)
            .zip(&clients)
            .filter(|((reading, excluded), _)| reading.fresh && !**excluded);
        self.contradicted = !external_cluster
            && agreement.majority
            && members > 2
            && contradicted(fresh.map(|(_, vote)| vote), &agreement, window);
        if self.contradicted || (!agreement.majority && !self.carries_on() && !external_cluster) {
            conclusion.report.outcome = Outcome::Unsure;
            conclusion.judgements.fill(None);
            conclusion.own = None;
            self.count_unsure_round();
            return;
        }
        self.doubt = None;
        self.unsure = if agreement.majority { 0 } else { self.unsure };
        conclusion.report.outcome = Outcome::Agreed;
        let offsets: Vec<Span> = all.iter().map(|reading| reading.offset).collect();
        let sure = agreement.majority && !clients.is_empty();
        if let Some(deviation) = vote::robust_deviation(&offsets).filter(|_| sure) {
            self.window.learn(deviation);
        }
        if among_clients.majority {
            let phase = self.timescale.phase_at(now) + among_clients.median;
            let deviation_s = deviation_of_median(&clients, &readings);
            self.ensemble.observe(EnsembleObservation { at: now, phase, deviation_s });
        }
        if !external_cluster {
            self.steer_rate(now, member_readings, members);
        }
    }

    /// The majority of all members agrees, and not with the server. The first time may be chance; the second
    /// time in a row the server is deposed.
    fn doubt_own_clock(&mut self, now: Raw, clients: &Agreement, noise: Span, conclusion: &mut Conclusion) {
        let phase = self.timescale.phase_at(now) + clients.median;
        let observed = EnsembleObservation { at: now, phase, deviation_s: noise.as_secs_f64() };
        let Some(before) = self.doubt.replace(observed) else {
            return;
        };
        conclusion.transition = Some(PhaseTransition::Deposed(Offset::ahead_by(-clients.median)));
        self.ensemble.start_anew(before, observed);
        let Some(known) = self.ensemble.estimate(now) else {
            return;
        };
        conclusion.correction = self.timescale.set(now, known.phase, known.frequency, Adjustment::Step);
        conclusion.adjustment = Adjustment::Step;
        self.begin_following();
    }

    /// Counts a round without a majority. After some, the window is opened; after more, a following server
    /// listens again.
    pub(super) fn count_unsure_round(&mut self) {
        self.unsure += 1;
        match self.unsure {
            RELEARN_AFTER => self.window.forget(),
            LISTEN_AFTER => {
                self.unsure = 0;
                // The prior frequency may be wrong.
                self.prior = None;
                self.ensemble = Ensemble::default();
                self.phase = Phase::Listening(0);
            }
            _ => {}
        }
    }

    /// Whether the server carries on although no majority agrees. If that lasts, and no majority contradicts
    /// the server, it is better than letting the members drift apart; a new first vote would let liars decide
    /// the time.
    fn carries_on(&self) -> bool {
        self.unsure + 1 >= LISTEN_AFTER
    }

    /// Steers the cluster's rate towards the mean of the members' oscillators.
    fn steer_rate(&mut self, now: Raw, member_readings: &[MemberReading<'_>], members: usize) {
        let own = self.timescale.frequency() - self.anchor.rate();
        let carriers = member_readings.iter().filter(|member| member.state.has_cluster_time());
        let reports: Vec<FrequencyReport> = carriers.filter_map(|member| member.frequency).collect();
        let adjustments: Vec<Frequency> =
            core::iter::once(own).chain(reports.iter().map(|report| report.adjustment)).collect();
        let change = self.anchor.steer(&adjustments, members, self.config.interval);
        self.anchor.learn_error(reports.iter().map(|report| report.error));
        self.timescale.shift_frequency(now, change);
        self.ensemble.shift_frequency(now, change);
    }

    /// Judges each client that was heard against the median.
    fn judge(
        &self,
        agreement: &Agreement,
        window: Span,
        member_readings: &[MemberReading<'_>],
        conclusion: &mut Conclusion,
    ) {
        let judgements = |offset: Offset, excess: Span, implausible: Option<Exclusion>| {
            let reading = vote::VoteReading { offset: offset.span(), error: excess };
            let outside = !agreement.includes(&reading, window);
            let exclusion = implausible.or(outside.then_some(Exclusion::OutsideWindow));
            MemberJudgement::vote(Offset::ahead_by(offset.span() - agreement.median), exclusion)
        };
        conclusion.own = Some(judgements(Offset::ZERO, Span::ZERO, None));
        conclusion.judgements = member_readings
            .iter()
            .map(|member| {
                let reading = member.reading.filter(|_| member.state.has_cluster_time())?;
                Some(judgements(self.offset(&reading), reading.excess, self.implausible(&reading)))
            })
            .collect();
    }

    fn report(
        &self,
        agreement: &Agreement,
        members: usize,
        heard: usize,
        window: Span,
        conclusion: &mut Conclusion,
    ) {
        let report = &mut conclusion.report;
        report.members = members;
        report.heard = heard;
        report.agreeing = agreement.agreeing;
        report.median = Offset::ahead_by(agreement.median);
        report.spread = agreement.spread;
        report.window = window;
    }
}

/// Whether most of this round's own readings disagree, those aside that did so before. Older readings are
/// kept by the server's oscillator: had that just jumped, they would still agree with it, and the fresh ones
/// would be judged wrong.
fn contradicted<'a>(
    fresh: impl Iterator<Item = &'a vote::VoteReading>,
    agreement: &Agreement,
    window: Span,
) -> bool {
    let (mut heard, mut agreeing) = (0, 0);
    for vote in fresh {
        heard += 1;
        agreeing += usize::from(agreement.includes(vote, window));
    }
    2 * agreeing < heard
}

fn without_errors(readings: &[vote::VoteReading]) -> Vec<vote::VoteReading> {
    readings.iter().map(|reading| vote::VoteReading { error: Span::ZERO, ..*reading }).collect()
}

/// Unsure rounds after which the window is learned anew: the members may have drifted apart.
const RELEARN_AFTER: u32 = 12;
/// Unsure rounds after which a following server listens again.
const LISTEN_AFTER: u32 = 24;
