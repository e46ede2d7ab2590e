//! What was found in the last rounds: the lines of the page's plots.

use std::collections::{BTreeSet, VecDeque};

use serde_json::{Value, json};

use super::roster::{Id, Roster};

/// The last rounds, and of some members how they did.
#[derive(Debug, Default)]
pub(super) struct History {
    samples: VecDeque<Sample>,
    /// The number of the newest sample.
    newest: u64,
    /// The members whose lines are kept.
    kept: BTreeSet<Id>,
}

/// What a round has found.
#[derive(Debug)]
struct Sample {
    number: u64,
    /// Of the whole: fields that [`History::since`] names.
    round: Value,
    /// Of each member: the columns of [`COLUMNS`].
    members: Vec<Value>,
}

impl History {
    /// Adds a round, unless it was added already. `status` is a node's answer.
    pub(super) fn add(&mut self, status: &Value, roster: &Roster) {
        let (round, members) = match status["role"].as_str() {
            Some("server") => (self.round(status), self.members(roster)),
            _ => (correction(status), vec![own(status)]),
        };
        let same = |last: &Sample| ["round", "cluster"].iter().all(|field| last.round[field] == round[field]);
        if round["round"].is_null() || self.samples.back().is_some_and(same) {
            return;
        }
        self.newest += 1;
        self.samples.push_back(Sample { number: self.newest, round, members });
        if self.samples.len() > LENGTH {
            self.samples.pop_front();
        }
    }

    /// The rounds after this number, oldest first.
    pub(super) fn since(&self, number: u64) -> Value {
        let samples = self.samples.iter().filter(|sample| sample.number > number).map(|sample| {
            let mut fields = sample.round.clone();
            fields["number"] = sample.number.into();
            fields["clocks"] = sample.members.clone().into();
            fields
        });
        json!({ "newest": self.newest, "columns": COLUMNS, "samples": samples.collect::<Vec<Value>>() })
    }

    /// Whether there are lines of this member.
    pub(super) fn keeps(&self, id: Id) -> bool {
        self.kept.contains(&id)
    }

    fn round(&self, status: &Value) -> Value {
        let mut fields =
            json!({ "raw_ns": status["raw_ns"], "time": status["time"], "cluster": status["cluster"] });
        for name in ["round", "outcome", "members", "heard", "agreeing", "spread_ns", "largest_bound_ns"] {
            fields[name] = status["last_round"][name].clone();
        }
        fields
    }

    fn members(&mut self, roster: &Roster) -> Vec<Value> {
        self.kept.retain(|id| roster.knows(*id));
        let mut rows = Vec::new();
        for (id, member) in roster.iter() {
            if member.is_listed() && self.kept.len() < KEPT {
                self.kept.insert(id);
            }
            if !self.kept.contains(&id) {
                continue;
            }
            let said = &member.said;
            rows.push(match member.is_listed() {
                true => {
                    let heard = said["heard_rounds"].as_str().is_some_and(|heard| heard.ends_with('1'));
                    let vote = if heard { said["vote"].clone() } else { "unheard".into() };
                    json!([
                        id,
                        said["offset_ns"],
                        said["bound_ns"],
                        said["delay_ns"],
                        said["frequency_ppb"],
                        vote
                    ])
                }
                false => json!([id, null, null, null, null, member.presence.word()]),
            });
        }
        rows
    }
}

/// A client's last correction, as a round.
fn correction(status: &Value) -> Value {
    json!({
        "raw_ns": status["raw_ns"],
        "time": status["time"],
        "cluster": status["cluster"],
        "round": status["last_correction"]["round"],
        "outcome": status["state"],
    })
}

/// A client itself, as a member: what was added to its clock is what that was behind.
fn own(status: &Value) -> Value {
    let correction = &status["last_correction"];
    let offset = correction["added_ns"].as_i64().map(i64::wrapping_neg);
    json!([OWN, offset, status["bound_ns"], correction["delay_ns"], status["frequency_ppb"], "in"])
}

/// The number of the node that is asked, where a member's would stand.
pub(super) const OWN: Id = 0;

/// What stands where in a row of a member.
const COLUMNS: [&str; 6] = ["id", "offset_ns", "bound_ns", "delay_ns", "frequency_ppb", "vote"];

/// 50 minutes of rounds of five seconds.
const LENGTH: usize = 600;
/// More lines than anybody can tell apart.
const KEPT: usize = 64;

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    fn status(round: u32) -> Value {
        json!({ "role": "server", "raw_ns": round, "cluster": "1", "last_round": { "round": round, "outcome": "agreed" } })
    }

    fn clients(count: usize) -> Vec<Value> {
        let client = |index: usize| json!({ "name": "n", "address": format!("192.0.2.1:{index}"), "offset_ns": index, "vote": "in", "heard_rounds": "1" });
        (1..=count).map(client).collect()
    }

    #[test]
    fn a_round_is_one_sample_however_often_the_node_is_asked() {
        let (mut history, mut roster) = (History::default(), Roster::default());
        roster.update(&clients(2), Instant::now());
        for round in [1, 1, 1, 2, 2] {
            history.add(&status(round), &roster);
        }
        let all = history.since(0);
        assert_eq!(all["newest"], 2);
        assert_eq!(
            all["samples"][0]["clocks"],
            json!([[1, 1, null, null, null, "in"], [2, 2, null, null, null, "in"]])
        );
        assert_eq!(history.since(1)["samples"].as_array().unwrap().len(), 1);
    }

    #[test]
    fn neither_many_rounds_nor_many_members_fill_the_memory() {
        let (mut history, mut roster) = (History::default(), Roster::default());
        roster.update(&clients(100), Instant::now());
        for round in 1..=1_000 {
            history.add(&status(round), &roster);
        }
        let all = history.since(0);
        assert_eq!(all["samples"].as_array().unwrap().len(), LENGTH);
        assert_eq!(all["samples"][0]["clocks"].as_array().unwrap().len(), KEPT);
        assert!(history.keeps(1) && !history.keeps(100));
    }

    #[test]
    fn a_client_shows_what_its_clock_was_off() {
        let mut history = History::default();
        let status = json!({ "role": "client", "bound_ns": 5, "last_correction": { "round": 9, "added_ns": -3, "delay_ns": 1 } });
        history.add(&status, &Roster::default());
        assert_eq!(history.since(0)["samples"][0]["clocks"], json!([[OWN, 3, 5, 1, null, "in"]]));
    }
}
