//! What is known of a node: its last answer, who was seen, what has happened.

use std::collections::VecDeque;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::Answers;
use super::history::History;
use super::roster::{Member, Presence, Roster};
use meantime_core::time::Span;

/// Everything that the dashboard shows.
#[derive(Debug)]
pub(super) struct Board {
    standing: Result<Standing, String>,
    roster: Roster,
    history: History,
    events: VecDeque<Value>,
    /// The number of the newest event.
    newest: u64,
    /// Tells this board from the next one, in whose process ever: numbers begin anew there.
    instance: String,
}

/// A node's answer.
#[derive(Debug)]
pub(super) struct Standing {
    /// As docs/CONTROL.md describes it.
    pub status: Value,
    /// When it came.
    pub heard: Instant,
}

impl Default for Board {
    fn default() -> Board {
        Board {
            standing: Err("the node was not asked yet".into()),
            roster: Roster::default(),
            history: History::default(),
            events: VecDeque::new(),
            newest: 0,
            instance: format!("{:016x}", RandomState::new().build_hasher().finish()),
        }
    }
}

impl Board {
    /// Takes over what a node has answered, or why it has not.
    pub(super) fn hear(&mut self, answer: Result<Answers, String>, now: Instant) {
        match answer {
            Ok(answers) => self.take(answers, now),
            Err(why) => {
                if self.standing.is_ok() {
                    log::warn!("{why}");
                    self.note("no_answer", "warning", &why);
                }
                self.standing = Err(why);
            }
        }
    }

    fn take(&mut self, answers: Answers, now: Instant) {
        if self.standing.is_err() && self.newest > 0 {
            log::info!("the node answers again");
            self.note("answers_again", "info", "The node answers again");
        }
        let clients = answers.status["clients"].as_array().map_or(&[][..], Vec::as_slice);
        self.roster.update(clients, now);
        for event in answers.events {
            let leaver =
                (event["event"] == "left").then(|| event["address"].as_str().unwrap_or("").to_owned());
            if self.tell(event)
                && let Some(address) = leaver
            {
                self.roster.farewell(&address);
            }
        }
        self.history.add(&answers.status, &self.roster);
        self.standing = Ok(Standing { status: answers.status, heard: now });
    }

    /// Adds what a node has told, unless it has told that before: its numbers begin again when it is
    /// restarted.
    fn tell(&mut self, mut event: Value) -> bool {
        if !event.is_object() {
            return false;
        }
        event["of_node"] = event["number"].take();
        let known = |old: &Value| old["of_node"] == event["of_node"] && old["time"] == event["time"];
        let news = !self.events.iter().any(known);
        if news {
            self.push(event);
        }
        news
    }

    /// Adds what the dashboard itself has found.
    fn note(&mut self, event: &str, level: &str, text: &str) {
        let time = self.standing.as_ref().ok().map(|standing| standing.status["time"].clone());
        self.push(json!({ "of_node": null, "time": time, "event": event, "level": level, "text": text }));
    }

    fn push(&mut self, mut event: Value) {
        self.newest += 1;
        event["number"] = self.newest.into();
        self.events.push_back(event);
        if self.events.len() > EVENTS {
            self.events.pop_front();
        }
    }

    /// The node's last answer, if it answers.
    ///
    /// # Errors
    /// Why it does not, in one line.
    pub(super) fn standing(&self) -> Result<&Standing, &str> {
        self.standing.as_ref().map_err(String::as_str)
    }

    /// Whom the node lists, and for a while who is gone.
    pub(super) fn members(&self) -> impl Iterator<Item = &Member> {
        self.roster.iter().map(|(_, member)| member)
    }

    /// What the page shows at its top and in its table: trouble first, and not more rows than people read.
    pub(super) fn overview(&self, now: Instant) -> Value {
        let mut members: Vec<_> = self.roster.iter().collect();
        let total = members.len();
        members.sort_by_cached_key(|(id, member)| {
            (member.presence, member.said["vote"] != "out", member.name().to_owned(), *id)
        });
        let rows = members.into_iter().take(ROWS).map(|(id, member)| {
            let mut row = member.said.clone();
            row["id"] = id.into();
            row["presence"] = member.presence.word().into();
            row["plotted"] = self.history.keeps(id).into();
            row["gone_s"] =
                if member.is_listed() { Value::Null } else { (now - member.seen).as_secs().into() };
            row
        });
        let rows: Vec<Value> = rows.collect();
        let health = self.health(now);
        let mut overview = json!({
            "instance": self.instance,
            "healthy": health.is_ok(),
            "health": health.unwrap_or_else(|why| why),
            "members": rows,
            "members_total": total,
            "newest_event": self.newest,
        });
        match &self.standing {
            Ok(standing) => {
                let mut node = standing.status.clone();
                if let Some(fields) = node.as_object_mut() {
                    fields.remove("clients");
                }
                overview["node"] = node;
                overview["answered_ago_ms"] =
                    u64::try_from((now - standing.heard).as_millis()).unwrap_or(u64::MAX).into();
            }
            Err(why) => overview["no_answer"] = why.as_str().into(),
        }
        overview
    }

    /// The rounds after this number.
    pub(super) fn history(&self, since: u64) -> Value {
        self.history.since(since)
    }

    /// The events after this number.
    pub(super) fn events(&self, since: u64) -> Value {
        let after = |event: &&Value| event["number"].as_u64() > Some(since);
        json!({ "newest": self.newest, "events": self.events.iter().filter(after).collect::<Vec<_>>() })
    }

