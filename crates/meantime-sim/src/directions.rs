//! The directions of a path between the server and a client.

/// The directions of a path.
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
