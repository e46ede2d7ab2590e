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
        }
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
        self.sent + self.heartbeat
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
