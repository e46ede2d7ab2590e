//! What a node has to say of itself at its control socket.

use serde_json::{Value, json};

use super::command;
use super::place::Role;
use crate::cli::output::{Record, report_fields};
use crate::report::{rounded_ppb, snake_case};
use meantime_core::event::RoundReport;
use meantime_core::time::{Now, Span};
use meantime_core::view::{
    ClientView, CorrectionView, ManualAdjustmentView, MeasuredView, MemberView, ServerView,
};
use meantime_core::{Client, Node, Server};

/// A part of a list that is too long to be told at once.
#[derive(Clone, Debug, Default)]
pub struct List {
    /// What the list is called in an answer.
    pub name: &'static str,
    /// Its items, as JSON.
    pub items: Vec<String>,
    /// From where on the rest is to be asked for; `None`: that was all.
    pub rest: Option<usize>,
}

/// A node that can be asked how it stands.
pub trait Subject: Node {
    /// What it is.
    const ROLE: Role;

    /// Adds how it stands to an answer.
    fn status(&self, now: Now, answer: &mut Record);

    /// The list that ends such an answer, if it has one: about `most` items from `from` on.
    fn list(&self, now: Now, from: usize, most: usize) -> Option<List> {
        let _ = (now, from, most);
        None
    }

    /// Does what a request tells it to, if it is one of those that change something; the answer's own fields,
    /// or why not.
    fn command(&mut self, now: Now, request: &Value) -> Option<Result<Value, String>>;
}

impl Subject for Server {
    const ROLE: Role = Role::Server;

    fn status(&self, now: Now, answer: &mut Record) {
        answer.put("role", "server");
        server(&self.overview(now), answer);
    }

    fn list(&self, now: Now, from: usize, most: usize) -> Option<List> {
        let (members, rest) = self.members_from(now, from.try_into().ok()?, most);
        let items = members.iter().map(|view| member(view).to_string()).collect();
        Some(List { name: "clients", items, rest: rest.map(|slot| slot as usize) })
    }

    fn command(&mut self, now: Now, request: &Value) -> Option<Result<Value, String>> {
        command::server(self, now, request)
    }
}

impl Subject for Client {
    const ROLE: Role = Role::Client;

    fn status(&self, now: Now, answer: &mut Record) {
        answer.put("role", "client");
        client(&self.view(now), answer);
    }

    fn command(&mut self, _: Now, request: &Value) -> Option<Result<Value, String>> {
        let of_servers = command::NAMES.contains(&request["request"].as_str()?);
        of_servers.then(|| Err("this is a client; its server knows the cluster: ask there".into()))
    }
}

fn server(view: &ServerView, answer: &mut Record) {
    answer.put("state", snake_case(view.state));
    answer.cluster(view.cluster);
    answer.span("interval_ns", view.interval);
    answer.frequency("frequency_ppb", view.frequency);
    answer.put("frequency_error_ppb", known(view.frequency_error.map(rounded_ppb)));
    answer.put("excluded", known(view.exclusion.map(snake_case)));
    answer.put("removed_and_gone", view.removed.iter().map(command::peer).collect::<Vec<Value>>());
    answer.known_span("own_bound_ns", view.bound);
    answer.put("burst", view.burst);
    answer.put("datagrams_lost", view.lost);
    answer.put("setting", known(view.manual_adjustment.as_ref().map(setting)));
    answer.put("timestamps", answer.at().timestamps.to_string());
    answer
        .put("last_round", known(view.last_round.as_ref().map(|report| round(report, view.last_round_ago))));
}

fn round(report: &RoundReport, ago: Option<Span>) -> Value {
    let mut fields = serde_json::Map::new();
    report_fields(report, &mut |name, value| {
        fields.insert(name.to_owned(), value);
    });
    fields.insert("ago_ns".to_owned(), known(ago.map(Span::as_nanos)));
    Value::Object(fields)
}

fn member(member: &MemberView) -> Value {
    let measured =
        |get: fn(&MeasuredView) -> Span| known(member.measured.as_ref().map(get).map(Span::as_nanos));
    json!({
        "name": member.peer.name.as_str(),
        "address": member.peer.address.to_string(),
        "key": member.key.0,
        "state": snake_case(member.state),
        "offset_ns": measured(|measured| measured.offset.span()),
        "offset_error_ns": measured(|measured| measured.error),
        "delay_ns": measured(|measured| measured.delay),
        "measured_ago_ns": measured(|measured| measured.ago),
        "error_ns": known(member.error.map(Span::as_nanos)),
        "bound_ns": known(member.bound.map(Span::as_nanos)),
        "frequency_ppb": known(member.frequency.map(rounded_ppb)),
        "frequency_error_ppb": known(member.frequency_error.map(rounded_ppb)),
        "heard": member.heard.count_ones(),
        "rounds": member.asked,
        "heard_rounds": format!("{:08b}", member.heard),
        "vote": if member.exclusion.is_some() { "out" } else { "in" },
        "excluded": known(member.exclusion.map(snake_case)),
        "admitted_ago_ns": member.admitted_ago.as_nanos(),
        "heard_ago_ns": member.heard_ago.as_nanos(),
    })
}

fn client(view: &ClientView, answer: &mut Record) {
    let at = *answer.at();
    answer.put("state", snake_case(at.reading.state));
    answer.put("server", known(view.server.map(|server| server.to_string())));
    answer.put("registered", view.registered);
    answer.cluster(view.cluster);
    answer.known_span("interval_ns", view.interval);
    answer.frequency("frequency_ppb", at.reading.frequency);
    answer.put("frequency_error_ppb", known(at.reading.frequency_error.map(rounded_ppb)));
    answer.put("holdover", known(view.holdover.map(snake_case)));
    answer.known_span("heard_ago_ns", view.heard_ago);
    answer.put("last_correction", known(view.last_correction.as_ref().map(correction)));
    answer.put("setting", known(view.manual_adjustment.as_ref().map(setting)));
    answer.put("timestamps", at.timestamps.to_string());
    answer.system();
}

fn setting(setting: &ManualAdjustmentView) -> Value {
    json!({
        "amount_ns": setting.amount.as_nanos(),
        "adjustment": snake_case(setting.adjustment),
        "starts_in_ns": setting.starts_in.as_nanos(),
        "ends_in_ns": setting.ends_in.as_nanos(),
    })
}

fn correction(correction: &CorrectionView) -> Value {
    json!({
        "round": correction.round,
        "added_ns": correction.added.span().as_nanos(),
        "adjustment": snake_case(correction.adjustment),
        "delay_ns": correction.delay.as_nanos(),
        "ago_ns": correction.ago.as_nanos(),
    })
}

fn known<T: Into<Value>>(value: Option<T>) -> Value {
    value.map_or(Value::Null, Into::into)
}
