//! The options of a server of several.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::Failure;
use super::key_file::check_count;
use super::servers::own_place;
use crate::udp::{Resolver, ServerList, own_addresses};
use meantime_core::config::ServerPlace;
use meantime_core::roles::rank::{MAX_SERVERS, Rank};
use meantime_core::roles::server_role::Quorum;

/// The options of a server of several.
#[derive(Debug, clap::Args)]
pub(super) struct ReplicaArgs {
    /// Be one of several servers: all of them, this one included, by their names or addresses, with their
    /// ports unless that is 5525. The list is the same on all servers and clients. One of them is active, and
    /// the others stand by to take over
    #[arg(long, value_name = "SERVER[:PORT],…")]
    pub(super) servers: Option<ServerList>,
    /// With --servers: which of the list this server is, from 1 [default: the one with an address of this
    /// machine and the port of --listen]
    #[arg(long, value_name = "N", requires = "servers", value_parser = clap::value_parser!(u8).range(1..=i64::from(MAX_SERVERS)))]
    rank: Option<u8>,
    /// With --servers: how many of the members that it knew a server must hear to be active
    #[arg(long, value_name = "QUORUM", default_value = "any", requires = "servers")]
    quorum: QuorumChoice,
    /// With --servers: authenticate to the other servers with the keys in this file. May be given once for
    /// each of them in the order of the list [default: a key that is derived from --key-file, which all
    /// servers share]
    #[arg(long, value_name = "FILE", requires_all = ["servers", "key_file"])]
    pub(super) peer_key_file: Vec<PathBuf>,
}

/// How many of the members that it knew a server must hear to be active.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum QuorumChoice {
    /// Any number: each part of a network that was cut in two goes on under an active server of its own
    Any,
    /// More than half: the smaller part of such a network is in holdover
    Majority,
}

impl ReplicaArgs {
    /// Checks that the options fit together.
    ///
    /// # Errors
    /// When they do not.
    pub(super) fn check(&self) -> Result<(), Failure> {
        let Some(servers) = &self.servers else { return Ok(()) };
        let count = servers.count();
        if count < 2 {
            return Err(Failure::Usage(
                "--servers names all of several servers, this one included; a server that is alone needs no list"
                    .into(),
            ));
        }
        match self.rank {
            Some(rank) if rank > count => {
                Err(Failure::Usage(format!("--rank {rank}: the list of --servers has {count} servers")))
            }
            _ => check_count("--peer-key-file", &self.peer_key_file, count - 1),
        }
    }

    /// The place of the server that listens at `listen`.
    ///
    /// # Errors
    /// When the options do not say which of the list it is.
    pub(super) fn place(
        &self,
        servers: &ServerList,
        resolver: &Resolver,
        listen: SocketAddr,
    ) -> Result<ServerPlace, Failure> {
        let rank = match self.rank.and_then(|rank| Rank::new(rank - 1)) {
            Some(rank) => rank,
            None => own_place(servers, resolver, listen, &own_addresses())?,
        };
        let quorum = match self.quorum {
            QuorumChoice::Any => Quorum::Any,
            QuorumChoice::Majority => Quorum::Majority,
        };
        Ok(ServerPlace { rank, servers: servers.count(), quorum })
    }
}
