//! Steady: the server's disciplined clock carries the cluster's time, and the vote watches it.

use super::ensemble::{Ensemble, Observation};
use super::{
    Conclusion, FrequencyReport, Judgement, MemberReading, Phase, PhaseReading, PhaseTransition, Timekeeper,
    deviation_of_median, typical_noise,
};
use crate::consensus::vote::{self, Agreement};
use crate::event::{Adjustment, Exclusion, Outcome};
use crate::time::{Frequency, Offset, Raw, Span};
use alloc::vec::Vec;

impl Timekeeper {
    /// Steady: does the majority agree with the server's clock?
    pub(super) fn watch(&mut self, now: Raw, ballots: &[MemberReading<'_>], conclusion: &mut Conclusion) {
        let voice = |ballot: &MemberReading<'_>| {
            let reading = ballot.reading.filter(|reading| self.implausible(reading).is_none())?;
            ballot.state.has_cluster_time().then_some((ballot.excluded, reading))
        };
        let (excluded, readings): (Vec<bool>, Vec<PhaseReading>) = ballots.iter().filter_map(voice).unzip();
        let members = 1 + ballots.iter().filter(|ballot| ballot.state.has_cluster_time()).count();
        let clients: Vec<vote::VoteReading> = readings
            .iter()
            .map(|reading| vote::VoteReading { offset: self.offset(reading).span(), error: reading.excess })
            .collect();
        let noise = typical_noise(&readings);
        let window = self.window.width(noise, members);
        // Deposing the server takes more than half of all, newcomers included: they have no vote yet.
        let among_clients = vote::agreement(&without_errors(&clients), window, 1 + ballots.len());
        let own = vote::VoteReading { offset: Span::ZERO, error: Span::ZERO };
        let everybody: Vec<vote::VoteReading> =
            core::iter::once(own).chain(clients.iter().copied()).collect();
        let agreement = vote::agreement(&everybody, window, members);
        let heard = 1 + readings.iter().filter(|reading| reading.fresh).count();
        self.report(&agreement, members, heard, window, conclusion);
        self.judge(&agreement, window, ballots, conclusion);
        let given = self.settings.given.is_some();
        let doubted =
            !given && members >= 3 && among_clients.majority && among_clients.median.abs() > window.times(2);
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
        self.contradicted = !given
            && agreement.majority
            && members > 2
            && contradicted(fresh.map(|(_, vote)| vote), &agreement, window);
        if self.contradicted || (!agreement.majority && !self.carries_on() && !given) {
            conclusion.report.outcome = Outcome::Unsure;
            conclusion.judged.fill(None);
            conclusion.own = None;
            self.be_unsure();
            return;
        }
        self.doubt = None;
        self.unsure = if agreement.majority { 0 } else { self.unsure };
        conclusion.report.outcome = Outcome::Agreed;
        let offsets: Vec<Span> = everybody.iter().map(|reading| reading.offset).collect();
        let sure = agreement.majority && !clients.is_empty();
        if let Some(deviation) = vote::robust_deviation(&offsets).filter(|_| sure) {
            self.window.learn(deviation);
        }
        if among_clients.majority {
            let phase = self.timescale.phase_at(now) + among_clients.median;
            let deviation_s = deviation_of_median(&clients, &readings);
            self.ensemble.observe(Observation { at: now, phase, deviation_s });
        }
        if !given {
            self.steer_rate(now, ballots, members);
        }
    }

    /// The majority of all members agrees, and not with the server: once may be chance, twice is not.
    fn doubt_own_clock(&mut self, now: Raw, clients: &Agreement, noise: Span, conclusion: &mut Conclusion) {
        let phase = self.timescale.phase_at(now) + clients.median;
        let observed = Observation { at: now, phase, deviation_s: noise.as_secs_f64() };
        let Some(before) = self.doubt.replace(observed) else {
            return;
        };
        conclusion.turn = Some(PhaseTransition::Deposed(Offset::ahead_by(-clients.median)));
        self.ensemble.start_anew(before, observed);
        let Some(known) = self.ensemble.estimate(now) else {
            return;
        };
        conclusion.correction = self.timescale.set(now, known.phase, known.frequency, Adjustment::Step);
        conclusion.adjustment = Adjustment::Step;
        self.begin_following();
    }

    /// No majority: first look with an open window; who has lost the members' time altogether listens again.
    pub(super) fn be_unsure(&mut self) {
        self.unsure += 1;
        match self.unsure {
            LEARN_AFRESH => self.window.forget(),
            LISTEN_AGAIN => {
                self.unsure = 0;
                // What was known beforehand has not helped.
                self.known = None;
                self.ensemble = Ensemble::default();
                self.phase = Phase::Listening(0);
            }
            _ => {}
        }
    }

    /// When no majority has agreed with anybody for long, nor against the server, the server carries the time
    /// on: there is nobody else to ask, and the members would drift apart for ever. To vote anew over all of
    /// them would hand the time to whoever lies.
    fn carries_on(&self) -> bool {
        self.unsure + 1 >= LISTEN_AGAIN
    }

    /// Steers the cluster's rate towards the mean of the members' oscillators.
    fn steer_rate(&mut self, now: Raw, ballots: &[MemberReading<'_>], members: usize) {
        let own = self.timescale.frequency() - self.anchor.rate();
        let carriers = ballots.iter().filter(|ballot| ballot.state.has_cluster_time());
        let claims: Vec<FrequencyReport> = carriers.filter_map(|ballot| ballot.claim).collect();
        let adjustments: Vec<Frequency> =
            core::iter::once(own).chain(claims.iter().map(|claim| claim.adjustment)).collect();
        let change = self.anchor.steer(&adjustments, members, self.settings.interval);
        self.anchor.learn_error(claims.iter().map(|claim| claim.error));
        self.timescale.shift_frequency(now, change);
        self.ensemble.shift_frequency(now, change);
    }

    /// Tells each client that was heard how it stands to the median.
    fn judge(
        &self,
        agreement: &Agreement,
        window: Span,
        ballots: &[MemberReading<'_>],
        conclusion: &mut Conclusion,
    ) {
        let judged = |offset: Offset, excess: Span, implausible: Option<Exclusion>| {
            let reading = vote::VoteReading { offset: offset.span(), error: excess };
            let outside = !agreement.includes(&reading, window);
            let exclusion = implausible.or(outside.then_some(Exclusion::OutsideWindow));
            Judgement::vote(Offset::ahead_by(offset.span() - agreement.median), exclusion)
        };
        conclusion.own = Some(judged(Offset::ZERO, Span::ZERO, None));
        conclusion.judged = ballots
            .iter()
            .map(|ballot| {
                let reading = ballot.reading.filter(|_| ballot.state.has_cluster_time())?;
                Some(judged(self.offset(&reading), reading.excess, self.implausible(&reading)))
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
/// would be told that they are wrong.
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

/// Unsure rounds after which the window is learned afresh: the members may have drifted apart.
const LEARN_AFRESH: u32 = 12;
/// Unsure rounds after which the cluster's time is decided anew.
const LISTEN_AGAIN: u32 = 24;
