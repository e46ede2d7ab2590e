//! What an operator has decided about clients, as a standby server's client collects it from the active
//! server.

use alloc::vec::Vec;

use crate::Fate;
use crate::wire::{DecidedClients, Decision, DecisionProgress, NodeId};

/// The list, as far as it has come. It comes in the order of its entries: each heartbeat asks for the next.
#[derive(Clone, Debug, Default)]
pub(super) struct CollectedDecisions {
    /// The server that it is of, and its number.
    of: Option<(NodeId, u16)>,
    entries: Vec<DecidedClients>,
    /// The whole list has come, and was not taken yet.
    is_new: bool,
    is_whole: bool,
}

impl CollectedDecisions {
    /// How far the list of this server has come.
    pub(super) fn progress(&self, server: NodeId) -> DecisionProgress {
        match self.of.filter(|(of, _)| *of == server) {
            Some((_, generation)) => DecisionProgress { generation, entries: self.entries.len() as u16 },
            None => DecisionProgress::default(),
        }
    }

    /// An entry of this server's list came.
    pub(super) fn handle(&mut self, server: NodeId, decision: &Decision) -> Fate {
        let of = Some((server, decision.generation));
        if self.of != of {
            *self = CollectedDecisions { of, ..CollectedDecisions::default() };
        }
        if self.is_whole || usize::from(decision.index) != self.entries.len() || self.entries.len() >= MAX {
            return Fate::Superseded;
        }
        self.entries.extend(decision.decided);
        (self.is_whole, self.is_new) = (decision.last, decision.last);
        Fate::Accepted
    }

    /// The whole list, if it has come and was not taken yet.
    pub(super) fn take(&mut self) -> Option<Vec<DecidedClients>> {
        core::mem::take(&mut self.is_new).then(|| self.entries.clone())
    }
}

/// More than any server has.
const MAX: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Name, Ruling};

    fn entry(generation: u16, index: u16, last: bool) -> Decision {
        let name = Name::new("pump");
        let decided = DecidedClients { ruling: Ruling::Removed, network: None, port: 0, name };
        Decision { generation, index, last, decided: Some(decided) }
    }

    #[test]
    fn a_list_is_taken_once_when_all_of_it_has_come() {
        let (server, mut collected) = (NodeId(7), CollectedDecisions::default());
        assert_eq!(collected.progress(server), DecisionProgress::default());
        assert_eq!(collected.handle(server, &entry(3, 1, true)), Fate::Superseded, "the first is missing");
        assert_eq!(collected.handle(server, &entry(3, 0, false)), Fate::Accepted);
        assert_eq!(collected.take(), None);
        assert_eq!(collected.progress(server), DecisionProgress { generation: 3, entries: 1 });
        assert_eq!(collected.handle(server, &entry(3, 1, true)), Fate::Accepted);
        assert_eq!(collected.take().map(|list| list.len()), Some(2));
        assert_eq!(collected.take(), None);
        assert_eq!(collected.handle(server, &entry(3, 2, true)), Fate::Superseded, "it is whole");
    }

    #[test]
    fn the_list_of_another_server_or_a_newer_one_begins_anew() {
        let (one, other, mut collected) = (NodeId(7), NodeId(8), CollectedDecisions::default());
        collected.handle(one, &entry(3, 0, true));
        let empty = Decision { generation: 1, index: 0, last: true, decided: None };
        assert_eq!(collected.handle(other, &empty), Fate::Accepted);
        assert_eq!(collected.take(), Some(Vec::new()));
        assert_eq!(collected.progress(one), DecisionProgress::default());
        assert_eq!(collected.progress(other), DecisionProgress { generation: 1, entries: 0 });
    }
}
