//! Which servers are above the client's server, and whether a relay may follow it.
//!
//! A relay that follows one of its own clients would follow its own time, and with it the whole loop would
//! drift away. So a relay takes no time from a server that has the relay's own server above it. Each server
//! passes on who is above it with every round; a loop is found after as many rounds as it has servers, and
//! is over as soon as one of them follows another.

use core::net::SocketAddr;

use super::outbox::Outbox;
use crate::event::UpstreamFault;
use crate::wire::{Body, Lineage, Message, NodeId};
use crate::{ClientEvent, Fate};

/// See the [module](self).
#[derive(Debug, Default)]
pub(super) struct Ancestry {
    /// The server on the same machine, of a relay.
    serving: Option<NodeId>,
    /// The server of the session, and the servers above it; `None`: it has not told them in this session.
    told: Option<(NodeId, Lineage)>,
    /// The servers that the clock follows, from the root down to its own; empty: none.
    followed: Lineage,
    /// Why the server is not followed.
    fault: Option<UpstreamFault>,
}

impl Ancestry {
    /// The client is part of a relay, with this server.
    pub(super) fn serve(&mut self, server: NodeId) {
        self.serving = Some(server);
    }

    /// The servers that the clock follows or has followed last, from the root down.
    pub(super) fn followed(&self) -> Lineage {
        self.followed
    }

    /// How many servers are above the server of this session; `None`: unknown.
    pub(super) fn server_level(&self) -> Option<u8> {
        self.told.map(|(_, above)| above.level())
    }

    /// Why no time is taken from the server of this session.
    pub(super) fn fault(&self) -> Option<UpstreamFault> {
        self.fault
    }

    /// A session begins with `server`.
    pub(super) fn begin(&mut self, server: NodeId, is_relay: bool) {
        (self.told, self.fault) = (None, None);
        if !is_relay {
            self.note(server, Lineage::NONE);
        }
    }

    /// Whether this message is of a time that must not be followed.
    pub(super) fn refuses(&self, message: &Message) -> bool {
        let follows = matches!(message.body, Body::RelayedTime(_) | Body::Correction(_));
        let is_allowed = self.serving.is_none() || (self.told.is_some() && self.fault.is_none());
        follows && !is_allowed
    }

    /// Takes in a message that the session has accepted.
    pub(super) fn after(&mut self, message: &Message, fate: Fate, server: SocketAddr, outbox: &mut Outbox) {
        let Body::Lineage(above) = &message.body else { return };
        if fate != Fate::Accepted {
            return;
        }
        let before = self.fault;
        self.note(message.header.sender, *above);
        if let Some(reason) = self.fault.filter(|fault| before != Some(*fault)) {
            outbox.report(ClientEvent::UpstreamRefused { server, reason });
        }
    }

    fn note(&mut self, server: NodeId, above: Lineage) {
        self.told = Some((server, above));
        let is_own = |own: &NodeId| *own == server || above.servers().contains(own);
        let chain = above.below(server);
        self.fault = match chain {
            _ if self.serving.as_ref().is_some_and(is_own) => Some(UpstreamFault::Loop),
            None if self.serving.is_some() => Some(UpstreamFault::TooManyLevels),
            _ => None,
        };
        if let (Some(chain), None) = (chain, self.fault) {
            self.followed = chain;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Header, RelayedTime};

    fn lineage(servers: &[u64]) -> Lineage {
        servers.iter().fold(Lineage::NONE, |above, server| above.below(NodeId(*server)).unwrap())
    }

    fn tell(ancestry: &mut Ancestry, sender: u64, above: &[u64]) -> Option<ClientEvent> {
        let header = Header { sender: NodeId(sender), ..Header::default() };
        let message = Message { header, body: Body::Lineage(lineage(above)) };
        let mut outbox = Outbox::default();
        ancestry.after(&message, Fate::Accepted, "192.0.2.1:5525".parse().unwrap(), &mut outbox);
        outbox.events.pop_front()
    }

    fn refuses_time(ancestry: &Ancestry) -> bool {
        let body = Body::RelayedTime(RelayedTime::NONE);
        ancestry.refuses(&Message { header: Header::default(), body })
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
        assert!(refuses_time(&ancestry));
        assert_eq!(tell(&mut ancestry, 2, &[1]), None);
        assert!(!refuses_time(&ancestry));
        assert_eq!((ancestry.followed(), ancestry.server_level()), (lineage(&[1, 2]), Some(1)));
    }

    #[test]
    fn a_relay_takes_no_time_from_a_server_below_it_until_that_follows_another() {
        let mut ancestry = relay();
        ancestry.begin(NodeId(2), true);
        tell(&mut ancestry, 2, &[1]);
        let refused = tell(&mut ancestry, 2, &[1, 9, 4]);
        assert!(matches!(refused, Some(ClientEvent::UpstreamRefused { reason: UpstreamFault::Loop, .. })));
        assert!(refuses_time(&ancestry));
        // It tells its own clients what it has followed before, and reports the loop once.
        assert_eq!(ancestry.followed(), lineage(&[1, 2]));
        assert_eq!(tell(&mut ancestry, 2, &[1, 9, 4]), None);
        tell(&mut ancestry, 2, &[1, 3]);
        assert!(!refuses_time(&ancestry));
    }

    #[test]
    fn a_relay_does_not_follow_itself() {
        let mut ancestry = relay();
        ancestry.begin(NodeId(9), true);
        assert!(tell(&mut ancestry, 9, &[]).is_some() && refuses_time(&ancestry));
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
        assert!(!refuses_time(&client));
        assert_eq!(tell(&mut client, 6, &deepest), None);
        assert!(!refuses_time(&client));
        assert_eq!(client.server_level(), Some(5));
    }

    #[test]
    fn a_server_that_is_no_relay_is_the_root() {
        let mut ancestry = relay();
        ancestry.begin(NodeId(1), false);
        assert!(!refuses_time(&ancestry));
        assert_eq!((ancestry.followed(), ancestry.server_level()), (lineage(&[1]), Some(0)));
    }
}
