//! All that can happen in a small cluster: nodes take turns, and a limited number of faults.

use meantime_core::roles::rank::Rank;
use meantime_core::roles::server_role::ServerRole;
use meantime_core::roles::statement::{Role, ServerStatement, Service};
use meantime_core::roles::term::Term;
use stateright::{Model, Property};

use super::peace::Peace;
use super::world::{CLIENTS, Life, Node, SERVERS, Statement, Violation, World, rank};

/// What can go wrong. Each costs one of the world's faults; that a network or a link is mended, a process
/// restarted, or a stopped one goes on, is free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The network is cut in two.
    Split,
    /// Nothing arrives any more on a link, in one direction.
    Link,
    /// A process ends without a word.
    Crash,
    /// A process is stopped for longer than a lifetime.
    Stop,
    /// A statement arrives late, after its sender has stated something newer to others, or never.
    Late,
    /// An operator wants another server to be active.
    Resign,
    /// A server's time is wrong; the others notice it sooner or later.
    WrongTime,
}

pub(crate) const ALL_FAULTS: [Fault; 7] =
    [Fault::Split, Fault::Link, Fault::Crash, Fault::Stop, Fault::Late, Fault::Resign, Fault::WrongTime];

/// One event.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Action {
    /// A node decides, and its statement arrives at all nodes that hear it.
    Turn(Node),
    /// The same, but the statement to one node is late.
    TurnLate(Node, Node),
    /// What is under way to or from this node arrives.
    Arrive(Node),
    /// A node forgets what those have stated that it cannot hear.
    Lapse(Node),
    /// Nodes whose bits are set are cut off from the others: two bits for servers, then one for each client.
    Split(u8),
    Break(Node, Node),
    Mend,
    Crash(Node),
    Restart(Node),
    Stop(Node),
    /// A stopped node goes on. What came meanwhile is either too old, or it takes the oldest for new.
    GoOn(Node, Memory),
    Resign(usize),
    WrongTime(u8),
    /// A node notices which server's time is wrong.
    Notice(Node),
    /// The liar states this to one node.
    Lie(Node, ServerStatement),
}

/// What a node that was stopped holds of the others.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Memory {
    Nothing,
    Old,
}

/// A cluster of three servers and three clients, and what may happen to it.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) start: World,
    pub(crate) faults: Vec<Fault>,
    /// Worlds with a higher counter are not looked at.
    pub(crate) max_counter: u64,
    pub(crate) peace: Peace,
}

impl Cluster {
    fn faults_of(&self, world: &World, actions: &mut Vec<Action>) {
        let is_running = |node: &Node| world.life(*node) == Life::Running && !world.is_liar(*node);
        let running: Vec<Node> = Node::all().filter(is_running).collect();
        let links = running.iter().flat_map(|from| Node::all().map(move |to| (*from, to)));
        let links: Vec<(Node, Node)> = links.filter(|(from, to)| world.arrives(*from, *to)).collect();
        for fault in &self.faults {
            let (nodes, links) = (running.iter().copied(), links.iter().copied());
            match fault {
                Fault::Split => actions.extend((1..ALL_SIDES).map(Action::Split)),
                Fault::Link => actions.extend(links.map(|(from, to)| Action::Break(from, to))),
                Fault::Crash => actions.extend(nodes.map(Action::Crash)),
                Fault::Stop => actions.extend(nodes.map(Action::Stop)),
                Fault::Late => actions.extend(links.map(|(from, to)| Action::TurnLate(from, to))),
                Fault::Resign => actions.extend((0..SERVERS).map(Action::Resign)),
                Fault::WrongTime if world.wrong.is_some() => (),
                Fault::WrongTime => actions.extend((0..SERVERS as u8).map(Action::WrongTime)),
            }
        }
    }

    /// What the liar may state: a term of its own as active, which others can still exceed, or that it
    /// follows any term that is there.
    fn lies(&self, world: &World, liar: u8) -> Vec<ServerStatement> {
        let own = (1..self.max_counter).filter_map(|counter| Term::new(counter, rank(liar.into())));
        let claims = own.map(|term| (Role::Active, term, Service::Served));
        let mut terms: Vec<Term> = world.servers.iter().map(|server| server.role.term()).collect();
        terms.sort_unstable();
        terms.dedup();
        let follows = terms
            .into_iter()
            .flat_map(|term| [Service::Served, Service::Lost].map(|service| (Role::Standby, term, service)));
        let statement = |(role, term, service)| ServerStatement { role, term, service, successor: None };
        claims.chain(follows).map(statement).collect()
    }

