//! The network: a path between each two machines of which one is a server.
//!
//! A path has a link in either direction, and there may be an on-path attacker. The number of a path, which
//! names its streams of random numbers, does not depend on the numbers of clients and servers; with the first
//! server it is that of the client.

use super::MemberIndex;
use super::attacker::{Attack, Attacker, Passed};
use super::directions::Directions;
use super::link::{Copies, NetworkLink};
use super::paths::Paths;
use super::seed::{Purpose, Seed};
use meantime_core::time::Span;
use meantime_core::wire::Datagram;

/// All paths of a world.
#[derive(Debug)]
pub struct Mesh {
    seed: Seed,
    clients: usize,
    servers: usize,
    paths: Vec<NetworkPath>,
}

/// A path between a server and another member.
#[derive(Debug)]
struct NetworkPath {
    /// The server at one end; of two, the one with the better rank.
    server: MemberIndex,
    other: MemberIndex,
    down: NetworkLink,
    up: NetworkLink,
    attacker: Option<Attacker>,
    /// The ends are on the two sides of a network that was cut in two.
    parted: bool,
}

/// A path of a [`Mesh`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathIndex(usize);

impl Mesh {
    /// The paths of so many clients and servers. `links` makes the links of the path with this number, from
    /// the server and to it.
    pub fn new(
        seed: Seed,
        clients: usize,
        servers: usize,
        links: impl Fn(usize) -> (NetworkLink, NetworkLink),
    ) -> Mesh {
        let mut mesh = Mesh { seed, clients, servers: servers.max(1), paths: Vec::new() };
        for rank in 0..mesh.servers {
            for client in 1..=clients {
                mesh.add(mesh.server(rank), MemberIndex::client(client), links(rank << RANK_SHIFT | client));
            }
        }
        for rank in 0..mesh.servers {
            for other in rank + 1..mesh.servers {
                let links = links(rank << RANK_SHIFT | AMONG_SERVERS | other);
                mesh.add(mesh.server(rank), mesh.server(other), links);
            }
        }
        mesh
    }

    fn server(&self, rank: usize) -> MemberIndex {
        let place = if rank == 0 { 0 } else { self.clients + rank };
        MemberIndex::at(place, self.clients, self.servers)
    }

    fn add(&mut self, server: MemberIndex, other: MemberIndex, (down, up): (NetworkLink, NetworkLink)) {
        self.paths.push(NetworkPath { server, other, down, up, attacker: None, parted: false });
    }

    /// How many clients there are.
    pub fn clients(&self) -> usize {
        self.clients
    }

    /// How many servers there are.
    pub fn servers(&self) -> usize {
        self.servers
    }

    /// The path from one member to another, and the direction in which it is gone; `None`: there is none.
    pub fn find(&self, from: MemberIndex, to: MemberIndex) -> Option<(PathIndex, Directions)> {
        let rank = |member: MemberIndex| member.rank().map(|rank| usize::from(rank.place()));
        let with_client = |rank: usize, client: MemberIndex| {
            let place = client.place(self.clients);
            (place <= self.clients).then(|| PathIndex(rank * self.clients + place - 1))
        };
        match (rank(from), rank(to)) {
            (Some(server), None) => Some((with_client(server, to)?, Directions::ToClient)),
            (None, Some(server)) => Some((with_client(server, from)?, Directions::ToServer)),
            (Some(one), Some(other)) if one < other => {
                Some((self.among_servers(one, other), Directions::ToClient))
            }
            (Some(one), Some(other)) if one > other => {
                Some((self.among_servers(other, one), Directions::ToServer))
            }
            _ => None,
        }
    }

    /// The path between two servers, the better one first.
    fn among_servers(&self, one: usize, other: usize) -> PathIndex {
        let before = one * (2 * self.servers - one - 1) / 2;
        PathIndex(self.servers * self.clients + before + other - one - 1)
    }

