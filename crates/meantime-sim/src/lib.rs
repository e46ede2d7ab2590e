//! The simulated world: the same server and client code under virtual time.
//!
//! Everything that happens follows from a [`Scenario`] and its seed, to the last bit; nothing in here reads a
//! clock, the environment or the network. True time is a [`Span`](meantime_core::time::Span) since the
//! world's beginning, which is [`START`]; no node ever sees it.
//!
//! | file | contents |
//! |---|---|
//! | [`seed`] | one stream of random numbers for each purpose |
//! | [`oscillator`] | raw clocks: frequency error, wander, temperature, jumps |
//! | [`member`] | the names of members |
//! | [`directions`], [`paths`] | which paths are meant, and in which directions |
//! | [`jitter`], [`link`], [`mesh`] | what happens to a datagram under way; all paths |
//! | [`reference`](mod@reference) | a machine's time from outside |
//! | [`node`] | what a machine can run |
//! | [`moderation`], [`wake_up`] | why a machine stamps a datagram some time after its arrival |
//! | [`machine`], [`state_store`] | one machine: its oscillator, its process, and what the next process finds |
//! | [`liar`] | Byzantine clients: they report what is not so |
//! | [`server_liar`] | servers that lie: they state false times |
//! | [`attacker`] | an on-path attacker between a server and another member |
//! | [`fault`] | what can go wrong at a given time |
//! | [`queue`], [`world`] | events in the order of true time; all machines and paths |
//! | [`scenario`], [`random_faults`] | descriptions of worlds; worlds of random faults |
//! | [`sample`], [`spread`], [`rate`], [`calibration`] | the truth about a run, against which nodes are judged |
//! | [`evaluation`], [`summary`] | a run summed up |
//! | [`simulation`] | a scenario, running |
//! | [`testkit`] | single nodes in memory, for tests, benches and fuzz targets |

pub mod attacker;
pub mod calibration;
pub mod directions;
pub mod evaluation;
pub mod fault;
pub mod jitter;
pub mod liar;
pub mod link;
pub mod machine;
pub mod member;
pub mod mesh;
pub mod moderation;
pub mod node;
pub mod oscillator;
pub mod paths;
pub mod queue;
pub mod random_faults;
pub mod rate;
pub mod reference;
pub mod sample;
pub mod scenario;
pub mod seed;
pub mod server_liar;
pub mod simulation;
pub mod spread;
pub mod state_store;
pub mod summary;
pub mod testkit;
pub mod wake_up;
pub mod world;

use meantime_core::time::Timestamp;

pub use attacker::Attack;
pub use directions::Directions;
pub use fault::Fault;
pub use jitter::{Jitter, SlowQueue};
pub use liar::Lie;
pub use link::Impairments;
pub use member::MemberIndex;
pub use moderation::Moderation;
pub use node::{AnyNode, NodeConfig, NodeEvent, SimNode};
pub use paths::Paths;
pub use reference::ReferenceModel;
pub use sample::Sample;
pub use scenario::Scenario;
pub use server_liar::ServerLie;
pub use simulation::{Observer, Simulation};
pub use spread::Spread;
pub use summary::Summary;
pub use wake_up::WakeUp;
pub use world::{ReportedEvent, World};

/// True time zero: 2027-01-01T00:00:00Z.
pub const START: Timestamp = Timestamp::from_nanos(1_798_761_600_000_000_000);
