//! Which paths a fault strikes.

use super::MemberIndex;

/// Paths between a member and servers. Of each, *to the client* means to this member, and *to the server*
/// from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paths {
    /// The member.
    pub of: MemberIndex,
    /// The member at the other end; `None`: each one with which there is a path.
    pub with: Option<MemberIndex>,
}

impl Paths {
    /// The path between a member and another one, of which one is a server.
    pub const fn between(with: MemberIndex, of: MemberIndex) -> Paths {
        Paths { of, with: Some(with) }
    }

    /// The members that are named.
    pub fn members(self) -> impl Iterator<Item = MemberIndex> {
        [self.of].into_iter().chain(self.with)
    }
}

/// All paths of a member: with one server, a client has one.
impl From<MemberIndex> for Paths {
    fn from(of: MemberIndex) -> Paths {
        Paths { of, with: None }
    }
}
