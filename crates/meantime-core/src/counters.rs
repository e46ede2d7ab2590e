//! Counts received datagrams: each one has exactly one [`Fate`].

use core::fmt;

/// Defines the fates with the words that describe them, and their number.
macro_rules! fates {
    ($($(#[$doc:meta])* $name:ident = $words:literal,)*) => {
        /// What became of a datagram.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Fate {
            $($(#[$doc])* $name,)*
        }

        impl Fate {
            /// Every fate there is.
            pub const ALL: &'static [Fate] = &[$(Fate::$name),*];
        }

        impl fmt::Display for Fate {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Fate::$name => $words,)* })
            }
        }
    };
}

fates! {
    /// It was valid, and was handled.
    Accepted = "accepted",
    /// Not 96 bytes.
    Length = "wrong length",
    /// Not of this protocol.
    Magic = "not meantime",
    /// It is of another version of the protocol.
    Version = "other protocol version",
    /// A kind or field value that the protocol does not have.
    Malformed = "malformed",
    /// Its tag was not made with the key that this node expects.
    Tag = "bad tag",
    /// Its kind is never sent in this direction.
    Misdirected = "wrong direction",
    /// It came from an address that the operator's lists exclude.
    Denied = "address not allowed",
    /// It came from an address that it may not come from.
    UnknownAddress = "unknown address",
    /// Its session is not known (any more).
    Session = "unknown session",
    /// Its cookie is wrong or too old.
    Cookie = "bad cookie",
    /// It asks for a session, and an operator has banned its sender.
    Banned = "banned",
    /// There is no room for another client.
    Full = "no room",
    /// The limit of such datagrams per second is reached.
    Busy = "too many at a time",
    /// It asks for a new session too soon after the last.
    TooSoon = "registered too soon again",
    /// It answers no open request: it is late, a duplicate, or forged.
    Unsolicited = "unsolicited, late or duplicate",
    /// It was received before, or is older than the newest datagram, by its authentic sequence number.
    Replayed = "replayed",
    /// Its timestamps make no sense, or it took longer than is accepted.
    Implausible = "implausible timestamps",
    /// An older Correction than the newest applied.
    Superseded = "superseded",
}

/// How many datagrams met each [`Fate`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    fates: [u64; Fate::ALL.len()],
    lost: u64,
}

impl Counters {
    /// Counts one datagram.
    pub fn count(&mut self, fate: Fate) {
        self.fates[fate as usize] += 1;
    }

    /// The sum of both.
    #[must_use]
    pub fn plus(&self, other: &Counters) -> Counters {
        let mut sum = self.clone();
        sum.fates.iter_mut().zip(other.fates).for_each(|(fate, more)| *fate += more);
        sum.lost += other.lost;
        sum
    }

    /// How many datagrams met this fate.
    pub fn of(&self, fate: Fate) -> u64 {
        self.fates[fate as usize]
    }

    /// How many datagrams were received in all.
    pub fn received(&self) -> u64 {
        self.fates.iter().sum()
    }

    /// Counts datagrams that the kernel of this machine has dropped, because its buffer was full.
    pub fn lose(&mut self, datagrams: u32) {
        self.lost += u64::from(datagrams);
    }

    /// How many datagrams the kernel of this machine has dropped.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// How many datagrams were received and not accepted.
    pub fn dropped(&self) -> u64 {
        self.received() - self.of(Fate::Accepted)
    }
}
