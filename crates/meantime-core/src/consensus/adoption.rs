//! Adoption: a server that has no time, or does not trust its own, takes the time that its clients carry.
//!
//! *Carriers* are the clients that state a cluster time. They count only where they are half of the clients
//! or more, by weight; a few may be liars that were early. Then no first vote takes place that would step a
//! clock among them: the server adopts what they carry, or waits.
//!
//! A carrier *allows* a time that is within the maximum window and the bound that it states of its clock: its
//! clock may have drifted that far in a holdover. Let A be the carriers that allow the median of all, and T
//! the weight of all members, the server's own clock and newcomers included, but not those of them that show
//! an implausible time: such a clock knows nothing. After the sleep of its machine, a server knows which
//! members had a vote and that its own clock is not to be trusted: then T is the weight of those members. The
//! server adopts the time of A
//!
//! * if A has more than half of T. The server's own clock counts for A if it has *kept* the time of the
//!   cluster over a restart ([`KeptTime`](crate::saved_state::KeptTime)) and A is within the error of that.
//!   If the carriers are divided, its own kept time so decides between them.
//! * after a minute, if A is more than half of the carriers, and A and the clocks that consent have more than
//!   half of T. The server's own clock, unless its kept time counts already, and newcomers consent if they
//!   are within the radius of A, as in a first vote, and not of a carrier that has another time: a clock that
//!   is near both cannot tell which is right. So a cluster survives that its server, which has kept nothing,
//!   and half of its clients restart.
//! * after a minute, too, if carriers with half of T have no lower time, and carriers with half of T have no
//!   higher one: the good carriers then have drifted apart, and this time is amid theirs.
//!
//! With fewer than T/2 of weight in bad groups, a good clock is in A or consents. So the adopted time is one
//! that a good carrier allows; or, if the good clocks that support it carry none, it is within the radius of
//! theirs, and no good carrier's.
//!
//! Carriers of which no two agree know no common time. Among them a server that has no cluster does not wait
//! for longer than that minute: it takes the first vote.

use super::following::{agreement, report};
use super::noise::Ballot;
use super::reading::{Conclusion, Electorate, MemberJudgement, MemberReading, PhaseReading, PhaseTransition};
use super::timekeeper::Timekeeper;
use super::vote::{self, Agreement, VoteReading};
use super::weight::Weight;
use super::window::MAX_WINDOW;
use crate::event::{Exclusion, Outcome};
use crate::time::{Offset, Raw, Span, Timestamp};
use crate::wire::{ClusterId, ManualAdjustment};
use alloc::vec::Vec;

/// The clients of which the server may take over the time.
pub(super) struct Carriers<'a> {
    members: Vec<&'a MemberReading<'a>>,
    /// What they count.
    weight: Weight,
    /// Whether these are the members that had a vote before the server's machine slept.
    had_votes: bool,
}

