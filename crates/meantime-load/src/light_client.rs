//! A light client: all of the protocol that a server can see, and a clock that is really followed, but no
//! more.
//!
//! Its oscillator is off by an offset and a drift that the load generator knows. It answers probes by its own
//! clock, says when its reports really left, and follows corrections and rate commands as a client does, with
//! the bank of two-state Kalman filters in place of a client's discipline: that would be too heavy a hundred
//! thousand times. It sets its clock at once instead of slewing it, guarantees no bound, and refuses nothing.

use meantime_core::estimation::kalman::Bank;
use meantime_core::estimation::timescale::Timescale;
use meantime_core::event::Adjustment;
use meantime_core::time::{Correction, Frequency, Monotonic, Raw, Span, Timestamp};
use meantime_core::wire::{ClientState, NodeId, SessionId};

/// One client of the load generator.
#[derive(Clone, Debug)]
pub struct LightClient {
    oscillator: SimulatedOscillator,
    timescale: Timescale,
    bank: Option<Bank>,
    /// How far corrections usually are off what was expected, in seconds.
    usual_s: f64,
    /// The server's cumulative rate command, which the clock's frequency includes.
    pub rate: Frequency,
    /// Its session; 0: it is not in.
    pub session: SessionId,
    /// The nonce of its Register, or of its Heartbeat that waits for an answer.
    pub nonce: u64,
    /// Datagrams sent in this session.
    pub sequence: u32,
    /// The report number of the newest Correction applied.
    pub applied: u32,
    /// How many corrections it has followed, as far as that matters.
    followed: u8,
    /// When its session began.
    entered: Monotonic,
    /// When it has sent something last.
    pub sent: Monotonic,
    /// When it has heard something last.
    pub heard: Monotonic,
    /// The probes of the burst that goes on: how many there are to be, and the number of the last that came.
    pub burst: (u8, u8),
    /// What it has answered in it.
    answered: Answered,
    reports: [Sent; MAX_REPORTS],
}

/// The reports of a burst, until the server says how many of them it has heard.
#[derive(Clone, Copy, Debug, Default)]
struct Answered {
    /// The number of the first.
    first: u32,
    count: u8,
}

/// How an oscillator errs.
#[derive(Clone, Copy, Debug)]
pub struct SimulatedOscillator {
    /// True time zero of the load generator, by the host's oscillator.
    pub origin: Raw,
    /// Ahead by this at the origin.
    pub offset: Span,
    /// Fast by this.
    pub drift: Frequency,
}

impl SimulatedOscillator {
    fn at(&self, host: Raw) -> Raw {
        host + self.offset + self.drift.over(host - self.origin)
    }
}

/// A report that was sent.
#[derive(Clone, Copy, Debug, Default)]
struct Sent {
    number: u32,
    /// The reading in it, and the host's oscillator then.
    shown: Timestamp,
    host: Raw,
    /// When it was to leave, and by how much it was late.
    leaves: Raw,
    lag: Span,
}

/// What a reading was, and what the host's oscillator was then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Truth {
    /// The clock.
    pub shown: Timestamp,
    /// The host's oscillator.
    pub host: Raw,
}

impl LightClient {
    /// A client that was just switched on.
    pub fn new(oscillator: SimulatedOscillator) -> LightClient {
        let raw = oscillator.at(oscillator.origin);
        LightClient {
            oscillator,
            timescale: Timescale::free_running(raw),
            bank: None,
            usual_s: FIRST_S,
            rate: Frequency::ZERO,
            session: SessionId::default(),
            nonce: 0,
            sequence: 0,
            applied: 0,
            followed: 0,
            entered: Monotonic::default(),
            sent: Monotonic::default(),
            heard: Monotonic::default(),
            burst: (0, 0),
            answered: Answered::default(),
            reports: [Sent::default(); MAX_REPORTS],
        }
    }

