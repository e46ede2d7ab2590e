//! Liveness and timeouts of a session: when to send a heartbeat, and when the server counts as silent.

use crate::time::{Monotonic, Span};
use crate::wire::Welcome;

/// When a session's datagrams were received and sent last.
#[derive(Clone, Copy, Debug)]
pub(super) struct Liveness {
    /// Send a heartbeat after so long without sending anything.
    heartbeat: Span,
    /// The server counts as silent after so long without a valid datagram.
    lifetime: Span,
    /// When the last valid datagram of the server came.
    heard: Monotonic,
    /// When the last datagram was sent.
    sent: Monotonic,
    /// When the last Correction was accepted, or the session began.
    corrected: Monotonic,
    /// The nonce of the heartbeat that waits for an answer.
    nonce: Option<u64>,
    /// When the server has stated its role last, if the client has several servers.
    stated: Option<Stated>,
}

/// When a server of several was heard to state its role, and asked to.
#[derive(Clone, Copy, Debug)]
struct Stated {
    at: Monotonic,
    asked: Monotonic,
    /// From one of the server's rounds to the next.
    interval: Span,
}

impl Stated {
    /// When to ask again: once an interval; if the server has stated nothing for longer, several times.
    fn ask_at(&self) -> Monotonic {
        let overdue = self.at + self.interval.times(OVERDUE_FIFTHS).over(5);
        let hurried = overdue.max(self.asked + self.interval.over(HURRIED));
        // After twice the interval the server counts as lost, whatever else is asked.
        match hurried < self.at + self.interval.times(2) {
            true => hurried.min(self.asked + self.interval),
            false => self.asked + self.interval,
        }
    }
}

impl Liveness {
    /// A session begins at `now`.
    pub(super) fn begin(welcome: &Welcome, now: Monotonic) -> Liveness {
        Liveness {
            heartbeat: welcome.heartbeat.max(MIN_TIMEOUT),
            lifetime: welcome.lifetime.max(MIN_TIMEOUT),
            heard: now,
            sent: now,
            corrected: now,
            nonce: None,
            stated: None,
        }
    }

    /// The client has several servers: it asks each of them for its role once an interval.
    pub(super) fn expect_statements(&mut self, interval: Span, now: Monotonic) {
        let interval = interval.max(MIN_ASKING);
        self.stated = Some(Stated { at: now, asked: now, interval });
    }

    /// The server has stated its role.
    pub(super) fn note_stated(&mut self, now: Monotonic) {
        self.heard = now;
        self.stated = self.stated.map(|stated| Stated { at: now, ..stated });
    }

    /// A valid datagram of the server came.
    pub(super) fn note_heard(&mut self, now: Monotonic) {
        self.heard = now;
    }

    /// A datagram was sent.
    pub(super) fn note_sent(&mut self, now: Monotonic) {
        self.sent = now;
    }

    /// A Correction was accepted.
    pub(super) fn note_corrected(&mut self, now: Monotonic) {
        self.corrected = now;
    }

    /// A heartbeat with this nonce is sent.
    pub(super) fn note_heartbeat(&mut self, now: Monotonic, nonce: u64) {
        self.nonce = Some(nonce);
        self.sent = now;
        self.stated = self.stated.map(|stated| Stated { asked: now, ..stated });
    }

    /// A heartbeat with this nonce was answered. Returns whether an answer to it was expected.
    pub(super) fn note_answer(&mut self, now: Monotonic, nonce: u64) -> bool {
        let expected = self.nonce.take_if(|sent| *sent == nonce).is_some();
        if expected {
            self.heard = now;
        }
        expected
    }

    /// When the last valid datagram of the server came.
    pub(super) fn heard(&self) -> Monotonic {
        self.heard
    }

    /// How long ago a server that decides the time anew may have measured what this clock shows: a reading
    /// counts for a lifetime, and a round passes before the first Correction.
    pub(super) fn oldest_reading(&self) -> Span {
        self.lifetime.times(2)
    }

    /// After how long a silence of its own the client sends a heartbeat.
    pub(super) fn heartbeat(&self) -> Span {
        self.heartbeat
    }

    /// When the server counts as silent unless a datagram comes before.
    pub(super) fn silent_at(&self) -> Monotonic {
        self.heard + self.lifetime
    }

    /// When a heartbeat is due unless a datagram is sent before.
    pub(super) fn heartbeat_at(&self) -> Monotonic {
        let usual = self.sent + self.heartbeat;
        self.stated.map_or(usual, |stated| stated.ask_at().min(usual))
    }

    /// When holdover begins although the server answers, because it sends no corrections; `None`: it has not
    /// been heard since the last correction for long enough.
    pub(super) fn holdover_at(&self) -> Option<Monotonic> {
        let answers = self.heard - self.corrected >= self.heartbeat;
        answers.then(|| self.corrected + self.lifetime)
    }

    /// Whether the time since the last correction is long enough for the server to have been replaced.
    pub(super) fn has_gap(&self, now: Monotonic) -> bool {
        now - self.corrected > self.lifetime
    }
}

/// No server can make its clients wake up more often.
const MIN_TIMEOUT: Span = Span::from_millis(10);
/// A server's role is asked for as if its interval were no shorter than this.
const MIN_ASKING: Span = Span::from_millis(100);
/// A server that has stated nothing for six fifths of an interval is overdue, …
const OVERDUE_FIFTHS: i64 = 6;
/// … and is asked again after each eighth of an interval.
const HURRIED: i64 = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_of_short_intervals_that_states_nothing_is_not_asked_all_the_time() {
        let ms = Span::from_millis(1);
        let terms =
            Welcome { interval: ms, heartbeat: ms, lifetime: Span::from_secs(9), ..Welcome::default() };
        let mut now = Monotonic::from_nanos(0);
        let mut liveness = Liveness::begin(&Welcome { heartbeat: terms.lifetime, ..terms }, now);
        liveness.expect_statements(terms.interval, now);
        let mut asked = 0;
        while now < Monotonic::from_nanos(0) + Span::from_secs(1) {
            now = liveness.heartbeat_at();
            liveness.note_heartbeat(now, 7);
            asked += 1;
        }
        // Eight times within the second interval, and then once in each.
        assert!((9..=20).contains(&asked), "{asked} times in a second");
    }
}
