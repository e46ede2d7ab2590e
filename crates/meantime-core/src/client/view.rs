//! What can be seen of a client.

use super::{Client, Link};
use crate::time::Now;
use crate::view::{ClientView, CorrectionView, ManualAdjustmentView};
use crate::wire::{ClusterId, Name};

impl Client {
    /// Its own name for itself.
    pub fn name(&self) -> Name {
        self.config.name
    }

    /// The cluster whose time its clock has; 0: none.
    pub fn cluster(&self) -> ClusterId {
        self.cluster
    }

    /// How this client stands now; what its clock shows is told by [`Node::read`](crate::Node::read).
    pub fn view(&self, now: Now) -> ClientView {
        let session = match &self.link {
            Link::Member(session) => Some(session),
            Link::Entering(_) => None,
        };
        let last = |(at, view): (_, CorrectionView)| CorrectionView { ago: now.mono - at, ..view };
        ClientView {
            server: self.server,
            registered: session.is_some(),
            cluster: self.cluster,
            interval: session.map(|session| session.terms.interval),
            manual_adjustment: ManualAdjustmentView::of(&self.setting, self.timescale.published(now.raw)),
            last_correction: self.last_correction.map(last),
            holdover: self.holdover,
            heard_ago: session.map(|session| now.mono - session.heard),
        }
    }
}
