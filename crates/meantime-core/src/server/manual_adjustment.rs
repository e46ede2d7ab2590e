//! The cluster's time, set by hand: who is told of it, and who tells.

use super::{Server, Slot};
use crate::consensus::Unsettable;
use crate::event::Adjustment;
use crate::time::{Now, Span, Timestamp};
use crate::wire::{Body, ClusterId, Header, ManualAdjustment};
use crate::{Fate, ServerEvent};

/// To what the cluster's time is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// So much more than it is; negative: less.
    By(Span),
    /// What it should have been at the moment of the asking.
    To(Timestamp),
}

impl Server {
    /// Sets the cluster's time, at all members alike, as soon as they all know it.
    ///
    /// # Errors
    /// When that cannot be; then nothing has changed.
    pub fn set_time(
        &mut self,
        now: Now,
        target: Target,
        how: Adjustment,
    ) -> Result<ManualAdjustment, Unsettable> {
        let by = match target {
            Target::By(by) => by,
            Target::To(time) => time - self.keeper.shown(now.raw),
        };
        let setting = self.keeper.set_time(now.raw, by, how)?;
        self.events.push_back(ServerEvent::TimeSet { manual_adjustment: setting });
        Ok(setting)
    }

    /// Tells a member what the cluster's time was set by, unless it knows.
    pub(super) fn tell_setting(&mut self, slot: Slot) {
        let setting = *self.keeper.setting();
        if self.members.at(slot).is_some_and(|member| member.setting != setting.number) && setting.number != 0
        {
            self.send_to(slot, 0, Body::ManualAdjustment(setting));
        }
    }

    /// A member tells what the time that it carries was set by. A server that has a cluster's time knows
    /// better.
    pub(super) fn handle_setting(
        &mut self,
        now: Now,
        slot: Slot,
        header: &Header,
        setting: &ManualAdjustment,
    ) -> Fate {
        let undecided = self.keeper.cluster() == ClusterId(0);
        let Some(member) = self.members.at(slot) else { return Fate::Session };
        if !member.hear(now.mono, header) {
            return Fate::Replayed;
        }
        if undecided && member.cluster == setting.cluster {
            self.carried.insert(slot, *setting);
        }
        Fate::Accepted
    }
}
