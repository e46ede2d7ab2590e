//! The manual time adjustment that a session's server has announced, and whether the client knows the
//! server's newest one.
//!
//! The client agrees with its server on base time; its clock shows that, plus the manual adjustment
//! ([`manual_adjustment`](crate::manual_adjustment)). A client follows the adjustment of a server whose time
//! its clock has, and sends its own to a server that does not know the time yet. A clock without cluster time
//! shows no adjustment; it needs a correction first.

use super::limits::Refused;
use crate::manual_adjustment::lead;
use crate::time::{Raw, Span};
use crate::wire::{ClusterId, ManualAdjustment};

/// What the server of a session has said about the cluster's manual adjustment; before it has said anything,
/// what the client knows itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct AnnouncedAdjustment {
    manual: ManualAdjustment,
    /// The number of that adjustment, as this server counts; 0: it has announced none.
    number: u8,
    /// Why the client has refused a newer one.
    refusal: Option<Refused>,
}

impl AnnouncedAdjustment {
    /// A session begins, or its server turns out to keep another cluster's time. If `served`, the server's
    /// cluster, is the client's `own` one or not decided yet, the server is taken to know what the client
    /// knows. Numbers count within one session: another server of the same cluster may have taken over an
    /// older adjustment from its members, or a different one with the same number. So the first one that a
    /// server announces is always newer.
    pub(super) fn begin(known: &ManualAdjustment, own: ClusterId, served: ClusterId) -> AnnouncedAdjustment {
        let undecided = served == ClusterId::default();
        let same = undecided || own == served;
        AnnouncedAdjustment {
            manual: if same { *known } else { ManualAdjustment::NONE },
            number: if undecided { known.number } else { 0 },
            refusal: None,
        }
    }

    /// The adjustment that a clock has that follows this server.
    pub(super) fn manual(&self) -> &ManualAdjustment {
        &self.manual
    }

    /// The number of the newest adjustment that the client knows from this server; 0: none.
    pub(super) fn number(&self) -> u8 {
        self.number
    }

    /// Why the client has refused a newer one, if it has.
    pub(super) fn refusal(&self) -> Option<Refused> {
        self.refusal
    }

    /// Whether the client knows the server's newest adjustment, which has this number. A server that has
    /// none overrules what the client knows from another.
    pub(super) fn is_newest(&self, number: u8) -> bool {
        self.number == number && !self.is_overruled()
    }

    /// Whether the server has none, and so overrules what the client knows from another.
    pub(super) fn is_overruled(&self) -> bool {
        self.number == 0 && self.manual.number != 0
    }

    /// The server announces this adjustment, which the client accepts.
    pub(super) fn accept(&mut self, manual: ManualAdjustment) {
        *self = AnnouncedAdjustment { manual, number: manual.number, refusal: None };
    }

    /// The server announces an adjustment that the client refuses.
    pub(super) fn refuse(&mut self, refused: Refused) {
        self.refusal = Some(refused);
    }

    /// The server has no adjustment, and the client accepts that.
    pub(super) fn withdraw(&mut self) {
        self.manual = ManualAdjustment::NONE;
    }
}

/// Whether the client knows the newest adjustment of its server. It outlives the session: until a new server
/// has said which is the newest, what the last one has said counts.
#[derive(Clone, Copy, Debug)]
pub(super) struct AdjustmentAwareness {
    /// The server's newest adjustment is one that this client does not know.
    lacks_newest: bool,
    /// When the client last knew the newest.
    since: Raw,
}

impl AdjustmentAwareness {
    /// The client knows the newest at `raw`.
    pub(super) fn aware(raw: Raw) -> AdjustmentAwareness {
        AdjustmentAwareness { lacks_newest: false, since: raw }
    }

    /// The server has a newer one.
    pub(super) fn note_newer(&mut self) {
        self.lacks_newest = true;
    }

    /// When the client last knew the newest.
    pub(super) fn since(&self) -> Raw {
        self.since
    }

    /// Whether the server has a newer one.
    pub(super) fn lacks_newest(&self) -> bool {
        self.lacks_newest
    }

    /// Before which moment no adjustment can begin that the client does not know; `None`: there is none.
    /// Servers announce an adjustment for some rounds, the length of which is `interval`, before it begins.
    pub(super) fn may_begin(&self, interval: Span) -> Option<Raw> {
        self.lacks_newest.then(|| self.since + lead(interval))
    }
}
