//! The timekeeper: decides what the cluster time is, and which members get a correction.
//!
//! Once a round it gets a [`MemberReading`] of each client. It is in one of three phases.
//!
//! * **Listening**: there is no cluster time. As soon as every client was heard, the classic Berkeley
//!   algorithm decides once: the mean of all clocks within a wide radius of their median, if these are a
//!   majority. But if most clients already carry a cluster's time, because the server has restarted, the
//!   server adopts that time instead.
//! * **Following**: the server learns phase and frequency of the time that its clients carry. Meanwhile it
//!   sends those clients no corrections.
//! * **Steady**: the server's disciplined clock carries cluster time, and the vote checks it. Each client is
//!   sent its own correction. The result of the vote is *not* fed back into all clocks: a constant bias by
//!   liars that stay within the window would become an acceleration. If more than half of all members agree
//!   with one another and not with the server, the server sends no corrections; after two such rounds it is
//!   deposed, and follows. With f < m/2 liars a good server is never deposed, so liars cannot move the phase
//!   of the cluster at all.
//!
//! An unsure server sends no corrections: the members go into holdover, and a minute of that costs them less
//! than a microsecond.
//!
//! All readings are stored relative to the server's free-running oscillator, so that changes of the cluster
//! time do not make older readings wrong.
//!
//! | module | part |
//! |---|---|
//! | `timekeeper` | the state, and its changes from phase to phase |
//! | `listening`, `following`, `steady` | a round in each phase |
//! | `adoption` | taking over the time that the clients carry |
//! | `founding` | an operator says what time it is while no majority can |
//! | `conclude` | a round: that of the phase, and what all phases share |
//! | `manual_adjustment` | an operator's adjustments of the cluster's time |
//! | [`vote`], `weight`, `noise`, `window` | the vote: agreement, what a reading counts, noise, and how far readings may be apart |
//! | `ensemble` | phase and frequency of the time that the members carry |
//! | [`reference_vote`] | the agreement of references, as intervals |
//! | `utc`, `utc_leader`, `leading_law` | leads the cluster's time to UTC, as the references state it |
//! | `rate_anchor` | steers the cluster's rate towards the mean of its oscillators |
//! | `relay`, `standby`, with `relay_state` | a server whose time is given from outside |
//! | `reading` | what goes in and comes out |

mod adoption;
mod arrivals;
mod conclude;
mod ensemble;
mod following;
mod founding;
mod leading_law;
mod listening;
mod manual_adjustment;
mod noise;
mod rate_anchor;
mod reading;
pub mod reference_vote;
mod relay;
mod relay_state;
mod standby;
mod steady;
#[cfg(test)]
mod tests;
mod timekeeper;
mod utc;
mod utc_leader;
pub mod vote;
mod weight;
mod window;

pub use self::founding::Founded;
pub use self::manual_adjustment::SetTimeError;
pub use self::reading::{
    Conclusion, Electorate, FrequencyReport, MemberJudgement, MemberReading, PhaseReading, PhaseTransition,
    Recipients,
};
pub use self::timekeeper::{Timekeeper, TimekeeperConfig};
pub use self::utc_leader::UtcConclusion;
pub use self::weight::{Weight, share, shares};
