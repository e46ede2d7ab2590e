//! What is seen of a cluster of several servers.

use std::collections::BTreeMap;

use meantime_core::roles::rank::Rank;
use meantime_core::roles::server_role::RoleChange;
use meantime_core::time::Span;
use meantime_core::{ClientEvent, ReplicaEvent};
use meantime_sim::{MemberIndex, NodeEvent, Observer, ReportedEvent, Sample};

/// Watches a cluster of several servers.
#[derive(Default)]
pub(super) struct Watch {
    /// When each member has followed corrections.
    pub(super) corrections: BTreeMap<MemberIndex, Vec<Span>>,
    /// Who has stepped its clock, and when.
    pub(super) steps: Vec<(Span, MemberIndex)>,
    /// The changes of servers' roles.
    pub(super) roles: Vec<(Span, MemberIndex, RoleChange)>,
    /// Which servers were distrusted, when, and by whom.
    pub(super) distrust: Vec<(Span, MemberIndex, Rank)>,
    /// Who has gone into holdover, and when.
    pub(super) holdovers: Vec<(Span, MemberIndex)>,
    /// The largest distance between two good clocks with the cluster's time, in each sample.
    pub(super) apart: Vec<(Span, Span)>,
    /// By how much the farthest two good clocks were beyond their bounds, and when.
    pub(super) violations: Vec<(Span, Span)>,
    /// The active servers, in each sample.
    pub(super) active: Vec<(Span, Vec<MemberIndex>)>,
    /// A member that nobody serves, or that is about to end: how far its clock is from the others' does not
    /// count.
    pub(super) left_out: Option<MemberIndex>,
    /// One part of a network that is cut in two: bounds hold inside each part.
    pub(super) parts: Option<Vec<MemberIndex>>,
}

impl Watch {
    /// The largest disagreement from one time to another.
    pub(super) fn worst(&self, from: Span, until: Span) -> Span {
        let apart = self.apart.iter().filter(|(at, _)| *at >= from && *at <= until);
        apart.map(|(_, apart)| *apart).max().expect("it was sampled")
    }

    /// When this member followed its first correction from then on.
    pub(super) fn corrected_after(&self, member: MemberIndex, from: Span) -> Option<Span> {
        self.corrections.get(&member)?.iter().copied().find(|at| *at >= from)
    }

    /// The longest time without a correction between two times, of this member.
    pub(super) fn longest_gap(&self, member: MemberIndex, from: Span, until: Span) -> Span {
        let corrected = self.corrections.get(&member).map_or(&[][..], Vec::as_slice);
        let inside = corrected.iter().copied().filter(|at| *at > from && *at < until);
        let before = corrected.iter().copied().filter(|at| *at <= from).max().unwrap_or(from);
        let times: Vec<Span> = [before].into_iter().chain(inside).chain([until]).collect();
        times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
    }

    /// The active servers now.
    pub(super) fn active_now(&self) -> Vec<MemberIndex> {
        self.active.last().map(|(_, active)| active.clone()).unwrap_or_default()
    }

    /// No member has gone into holdover since then.
    pub(super) fn assert_no_holdover_since(&self, from: Span) {
        let holdovers: Vec<_> = self.holdovers.iter().filter(|(at, _)| *at >= from).collect();
        assert!(holdovers.is_empty(), "{holdovers:?}");
    }

    /// No clock has stepped since then.
    pub(super) fn assert_no_step_since(&self, from: Span) {
        self.assert_steps_only_of(from, &[]);
    }

    /// No clocks but these have stepped since then.
    pub(super) fn assert_steps_only_of(&self, from: Span, members: &[MemberIndex]) {
        let steps = self.steps.iter().filter(|(at, member)| *at >= from && !members.contains(member));
        assert_eq!(steps.collect::<Vec<_>>(), Vec::<&(Span, MemberIndex)>::new());
    }

    /// Since when there has been exactly one active server, to the end.
    pub(super) fn one_active_since(&self) -> Option<Span> {
        let ends = self.active.iter().rev().take_while(|(_, active)| active.len() == 1);
        ends.last().map(|(at, _)| *at)
    }
}

impl Observer for Watch {
    fn sampled(&mut self, sample: &Sample) {
        let served = sample.synchronized().filter(|(member, _)| Some(*member) != self.left_out);
        let offs: Vec<Span> = served.map(|(_, off)| off).collect();
        let (most, least) = (offs.iter().copied().max(), offs.iter().copied().min());
        self.apart.push((sample.at, most.unwrap_or_default() - least.unwrap_or_default()));
        let is_inside = |member| self.parts.as_ref().is_none_or(|part| part.contains(&member));
        let beyond = [true, false].into_iter().filter_map(|inside| {
            sample
                .beyond_bounds_among(|member| is_inside(member) == inside)
                .filter(|beyond| *beyond > Span::ZERO)
        });
        if let Some(beyond) = beyond.max() {
            self.violations.push((sample.at, beyond));
        }
        let is_active = sample.members().filter(|(_, clock)| clock.is_some_and(|clock| clock.active));
        self.active.push((sample.at, is_active.map(|(member, _)| member).collect()));
    }

    fn reported(&mut self, event: &ReportedEvent) {
        let ReportedEvent { at, member, event } = event;
        if event.is_step() {
            self.steps.push((*at, *member));
        }
        match event.of_client() {
            Some(ClientEvent::Corrected { .. }) => self.corrections.entry(*member).or_default().push(*at),
            Some(ClientEvent::Holdover { .. }) => self.holdovers.push((*at, *member)),
            Some(ClientEvent::Distrusts { rank, .. }) => self.distrust.push((*at, *member, *rank)),
            _ => {}
        }
        if let NodeEvent::Replica(ReplicaEvent::Role(change)) = event {
            self.roles.push((*at, *member, *change));
        }
    }
}