    /// The ends of a path: the server, and the other member.
    pub fn ends(&self, path: PathIndex) -> (MemberIndex, MemberIndex) {
        let NetworkPath { server, other, .. } = self.paths[path.0];
        (server, other)
    }

    /// A datagram is sent at a true time: what the on-path attacker sends in its place, or without one the
    /// datagram itself, is added to `passed`.
    pub fn intercept(
        &mut self,
        path: PathIndex,
        at: Span,
        direction: Directions,
        datagram: Datagram,
        passed: &mut Vec<Passed>,
    ) {
        match &mut self.paths[path.0].attacker {
            Some(attacker) => attacker.intercept(at, direction, datagram, passed),
            None => passed.push(Passed { direction, held: Span::ZERO, datagram }),
        }
    }

    /// Takes a datagram at a true time: when its copies arrive, if at all. May change its bytes.
    pub fn carry(
        &mut self,
        path: PathIndex,
        direction: Directions,
        at: Span,
        datagram: &mut Datagram,
    ) -> Copies {
        let NetworkPath { down, up, parted, .. } = &mut self.paths[path.0];
        let link = if direction == Directions::ToServer { up } else { down };
        let copies = link.carry(at, datagram);
        if *parted { Copies::default() } else { copies }
    }

    /// Changes the links of these paths in these directions.
    pub fn change(&mut self, paths: Paths, directions: Directions, change: impl Fn(&mut NetworkLink)) {
        for path in self.of(paths) {
            let (towards, away) = path.links_of(paths.of);
            if directions.to_client() {
                change(towards);
            }
            if directions.to_server() {
                change(away);
            }
        }
    }

    /// Changes all links.
    pub fn change_all(&mut self, change: impl Fn(&mut NetworkLink)) {
        for NetworkPath { down, up, .. } in &mut self.paths {
            change(down);
            change(up);
        }
    }

    /// An attacker appears on each of these paths.
    pub fn attack(&mut self, paths: Paths, attack: Attack) {
        let seed = self.seed;
        for path in self.of(paths) {
            path.attacker = Some(Attacker::new(attack, seed.stream(Purpose::Attacker, path.number())));
        }
    }

    /// The attackers on these paths disappear.
    pub fn end_attack(&mut self, paths: Paths) {
        self.of(paths).for_each(|path| path.attacker = None);
    }

    /// Cuts the network in two: nothing gets through between the members of this side and the others.
    pub fn part(&mut self, side: &[MemberIndex]) {
        let clients = self.clients;
        let places: Vec<usize> = side.iter().map(|member| member.place(clients)).collect();
        for path in &mut self.paths {
            let is_inside = |member: MemberIndex| places.contains(&member.place(clients));
            path.parted = is_inside(path.server) != is_inside(path.other);
        }
    }

    fn of(&mut self, paths: Paths) -> impl Iterator<Item = &mut NetworkPath> {
        let place = |member: MemberIndex| member.place(self.clients);
        let (of, with) = (place(paths.of), paths.with.map(place));
        let clients = self.clients;
        self.paths.iter_mut().filter(move |path| {
            let ends = [path.server, path.other].map(|end| end.place(clients));
            ends.contains(&of) && with.is_none_or(|with| with != of && ends.contains(&with))
        })
    }
}

impl NetworkPath {
    /// The link to this end, and that from it.
    fn links_of(&mut self, end: MemberIndex) -> (&mut NetworkLink, &mut NetworkLink) {
        match end.rank() == self.server.rank() {
            true => (&mut self.up, &mut self.down),
            false => (&mut self.down, &mut self.up),
        }
    }

    fn number(&self) -> usize {
        let rank = |member: MemberIndex| member.rank().map(|rank| usize::from(rank.place()));
        let other = rank(self.other).map_or(self.other.stream(), |rank| AMONG_SERVERS | rank);
        rank(self.server).unwrap_or_default() << RANK_SHIFT | other
    }
}

