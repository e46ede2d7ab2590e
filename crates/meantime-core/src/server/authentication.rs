//! Whose word a datagram is. With keys, a server reads and answers only what is tagged by the key of the node
//! that it comes from: the one that a Register or a Heartbeat names, else the member at its address.
//!
//! A node's key is made out for each datagram, from the secret and the name: that costs about as much again
//! as the tag itself, and leaves nothing to remember of each member but which secret it was.

use super::Server;
use super::member::Member;
use crate::time::{Monotonic, Now};
use crate::wire::{Body, Datagram, Direction, KeyId, Message, Name};
use crate::{Fate, MasterKeys, Path, ServerEvent};

/// How answers to a datagram are to be tagged: as it was itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Seal {
    /// By which secret.
    pub key: KeyId,
    /// With whose key.
    pub name: Name,
}

/// When people were told last of each way in which a tag can be wrong.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ToldForgery {
    no_key: Option<Monotonic>,
    unknown_key: Option<Monotonic>,
    wrong_key: Option<Monotonic>,
}

impl Server {
    /// Whose word a datagram is.
    ///
    /// # Errors
    /// What becomes of it if it is nobody's, or if nobody knows whose it should be.
    pub(super) fn authenticate(&self, path: Path, message: &Message, datagram: &[u8]) -> Result<Seal, Fate> {
        let key = message.header.key_id;
        if self.config.keys.is_empty() {
            return if key == KeyId::NONE { Ok(Seal::default()) } else { Err(Fate::Tag) };
        }
        let member = self.members.find(path.peer).and_then(|slot| self.members.look_at(slot));
        let name = match (&message.body, member) {
            (Body::Register(register), _) => register.name,
            // In a member's session only that member's key counts, whatever name somebody gives.
            (Body::Heartbeat(_), Some(member)) if member.session == message.header.session => member.name,
            (Body::Heartbeat(heartbeat), _) => heartbeat.name,
            (_, Some(member)) => member.name,
            (_, None) => return Err(Fate::Session),
        };
        let seal = Seal { key, name };
        let master = self.config.keys.find(key);
        let genuine = master.zip(datagram.try_into().ok()).is_some_and(|(master, datagram)| {
            master.node(&name).verify(Direction::ToServer, datagram) && !self.is_usurper(&seal, message)
        });
        if genuine { Ok(seal) } else { Err(Fate::Tag) }
    }

    /// Whether another node than this one goes by the same process number: nobody replaces a member in
    /// another's name.
    fn is_usurper(&self, seal: &Seal, message: &Message) -> bool {
        let slot = self.members.of_node(message.header.sender);
        slot.and_then(|slot| self.members.look_at(slot)).is_some_and(|member| member.name != seal.name)
    }

    /// Tells of somebody whose tag is wrong, at most once a minute for no key, an unknown key and a wrong
    /// one: the network decides how many there are.
    pub(super) fn tell_forgery(&mut self, now: Now, path: Path, message: &Message) {
        let key = message.header.key_id;
        let known = self.config.keys.find(key).is_some();
        let told = match key {
            KeyId::NONE => &mut self.told_forgery.no_key,
            _ if known => &mut self.told_forgery.wrong_key,
            _ => &mut self.told_forgery.unknown_key,
        };
        let recent = |at: Monotonic| now.mono - at < super::TELL_AGAIN;
        if told.is_some_and(recent) {
            return;
        }
        *told = Some(now.mono);
        let name = match &message.body {
            Body::Register(register) => register.name,
            Body::Heartbeat(heartbeat) => heartbeat.name,
            _ => Name::default(),
        };
        self.events.push_back(ServerEvent::Unauthentic { address: path.peer, key, known, name });
    }

    /// From now on these are the keys. A member whose key is not among them any more finds out by silence,
    /// and registers again with another that it has.
    pub fn set_keys(&mut self, keys: MasterKeys) {
        self.config.keys = keys;
    }
}

impl Seal {
    /// As a member is answered.
    pub(super) fn of(member: &Member) -> Seal {
        Seal { key: member.key, name: member.name }
    }

    /// Tags a datagram whose header has this key's number; false if the key is not known any more.
    pub(super) fn sign(&self, keys: &MasterKeys, datagram: &mut Datagram) -> bool {
        if keys.is_empty() {
            return self.key == KeyId::NONE;
        }
        let Some(master) = keys.find(self.key) else { return false };
        master.node(&self.name).sign(Direction::ToClient, datagram);
        true
    }
}
