//! Steady: the server's disciplined clock carries the cluster's time, and the vote watches it.

use super::ensemble::EnsembleObservation;
use super::noise::{deviation_of_median, typical_noise};
use super::reading::{
    Conclusion, FrequencyReport, MemberJudgement, MemberReading, PhaseReading, PhaseTransition,
};
use super::timekeeper::Timekeeper;
use super::vote::{self, Agreement, VoteReading};
use crate::event::{Adjustment, Exclusion, Outcome};
use crate::time::{Frequency, Offset, Raw, Span};
use alloc::vec::Vec;

/// The vote of one round.
struct SteadyVote {
    /// How many members carry cluster time, the server included.
    members: usize,
    /// The plausible readings of the clients that carry cluster time.
    readings: Vec<PhaseReading>,
    /// Whether the client of each reading was excluded before.
    excluded: Vec<bool>,
    /// How far each of these clients is ahead of the server's clock.
    clients: Vec<VoteReading>,
    /// The usual noise of the readings.
    noise: Span,
    /// Readings farther than this from the median do not agree.
    window: Span,
    /// The agreement of the clients alone, out of all members.
    among_clients: Agreement,
    /// The agreement of the clients and the server.
    all: Agreement,
}

impl Timekeeper {
    /// A round while steady: checks whether the majority agrees with the server's clock.
    pub(super) fn conclude_steady(
        &mut self,
        now: Raw,
        member_readings: &[MemberReading<'_>],
        conclusion: &mut Conclusion,
    ) {
        let vote = self.take_vote(member_readings);
        vote.report(conclusion);
        self.judge(&vote, member_readings, conclusion);
        let external_cluster = self.config.external_cluster.is_some();
        if !external_cluster && vote.deposes_server() {
            conclusion.report.outcome = Outcome::ServerInDoubt;
            self.doubt_own_clock(now, &vote, conclusion);
            return;
        }
        self.contradicted = !external_cluster && vote.is_contradicted();
        let agreed = vote.all.majority || self.carries_on() || external_cluster;
        if self.contradicted || !agreed {
            conclusion.report.outcome = Outcome::Unsure;
            conclusion.judgements.fill(None);
            conclusion.own = None;
            self.count_unsure_round();
            return;
        }
        conclusion.report.outcome = Outcome::Agreed;
        self.learn_from(&vote, now);
        if !external_cluster {
            self.steer_rate(now, member_readings, vote.members);
        }
    }

    /// The vote of the server and the clients that carry cluster time.
    fn take_vote(&self, member_readings: &[MemberReading<'_>]) -> SteadyVote {
        let voter = |member: &MemberReading<'_>| {
            let reading = member.reading.filter(|reading| self.implausible(reading).is_none())?;
            member.state.has_cluster_time().then_some((member.excluded, reading))
        };
        let (excluded, readings): (Vec<bool>, Vec<PhaseReading>) =
            member_readings.iter().filter_map(voter).unzip();
        let members = 1 + member_readings.iter().filter(|member| member.state.has_cluster_time()).count();
        let clients: Vec<VoteReading> = readings
            .iter()
            .map(|reading| VoteReading { offset: self.offset(reading).span(), error: reading.excess })
            .collect();
        let noise = typical_noise(&readings);
        let window = self.window.width(noise, members);
        // Deposing the server takes more than half of all, newcomers included: they have no vote yet.
        let among_clients = vote::agreement(&without_errors(&clients), window, 1 + member_readings.len());
        let own = VoteReading { offset: Span::ZERO, error: Span::ZERO };
        let voters: Vec<VoteReading> = core::iter::once(own).chain(clients.iter().copied()).collect();
        let all = vote::agreement(&voters, window, members);
        SteadyVote { members, readings, excluded, clients, noise, window, among_clients, all }
    }

    /// The server's clock was confirmed: learns the window, and the time that the clients carry.
    fn learn_from(&mut self, vote: &SteadyVote, now: Raw) {
        self.doubt = None;
        self.unsure = if vote.all.majority { 0 } else { self.unsure };
        let clients = vote.clients.iter().map(|reading| reading.offset);
        let offsets: Vec<Span> = core::iter::once(Span::ZERO).chain(clients).collect();
        let sure = vote.all.majority && !vote.clients.is_empty();
        if let Some(deviation) = vote::robust_deviation(&offsets).filter(|_| sure) {
            self.window.learn(deviation);
        }
        if vote.among_clients.majority {
            let phase = self.timescale.phase_at(now) + vote.among_clients.median;
            let deviation_s = deviation_of_median(&vote.clients, &vote.readings);
            self.ensemble.observe(EnsembleObservation { at: now, phase, deviation_s });
        }
    }

    /// The majority of all members agrees, and not with the server. The first time may be chance; the second
    /// time in a row the server is deposed.
    fn doubt_own_clock(&mut self, now: Raw, vote: &SteadyVote, conclusion: &mut Conclusion) {
        let clients = &vote.among_clients;
        let phase = self.timescale.phase_at(now) + clients.median;
        let observed = EnsembleObservation { at: now, phase, deviation_s: vote.noise.as_secs_f64() };
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
    fn judge(&self, vote: &SteadyVote, member_readings: &[MemberReading<'_>], conclusion: &mut Conclusion) {
        let judgements = |offset: Offset, excess: Span, implausible: Option<Exclusion>| {
            let reading = VoteReading { offset: offset.span(), error: excess };
            let outside = !vote.all.includes(&reading, vote.window);
            let exclusion = implausible.or(outside.then_some(Exclusion::OutsideWindow));
            MemberJudgement::vote(Offset::ahead_by(offset.span() - vote.all.median), exclusion)
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
}

impl SteadyVote {
    fn report(&self, conclusion: &mut Conclusion) {
        let report = &mut conclusion.report;
        report.members = self.members;
        report.heard = 1 + self.readings.iter().filter(|reading| reading.fresh).count();
        report.agreeing = self.all.agreeing;
        report.median = Offset::ahead_by(self.all.median);
        report.spread = self.all.spread;
        report.window = self.window;
    }

    /// Whether a majority of all members agrees on a time that is not the server's.
    fn deposes_server(&self) -> bool {
        self.members >= 3
            && self.among_clients.majority
            && self.among_clients.median.abs() > self.window.times(2)
    }

    /// Whether there is a majority, but most of this round's own readings disagree with it, those aside that
    /// did so before. Older readings are kept by the server's oscillator: had that just jumped, they would
    /// still agree with it, and the fresh ones would be judged wrong.
    fn is_contradicted(&self) -> bool {
        let (mut heard, mut agreeing) = (0, 0);
        for ((reading, excluded), vote) in self.readings.iter().zip(&self.excluded).zip(&self.clients) {
            if reading.fresh && !excluded {
                heard += 1;
                agreeing += usize::from(self.all.includes(vote, self.window));
            }
        }
        self.all.majority && self.members > 2 && 2 * agreeing < heard
    }
}

fn without_errors(readings: &[VoteReading]) -> Vec<VoteReading> {
    readings.iter().map(|reading| VoteReading { error: Span::ZERO, ..*reading }).collect()
}
