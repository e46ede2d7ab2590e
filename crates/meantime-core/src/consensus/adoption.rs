//! Adoption: a server that has no time, or does not trust its own, takes the time that its clients carry.
//!
//! *Carriers* are the clients that state a cluster time. They count only where they are half of the clients
//! or more, by weight; a few may be liars that were early. Then no first vote takes place that would step a
//! clock among them: the server adopts what they carry, or waits.
//!
//! Let A be the carriers that agree within the maximum window, on the same cluster and the same manual time
//! adjustment, and T the weight of all members, the server's own clock and newcomers included, but not those
//! of them that show an implausible time: such a clock knows nothing. After the sleep of its machine, a
//! server knows what the clients with a vote counted, and that its own clock is not to be trusted: for a
//! minute T is the weight of those, whether they are back or not, and others are no carriers. The server
//! adopts the time of A
//!
//! * if A has more than half of T. The server's own clock counts for A if it has *kept* the time of the
//!   cluster over a restart ([`KeptTime`](crate::saved_state::KeptTime)) and A is within the error of that.
//!   If the carriers are divided, its own kept time so decides between them, if it is known to a window: with
//!   a larger error, both sides might be within reach of it.
//! * after a minute, and once no client has been added for two intervals, if A is more than half of the
//!   carriers (the server's own clock is one if it has kept another time to a window), and A and the clocks
//!   that consent have more than half of T. The server's own clock, unless its kept time counts already, and
//!   newcomers consent if they are within the radius of A, as in a first vote, and not of a carrier that has
//!   another time, nor of another time that the server has kept to a window: a clock that is near both cannot
//!   tell which is right. So a cluster survives that its server, which has kept nothing, and half of its
//!   clients restart.
//!
//! Then it follows A, as long as the time of A still has more than half of all members, and corrects none of
//! them. With fewer than T/2 of weight in bad groups, a good clock is in A or consents. So the adopted time
//! is within the maximum window of a good carrier; or, if the good clocks that support it carry none, it is
//! within the radius of theirs, and of no good carrier.
//!
//! Carriers that have drifted apart, as in a long holdover, are *gathered* after a minute: if carriers with
//! half of all members' weight have no time above t, and carriers with half of it none below, each but for
//! two maximum windows, then t is amid the good ones' times. It becomes the cluster's, and all are
//! corrected to it.
//!
//! Carriers of which no two agree know no common time. Among them a server waits for that minute only, and
//! takes the first vote. After that minute a client that has never answered a probe is no carrier. One that
//! has, and is silent now, may have any time: no clock consents, and there is no first vote.

use super::ensemble::Ensemble;
use super::following::{agreement, report};
use super::noise::Ballot;
use super::reading::{Conclusion, Electorate, MemberJudgement, MemberReading, PhaseReading, PhaseTransition};
use super::timekeeper::{CONSENT_AFTER, Phase, Timekeeper, VOTERS_AWAITED};
use super::vote::{self, Agreement};
use super::weight::Weight;
use super::window::MAX_WINDOW;
use crate::event::{Adjustment, Exclusion, Outcome};
use crate::saved_state::KeptTime;
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

/// The base time that the server has kept over a restart.
#[derive(Clone, Copy, Debug)]
struct KeptPhase {
    /// That time minus the server's oscillator.
    phase: Span,
    /// It supports carriers that are no farther from it.
    reach: Span,
    /// Whether it decides between carriers that are divided.
    decides: bool,
}

impl KeptPhase {
    /// Whether it supports a carrier whose time is this, minus the server's oscillator.
    fn supports(&self, phase: Span) -> bool {
        (phase - self.phase).abs() <= self.reach
    }
}

impl Carriers<'_> {
    /// Whether there are any.
    pub(super) fn are_there(&self) -> bool {
        self.weight > Weight::ZERO
    }

    /// Whether all of them were heard lately: it is known what time each of them has.
    fn are_heard(&self) -> bool {
        self.members.iter().all(|member| member.reading.is_some())
    }

    /// Whether they were members before the server's machine slept.
    pub(super) fn have_stayed(&self) -> bool {
        self.had_votes
    }
}

