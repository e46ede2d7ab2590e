//! Which servers are above the client's server, and whether a relay may follow it.
//!
//! A relay that follows one of its own clients would follow its own time, and with it the whole loop would
//! drift away. So a relay takes no time from a server that has the relay's own server above it. Each server
//! passes on who is above it with every round; a loop is found after as many rounds as it has servers, and
//! is over as soon as one of them follows another.

use core::net::SocketAddr;

use super::outbox::Outbox;
use crate::event::UpstreamFault;
use crate::time::{Monotonic, Span};
use crate::wire::{Body, Lineage, Message, NodeId};
use crate::{ClientEvent, Fate};

/// See the [module](self).
#[derive(Debug, Default)]
pub(super) struct Ancestry {
    /// The server on the same machine, of a relay.
    serving: Option<NodeId>,
    /// The server of the session, and the servers above it; `None`: it has not told them in this session.
    told: Option<(NodeId, Lineage)>,
    /// The servers down to the last one that it was not forbidden to follow; empty: none.
    followed: Lineage,
    /// Whether the server of the session is a relay.
    is_relay: bool,
    /// Why the server is not followed, and since when.
    fault: Option<(UpstreamFault, Monotonic)>,
    /// The fault that was reported last, and of which server; `None`: a server was followed since.
    reported: Option<(NodeId, UpstreamFault)>,
}

impl Ancestry {
    /// The client is part of a relay, with this server.
    pub(super) fn serve(&mut self, server: NodeId) {
        self.serving = Some(server);
    }

    /// The servers from the root down to the one that the clock may follow, or could last.
    pub(super) fn followed(&self) -> Lineage {
        self.followed
    }

    /// How many servers are above the server of this session; `None`: it has not told, follows none itself,
    /// or must not be followed.
    pub(super) fn server_level(&self) -> Option<u8> {
        let (_, above) = self.told.filter(|_| self.fault.is_none())?;
        Some(above.level()).filter(|level| *level > 0 || !self.is_relay)
    }

    /// Why no time is taken from the server of this session.
    pub(super) fn fault(&self) -> Option<UpstreamFault> {
        self.fault.map(|(fault, _)| fault)
    }

    /// Whether that has been so for so long.
    pub(super) fn has_fault_for(&self, now: Monotonic, length: Span) -> bool {
        self.fault.is_some_and(|(_, since)| now - since >= length)
    }

    /// A session begins with `server`.
    pub(super) fn begin(&mut self, server: NodeId, is_relay: bool) {
        (self.told, self.fault, self.is_relay) = (None, None, is_relay);
        if !is_relay {
            self.note(Monotonic::default(), server, Lineage::NONE);
        }
    }

    /// Whether the clock may follow the server of this session.
    pub(super) fn may_follow(&self) -> bool {
        self.serving.is_none() || (self.told.is_some() && self.fault.is_none())
    }

    /// Takes in a message that the session has accepted. Returns whether the server may be followed now, and
    /// might not before because of a fault.
    pub(super) fn after(
        &mut self,
        now: Monotonic,
        message: &Message,
        fate: Fate,
        server: SocketAddr,
        outbox: &mut Outbox,
    ) -> bool {
        let Body::Lineage(above) = &message.body else { return false };
        if fate != Fate::Accepted {
            return false;
        }
        let had_fault = self.fault.is_some();
        let sender = message.header.sender;
        self.note(now, sender, *above);
        let known = self.reported;
        self.reported = self.fault().map(|fault| (sender, fault));
        if let Some((_, reason)) = self.reported.filter(|fault| known != Some(*fault)) {
            outbox.report(ClientEvent::UpstreamRefused { server, reason });
        }
        had_fault && self.fault.is_none()
    }

