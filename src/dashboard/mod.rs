//! RING 2. The dashboard: a page, metrics and a JSON interface over HTTP, for one node that is polled.
//!
//! It is a process of its own, so that nothing a browser does can come between a node's datagram and its
//! timestamp. It knows the node only through a [`Source`] and keeps its answers on a `Board`, which all
//! requests are served from: a hundred readers cost the node as much as one.
//!
//! Everything runs on one thread, in an event loop, except for the polling: that blocks for seconds if the
//! node hangs, and the page must be served meanwhile to say so. Everything that a reader can make it keep is
//! bounded: connections, the duration of a connection, the length of a request. Times are monotonic and come
//! from [`clock`](crate::clock); the board and its parts get them as arguments.

#![expect(clippy::disallowed_types, reason = "the dashboard serves HTTP over TCP")]

mod board;
mod history;
mod http;
mod metrics;
mod roster;
mod source;

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::{JoinError, LocalSet};

pub use self::http::Hosts;
pub use self::source::{Source, Update};

use self::board::Board;
use crate::clock::monotonic;
use meantime_core::time::Span;

/// Serves `listener` until a signal ends it.
///
/// # Errors
/// When the system gives no event loop, or takes the listener away.
pub fn serve(listener: std::net::TcpListener, hosts: Hosts, source: impl Source) -> io::Result<()> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(1).build()?;
    let result = LocalSet::new().block_on(&runtime, run(listener, hosts, source));
    // A node that hangs is not waited for.
    runtime.shutdown_background();
    result
}

async fn run(listener: std::net::TcpListener, hosts: Hosts, source: impl Source) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let board = Rc::new(RefCell::new(Board::default()));
    let polling = tokio::task::spawn_local(poll_node(source, Rc::clone(&board)));
    let serving = tokio::task::spawn_local(http::accept(listener, Rc::new(hosts), board));
    tokio::select! {
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
        // Both run until the end of the program: if one ends, that is a fault of the program.
        ended = polling => Err(task_error(ended, "the task that polls the node has ended")),
        ended = serving => Err(task_error(ended, "the task that serves requests has ended")),
    }
}

/// Why a task has ended: its panic, else `message`.
fn task_error(ended: Result<(), JoinError>, message: &str) -> io::Error {
    ended.err().map_or_else(|| io::Error::other(message), io::Error::other)
}

async fn poll_node(mut source: impl Source, board: Rc<RefCell<Board>>) {
    loop {
        let started = monotonic();
        let polled = tokio::task::spawn_blocking(move || {
            let result = source.poll();
            (source, result)
        });
        let Ok((back, result)) = polled.await else { return };
        source = back;
        let now = monotonic();
        let interval = result.as_ref().ok().and_then(|update| update.response.status.interval_ns());
        let pause = pause(interval.map(Span::from_nanos), now - started);
        board.borrow_mut().handle_poll(result, now);
        tokio::time::sleep(pause).await;
    }
}

/// How long to wait before the node is polled again: a few times a round, and so long that answering takes at
/// most a sixth of its time. `interval` is that of its rounds, `took` how long the last answer took.
fn pause(interval: Option<Span>, took: Span) -> Duration {
    let wanted = interval.map_or(MIN_PAUSE.times(2), |interval| Span::from_nanos(interval.as_nanos() / 5));
    let pause = wanted.max(took.times(5)).max(MIN_PAUSE).min(MAX_PAUSE);
    Duration::from_nanos(pause.as_nanos().unsigned_abs())
}

/// A reader sees no more than two pictures a second.
const MIN_PAUSE: Span = Span::from_millis(500);
/// Nothing on the page should be older.
const MAX_PAUSE: Span = Span::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_node_is_polled_a_few_times_a_round_and_never_kept_busy() {
        let wait = |interval_ns: i64, took_ms| {
            pause(Some(Span::from_nanos(interval_ns)), Span::from_millis(took_ms))
        };
        let (min, max) = (Duration::from_millis(500), Duration::from_secs(5));
        assert_eq!(wait(5_000_000_000, 1), Duration::from_secs(1));
        assert_eq!(wait(50_000_000, 1), min);
        assert_eq!(wait(3_600_000_000_000, 1), max);
        assert_eq!(wait(50_000_000, 200), Duration::from_secs(1));
        assert_eq!(pause(None, Span::from_secs(5)), max);
    }
}
