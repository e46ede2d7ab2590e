//! Errors by loss and jitter, and by what makes stamps late, as a table: a change of the algorithm shows as a
//! diff of it.
//!
//! `MEANTIME_BLESS=1 scripts/test.sh --all --test simulation table` writes the table anew.

use std::fmt::Write;
use std::path::Path;

use meantime_core::time::Span;
use meantime_sim::{Jitter, Moderation, Scenario, Simulation, WakeUp};

use crate::support::{loss, s, us};

const FILE: &str = "tests/simulation/table.txt";

fn row(lost: f64, mean: Span) -> String {
    let (jitter, impairments) = (Jitter::Exponential { mean }, loss(lost));
    let errors = errors(Scenario { jitter, impairments, ..Scenario::seeded(1) });
    format!("{:>6} {:>10} {errors}", lost * 100.0, mean.as_nanos() as f64 / 1e3)
}

fn row_of_late_stamps(wake_up: WakeUp, moderation: Moderation) -> String {
    let errors = errors(Scenario { wake_up, moderation, ..Scenario::seeded(1) });
    let (wake_up, moderation) = (format!("{wake_up:?}"), format!("{moderation:?}"));
    format!("{wake_up:>7} {moderation:>10} {errors}")
}

fn errors(scenario: Scenario) -> String {
    let scenario = Scenario { clients: 5, settle: s(1_000), duration: s(11_000), ..scenario };
    let summary = Simulation::new(&scenario).run();
    let since = |index: usize| {
        summary.agreed[index].map_or("never".into(), |at| format!("{}", at.as_nanos() as f64 / 1e9))
    };
    let (rms, max) = (summary.spreads.rms().unwrap(), summary.spreads.max().unwrap());
    let us = |span: Span| span.as_nanos() as f64 / 1e3;
    let (at_ms, at_us100) = (since(0), since(1));
    format!("{:>12.2} {:>12.2} {at_ms:>12} {at_us100:>12}", us(rms), us(max))
}

#[ignore = "long: scripts/check.sh runs it"]
#[test]
fn the_table_of_errors_is_as_it_was_reviewed() {
    let mut table = String::from("loss_% jitter_µs pairwise_rms_µs pairwise_max_µs 1ms_s 100us_s\n");
    for mean in [us(1), us(20), us(200), us(1_000)] {
        for lost in [0.0, 0.2, 0.4] {
            let _ = writeln!(table, "{}", row(lost, mean));
        }
    }
    table += "wake_up moderation pairwise_rms_µs pairwise_max_µs 1ms_s 100us_s\n";
    for wake_up in [WakeUp::None, WakeUp::Shallow, WakeUp::Deep] {
        for moderation in [Moderation::None, Moderation::Fixed, Moderation::Adaptive] {
            let _ = writeln!(table, "{}", row_of_late_stamps(wake_up, moderation));
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
