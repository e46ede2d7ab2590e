//! What can go wrong, or be made right, at a given moment.

use super::{Attack, Directions, Impairments, Jitter, Lie, MemberIndex, Paths, ServerLie};
use meantime_core::event::Adjustment;
use meantime_core::time::{Frequency, Span};

/// One change of the world.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// The process dies as by SIGKILL.
    Crash(MemberIndex),
    /// The process is asked to end, as by SIGTERM. An active server of several hands over first. Then it
    /// sends Leave messages and ends.
    Shutdown(MemberIndex),
    /// A process is started where none is.
    Start(MemberIndex),
    /// The process stands still as by SIGSTOP; datagrams queue up.
    Pause(MemberIndex),
    /// It goes on, as by SIGCONT.
    Resume(MemberIndex),
    /// The oscillator steps by this amount.
    Jump(MemberIndex, Span),
    /// The machine was suspended for so long, and its oscillator with it; its process learns for how long.
    /// All of that takes no true time.
    Sleep(MemberIndex, Span),
    /// The machine is suspended for so long, while the others go on: its clocks stand still, and what is sent
    /// to it is lost. Then its process learns for how long.
    Suspend(MemberIndex, Span),
    /// The oscillator's frequency changes.
    FrequencyStep(MemberIndex, Frequency),
    /// The temperature changes: the frequency changes linearly by this amount within this time, then stays.
    Ramp(MemberIndex, Frequency, Span),
    /// These paths lose every datagram.
    Cut(Paths, Directions),
    /// The paths work again.
    Heal(Paths),
    /// The network is cut in two: nothing gets through between these members and the others.
    Partition(Vec<MemberIndex>),
    /// The network is whole again.
    HealPartition,
    /// The paths' minimum delay changes.
    Base(Paths, Directions, Span),
    /// The distribution of the paths' queueing delays changes.
    Jitter(Paths, Directions, Jitter),
    /// The impairments of all links change, in both directions.
    Impairments(Impairments),
    /// A client becomes Byzantine: it begins to tell this lie.
    Lie(MemberIndex, Lie),
    /// A server begins to tell this lie.
    ServerLie(MemberIndex, ServerLie),
    /// A client or a server tells the truth again.
    Truth(MemberIndex),
    /// An on-path attacker appears on each of these paths.
    Attack(Paths, Attack),
    /// The attackers disappear.
    EndAttack(Paths),
    /// An operator sets the cluster's time at the active server by this amount.
    SetTime(Span, Adjustment),
}

impl Fault {
    /// The members that it names.
    pub fn members(&self) -> Vec<MemberIndex> {
        match *self {
            Fault::Crash(who) | Fault::Shutdown(who) | Fault::Start(who) | Fault::Pause(who) => vec![who],
            Fault::Resume(who) | Fault::Jump(who, _) | Fault::FrequencyStep(who, _) => vec![who],
            Fault::Lie(who, _) | Fault::Truth(who) | Fault::Ramp(who, ..) => vec![who],
            Fault::Sleep(who, _) | Fault::Suspend(who, _) => vec![who],
            Fault::ServerLie(who, ServerLie::One(whom, _)) => vec![who, whom],
            Fault::ServerLie(who, _) => vec![who],
            Fault::Cut(paths, _) | Fault::Heal(paths) => paths.members().collect(),
            Fault::Base(paths, ..) | Fault::Jitter(paths, ..) => paths.members().collect(),
            Fault::Attack(paths, _) | Fault::EndAttack(paths) => paths.members().collect(),
            Fault::Partition(ref side) => side.clone(),
            Fault::HealPartition | Fault::SetTime(..) | Fault::Impairments(_) => Vec::new(),
        }
    }
}
