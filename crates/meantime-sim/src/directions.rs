//! The directions of a path between a server and another member.

/// The directions of a path. Of two servers, the one with the better rank counts as the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Directions {
    /// From the server to the client.
    ToClient,
    /// From the client to the server.
    ToServer,
    /// Both directions.
    Both,
}

impl Directions {
    /// Whether the direction to the client is one of them.
    pub fn to_client(self) -> bool {
        self != Directions::ToServer
    }

    /// Whether the direction to the server is one of them.
    pub fn to_server(self) -> bool {
        self != Directions::ToClient
    }
}
