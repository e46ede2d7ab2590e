//! A small cluster: what each node is, and what it holds of the others.
//!
//! There is no clock. A node takes its turn, decides and states, at any moment; a statement that arrives
//! replaces the one that is held; one that is held is forgotten at any moment from which on its sender cannot
//! be heard. So every relation of the nodes' speeds, delays and lifetimes is among the orders of events.

use meantime_core::consensus::Weight;
use meantime_core::roles::allegiance::Allegiance;
use meantime_core::roles::census::Census;
use meantime_core::roles::heard_servers::HeardServers;
use meantime_core::roles::rank::{Rank, ServerSet};
use meantime_core::roles::server_role::{Quorum, RoleChange, ServerRole, Surroundings};
use meantime_core::roles::statement::{MemberStatement, Role, ServerStatement, Service};
use meantime_core::roles::term::Term;

pub(crate) const SERVERS: usize = 3;
pub(crate) const CLIENTS: usize = 3;

/// A node, by its place in its list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Node {
    Server(usize),
    Client(usize),
}

/// Whether a node's process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Life {
    Running,
    /// For longer than a lifetime; it keeps what it knows.
    Stopped,
    Crashed,
}

/// What a node states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Statement {
    Server(ServerStatement),
    Member(MemberStatement),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ServerNode {
    pub(crate) role: ServerRole,
    pub(crate) life: Life,
    /// On which side of a network that is cut in two.
    pub(crate) side: bool,
    pub(crate) hears: [Option<ServerStatement>; SERVERS],
    /// The servers, a bit each, from which nothing arrives here.
    pub(crate) deaf: u8,
    /// Whether it has noticed that another server's time is wrong.
    pub(crate) distrusts: bool,
    /// A statement to this server that is under way, and its sender.
    pub(crate) late: Option<(u8, ServerStatement)>,
}

/// What belongs to a client is here, so that clients can be exchanged for one another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ClientNode {
    pub(crate) allegiance: Allegiance,
    pub(crate) life: Life,
    pub(crate) side: bool,
    pub(crate) hears: [Option<ServerStatement>; SERVERS],
    /// What each server holds of this client.
    pub(crate) heard_by: [Option<MemberStatement>; SERVERS],
    /// The servers, a bit each, from which nothing arrives here, and at which nothing arrives from here.
    pub(crate) deaf: u8,
    pub(crate) mute: u8,
    /// Whether it has noticed that a server's time is wrong.
    pub(crate) distrusts: bool,
    /// Statements that are under way from and to a server.
    pub(crate) late_from: Option<(u8, ServerStatement)>,
    pub(crate) late_to: Option<(u8, MemberStatement)>,
}

/// What must never happen, and has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Violation {
    /// The term of a client or a server has decreased.
    TermDecreased,
    /// A server took over without the word of more than half of the members that it heard.
    TookOverUnasked,
    /// A client has left an honest active server, which the third server named, for the liar.
    LeftForLiar,
    /// An honest active server has yielded to the liar, which no honest node followed.
    YieldedToLiar,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct World {
    pub(crate) servers: [ServerNode; SERVERS],
    pub(crate) clients: [ClientNode; CLIENTS],
    /// How many faults may still happen.
    pub(crate) faults: u8,
    pub(crate) violation: Option<Violation>,
    /// The server that lies; what it would honestly do is not modelled.
    pub(crate) liar: Option<u8>,
    /// The server whose time is wrong.
    pub(crate) wrong: Option<u8>,
}

impl Node {
    pub(crate) fn all() -> impl DoubleEndedIterator<Item = Node> {
        (0..SERVERS).map(Node::Server).chain((0..CLIENTS).map(Node::Client))
    }
}

impl ServerNode {
    fn new(place: usize) -> ServerNode {
        ServerNode {
            role: ServerRole::new(rank(place), SERVERS as u8, Quorum::Any),
            life: Life::Running,
            side: false,
            hears: [None; SERVERS],
            deaf: 0,
            distrusts: false,
            late: None,
        }
    }
}

