//! **meantime**: clock agreement for machines without outside time.
//!
//! A server measures the clocks of all registered machines over UDP every five seconds. The cluster time
//! begins as a fault-tolerant mean of all clocks, in which the server's own clock is one vote among equals.
//! In every round the server sends each machine the correction of its clock: the Berkeley algorithm, with
//! today's methods of measuring.
//!
//! This package is the program around the core. The decisions are made in [`meantime_core`], which does no
//! I/O; [`meantime_sim`] is the simulated world and [`meantime_load`] the load generator.
//!
//! | module | content |
//! |---|---|
//! | [`clock`] | the only place that reads or sets a clock |
//! | [`udp`] | the only place that touches UDP sockets |
//! | [`event_loop`] | the loop that drives a node; the only module that uses clock, udp and control together |
//! | [`process`] | privileges of the process, and the service manager |
//! | [`report`] | the machine-readable form of events and figures |
//! | [`store`] | files that the program keeps: state file, key file, record |
//! | [`control`] | what programs ask a node |
//! | `dashboard` | web page, metrics and JSON over HTTP; with the feature `dashboard` |
//! | [`cli`] | arguments, text and JSON output, logging |

pub mod cli;
pub mod clock;
pub mod control;
#[cfg(feature = "dashboard")]
pub mod dashboard;
pub mod event_loop;
pub mod process;
pub mod report;
pub mod store;
pub mod udp;
