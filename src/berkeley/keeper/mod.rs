//! The keeper of the cluster's time: what the server believes, and whom it tells.
//!
//! It is asked once a round, with a [`Ballot`] for each client, and is in one of three phases.
//!
//! * **Listening**: there is no cluster time. When every client was heard, the classic algorithm decides it
//!   once: the mean of all clocks within a wide radius of their median, if they are a majority. But if most
//!   clients already carry a cluster's time (the server has restarted), that time is taken over instead.
//! * **Following**: the server learns phase and frequency of the time that its clients carry, and leaves those
//!   clients alone meanwhile.
//! * **Steady**: the server's disciplined clock carries the cluster's time, and the vote watches it. Each
//!   client is told its own offset. What the vote finds is *not* fed back into every clock: a constant bias
//!   of liars who stay inside the window would become an acceleration. If more than half of all members agree
//!   with one another and not with the server, the server is silent, and after two such rounds it is deposed: it
//!   follows. With f < m/2 liars a good server is never deposed, so they cannot move the cluster's phase at all.
//!
//! Unsure means silent: the members fly on, and a minute of that costs them less than a microsecond.
//!
//! All readings are kept relative to the server's free-running oscillator, so that whatever happens to the
//! cluster's time does not make old readings wrong.

mod anchor;
mod window;

use self::anchor::Anchor;
use self::window::{WIDEST, Window};
use super::config::PLAUSIBLE_FOR;
use super::event::{Adjustment, Exclusion, Outcome, RoundReport};
use super::kalman::Bank;
use super::timescale::Timescale;
use super::vote::{self, Agreement};
use crate::time::{Correction, Frequency, Offset, Raw, Span, Timestamp};
use crate::wire::{ClientState, ClusterId};

/// What the keeper gets to know of one client.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Ballot {
    /// How the client says that its clock stands.
    pub state: ClientState,
    /// The cluster whose time it says it carries.
    pub cluster: ClusterId,
    /// Its newest reading that is not too old; `None`: not heard.
    pub reading: Option<Reading>,
    /// Its frequency adjustment less the rate command in it, if it is sure of it.
    pub claim: Option<Frequency>,
}

/// A reading of a client's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The server's oscillator at the reading.
    pub at: Raw,
    /// The client's clock minus the server's oscillator.
    pub phase: Span,
    /// One standard deviation that such a reading usually has.
    pub noise: Span,
    /// How much more this one may be off, from the excess of its delay.
    pub excess: Span,
    /// Whether it is of the round that is being concluded.
    pub fresh: bool,
}

impl Reading {
    fn clock(&self) -> Timestamp {
        Timestamp::from_nanos((self.at + self.phase).as_nanos())
    }
}

/// Whom the server may tell the cluster's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Nobody: it is not sure itself.
    Nobody,
    /// Only those who have no cluster time yet.
    Newcomers,
    /// Every client.
    Everybody,
}

impl Audience {
    /// Whether a client in this state is to be told.
    pub fn includes(self, state: ClientState) -> bool {
        match self {
            Audience::Nobody => false,
            Audience::Newcomers => !state.has_cluster_time(),
            Audience::Everybody => true,
        }
    }
}

/// The vote's word on one reading.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Judged {
    /// The reading's offset from the median of the vote.
    pub offset: Offset,
    /// Why it was left out, if it was.
    pub exclusion: Option<Exclusion>,
}

/// A turn in the cluster's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// The first vote has decided.
    Agreed,
    /// The first vote could not decide, for the first time in a row.
    Undecided,
    /// The clients' time was taken over.
    Adopted,
    /// The server's clock was found to be the falseticker, by so much.
    Deposed(Offset),
    /// The server carries the cluster's time again.
    Resumed,
}

/// What one round has found.
#[derive(Clone, Debug, PartialEq)]
pub struct Conclusion {
    /// The figures for people.
    pub report: RoundReport,
    /// The vote's word on each ballot, in their order; `None`: it has none.
    pub judged: Vec<Option<Judged>>,
    /// The vote's word on the server's own clock.
    pub own: Judged,
    /// What was added to the server's own clock.
    pub correction: Correction,
    /// How.
    pub adjustment: Adjustment,
    /// What else has changed.
    pub turn: Option<Turn>,
}

