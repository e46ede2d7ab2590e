//! What can be seen of the cluster from its server.

use super::Server;
use super::member::Member;
use super::rounds::offset;
use crate::berkeley::timescale::Timescale;
use crate::berkeley::view::{MeasuredView, MemberView, ServerView};
use crate::time::Now;
use crate::wire::Name;

impl Server {
    /// What the server's own clock is called.
    pub fn name(&self) -> Name {
        self.config.name
    }

    /// How the cluster stands now.
    pub fn view(&self, now: Now) -> ServerView {
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
            bound: self.keeper.own_bound(now.raw),
            burst: self.burst,
            lost: self.counters.lost(),
            members: self.members.iter().map(|member| member.view(now, timescale)).collect(),
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
