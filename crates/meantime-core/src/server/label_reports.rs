//! Reports of labels that take the place of the votes per address: one for each machine.

use alloc::collections::BTreeSet;
use core::hash::BuildHasher;

use super::context::Context;
use super::groups;
use super::handles::Slot;
use crate::ServerEvent;
use crate::view::GroupView;
use crate::wire::Name;

/// The machines whose labels were reported.
#[derive(Debug, Default)]
pub(super) struct LabelReports {
    /// The hashes of their groups.
    reported: BTreeSet<u64>,
}

impl LabelReports {
    /// The member has stated this label. Without it, the clients of its machine could have several votes.
    pub(super) fn note_label(&mut self, context: &mut Context, slot: Slot, label: Name) {
        let Context { config, members, events, .. } = context;
        let Some(member) = members.get(slot).filter(|_| self.reported.len() < MAX_REPORTED) else { return };
        let group = groups::group_of(config, member, members.local(member));
        let votes = config.votes_per_address;
        let is_overridden = votes > 1 && !matches!(group, GroupView::Node(_));
        if is_overridden && self.reported.insert(members.hasher().hash_one(group)) {
            events.push(ServerEvent::LabelOverridesVotes { client: member.peer(), label, votes });
        }
    }
}

/// An operator who has read so many lines knows the rest, and memory is limited.
const MAX_REPORTED: usize = 256;
