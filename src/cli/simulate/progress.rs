//! The progress of a long run, on a terminal.

use std::io::{IsTerminal, Write, stderr, stdout};

use meantime_core::time::Span;

/// A line on stderr that is overwritten at each update; nothing if stdout or stderr is not a terminal.
#[derive(Debug)]
pub(super) struct Progress {
    total: Span,
    shown: Option<usize>,
    visible: bool,
}

impl Progress {
    /// A run of this length.
    pub(super) fn new(total: Span) -> Progress {
        Progress { total, shown: None, visible: stdout().is_terminal() && stderr().is_terminal() }
    }

    /// Shows that the run has reached `at`.
    pub(super) fn show(&mut self, at: Span) {
        let percent = (at.as_secs_f64() / self.total.as_secs_f64() * 100.0) as usize;
        if self.visible && self.shown != Some(percent) {
            self.shown = Some(percent);
            // A failure to show the progress does not matter.
            let _ = write!(stderr(), "\r{}", line(percent, at));
        }
    }

    /// Removes the line before the results are printed.
    pub(super) fn clear(&self) {
        if self.shown.is_some() {
            let _ = write!(stderr(), "\r{:WIDTH$}\r", "");
        }
    }
}

fn line(percent: usize, at: Span) -> String {
    let (full, days) = (percent * BAR / 100, at.as_secs_f64() / 86_400.0);
    format!("simulating [{}{}] {percent:3} %  {days:.2} d", "#".repeat(full), ".".repeat(BAR - full))
}

/// Characters of the bar.
const BAR: usize = 40;
/// Characters of the line, at most.
const WIDTH: usize = 78;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_shows_the_progress() {
        let half = line(50, Span::from_secs(86_400 * 15));
        assert_eq!(half.matches('#').count(), BAR / 2);
        assert!(half.ends_with(" 50 %  15.00 d") && half.len() < WIDTH, "{half}");
    }
}
