//! The discipline: estimates phase and frequency of the cluster's time over this node's oscillator, from all
//! one-way differences of all exchanges.
//!
//! It works on the free-running timescale only. Steps and slews of the published clock do not affect it, so
//! adjustments in flight need no accounting. The commanded rate is subtracted from the observations and added
//! to the estimate, so rate commands do not affect it either.
//!
//! Each class assumes a sharpness of the path's noise, learns the noise density, and runs a bank of filters
//! for different wanders of the oscillator. The classes are weighted by their evidence. The first bursts are
//! stored and replayed several times, because their interpretation depends on the noise density, which is
//! learned from them.
//!
//! Waiting times are not negative. A residual that contradicts this shows a change:
//!
//! * of the clock, if one direction became shorter and the other longer by the same amount, or if the offset
//!   is farther from the expectation than half the delay allows. Such bursts are outliers. They are ignored
//!   unless they persist: three in a row if the vote finds this clock in the minority, twelve otherwise (so
//!   that a correct clock does not follow a server that jumped), four in the first bursts, after which the
//!   discipline restarts. A regular burst in between halves their count. After that, the phase is reset; the
//!   frequency's variance grows only by the drift among the outliers, because a pure step contains no
//!   information about frequency. A burst that only a sudden change of the oscillator explains is left out
//!   once, and followed if the next burst agrees with it;
//! * of the path, if one direction became shorter. Then only the variance of its minimum delay grows.
//!
//! A direction whose delays have all increased has changed as well; that is not impossible, but soon very
//! unlikely.
//!
//! | module | part |
//! |---|---|
//! | `estimator` | the discipline itself: what to do with a burst |
//! | `tracking` | the state from the first burst on |
//! | `class` | one assumption about the noise, with its filters and its evidence |
//! | `filter` | phase, frequency and minimum delays for one wander of the oscillator |
//! | `density` | the density of the noise |
//! | `changes` | finds changes of the clock and of the path |
//! | `outlier_limit` | how many outliers in a row reset the phase |
//! | `cross_check` | a second estimate, against which the first is checked |
//! | `replay` | the first bursts again, with what was learned from them |
//! | `commanded_rate` | the rate that the server has commanded |
//! | `plausible` | which exchanges of a burst are used |

mod changes;
mod class;
mod commanded_rate;
mod cross_check;
mod density;
mod estimator;
mod filter;
mod outlier_limit;
mod plausible;
mod replay;
#[cfg(test)]
mod tests;
mod tracking;

pub use self::estimator::{BurstOutcome, Discipline};
pub use self::outlier_limit::OutlierLimit;
