//! Lineage: which servers are above a relay.

use byteorder::{BigEndian, ByteOrder};

use super::datagram::BodyBytes;
use super::error::DecodeError;
use super::id::NodeId;

/// Server to client: the servers above this relay, from the root of the tree down to the one that it follows.
///
/// A relay that finds itself among the servers above its own server would follow its own time: it refuses
/// that server, as a router refuses a path of BGP that contains itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lineage {
    /// The processes; zero beyond `len`.
    servers: [NodeId; Lineage::MAX],
    len: usize,
}

impl Lineage {
    /// How many servers can be above a relay.
    pub const MAX: usize = 5;

    /// No server: that of a root, and of a relay that follows none yet.
    pub const NONE: Lineage = Lineage { servers: [NodeId(0); Lineage::MAX], len: 0 };

    /// How many servers there are: the level of the relay in the tree.
    pub fn level(&self) -> u8 {
        self.len as u8
    }

    /// The servers, from the root down.
    pub fn servers(&self) -> &[NodeId] {
        &self.servers[..self.len]
    }

    /// The lineage of a node that follows the server `next`, which has this lineage; `None`: that would be
    /// too many levels.
    pub fn below(&self, next: NodeId) -> Option<Lineage> {
        let mut below = *self;
        *below.servers.get_mut(self.len)? = next;
        below.len += 1;
        Some(below)
    }

    pub(super) fn encode(&self, body: &mut BodyBytes) {
        for (bytes, server) in body[field::SERVERS].chunks_exact_mut(8).zip(self.servers) {
            BigEndian::write_u64(bytes, server.0);
        }
        body[field::LEVEL] = self.level();
    }

    pub(super) fn decode(body: &BodyBytes) -> Result<Lineage, DecodeError> {
        let len = usize::from(body[field::LEVEL]);
        if len > Lineage::MAX {
            return Err(DecodeError::Field("level"));
        }
        let mut lineage = Lineage { len, ..Lineage::NONE };
        for (server, bytes) in lineage.servers[..len].iter_mut().zip(body[field::SERVERS].chunks_exact(8)) {
            *server = NodeId(BigEndian::read_u64(bytes));
        }
        match lineage.servers().contains(&NodeId(0)) {
            true => Err(DecodeError::Field("servers")),
            false => Ok(lineage),
        }
    }
}

mod field {
    use core::ops::Range;

    pub(super) const SERVERS: Range<usize> = 0..40;
    pub(super) const LEVEL: usize = 40;
}

#[cfg(test)]
mod tests {
    use super::super::datagram::BODY_LEN;
    use super::*;

    fn lineage(servers: &[u64]) -> Lineage {
        servers.iter().fold(Lineage::NONE, |above, server| above.below(NodeId(*server)).unwrap())
    }

    #[test]
    fn a_lineage_grows_by_a_level_up_to_its_maximum() {
        let deepest = lineage(&[1, 2, 3, 4, 5]);
        assert_eq!((Lineage::NONE.level(), deepest.level()), (0, 5));
        assert_eq!(deepest.servers()[0], NodeId(1));
        assert_eq!(deepest.below(NodeId(6)), None);
    }

    #[test]
    fn a_lineage_with_too_many_levels_or_a_server_without_a_number_is_malformed() {
        let mut body = [0; BODY_LEN];
        lineage(&[7, 8]).encode(&mut body);
        assert_eq!(Lineage::decode(&body), Ok(lineage(&[7, 8])));
        body[field::LEVEL] = 3;
        assert_eq!(Lineage::decode(&body), Err(DecodeError::Field("servers")));
        body[field::LEVEL] = 6;
        assert_eq!(Lineage::decode(&body), Err(DecodeError::Field("level")));
    }
}
