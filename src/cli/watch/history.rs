//! How far the clocks were off in the last rounds.

use std::collections::{HashMap, VecDeque};

use serde_json::Value;

/// The last rounds of every member.
#[derive(Debug, Default)]
pub(super) struct History {
    rounds: HashMap<String, VecDeque<Option<i64>>>,
    newest: Option<u64>,
}

impl History {
    /// Takes in what a server has said, if a round has ended since.
    pub(super) fn note(&mut self, status: &Value) {
        let round = status["last_round"]["round"].as_u64();
        if round.is_none() || round == self.newest {
            return;
        }
        self.newest = round;
        let members: HashMap<String, Option<i64>> = status["clients"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|member| {
                let heard = member["heard_rounds"].as_str().is_some_and(|rounds| rounds.ends_with('1'));
                (key(member), member["offset_ns"].as_i64().filter(|_| heard))
            })
            .collect();
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
    pub(super) fn bars(&self, member: &Value, width: usize) -> String {
        let (low, high) = self.range(width);
        let Some(rounds) = self.rounds.get(&key(member)) else { return String::new() };
        let shown = rounds.iter().skip(rounds.len().saturating_sub(width));
        shown.map(|offset| offset.map_or('·', |offset| bar(offset, low, high))).collect()
    }

    /// Logarithms of the least and the largest distance that is shown of anybody; at least a decade.
    fn range(&self, width: usize) -> (f64, f64) {
        let shown = self.rounds.values().flat_map(|rounds| rounds.iter().rev().take(width));
        let sizes = shown.flatten().map(|offset| size(*offset));
        let (low, high) =
            sizes.fold((f64::INFINITY, 0.0_f64), |(low, high), size| (low.min(size), high.max(size)));
        (low.min(high - 1.0), high)
    }
}

fn key(member: &Value) -> String {
    format!("{} {}", member["name"], member["address"])
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
/// Wider than anybody's column.
const LENGTH: usize = 120;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn status(round: u64, offset_ns: i64, heard: &str) -> Value {
        let client = json!({ "name": "a", "address": "x", "offset_ns": offset_ns, "heard_rounds": heard });
        json!({ "last_round": { "round": round }, "clients": [client] })
    }

    #[test]
    fn each_round_is_a_bar_and_a_dot_where_nobody_was_heard() {
        let mut history = History::default();
        let last = status(4, -10, "00001011");
        for status in [
            status(1, 100_000, "00000001"),
            status(2, 1_000, "00000011"),
            status(3, 1_000, "00000110"),
            last.clone(),
        ] {
            history.note(&status);
            history.note(&status);
        }
        assert_eq!(history.bars(&last["clients"][0], 10), "█▅·▁");
        assert_eq!(history.bars(&last["clients"][0], 2), "·█");
    }

    #[test]
    fn who_has_left_is_forgotten() {
        let mut history = History::default();
        history.note(&status(1, 1, "1"));
        history.note(&json!({ "last_round": { "round": 2 }, "clients": [] }));
        assert!(history.rounds.is_empty());
    }
}
