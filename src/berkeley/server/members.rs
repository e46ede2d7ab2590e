//! The table of clients: who is registered, from where, and what is known of each.

use std::collections::HashMap;
use std::net::SocketAddr;

use slab::Slab;

use super::burst::{Burst, Measured};
use crate::berkeley::Path;
use crate::berkeley::event::{Exclusion, Peer};
use crate::berkeley::keeper;
use crate::time::{Monotonic, Span};
use crate::wire::{ClientState, ClusterId, Correction, Name, NodeId, SessionId, Setting, Verdict};

/// A registered client's place in the table.
pub type Slot = usize;

/// A registered client.
#[derive(Clone, Debug)]
pub struct Member {
    /// Where it is, and the address of ours that it talks to.
    pub path: Path,
    /// The process that registered.
    pub node: NodeId,
    /// Its session.
    pub session: SessionId,
    /// Its name.
    pub name: Name,
    /// The nonce of its Register: the same again is a repetition, not a new registration.
    pub nonce: u64,
    /// When it was let in.
    pub admitted: Monotonic,
    /// When something valid was heard of it last.
    pub heard: Monotonic,
    /// How its clock stands, by its own word.
    pub state: ClientState,
    /// The cluster that it carried when it registered.
    pub cluster: ClusterId,
    /// The number of the newest setting of the cluster's time that it knows; 0: none.
    pub setting: u8,
    /// What it has told of that itself, to a server that did not know.
    pub carried: Option<Box<Setting>>,
    /// Datagrams sent to it in this session.
    pub sequence: u32,
    /// Its burst, going on or the last.
    pub burst: Burst,
    /// Its last exchange, if the client does not have our side of it yet.
    pub last: Option<Measured>,
    /// The result of its last burst.
    pub reading: Option<(Monotonic, Measured)>,
    /// What it said last about how good its clock is.
    pub quality: Quality,
    /// Its usual delays.
    pub delays: Delays,
    /// In which of the last rounds it was heard.
    pub history: History,
    /// Its frequency adjustment less the rate command in it, as it was sure of it last.
    pub claim: Option<(Monotonic, keeper::Claim)>,
    /// The last Correction sent to it and its round, until it is known to have arrived.
    pub unconfirmed: Option<(u32, Correction)>,
    /// The burst in which that Correction was repeated.
    pub repeated_in: u32,
    /// The vote's word on its clock.
    pub verdict: Verdict,
    /// Why the vote leaves it out, if it does.
    pub exclusion: Option<Exclusion>,
    /// Until then it is measured more often than once a round: its path and its frequency are new.
    pub new_until: Monotonic,
    /// Until then it is, too, if it needs that.
    pub hurry_until: Monotonic,
    /// Whether the timer for that is running.
    pub hurrying: bool,
}

impl Member {
    /// As people know it.
    pub fn peer(&self) -> Peer {
        Peer { name: self.name, address: self.path.peer }
    }

    /// Whether it is to be measured more often for now: it is new, has no time, no sure frequency, is wrong, or was not
    /// heard last time.
    pub fn hurries(&self, now: Monotonic) -> bool {
        let unsettled = !self.state.has_cluster_time() || self.claim.is_none();
        let unheard = self.burst.best.is_none();
        let needs_it = unsettled || unheard || self.verdict == Verdict::Minority;
        now < self.new_until || (needs_it && now < self.hurry_until)
    }

    /// What the keeper of time gets to know of it.
    pub fn ballot(&self, now: Monotonic, round: u32, oldest: Span) -> keeper::Ballot {
        let reading = self.reading.filter(|(at, _)| now - *at <= oldest).map(|(_, measured)| {
            let excess = self.delays.excess(measured.delay);
            keeper::Reading {
                at: measured.at(),
                phase: measured.phase,
                noise: self.delays.noise(),
                excess: excess.half(),
                fresh: self.burst.round == round && self.burst.best.is_some(),
            }
        });
        let claim = self.claim.filter(|(at, _)| now - *at <= CLAIM_AGE).map(|(_, claim)| claim);
        keeper::Ballot {
            state: self.state,
            cluster: self.cluster,
            setting: self.carried_setting(),
            reading,
            excluded: self.exclusion.is_some(),
            removed: self.exclusion == Some(Exclusion::ByHand),
            claim,
        }
    }
}

impl Member {
    /// What it says that the time it carries was set by; `None`: it has not said so yet.
    fn carried_setting(&self) -> Option<Setting> {
        match self.setting {
            0 => Some(Setting::default()),
            number => self.carried.as_deref().copied().filter(|setting| setting.number == number),
        }
    }
}

/// How good a member's clock is, by its own word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quality {
    /// The round in which it said so.
    pub round: u32,
    /// One standard deviation of its estimated distance from cluster time.
    pub error: Option<Span>,
    /// Its guaranteed distance from cluster time.
    pub bound: Option<Span>,
}

/// In which of the last eight rounds a member was heard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// A bit for each round in which it was; the newest is the lowest.
    pub heard: u8,
    /// How many of the rounds it was there.
    pub rounds: u8,
}

impl History {
    /// A round is over.
    pub fn note(&mut self, heard: bool) {
        self.heard = self.heard << 1 | u8::from(heard);
        self.rounds = (self.rounds + 1).min(8);
    }
}

