//! A record, as `meantime plot` reads it: with the right head, with any, and in two files.
#![no_main]

use libfuzzer_sys::fuzz_target;
use meantime::cli::plot::history::History;
use meantime::cli::plot::read::entries;
use meantime::store::record::COLUMNS;

fuzz_target!(|bytes: &[u8]| {
    let headless = entries(bytes);
    let whole = entries(&[COLUMNS.as_bytes(), b"\n", bytes].concat());
    let files: Vec<_> = [headless, whole].into_iter().flatten().collect();
    let rows: usize = files.iter().map(Vec::len).sum();
    let Some(history) = History::of(files) else { return };
    assert!(history.begin_ns <= history.end_ns);
    assert!(history.rounds <= rows && history.members.len() <= rows);
    let points: usize = history.members.iter().map(|member| member.points.len()).sum();
    assert!(points <= rows, "{points} points of {rows} rows");
});