impl ClientNode {
    fn new() -> ClientNode {
        ClientNode {
            allegiance: Allegiance::default(),
            life: Life::Running,
            side: false,
            hears: [None; SERVERS],
            heard_by: [None; SERVERS],
            deaf: 0,
            mute: 0,
            distrusts: false,
            late_from: None,
            late_to: None,
        }
    }
}

impl World {
    /// All nodes begin now, and know nothing.
    pub(crate) fn new(faults: u8, liar: Option<u8>) -> World {
        World {
            servers: [0, 1, 2].map(ServerNode::new),
            clients: [0, 1, 2].map(|_| ClientNode::new()),
            faults,
            violation: None,
            liar,
            wrong: None,
        }
    }

    pub(crate) fn is_liar(&self, node: Node) -> bool {
        matches!((node, self.liar), (Node::Server(place), Some(liar)) if place == usize::from(liar))
    }

    /// The servers that a node distrusts.
    pub(crate) fn distrusted(&self, node: Node) -> ServerSet {
        let distrusts = match node {
            Node::Server(place) => self.servers[place].distrusts,
            Node::Client(place) => self.clients[place].distrusts,
        };
        self.wrong.filter(|_| distrusts).map(|place| rank(place.into())).into_iter().collect()
    }

    /// A node notices that a server's time is wrong. That server does not notice it itself.
    pub(crate) fn notice(&mut self, node: Node) {
        match node {
            Node::Server(place) => self.servers[place].distrusts = self.wrong != Some(place as u8),
            Node::Client(place) => self.clients[place].distrusts = true,
        }
    }

    pub(crate) fn life(&self, node: Node) -> Life {
        match node {
            Node::Server(place) => self.servers[place].life,
            Node::Client(place) => self.clients[place].life,
        }
    }

    /// Whether all nodes run, and all links work.
    pub(crate) fn is_whole(&self) -> bool {
        let servers = self.servers.iter().map(|server| (server.life, server.side, server.deaf, 0));
        let clients = self.clients.iter().map(|client| (client.life, client.side, client.deaf, client.mute));
        servers.chain(clients).all(|node| node == (Life::Running, false, 0, 0))
    }

    /// Whether a statement is under way to a server, or to or from a client.
    pub(crate) fn has_late(&self, node: Node) -> bool {
        match node {
            Node::Server(place) => self.servers[place].late.is_some(),
            Node::Client(place) => {
                self.clients[place].late_from.is_some() || self.clients[place].late_to.is_some()
            }
        }
    }

    /// Whether what one node sends now reaches the other one. What the liar hears does not matter.
    pub(crate) fn arrives(&self, from: Node, to: Node) -> bool {
        let linked = match (from, to) {
            (Node::Server(from), Node::Server(to)) => {
                let (from_side, to) = (self.servers[from].side, &self.servers[to]);
                from_side == to.side && to.deaf & (1 << from) == 0
            }
            (Node::Server(from), Node::Client(to)) => {
                let (from_side, to) = (self.servers[from].side, &self.clients[to]);
                from_side == to.side && to.deaf & (1 << from) == 0
            }
            (Node::Client(from), Node::Server(to)) => {
                let (from, to_side) = (&self.clients[from], self.servers[to].side);
                from.side == to_side && from.mute & (1 << to) == 0
            }
            (Node::Client(_), Node::Client(_)) => false,
        };
        linked && from != to && self.life(to) == Life::Running && !self.is_liar(to)
    }

    /// A node takes its turn: it decides, and returns what it states then.
    pub(crate) fn decide(&mut self, node: Node) -> Statement {
        match node {
            Node::Server(place) => Statement::Server(self.decide_as_server(place)),
            Node::Client(place) => Statement::Member(self.decide_as_client(place)),
        }
    }

