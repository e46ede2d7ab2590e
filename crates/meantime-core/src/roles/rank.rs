//! A server's place in the list of servers, and sets of servers.

/// A server's place in the list of servers: 0 is the first, and the best. The list is the same on all nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rank(u8);

impl Rank {
    /// That of the first server in the list, and of the only one.
    pub const FIRST: Rank = Rank(0);

    /// The rank of the server at this place of the list; `None`: no list is so long.
    pub fn new(place: u8) -> Option<Rank> {
        (place < MAX_SERVERS).then_some(Rank(place))
    }

    /// The place in the list.
    pub fn place(self) -> u8 {
        self.0
    }

    /// All better ranks, from the best one on.
    pub fn better(self) -> impl Iterator<Item = Rank> {
        (0..self.0).map(Rank)
    }
}

/// A set of servers, by their ranks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ServerSet(u16);

impl ServerSet {
    /// No server.
    pub const EMPTY: ServerSet = ServerSet(0);

    /// All servers.
    pub const ALL: ServerSet = ServerSet((1 << MAX_SERVERS) - 1);

    /// Whether it contains the server of this rank.
    pub fn contains(self, rank: Rank) -> bool {
        self.0 & (1 << rank.0) != 0
    }

    /// This set with the server of this rank, or without it.
    #[must_use]
    pub fn with(self, rank: Rank, contained: bool) -> ServerSet {
        let others = self.0 & !(1 << rank.0);
        ServerSet(others | u16::from(contained) << rank.0)
    }

    /// The servers of this set, and of another.
    #[must_use]
    pub fn union(self, other: ServerSet) -> ServerSet {
        ServerSet(self.0 | other.0)
    }
}

impl FromIterator<Rank> for ServerSet {
    fn from_iter<I: IntoIterator<Item = Rank>>(ranks: I) -> ServerSet {
        ServerSet(ranks.into_iter().fold(0, |bits, rank| bits | (1 << rank.0)))
    }
}

/// The longest list of servers. More would not make a cluster safer, and a rank fits into four bits.
pub const MAX_SERVERS: u8 = 15;

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    #[test]
    fn a_list_has_fifteen_places() {
        assert_eq!(Rank::new(14).map(Rank::place), Some(14));
        assert_eq!(Rank::new(15), None);
    }

    #[test]
    fn better_ranks_are_those_before_in_the_list() {
        let better: Vec<u8> = Rank(3).better().map(Rank::place).collect();
        assert_eq!(better, [0, 1, 2]);
        assert_eq!(Rank(0).better().count(), 0);
    }

    #[test]
    fn a_set_contains_what_was_put_in() {
        let set: ServerSet = [Rank(0), Rank(14)].into_iter().collect();
        let held: Vec<u8> = (0..MAX_SERVERS).filter(|place| set.contains(Rank(*place))).collect();
        assert_eq!(held, [0, 14]);
        assert_eq!(ServerSet::EMPTY.union(set), set);
        assert_eq!(set.with(Rank(14), false), ServerSet::EMPTY.with(Rank(0), true));
    }
}
