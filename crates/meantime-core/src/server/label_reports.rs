//! Reports of labels that take the place of the votes per address: one for each machine.

use alloc::collections::BTreeSet;
use core::hash::BuildHasher;

use super::context::Context;
use super::groups::{self, CountedLabels};
use super::handles::Slot;
use super::member::Member;
use crate::ServerEvent;
use crate::event::Exclusion;
use crate::view::GroupView;

/// The machines whose labels were reported.
#[derive(Debug, Default)]
pub(super) struct LabelReports {
    /// The hashes of their groups.
    reported: BTreeSet<u64>,
}

impl LabelReports {
    /// The member has stated a label, which is recorded. Without the label that counts for its machine, the
    /// clients of that could have several votes.
    pub(super) fn note_label(&mut self, context: &mut Context, slot: Slot) {
        let Context { config, members, events, .. } = context;
        let counts = |member: &&Member| member.exclusion != Some(Exclusion::Removed);
        let Some(member) = members.get(slot).filter(counts) else { return };
        let group = groups::group_of(config, member, members.local(member));
        let votes = config.votes_per_address;
        let is_overridden = votes > 1 && !matches!(group, GroupView::Node(_));
        let has_room = self.reported.len() < MAX_REPORTED;
        if !is_overridden || !has_room || !self.reported.insert(members.hasher().hash_one(group)) {
            return;
        }
        if let Some(label) = CountedLabels::of(config, members).label(&group) {
            events.push(ServerEvent::LabelOverridesVotes { client: member.peer(), label, votes });
        }
    }
}

/// An operator who has read so many lines knows the rest, and memory is limited.
const MAX_REPORTED: usize = 256;
