//! What can be seen of the cluster from its server.

use super::Server;
use super::member::Member;
use super::members::Slot;
use super::rounds::offset;
use crate::estimation::timescale::Timescale;
use crate::time::Now;
use crate::view::{ManualAdjustmentView, MeasuredView, MemberView, ServerView};
use crate::wire::{ClusterId, Name};
use alloc::vec::Vec;

impl Server {
    /// What the server's own clock is called.
    pub fn name(&self) -> Name {
        self.config.name
    }

    /// The cluster whose time its clock has, or has had until the machine slept; 0: none yet.
    pub fn cluster(&self) -> ClusterId {
        self.keeper.cluster()
    }

    /// How the cluster stands now.
    pub fn view(&self, now: Now) -> ServerView {
        ServerView { members: self.members_from(now, 0, usize::MAX).0, ..self.overview(now) }
    }

    /// How `most` clients stand from this place of the server's table on, and the place after them; `None`:
    /// there are no more.
    pub fn members_from(&self, now: Now, from: Slot, most: usize) -> (Vec<MemberView>, Option<Slot>) {
        let timescale = self.keeper.timescale();
        let mut members = self.members.from(from);
        let views = members.by_ref().take(most).map(|(_, member)| member.view(now, timescale)).collect();
        (views, members.next().map(|(slot, _)| slot))
    }

    /// How the cluster stands now, without its clients.
    pub fn overview(&self, now: Now) -> ServerView {
        let timescale = self.keeper.timescale();
        ServerView {
            cluster: self.keeper.cluster(),
            state: self.keeper.state(),
            interval: self.config.interval,
            last_round: self.last_round.map(|(_, report)| report),
            last_round_ago: self.last_round.map(|(at, _)| now.mono - at),
            frequency: timescale.frequency(),
            frequency_error: self.keeper.frequency_error(now.raw),
            exclusion: self.own_exclusion,
            manual_adjustment: ManualAdjustmentView::of(self.keeper.setting(), timescale.published(now.raw)),
            bound: self.keeper.own_bound(now.raw),
            burst: self.burst,
            lost: self.counters.lost(),
            members: Vec::new(),
            removed: self.removed_and_gone(),
        }
    }
}

impl Member {
    fn view(&self, now: Now, timescale: &Timescale) -> MemberView {
        let claim = self.claim(now.mono);
        let measured = self.reading().map(|measured| MeasuredView {
            offset: offset(&measured, timescale.phase_at(measured.at())),
            error: self.delays.noise() + self.delays.excess(measured.delay).half(),
            delay: measured.delay,
            ago: now.raw - measured.t4,
        });
        MemberView {
            peer: self.peer(),
            key: self.key,
            state: self.state,
            measured,
            error: self.error(),
            bound: self.bound(),
            frequency: claim.map(|claim| claim.adjustment),
            frequency_error: claim.map(|claim| claim.error),
            heard: self.history.heard,
            asked: self.history.rounds,
            exclusion: self.exclusion,
            admitted_ago: self.admitted_ago(now.mono),
            heard_ago: self.silent(now.mono),
        }
    }
}