    fn note(&mut self, now: Monotonic, server: NodeId, above: Lineage) {
        // A server without a number cannot be told from others.
        if server == NodeId(0) {
            return;
        }
        self.told = Some((server, above));
        let is_own = |own: &NodeId| *own == server || above.servers().contains(own);
        let chain = above.below(server);
        let fault = match chain {
            _ if self.serving.as_ref().is_some_and(is_own) => Some(UpstreamFault::Loop),
            None if self.serving.is_some() => Some(UpstreamFault::TooManyLevels),
            _ => None,
        };
        let since = self.fault.map_or(now, |(_, since)| since);
        self.fault = fault.map(|fault| (fault, since));
        if let (Some(chain), None) = (chain, self.fault) {
            self.followed = chain;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Header;

    fn lineage(servers: &[u64]) -> Lineage {
        servers.iter().fold(Lineage::NONE, |above, server| above.below(NodeId(*server)).unwrap())
    }

    fn tell(ancestry: &mut Ancestry, sender: u64, above: &[u64]) -> Option<ClientEvent> {
        let header = Header { sender: NodeId(sender), ..Header::default() };
        let message = Message { header, body: Body::Lineage(lineage(above)) };
        let mut outbox = Outbox::default();
        let server = "192.0.2.1:5525".parse().unwrap();
        ancestry.after(Monotonic::default(), &message, Fate::Accepted, server, &mut outbox);
        outbox.events.pop_front()
    }

    fn relay() -> Ancestry {
        let mut ancestry = Ancestry::default();
        ancestry.serve(NodeId(9));
        ancestry
    }

    #[test]
    fn a_relay_waits_for_the_lineage_of_another_relay_and_then_follows_it() {
        let mut ancestry = relay();
        ancestry.begin(NodeId(2), true);
        assert!(!ancestry.may_follow());
        assert_eq!(tell(&mut ancestry, 2, &[1]), None);
        assert!(ancestry.may_follow());
        assert_eq!((ancestry.followed(), ancestry.server_level()), (lineage(&[1, 2]), Some(1)));
    }

    #[test]
    fn a_relay_takes_no_time_from_a_server_below_it_until_that_follows_another() {
        let mut ancestry = relay();
        ancestry.begin(NodeId(2), true);
        tell(&mut ancestry, 2, &[1]);
        let refused = tell(&mut ancestry, 2, &[1, 9, 4]);
        assert!(matches!(refused, Some(ClientEvent::UpstreamRefused { reason: UpstreamFault::Loop, .. })));
        assert!(!ancestry.may_follow());
        // It tells its own clients what it has followed before, and reports the loop once.
        assert_eq!(ancestry.followed(), lineage(&[1, 2]));
        assert_eq!(tell(&mut ancestry, 2, &[1, 9, 4]), None);
        assert_eq!((ancestry.fault(), ancestry.server_level()), (Some(UpstreamFault::Loop), None));
        let long = Span::from_secs(40);
        assert!(ancestry.has_fault_for(Monotonic::default() + long, long));
        tell(&mut ancestry, 2, &[1, 3]);
        assert!(ancestry.may_follow());
    }

    #[test]
    fn a_relay_does_not_follow_itself() {
        let mut ancestry = relay();
        ancestry.begin(NodeId(9), true);
        assert!(tell(&mut ancestry, 9, &[]).is_some() && !ancestry.may_follow());
    }

    #[test]
    fn a_relay_does_not_follow_a_server_of_the_last_level_but_a_client_does() {
        let deepest = [1, 2, 3, 4, 5];
        let mut ancestry = relay();
        ancestry.begin(NodeId(6), true);
        let refused = tell(&mut ancestry, 6, &deepest);
        let expected = UpstreamFault::TooManyLevels;
        assert!(matches!(refused, Some(ClientEvent::UpstreamRefused { reason, .. }) if reason == expected));
        let mut client = Ancestry::default();
        client.begin(NodeId(6), true);
        assert!(client.may_follow());
        assert_eq!(tell(&mut client, 6, &deepest), None);
        assert!(client.may_follow());
        assert_eq!(client.server_level(), Some(5));
    }

    #[test]
    fn a_server_that_is_no_relay_is_the_root() {
        let mut ancestry = relay();
        ancestry.begin(NodeId(1), false);
        assert!(ancestry.may_follow());
        assert_eq!((ancestry.followed(), ancestry.server_level()), (lineage(&[1]), Some(0)));
    }
}
