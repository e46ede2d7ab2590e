//! Departures: members that have been silent for too long, and all of them when the server shuts down.

use alloc::vec::Vec;

use super::context::{Context, Timer};
use super::handles::Slot;
use super::pace;
use crate::Transmit;
use crate::time::Now;
use crate::wire::{Body, Leave, LeaveReason};

/// Finds silent members, some at a time, twice a round.
#[derive(Debug, Default)]
pub(super) struct Sweeper {
    /// The slot from which on members wait to be checked.
    next: Slot,
}

impl Sweeper {
    /// Checks the next members, up to [`pace::SWEPT_PER_STEP`], and returns those to be removed: they have
    /// been silent for longer than the lifetime of a registration.
    pub(super) fn find_silent(&mut self, context: &mut Context, now: Now) -> Vec<Slot> {
        let lifetime = context.config.lifetime();
        let mut silent = Vec::new();
        for _ in 0..pace::SWEPT_PER_STEP {
            let Some(slot) = context.members.step(&mut self.next) else {
                self.next = 0;
                return silent;
            };
            let is_silent =
                context.members.get(slot).is_some_and(|member| member.silence(now.mono) >= lifetime);
            silent.extend(is_silent.then_some(slot));
        }
        context.timers.set(now.mono + pace::STEP_PAUSE, Timer::Sweep);
        silent
    }
}

/// Sends a Leave to each member when the server shuts down.
#[derive(Debug, Default)]
pub(super) struct Farewell {
    /// The slot from which on members wait for their Leave; `None`: the server does not shut down.
    next: Option<Slot>,
}

impl Farewell {
    /// The server shuts down.
    pub(super) fn begin(&mut self) {
        self.next = Some(0);
    }

    /// The Leave to the next member.
    pub(super) fn poll_transmit(&mut self, context: &mut Context) -> Option<Transmit> {
        let slot = context.members.step(self.next.as_mut()?)?;
        context.write(slot, 0, Body::Leave(Leave { reason: LeaveReason::Shutdown }))
    }
}
