//! Attacks on the vote, with the datagrams that an attacker sends.
//!
//! Server and good clients are real. The attacker's clients are written from the protocol's description:
//! each has an address of its own choice, a key or none, and a clock, a state, a label and a frequency as its
//! [`Plan`](attacker::Plan) says. All run in virtual time; the oscillators of the good machines are perfect
//! but for a constant, so that what moves a good clock is the attack, or the noise of the network.
//!
//! g is the number of groups, the server's machine among them; f is the number of bad ones.

mod addresses;
mod attacker;
mod first;
mod guarantee;
mod island;
mod keys;
mod labels;
mod patient;
mod rate;
mod references;
mod restart;
mod window;