/// Keeps the cluster's time.
#[derive(Clone, Debug)]
pub struct Keeper {
    settings: Settings,
    timescale: Timescale,
    cluster: ClusterId,
    phase: Phase,
    audience: Audience,
    window: Window,
    last_window: Span,
    anchor: Anchor,
    /// The clients' time over the server's oscillator: always running, needed when the server is deposed.
    ensemble: Option<Bank>,
    /// The rounds in a row in which the server's clock was in doubt, with the clients' phase at the first.
    doubt: Option<(Raw, Span)>,
    unsure: u32,
    undecided: bool,
}

/// What a keeper needs to know.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// From one round to the next.
    pub interval: Span,
    /// At the start, readings farther than this from the median are thrown out.
    pub radius: Span,
    /// Clocks that show less than this do not vote.
    pub plausible_from: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// For so many votes.
    Listening(u32),
    /// For so many more rounds.
    Following(u32),
    Steady,
}

impl Keeper {
    /// The keeper of a server whose oscillator reads `raw` now.
    pub fn new(settings: Settings, raw: Raw) -> Keeper {
        Keeper {
            settings,
            timescale: Timescale::free_running(raw),
            cluster: ClusterId::default(),
            phase: Phase::Listening(0),
            audience: Audience::Nobody,
            window: Window::default(),
            last_window: WIDEST,
            anchor: Anchor::default(),
            ensemble: None,
            doubt: None,
            unsure: 0,
            undecided: false,
        }
    }

    /// The server's disciplined clock.
    pub fn timescale(&self) -> &Timescale {
        &self.timescale
    }

    /// The cluster whose time is kept; 0: none yet.
    pub fn cluster(&self) -> ClusterId {
        self.cluster
    }

    /// The cumulative rate command.
    pub fn rate(&self) -> Frequency {
        self.anchor.rate()
    }

    /// Readings farther than this from the median did not agree in the last vote.
    pub fn window(&self) -> Span {
        self.last_window
    }

    /// Whom the server may tell the cluster's time now.
    pub fn audience(&self) -> Audience {
        self.audience
    }

    /// How the server's own clock stands.
    pub fn state(&self) -> ClientState {
        match (self.cluster, self.phase) {
            (ClusterId(0), _) => ClientState::Unsynchronized,
            (_, Phase::Listening(_)) => ClientState::Holdover,
            _ => ClientState::Synchronized,
        }
    }

    /// Whether the cluster waits for members that were not heard yet: ask them again soon.
    pub fn is_waiting_for(&self, unheard: usize) -> bool {
        matches!(self.phase, Phase::Listening(votes) if unheard > 0 && votes < PATIENCE)
    }

    /// How far the server's own clock may be off the cluster's time, one standard deviation.
    pub fn own_error(&self, raw: Raw) -> Option<Span> {
        match self.phase {
            Phase::Steady => Some(Span::ZERO),
            Phase::Following(_) => self.ensemble.as_ref().map(|bank| bank.estimate(raw).error),
            Phase::Listening(_) => None,
        }
    }

    /// Concludes round `round`: votes, and adjusts the server's own clock. `now` is not before any reading;
    /// `fresh_cluster` is the name that a new cluster would get.
    pub fn conclude(
        &mut self,
        round: u32,
        now: Raw,
        ballots: &[Ballot],
        fresh_cluster: ClusterId,
    ) -> Conclusion {
        let mut conclusion = Conclusion::blank(round, ballots.len());
        match self.phase {
            Phase::Listening(votes) => self.listen(votes, now, ballots, fresh_cluster, &mut conclusion),
            Phase::Following(left) => self.follow(left, now, ballots, &mut conclusion),
            Phase::Steady => self.watch(now, ballots, &mut conclusion),
        }
        self.audience = match conclusion.report.outcome {
            Outcome::Listening | Outcome::Unsure | Outcome::ServerInDoubt => Audience::Nobody,
            Outcome::Following => Audience::Newcomers,
            Outcome::Agreed => Audience::Everybody,
        };
        self.last_window = conclusion.report.window;
        conclusion.report.mean_frequency = self.anchor.mean();
        conclusion.report.rate = self.anchor.rate();
        conclusion
    }

