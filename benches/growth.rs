//! What a member costs as their number grows: the server's time for a round, its memory, and how exact the
//! corrections are.
//!
//! `cargo bench --bench growth -- 10 1000 1000000` takes other numbers than the usual ones. All in memory,
//! over perfect paths: what sockets and networks add is in docs/PERFORMANCE.md.

mod support;

use meantime_core::time::Span;
use meantime_core::{ServerConfig, ServerEvent};
use support::counting::{heap, peak};
use support::load::{finish, loaded};

fn main() {
    let asked: Vec<usize> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    let usual = [10, 100, 1_000, 10_000, 100_000, 300_000];
    println!(
        "{:>9}{:>14}{:>16}{:>16}{:>18}{:>20}",
        "members", "ms a round", "ns a member", "bytes each", "more in a round", "correction rms ns"
    );
    for clients in if asked.is_empty() { usual.to_vec() } else { asked } {
        row(clients);
    }
}

fn row(clients: usize) {
    let mut load = loaded(ServerConfig { probe_rate: 10_000_000, ..ServerConfig::default() }, clients);
    // Beyond the newcomers' haste.
    load.run(Span::from_secs(160));
    load.server.spent = Span::ZERO;
    load.server.events.clear();
    let more = peak(|| load.run(Span::from_secs(5).times(INTERVALS)));
    // Of a million members, a round takes two intervals.
    let rounds =
        load.server.events.iter().filter(|event| matches!(event, ServerEvent::RoundEnded(_))).count();
    let round = load.server.spent.over(rounds.max(1) as i64);
    let error = finish(&mut load).correction_error_ns().unwrap_or(f64::NAN);
    let bytes = heap(load.server.host.node);
    println!(
        "{clients:>9}{:>14.3}{:>16}{:>16}{:>18}{error:>20.1}",
        round.as_secs_f64() * 1e3,
        round.as_nanos() / clients as i64,
        bytes / clients,
        more / clients,
    );
}

const INTERVALS: i64 = 4;