    /// The process that it pretends to be.
    pub fn node(seed: u64, client: usize) -> NodeId {
        // SplitMix64: different for each.
        let mut z = seed ^ (client as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        NodeId(z ^ (z >> 31))
    }

    /// Whether it is in.
    pub fn is_member(&self) -> bool {
        self.session != SessionId::default()
    }

    /// How its clock stands.
    pub fn state(&self) -> ClientState {
        if self.bank.is_some() { ClientState::Synchronized } else { ClientState::Unsynchronized }
    }

    /// Whether it has followed so many corrections that its clock can be expected to agree.
    pub fn is_settled(&self) -> bool {
        self.followed > SETTLED
    }

    /// What its clock shows when the host's oscillator reads `host`.
    pub fn shows(&self, host: Raw) -> Timestamp {
        self.timescale.published(self.oscillator.at(host))
    }

    /// Its frequency, one standard deviation of that, and one of its distance from the cluster's time.
    pub fn quality(&self, host: Raw) -> (Frequency, Frequency, Option<Span>) {
        let known = self.bank.as_ref().map(|bank| bank.estimate(self.oscillator.at(host)));
        let error = known.map_or(Frequency::from_ppm(1_000.0), |known| known.frequency_error);
        (self.timescale.frequency(), error, known.map(|known| known.error))
    }

    /// A session begins, at this rate command.
    pub fn enter(&mut self, now: Monotonic, session: SessionId, rate: Frequency) {
        self.entered = now;
        (self.session, self.rate, self.nonce) = (session, rate, 0);
        (self.sequence, self.applied, self.burst) = (0, 0, (0, 0));
        self.answered = Answered::default();
        self.reports = [Sent::default(); MAX_REPORTS];
    }

    /// Adds what is new in the rate command.
    pub fn follow_rate(&mut self, host: Raw, rate: Frequency) {
        let change = rate - self.rate;
        if change == Frequency::ZERO {
            return;
        }
        self.rate = rate;
        let raw = self.oscillator.at(host);
        if let Some(bank) = &mut self.bank {
            bank.shift_frequency(raw, change);
            self.timescale.shift_frequency(raw, change);
        }
    }

    /// A report is sent that leaves, as far as known, when the host's oscillator reads `leaves`.
    pub fn report(&mut self, number: u32, shown: Timestamp, host: Raw, leaves: Raw) {
        self.reports[number as usize % MAX_REPORTS] = Sent { number, shown, host, leaves, lag: Span::ZERO };
        if self.answered.count == 0 {
            self.answered.first = number;
        }
        self.answered.count = self.answered.count.saturating_add(1);
    }

    /// Another burst begins: how many reports of the one before the server has said nothing of. Of a newcomer
    /// none is counted, whose bursts may cut each other short.
    pub fn begin_burst(&mut self, now: Monotonic, interval: Span) -> u8 {
        let before = std::mem::take(&mut self.answered);
        let is_new = now - self.entered < interval.times(NEW_ROUNDS);
        if is_new { 0 } else { before.count }
    }

    /// The server has heard so many reports of the burst with the report `about` in it: how many it has not.
    pub fn confirm(&mut self, about: u32, heard: u8) -> u8 {
        let Answered { first, count } = self.answered;
        if heard == 0 || count == 0 || (about.wrapping_sub(first) as i32) < 0 {
            return 0;
        }
        self.answered.count = 0;
        count.saturating_sub(heard)
    }

    /// A report has really left. How long after it was said to.
    pub fn left(&mut self, number: u32, host: Raw) -> Option<Span> {
        let sent = &mut self.reports[number as usize % MAX_REPORTS];
        let lag = host - sent.leaves;
        let sensible = sent.number == number && lag.abs() < MAX_LAG;
        sensible.then(|| {
            sent.lag = lag;
            lag
        })
    }

    /// By how much the report of this number was late, if that is known.
    pub fn lag(&self, number: u32) -> Span {
        self.sent(number).map_or(Span::ZERO, |sent| sent.lag)
    }

    /// Follows a correction of the clock at one of its reports; what that reading was. `None` if it is not
    /// known.
    pub fn correct(&mut self, host: Raw, about: u32, correction: Correction) -> Option<Truth> {
        let Sent { shown, host: read, .. } = self.sent(about)?;
        let at = self.oscillator.at(read);
        let phase =
            Span::from_nanos((shown + correction.span()).as_nanos()) - Span::from_nanos(at.as_nanos());
        let off = correction.span().as_secs_f64().abs();
        let bank = match &mut self.bank {
            Some(bank) if off < JUMP_S => {
                self.usual_s += (off.min(4.0 * self.usual_s) - self.usual_s) / 16.0;
                // What is far more than usual was a bad measurement, until it becomes usual.
                bank.observe(at, phase, self.usual_s.max(MIN_S).max(off / 3.0));
                bank
            }
            Some(bank) => {
                bank.restart_phase(at, phase, FIRST_S);
                bank
            }
            empty => empty.insert(Bank::new(at, phase, FIRST_S, Frequency::ZERO, Frequency::from_ppm(200.0))),
        };
        let now = self.oscillator.at(host);
        let known = bank.estimate(now);
        self.timescale.set(now, known.phase, known.frequency, Adjustment::Step);
        self.applied = about;
        self.followed = self.followed.saturating_add(1);
        Some(Truth { shown, host: read })
    }

    fn sent(&self, number: u32) -> Option<Sent> {
        Some(self.reports[number as usize % MAX_REPORTS]).filter(|sent| number != 0 && sent.number == number)
    }
}

/// The reports of a burst of usual length, and those before it.
const MAX_REPORTS: usize = 8;
/// For so many rounds a member is measured in haste.
const NEW_ROUNDS: i64 = 37;
/// After so many corrections a clock should agree with the others.
const SETTLED: u8 = 3;
/// What the first corrections are off by, as a guess.
const FIRST_S: f64 = 50e-6;
/// Corrections are no better than this.
const MIN_S: f64 = 0.2e-6;
/// The cluster's time was set anew.
const JUMP_S: f64 = 5e-3;
/// Nothing leaves later than this.
const MAX_LAG: Span = Span::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    const S: i64 = 1_000_000_000;

