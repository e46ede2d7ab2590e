//! Why a cluster has no time, and what an operator can do, in sentences.

use super::{RoundSummary, UndecidedCause};
use meantime_core::time::Span;

/// The figures of the vote that has not decided.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Figures {
    /// The clocks with a vote, the server's own included.
    pub members: u64,
    /// How many of them are near the median.
    pub agreeing: u64,
    /// How near that is; zero: there was no vote.
    pub radius: Span,
    /// The maximum time for which the server still waits for its clients; `None`: it does not wait.
    pub waits: Option<Span>,
}

impl Figures {
    /// The figures of a round in which the cluster had no time; `None`: no round is over yet.
    pub(crate) fn of(round: Option<&RoundSummary>, waits_ns: Option<i64>) -> Figures {
        let waits = waits_ns.map(Span::from_nanos);
        let Some(round) = round else { return Figures { waits, ..Figures::default() } };
        let (members, agreeing) = (round.members, round.agreeing);
        Figures { members, agreeing, radius: Span::from_nanos(round.window_ns), waits }
    }
}

/// Why the cluster has no time, as a clause.
pub(crate) fn why(cause: &UndecidedCause, figures: Figures) -> String {
    let Figures { members, agreeing, radius, .. } = figures;
    let within = if radius > Span::ZERO { format!(" ({radius})") } else { String::new() };
    match cause {
        UndecidedCause::NoClients => "no client with a vote is registered".into(),
        UndecidedCause::Waiting => "the server waits for clients that it has not heard yet".into(),
        UndecidedCause::WaitingForCarriers => {
            format!(
                "clients carry a cluster's time already, and the server waits for a majority of {members} clocks that supports it"
            )
        }
        UndecidedCause::Unheard => format!("too few of {members} clocks are heard"),
        UndecidedCause::BeforePlausible => {
            format!(
                "too few of {members} clocks show a plausible time: others show one before --plausible-from"
            )
        }
        UndecidedCause::AfterPlausible => {
            format!(
                "too few of {members} clocks show a plausible time: others show one after --plausible-until"
            )
        }
        UndecidedCause::TwoDiffer => {
            format!("the server's clock and its client's are farther apart than --radius{within}")
        }
        UndecidedCause::TooFarApart => {
            format!("only {agreeing} of {members} clocks are within --radius{within} of the median")
        }
        UndecidedCause::Carried => format!(
            "clients carry a cluster's time already, and no majority of {members} clocks has the same"
        ),
        UndecidedCause::Unknown(word) => word.replace('_', " "),
    }
}

/// What the operator can do, in a sentence; as long as the server waits for its clients, nothing.
pub(crate) fn advice(cause: &UndecidedCause, figures: Figures) -> String {
    match cause {
        UndecidedCause::Waiting | UndecidedCause::WaitingForCarriers => match figures.waits {
            Some(waits) => {
                format!("It waits for {waits} more at most, and there is nothing to do until then")
            }
            None => "It waits for some rounds at most, and there is nothing to do until then".into(),
        },
        cause => action(cause, figures.members).into(),
    }
}

/// What the operator can do when the server does not wait. Of two clocks one is the server's own, whose vote
/// stays, and without the other's vote there is nobody to agree with.
fn action(cause: &UndecidedCause, members: u64) -> &'static str {
    match cause {
        UndecidedCause::NoClients => "Start clients, or say what time it is (`meantime set-time TIME`)",
        UndecidedCause::Unheard => "Check the network and the clients' machines",
        UndecidedCause::BeforePlausible | UndecidedCause::AfterPlausible => {
            "Say what time it is (`meantime set-time TIME`), or set the clocks right and restart their nodes"
        }
        UndecidedCause::TooFarApart | UndecidedCause::Carried if members == 2 => WHOSE_OR_WHAT,
        UndecidedCause::TwoDiffer => WHOSE_OR_WHAT,
        UndecidedCause::Waiting
        | UndecidedCause::WaitingForCarriers
        | UndecidedCause::TooFarApart
        | UndecidedCause::Carried
        | UndecidedCause::Unknown(_) => {
            "Say whose clock is right (`meantime set-time --from NAME`), or what time it is \
             (`meantime set-time TIME`), or take votes away (`meantime members remove NAME`)"
        }
    }
}

/// What decides between two clocks.
const WHOSE_OR_WHAT: &str = "Say whose clock is right (`meantime set-time --from NAME`), or what time it is \
                             (`meantime set-time TIME`)";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_that_agree_at_an_implausible_time_are_not_said_to_disagree() {
        let figures = Figures { members: 3, agreeing: 0, radius: Span::from_secs(30), waits: None };
        let why = |cause| why(&cause, figures);
        assert!(why(UndecidedCause::BeforePlausible).contains("before --plausible-from"));
        assert!(!why(UndecidedCause::BeforePlausible).contains("median"));
        assert_eq!(
            why(UndecidedCause::TooFarApart),
            "only 0 of 3 clocks are within --radius (30.0 s) of the median"
        );
        assert_eq!(why(UndecidedCause::Unknown("too_tired".into())), "too tired");
    }

    #[test]
    fn while_the_server_waits_for_carriers_the_operator_need_not_act() {
        let figures = Figures { members: 2, waits: Some(Span::from_secs(35)), ..Figures::default() };
        let advice = |cause| advice(&cause, figures);
        assert_eq!(
            advice(UndecidedCause::WaitingForCarriers),
            "It waits for 35.0 s more at most, and there is nothing to do until then"
        );
        assert!(advice(UndecidedCause::Carried).contains("`meantime set-time --from NAME`"));
    }

    #[test]
    fn a_vote_is_taken_away_only_where_that_can_help() {
        for cause in [UndecidedCause::TooFarApart, UndecidedCause::Carried] {
            let advice = |members| advice(&cause, Figures { members, ..Figures::default() });
            assert!(
                !advice(2).contains("members remove") && advice(2).contains("set-time --from"),
                "{cause:?}"
            );
            assert!(advice(3).contains("members remove"), "{cause:?}");
        }
    }
}
