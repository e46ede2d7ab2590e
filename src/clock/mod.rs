//! The only place that reads or sets a clock.
//!
//! It decides which of the machine's clocks serves as which of the three timescales of
//! [`meantime_core::time`], and never what to do with a reading. Of the core it knows these types of time
//! only.
//!
//! | module | what it decides |
//! |---|---|
//! | `host` | which of the operating system's clocks are read, and how two of them together |
//! | `node_clock` | [`NodeClock`], what a node needs of them |
//! | `overlay` | [`Overlay`]: sets nothing; the node's clock is arithmetic in the core over the oscillator |
//! | [`system`] | [`SystemClock`]: an overlay, and the machine's own time is steered to follow it |
//! | `oscillator` | a node's oscillator as arithmetic over the host's |
//! | `reference` | [`SystemReference`]: whether the machine's own time is a time from outside |
//! | `suspension` | whether the machine has been suspended |
//! | `converter` | from timestamps, readings of the wall clock or of a card's, to the oscillator |
//! | [`hardware`] | [`Card`]: the clocks of network cards, and whether their timestamps can be used |

mod converter;
pub mod hardware;
mod host;
mod node_clock;
mod oscillator;
mod overlay;
mod pair;
mod published_time;
mod reading;
mod reference;
mod suspension;
pub mod system;

pub use converter::{ConversionError, TimestampConverter};
pub use hardware::{Card, CardClock, Direction, Refusal};
pub use host::{monotonic, total_suspension};
pub use node_clock::{NodeClock, Resumed};
pub use oscillator::NodeOscillator;
pub use overlay::Overlay;
pub use pair::ClockPair;
pub use published_time::PublishedTime;
pub use reading::{ClockSample, HostRaw};
pub use reference::SystemReference;
pub use suspension::{MIN_SUSPENSION, SuspensionDetector};
pub use system::SystemClock;
pub use system::event::{ForeignAdjustment, SystemClockEvent};