    /// Listening: is there a time to take over, or can one be agreed on?
    fn listen(
        &mut self,
        votes: u32,
        now: Raw,
        ballots: &[Ballot],
        fresh_cluster: ClusterId,
        conclusion: &mut Conclusion,
    ) {
        conclusion.report.outcome = Outcome::Listening;
        conclusion.report.members = ballots.len() + 1;
        if ballots.is_empty() {
            return;
        }
        self.phase = Phase::Listening(votes + 1);
        let carriers = ballots.iter().filter(|ballot| ballot.state.has_cluster_time()).count();
        if 2 * carriers > ballots.len() {
            // One round more than a cold start needs: by then each of them has sent a heartbeat.
            if votes > 0 && self.follow_members(now, ballots, conclusion) {
                conclusion.turn = Some(Turn::Adopted);
                self.cluster = commonest_cluster(ballots).unwrap_or(fresh_cluster);
                self.anchor.rest(REST);
                self.begin_following();
                return;
            }
            if votes < PATIENCE {
                return;
            }
        }
        let unheard = ballots.iter().filter(|ballot| ballot.reading.is_none()).count();
        if self.is_waiting_for(unheard) {
            return;
        }
        self.first_vote(now, ballots, fresh_cluster, conclusion);
    }

    /// The classic algorithm, once.
    fn first_vote(
        &mut self,
        now: Raw,
        ballots: &[Ballot],
        fresh_cluster: ClusterId,
        conclusion: &mut Conclusion,
    ) {
        let own = Reading {
            at: now,
            phase: self.timescale.phase_at(now),
            noise: Span::ZERO,
            excess: Span::ZERO,
            fresh: true,
        };
        let all: Vec<Option<Reading>> =
            std::iter::once(Some(own)).chain(ballots.iter().map(|ballot| ballot.reading)).collect();
        let excluded: Vec<Option<Exclusion>> =
            all.iter().map(|reading| reading.and_then(|reading| self.implausible(&reading))).collect();
        let votes = || {
            let plausible = all.iter().zip(&excluded).filter(|(_, why)| why.is_none());
            plausible.filter_map(|(reading, _)| *reading)
        };
        let phases: Vec<Span> = votes().map(|reading| reading.phase).collect();
        let vote = vote::first_vote(&phases, self.settings.radius, all.len());
        let agreeing = vote.kept.iter().filter(|kept| **kept).count();
        conclusion.report.heard = all.iter().flatten().count();
        conclusion.report.agreeing = agreeing;
        conclusion.report.window = self.settings.radius;
        if !vote.majority {
            conclusion.turn = (!self.undecided).then_some(Turn::Undecided);
            self.undecided = true;
            return;
        }
        let mut kept = vote.kept.iter();
        let mut judged = all.iter().zip(&excluded).map(|(reading, why)| {
            let reading = (*reading)?;
            let offset = Offset::ahead_by(reading.phase - vote.mean);
            let outside = why.is_none() && !kept.next().copied().unwrap_or_default();
            let exclusion = why.or(outside.then_some(Exclusion::OutsideWindow));
            Some(Judged { offset, exclusion })
        });
        conclusion.own = judged.next().flatten().unwrap_or_default();
        conclusion.judged = judged.collect();
        conclusion.report.outcome = Outcome::Agreed;
        conclusion.turn = Some(Turn::Agreed);
        conclusion.correction = self.timescale.set(now, vote.mean, Frequency::ZERO, Adjustment::Step);
        conclusion.adjustment = Adjustment::Step;
        self.cluster = fresh_cluster;
        self.ensemble = None;
        self.become_steady();
    }

