//! The members' offsets in the last rounds.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;

use crate::control::protocol::{ClientRow, StatusResponse};

/// The offsets of every member in the last rounds; `None`: it was not heard.
#[derive(Debug, Default)]
pub(super) struct OffsetHistory {
    rounds: HashMap<MemberKey, VecDeque<Option<i64>>>,
    /// The number of the newest round.
    newest: Option<u32>,
}

/// A member's name and address.
type MemberKey = (String, SocketAddr);

impl OffsetHistory {
    /// Adds the last round of a server, unless it was added before.
    pub(super) fn add(&mut self, response: &StatusResponse) {
        let round = response.server().and_then(|server| server.last_round.as_ref());
        let round = round.map(|round| round.summary.round);
        if round.is_none() || round == self.newest {
            return;
        }
        self.newest = round;
        let offset = |member: &ClientRow| member.offset_ns.filter(|_| member.heard_rounds.newest());
        let members: HashMap<MemberKey, Option<i64>> =
            response.clients.iter().map(|member| (key(member), offset(member))).collect();
        self.rounds.retain(|member, _| members.contains_key(member));
        for (member, offset) in members {
            let rounds = self.rounds.entry(member).or_default();
            rounds.push_back(offset);
            if rounds.len() > LENGTH {
                rounds.pop_front();
            }
        }
    }

    /// The member's last rounds as bars, the newest last, at most `width` of them.
    pub(super) fn bars(&self, member: &ClientRow, width: usize) -> String {
        let (low, high) = self.range(width);
        let Some(rounds) = self.rounds.get(&key(member)) else { return String::new() };
        let shown = rounds.iter().skip(rounds.len().saturating_sub(width));
        shown.map(|offset| offset.map_or('·', |offset| bar(offset, low, high))).collect()
    }

    /// Logarithms of the smallest and the largest offset that is shown of any member; at least a decade.
    fn range(&self, width: usize) -> (f64, f64) {
        let shown = self.rounds.values().flat_map(|rounds| rounds.iter().rev().take(width));
        let sizes = shown.flatten().map(|offset| size(*offset));
        let (low, high) =
            sizes.fold((f64::INFINITY, 0.0_f64), |(low, high), size| (low.min(size), high.max(size)));
        (low.min(high - 1.0), high)
    }
}

fn key(member: &ClientRow) -> MemberKey {
    (member.name.clone(), member.address)
}

fn size(offset: i64) -> f64 {
    (offset.unsigned_abs().max(1) as f64).log10()
}

fn bar(offset: i64, low: f64, high: f64) -> char {
    let most = BARS.len() - 1;
    let level = (size(offset) - low) / (high - low) * most as f64;
    BARS[(level.round().max(0.0) as usize).min(most)]
}

const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// More rounds than the column is wide.
const LENGTH: usize = 120;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::protocol::{HeardRounds, NodeStatus, examples};

    fn response(round: u32, clients: Vec<ClientRow>) -> StatusResponse {
        let (mut server, mut last) = (examples::server_status(), examples::round());
        last.summary.round = round;
        server.last_round = Some(last);
        let mut status = examples::server();
        status.node = NodeStatus::Server(Box::new(server));
        StatusResponse { status, clients }
    }

    fn measured(round: u32, offset_ns: i64, heard: u8) -> StatusResponse {
        let client = ClientRow {
            offset_ns: Some(offset_ns),
            heard_rounds: HeardRounds(heard),
            ..examples::row("a", 1)
        };
        response(round, vec![client])
    }

    #[test]
    fn each_round_is_a_bar_and_a_dot_where_the_member_was_not_heard() {
        let mut history = OffsetHistory::default();
        let last = measured(4, -10, 0b1011);
        for status in
            [measured(1, 100_000, 0b1), measured(2, 1_000, 0b11), measured(3, 1_000, 0b110), last.clone()]
        {
            history.add(&status);
            history.add(&status);
        }
        assert_eq!(history.bars(&last.clients[0], 10), "█▅·▁");
        assert_eq!(history.bars(&last.clients[0], 2), "·█");
    }

    #[test]
    fn a_member_that_has_left_is_forgotten() {
        let mut history = OffsetHistory::default();
        history.add(&measured(1, 1, 1));
        history.add(&response(2, vec![]));
        assert!(history.rounds.is_empty());
    }
}
