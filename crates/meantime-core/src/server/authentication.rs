//! Authentication: checks the tags of received datagrams, and writes datagrams with tags.
//!
//! With keys, a server handles only datagrams that are tagged with the key of the node that they claim to
//! come from: the node whose name a Register or a Heartbeat contains, else the member at the source address.
//!
//! A node's key is derived for each datagram, from the master key and the node's name. That costs about as
//! much again as the tag itself, and of each member only the number of its master key has to be stored.

use super::member::Member;
use super::members::Members;
use crate::wire::{Body, Datagram, Direction, Flags, Header, KeyId, Message, Name, NodeId, SessionId};
use crate::{Fate, MasterKeys, Path};

/// Checks and makes tags.
#[derive(Debug)]
pub(super) struct Authenticator {
    /// The server's own id, in the header of each of its datagrams.
    node: NodeId,
    keys: MasterKeys,
}

/// The key with which a datagram is tagged, and with which it is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Seal {
    /// The master key's number.
    pub key: KeyId,
    /// The name of the node for which it is derived.
    pub name: Name,
}

impl Authenticator {
    /// The authenticator of a server with this id and these keys.
    pub(super) fn new(node: NodeId, keys: MasterKeys) -> Authenticator {
        Authenticator { node, keys }
    }

    /// The number of this process.
    pub(super) fn node(&self) -> NodeId {
        self.node
    }

    /// Replaces the keys.
    pub(super) fn set_keys(&mut self, keys: MasterKeys) {
        self.keys = keys;
    }

    /// Whether there are keys, so that datagrams need tags.
    pub(super) fn has_keys(&self) -> bool {
        !self.keys.is_empty()
    }

    /// Whether the server has this key.
    pub(super) fn knows(&self, key: KeyId) -> bool {
        self.keys.find(key).is_some()
    }

    /// The key with which a datagram is tagged.
    ///
    /// # Errors
    /// [`Fate::Tag`] if its tag is wrong, [`Fate::Session`] if the node that it claims to come from is
    /// unknown.
    pub(super) fn authenticate(
        &self,
        members: &Members,
        path: Path,
        message: &Message,
        datagram: &[u8],
    ) -> Result<Seal, Fate> {
        let key = message.header.key_id;
        if self.keys.is_empty() {
            return if key == KeyId::NONE { Ok(Seal::default()) } else { Err(Fate::Tag) };
        }
        let member = members.find(path.peer).and_then(|slot| members.get(slot));
        let name = match (&message.body, member) {
            (Body::Register(register), _) => register.name,
            // In a member's session only that member's key counts, not the name in the datagram.
            (Body::Heartbeat(_), Some(member)) if member.session == message.header.session => member.name,
            (Body::Heartbeat(heartbeat), _) => heartbeat.name,
            (_, Some(member)) => member.name,
            (_, None) => return Err(Fate::Session),
        };
        let seal = Seal { key, name };
        let master = self.keys.find(key);
        let genuine = master.zip(datagram.try_into().ok()).is_some_and(|(master, datagram)| {
            master.node(&name).verify(Direction::ToServer, datagram)
                && !has_other_name(members, message.header.sender, &name)
        });
        if genuine { Ok(seal) } else { Err(Fate::Tag) }
    }

    /// Writes the next datagram of a member's session; `None`: its key is unknown now.
    pub(super) fn write_to_member(
        &self,
        member: &mut Member,
        flags: Flags,
        round: u32,
        body: Body,
    ) -> Option<Datagram> {
        member.sequence = member.next_sequence();
        let seal = Seal { key: member.key, name: member.name };
        let (session, sequence) = (member.session, member.sequence);
        let header = Header { flags, key_id: seal.key, sender: self.node, session, sequence, round };
        self.sealed(&seal, Message { header, body })
    }

    /// Writes an answer to a node that is not a member; `None`: its key is unknown now.
    pub(super) fn write_to_non_member(
        &self,
        seal: &Seal,
        session: SessionId,
        body: Body,
    ) -> Option<Datagram> {
        let header = Header { key_id: seal.key, sender: self.node, session, ..Header::default() };
        self.sealed(seal, Message { header, body })
    }

    /// A message, encoded and tagged.
    fn sealed(&self, seal: &Seal, message: Message) -> Option<Datagram> {
        let mut datagram = message.encode();
        if self.keys.is_empty() {
            return (seal.key == KeyId::NONE).then_some(datagram);
        }
        self.keys.find(seal.key)?.node(&seal.name).sign(Direction::ToClient, &mut datagram);
        Some(datagram)
    }
}

/// Whether the member with this node id has another name: a node must not replace a member of another name.
fn has_other_name(members: &Members, node: NodeId, name: &Name) -> bool {
    let member = members.of_node(node).and_then(|slot| members.get(slot));
    member.is_some_and(|member| member.name != *name)
}
