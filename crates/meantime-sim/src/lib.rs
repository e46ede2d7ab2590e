//! RING 0. The simulated world: the same server and client code under virtual time.
//!
//! Everything that happens follows from a [`Scenario`] and its seed, to the last bit; nothing in here reads a
//! clock, the environment or the network. True time is a [`Span`](meantime_core::time::Span) since the
//! world's beginning, which is [`START`]; no node ever sees it.
//!
//! | file | what lives there |
//! |---|---|
//! | [`seed`] | one stream of random numbers for each purpose |
//! | [`oscillator`] | raw clocks: frequency error, wander, temperature, jumps |
//! | [`jitter`], [`link`] | what happens to a datagram on its way |
//! | [`machine`], [`memory`] | one node, its oscillator, its process, and what that leaves to the next one |
//! | [`liar`] | members that say what is not so |
//! | [`intruder`] | somebody on the path who does with datagrams what he likes |
//! | [`fault`] | what can go wrong, at a given time |
//! | [`queue`], [`world`] | what happens next, and all of it together |
//! | [`scenario`], [`chaos`] | worlds described; worlds of random faults |
//! | [`measure`], [`rate`], [`honesty`] | the truth about a run, against which nodes are judged |
//! | [`simulation`] | a scenario run, with its summary |

pub mod chaos;
pub mod fault;
pub mod honesty;
pub mod intruder;
pub mod jitter;
pub mod liar;
pub mod link;
pub mod machine;
pub mod measure;
pub mod memory;
pub mod oscillator;
pub mod queue;
pub mod rate;
pub mod scenario;
pub mod seed;
pub mod simulation;
pub mod world;

use std::fmt;

use meantime_core::time::Timestamp;

pub use fault::{Fault, Ways};
pub use intruder::Intrusion;
pub use jitter::{Jitter, SlowQueue};
pub use liar::Lie;
pub use link::Trouble;
pub use machine::{Boot, NodeEvent, Plan, Role};
pub use measure::{Sample, Spread, Summary};
pub use scenario::Scenario;
pub use simulation::{Observer, Simulation};
pub use world::{Happening, World};

/// True time zero: 2027-01-01T00:00:00Z.
pub const START: Timestamp = Timestamp::from_nanos(1_798_761_600_000_000_000);

/// A member of the simulated cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Member(usize);

impl Member {
    /// The server.
    pub const SERVER: Member = Member(0);

    /// A client; the first is number 1.
    pub const fn client(number: usize) -> Member {
        Member(number)
    }

    /// 0 for the server, else the client's number.
    pub const fn index(self) -> usize {
        self.0
    }
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.pad("server"),
            number => f.pad(&format!("client-{number}")),
        }
    }
}
