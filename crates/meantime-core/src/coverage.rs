//! Whether the guarantee covers a clock: the sum of two bounds limits the difference of two clocks only if
//! both were measured, and if no measurement contradicts them.

use core::fmt;

/// Whether the guarantee of a round covers a client's clock, or why it does not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Coverage {
    /// The client was heard in the round, the vote has found its clock to agree, and the client stated a
    /// bound that the server's measurement does not contradict.
    Covered,
    /// No round has ended since the client was registered.
    #[default]
    New,
    /// Its clock has no cluster time.
    Unsynchronized,
    /// It has answered no probe of the round.
    NotHeard,
    /// The round has ended without a judgement about it: the server has no time yet, learns it from its
    /// members, or found no majority that confirms its own clock.
    Unjudged,
    /// The vote has found it to disagree.
    Falseticker,
    /// It stated no bound.
    NoBound,
    /// It stated a bound, and the server has measured it farther off than that.
    ContradictedBound,
}

impl Coverage {
    /// All values, in the order of their declaration.
    pub const ALL: [Coverage; 8] = [
        Coverage::Covered,
        Coverage::New,
        Coverage::Unsynchronized,
        Coverage::NotHeard,
        Coverage::Unjudged,
        Coverage::Falseticker,
        Coverage::NoBound,
        Coverage::ContradictedBound,
    ];
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Coverage::Covered => "covered",
            Coverage::New => "no round has ended since it was registered",
            Coverage::Unsynchronized => "its clock has no cluster time",
            Coverage::NotHeard => "it was not heard in the last round",
            Coverage::Unjudged => "the last round has judged no clock",
            Coverage::Falseticker => "falseticker",
            Coverage::NoBound => "it states no bound",
            Coverage::ContradictedBound => "it was measured farther off than the bound that it states",
        })
    }
}
