//! `meantime watch`: the state of a cluster, live, on the whole screen.
//!
//! A `feed` polls the node; the `screen` keeps what it has received and draws it; this file reads keys and
//! decides when to poll and draw.

mod feed;
mod history;
mod screen;
mod sorting;

use std::io::{self, IsTerminal};
use std::time::Duration;

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use self::feed::Feed;
use self::screen::Screen;
use super::Failure;
use super::status::Paint;
use super::target::ControlTarget;
use super::units;
use crate::clock::monotonic;
use meantime_core::time::Span;

/// Watch the cluster live, on the whole screen: every member's offset, bound and vote, and what happens
#[derive(Debug, clap::Args)]
#[command(after_help = KEYS)]
pub(super) struct WatchArgs {
    /// From one look to the next
    #[arg(long, value_name = "SPAN", default_value = "1s", value_parser = units::span)]
    every: Span,
    #[command(flatten)]
    target: ControlTarget,
}

/// Shows the state of the node until the operator quits.
///
/// # Errors
/// When there is no terminal, or no node to begin with.
pub(super) fn run(args: &WatchArgs) -> Result<(), Failure> {
    if !(io::stdout().is_terminal() && io::stdin().is_terminal()) {
        return Err(Failure::Usage("watch needs a terminal; `meantime status` prints the same once".into()));
    }
    let every = args.every.max(MIN_PERIOD);
    let mut feed = Feed::of(args.target.clone());
    let mut screen = Screen::new(Paint::for_stdout());
    // If the path of the socket is wrong, say so here, not on a screen that the operator has to quit.
    screen.update(feed.poll()?);
    let mut terminal = ratatui::try_init().map_err(|error| broken(&error))?;
    let result = watch(&mut terminal, &mut screen, &mut feed, every);
    ratatui::restore();
    result.map_err(|error| broken(&error))
}

fn broken(error: &io::Error) -> Failure {
    Failure::Runtime(format!("cannot use the terminal: {error}"))
}

fn watch(
    terminal: &mut DefaultTerminal,
    screen: &mut Screen,
    feed: &mut Feed,
    every: Span,
) -> io::Result<()> {
    let mut due = monotonic() + every;
    loop {
        terminal.draw(|frame| screen.draw(frame))?;
        if event::poll(Duration::from_nanos((due - monotonic()).max(Span::ZERO).as_nanos().unsigned_abs()))?
            && let Event::Key(key) = event::read()?
        {
            match command(key) {
                KeyCommand::Quit => return Ok(()),
                KeyCommand::Sort(by) => screen.sort(by),
                KeyCommand::Reverse => screen.reverse(),
                KeyCommand::Scroll(lines) => screen.scroll(lines),
                KeyCommand::None => {}
            }
        }
        if monotonic() >= due {
            match feed.poll() {
                Ok(update) => screen.update(update),
                Err(error) => screen.lose(&error),
            }
            due = monotonic() + every;
        }
    }
}

/// What a key asks for.
enum KeyCommand {
    Quit,
    Sort(sorting::Key),
    Reverse,
    Scroll(isize),
    None,
}

fn command(key: KeyEvent) -> KeyCommand {
    if key.kind == KeyEventKind::Release {
        return KeyCommand::None;
    }
    match key.code {
        KeyCode::Char('c' | 'd') if key.modifiers.contains(KeyModifiers::CONTROL) => KeyCommand::Quit,
        KeyCode::Char('q') | KeyCode::Esc => KeyCommand::Quit,
        KeyCode::Char('r') => KeyCommand::Reverse,
        KeyCode::Char(letter) => sorting::Key::of(letter).map_or(KeyCommand::None, KeyCommand::Sort),
        KeyCode::Up => KeyCommand::Scroll(-1),
        KeyCode::Down => KeyCommand::Scroll(1),
        KeyCode::PageUp => KeyCommand::Scroll(-PAGE),
        KeyCode::PageDown => KeyCommand::Scroll(PAGE),
        KeyCode::Home => KeyCommand::Scroll(isize::MIN),
        KeyCode::End => KeyCommand::Scroll(isize::MAX),
        _ => KeyCommand::None,
    }
}

/// Polling more often would keep the node from its work.
const MIN_PERIOD: Span = Span::from_millis(100);
/// Lines that the page keys scroll by.
const PAGE: isize = 10;

const KEYS: &str = "\
Keys:
  n, o, e, b, d, f, h   sort by name, offset, error, bound, delay, frequency, last heard
  r                     the other way round
  arrows, page keys     scroll
  q, Esc, Ctrl-C        quit

HISTORY shows how far the clock was off in the last rounds, the newest on the
right, on a logarithmic scale that all members share; a dot is a round in which
it was not heard.";
