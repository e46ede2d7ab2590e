//! The testkit: nodes in memory, the datagrams between them, and a virtual clock. Tests, benches and fuzz
//! targets drive their nodes with it.
//!
//! A test that needs a whole scenario (random paths, faults, liars, measured truth) uses a
//! [`Simulation`](crate::Simulation). The testkit is for everything below that: a test that wants to see,
//! change or withhold single datagrams, or to measure what one node does.
//!
//! | file | contents |
//! |---|---|
//! | [`host`] | [`Host`]: one node and its oscillator. One input, then drain |
//! | [`network`] | [`Network`]: the datagrams under way and the virtual clock; carries them between [`Endpoint`]s |
//! | [`delay`] | [`Delay`]: how long a datagram is under way |
//! | [`address`] | the addresses of numbered nodes |
//! | [`by_hand`] | registering with a server message by message |
//! | [`pair`] | [`Pair`]: a server and a client; every datagram is recorded and can be changed |
//! | [`cluster`] | [`Cluster`]: a server and clients over noisy paths |
//! | [`loaded`] | [`LoadedServer`]: a server and a load generator, any node that stands for many clients |
//! | [`hostile_client`] | [`HostileClient`]: a member that says of its clock whatever it likes |
//! | [`stub_client`] | [`StubClient`]: the least that is a client to a server |
//!
//! Time is a [`Span`](meantime_core::time::Span) since the beginning, as everywhere in this crate; nothing
//! here reads a clock. All randomness is seeded.

pub mod address;
pub mod by_hand;
pub mod cluster;
pub mod delay;
pub mod host;
pub mod hostile_client;
pub mod loaded;
pub mod network;
pub mod pair;
pub mod stub_client;

pub use cluster::Cluster;
pub use delay::Delay;
pub use host::{Host, HostClock, drain, events, moment};
pub use hostile_client::{Claims, HostileClient};
pub use loaded::LoadedServer;
pub use network::{Endpoint, Flight, Network};
pub use pair::Pair;
pub use stub_client::StubClient;
