//! The load generator: many light clients in one process, to measure a real server.
//!
//! To its driver, a load generator is one [`Node`](meantime_core::Node). The peers of its paths are not the
//! server but its clients' own addresses ([`ClientAddresses`]); the sockets turn that around. Nothing in this
//! crate opens a socket or reads a clock.
//!
//! | file | contents |
//! |---|---|
//! | [`plan`] | [`LoadPlan`]: what to do; [`LoadEvent`]: what is reported |
//! | [`generator`] | [`LoadGenerator`]: when clients register, check and send heartbeats; their messages |
//! | [`light_client`] | one client: its clock, its reports, the corrections that it follows |
//! | [`client_addresses`] | the addresses of the clients |
//! | [`statistics`] | what is measured |

pub mod client_addresses;
pub mod generator;
pub mod light_client;
pub mod plan;
pub mod statistics;

pub use client_addresses::ClientAddresses;
pub use generator::LoadGenerator;
pub use plan::{LoadEvent, LoadPlan};
pub use statistics::LoadStatistics;
