//! A record, as `meantime plot` reads it: with its own first line, with that of a record, and in two files.
#![no_main]

use libfuzzer_sys::fuzz_target;
use meantime::store::record::COLUMNS;
use meantime::store::record::history::RecordHistory;
use meantime::store::record::reader::parse;

fuzz_target!(|bytes: &[u8]| {
    let as_it_is = parse(bytes);
    let whole = parse(&[COLUMNS.as_bytes(), b"\n", bytes].concat());
    let files: Vec<_> = [as_it_is, whole].into_iter().flatten().collect();
    let rows: usize = files.iter().map(Vec::len).sum();
    let Some(history) = RecordHistory::of(files) else { return };
    assert!(history.begin_ns <= history.end_ns);
    assert!(history.rounds <= rows && history.members.len() <= rows);
    let points: usize = history.members.iter().map(|member| member.points.len()).sum();
    assert!(points <= rows, "{points} points of {rows} rows");
});