/// The usual delays of a member's path.
#[derive(Clone, Copy, Debug, Default)]
pub struct Delays {
    least: Option<Span>,
    mean_excess: Span,
}

impl Delays {
    /// Takes in the least delay of a burst.
    pub fn learn(&mut self, delay: Span) {
        let Some(before) = self.least else {
            (self.least, self.mean_excess) = (Some(delay), delay.over(8));
            return;
        };
        // A route that became longer for good is learned within some hundred bursts.
        let least = delay.min(before + (delay - before).over(128));
        if delay < before {
            // What looked like the path was queueing: the first guess shrinks with it.
            self.mean_excess = self.mean_excess.scaled(delay.as_secs_f64() / before.as_secs_f64());
        }
        // One held-up burst says little about the others.
        let excess = (delay - least).min(self.mean_excess.times(4) + Span::from_nanos(32));
        self.mean_excess += (excess - self.mean_excess).over(32);
        self.least = Some(least);
    }

    /// How much longer than the least this delay is.
    pub fn excess(&self, delay: Span) -> Span {
        (delay - self.least.unwrap_or(delay)).max(Span::ZERO)
    }

    /// One standard deviation of readings over this path: for an excess e, readings are wrong by ± e/2 at most.
    pub fn noise(&self) -> Span {
        self.mean_excess.over(3)
    }

    /// How long an answer may take.
    pub fn patience(&self) -> Option<Span> {
        self.least.map(|least| least.times(4) + self.mean_excess.times(8))
    }
}

/// No two clocks of these differ by more than this: the sum of the two largest bounds, if all have one.
pub fn largest_bound(bounds: impl IntoIterator<Item = Option<Span>>) -> Option<Span> {
    let mut bounds = bounds.into_iter().collect::<Option<Vec<Span>>>()?;
    bounds.sort_unstable();
    match bounds[..] {
        [.., second, first] => Some(first + second),
        _ => None,
    }
}

/// All members, by place, by address and by process.
#[derive(Debug, Default)]
pub struct Members {
    slots: Slab<Member>,
    by_address: HashMap<SocketAddr, Slot>,
    by_node: HashMap<NodeId, Slot>,
}

impl Members {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Adds a member, in place of any other at its address or of its process. Returns its place.
    pub fn insert(&mut self, member: Member) -> Slot {
        let replaced = [self.by_address.get(&member.path.peer), self.by_node.get(&member.node)]
            .map(Option::<&Slot>::copied);
        for slot in replaced.into_iter().flatten() {
            self.remove(slot);
        }
        let (address, node) = (member.path.peer, member.node);
        let slot = self.slots.insert(member);
        self.by_address.insert(address, slot);
        self.by_node.insert(node, slot);
        slot
    }

    /// Takes a member out.
    pub fn remove(&mut self, slot: Slot) -> Option<Member> {
        let member = self.slots.try_remove(slot)?;
        self.by_address.remove(&member.path.peer);
        self.by_node.remove(&member.node);
        Some(member)
    }

    /// The member at a place.
    pub fn at(&mut self, slot: Slot) -> Option<&mut Member> {
        self.slots.get_mut(slot)
    }

    /// The place of the member at an address.
    pub fn find(&self, address: SocketAddr) -> Option<Slot> {
        self.by_address.get(&address).copied()
    }

    /// Whether this process, or this address, is a member.
    pub fn knows(&self, address: SocketAddr, node: NodeId) -> bool {
        self.by_address.contains_key(&address) || self.by_node.contains_key(&node)
    }

    /// The places that are taken, in order.
    pub fn slots(&self) -> Vec<Slot> {
        self.slots.iter().map(|(slot, _)| slot).collect()
    }

    /// All members from this place on, in the order of their places.
    pub fn from(&self, slot: Slot) -> impl Iterator<Item = (Slot, &Member)> {
        self.slots.iter().skip_while(move |(place, _)| *place < slot)
    }

    /// All members, in the order of their places.
    pub fn iter(&self) -> impl Iterator<Item = &Member> {
        self.slots.iter().map(|(_, member)| member)
    }

    /// All members, in the order of their places.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (Slot, &mut Member)> {
        self.slots.iter_mut()
    }
}

/// A member's frequency is good for ten minutes: far more than losses can hide, far less than it wanders.
const CLAIM_AGE: Span = Span::from_secs(600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_clocks_differ_by_the_sum_of_the_two_largest_bounds_if_all_have_one() {
        let us = |us| Some(Span::from_micros(us));
        assert_eq!(largest_bound([us(0), us(7), us(5), us(9)]), us(16));
        assert_eq!(largest_bound([us(0), us(7)]), us(7));
        assert_eq!(largest_bound([us(0), None, us(9)]), None);
        assert_eq!(largest_bound([us(0)]), None);
    }

    #[test]
    fn the_first_held_up_burst_does_not_stay_the_measure_of_a_path() {
        let mut delays = Delays::default();
        delays.learn(Span::from_millis(10));
        for k in 0..10 {
            delays.learn(Span::from_micros(100 + k));
        }
        assert!(delays.noise() < Span::from_micros(10), "{}", delays.noise());
        delays.learn(Span::from_millis(10));
        assert!(delays.noise() < Span::from_micros(10), "{}", delays.noise());
    }
}
