//! `meantime set-time`: set the time of the whole cluster.

use clap::ArgGroup;

use super::Failure;
use super::target::ControlTarget;
use super::units::{self, ValueError};
use crate::control::protocol::{AdjustmentMethod, ScheduledAdjustment, SetTime, TimeTarget};
use meantime_core::config::MAX_STEP;
use meantime_core::time::{Span, Timestamp};

/// Set the time of the whole cluster, at this machine's server: all its clocks slew together, or step
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES, group(ArgGroup::new("what").args(["target", "from"]).required(true)))]
pub(super) struct SetTimeArgs {
    /// What time it is now, as in '2026-01-31 16:30:00' (UTC) or 2026-01-31T16:30:00+01:00; or by how much to
    /// set it, as in +1.5s or -200ms
    #[arg(value_name = "TIME|+OFFSET", allow_hyphen_values = true, value_parser = target)]
    target: Option<TypedTarget>,
    /// Set it to what the clock of this member shows: the server's name, or a client's name or address
    #[arg(long, value_name = "NAME|ADDRESS")]
    from: Option<String>,
    /// Set all clocks at once, not within the hours that a slew takes
    #[arg(long)]
    step: bool,
    #[command(flatten)]
    node: ControlTarget,
}

/// The time or the offset that was typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TypedTarget {
    By(Span),
    To(Timestamp),
}

/// Why no time and no offset was typed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum TargetError {
    /// The text begins with a sign, and the rest is not a length of time.
    #[error(transparent)]
    Offset(ValueError),
    /// The text has no sign, and is not a time.
    #[error(
        "neither a time nor an offset with its sign; type for example '2026-01-31 16:30:00' (UTC) or +1.5s"
    )]
    NoTime,
}

/// Sends the command to the server on this machine, and prints what will happen.
///
/// # Errors
/// When there is none, or that cannot be.
pub(super) fn run(args: &SetTimeArgs) -> Result<(), Failure> {
    let target = match (args.target, &args.from) {
        (Some(TypedTarget::By(by)), _) => TimeTarget::ByNs(by.as_nanos()),
        (Some(TypedTarget::To(to)), _) => TimeTarget::ToNs(to.as_nanos()),
        (None, from) => TimeTarget::From(from.clone().unwrap_or_default()),
    };
    let method = if args.step { AdjustmentMethod::Step } else { AdjustmentMethod::Slew };
    let scheduled = args.node.connect()?.set_time(SetTime { target, method })?;
    println!("{}", sentence(&scheduled));
    Ok(())
}

fn sentence(scheduled: &ScheduledAdjustment) -> String {
    let amount = Span::from_nanos(scheduled.amount_ns);
    let soon = Span::from_nanos(scheduled.starts_in_ns.unwrap_or_default());
    let by = format!("{amount:+}");
    match scheduled.adjustment {
        _ if scheduled.founded.is_some() => {
            format!(
                "The cluster's time is founded: the server's own clock was set by {by}, and all others follow."
            )
        }
        AdjustmentMethod::Step if amount.abs() > MAX_STEP => format!(
            "The cluster's time steps by {by} in {soon}. Clients whose --max-step allows less (24 h unless set) refuse that and run \
             on alone until they are started anew."
        ),
        AdjustmentMethod::Step => format!("The cluster's time steps by {by} in {soon}, at all clocks alike."),
        _ => format!(
            "The cluster's time slews by {by}, at all clocks alike: it begins in {soon} and takes {}.",
            Span::from_nanos(scheduled.takes_ns)
        ),
    }
}

fn target(text: &str) -> Result<TypedTarget, TargetError> {
    if text.starts_with(['+', '-', '−']) {
        return units::span(&text.replace('−', "-")).map(TypedTarget::By).map_err(TargetError::Offset);
    }
    units::moment(text).map(TypedTarget::To).map_err(|_| TargetError::NoTime)
}

const EXAMPLES: &str = "\
Examples:
  meantime set-time +1.5s
  meantime set-time -200ms
  meantime set-time '2026-01-31 16:30:00' --step
  meantime set-time 2026-01-31T16:30:00+01:00 --step
  meantime set-time --from attic

While the cluster has no time (`meantime status` says why), TIME or --from
founds it: all clocks are set at once. Otherwise they slew, or step with --step.

A slew runs at 400 ppm: a second takes 42 minutes, and no more than 34.56 s are
slewed. Either way it begins four rounds and two seconds later (below relays, later), when all
clients know of it. It cannot be taken back before it is over.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sign_makes_an_offset_and_all_else_is_a_time() {
        assert_eq!(target("+1.5s"), Ok(TypedTarget::By(Span::from_millis(1_500))));
        assert_eq!(target("-200ms"), Ok(TypedTarget::By(Span::from_millis(-200))));
        let moment = Ok(TypedTarget::To(Timestamp::from_nanos(1_769_877_000_000_000_000)));
        for text in
            ["2026-01-31 16:30", "2026-01-31 16:30:00", "2026-01-31T16:30:00Z", "2026-01-31T17:30:00.0+01:00"]
        {
            assert_eq!(target(text), moment, "{text}");
        }
        for wrong in ["1.5s", "+", "+5", "tomorrow", "2026-01-31", "16:30", ""] {
            assert!(target(wrong).is_err(), "{wrong}");
        }
    }
}
