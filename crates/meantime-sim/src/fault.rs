//! What can go wrong, or be made right, at a given moment.

use super::{Intrusion, Jitter, Lie, Member, Trouble};
use meantime_core::event::Adjustment;
use meantime_core::time::{Frequency, Span};

/// One change of the world.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    /// The process dies as by SIGKILL.
    Crash(Member),
    /// The process says goodbye and ends.
    Shutdown(Member),
    /// A process is started where none is.
    Start(Member),
    /// The process stands still as by SIGSTOP; datagrams queue up.
    Pause(Member),
    /// It goes on, as by SIGCONT.
    Resume(Member),
    /// The oscillator shows more (or less) from one moment to the next.
    Jump(Member, Span),
    /// The machine sleeps for so long, and its oscillator with it; the process is told when it wakes up.
    Sleep(Member, Span),
    /// The oscillator's frequency changes.
    FrequencyStep(Member, Frequency),
    /// The temperature changes: within so much time the frequency changes by so much, linearly, and stays.
    Ramp(Member, Frequency, Span),
    /// Nothing gets through between the server and this client.
    Cut(Member, Ways),
    /// It gets through again.
    Heal(Member),
    /// The path's base delay changes.
    Base(Member, Ways, Span),
    /// The distribution of waiting changes.
    Jitter(Member, Ways, Jitter),
    /// All links harm datagrams this often, both ways.
    Trouble(Trouble),
    /// A client begins to lie.
    Lie(Member, Lie),
    /// It is honest again.
    Truth(Member),
    /// Somebody comes between the server and this client.
    Intrude(Member, Intrusion),
    /// He goes.
    Withdraw(Member),
    /// Somebody sets the cluster's time at the server, by so much.
    SetTime(Span, Adjustment),
}

/// The directions of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ways {
    /// From the server to the client.
    Down,
    /// From the client to the server.
    Up,
    /// Either.
    Both,
}

impl Ways {
    /// Whether the way to the client is meant.
    pub fn down(self) -> bool {
        self != Ways::Up
    }

    /// Whether the way to the server is meant.
    pub fn up(self) -> bool {
        self != Ways::Down
    }
}
