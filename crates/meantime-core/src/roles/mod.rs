//! The roles of several servers: which of them is active, and which one a client follows.
//!
//! Several servers stand in one list, which is the same on all of them; the place in it is a server's rank.
//! One server is *active*: it measures and corrects. The others are *standby servers*: members of the active
//! one that hear all clients as well, so that one of them can take over. Nothing here measures or corrects a
//! clock, sends or receives: the modules decide, from what other nodes have stated, what a node does next.
//!
//! Each node repeats one statement, its whole current state, and a newer statement replaces an older one. So
//! datagrams may be lost, late or repeated, and there is no log that has to be agreed on. A statement that is
//! not repeated for a lifetime is forgotten.
//!
//! | module | what it decides |
//! |---|---|
//! | [`rank`] | a server's place in the list, and sets of servers |
//! | [`term`] | terms, their order, and which of those that others name are plausible |
//! | [`statement`] | what servers and members state to one another |
//! | [`heard_servers`] | the newest statement of each server, and when it is forgotten |
//! | [`census`] | what the members state, counted |
//! | [`allegiance`] | which active server a client, or a standby server, follows |
//! | [`server_role`] | whether a server is active or standby: takeover, handover, two active servers |
//! | [`stall`] | whether this node itself has been stopped for so long that it knows nothing any more |
//!
//! The page `docs/explanation/several-servers.md` explains the rules and why they hold. The model check in
//! `crates/meantime-core/tests/roles_model` tries out all orders of events in a small cluster.

pub mod allegiance;
pub mod census;
pub mod heard_servers;
pub mod rank;
mod rivalry;
pub mod server_role;
pub mod stall;
pub mod statement;
pub mod term;