    /// Following: learn the time that the members carry.
    fn follow(&mut self, left: u32, now: Raw, ballots: &[Ballot], conclusion: &mut Conclusion) {
        conclusion.report.outcome = Outcome::Unsure;
        if !self.follow_members(now, ballots, conclusion) {
            return;
        }
        conclusion.report.outcome = Outcome::Following;
        self.phase = Phase::Following(left.saturating_sub(1));
        if left <= 1 {
            self.become_steady();
            conclusion.turn = Some(Turn::Resumed);
        }
    }

    /// Feeds this round's median of the members that carry the cluster's time to the ensemble's filter, and
    /// sets the server's clock by it. Does nothing and says so if no majority of them agrees.
    fn follow_members(&mut self, now: Raw, ballots: &[Ballot], conclusion: &mut Conclusion) -> bool {
        let frequency = self.timescale.frequency();
        let carriers = ballots.iter().filter(|ballot| ballot.state.has_cluster_time());
        let members = carriers.clone().count();
        let readings: Vec<Reading> =
            carriers.filter_map(|ballot| ballot.reading).filter(|reading| reading.fresh).collect();
        let votes: Vec<vote::Reading> = readings
            .iter()
            .map(|reading| vote::Reading {
                offset: reading.phase + frequency.over(now - reading.at),
                error: reading.excess,
            })
            .collect();
        let agreement = vote::agreement(&votes, WIDEST, members);
        conclusion.report.members = members + 1;
        conclusion.report.heard = readings.len();
        conclusion.report.agreeing = agreement.agreeing;
        conclusion.report.window = WIDEST;
        conclusion.report.spread = agreement.spread;
        if !agreement.majority {
            return false;
        }
        let first = self.ensemble.is_none();
        let deviation = deviation_of_median(&votes, &readings);
        self.observe_ensemble(now, agreement.median, deviation);
        let Some(bank) = &self.ensemble else {
            return false;
        };
        let known = bank.estimate(now);
        conclusion.adjustment = if first { Adjustment::Step } else { Adjustment::Slew };
        conclusion.correction = self.timescale.set(now, known.phase, known.frequency, conclusion.adjustment);
        true
    }

    /// Steady: does the majority agree with the server's clock?
    fn watch(&mut self, now: Raw, ballots: &[Ballot], conclusion: &mut Conclusion) {
        let voters: Vec<(usize, Reading)> = ballots
            .iter()
            .enumerate()
            .filter(|(_, ballot)| ballot.state.has_cluster_time())
            .filter_map(|(index, ballot)| ballot.reading.map(|reading| (index, reading)))
            .filter(|(_, reading)| self.implausible(reading).is_none())
            .collect();
        let members = 1 + ballots.iter().filter(|ballot| ballot.state.has_cluster_time()).count();
        let readings: Vec<Reading> = voters.iter().map(|(_, reading)| *reading).collect();
        let clients: Vec<vote::Reading> = readings
            .iter()
            .map(|reading| vote::Reading { offset: self.offset(reading).span(), error: reading.excess })
            .collect();
        let noise = typical_noise(&readings);
        let window = self.window.width(noise);
        let among_clients = vote::agreement(&without_errors(&clients), window, members);
        let own = vote::Reading { offset: Span::ZERO, error: Span::ZERO };
        let everybody: Vec<vote::Reading> = std::iter::once(own).chain(clients.iter().copied()).collect();
        let agreement = vote::agreement(&everybody, window, members);
        self.report(&agreement, members, everybody.len(), window, conclusion);
        self.judge(&agreement, window, ballots, conclusion);
        let doubted = members >= 3 && among_clients.majority && among_clients.median.abs() > window.times(2);
        if doubted {
            conclusion.report.outcome = Outcome::ServerInDoubt;
            self.doubt_own_clock(now, &among_clients, noise, conclusion);
            return;
        }
        self.doubt = None;
        if !agreement.majority && !self.server_breaks_the_tie(members) {
            conclusion.report.outcome = Outcome::Unsure;
            self.be_unsure();
            return;
        }
        self.unsure = if agreement.majority { 0 } else { self.unsure };
        conclusion.report.outcome = Outcome::Agreed;
        let offsets: Vec<Span> = everybody.iter().map(|reading| reading.offset).collect();
        if let Some(deviation) = vote::robust_deviation(&offsets).filter(|_| !clients.is_empty()) {
            self.window.learn(deviation);
        }
        if among_clients.majority {
            let phase = self.timescale.phase_at(now) + among_clients.median;
            self.observe_ensemble(now, phase, deviation_of_median(&clients, &readings));
        }
        self.steer_rate(now, ballots, members);
    }

