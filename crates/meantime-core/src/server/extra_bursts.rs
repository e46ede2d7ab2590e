//! Extra bursts: members are measured between rounds too, while they are new or something is wrong with them.

use super::burst::BurstKind;
use super::context::{Context, Timer};
use super::handles::Slot;
use super::member::ExtraBursts;
use super::pace;
use super::rounds::RoundScheduler;
use super::sparse;
use crate::time::{Monotonic, Now, Span};
use crate::wire::SessionId;

/// Begins the first burst with a member that was just admitted, unless too many extra bursts are in progress.
pub(super) fn begin_first(context: &mut Context, rounds: &mut RoundScheduler, now: Now, slot: Slot) {
    if context.members.extra_bursts() < pace::MAX_EXTRA_BURSTS {
        let size = sparse::burst_size(context, rounds.burst_size());
        rounds.begin_burst(context, slot, now.mono + AFTER_WELCOME, size, BurstKind::Extra);
    }
}

/// Lets a new member have extra bursts until its path and its frequency are known well.
pub(super) fn allow_for_new(context: &mut Context, now: Monotonic, slot: Slot) {
    let length = context.config.interval.times(NEW_MEMBER_ROUNDS);
    allow(context, now, slot, length, ExtraBursts::Always);
}

/// Lets a member have extra bursts for so long, while it needs them.
pub(super) fn allow_if_needed(context: &mut Context, now: Monotonic, slot: Slot, length: Span) {
    allow(context, now, slot, length, ExtraBursts::IfNeeded);
}

fn allow(context: &mut Context, now: Monotonic, slot: Slot, length: Span, when: ExtraBursts) {
    let Some(member) = context.members.at(slot) else { return };
    let session = short_session(member.session);
    if member.allow_extra_bursts(now, length, when) {
        context.timers.set(now + context.config.interval.over(PER_ROUND), Timer::ExtraBurst(slot, session));
    }
}

/// Handles [`Timer::ExtraBurst`]: begins an extra burst if the member needs one.
pub(super) fn begin_due(
    context: &mut Context,
    rounds: &mut RoundScheduler,
    now: Now,
    slot: Slot,
    session: u32,
) {
    let Some(member) = context.members.at(slot).filter(|member| short_session(member.session) == session)
    else {
        return;
    };
    let (needs_more, is_idle) = (member.needs_extra_bursts(now.mono), member.burst().is_none());
    if !needs_more {
        return;
    }
    let period = context.config.interval.over(PER_ROUND);
    context.timers.set(now.mono + period, Timer::ExtraBurst(slot, session));
    // With very many new members, some of them wait for the next time.
    let members = &context.members;
    let has_room = members.extra_bursts() < pace::MAX_EXTRA_BURSTS && members.bursts() < pace::MAX_BURSTS;
    if is_idle && has_room && !rounds.will_measure(slot) {
        let size = size(context, rounds, slot);
        rounds.begin_burst(context, slot, now.mono, size, BurstKind::Extra);
    }
}

/// How many exchanges an extra burst has: over a noisy path twice as many as others, since only their number
/// helps there. A server that has shortened its bursts has no time for that.
fn size(context: &Context, rounds: &RoundScheduler, slot: Slot) -> u8 {
    let usual = rounds.burst_size();
    let noise = context.members.get(slot).map_or(Span::ZERO, |member| member.delays.noise());
    match noise >= NOISY && usual == context.config.burst {
        true => usual.saturating_mul(2).min(LONGEST).max(usual),
        false => usual,
    }
}

/// A part of a session id that distinguishes it from the next one in the same slot.
fn short_session(session: SessionId) -> u32 {
    session.0 as u32
}

/// No extra burst has more exchanges than this, unless all bursts have.
const LONGEST: u8 = 32;
/// A path with this noise is far noisier than a wired local network.
const NOISY: Span = Span::from_micros(100);
/// The time from the Welcome to the first probe: long enough that the probe does not overtake it.
const AFTER_WELCOME: Span = Span::from_millis(5);
/// For so many rounds a new member gets extra bursts. Over paths of 5 ms ± 1 ms the pairs of nine clocks are
/// within 10 µs (RMS) after three minutes then, and four in the worst of 40 seeds; after 24 rounds, after
/// seven.
const NEW_MEMBER_ROUNDS: i64 = 36;
/// So many extra bursts take place in one interval.
const PER_ROUND: i64 = 5;