impl Timekeeper {
    /// The clients that state a cluster time which can be true. One that has never answered a probe after a
    /// minute shows none; one that has, and is silent now, is a carrier that agrees with none. If the server
    /// has slept and knows which members had a vote, only these in that minute; those of them that have not
    /// come back yet count as carriers that agree with none.
    pub(super) fn carriers<'a>(&self, votes: u32, electorate: Electorate<'a>) -> Carriers<'a> {
        let had_votes = votes < CONSENT_AFTER && self.had_voters_before_sleep();
        let may_be_silent = |member: &MemberReading<'_>| votes < CONSENT_AFTER || member.was_measured;
        let plausible = |member: &&MemberReading<'_>| {
            member.reading.map_or(may_be_silent(member), |reading| self.implausible(&reading).is_none())
        };
        let members: Vec<&MemberReading<'_>> = electorate
            .clients
            .iter()
            .filter(|member| member.state.has_cluster_time() && (member.has_vote || !had_votes))
            .filter(plausible)
            .collect();
        let weight = match had_votes {
            true => self.voters,
            false => members.iter().map(|member| member.weight).sum(),
        };
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
        let Some(cluster) = self.carried_cluster(carriers) else {
            return false;
        };
        let manual_adjustment = match self.cluster {
            ClusterId(0) => self.carried_adjustment(now, electorate.own, carriers, cluster),
            _ => Some(self.manual_adjustment),
        };
        let Some(manual_adjustment) = manual_adjustment else {
            return false;
        };
        let (same, others) = self.divided(carriers, cluster, &manual_adjustment);
        let ballots = self.ballots(now, &same);
        let kept = self.kept_phase(now, cluster, &manual_adjustment);
        let carried = carried_time(&ballots, carriers.weight, kept, electorate.own);
        report(&ballots, &carried, conclusion);
        let mut supporting = carried.weight;
        // Clocks can tell what is shown now, and not what is still to be added: that needs carriers.
        let base = |phase: Span| Timestamp::from_nanos((now + phase).as_nanos());
        let is_over = manual_adjustment.end() <= base(carried.median);
        let supports = kept.is_some_and(|kept| kept.supports(carried.median));
        supporting += if supports { electorate.own } else { Weight::ZERO };
        if is_over && carriers.are_heard() && self.may_consent(votes, now) {
            let shown = carried.median + manual_adjustment.added_at(base(carried.median));
            let own = if supports { Weight::ZERO } else { electorate.own };
            let all = Electorate { own, ..electorate };
            let mut elsewhere = self.elsewhere(now, &same, &others, &carried);
            elsewhere.extend(self.kept_elsewhere(now, shown));
            supporting += self.consenting(now, all, shown, elsewhere);
        }
        let agreeing: Vec<Ballot> =
            ballots.iter().filter(|ballot| carried.includes(&ballot.vote, MAX_WINDOW)).copied().collect();
        let all = self.votes_for_adoption(now, electorate, carriers);
        let is_supported = carried.majority && supporting.is_majority_of(all);
        if is_supported && self.follow(now, carried.median, &agreeing, conclusion) {
            conclusion.judgements = self.judge_carriers(now, electorate, &carried, MAX_WINDOW);
            conclusion.report.outcome = Outcome::Following;
            self.begin_following(now);
        } else if self.may_consent(votes, now)
            && let Some(time) = amid_the_good(&ballots, kept, electorate.own, all_votes(electorate, carriers))
        {
            self.gather(now, time, electorate, conclusion);
        } else {
            return false;
        }
        conclusion.transition = Some(PhaseTransition::Adopted);
        conclusion.gives_votes = !carriers.had_votes;
        self.cluster = if cluster == ClusterId(0) { new_cluster } else { cluster };
        self.manual_adjustment = manual_adjustment;
        self.anchor.rest(REST);
        true
    }

    /// The carriers that have a time of this cluster with this manual adjustment, and the others. A server
    /// that had the cluster's time itself takes all of them for its carriers.
    fn divided<'a>(
        &self,
        carriers: &Carriers<'a>,
        cluster: ClusterId,
        adjustment: &ManualAdjustment,
    ) -> (Vec<&'a MemberReading<'a>>, Vec<&'a MemberReading<'a>>) {
        let has_it = |member: &&MemberReading<'_>| {
            let has_adjustment = cluster == ClusterId(0) || member.manual_adjustment == Some(adjustment);
            self.cluster != ClusterId(0) || (member.cluster == cluster && has_adjustment)
        };
        carriers.members.iter().copied().partition(has_it)
    }

    /// What those carriers show, minus the server's oscillator, that have another time than the one on which
    /// `same` have agreed. Their newest readings count, also older ones.
    fn elsewhere(
        &self,
        now: Raw,
        same: &[&MemberReading<'_>],
        others: &[&MemberReading<'_>],
        carried: &Agreement,
    ) -> Vec<Span> {
        let agrees = |member: &MemberReading<'_>| {
            self.ballot(now, member).is_some_and(|ballot| carried.includes(&ballot.vote, MAX_WINDOW))
        };
        let differing = same.iter().filter(|member| !agrees(member));
        differing.chain(others).filter_map(|member| Some(member.shown()?.phase)).collect()
    }

    /// What the server shows, minus its oscillator, if it has kept that exactly over a restart, and `shown`
    /// is another time.
    fn kept_elsewhere(&self, now: Raw, shown: Span) -> Option<Span> {
        let own = self.shown(now) - Timestamp::from_nanos(now.as_nanos());
        let reach = self.exactly_kept(now)?.error + MAX_WINDOW;
        Some(own).filter(|own| (*own - shown).abs() > reach)
    }

    /// The carriers have drifted apart: `time` becomes the cluster's at once, and all are corrected to it.
    fn gather(&mut self, now: Raw, time: Span, electorate: Electorate<'_>, conclusion: &mut Conclusion) {
        conclusion.correction = self.timescale.set(now, time, self.timescale.frequency(), Adjustment::Step);
        conclusion.adjustment = Adjustment::Step;
        conclusion.report.outcome = Outcome::Agreed;
        // All that were heard have a vote: the clocks among them that carried no time outweigh bad carriers.
        let judgement = |member: &MemberReading<'_>| {
            let offset = Offset::ahead_by(self.ballot(now, member)?.vote.offset - time);
            Some(MemberJudgement::vote(offset, None))
        };
        conclusion.judgements = electorate.clients.iter().map(judgement).collect();
        conclusion.report.agreeing = conclusion.judgements.iter().flatten().count();
        self.ensemble = Ensemble::with_prior(self.prior);
        self.forget_kept();
        self.become_steady();
    }

    /// Whether the server need not wait any more for carriers that support a time: there are several, and no
    /// two groups of them agree. A server that knows the clients with a vote asks whether any other agrees
    /// with one of these, once all are back.
    pub(super) fn has_waited_for(
        &self,
        votes: u32,
        now: Raw,
        electorate: Electorate<'_>,
        carriers: &Carriers<'_>,
    ) -> bool {
        let asks_voters = self.knows_voters(electorate);
        let time = |member: &&MemberReading<'_>| {
            let ballot = self.ballot(now, member)?;
            Some((ballot.vote.offset, ballot.vote.weight, member.has_vote || !asks_voters))
        };
        let times: Vec<(Span, Weight, bool)> = carriers.members.iter().filter_map(time).collect();
        let are_heard = carriers.are_heard() && !self.misses_voters(votes, now, electorate);
        self.may_consent(votes, now) && are_heard && no_two_agree(times)
    }

    /// Whether the time may be taken from what clocks consent to, and not only from a majority of carriers:
    /// after so many votes the server has waited for the carriers, and no client has just been added.
    pub(super) fn may_consent(&self, votes: u32, now: Raw) -> bool {
        votes >= CONSENT_AFTER && self.arrivals.are_over(now, self.config.interval)
    }

    /// Whether the server's machine has slept, and some of the clients with a vote have not been heard yet.
    fn misses_voters(&self, votes: u32, now: Raw, electorate: Electorate<'_>) -> bool {
        let is_back = |member: &&MemberReading<'_>| member.is_voter() && self.ballot(now, member).is_some();
        let back: Weight = electorate.clients.iter().filter(is_back).map(|member| member.weight).sum();
        self.had_voters_before_sleep() && back < self.voters && votes < VOTERS_AWAITED
    }

    /// Whether the server has had the cluster's time, and has not restarted, and clients with a vote are
    /// here.
    pub(super) fn knows_voters(&self, electorate: Electorate<'_>) -> bool {
        self.cluster != ClusterId(0) && electorate.voters() > Weight::ZERO
    }

    /// Whether the server's own clock and newcomers may still consent to the time of carriers, or no two of
    /// these prove to agree, after a vote that has decided nothing.
    pub(super) fn waits_for_consent(&self, now: Raw, electorate: Electorate<'_>) -> bool {
        let waits = |votes| !self.may_consent(votes, now) || self.misses_voters(votes, now, electorate);
        matches!(self.phase, Phase::Listening(votes) if waits(votes.saturating_sub(1)))
    }

    /// The cluster whose time is adopted: that which a server has that had one before; else that of more than
    /// half of the carriers, or 0 if these name none; else that of its kept time, if a carrier has it.
    /// `None`: the carriers are of several clusters.
    fn carried_cluster(&self, carriers: &Carriers<'_>) -> Option<ClusterId> {
        let own = Some(self.cluster).filter(|own| *own != ClusterId(0));
        let kept = self.kept.map(|kept| kept.cluster);
        let kept = kept.filter(|kept| carriers.members.iter().any(|member| member.cluster == *kept));
        own.or_else(|| cluster_of_most(carriers)).or(kept)
    }

    /// The manual time adjustment with which more than half of the carriers have the time of this cluster. If
    /// none has that, the one which the server has kept with its time, if the carriers that have it, and the
    /// server's own clock, are more than half of those of this cluster. `None`: it is not known.
    fn carried_adjustment(
        &self,
        now: Raw,
        own: Weight,
        carriers: &Carriers<'_>,
        cluster: ClusterId,
    ) -> Option<ManualAdjustment> {
        if cluster == ClusterId(0) {
            // A time without a cluster id has no adjustment.
            return Some(ManualAdjustment::NONE);
        }
        let of_cluster = || carriers.members.iter().filter(|member| member.cluster == cluster);
        let mut known: Vec<(ManualAdjustment, Weight)> =
            of_cluster().filter_map(|member| Some((*member.manual_adjustment?, member.weight))).collect();
        known.sort_unstable();
        let groups = || known.chunk_by(|one, other| one.0 == other.0).map(|same| (same[0].0, sum(same)));
        if let Some((most, _)) = groups().find(|(_, weight)| weight.is_majority_of(carriers.weight)) {
            return Some(most);
        }
        let kept = self.exactly_kept(now).filter(|kept| kept.cluster == cluster)?.manual_adjustment;
        let (_, having) = groups().find(|(adjustment, _)| *adjustment == kept)?;
        let all = of_cluster().map(|member| member.weight).chain([own]).sum();
        [having, own].into_iter().sum::<Weight>().is_majority_of(all).then_some(kept)
    }

    /// The base time that the server has kept over a restart; `None`: it has kept none of this cluster with
    /// this manual adjustment. With another one it could not tell whose base time is right.
    fn kept_phase(&self, now: Raw, cluster: ClusterId, adjustment: &ManualAdjustment) -> Option<KeptPhase> {
        let is_of = |kept: &KeptTime| kept.cluster == cluster && kept.manual_adjustment == *adjustment;
        let kept = self.kept_now(now).filter(is_of)?;
        let base = adjustment.base_of(self.timescale.published(now));
        Some(KeptPhase {
            phase: base - Timestamp::from_nanos(now.as_nanos()),
            reach: kept.error + MAX_WINDOW,
            decides: self.exactly_kept(now).is_some(),
        })
    }

    /// Whether the carriers are half of the clients or more, by weight. The server's own clock is one of them
    /// if it has kept its time; newcomers that show an implausible time do not count. A server that has had
    /// the cluster's time, and has not restarted, knows which clients have a vote: one of these is enough.
    pub(super) fn are_half_of_clients(&self, carriers: &Carriers<'_>, electorate: Electorate<'_>) -> bool {
        let own = if self.kept.is_some() { electorate.own } else { Weight::ZERO };
        let carrying: Weight = [carriers.weight, own].into_iter().sum();
        let all = [self.plausible_clients(electorate), own].into_iter().sum();
        self.knows_voters(electorate) || (carriers.are_there() && carrying.is_half_of(all))
    }

    /// The weight of all clients, without newcomers that show an implausible time.
    pub(super) fn plausible_clients(&self, electorate: Electorate<'_>) -> Weight {
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
    fn consenting(&self, now: Raw, electorate: Electorate<'_>, shown: Span, mut others: Vec<Span>) -> Weight {
        let own = (self.shown(now) - Timestamp::from_nanos(now.as_nanos()), electorate.own);
        let newcomers = electorate.clients.iter().filter(|member| !member.state.has_cluster_time());
        let newcomers = newcomers.filter_map(|member| Some((member.shown()?.phase, member.weight)));
        others.sort_unstable();
        let radius = self.config.radius;
        let is_near_another = |phase: Span| {
            let from = others.partition_point(|other| *other < phase - radius);
            others.get(from).is_some_and(|other| *other <= phase + radius)
        };
        let consents =
            |(phase, _): &(Span, Weight)| (*phase - shown).abs() <= radius && !is_near_another(*phase);
        core::iter::once(own).chain(newcomers).filter(consents).map(|(_, weight)| weight).sum()
    }

    /// The judgement about each carrier that was heard lately, by whether it is within the window of the time
    /// that is adopted.
    pub(super) fn judge_carriers(
        &self,
        now: Raw,
        electorate: Electorate<'_>,
        carried: &Agreement,
        window: Span,
    ) -> Vec<Option<MemberJudgement>> {
        let judgement = |member: &MemberReading<'_>| {
            let ballot = self.ballot(now, member).filter(|_| member.state.has_cluster_time())?;
            let agrees = carried.includes(&ballot.vote, window);
            let offset = Offset::ahead_by(ballot.vote.offset - carried.median);
            Some(MemberJudgement::vote(offset, (!agrees).then_some(Exclusion::OutsideWindow)))
        };
        electorate.clients.iter().map(judgement).collect()
    }
}