    /// The majority of all members agrees, and not with the server: once may be chance, twice is not.
    fn doubt_own_clock(&mut self, now: Raw, clients: &Agreement, noise: Span, conclusion: &mut Conclusion) {
        let phase = self.timescale.phase_at(now) + clients.median;
        let Some((then, phase_then)) = self.doubt.replace((now, phase)) else {
            return;
        };
        conclusion.turn = Some(Turn::Deposed(Offset::ahead_by(-clients.median)));
        let deviation = noise.as_secs_f64();
        let bank = self
            .ensemble
            .get_or_insert_with(|| Bank::new(then, phase_then, deviation, Frequency::ZERO, ANY_FREQUENCY));
        // The two readings tell whether the server's clock was set or runs wrong: if they differ by more than
        // the known frequency explains, the frequency has changed, and they are enough to learn it.
        bank.restart_phase(then, phase_then, deviation);
        let innovation = bank.innovation(now, phase, deviation);
        if innovation.difference.abs() > 6.0 * innovation.expected {
            let drift = innovation.difference / (now - then).as_secs_f64().max(1e-3);
            bank.doubt_frequency(Frequency::from_ratio(drift));
        }
        bank.observe(now, phase, deviation);
        let known = bank.estimate(now);
        conclusion.correction = self.timescale.set(now, known.phase, known.frequency, Adjustment::Step);
        conclusion.adjustment = Adjustment::Step;
        self.begin_following();
    }

    /// No majority: first look with an open window, then decide anew what the cluster's time is.
    fn be_unsure(&mut self) {
        self.unsure += 1;
        match self.unsure {
            LEARN_AFRESH => self.window.forget(),
            LISTEN_AGAIN => {
                self.unsure = 0;
                self.ensemble = None;
                self.phase = Phase::Listening(0);
            }
            _ => {}
        }
    }

    /// Of two members that disagree for long, the server carries the time on: there is nobody else to ask,
    /// and the client is lost otherwise.
    fn server_breaks_the_tie(&self, members: usize) -> bool {
        members == 2 && self.unsure + 1 >= LISTEN_AGAIN
    }

    /// Steers the cluster's rate towards the mean of the members' oscillators.
    fn steer_rate(&mut self, now: Raw, ballots: &[Ballot], members: usize) {
        let own = self.timescale.frequency() - self.anchor.rate();
        let claims: Vec<Frequency> = std::iter::once(own)
            .chain(ballots.iter().filter(|ballot| ballot.state.has_cluster_time()).filter_map(|b| b.claim))
            .collect();
        let change = self.anchor.steer(&claims, members, self.settings.interval);
        self.timescale.shift_frequency(now, change);
        if let Some(bank) = &mut self.ensemble {
            bank.shift_frequency(now, change);
        }
    }

