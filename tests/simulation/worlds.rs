//! How many of its worlds a long test runs: a sample in the full check, all of them for `scripts/long.sh`.

use std::ops::Range;

/// Whether the long tests are to run all their worlds: `MEANTIME_WORLDS=all`, which `scripts/long.sh` sets.
pub(crate) fn all() -> bool {
    std::env::var_os("MEANTIME_WORLDS").is_some_and(|worlds| worlds == "all")
}

/// The first `sample` of these seeds, or all of them.
pub(crate) fn sampled(seeds: Range<u64>, sample: u64) -> Range<u64> {
    let end = if all() { seeds.end } else { seeds.end.min(seeds.start + sample) };
    println!("{} of {} seeds", end - seeds.start, seeds.end - seeds.start);
    seeds.start..end
}
