//! Checks that docs/CONTROL.md describes the fields that a node writes, and no others.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::Value;

use super::*;

const PAGE: &str = include_str!("../../../docs/CONTROL.md");

type Names = BTreeSet<String>;

/// The names of the fields of a structure.
fn fields(value: &impl Serialize) -> Names {
    match serde_json::to_value(value).unwrap() {
        Value::Object(object) => object.into_iter().map(|(name, _)| name).collect(),
        other => panic!("no object: {other}"),
    }
}

/// The names in backticks in a text.
fn names(text: &str) -> impl Iterator<Item = String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned)
}

/// The rows of the first table after this line: what stands in their two columns.
fn rows(after: &str) -> Vec<(&'static str, &'static str)> {
    let (_, rest) = PAGE.split_once(&format!("\n{after}\n")).unwrap_or_else(|| panic!("no line {after}"));
    let table = rest.lines().skip_while(|line| !line.starts_with('|'));
    let table = table.take_while(|line| line.starts_with('|')).skip(2);
    table.map(|row| row.trim_matches(['|', ' ']).split_once(" | ").unwrap()).collect()
}

/// The fields in a table: those of the object itself, and those of the objects in its list.
fn documented(after: &str) -> (Names, Names) {
    let (nested, own): (Vec<_>, Vec<_>) =
        rows(after).into_iter().partition(|(field, _)| field.starts_with('→'));
    let all = |rows: Vec<(&str, &str)>| rows.into_iter().flat_map(|(field, _)| names(field)).collect();
    (all(own), all(nested))
}

/// What a table says of a field.
fn meaning(after: &str, field: &str) -> Names {
    let quoted = format!("`{field}`");
    let row = rows(after).into_iter().find(|(fields, _)| *fields == quoted);
    names(row.unwrap_or_else(|| panic!("no {field}")).1).collect()
}

#[test]
fn every_field_of_a_status_is_documented_and_every_documented_field_exists() {
    let ((both, _), (server, row), (client, _)) =
        (documented("Of both:"), documented("Of a server:"), documented("Of a client:"));
    let status = StatusResponse { status: examples::server(), clients: vec![examples::row("a", 1)] };
    assert_eq!(fields(&status), &both | &server);
    assert_eq!(fields(&status.clients[0]), row);
    let mut status = examples::client_status();
    status.system_ns = Some(1);
    let status = Status { node: NodeStatus::Client(Box::new(status)), ..examples::client() };
    assert_eq!(fields(&status), &both | &client);
}

#[test]
fn the_fields_of_inner_objects_are_documented() {
    let has = |documented: Names, fields: Names| {
        let missing: Vec<_> = fields.difference(&documented).collect();
        assert!(missing.is_empty(), "{missing:?} in {documented:?}");
    };
    has(meaning("Of both:", "manual_adjustment"), fields(&examples::manual_adjustment()));
    has(meaning("Of a client:", "last_correction"), fields(&examples::correction()));
    has(meaning("Of a client:", "refused_correction"), fields(&examples::refused_correction()));
    has(meaning("Of a server:", "utc"), fields(&examples::utc()));
    has(meaning("Of a server:", "replica"), fields(&examples::active_replica()));
    has(meaning("Of a client:", "servers"), fields(&examples::listed_server(2, RoleWord::Standby)));
    let of_round = fields(&examples::round().summary);
    let last_round = fields(&examples::round());
    has(meaning("Of a server:", "last_round"), last_round.difference(&of_round).cloned().collect());
}

#[test]
fn every_field_of_an_event_is_documented_and_every_documented_field_exists() {
    let entry = EventEntry {
        client: Some(String::new()),
        address: Some(String::new()),
        ..examples::event(1, "left")
    };
    assert_eq!(fields(&entry), documented("## `{\"request\":\"events\",\"since\":N}`").0);
}
