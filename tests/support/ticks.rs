//! The clocks of nodes on one host, compared exactly: by what each showed at the same reading of the
//! host's oscillator, interpolated between two of its ticks.

use super::Process;

/// A tick of one node.
#[derive(Clone, Debug)]
pub(crate) struct Tick {
    /// The host's oscillator.
    pub raw: i64,
    /// The node's clock.
    pub cluster: i64,
    /// The state that the node claims.
    pub state: String,
}

/// All ticks of a node so far.
pub(crate) fn of(process: &Process) -> Vec<Tick> {
    let tick = |event: &serde_json::Value| Tick {
        raw: event["raw_ns"].as_i64().expect("a whole number"),
        cluster: event["cluster_ns"].as_i64().expect("a whole number"),
        state: event["state"].as_str().expect("a state").to_owned(),
    };
    process.events_of("tick").iter().map(tick).collect()
}

/// What the clock showed when the host's oscillator read `raw`; `None` outside of its ticks.
pub(crate) fn shown(ticks: &[Tick], raw: i64) -> Option<i64> {
    let after = ticks.partition_point(|tick| tick.raw < raw);
    let (before, after) = (ticks.get(after.checked_sub(1)?)?, ticks.get(after)?);
    let gained = i128::from((after.cluster - before.cluster) - (after.raw - before.raw));
    let elapsed = raw - before.raw;
    let share = gained * i128::from(elapsed) / i128::from(after.raw - before.raw);
    Some(before.cluster + elapsed + i64::try_from(share).ok()?)
}

/// The largest difference between any two of these nodes, in nanoseconds, over the last `seconds`; and how
/// many moments were compared.
pub(crate) fn disagreement(nodes: &[&Process], seconds: i64) -> (i64, usize) {
    let all: Vec<Vec<Tick>> = nodes.iter().map(|node| of(node)).collect();
    let last = |ticks: &Vec<Tick>| ticks.last().map_or(0, |tick| tick.raw);
    let newest = all.iter().map(last).min().unwrap_or(0);
    let spread = |moment: i64| {
        let shown: Option<Vec<i64>> = all.iter().map(|ticks| shown(ticks, moment)).collect();
        shown.and_then(|shown| Some(shown.iter().max()? - shown.iter().min()?))
    };
    let spreads: Vec<i64> = (0..seconds * 10).filter_map(|n| spread(newest - n * 100_000_000)).collect();
    (spreads.iter().copied().max().unwrap_or(i64::MAX), spreads.len())
}

/// Asserts that these nodes agreed within `limit_ns` during the last `seconds`.
pub(crate) fn assert_agreement(nodes: &[&Process], seconds: i64, limit_ns: i64, when: &str) {
    let (worst, moments) = disagreement(nodes, seconds);
    assert!(moments as i64 >= seconds * 5, "{when}: only {moments} moments could be compared");
    println!("{when}: at most {worst} ns apart over {moments} moments");
    assert!(worst <= limit_ns, "{when}: {worst} ns apart, more than {limit_ns} ns");
}

/// The largest jump of a node's clock against the host's oscillator from one tick to the next, in
/// nanoseconds, from the reading `since` on.
pub(crate) fn largest_jump(node: &Process, since: i64) -> i64 {
    let ticks: Vec<Tick> = of(node).into_iter().filter(|tick| tick.raw >= since).collect();
    let gained = |pair: &[Tick]| (pair[1].cluster - pair[0].cluster) - (pair[1].raw - pair[0].raw);
    ticks.windows(2).map(|pair| gained(pair).abs()).max().unwrap_or(0)
}