/// The time on which more than half of the carriers agree. The server's own clock is one of them if it has
/// kept a time exactly. If no time has that, the one on which those agree that are within reach of that time,
/// if they and the server's own clock are more than half.
fn carried_time(ballots: &[Ballot], carriers: Weight, kept: Option<KeptPhase>, own: Weight) -> Agreement {
    let mut carried = agreement(ballots, carriers);
    let Some(kept) = kept.filter(|kept| kept.decides) else {
        return carried;
    };
    let all = [carriers, own].into_iter().sum();
    carried.majority &= kept.supports(carried.median) || carried.weight.is_majority_of(all);
    if carried.majority {
        return carried;
    }
    let near: Vec<Ballot> =
        ballots.iter().filter(|ballot| kept.supports(ballot.vote.offset)).copied().collect();
    let mut near = agreement(&near, carriers);
    let with_own: Weight = [near.weight, own].into_iter().sum();
    near.majority = near.agreeing > 0 && with_own.is_majority_of(all);
    near
}

/// A time that is amid those of the good carriers, though no half of them agrees: carriers with half of `all`
/// votes are not below it, and others with half of them not above it, by more than [`AMID`]. Bad groups have
/// less than half, so there is a good carrier on either side. There have to be four votes at least. A kept
/// time that is exact counts as that of a carrier. `None`: there is no such time.
fn amid_the_good(ballots: &[Ballot], kept: Option<KeptPhase>, own: Weight, all: Weight) -> Option<Span> {
    let clients = ballots.iter().map(|ballot| (ballot.vote.offset, ballot.vote.weight));
    let kept = kept.filter(|kept| kept.decides).map(|kept| (kept.phase, own));
    let times: Vec<(Span, Weight)> = clients.chain(kept).collect();
    let sum = |counts: &dyn Fn(Span) -> bool| -> Weight {
        times.iter().filter(|(time, _)| counts(*time)).map(|(_, weight)| *weight).sum()
    };
    let median = vote::median(times.iter().copied()).filter(|_| all >= ENOUGH_TO_DIVIDE)?;
    let (not_above, not_below) = (median + AMID, median - AMID);
    let is_amid =
        sum(&|time| time <= not_above).is_half_of(all) && sum(&|time| time >= not_below).is_half_of(all);
    is_amid.then_some(median)
}