    /// A client that is no newcomer any more, and has answered the probes of a burst with these reports.
    fn answering(numbers: std::ops::RangeInclusive<u32>) -> (LightClient, Monotonic) {
        let origin = Raw::from_nanos(1_800_000_000 * S);
        let mut light =
            LightClient::new(SimulatedOscillator { origin, offset: Span::ZERO, drift: Frequency::ZERO });
        let now = Monotonic::default() + INTERVAL.times(NEW_ROUNDS);
        light.enter(Monotonic::default(), SessionId(1), Frequency::ZERO);
        light.begin_burst(now, INTERVAL);
        numbers.for_each(|number| light.report(number, light.shows(origin), origin, origin));
        (light, now)
    }

    const INTERVAL: Span = Span::from_secs(5);

    #[test]
    fn what_the_server_has_not_heard_by_its_own_word_is_lost() {
        let (mut light, now) = answering(5..=8);
        assert_eq!(light.confirm(4, 4), 0, "that is about the burst before");
        assert_eq!(light.confirm(7, 0), 0, "a repetition says nothing");
        assert_eq!((light.confirm(7, 3), light.confirm(7, 3)), (1, 0), "once");
        assert_eq!(light.begin_burst(now + INTERVAL, INTERVAL), 0, "all is said");
    }

    #[test]
    fn reports_of_an_unconfirmed_burst_are_counted_but_not_for_newcomers() {
        let (mut light, now) = answering(5..=8);
        assert_eq!(light.begin_burst(now + Span::from_secs(1), INTERVAL), 4);
        let (mut light, now) = answering(5..=8);
        assert_eq!(light.begin_burst(now - Span::from_secs(1), INTERVAL), 0);
    }

    #[test]
    fn no_number_of_probes_is_too_many() {
        let (mut light, _) = answering(1..=1_000);
        assert_eq!(light.confirm(900, 255), 0);
    }

    #[test]
    fn a_clock_that_gets_corrections_comes_to_agree() {
        let origin = Raw::from_nanos(1_800_000_000 * S);
        let errs =
            SimulatedOscillator { origin, offset: Span::from_secs(-2), drift: Frequency::from_ppm(40.0) };
        let mut light = LightClient::new(errs);
        for round in 1..=60 {
            let host = origin + Span::from_secs(5).times(round);
            let number = round as u32;
            let shown = light.shows(host);
            light.report(number, shown, host, host);
            // The cluster's time is the host's.
            let off = Span::from_nanos(host.as_nanos()) - Span::from_nanos(shown.as_nanos());
            let truth = light.correct(host + Span::from_millis(300), number, Correction::adding(off));
            assert_eq!(truth, Some(Truth { shown, host }));
        }
        let later = origin + Span::from_secs(305);
        let off = light.shows(later).as_nanos() - later.as_nanos();
        assert!(off.abs() < 1_000, "off by {off} ns");
        assert_eq!(light.correct(later, 77, Correction::default()), None, "no report has this number");
    }
}