    /// A statement comes to a node. One of the same sender that is still under way is dropped when it comes,
    /// since it is older.
    pub(crate) fn deliver(&mut self, from: Node, to: Node, statement: Statement) {
        match (from, to, statement) {
            (Node::Server(from), Node::Server(to), Statement::Server(statement)) => {
                let to = &mut self.servers[to];
                to.hears[from] = Some(statement);
                to.late.take_if(|(sender, _)| usize::from(*sender) == from);
            }
            (Node::Server(from), Node::Client(to), Statement::Server(statement)) => {
                let to = &mut self.clients[to];
                to.hears[from] = Some(statement);
                to.late_from.take_if(|(sender, _)| usize::from(*sender) == from);
            }
            (Node::Client(from), Node::Server(to), Statement::Member(statement)) => {
                let from = &mut self.clients[from];
                from.heard_by[to] = Some(statement);
                from.late_to.take_if(|(recipient, _)| usize::from(*recipient) == to);
            }
            _ => unreachable!("{from:?} has nothing to state to {to:?}"),
        }
    }

    /// A node forgets the statements of all nodes that it cannot hear.
    pub(crate) fn lapse(&mut self, node: Node) {
        let gone =
            |world: &World, from: Node| world.life(from) != Life::Running || !world.arrives(from, node);
        for place in 0..SERVERS {
            if gone(self, Node::Server(place)) {
                match node {
                    Node::Server(to) => self.servers[to].hears[place] = None,
                    Node::Client(to) => self.clients[to].hears[place] = None,
                }
            }
        }
        if let Node::Server(to) = node {
            for place in 0..CLIENTS {
                if gone(self, Node::Client(place)) {
                    self.clients[place].heard_by[to] = None;
                }
            }
        }
    }

    /// A node forgets all statements.
    pub(crate) fn forget(&mut self, node: Node) {
        match node {
            Node::Server(place) => {
                self.servers[place].hears = [None; SERVERS];
                self.servers[place].late = None;
                for client in &mut self.clients {
                    client.heard_by[place] = None;
                    client.late_to.take_if(|(to, _)| usize::from(*to) == place);
                }
            }
            Node::Client(place) => {
                self.clients[place].hears = [None; SERVERS];
                self.clients[place].late_from = None;
            }
        }
    }

    /// A node's process ends. What others hold of it stays.
    pub(crate) fn crash(&mut self, node: Node) {
        self.forget(node);
        match node {
            Node::Server(place) => {
                let (side, deaf) = (self.servers[place].side, self.servers[place].deaf);
                self.servers[place] =
                    ServerNode { life: Life::Crashed, side, deaf, ..ServerNode::new(place) };
            }
            Node::Client(place) => {
                let client = &mut self.clients[place];
                client.life = Life::Crashed;
                client.allegiance = Allegiance::default();
                client.distrusts = false;
            }
        }
    }

    /// Names the clients in an order that does not depend on what happened to which: they are all alike.
    pub(crate) fn sort_clients(&mut self) {
        self.clients.sort_unstable();
    }

    pub(crate) fn resign(&mut self, place: usize) {
        let (servers, clients) = self.heard_by_server(place);
        let around = surroundings(&servers, &clients, self.distrusted(Node::Server(place)));
        self.servers[place].role.resign(&around, None);
    }

    fn decide_as_server(&mut self, place: usize) -> ServerStatement {
        let (servers, clients) = self.heard_by_server(place);
        let around = surroundings(&servers, &clients, self.distrusted(Node::Server(place)));
        let role = &mut self.servers[place].role;
        let before = role.term();
        let own = role.statement(&servers, around.distrusted).as_member();
        let change = role.handle_round(&around);
        let (statement, after) = (role.statement(&servers, around.distrusted), role.term());
        if after < before {
            self.violation = Some(Violation::TermDecreased);
        }
        match change {
            Some(RoleChange::TookOver(_)) if !self.is_asked(place, own) => {
                self.violation = Some(Violation::TookOverUnasked);
            }
            Some(RoleChange::Yielded(to)) if self.yields_to_liar(place, before, to) => {
                self.violation = Some(Violation::YieldedToLiar);
            }
            _ => (),
        }
        statement
    }

    fn decide_as_client(&mut self, place: usize) -> MemberStatement {
        let distrusted = self.distrusted(Node::Client(place));
        let client = &mut self.clients[place];
        let heard = heard_servers(&client.hears);
        let before = client.allegiance.term();
        client.allegiance.choose(&heard, distrusted);
        let after = client.allegiance.term();
        let statement = client.allegiance.statement(&heard, distrusted);
        if after < before {
            self.violation = Some(Violation::TermDecreased);
        }
        if self.leaves_for_liar(place, before, after) {
            self.violation = Some(Violation::LeftForLiar);
        }
        statement
    }

