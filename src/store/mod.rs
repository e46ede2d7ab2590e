//! Files that the program keeps between runs or writes for others.
//!
//! | module | what it keeps |
//! |---|---|
//! | [`state_file`] | what a node knows of the time and of its frequency |
//! | [`key_file`] | the keys of a cluster or of a node |
//! | [`record`] | the history of all members' clocks, as CSV |

pub mod key_file;
pub mod record;
pub mod state_file;
