//! Offsets, frequencies, errors and bounds, estimated from timestamps.
//!
//! | module | what it computes |
//! |---|---|
//! | [`exchange`] | offset and delay of one exchange |
//! | [`kalman`] | phase and frequency from noisy offsets |
//! | [`discipline`] | phase and frequency from all timestamps of all exchanges |
//! | [`timescale`] | the published clock as a function of the oscillator |
//! | [`bound`] | the guaranteed distance from cluster time |

pub mod bound;
pub mod discipline;
pub mod exchange;
pub mod kalman;
pub mod timescale;
