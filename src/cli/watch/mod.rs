//! `meantime watch`: how a cluster stands, live, on the whole screen.
//!
//! A `feed` asks the node; the `screen` remembers what it has said and draws it; this file turns keys and
//! time into both.

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
use super::units;
use crate::clock::monotonic;
use crate::control::ask::Whom;
use meantime_core::time::Span;

/// Watch the cluster live, on the whole screen: every member's offset, bound and vote, and what happens
#[derive(Debug, clap::Args)]
#[command(after_help = KEYS)]
pub(super) struct WatchArgs {
    /// From one look to the next
    #[arg(long, value_name = "SPAN", default_value = "1s", value_parser = units::span)]
    every: Span,
    #[command(flatten)]
    whom: Whom,
}

/// Watches until somebody quits.
///
/// # Errors
/// When there is no terminal, or no node to begin with.
pub(super) fn run(args: &WatchArgs) -> Result<(), Failure> {
    if !(io::stdout().is_terminal() && io::stdin().is_terminal()) {
        return Err(Failure::Usage("watch needs a terminal; `meantime status` prints the same once".into()));
    }
    let every = args.every.max(FASTEST);
    let mut feed = Feed::of(args.whom.clone());
    let mut screen = Screen::new(Paint::for_stdout());
    // Whoever has mistyped the socket's name is told so here, not on a screen that he has to quit.
    screen.take(feed.look()?);
    let mut terminal = ratatui::try_init().map_err(|error| broken(&error))?;
    let result = watch(&mut terminal, &mut screen, &mut feed, every);
    ratatui::restore();
    result.map_err(|error| broken(&error))
}

fn broken(error: &io::Error) -> Failure {
    Failure::Runtime(format!("the terminal does not play along: {error}"))
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
            match wish(key) {
                Wish::Quit => return Ok(()),
                Wish::Sort(by) => screen.sort(by),
                Wish::Reverse => screen.reverse(),
                Wish::Scroll(lines) => screen.scroll(lines),
                Wish::None => {}
            }
        }
        if monotonic() >= due {
            match feed.look() {
                Ok(look) => screen.take(look),
                Err(failure) => screen.lose(&failure),
            }
            due = monotonic() + every;
        }
    }
}

/// What a key asks for.
enum Wish {
    Quit,
    Sort(sorting::Key),
    Reverse,
    Scroll(isize),
    None,
}

fn wish(key: KeyEvent) -> Wish {
    if key.kind == KeyEventKind::Release {
        return Wish::None;
    }
    match key.code {
        KeyCode::Char('c' | 'd') if key.modifiers.contains(KeyModifiers::CONTROL) => Wish::Quit,
        KeyCode::Char('q') | KeyCode::Esc => Wish::Quit,
        KeyCode::Char('r') => Wish::Reverse,
        KeyCode::Char(letter) => sorting::Key::of(letter).map_or(Wish::None, Wish::Sort),
        KeyCode::Up => Wish::Scroll(-1),
        KeyCode::Down => Wish::Scroll(1),
        KeyCode::PageUp => Wish::Scroll(-PAGE),
        KeyCode::PageDown => Wish::Scroll(PAGE),
        KeyCode::Home => Wish::Scroll(isize::MIN),
        KeyCode::End => Wish::Scroll(isize::MAX),
        _ => Wish::None,
    }
}

/// The node has better things to do than to be watched more often.
const FASTEST: Span = Span::from_millis(100);
/// Lines that a page has, for those who scroll.
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
