//! The events of the system clock, with `--clock system`, as JSON and text.

use log::Level;
use serde_json::Value;

use super::Tell;
use super::record::Record;
use crate::clock::ForeignAdjustment;
use crate::clock::SystemClockEvent::{self, *};
use crate::report::ClockSnapshot;

impl Tell for SystemClockEvent {
    fn kind(&self) -> &'static str {
        match self {
            Following { .. } => "system_following",
            Stepped { .. } => "system_stepped",
            Disturbed { .. } => "system_disturbed",
            GivenUp => "system_given_up",
            Failed { .. } => "system_failed",
        }
    }

    fn fields(&self, record: &mut Record) {
        match self {
            Following { missing } => record.correction("missing_ns", *missing),
            Stepped { added } => record.correction("added_ns", *added),
            Disturbed { how: ForeignAdjustment::Step(added) } => {
                record.put("how", "step");
                record.correction("added_ns", *added);
            }
            Disturbed { how } => {
                record.put("how", if *how == ForeignAdjustment::Slew { "slew" } else { "frequency" });
                record.put("added_ns", Value::Null);
            }
            GivenUp => {}
            Failed { error } => record.put("error", error.as_str()),
        }
        record.system();
    }

    fn text(&self, _at: &ClockSnapshot) -> Option<String> {
        Some(match self {
            Following { missing } => {
                format!("The system clock follows the cluster's time; its first correction is {missing}")
            }
            Stepped { added } => format!("The system clock was stepped by {added}"),
            Disturbed { how } => {
                let what = match how {
                    ForeignAdjustment::Frequency => "has set the frequency of the system clock".into(),
                    ForeignAdjustment::Slew => "slews the system clock".into(),
                    ForeignAdjustment::Step(added) => format!("has stepped the system clock by {added}"),
                };
                format!("Another program {what}; meantime undoes it")
            }
            GivenUp => {
                "Another program keeps adjusting the system clock: meantime leaves it alone until it is started \
                        again (--force does not give way)"
                    .into()
            }
            Failed { error } => format!("The system clock cannot be adjusted: {error}; trying again"),
        })
    }

    fn level(&self) -> Option<Level> {
        Some(match self {
            Following { .. } => Level::Info,
            Stepped { .. } | Disturbed { .. } | Failed { .. } => Level::Warn,
            GivenUp => Level::Error,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::OutputFormat;
    use super::super::tests::printed;
    use super::*;
    use meantime_core::time::{Correction, Span};

    #[test]
    fn a_disturbance_says_what_was_done_and_that_it_is_undone() {
        let step = Disturbed { how: ForeignAdjustment::Step(Correction::adding(Span::from_secs(-2))) };
        assert_eq!(
            printed(OutputFormat::Text, &step),
            "Another program has stepped the system clock by -2.0 s; meantime undoes it\n"
        );
        assert!(printed(OutputFormat::Json, &step).ends_with("\"how\":\"step\",\"added_ns\":-2000000000}\n"));
        let frequency = Disturbed { how: ForeignAdjustment::Frequency };
        assert!(
            printed(OutputFormat::Json, &frequency).ends_with("\"how\":\"frequency\",\"added_ns\":null}\n")
        );
    }
}
