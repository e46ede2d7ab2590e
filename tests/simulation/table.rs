//! Errors by loss and jitter, as a table: a change of the algorithm shows as a diff of it.
//!
//! `MEANTIME_BLESS=1 scripts/test.sh --all --test simulation table` writes the table anew.

use std::fmt::Write;
use std::path::Path;

use meantime_core::time::Span;
use meantime_sim::{Jitter, Scenario, Simulation};

use crate::support::{loss, s, us};

const FILE: &str = "tests/simulation/table.txt";

fn row(lost: f64, mean: Span) -> String {
    let (jitter, impairments) = (Jitter::Exponential { mean }, loss(lost));
    let (settle, duration) = (s(1_000), s(11_000));
    let scenario = Scenario { clients: 5, jitter, impairments, settle, duration, ..Scenario::seeded(1) };
    let summary = Simulation::new(&scenario).run();
    let since = |index: usize| {
        summary.agreed[index].map_or("never".into(), |at| format!("{}", at.as_nanos() as f64 / 1e9))
    };
    let (rms, max) = (summary.spreads.rms().unwrap(), summary.spreads.max().unwrap());
    let us = |span: Span| span.as_nanos() as f64 / 1e3;
    let (at_ms, at_us100) = (since(0), since(1));
    format!(
        "{:>6} {:>10} {:>12.2} {:>12.2} {at_ms:>12} {at_us100:>12}",
        lost * 100.0,
        us(mean),
        us(rms),
        us(max)
    )
}

#[ignore = "long: scripts/check.sh runs it"]
#[test]
fn the_table_of_errors_by_loss_and_jitter_is_as_it_was_reviewed() {
    let mut table = String::from("loss_% jitter_µs pairwise_rms_µs pairwise_max_µs 1ms_s 100us_s\n");
    for mean in [us(1), us(20), us(200), us(1_000)] {
        for lost in [0.0, 0.2, 0.4] {
            let _ = writeln!(table, "{}", row(lost, mean));
        }
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(FILE);
    if std::env::var_os("MEANTIME_BLESS").is_some() {
        std::fs::write(&path, &table).unwrap();
    }
    let reviewed = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(
        table, reviewed,
        "if this is as it should be: MEANTIME_BLESS=1 scripts/test.sh --all --test simulation table"
    );
}