    /// Whether more than half of the members that this server hears, itself among them, have stated that they
    /// have lost their server.
    fn is_asked(&self, place: usize, own: MemberStatement) -> bool {
        let servers = self.servers[place].hears.iter().flatten().map(ServerStatement::as_member);
        let clients = self.clients.iter().filter_map(|client| client.heard_by[place]);
        let all: Vec<MemberStatement> = servers.chain(clients).chain([own]).collect();
        2 * all.iter().filter(|member| member.service != Service::Served).count() > all.len()
    }

    /// Whether a client leaves an honest server, which it hears as active and the third server names, for the
    /// liar.
    fn leaves_for_liar(&self, place: usize, before: Term, after: Term) -> bool {
        let (Some(liar), Some(old), Some(new)) = (self.liar, before.rank(), after.rank()) else {
            return false;
        };
        if new.place() != liar || old.place() == liar {
            return false;
        }
        let hears = &self.clients[place].hears;
        let third = (0..SERVERS as u8).find(|each| *each != liar && *each != old.place());
        let claimed = hears[usize::from(old.place())].and_then(|stated| stated.claim(old));
        let named = third.and_then(|third| hears[usize::from(third)]).map(|stated| stated.term);
        claimed.is_some_and(|claimed| claimed >= before && named == Some(claimed))
    }

    /// Whether an active server that serves another member yields to the liar, which no honest node follows.
    fn yields_to_liar(&self, place: usize, before: Term, to: Term) -> bool {
        let follows_liar = |term: Term| term.rank().is_some_and(|rank| Some(rank.place()) == self.liar);
        let serves = |member: MemberStatement| {
            member.follows.rank() == before.rank() && member.service == Service::Served
        };
        let honest = |(from, _): &(usize, _)| !self.is_liar(Node::Server(*from));
        let heard =
            self.servers[place].hears.iter().enumerate().filter(honest).filter_map(|(_, stated)| *stated);
        let clients = self.clients.iter().filter_map(|client| client.heard_by[place]);
        let mut members = heard.map(|stated: ServerStatement| stated.as_member()).chain(clients);
        follows_liar(to) && members.clone().any(serves) && !members.any(|member| follows_liar(member.follows))
    }

    fn heard_by_server(&self, place: usize) -> (HeardServers, Census) {
        let clients = self.clients.iter().filter_map(|client| client.heard_by[place]).collect();
        (heard_servers(&self.servers[place].hears), clients)
    }

    /// The servers that are active, but for the liar, with their terms.
    pub(crate) fn active_servers(&self) -> impl Iterator<Item = Term> {
        let honest = move |(place, _): &(usize, &ServerNode)| !self.is_liar(Node::Server(*place));
        let is_active =
            |server: &&ServerNode| server.life == Life::Running && server.role.role() == Role::Active;
        self.servers
            .iter()
            .enumerate()
            .filter(honest)
            .map(|(_, server)| server)
            .filter(is_active)
            .map(|server| server.role.term())
    }
}

fn surroundings<'a>(
    servers: &'a HeardServers,
    clients: &'a Census,
    distrusted: ServerSet,
) -> Surroundings<'a> {
    let (known_members, own_weight) = (Weight::ZERO, Weight::ONE);
    let (has_time, with_time) = (true, ServerSet::ALL);
    Surroundings { servers, clients, distrusted, known_members, own_weight, has_time, with_time }
}

pub(crate) fn heard_servers(hears: &[Option<ServerStatement>; SERVERS]) -> HeardServers {
    let mut heard = HeardServers::default();
    for (place, statement) in hears.iter().enumerate() {
        if let Some(statement) = statement {
            heard.note(rank(place), *statement);
        }
    }
    heard
}

pub(crate) fn rank(place: usize) -> Rank {
    Rank::new(place as u8).expect("three servers")
}