    /// Tells each client that was heard how it stands to the median.
    fn judge(&self, agreement: &Agreement, window: Span, ballots: &[Ballot], conclusion: &mut Conclusion) {
        let judged = |offset: Offset, excess: Span, implausible: Option<Exclusion>| {
            let reading = vote::Reading { offset: offset.span(), error: excess };
            let outside = !agreement.includes(&reading, window);
            let exclusion = implausible.or(outside.then_some(Exclusion::OutsideWindow));
            Judged { offset: Offset::ahead_by(offset.span() - agreement.median), exclusion }
        };
        conclusion.own = judged(Offset::ZERO, Span::ZERO, None);
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

    /// The client's clock minus the cluster's time, at the reading.
    fn offset(&self, reading: &Reading) -> Offset {
        Offset::ahead_by(reading.phase - self.timescale.phase_at(reading.at))
    }

    fn observe_ensemble(&mut self, now: Raw, phase: Span, deviation_s: f64) {
        match &mut self.ensemble {
            Some(bank) => bank.observe(now, phase, deviation_s),
            None => {
                let frequency = self.timescale.frequency();
                self.ensemble = Some(Bank::new(now, phase, deviation_s, frequency, ANY_FREQUENCY));
            }
        }
    }

    fn implausible(&self, reading: &Reading) -> Option<Exclusion> {
        let from = self.settings.plausible_from;
        match reading.clock() {
            clock if clock < from => Some(Exclusion::BeforePlausible),
            clock if clock > from + PLAUSIBLE_FOR => Some(Exclusion::AfterPlausible),
            _ => None,
        }
    }

    fn begin_following(&mut self) {
        self.phase = Phase::Following(SILENT_ROUNDS);
        self.doubt = None;
        self.unsure = 0;
        self.undecided = false;
    }

    fn become_steady(&mut self) {
        self.phase = Phase::Steady;
        self.window.forget();
        self.doubt = None;
        self.unsure = 0;
        self.undecided = false;
    }
}

impl Conclusion {
    fn blank(round: u32, ballots: usize) -> Conclusion {
        Conclusion {
            report: RoundReport {
                round,
                outcome: Outcome::Listening,
                members: 1,
                heard: 1,
                agreeing: 1,
                median: Offset::ZERO,
                window: Span::ZERO,
                spread: Span::ZERO,
                mean_frequency: None,
                rate: Frequency::ZERO,
            },
            judged: vec![None; ballots],
            own: Judged::default(),
            correction: Correction::default(),
            adjustment: Adjustment::Slew,
            turn: None,
        }
    }
}

/// The cluster that most of the clients carry, if they carry one.
fn commonest_cluster(ballots: &[Ballot]) -> Option<ClusterId> {
    let mut carried: Vec<ClusterId> = ballots
        .iter()
        .filter(|ballot| ballot.state.has_cluster_time() && ballot.cluster != ClusterId(0))
        .map(|ballot| ballot.cluster)
        .collect();
    carried.sort_unstable();
    carried.chunk_by(|a, b| a == b).max_by_key(|same| same.len()).map(|same| same[0])
}

fn without_errors(readings: &[vote::Reading]) -> Vec<vote::Reading> {
    readings.iter().map(|reading| vote::Reading { error: Span::ZERO, ..*reading }).collect()
}

fn typical_noise(readings: &[Reading]) -> Span {
    let noises: Vec<Span> = readings.iter().map(|reading| reading.noise).collect();
    vote::median(&noises).unwrap_or_default()
}

/// One standard deviation of a median of readings, in seconds: from their scatter where there are enough of
/// them, never less than their own noise allows.
fn deviation_of_median(votes: &[vote::Reading], readings: &[Reading]) -> f64 {
    let offsets: Vec<Span> = votes.iter().map(|reading| reading.offset).collect();
    let scatter = vote::robust_deviation(&offsets).unwrap_or_default();
    let noise = typical_noise(readings);
    // A median's deviation is 1.25 times that of a mean.
    1.25 * scatter.max(noise).as_secs_f64() / (votes.len().max(1) as f64).sqrt()
}

/// Two crystals of 100 ppm each, one fast, one slow.
const ANY_FREQUENCY: Frequency = Frequency::from_ppm(200.0);
/// Votes for which a cluster without a time waits for a client that is never heard.
const PATIENCE: u32 = 6;
/// Rounds for which a server that follows leaves its members alone: long enough to learn their frequency.
const SILENT_ROUNDS: u32 = 24;
/// After taking over the members' time the rate is left alone for ten minutes.
const REST: Span = Span::from_secs(600);
/// Unsure rounds after which the window is learned afresh: the members may have drifted apart.
const LEARN_AFRESH: u32 = 12;
/// Unsure rounds after which the cluster's time is decided anew.
const LISTEN_AGAIN: u32 = 24;
