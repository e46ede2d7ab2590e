//! docs/reference/cli.md is generated from the program's command line, and is up to date.
#![cfg(feature = "dashboard")]

use std::fmt::Write;
use std::path::Path;

const HEADER: &str = "\
# Command line

This page is generated from the program: `UPDATE=1 cargo test --test cli_reference` writes it anew.
Each section is what `meantime SUBCOMMAND --help` prints.

Exit codes: 0 success; 1 the program failed while it ran; 2 the command line is wrong. `meantime check` has codes of its own.
";

/// The page: the help of the program and of every subcommand, in lines of 80 columns.
fn page() -> String {
    let mut page = String::from(HEADER);
    let mut program = meantime::cli::command().term_width(80);
    program.build();
    section(&mut page, "meantime", &mut program.clone());
    for subcommand in program.get_subcommands_mut() {
        let name = subcommand.get_name().to_owned();
        if name != "help" {
            section(&mut page, &format!("meantime {name}"), subcommand);
        }
    }
    page
}

fn section(page: &mut String, title: &str, command: &mut clap::Command) {
    let help = command.clone().term_width(80).render_long_help().to_string();
    let lines: Vec<&str> = help.trim().lines().map(str::trim_end).collect();
    writeln!(page, "\n## {title}\n\n```text\n{}\n```", lines.join("\n")).expect("a string");
}

#[test]
fn the_page_is_what_the_program_prints() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference/cli.md");
    let page = page();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &page).expect("the page");
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == page, "{path:?} is out of date: run UPDATE=1 cargo test --test cli_reference");
}