    fn apply(&self, world: &mut World, action: Action) {
        match action {
            Action::Turn(node) => turn(world, node, None),
            Action::TurnLate(node, late) => turn(world, node, Some(late)),
            Action::Arrive(node) => arrive(world, node),
            Action::Lapse(node) => world.lapse(node),
            Action::Split(sides) => split(world, sides),
            Action::Break(from, to) => break_link(world, from, to),
            Action::Mend => mend(world),
            Action::Crash(node) => world.crash(node),
            Action::Restart(node) => set_life(world, node, Life::Running),
            Action::Stop(node) => set_life(world, node, Life::Stopped),
            Action::GoOn(node, memory) => go_on(world, node, memory),
            Action::Resign(place) => world.resign(place),
            Action::WrongTime(place) => world.wrong = Some(place),
            Action::Notice(node) => world.notice(node),
            Action::Lie(node, statement) => lie(world, node, statement),
        }
    }
}

impl Model for Cluster {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![self.start.clone()]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        let is_whole = world.is_whole();
        for node in Node::all().filter(|node| !world.is_liar(*node)) {
            match world.life(node) {
                Life::Running => {
                    actions.push(Action::Turn(node));
                    actions.extend((!is_whole).then_some(Action::Lapse(node)));
                    actions.extend(world.has_late(node).then_some(Action::Arrive(node)));
                    actions.extend(world.wrong.map(|_| Action::Notice(node)));
                }
                Life::Stopped => {
                    actions.extend([Memory::Nothing, Memory::Old].map(|memory| Action::GoOn(node, memory)));
                }
                Life::Crashed => actions.push(Action::Restart(node)),
            }
        }
        actions.extend((!is_whole).then_some(Action::Mend));
        if world.faults > 0 {
            self.faults_of(world, actions);
        }
        if let Some(liar) = world.liar {
            let lies = self.lies(world, liar);
            let others = Node::all().filter(|node| world.arrives(Node::Server(liar.into()), *node));
            actions.extend(others.flat_map(|to| lies.iter().map(move |lie| Action::Lie(to, *lie))));
        }
    }

    fn next_state(&self, before: &World, action: Action) -> Option<World> {
        let mut world = before.clone();
        self.apply(&mut world, action);
        let is_fault = matches!(
            action,
            Action::TurnLate(..)
                | Action::Split(_)
                | Action::Break(..)
                | Action::Crash(_)
                | Action::Stop(_)
                | Action::Resign(_)
                | Action::WrongTime(_)
        );
        world.sort_clients();
        if world == *before {
            return None;
        }
        world.faults -= u8::from(is_fault);
        Some(world)
    }

    fn properties(&self) -> Vec<Property<Cluster>> {
        vec![
            Property::always(ONE_ACTIVE, |_, world: &World| {
                let mut terms: Vec<Term> = world.active_servers().collect();
                let active = terms.len();
                terms.sort_unstable();
                terms.dedup();
                terms.len() == active
            }),
            Property::always(ASCENDING, |_, world: &World| world.violation != Some(Violation::TermDecreased)),
            Property::always(ASKED, |_, world: &World| world.violation != Some(Violation::TookOverUnasked)),
            Property::always(AGREED, |cluster: &Cluster, world: &World| cluster.peace.comes(world)),
            Property::always(NOT_LEFT, |_, world: &World| world.violation != Some(Violation::LeftForLiar)),
            Property::always(NOT_YIELDED, |_, world: &World| {
                world.violation != Some(Violation::YieldedToLiar)
            }),
            Property::sometimes(TWO_ACTIVE, |_, world: &World| world.active_servers().count() > 1),
            Property::sometimes(REPLACED, |_, world: &World| {
                world.active_servers().any(|term| term.rank() != Some(rank(0)))
            }),
            Property::sometimes(MISLED, |_, world: &World| {
                let follows = world.clients.iter().filter_map(|client| client.allegiance.term().rank());
                follows.map(Rank::place).any(|place| Some(place) == world.liar)
            }),
        ]
    }

    fn within_boundary(&self, world: &World) -> bool {
        world.servers.iter().all(|server| counter(&server.role) <= self.max_counter)
    }
}

