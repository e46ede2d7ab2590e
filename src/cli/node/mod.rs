//! What `server` and `client` have in common.
//!
//! | module | what it does |
//! |---|---|
//! | `arguments` | the options of a node ([`NodeArgs`]) |
//! | `cards` | the network cards whose timestamps it uses ([`Timestamps`]) |
//! | `setup` | turns the options into a clock, keys, a control socket and a state file |
//! | `run` | runs the event loop, and hands its events to output, record, state file and control socket |

mod arguments;
mod cards;
mod run;
mod setup;

pub(super) use arguments::NodeArgs;
pub(super) use cards::Timestamps;
pub(super) use run::Equipment;
pub(super) use setup::KeptState;
