//! Whether a cluster finally agrees: once all faults are over, one server becomes active, and all others
//! follow it.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Mutex;

use meantime_core::roles::statement::Service;

use super::world::{Life, Node, ServerNode, Statement, World, heard_servers};

/// In which order nodes take their turns, once each in a round.
#[derive(Clone, Copy, Debug, Hash)]
enum Schedule {
    /// The servers by rank, then the clients.
    ServersFirst,
    /// The clients, then the servers, the last in rank first.
    ClientsFirst,
    /// All at the same time: no node has heard what another one states in the same round.
    Together,
}

/// Remembers the worlds that are known to agree finally.
#[derive(Debug, Default)]
pub(crate) struct Peace(Mutex<HashSet<u64>>);

impl Peace {
    /// What becomes of a cluster without faults.
    pub(crate) fn of(world: &World) -> World {
        let mut world = without_faults(world);
        (0..MAX_ROUNDS).for_each(|_| round(&mut world, Schedule::ServersFirst));
        world
    }

    /// Whether the cluster finally agrees if no fault happens any more.
    pub(crate) fn comes(&self, world: &World) -> bool {
        let world = without_faults(world);
        let members = Node::all().filter(|node| world.life(*node) == Life::Running).count();
        let mut servers = world.servers.iter().zip(0u8..);
        let has_server =
            servers.any(|(server, place)| server.life == Life::Running && world.wrong != Some(place));
        members < 2 || !has_server || SCHEDULES.iter().all(|schedule| self.agrees(world.clone(), *schedule))
    }

    fn agrees(&self, mut world: World, schedule: Schedule) -> bool {
        let mut passed = Vec::new();
        for _ in 0..MAX_ROUNDS {
            let mut hasher = DefaultHasher::new();
            (schedule, &world).hash(&mut hasher);
            passed.push(hasher.finish());
            let known = self.0.lock().expect("no thread has panicked").contains(&hasher.finish());
            let before = world.clone();
            if !known {
                round(&mut world, schedule);
            }
            if known || world == before {
                let agreed = known || is_agreed(&world);
                if agreed {
                    self.0.lock().expect("no thread has panicked").extend(passed);
                }
                return agreed;
            }
        }
        false
    }
}

/// The network is whole, stopped nodes go on, and nodes that have crashed stay away, as does a liar. All
/// others notice which server's time is wrong.
fn without_faults(world: &World) -> World {
    let mut world = World { faults: 0, violation: None, ..world.clone() };
    if let Some(liar) = world.liar.take() {
        world.crash(Node::Server(usize::from(liar)));
    }
    for server in &mut world.servers {
        let stopped = server.life == Life::Stopped;
        *server = ServerNode { side: false, deaf: 0, late: None, ..server.clone() };
        if stopped {
            server.life = Life::Running;
            server.role.handle_stall();
        }
    }
    for client in &mut world.clients {
        (client.side, client.deaf, client.mute) = (false, 0, 0);
        (client.late_from, client.late_to) = (None, None);
        if client.life == Life::Stopped {
            client.life = Life::Running;
        }
    }
    for node in Node::all() {
        world.lapse(node);
        if world.wrong.is_some() {
            world.notice(node);
        }
    }
    world.sort_clients();
    world
}

/// Each node takes its turn once, and is heard by all others.
fn round(world: &mut World, schedule: Schedule) {
    let nodes: Vec<Node> = match schedule {
        Schedule::ClientsFirst => Node::all().rev().collect(),
        Schedule::ServersFirst | Schedule::Together => Node::all().collect(),
    };
    let running: Vec<Node> = nodes.into_iter().filter(|node| world.life(*node) == Life::Running).collect();
    if let Schedule::Together = schedule {
        let stated: Vec<(Node, Statement)> =
            running.into_iter().map(|node| (node, world.decide(node))).collect();
        for (node, statement) in stated {
            send(world, node, statement);
        }
    } else {
        for node in running {
            let statement = world.decide(node);
            send(world, node, statement);
        }
    }
}

fn send(world: &mut World, from: Node, statement: Statement) {
    for to in Node::all() {
        if world.arrives(from, to) {
            world.deliver(from, to, statement);
        }
    }
}

/// Whether exactly one server is active, and serves all other nodes that run.
fn is_agreed(world: &World) -> bool {
    let active: Vec<_> = world.active_servers().collect();
    let [term] = active[..] else { return false };
    let mut running = Node::all().filter(|node| world.life(*node) == Life::Running);
    running.all(|node| {
        let distrusted = world.distrusted(node);
        let (follows, service) = match node {
            Node::Server(place) => {
                let server = &world.servers[place];
                let stated = server.role.statement(&heard_servers(&server.hears), distrusted);
                (stated.term, stated.service)
            }
            Node::Client(place) => {
                let client = &world.clients[place];
                let stated = client.allegiance.statement(&heard_servers(&client.hears), distrusted);
                (stated.follows, stated.service)
            }
        };
        follows == term && service == Service::Served
    })
}

const SCHEDULES: [Schedule; 3] = [Schedule::ServersFirst, Schedule::ClientsFirst, Schedule::Together];

/// How many rounds without faults a cluster may need: the wait of the last in rank, a handover that is under
/// way, and some for two active servers that meet.
const MAX_ROUNDS: usize = 16;
