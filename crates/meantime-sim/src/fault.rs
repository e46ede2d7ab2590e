//! What can go wrong, or be made right, at a given moment.

use super::{Attack, Directions, Impairments, Jitter, Lie, MemberIndex};
use meantime_core::event::Adjustment;
use meantime_core::time::{Frequency, Span};

/// One change of the world.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    /// The process dies as by SIGKILL.
    Crash(MemberIndex),
    /// The process sends Leave messages and ends.
    Shutdown(MemberIndex),
    /// A process is started where none is.
    Start(MemberIndex),
    /// The process stands still as by SIGSTOP; datagrams queue up.
    Pause(MemberIndex),
    /// It goes on, as by SIGCONT.
    Resume(MemberIndex),
    /// The oscillator steps by this amount.
    Jump(MemberIndex, Span),
    /// The machine is suspended for so long, and its oscillator with it; then its process learns for how
    /// long.
    Sleep(MemberIndex, Span),
    /// The oscillator's frequency changes.
    FrequencyStep(MemberIndex, Frequency),
    /// The temperature changes: the frequency changes linearly by this amount within this time, then stays.
    Ramp(MemberIndex, Frequency, Span),
    /// The path between the server and this client loses every datagram.
    Cut(MemberIndex, Directions),
    /// The path works again.
    Heal(MemberIndex),
    /// The path's minimum delay changes.
    Base(MemberIndex, Directions, Span),
    /// The distribution of the path's queueing delays changes.
    Jitter(MemberIndex, Directions, Jitter),
    /// The impairments of all links change, in both directions.
    Impairments(Impairments),
    /// A client becomes Byzantine: it begins to tell this lie.
    Lie(MemberIndex, Lie),
    /// It tells the truth again.
    Truth(MemberIndex),
    /// An on-path attacker appears between the server and this client.
    Attack(MemberIndex, Attack),
    /// The attacker disappears.
    EndAttack(MemberIndex),
    /// An operator sets the cluster's time at the server by this amount.
    SetTime(Span, Adjustment),
}