/// In the number of a path: above the number of the client, or the rank of the other server.
const RANK_SHIFT: u32 = 16;
/// Set in the number of a path between two servers: more than there are clients.
const AMONG_SERVERS: usize = 1 << 15;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Jitter;

    /// Three clients and three servers; the delay of a link is the number of its path, the way up 1 s more.
    fn mesh() -> Mesh {
        Mesh::new(Seed(1), 3, 3, |number| {
            let link = |more| {
                let base = Span::from_nanos(number as i64) + Span::from_secs(more);
                NetworkLink::new(base, Jitter::None, Seed(1).stream(Purpose::Up, number))
            };
            (link(0), link(1))
        })
    }

    fn member(place: usize) -> MemberIndex {
        MemberIndex::at(place, 3, 3)
    }

    #[test]
    fn there_is_a_path_between_any_two_members_of_which_one_is_a_server() {
        let (mesh, mut found) = (mesh(), Vec::new());
        for (from, to) in (0..6).flat_map(|from| (0..6).map(move |to| (member(from), member(to)))) {
            let Some((path, direction)) = mesh.find(from, to) else {
                assert!(from == to || !(from.is_server() || to.is_server()), "{from} to {to}");
                continue;
            };
            let (server, other) = mesh.ends(path);
            let ends = if direction == Directions::ToClient { (server, other) } else { (other, server) };
            assert_eq!(ends, (from, to));
            found.push(path.0);
        }
        found.sort_unstable();
        assert_eq!(found, (0..12).flat_map(|path| [path, path]).collect::<Vec<usize>>());
    }

    #[test]
    fn the_numbers_of_paths_are_those_that_made_their_links() {
        for path in &mesh().paths {
            assert_eq!(path.down.base, Span::from_nanos(path.number() as i64));
        }
        let first: Vec<usize> = mesh().paths.iter().take(3).map(NetworkPath::number).collect();
        assert_eq!(first, [1, 2, 3], "with the first server the client's");
    }

    /// From whom to whom nothing gets through.
    fn lost(mesh: &mut Mesh) -> Vec<String> {
        let mut lost = Vec::new();
        for (from, to) in (0..6).flat_map(|from| (0..6).map(move |to| (member(from), member(to)))) {
            if let Some((path, direction)) = mesh.find(from, to)
                && mesh.carry(path, direction, Span::ZERO, &mut [0; 96]) == Copies::default()
            {
                lost.push(format!("{from} to {to}"));
            }
        }
        lost
    }

    #[test]
    fn a_cut_strikes_the_paths_and_the_direction_that_were_named() {
        let cut = |paths, directions| {
            let mut mesh = mesh();
            mesh.change(paths, directions, |link| link.cut = true);
            lost(&mut mesh)
        };
        let (one, two) = (MemberIndex::server(1), MemberIndex::server(2));
        let client = MemberIndex::client(1);
        assert_eq!(cut(Paths::between(two, client), Directions::ToClient), ["server-2 to client-1"]);
        assert_eq!(cut(Paths::between(client, two), Directions::ToClient), ["client-1 to server-2"]);
        assert_eq!(cut(Paths::between(one, two), Directions::ToServer), ["server-2 to server-1"]);
        assert_eq!(cut(Paths::between(two, two), Directions::Both), [""; 0]);
        assert_eq!(cut(client.into(), Directions::Both).len(), 6);
        assert_eq!(cut(two.into(), Directions::ToClient).len(), 5);
        assert_eq!(cut(MemberIndex::SERVER.into(), Directions::Both).len(), 10);
    }

    #[test]
    fn nothing_gets_through_between_two_parts_until_they_are_one() {
        let mut mesh = mesh();
        mesh.part(&[MemberIndex::server(1), MemberIndex::client(2)]);
        let lost_now = lost(&mut mesh);
        assert_eq!(lost_now.len(), 2 * (2 + 2 + 2), "{lost_now:?}");
        assert!(!lost_now.contains(&"server-1 to client-2".to_owned()), "{lost_now:?}");
        mesh.part(&[]);
        assert_eq!(lost(&mut mesh), [""; 0]);
    }
}
