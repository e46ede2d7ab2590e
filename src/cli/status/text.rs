//! How figures and states are written on the pages, and in which colours.

use std::io::{self, IsTerminal};

use crate::control::protocol::ManualAdjustmentStatus;
use meantime_core::time::Span;

/// Whether words are coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Paint {
    /// As terminals do it.
    Ansi,
    /// Not at all.
    Plain,
}

impl Paint {
    /// Colours on a terminal whose user has not asked for none (no-color.org).
    pub(in crate::cli) fn for_stdout() -> Paint {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        if wanted && io::stdout().is_terminal() { Paint::Ansi } else { Paint::Plain }
    }

    /// How good the state is that a word tells of, as the number of a style of terminals: green, yellow, dim
    /// or red.
    pub(in crate::cli) fn code(word: &str) -> &'static str {
        match word {
            "synchronized" | "in" | "agreed" | "active" | "served" => "32",
            "holdover" | "following" | "unsure" | "server_in_doubt" => "33",
            "unsynchronized" | "listening" | "none" | "standby" => "2",
            _ => "31",
        }
    }

    /// A word about a state, in the colour of how good that is.
    pub(in crate::cli) fn state(self, word: &str) -> String {
        match self {
            Paint::Ansi => format!("\x1b[{}m{word}\x1b[0m", Paint::code(word)),
            Paint::Plain => word.to_owned(),
        }
    }
}

/// A length of time; `-` if it is unknown.
pub(super) fn span(nanos: Option<i64>) -> String {
    nanos.map_or("-".into(), |nanos| Span::from_nanos(nanos).to_string())
}

/// The same with its sign.
pub(super) fn signed(nanos: Option<i64>) -> String {
    nanos.map_or("-".into(), |nanos| {
        let plus = if nanos >= 0 { "+" } else { "" };
        format!("{plus}{}", Span::from_nanos(nanos))
    })
}

/// A line about the manual time adjustment that is not over, if there is one.
pub(super) fn pending_adjustment(adjustment: Option<&ManualAdjustmentStatus>) -> String {
    let Some(adjustment) = adjustment else { return String::new() };
    let (amount, method) = (signed(Some(adjustment.amount_ns)), words(adjustment.adjustment.as_str()));
    let begins = match adjustment.starts_in_ns {
        0 => String::new(),
        starts_in => format!("begins in {}, ", span(Some(starts_in))),
    };
    format!("Being set by {amount} ({method}): {begins}is over in {}\n", span(Some(adjustment.ends_in_ns)))
}

/// A frequency in ppm.
pub(super) fn ppm(ppb: Option<f64>) -> String {
    ppb.map_or("-".into(), |ppb| format!("{:+.3}", ppb / 1e3))
}

/// The words of a name in snake case.
pub(super) fn words(name: &str) -> String {
    name.replace('_', " ")
}
