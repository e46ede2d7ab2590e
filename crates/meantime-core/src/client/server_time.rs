//! What the server of a session has said about its time: whose it is, and the manual adjustment.

use super::announced_adjustment::AnnouncedAdjustment;
use super::clock::MemberClock;
use super::limits::Refused;
use super::outbox::Outbox;
use crate::Fate;
use crate::estimation::discipline::OutlierLimit;
use crate::time::{Correction, Now, Raw};
use crate::wire::{Body, ClusterId, Header, ManualAdjustment, Verdict};

/// The server's time, as the client knows it.
#[derive(Clone, Copy, Debug)]
pub(super) struct ServerTime {
    /// The cluster that the server keeps; 0: not decided yet.
    cluster: ClusterId,
    adjustment: AnnouncedAdjustment,
    /// The server may keep another cluster's time: until the first Correction has shown that it keeps the
    /// time that the clock has, a jump is followed at once.
    new_cluster: bool,
}

/// Whether the client's manual adjustment lets it follow a Correction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AdjustmentCheck {
    /// The client and the server have the same adjustment.
    Agrees,
    /// The client does not know the server's adjustment, or the server does not know its cluster's yet.
    Unknown,
    /// The client refuses the server's adjustment.
    Refused(Refused),
}

impl ServerTime {
    /// A session begins with a server that keeps this cluster.
    pub(super) fn begin(cluster: ClusterId, clock: &MemberClock) -> ServerTime {
        let published = clock.published();
        ServerTime {
            cluster,
            adjustment: AnnouncedAdjustment::begin(published.manual(), published.cluster(), cluster),
            new_cluster: cluster != ClusterId::default() && !clock.follows_cluster(cluster),
        }
    }

    /// The clock follows the server from now on; it may have changed since the session began.
    pub(super) fn begin_following(&mut self, clock: &MemberClock) {
        let begun = ServerTime::begin(self.cluster, clock);
        let is_known = self.adjustment.manual().has_same_effect_as(begun.adjustment.manual());
        *self = ServerTime { adjustment: if is_known { self.adjustment } else { begun.adjustment }, ..begun };
    }

    /// A server that the clock does not follow announces a manual adjustment: if the clock has it already,
    /// the server need not announce it again.
    pub(super) fn note_known_adjustment(&mut self, manual: &ManualAdjustment, clock: &MemberClock) -> Fate {
        let is_same = clock.published().manual().has_same_effect_as(manual);
        if is_same && clock.follows_cluster(manual.cluster) && manual.cluster == self.cluster {
            self.adjustment.accept(*manual);
        }
        Fate::Accepted
    }

    /// The cluster that the server keeps; 0: not decided yet.
    pub(super) fn cluster(&self) -> ClusterId {
        self.cluster
    }

    /// Whether the server may keep another time than the clock has.
    pub(super) fn is_new_cluster(&self) -> bool {
        self.new_cluster
    }

    /// What the server has announced.
    pub(super) fn adjustment(&self) -> &AnnouncedAdjustment {
        &self.adjustment
    }

    /// The clock has followed a Correction: it has this server's time.
    pub(super) fn note_followed(&mut self) {
        self.new_cluster = false;
    }

    /// The server keeps this cluster's time.
    pub(super) fn learn_cluster(&mut self, cluster: ClusterId, clock: &MemberClock) {
        if cluster != ClusterId::default() && cluster != self.cluster {
            *self = ServerTime::begin(cluster, clock);
        }
    }

    /// How readily an outlier is followed, if the vote has this verdict on the clock.
    pub(super) fn outlier_limit(&self, verdict: Verdict) -> OutlierLimit {
        match (self.new_cluster, verdict) {
            (true, _) => OutlierLimit::None,
            (false, Verdict::Minority) => OutlierLimit::MINORITY,
            (false, _) => OutlierLimit::MAJORITY,
        }
    }

    /// The server announces a manual adjustment.
    pub(super) fn handle_manual_adjustment(
        &mut self,
        now: Now,
        manual: &ManualAdjustment,
        clock: &mut MemberClock,
        outbox: &mut Outbox,
    ) -> Fate {
        if manual.cluster != self.cluster || manual.cluster == ClusterId::default() {
            return Fate::Unsolicited;
        }
        if !manual.is_newer(self.adjustment.number()) {
            return Fate::Superseded;
        }
        if let Some(refused) = clock.refuses_adjustment(now.raw, manual) {
            self.adjustment.refuse(refused);
            clock.refuse(now, 0, Correction::adding(manual.amount), refused, outbox);
            return Fate::Accepted;
        }
        self.adjustment.accept(*manual);
        clock.note_newest_adjustment(now.raw);
        if clock.follows_cluster(manual.cluster) {
            clock.follow_adjustment(now.raw, *manual, outbox);
        }
        Fate::Accepted
    }

    /// The flags of a datagram carry the number of the server's newest adjustment.
    pub(super) fn note_adjustment(&self, raw: Raw, header: &Header, clock: &mut MemberClock) {
        if self.cluster == ClusterId::default() {
            // The server does not know its cluster's adjustment yet.
            return;
        }
        match self.adjustment.is_newest(header.flags.manual_adjustment) {
            true => clock.note_newest_adjustment(raw),
            false => clock.note_newer_adjustment(),
        }
    }

    /// Sends the cluster's adjustment to a server that does not know the cluster's time yet.
    pub(super) fn announce_adjustment(&self, outbox: &mut Outbox) {
        if self.cluster == ClusterId::default() && self.adjustment.number() != 0 {
            outbox.send(Body::ManualAdjustment(*self.adjustment.manual()));
        }
    }

    /// Whether the client's adjustment lets it follow a Correction with this header. If the server has none,
    /// the client drops the one that it knows from an earlier server.
    pub(super) fn check_adjustment(
        &mut self,
        now: Now,
        header: &Header,
        clock: &mut MemberClock,
        outbox: &mut Outbox,
    ) -> AdjustmentCheck {
        let number = header.flags.manual_adjustment;
        self.note_adjustment(now.raw, header, clock);
        if let Some(refused) = self.adjustment.refusal() {
            return AdjustmentCheck::Refused(refused);
        }
        let undecided = self.cluster == ClusterId::default();
        if undecided && self.adjustment.number() != number {
            // It may be another cluster's time; the next Probe says which.
            return AdjustmentCheck::Unknown;
        }
        if number == 0 && !undecided && self.adjustment.is_overruled() {
            if let Some(refused) = clock.refuses_missed(now.raw, &ManualAdjustment::NONE) {
                return AdjustmentCheck::Refused(refused);
            }
            self.adjustment.withdraw();
            clock.note_newest_adjustment(now.raw);
            clock.follow_adjustment(now.raw, ManualAdjustment::NONE, outbox);
        }
        let new_time = self.new_cluster || !clock.published().has_cluster_time();
        if clock.lacks_newest_adjustment() && new_time {
            // The clock would not show what the other members show. The next Correction after the adjustment
            // gives it that time.
            return AdjustmentCheck::Unknown;
        }
        AdjustmentCheck::Agrees
    }
}
