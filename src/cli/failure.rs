//! What went wrong, in one line, and the exit code that goes with it.

use std::process::ExitCode;

use clap::error::ErrorKind;

/// Why the program ends without having done its work.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// What was typed cannot be right: exit code 2.
    #[error("{0}")]
    Usage(String),
    /// It went wrong while running: exit code 1.
    #[error("{0}")]
    Runtime(String),
    /// Help or the version was asked for, or nothing at all: clap has a page to show.
    #[error(transparent)]
    Page(clap::Error),
}

impl Failure {
    /// Tells the human, and returns the exit code.
    pub fn report(&self) -> ExitCode {
        match self {
            Failure::Page(page) => {
                // If nobody reads it, nobody misses it.
                let _ = page.print();
                ExitCode::from(u8::try_from(page.exit_code()).unwrap_or(2))
            }
            Failure::Usage(line) => tell(line, 2),
            Failure::Runtime(line) => tell(line, 1),
        }
    }
}

fn tell(line: &str, code: u8) -> ExitCode {
    use std::io::Write;
    // With stderr gone there is still the exit code.
    let _ = writeln!(std::io::stderr(), "meantime: {line}");
    ExitCode::from(code)
}

/// clap's error in one line: without the usage, with its tips.
impl From<clap::Error> for Failure {
    fn from(error: clap::Error) -> Failure {
        use ErrorKind::{DisplayHelp, DisplayHelpOnMissingArgumentOrSubcommand, DisplayVersion};
        if matches!(error.kind(), DisplayHelp | DisplayHelpOnMissingArgumentOrSubcommand | DisplayVersion) {
            return Failure::Page(error);
        }
        let text = error.render().to_string();
        let said = text.lines().take_while(|line| !line.starts_with("Usage:"));
        let said = said.filter(|line| !line.starts_with("For more information"));
        let said: Vec<_> = said.map(str::trim).filter(|line| !line.is_empty()).collect();
        let line = said.join("; ").replace(":; ", ": ");
        let line = line.strip_prefix("error: ").unwrap_or(&line);
        Failure::Usage(format!("{line} (--help shows all options)"))
    }
}
