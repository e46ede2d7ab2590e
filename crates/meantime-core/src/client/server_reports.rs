//! What a client has reported of its servers.
//!
//! A server that changes its term or its time as often as it likes makes its clients change what they follow
//! and distrust, and is not to flood their readers. So changes are reported at a limited rate. One that is
//! left out is reported later, if it lasts.

use super::link::Link;
use super::outbox::Outbox;
use crate::ClientEvent;
use crate::report_limit::ReportLimit;
use crate::roles::rank::{Rank, ServerSet};
use crate::roles::term::Term;
use crate::time::Monotonic;

/// See the [module](self).
#[derive(Debug, Default)]
pub(super) struct ServerReports {
    /// The term that the client follows, as reported last.
    followed: Term,
    follows: ReportLimit,
    /// The servers that are distrusted, as reported last.
    distrusted: ServerSet,
    distrusts: ReportLimit,
    /// The servers that state another place or another length of the list, which is reported once.
    misplaced: ServerSet,
}

impl ServerReports {
    /// The client follows this term, by its own choice.
    pub(super) fn note_followed(&mut self, now: Monotonic, term: Term, links: &[Link], outbox: &mut Outbox) {
        let of = links.iter().find(|link| Some(link.rank()) == term.rank() && self.followed != term);
        let Some((link, server)) = of.and_then(|link| Some((link, link.server()?))) else { return };
        if self.follows.allow(now) {
            self.followed = term;
            outbox.report(ClientEvent::Follows { server, rank: link.rank(), term });
        }
    }

    /// The client distrusts these servers.
    pub(super) fn note_distrusted(
        &mut self,
        now: Monotonic,
        distrusted: ServerSet,
        links: &[Link],
        outbox: &mut Outbox,
    ) {
        for link in links {
            let (rank, is) = (link.rank(), distrusted.contains(link.rank()));
            let changed = link.server().filter(|_| self.distrusted.contains(rank) != is);
            let Some(server) = changed.filter(|_| self.distrusts.allow(now)) else { continue };
            self.distrusted = self.distrusted.with(rank, is);
            outbox.report(match is {
                true => ClientEvent::Distrusts { server, rank },
                false => ClientEvent::Trusts { server, rank },
            });
        }
    }

    /// This server states this place and length of the list, and the client has another one.
    pub(super) fn note_misplaced(&mut self, own: Rank, event: ClientEvent, outbox: &mut Outbox) {
        if !self.misplaced.contains(own) {
            self.misplaced = self.misplaced.with(own, true);
            outbox.report(event);
        }
    }

    /// When a change that was left out may be reported, if it lasts: the client follows this term, and
    /// distrusts these servers. `None`: all is reported.
    pub(super) fn poll_timeout(&self, followed: Option<Term>, distrusted: ServerSet) -> Option<Monotonic> {
        let follows = followed.filter(|term| *term != self.followed).and(self.follows.allows_at());
        let distrusts = (distrusted != self.distrusted).then(|| self.distrusts.allows_at()).flatten();
        [follows, distrusts].into_iter().flatten().min()
    }
}
