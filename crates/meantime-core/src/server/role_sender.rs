//! States the role of a server of several to all members, a part at a time, when it has changed.
//!
//! Besides, each member is told the role behind the Welcome, behind each acknowledged heartbeat, and before
//! each burst. Changes that follow one another are stated together, at most eight times in an interval: what
//! other servers state may make a server change its own statement, and one of them may lie.

use super::context::{Context, Timer};
use super::handles::Slot;
use super::pace;
use crate::time::{Monotonic, Now};

/// See the [module](self).
#[derive(Debug, Default)]
pub(super) struct RoleSender {
    /// The slot from which on members wait to be told; `None`: all have been.
    next: Option<Slot>,
    /// Whether the role has changed again since all began to be told.
    again: bool,
    /// When all were begun to be told last.
    begun: Option<Monotonic>,
}

impl RoleSender {
    /// The role has changed: all members are told, now or soon.
    pub(super) fn begin(&mut self, context: &mut Context, now: Now) {
        let again_at = self.begun.map(|begun| begun + context.config.interval.over(CHANGES));
        match again_at.filter(|at| self.next.is_some() || now.mono < *at) {
            Some(at) => {
                // One that is being told to all continues by a timer of its own.
                if !core::mem::replace(&mut self.again, true) && self.next.is_none() {
                    context.timers.set(at, Timer::StateRole);
                }
            }
            None => {
                (self.next, self.begun, self.again) = (Some(0), Some(now.mono), false);
                self.send_next(context, now);
            }
        }
    }

    /// All have been told; if the role has changed meanwhile, they are told again.
    fn tell_again(&mut self, context: &mut Context, now: Now) {
        if core::mem::take(&mut self.again) {
            self.begin(context, now);
        }
    }

    /// Tells the next members, up to [`pace::CORRECTIONS_PER_STEP`].
    pub(super) fn send_next(&mut self, context: &mut Context, now: Now) {
        let Some(mut next) = self.next.take() else {
            return self.tell_again(context, now);
        };
        for _ in 0..pace::CORRECTIONS_PER_STEP {
            let Some(slot) = context.members.step(&mut next) else {
                return self.tell_again(context, now);
            };
            context.state_role(slot);
        }
        context.timers.set(now.mono + pace::STEP_PAUSE, Timer::StateRole);
        self.next = Some(next);
    }
}

/// In an interval, how often all members are told at most.
const CHANGES: i64 = 8;
