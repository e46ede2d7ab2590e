//! The cluster, as its server sees it.

use serde_json::Value;

use super::table::{self, Cell, Side, lines};
use super::{Paint, being_set, ppm, signed, span, words};

/// The cluster's lines first, then one line for each member; without the addresses if they do not fit into
/// this width.
pub(crate) fn page(answer: &Value, paint: Paint, width: usize) -> String {
    let empty = Vec::new();
    let clients = answer["clients"].as_array().unwrap_or(&empty);
    let mut page = head(answer, paint);
    if !clients.is_empty() {
        page.push('\n');
        page += &members(clients, paint, width);
        page += &left_out(clients);
    }
    for gone in answer["removed_and_gone"].as_array().unwrap_or(&empty) {
        page += &format!("{} is removed from the vote by hand, and not registered now\n", who(gone));
    }
    page
}

/// The cluster's lines.
pub(crate) fn head(answer: &Value, paint: Paint) -> String {
    let clients = answer["clients"].as_array().map_or(0, Vec::len);
    let round = &answer["last_round"];
    let state = paint.state(answer["state"].as_str().unwrap_or("-"));
    let mut page =
        format!("Server {state}, {clients} clients, a round each {}", span(&answer["interval_ns"]));
    page += &match answer["excluded"].as_str() {
        Some(_) => format!("; its own clock is left out of the vote: {}\n", words(&answer["excluded"])),
        None => "\n".to_owned(),
    };
    if round.is_null() {
        return page + "No round is over yet\n";
    }
    let outcome = round["outcome"].as_str().unwrap_or("-");
    page += &format!(
        "Round {}, {} ago: {}; {} members, {} heard, {} agree within {}\n",
        round["round"],
        span(&round["ago_ns"]),
        paint.state(outcome).replace('_', " "),
        round["members"],
        round["heard"],
        round["agreeing"],
        span(&round["spread_ns"]),
    );
    page += &match round["largest_bound_ns"].as_i64() {
        Some(_) => {
            format!("Any two clocks differ by {} at most, guaranteed\n", span(&round["largest_bound_ns"]))
        }
        None => "How far any two clocks may differ is not known\n".to_owned(),
    };
    page += &being_set(&answer["setting"]);
    page + &format!(
        "The cluster's rate over the server's oscillator: {} ppm\n",
        ppm(&answer["frequency_ppb"])
    )
}

fn members(clients: &[Value], paint: Paint, width: usize) -> String {
    let mut header = columns().to_vec();
    let rows: Vec<Vec<Cell>> = clients.iter().map(|client| row(client, paint)).collect();
    if table::width(&header, &rows) > width {
        header.pop();
    }
    lines(&header, &rows)
}

/// What is told of each member; the last of these is what one can do without most easily.
pub(crate) fn columns() -> [(&'static str, Side); 11] {
    [
        ("NAME", Side::Left),
        ("STATE", Side::Left),
        ("OFFSET", Side::Right),
        ("ERROR", Side::Right),
        ("BOUND", Side::Right),
        ("DELAY", Side::Right),
        ("PPM", Side::Right),
        ("ROUNDS", Side::Right),
        ("VOTE", Side::Left),
        ("HEARD", Side::Right),
        ("ADDRESS", Side::Left),
    ]
}

fn row(client: &Value, paint: Paint) -> Vec<Cell> {
    let dress = |(text, word): (String, String)| match word.is_empty() {
        true => Cell::from(text),
        false => Cell::dressed(text.clone(), paint.state(&word).replace(&word, &text)),
    };
    cells(client).into_iter().map(dress).collect()
}

/// The member's line: for each column what it shows, and the state that this tells of, empty if it tells of
/// none.
pub(crate) fn cells(client: &Value) -> Vec<(String, String)> {
    let word = |field: &str| {
        let word = client[field].as_str().unwrap_or("-");
        (short(word).to_owned(), word.to_owned())
    };
    let plain = |text: String| (text, String::new());
    vec![
        plain(client["name"].as_str().unwrap_or("").to_owned()),
        word("state"),
        plain(signed(&client["offset_ns"])),
        plain(span(&client["offset_error_ns"])),
        plain(span(&client["bound_ns"])),
        plain(span(&client["delay_ns"])),
        plain(ppm(&client["frequency_ppb"])),
        plain(format!("{}/{}", client["heard"], client["rounds"])),
        word("vote"),
        plain(span(&client["heard_ago_ns"])),
        plain(client["address"].as_str().unwrap_or("-").to_owned()),
    ]
}

/// A state in as few letters as say it.
fn short(state: &str) -> &str {
    match state {
        "synchronized" => "sync",
        "unsynchronized" => "unsync",
        other => other,
    }
}

/// Who is out, and why: the reasons are too long for a column.
fn left_out(clients: &[Value]) -> String {
    let out = clients.iter().filter(|client| client["excluded"].is_string());
    let lines: Vec<String> = out
        .map(|client| format!("{} is left out of the vote: {}\n", who(client), words(&client["excluded"])))
        .collect();
    if lines.is_empty() { String::new() } else { format!("\n{}", lines.concat()) }
}

/// Its name, or its address if it has none.
fn who(client: &Value) -> &str {
    let name = client["name"].as_str().filter(|name| !name.is_empty());
    name.or(client["address"].as_str()).unwrap_or("-")
}