/// I1.
pub(crate) const ONE_ACTIVE: &str = "no two servers are active in the same term";
/// I2.
pub(crate) const ASCENDING: &str = "no term decreases";
/// I3.
pub(crate) const ASKED: &str = "no server takes over without the word of most members that it hears";
/// I4.
pub(crate) const AGREED: &str = "without faults one server is active finally, and serves all";
/// I5.
pub(crate) const NOT_LEFT: &str = "no client leaves an honest server that the third names for a liar";
/// I6.
pub(crate) const NOT_YIELDED: &str = "no server with members yields to a liar that no honest node follows";
/// What has to happen, so that the check is one of more than a cluster in which nothing happens.
pub(crate) const TWO_ACTIVE: &str = "two servers are active at a time";
pub(crate) const REPLACED: &str = "a server is active that was not the first one";
pub(crate) const MISLED: &str = "a client follows the liar";

/// The side of each node but the first server is a bit.
const ALL_SIDES: u8 = 1 << (SERVERS - 1 + CLIENTS);

fn counter(role: &ServerRole) -> u64 {
    role.term().counter()
}

fn turn(world: &mut World, node: Node, late: Option<Node>) {
    let statement = world.decide(node);
    for to in Node::all().filter(|to| Some(*to) != late) {
        if world.arrives(node, to) {
            world.deliver(node, to, statement);
        }
    }
    match (node, late, statement) {
        (Node::Server(from), Some(Node::Server(to)), Statement::Server(statement)) => {
            world.servers[to].late = Some((from as u8, statement));
        }
        (Node::Server(from), Some(Node::Client(to)), Statement::Server(statement)) => {
            world.clients[to].late_from = Some((from as u8, statement));
        }
        (Node::Client(from), Some(Node::Server(to)), Statement::Member(statement)) => {
            world.clients[from].late_to = Some((to as u8, statement));
        }
        _ => (),
    }
}

/// What is under way to a server, or to and from a client, arrives.
fn arrive(world: &mut World, node: Node) {
    match node {
        Node::Server(to) => {
            if let Some((from, statement)) = world.servers[to].late {
                world.deliver(Node::Server(from.into()), node, Statement::Server(statement));
            }
        }
        Node::Client(place) => {
            if let Some((from, statement)) = world.clients[place].late_from {
                world.deliver(Node::Server(from.into()), node, Statement::Server(statement));
            }
            if let Some((to, statement)) = world.clients[place].late_to {
                world.deliver(node, Node::Server(to.into()), Statement::Member(statement));
            }
        }
    }
}

fn split(world: &mut World, sides: u8) {
    for (bit, server) in world.servers.iter_mut().skip(1).enumerate() {
        server.side = sides & (1 << bit) != 0;
    }
    for (bit, client) in world.clients.iter_mut().enumerate() {
        client.side = sides & (1 << (bit + SERVERS - 1)) != 0;
    }
}

fn break_link(world: &mut World, from: Node, to: Node) {
    match (from, to) {
        (Node::Server(from), Node::Server(to)) => world.servers[to].deaf |= 1 << from,
        (Node::Server(from), Node::Client(to)) => world.clients[to].deaf |= 1 << from,
        (Node::Client(from), Node::Server(to)) => world.clients[from].mute |= 1 << to,
        (Node::Client(_), Node::Client(_)) => (),
    }
}

fn mend(world: &mut World) {
    for server in &mut world.servers {
        (server.side, server.deaf) = (false, 0);
    }
    for client in &mut world.clients {
        (client.side, client.deaf, client.mute) = (false, 0, 0);
    }
}

fn set_life(world: &mut World, node: Node, life: Life) {
    match node {
        Node::Server(place) => world.servers[place].life = life,
        Node::Client(place) => world.clients[place].life = life,
    }
}

fn go_on(world: &mut World, node: Node, memory: Memory) {
    set_life(world, node, Life::Running);
    if memory == Memory::Nothing {
        world.forget(node);
    }
    if let Node::Server(place) = node {
        world.servers[place].role.handle_stall();
    }
}

fn lie(world: &mut World, node: Node, statement: ServerStatement) {
    if let Some(liar) = world.liar {
        world.deliver(Node::Server(liar.into()), node, Statement::Server(statement));
    }
}