/// What all members count, those included that show an implausible time; after the sleep of the server's
/// machine, the carriers alone.
fn all_votes(electorate: Electorate<'_>, carriers: &Carriers<'_>) -> Weight {
    if carriers.had_votes { carriers.weight } else { electorate.votes() }
}

/// Whether there are several clocks, and none that is asked is within the maximum window of another one,
/// those of its own group aside: together, these have one vote. If all have no more than that, they may be of
/// one group, and half of them must agree. Each clock has an offset, a weight, and whether it is asked.
fn no_two_agree(mut times: Vec<(Span, Weight, bool)>) -> bool {
    times.sort_unstable();
    let weight =
        |clocks: &[(Span, Weight, bool)]| -> Weight { clocks.iter().map(|(_, weight, _)| *weight).sum() };
    let all = weight(&times);
    let agree = |run: &[(Span, Weight, bool)]| match all > Weight::ONE {
        true => weight(run) > Weight::ONE,
        false => weight(run).is_majority_of(all),
    };
    let mut runs = times.chunk_by(|one, other| other.0 - one.0 <= MAX_WINDOW);
    times.len() > 1 && !runs.any(|run| agree(run) && run.iter().any(|(_, _, is_asked)| *is_asked))
}

/// The cluster that more than half of the carriers name, by weight, which may be 0: none. `None`: there is no
/// such one.
fn cluster_of_most(carriers: &Carriers<'_>) -> Option<ClusterId> {
    let mut named: Vec<(ClusterId, Weight)> =
        carriers.members.iter().map(|member| (member.cluster, member.weight)).collect();
    named.sort_unstable();
    let mut groups = named.chunk_by(|one, other| one.0 == other.0);
    groups.find(|same| sum(same).is_majority_of(carriers.weight)).map(|same| same[0].0)
}

/// The sum of the weights.
fn sum<T>(weighed: &[(T, Weight)]) -> Weight {
    weighed.iter().map(|(_, weight)| *weight).sum()
}

/// With an even number of carriers, the middle two may be twice as far apart.
const AMID: Span = MAX_WINDOW.times(2);
/// With fewer votes, one bad group is half of all.
const ENOUGH_TO_DIVIDE: Weight = Weight::votes(4);
/// After taking over the members' time the rate is left alone for ten minutes.
pub(super) const REST: Span = Span::from_secs(600);
