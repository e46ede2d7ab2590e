//! Who takes over when an operator asks the active server to resign, and why it cannot be.

use super::protocol::{ListedServerStatus, ReplicaStatus};
use crate::report::RoleWord;
use crate::udp::ServerName;
use meantime_core::roles::rank::Rank;

/// Why no server takes over.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TakeoverError {
    /// The server is the only one.
    #[error("this server is the only one: there is no other one that could take over (--servers)")]
    Alone,
    /// The server is not the active one.
    #[error("this is a standby server, and {0} is active: ask there")]
    Standby(String),
    /// The server is not the active one, and knows of none.
    #[error("this is a standby server, and it hears no active one")]
    NoActive,
    /// No standby server follows it.
    #[error("no standby server follows this one, so none could take over")]
    NoStandby,
    /// The name, address or place is that of no server of the list.
    #[error("no server of the list is {0}; `meantime status` shows them")]
    Unknown(String),
    /// The server itself is wanted.
    #[error("server {0} is this one, and it is active")]
    Itself(u8),
    /// It hands over already.
    #[error("{0} is taking over already; `meantime status` shows when it has")]
    UnderWay(String),
    /// No server that could take over has the cluster's time.
    #[error("{0} does not have the cluster's time yet, so it cannot take over; try again in a minute")]
    NoTime(String),
    /// The wanted server cannot take over.
    #[error("{0} does not follow this server as a standby server now, so it cannot take over")]
    NotFollowing(String),
}

/// The server that is to take over, by its place in the list, name or address; `None`: the best standby
/// server.
///
/// # Errors
/// When the server that is asked is not active, or the wanted one cannot take over.
pub(super) fn wanted(replica: &ReplicaStatus, typed: Option<&str>) -> Result<Option<Rank>, TakeoverError> {
    if !replica.is_active() {
        let is_active = |other: &&ListedServerStatus| other.role == Some(RoleWord::Active);
        let active = replica.followed().or_else(|| replica.others.iter().find(is_active));
        return Err(active.map_or(TakeoverError::NoActive, |active| TakeoverError::Standby(active.title())));
    }
    if let Some(successor) = replica.successor {
        let named = replica.others.iter().find(|other| other.rank == successor);
        let title = named.map_or_else(|| format!("server {successor}"), ListedServerStatus::title);
        return Err(TakeoverError::UnderWay(title));
    }
    let Some(typed) = typed else {
        let mut followers = replica.others.iter().filter(|other| replica.is_followed_by(other));
        let first = followers.clone().next().ok_or(TakeoverError::NoStandby)?;
        return match followers.any(has_time) {
            true => Ok(None),
            false => Err(TakeoverError::NoTime(first.title())),
        };
    };
    if means(typed, replica.rank, &replica.name, None) {
        return Err(TakeoverError::Itself(replica.rank));
    }
    let address = |other: &ListedServerStatus| other.address.map(|address| address.to_string());
    let is_meant =
        |other: &&ListedServerStatus| means(typed, other.rank, &other.name, address(other).as_deref());
    let other = replica.others.iter().find(is_meant);
    let other = other.ok_or_else(|| TakeoverError::Unknown(typed.to_owned()))?;
    match replica.is_followed_by(other) {
        true if has_time(other) => Ok(other.rank.checked_sub(1).and_then(Rank::new)),
        true => Err(TakeoverError::NoTime(other.title())),
        false => Err(TakeoverError::NotFollowing(other.title())),
    }
}

/// Whether it has the cluster's time: a server that takes over without it has to learn it from its members,
/// and corrects nobody until then.
fn has_time(other: &ListedServerStatus) -> bool {
    other.bound_ns.is_some()
}

/// Whether what was typed is this place, name or address.
fn means(typed: &str, place: u8, name: &str, address: Option<&str>) -> bool {
    let Ok(typed_name) = typed.parse::<ServerName>() else { return false };
    let is_name = |other: &str| other.parse().is_ok_and(|other| typed_name.is_same_as(&other));
    typed.parse() == Ok(place) || is_name(name) || address.is_some_and(is_name)
}

#[cfg(test)]
mod tests {
    use super::super::protocol::examples;
    use super::*;
    use crate::report::ServiceWord;

    fn rank(place: u8) -> Option<Rank> {
        Rank::new(place - 1)
    }

    #[test]
    fn the_successor_is_named_by_its_place_its_name_or_its_address() {
        let active = examples::active_replica();
        assert_eq!(wanted(&active, None), Ok(None));
        for typed in ["2", "b.lan", "B.lan:5525", "192.0.2.2", "192.0.2.2:5525"] {
            assert_eq!(wanted(&active, Some(typed)), Ok(rank(2)), "{typed}");
        }
        for typed in ["0", "4", "d.lan", "b.lan:7", "192.0.2.9", ""] {
            assert_eq!(wanted(&active, Some(typed)), Err(TakeoverError::Unknown(typed.to_owned())));
        }
        for typed in ["1", "a.lan"] {
            assert_eq!(wanted(&active, Some(typed)), Err(TakeoverError::Itself(1)));
        }
    }

    #[test]
    fn a_server_that_cannot_take_over_is_refused() {
        let mut active = examples::active_replica();
        active.others[0].service = Some(ServiceWord::Lost);
        let refused = Err(TakeoverError::NotFollowing("server 2 (b.lan:5525)".into()));
        assert_eq!(wanted(&active, Some("2")), refused);
        assert_eq!(wanted(&active, None), Ok(None), "the third can");
        active.others[1].distrusted = true;
        assert_eq!(wanted(&active, None), Err(TakeoverError::NoStandby));
    }

    #[test]
    fn a_server_that_does_not_have_the_time_yet_is_refused() {
        let mut active = examples::active_replica();
        active.others[0].bound_ns = None;
        let refused = Err(TakeoverError::NoTime("server 2 (b.lan:5525)".into()));
        assert_eq!(wanted(&active, Some("2")), refused);
        assert_eq!(wanted(&active, None), Ok(None), "the third has it");
        active.others[1].bound_ns = None;
        assert_eq!(wanted(&active, None), refused);
    }

    #[test]
    fn a_second_takeover_waits_for_the_first() {
        let mut active = examples::active_replica();
        active.successor = Some(3);
        for typed in [None, Some("2"), Some("3")] {
            let refused = wanted(&active, typed).unwrap_err().to_string();
            assert!(refused.starts_with("server 3 (c.lan:5525) is taking over already"), "{refused}");
        }
    }

    #[test]
    fn a_standby_server_says_who_is_active() {
        let mut standby = examples::standby_replica();
        let refused = wanted(&standby, None).unwrap_err().to_string();
        assert_eq!(refused, "this is a standby server, and server 1 (a.lan:5525) is active: ask there");
        standby.others[0].followed = false;
        assert!(wanted(&standby, Some("3")).unwrap_err().to_string().contains("server 1 (a.lan:5525)"));
        standby.others[0].role = None;
        assert_eq!(wanted(&standby, None), Err(TakeoverError::NoActive));
    }
}