    /// Whether the clocks of the cluster, or the client's, are as they should be.
    ///
    /// # Errors
    /// Why not, in one line.
    pub(super) fn health(&self, now: Instant) -> Result<String, String> {
        let standing = self.standing.as_ref().map_err(Clone::clone)?;
        let (status, age) = (&standing.status, now - standing.heard);
        if age > STALE {
            return Err(format!("the node has not answered for {} s", age.as_secs()));
        }
        if status["role"] != "server" {
            return match (status["registered"].as_bool(), status["state"].as_str()) {
                (Some(true), Some("synchronized")) => Ok("the client is synchronized".into()),
                (Some(true), state) => Err(format!("the client is {}", words(state))),
                _ => Err("the client is not registered at a server".into()),
            };
        }
        let round = &status["last_round"];
        let (Some(ago), Some(interval)) = (round["ago_ns"].as_i64(), status["interval_ns"].as_i64()) else {
            return Err("no round is over yet".into());
        };
        let age = i64::try_from(age.as_nanos()).unwrap_or(i64::MAX);
        let ago = ago.saturating_add(age);
        if ago > interval.saturating_mul(2).saturating_add(i64::try_from(STALE.as_nanos()).unwrap_or(0)) {
            return Err(format!("the last round was {} ago", Span::from_nanos(ago)));
        }
        let heard = round["heard"].as_u64().zip(round["members"].as_u64());
        if let Some((heard, members)) = heard.filter(|(heard, members)| 2 * heard <= *members) {
            return Err(format!("only {heard} of {members} clocks were heard in the last round"));
        }
        match round["outcome"].as_str() {
            Some("agreed") => Ok(format!("{} of {} clocks agree", round["agreeing"], round["members"])),
            outcome => Err(format!("the last round ended: {}", words(outcome))),
        }
    }

    /// How many events the node has told since it was started.
    pub(super) fn told(&self) -> Option<u64> {
        self.standing.as_ref().ok().and_then(|standing| standing.status["newest_event"].as_u64())
    }
}

impl Member {
    /// Whether the member counts as up; `None`: it has gone in good order.
    pub(super) fn is_up(&self) -> Option<bool> {
        (self.presence != Presence::Left).then_some(self.presence == Presence::Present)
    }
}

fn words(name: Option<&str>) -> String {
    name.unwrap_or("nobody knows how").replace('_', " ")
}

/// A node that answers at all does so within this.
const STALE: Duration = Duration::from_secs(12);
/// More than anybody scrolls through.
const EVENTS: usize = 500;
/// More rows than anybody reads.
const ROWS: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(outcome: &str) -> Answers {
        Answers {
            status: json!({
                "role": "server", "interval_ns": 5_000_000_000i64, "newest_event": 1, "time": "t",
                "last_round": { "round": 3, "ago_ns": 1, "outcome": outcome, "agreeing": 2, "members": 3 },
                "clients": [{ "name": "a", "address": "192.0.2.1:1", "vote": "in" }, { "name": "b", "address": "192.0.2.2:1", "vote": "out" }],
            }),
            events: vec![
                json!({ "number": 1, "time": "t", "event": "connected", "level": "info", "text": "x" }),
            ],
        }
    }

    #[test]
    fn healthy_is_who_agrees_and_says_so_now() {
        let (mut board, now) = (Board::default(), Instant::now());
        assert!(board.health(now).is_err());
        board.hear(Ok(answers("agreed")), now);
        assert_eq!(board.health(now), Ok("2 of 3 clocks agree".into()));
        assert!(board.health(now + STALE * 2).is_err(), "it is not fresh");
        board.hear(Ok(answers("server_in_doubt")), now);
        assert_eq!(board.health(now), Err("the last round ended: server in doubt".into()));
        board.hear(Err("gone".into()), now);
        assert_eq!(board.health(now), Err("gone".into()));
    }

    #[test]
    fn a_round_that_is_long_ago_is_not_healthy() {
        let (mut board, now) = (Board::default(), Instant::now());
        let mut old = answers("agreed");
        old.status["last_round"]["ago_ns"] = json!(23_000_000_000i64);
        board.hear(Ok(old), now);
        assert_eq!(board.health(now), Err("the last round was 23.0 s ago".into()));
    }

    #[test]
    fn clocks_that_agree_only_by_what_they_said_before_are_not_healthy() {
        let (mut board, now) = (Board::default(), Instant::now());
        let mut deaf = answers("agreed");
        deaf.status["last_round"]["heard"] = json!(1);
        board.hear(Ok(deaf), now);
        assert_eq!(board.health(now), Err("only 1 of 3 clocks were heard in the last round".into()));
    }

    #[test]
    fn an_event_is_kept_once_and_a_silent_node_makes_one() {
        let (mut board, now) = (Board::default(), Instant::now());
        board.hear(Ok(answers("agreed")), now);
        board.hear(Ok(answers("agreed")), now);
        assert_eq!(board.events(0)["newest"], 1);
        board.hear(Err("gone".into()), now);
        board.hear(Err("gone".into()), now);
        board.hear(Ok(answers("agreed")), now);
        let kinds: Vec<Value> =
            board.events(1)["events"].as_array().unwrap().iter().map(|e| e["event"].clone()).collect();
        assert_eq!(kinds, ["no_answer", "answers_again"]);
    }

    #[test]
    fn trouble_stands_first_in_the_table() {
        let (mut board, now) = (Board::default(), Instant::now());
        board.hear(Ok(answers("agreed")), now);
        let overview = board.overview(now);
        assert_eq!(
            (&overview["members"][0]["name"], &overview["members"][1]["name"]),
            (&json!("b"), &json!("a"))
        );
        assert!(overview["node"]["clients"].is_null() && overview["healthy"] == true);
    }
}
