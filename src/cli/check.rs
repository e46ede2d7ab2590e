//! `meantime check`: may the clocks of this cluster be relied on to be so close? For monitoring, and before
//! something starts that needs it.

use std::process::ExitCode;

use super::target::ControlTarget;
use super::units;
use crate::control::protocol::{ClientRow, StatusResponse};
use crate::report::undecided::{self, Figures};
use meantime_core::estimation::bound::DRIFT_ALLOWANCE;
use meantime_core::time::Span;

/// Exit with 0 if any two nodes are guaranteed to be within a limit now, 1 if they are not, 2 if that cannot
/// be told
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct CheckArgs {
    /// No two clocks, the server's included, may differ by more than this
    #[arg(long, value_name = "SPAN", value_parser = units::positive_span)]
    max: Span,
    /// So many members must be there and have been heard, the server included
    #[arg(long, value_name = "N", default_value = "2")]
    min_members: u64,
    #[command(flatten)]
    target: ControlTarget,
}

/// What a check has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Finding {
    Within,
    Beyond,
    Unknown,
}

/// Asks the server on this machine, and says in one line on stdout what came of it.
pub(super) fn run(args: &CheckArgs) -> ExitCode {
    let status = args.target.connect().and_then(|mut node| node.status());
    let (finding, line) = match &status {
        Ok(status) => judge(status, args.max, args.min_members),
        Err(error) => (Finding::Unknown, error.to_string()),
    };
    let (word, code) = match finding {
        Finding::Within => ("OK", 0),
        Finding::Beyond => ("CRITICAL", 1),
        Finding::Unknown => ("UNKNOWN", 2),
    };
    // If stdout is closed, there is still the exit code.
    let _ = std::io::Write::write_all(&mut std::io::stdout(), format!("{word}: {line}\n").as_bytes());
    ExitCode::from(code)
}

fn judge(response: &StatusResponse, max: Span, min_members: u64) -> (Finding, String) {
    let Some(server) = response.server() else {
        return (Finding::Unknown, "this is a client; only the server knows all clocks".into());
    };
    let round = server.last_round.as_ref();
    let Some((round, ago)) = round.and_then(|round| Some((&round.summary, round.ago_ns?))) else {
        return (Finding::Unknown, "no round is over yet".into());
    };
    let (ago, interval) = (Span::from_nanos(ago), Span::from_nanos(server.interval_ns));
    if ago > interval.times(2) {
        return (Finding::Unknown, format!("the last round was {ago} ago"));
    }
    let heard = round.heard;
    if heard < min_members {
        return (Finding::Beyond, format!("{heard} clocks with a vote were heard, {min_members} are wanted"));
    }
    if let Some(cause) = &server.undecided {
        let (why, advice) = (undecided::why(cause, Figures::of(round)), undecided::advice(cause));
        return (Finding::Unknown, format!("the cluster has no time: {why}. {advice}"));
    }
    let Some(stated) = round.largest_bound_ns else {
        return (Finding::Unknown, "not every member was heard and knows how far it may be off".into());
    };
    // Both clocks' bounds have grown since they were stated; until the round was over, for less than another
    // round.
    let grown = growth(&response.clients).saturating_mul((ago + interval).as_nanos() / 1_000) / 1_000_000;
    let bound = Span::from_nanos(stated.saturating_add(grown));
    let line = format!("any two of {heard} clocks differ by {bound} at most, {max} is allowed");
    (if bound <= max { Finding::Within } else { Finding::Beyond }, line)
}

/// How fast the bounds of two clocks grow together at most, in parts per billion: what crystals are allowed
/// by default, and six standard deviations of the least certain frequency.
fn growth(clients: &[ClientRow]) -> i64 {
    let errors = clients.iter().map(|client| client.frequency_error_ppb.unwrap_or(UNKNOWN_PPB));
    let worst = errors.fold(0.0, f64::max);
    (2.0 * (DRIFT_ALLOWANCE.ppb() + 6.0 * worst)).ceil() as i64
}

/// The frequency error of a client that reports none: a sixth of 400 ppm.
const UNKNOWN_PPB: f64 = 400_000.0 / 6.0;

const EXAMPLES: &str = "\
Examples:
  meantime check --max 50ms
  meantime check --max 1ms --min-members 5 --control /run/meantime/server.sock";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::protocol::{LastRound, NodeStatus, ServerStatus, examples};
    use crate::report::UndecidedCause;

    fn response() -> StatusResponse {
        let mut round = examples::round();
        (round.ago_ns, round.summary.heard) = (Some(1_000_000_000), 3);
        round.summary.largest_bound_ns = Some(400_000);
        let mut clients = vec![examples::row("a", 1), examples::row("b", 2)];
        clients[0].frequency_error_ppb = Some(10.0);
        clients[1].frequency_error_ppb = Some(0.5);
        with_round(Some(round), clients)
    }

    fn with_round(last_round: Option<LastRound>, clients: Vec<ClientRow>) -> StatusResponse {
        let node = ServerStatus { interval_ns: 5_000_000_000, last_round, ..examples::server_status() };
        let mut status = examples::server();
        status.node = NodeStatus::Server(node);
        StatusResponse { status, clients }
    }

    fn judged(response: &StatusResponse, max_us: i64, members: u64) -> Finding {
        judge(response, Span::from_micros(max_us), members).0
    }

    #[test]
    fn what_is_guaranteed_is_compared_as_it_is_by_now() {
        let (finding, line) = judge(&response(), Span::from_millis(1), 3);
        // 2 × (1 ppm + 60 ppb) for 6 s.
        assert_eq!(line, "any two of 3 clocks differ by 413 µs at most, 1.0 ms is allowed");
        assert_eq!(finding, Finding::Within);
        assert_eq!(judged(&response(), 412, 3), Finding::Beyond);
        assert_eq!(judged(&response(), 413, 3), Finding::Within);
    }

    #[test]
    fn a_member_that_is_missing_is_no_agreement() {
        assert_eq!(judged(&response(), 1_000, 4), Finding::Beyond);
    }

    #[test]
    fn what_is_not_known_is_said() {
        let changed = |change: fn(&mut LastRound)| {
            let StatusResponse { status, clients } = response();
            let mut round = status.server().unwrap().last_round.clone().unwrap();
            change(&mut round);
            with_round(Some(round), clients)
        };
        let old = changed(|round| round.ago_ns = Some(11_000_000_000));
        let unbounded = changed(|round| round.summary.largest_bound_ns = None);
        let young = with_round(None, response().clients);
        let mut undecided = response();
        if let NodeStatus::Server(server) = &mut undecided.status.node {
            server.undecided = Some(UndecidedCause::BeforePlausible);
        }
        let (_, line) = judge(&undecided, Span::from_secs(1), 1);
        assert!(
            line.starts_with("the cluster has no time: too few of 3 clocks show a plausible time"),
            "{line}"
        );
        let client = StatusResponse { status: examples::client(), clients: vec![] };
        for unknown in [old, unbounded, young, undecided, client] {
            assert_eq!(judged(&unknown, 1_000_000, 1), Finding::Unknown, "{unknown:?}");
        }
    }
}
