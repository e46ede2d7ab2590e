//! Why the program has failed, in one line, with its exit code.

use std::process::ExitCode;

use clap::error::ErrorKind;

use crate::control::OpenError;
use crate::control::client::ControlError;

/// Why the program ends without having done its work.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The command line is wrong: exit code 2.
    #[error("{0}")]
    Usage(String),
    /// The program failed while it ran: exit code 1.
    #[error("{0}")]
    Runtime(String),
    /// The operator asks for help or the version, or gives no subcommand: clap prints a page.
    #[error(transparent)]
    Page(clap::Error),
}

impl Failure {
    /// Prints the failure, and returns the exit code.
    pub fn report(&self) -> ExitCode {
        match self {
            Failure::Page(page) => {
                // A closed stdout does not matter: the exit code remains.
                let _ = page.print();
                ExitCode::from(u8::try_from(page.exit_code()).unwrap_or(2))
            }
            Failure::Usage(line) => print(line, 2),
            Failure::Runtime(line) => print(line, 1),
        }
    }
}

fn print(line: &str, code: u8) -> ExitCode {
    use std::io::Write;
    // A closed stderr does not matter: the exit code remains.
    let _ = writeln!(std::io::stderr(), "meantime: {line}");
    ExitCode::from(code)
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Failure {
        Failure::Runtime(error.to_string())
    }
}

impl From<ControlError> for Failure {
    fn from(error: ControlError) -> Failure {
        Failure::Runtime(error.to_string())
    }
}

/// What the standard library says of a text that is no whole number.
const NO_NUMBER: [&str; 2] = ["invalid digit found in string", "cannot parse integer from empty string"];

/// clap's error in one line: without the usage, with its tips.
impl From<clap::Error> for Failure {
    fn from(error: clap::Error) -> Failure {
        use ErrorKind::{DisplayHelp, DisplayHelpOnMissingArgumentOrSubcommand, DisplayVersion};
        if matches!(error.kind(), DisplayHelp | DisplayHelpOnMissingArgumentOrSubcommand | DisplayVersion) {
            return Failure::Page(error);
        }
        let text = error.render().to_string();
        let lines = text.lines().take_while(|line| !line.starts_with("Usage:"));
        let lines = lines.filter(|line| !line.starts_with("For more information"));
        let lines: Vec<_> = lines.map(str::trim).filter(|line| !line.is_empty()).collect();
        let line = lines.join("; ").replace(":; ", ": ");
        let line = NO_NUMBER.iter().fold(line, |line, said| line.replace(said, "not a whole number"));
        let line = line.strip_prefix("error: ").unwrap_or(&line);
        Failure::Usage(format!("{line} (--help shows all options)"))
    }
}
