//! The members of a simulated cluster, by name.

use std::fmt;

use meantime_core::roles::rank::Rank;

/// A member of the simulated cluster. It prints as its name.
///
/// The name of the only server is `server`; several are `server-1`, `server-2` and so on. A member's *place*
/// is that of its machine in the world, and of its clock in a [`Sample`](super::Sample): first the first
/// server, then the clients, and then the other servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberIndex(Kind);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Kind {
    OnlyServer,
    /// One of several servers, from 1.
    Server(u8),
    /// From 1.
    Client(u32),
}

impl MemberIndex {
    /// The only server. Of several the first one, where a member is named to a world.
    pub const SERVER: MemberIndex = MemberIndex(Kind::OnlyServer);

    /// One of several servers; the first is number 1, and has the first rank.
    pub const fn server(number: u8) -> MemberIndex {
        MemberIndex(Kind::Server(number))
    }

    /// A client; the first is number 1.
    pub const fn client(number: usize) -> MemberIndex {
        MemberIndex(Kind::Client(number as u32))
    }

    /// The member at this place of a world with so many clients and servers.
    pub const fn at(place: usize, clients: usize, servers: usize) -> MemberIndex {
        match place {
            0 if servers <= 1 => MemberIndex::SERVER,
            0 => MemberIndex::server(1),
            place if place <= clients => MemberIndex::client(place),
            place => MemberIndex::server((place - clients + 1) as u8),
        }
    }

    /// Its place in a world with so many clients.
    pub const fn place(self, clients: usize) -> usize {
        match self.0 {
            Kind::OnlyServer => 0,
            Kind::Server(number) if number <= 1 => 0,
            Kind::Server(number) => clients + number as usize - 1,
            Kind::Client(number) => number as usize,
        }
    }

    /// Whether it is a server.
    pub const fn is_server(self) -> bool {
        !matches!(self.0, Kind::Client(_))
    }

    /// The rank of a server; `None`: it is a client, or no list has so many servers.
    pub fn rank(self) -> Option<Rank> {
        match self.0 {
            Kind::OnlyServer => Some(Rank::FIRST),
            Kind::Server(number) => Rank::new(number.checked_sub(1)?),
            Kind::Client(_) => None,
        }
    }

    /// The number of its streams of random numbers. It does not depend on the numbers of clients and servers.
    pub(crate) const fn stream(self) -> usize {
        match self.0 {
            Kind::OnlyServer => 0,
            Kind::Server(number) if number <= 1 => 0,
            Kind::Server(number) => FURTHER_SERVERS + number as usize,
            Kind::Client(number) => number as usize,
        }
    }
}

impl fmt::Display for MemberIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Kind::OnlyServer => f.pad("server"),
            Kind::Server(number) => f.pad(&format!("server-{number}")),
            Kind::Client(number) => f.pad(&format!("client-{number}")),
        }
    }
}

/// More than there are clients.
const FURTHER_SERVERS: usize = 1 << 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_other_servers_come_after_the_clients() {
        let names = |clients, servers| {
            let places = 0..clients + servers;
            places.map(|place| MemberIndex::at(place, clients, servers).to_string()).collect::<Vec<_>>()
        };
        assert_eq!(names(2, 1), ["server", "client-1", "client-2"]);
        assert_eq!(names(2, 3), ["server-1", "client-1", "client-2", "server-2", "server-3"]);
    }

    #[test]
    fn places_and_members_are_inverse() {
        for place in 0..11 {
            assert_eq!(MemberIndex::at(place, 8, 3).place(8), place);
        }
        assert_eq!(MemberIndex::SERVER.place(8), MemberIndex::server(1).place(8));
    }

    #[test]
    fn servers_have_ranks() {
        assert_eq!(MemberIndex::SERVER.rank(), Some(Rank::FIRST));
        assert_eq!(MemberIndex::server(3).rank(), Rank::new(2));
        assert_eq!(MemberIndex::server(16).rank(), None);
        assert_eq!(MemberIndex::client(3).rank(), None);
    }
}
