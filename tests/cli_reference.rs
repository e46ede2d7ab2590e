//! docs/reference/cli.md is generated from the program's command line, and is up to date.
#![cfg(feature = "dashboard")]

use std::fmt::Write;
use std::path::Path;

/// What stands above this line of the page is written by hand.
const MARKER: &str = "<!-- Below, generated from the program: UPDATE=1 cargo test --test cli_reference -->\n";

/// The help of the program and of every subcommand, in lines of 80 columns.
fn generated() -> String {
    let mut page = String::new();
    let mut program = meantime::cli::command().term_width(80);
    program.build();
    section(&mut page, "meantime", &mut program.clone());
    for subcommand in program.get_subcommands_mut() {
        let name = subcommand.get_name().to_owned();
        if name != "help" && !subcommand.is_hide_set() {
            section(&mut page, &format!("meantime {name}"), subcommand);
            for nested in subcommand.get_subcommands_mut().filter(|nested| nested.get_name() != "help") {
                let title = format!("meantime {name} {}", nested.get_name());
                section(&mut page, &title, nested);
            }
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
    let found = std::fs::read_to_string(&path).expect("the page");
    let (by_hand, _) = found.split_once(MARKER).expect("the marker");
    let page = format!("{by_hand}{MARKER}{}", generated());
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &page).expect("the page");
    } else {
        assert!(found == page, "{path:?} is out of date: run UPDATE=1 cargo test --test cli_reference");
    }
}
