//! The clocks of network cards, and whether their timestamps can be used.
//!
//! A card with a clock of its own (a PTP hardware clock) stamps a datagram when it passes the card's port.
//! The card's clock counts from an origin of its own, at a rate of its own, and another program may steer or
//! step it. So its timestamps are brought to the host's oscillator in the same way as the kernel's: by a
//! [`TimestampConverter`](super::TimestampConverter) with pairs of readings, here of the oscillator and the
//! card's clock, each read after the timestamps that it converts.
//!
//! A card may grant what it does not do. [`Card`] refuses it, for the rest of the run and with a reason
//! ([`Refusal`]), when its clock stands still, runs at another speed or cannot be read, when it stamps
//! nothing though it has granted that, or when its timestamps contradict the kernel's. Receiving and sending
//! are judged apart from each other.
//!
//! | module | what it decides |
//! |---|---|
//! | `card` | [`Card`]: which of its timestamps are used |
//! | `speed` | whether a card's clock runs like a clock |
//! | `phc` | reads a card's clock: [`Phc`] |

mod card;
#[cfg(target_os = "linux")]
mod phc;
mod speed;

pub use card::{Card, CardClock, Direction, Refusal};
#[cfg(target_os = "linux")]
pub use phc::Phc;
