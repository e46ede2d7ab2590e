//! The server as one of several: what it states, what its members state, and how it becomes the active server
//! or a standby server. Which of both it is, its [role](crate::roles::server_role) decides.
//!
//! A standby server is measured and corrected as a client of the active server, by the client of its machine,
//! and gives its own members what it holds for the corrections of their clocks, which they do not follow. It
//! measures each of them in every sixth round, with two exchanges.

use rand::Rng;

use super::Server;
use super::context::Context;
use super::groups;
use crate::consensus::Weight;
use crate::relayed_time::ExternalTime;
use crate::roles::census::Census;
use crate::time::{Now, Span, Timestamp};
use crate::wire::{ClusterId, RoleMessage};

impl Server {
    /// States this from now on, as one of several servers. If it says something new of its role, all members
    /// are told at once.
    pub(crate) fn set_role(&mut self, now: Now, role: RoleMessage) {
        let before = self.context.role.replace(role);
        if before.is_none_or(|before| before.statement != role.statement) {
            self.role_sender.begin(&mut self.context, now);
        }
    }

    /// The server is a standby server from now on.
    pub(crate) fn stand_by(&mut self, now: Now) {
        self.context.timekeeper.stand_by();
        self.results.forget(&mut self.context.members);
        self.corrections.cancel();
        self.rounds.cancel();
        self.rounds.hasten(&mut self.context, now);
    }

    /// The server is the active one from now on, and its clock goes on from `shown`, what the machine shows.
    /// Returns the maximum distance of its time from that of the server before; `None`: unknown.
    pub(crate) fn take_over(&mut self, now: Now, shown: Timestamp) -> Option<Span> {
        let Context { timekeeper, rng, .. } = &mut self.context;
        let bound = timekeeper.take_over(now.raw, shown, || ClusterId(rng.next_u64().max(1)));
        let has_time = self.has_time();
        self.results.take_over(now.mono, has_time, &mut self.context.members);
        self.corrections.cancel();
        self.rounds.cancel();
        self.rounds.begin_now(&mut self.context, now);
        bound
    }

    /// The time that its clock carries, for the client of its machine; `None`: it is not the active server,
    /// or has no time.
    pub(crate) fn carried_time(&self, now: Now) -> Option<ExternalTime> {
        self.context.timekeeper.carried(now.raw)
    }

    /// Whether its clock carries the cluster's time.
    pub(crate) fn has_time(&self) -> bool {
        self.context.timekeeper.cluster() != ClusterId(0) && !self.has_lost_time()
    }

    /// Whether it has had the cluster's time, and has to learn it from its members again.
    pub(crate) fn has_lost_time(&self) -> bool {
        self.context.timekeeper.has_lost_time()
    }

    /// What the members state that are heard, and what the server's own clock counts. Each counts what its
    /// machine has of votes.
    pub(crate) fn census(&self, now: Now) -> (Census, Weight) {
        let Context { config, members, .. } = &self.context;
        let silent = config.interval.times(HEARD_WITHIN);
        let mut census = Census::default();
        if !members.has_statements() {
            return (census, Weight::ONE);
        }
        let weights = groups::weigh(config, members);
        for ((slot, member), weight) in members.from(0).zip(weights.members) {
            if let Some(statement) = members.statement(slot).filter(|_| member.silence(now.mono) <= silent) {
                census.note(statement, weight);
            }
        }
        (census, weights.own)
    }

    /// The maximum distance of its clock from the cluster's time; `None`: unknown.
    pub(crate) fn bound(&self, now: Now) -> Option<Span> {
        self.context.timekeeper.own_bound(now.raw)
    }

    /// From one round to the next.
    pub(crate) fn interval(&self) -> Span {
        self.context.config.interval
    }
}

/// In intervals: a member that has sent nothing for longer counts for nothing. It sends a heartbeat in each.
const HEARD_WITHIN: i64 = 2;