impl Timekeeper {
    /// The clients that state a cluster time which can be true. If the server has slept and knows which
    /// members have a vote, only these.
    pub(super) fn carriers<'a>(&self, electorate: Electorate<'a>) -> Carriers<'a> {
        let had_votes =
            self.cluster != ClusterId(0) && electorate.clients.iter().any(MemberReading::is_voter);
        let plausible = |member: &&MemberReading<'_>| {
            member.reading.is_none_or(|reading| self.implausible(&reading).is_none())
        };
        let members: Vec<&MemberReading<'_>> = electorate
            .clients
            .iter()
            .filter(|member| member.state.has_cluster_time() && (member.has_vote || !had_votes))
            .filter(plausible)
            .collect();
        let weight = members.iter().map(|member| member.weight).sum();
        Carriers { members, weight, had_votes }
    }

    /// Adopts the time that the carriers have, after so many votes. Returns false, and adopts nothing, if too
    /// few agree on one.
    pub(super) fn adopt(
        &mut self,
        votes: u32,
        now: Raw,
        electorate: Electorate<'_>,
        carriers: &Carriers<'_>,
        new_cluster: ClusterId,
        conclusion: &mut Conclusion,
    ) -> bool {
        let cluster = self.carried_cluster(carriers).unwrap_or(new_cluster);
        let manual_adjustment = match self.cluster {
            ClusterId(0) => self.carried_adjustment(now, electorate.own, &carriers.members, cluster),
            _ => Some(self.manual_adjustment),
        };
        let Some(manual_adjustment) = manual_adjustment else {
            return false;
        };
        let ballots = self.ballots(now, &carriers.members);
        let allowing = self.allowing(&ballots);
        let kept = self.kept_phase(now, cluster, &manual_adjustment);
        let carried = carried_time(&allowing, carriers.weight, kept, electorate.own);
        report(&ballots, &carried, conclusion);
        let mut supporting = carried.weight;
        let supports = kept.is_some_and(|(phase, reach)| (phase - carried.median).abs() <= reach);
        supporting += if supports { electorate.own } else { Weight::ZERO };
        if votes >= CONSENT_AFTER {
            let shown = |phase: Span| {
                phase + manual_adjustment.added_at(Timestamp::from_nanos((now + phase).as_nanos()))
            };
            let others = allowing.iter().filter(|ballot| !carried.includes(&ballot.vote, MAX_WINDOW));
            let others: Vec<Span> = others.map(|ballot| shown(ballot.vote.offset)).collect();
            let own = if supports { Weight::ZERO } else { electorate.own };
            let all = Electorate { own, ..electorate };
            supporting += self.consenting(now, all, shown(carried.median), &others);
        }
        let all = self.votes_for_adoption(now, electorate, carriers);
        let carried = Some(carried).filter(|it| it.majority && supporting.is_majority_of(all));
        let amid = || amid_the_good(&allowing, kept, electorate.own, all).filter(|_| votes >= CONSENT_AFTER);
        let Some(time) = carried.or_else(amid).and_then(|it| nearest_shown(&ballots, it.median)) else {
            return false;
        };
        let carried = Agreement { median: time, ..Agreement::default() };
        let agreeing: Vec<Ballot> =
            ballots.iter().filter(|ballot| carried.includes(&ballot.vote, MAX_WINDOW)).copied().collect();
        if !self.follow(now, time, &agreeing, conclusion) {
            return false;
        }
        conclusion.judgements = self.judge_carriers(now, electorate, &carried);
        conclusion.transition = Some(PhaseTransition::Adopted);
        (self.cluster, self.manual_adjustment) = (cluster, manual_adjustment);
        self.anchor.rest(REST);
        self.begin_following();
        conclusion.report.outcome = Outcome::Following;
        true
    }

    /// The same ballots, each with the bound that its client states in its error, up to the radius.
    fn allowing(&self, ballots: &[Ballot]) -> Vec<Ballot> {
        let allowing = |ballot: &Ballot| {
            let stated = ballot.reading.bound.unwrap_or_default().min(self.config.radius);
            let vote = VoteReading { error: ballot.vote.error + stated, ..ballot.vote };
            Ballot { vote, ..*ballot }
        };
        ballots.iter().map(allowing).collect()
    }

    /// Whether the server need not wait any more for carriers that support a time: it has no cluster, and no
    /// two of them agree.
    pub(super) fn has_waited_for(&self, votes: u32, now: Raw, carriers: &Carriers<'_>) -> bool {
        let apart = || no_two_agree(&self.allowing(&self.ballots(now, &carriers.members)));
        votes >= CONSENT_AFTER && self.cluster == ClusterId(0) && apart()
    }

    /// The cluster whose time is adopted: that which a server has whose machine has slept; that of its kept
    /// time, if a carrier has it; else that of most carriers. `None`: no carrier names its cluster.
    fn carried_cluster(&self, carriers: &Carriers<'_>) -> Option<ClusterId> {
        let own = Some(self.cluster).filter(|own| *own != ClusterId(0));
        let kept = self.kept.map(|kept| kept.cluster);
        let kept = kept.filter(|kept| carriers.members.iter().any(|member| member.cluster == *kept));
        own.or(kept).or_else(|| commonest_cluster(&carriers.members))
    }

    /// The manual time adjustment with which more than half of the carriers of this cluster have its time. If
    /// none has that, the server's kept time decides: of the adjustments with which its carriers show that
    /// time, the oldest. `None`: it is not known.
    fn carried_adjustment(
        &self,
        now: Raw,
        own: Weight,
        carriers: &[&MemberReading<'_>],
        cluster: ClusterId,
    ) -> Option<ManualAdjustment> {
        let carriers = || carriers.iter().filter(|member| member.cluster == cluster);
        let all: Weight = carriers().map(|member| member.weight).sum();
        if all == Weight::ZERO {
            // A time without a cluster id has no adjustment.
            return Some(ManualAdjustment::NONE);
        }
        let mut known: Vec<(ManualAdjustment, &MemberReading<'_>)> =
            carriers().filter_map(|member| Some((*member.manual_adjustment?, *member))).collect();
        known.sort_unstable_by_key(|(adjustment, _)| *adjustment);
        let weight = |same: &[(ManualAdjustment, &MemberReading<'_>)]| -> Weight {
            same.iter().map(|(_, member)| member.weight).sum()
        };
        let groups = || known.chunk_by(|one, other| one.0 == other.0);
        if let Some(same) = groups().find(|same| weight(same).is_majority_of(all)) {
            return Some(same[0].0);
        }
        let kept = self.kept.filter(|kept| kept.cluster == cluster)?;
        let shown = self.shown(now) - Timestamp::from_nanos(now.as_nanos());
        let shows_kept = |same: &&[(ManualAdjustment, &MemberReading<'_>)]| {
            let phases = same.iter().filter_map(|(_, member)| Some((member.shown()?.phase, member.weight)));
            vote::median(phases).is_some_and(|phase| (phase - shown).abs() <= kept.error + MAX_WINDOW)
        };
        let oldest = groups().find(shows_kept)?;
        let with_own: Weight = [weight(oldest), own].into_iter().sum();
        with_own.is_majority_of([all, own].into_iter().sum()).then_some(oldest[0].0)
    }

    /// The base time that the server has kept over a restart, minus its oscillator, and how far that may be
    /// off; `None`: it has kept no time of this cluster.
    fn kept_phase(
        &self,
        now: Raw,
        cluster: ClusterId,
        adjustment: &ManualAdjustment,
    ) -> Option<(Span, Span)> {
        let kept = self.kept.filter(|kept| kept.cluster == cluster)?;
        let base = adjustment.base_of(self.timescale.published(now));
        Some((base - Timestamp::from_nanos(now.as_nanos()), kept.error + MAX_WINDOW))
    }

    /// Whether the carriers are half of the clients or more, by weight. The server's own clock is one of them
    /// if it has kept its time; newcomers that show an implausible time do not count.
    pub(super) fn are_half_of_clients(&self, carriers: &Carriers<'_>, electorate: Electorate<'_>) -> bool {
        let own = if self.kept.is_some() { electorate.own } else { Weight::ZERO };
        let carrying: Weight = [carriers.weight, own].into_iter().sum();
        let all = [self.plausible_clients(electorate), own].into_iter().sum();
        carriers.had_votes || (carriers.weight > Weight::ZERO && carrying.is_half_of(all))
    }

    /// The weight of all clients, without newcomers that show an implausible time.
    fn plausible_clients(&self, electorate: Electorate<'_>) -> Weight {
        let is_plausible =
            |member: &MemberReading<'_>| member.reading.is_none_or(|it| self.implausible(&it).is_none());
        let counts = |member: &&MemberReading<'_>| member.state.has_cluster_time() || is_plausible(member);
        electorate.clients.iter().filter(counts).map(|member| member.weight).sum()
    }

    /// What all clocks count that are for an adoption or against it: T.
    fn votes_for_adoption(&self, now: Raw, electorate: Electorate<'_>, carriers: &Carriers<'_>) -> Weight {
        if carriers.had_votes {
            return carriers.weight;
        }
        let own = PhaseReading::own(now, self.timescale.phase_at(now));
        let own = Some(electorate.own).filter(|_| self.implausible(&own).is_none());
        own.into_iter().chain([self.plausible_clients(electorate)]).sum()
    }

    /// The weight of the server's own clock, and of the clients that carry no cluster time, as far as they
    /// are within the radius of `shown`, and of none of the `others`: clocks minus the server's oscillator.
    fn consenting(&self, now: Raw, electorate: Electorate<'_>, shown: Span, others: &[Span]) -> Weight {
        let own = (self.shown(now) - Timestamp::from_nanos(now.as_nanos()), electorate.own);
        let newcomers = electorate.clients.iter().filter(|member| !member.state.has_cluster_time());
        let newcomers = newcomers.filter_map(|member| Some((member.shown()?.phase, member.weight)));
        let is_near = |phase: Span, to: Span| (phase - to).abs() <= self.config.radius;
        let consents = |(phase, _): &(Span, Weight)| {
            is_near(*phase, shown) && !others.iter().any(|other| is_near(*phase, *other))
        };
        core::iter::once(own).chain(newcomers).filter(consents).map(|(_, weight)| weight).sum()
    }

    /// The judgement about each carrier that was heard, by whether it has the time that is adopted.
    fn judge_carriers(
        &self,
        now: Raw,
        electorate: Electorate<'_>,
        carried: &Agreement,
    ) -> Vec<Option<MemberJudgement>> {
        let judgement = |member: &MemberReading<'_>| {
            member.reading.filter(|_| member.state.has_cluster_time())?;
            let ballot = self.ballots(now, &[member]).pop();
            let reading = ballot.map(|ballot| ballot.vote);
            let offset = Offset::ahead_by(reading?.offset - carried.median);
            let agrees = reading.is_some_and(|reading| carried.includes(&reading, MAX_WINDOW));
            Some(MemberJudgement::vote(offset, (!agrees).then_some(Exclusion::OutsideWindow)))
        };
        electorate.clients.iter().map(judgement).collect()
    }
}

/// The time on which more than half of the carriers agree. If none has that, the one on which those agree
/// that are within reach of the time which the server has kept, if they and the server's own clock are more
/// than half of the carriers and that clock.
fn carried_time(ballots: &[Ballot], carriers: Weight, kept: Option<(Span, Span)>, own: Weight) -> Agreement {
    let carried = agreement(ballots, carriers);
    let Some((phase, reach)) = kept.filter(|_| !carried.majority) else {
        return carried;
    };
    let near: Vec<Ballot> =
        ballots.iter().filter(|ballot| (ballot.vote.offset - phase).abs() <= reach).copied().collect();
    let mut near = agreement(&near, carriers);
    let (mut with_own, mut all) = (near.weight, carriers);
    with_own += own;
    all += own;
    near.majority = near.agreeing > 0 && with_own.is_majority_of(all);
    near
}

/// A time that is amid those of the good carriers, though no half of them agrees: carriers with half of `all`
/// votes allow it or a lower one, and others with half of them it or a higher one. Bad groups have less than
/// half, so there is a good carrier on either side. There have to be four votes at least. A kept time counts
/// as that of a carrier. `None`: there is no such time.
fn amid_the_good(
    ballots: &[Ballot],
    kept: Option<(Span, Span)>,
    own: Weight,
    all: Weight,
) -> Option<Agreement> {
    let kept = kept.map(|(offset, _)| VoteReading { offset, error: Span::ZERO, weight: own });
    let votes: Vec<VoteReading> = ballots.iter().map(|ballot| ballot.vote).chain(kept).collect();
    let sum = |counts: &dyn Fn(&VoteReading) -> bool| -> Weight {
        votes.iter().filter(|vote| counts(vote)).map(|vote| vote.weight).sum()
    };
    let lower = vote::lower_median(votes.iter().map(|vote| (vote.offset, vote.weight)))?;
    let upper = -vote::lower_median(votes.iter().map(|vote| (-vote.offset, vote.weight)))?;
    let is_amid = |time: &Span| {
        sum(&|vote| vote.offset - vote.error <= *time + MAX_WINDOW).is_half_of(all)
            && sum(&|vote| vote.offset + vote.error >= *time - MAX_WINDOW).is_half_of(all)
    };
    let median = [lower, upper].into_iter().find(is_amid).filter(|_| all >= ENOUGH_TO_DIVIDE)?;
    Some(Agreement { median, majority: true, ..Agreement::default() })
}

/// The time itself if carriers show it within the maximum window; else the nearest one that a carrier shows.
/// `None`: no carrier was heard.
fn nearest_shown(ballots: &[Ballot], time: Span) -> Option<Span> {
    let shown = ballots.iter().map(|ballot| ballot.vote.offset);
    let nearest = shown.min_by_key(|shown| (*shown - time).abs())?;
    Some(if (nearest - time).abs() <= MAX_WINDOW { time } else { nearest })
}

/// Whether there is no time that two carriers allow.
fn no_two_agree(allowing: &[Ballot]) -> bool {
    let reach = |ballot: &Ballot| ballot.vote.error + MAX_WINDOW;
    let mut intervals: Vec<(Span, Span)> = allowing
        .iter()
        .map(|ballot| (ballot.vote.offset - reach(ballot), ballot.vote.offset + reach(ballot)))
        .collect();
    intervals.sort_unstable();
    intervals.windows(2).all(|pair| pair[0].1 < pair[1].0)
}

/// The cluster of which most of the carriers have the time, by weight; `None`: none names its cluster.
fn commonest_cluster(carriers: &[&MemberReading<'_>]) -> Option<ClusterId> {
    let mut named: Vec<(ClusterId, Weight)> = carriers
        .iter()
        .filter(|member| member.cluster != ClusterId(0))
        .map(|member| (member.cluster, member.weight))
        .collect();
    named.sort_unstable();
    let weight = |same: &[(ClusterId, Weight)]| same.iter().map(|(_, weight)| *weight).sum::<Weight>();
    named.chunk_by(|one, other| one.0 == other.0).max_by_key(|same| weight(same)).map(|same| same[0].0)
}

/// With fewer votes, one bad group is half of all.
const ENOUGH_TO_DIVIDE: Weight = Weight::votes(4);
/// After so many votes the server's own clock and newcomers may consent: a minute.
const CONSENT_AFTER: u32 = 12;
/// After taking over the members' time the rate is left alone for ten minutes.
const REST: Span = Span::from_secs(600);
