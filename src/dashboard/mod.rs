//! RING 2. The dashboard: a page, metrics and a JSON interface over HTTP, for one node that is asked again
//! and again.
//!
//! It is a process of its own, so that nothing a browser does can come between a node's datagram and its
//! timestamp. It knows the node only through a [`Source`], keeps what it has heard on a `Board`, and shows
//! that to whoever asks: a hundred readers cost the node as much as one.
//!
//! All of it runs on one thread, an event loop, but for the asking: that waits, for seconds if the node
//! hangs, and the page has to be there meanwhile to say so. Everything that a reader can make it keep is
//! bounded: connections, the time one may last, the length of a request.

mod board;
mod history;
mod http;
mod metrics;
mod roster;

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use serde_json::Value;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::LocalSet;
use tokio::time::Instant;

use board::Board;
pub use http::Hosts;

/// Somebody who knows how a node stands.
pub trait Source: Send + 'static {
    /// Asks the node; waits for the answer.
    ///
    /// # Errors
    /// Why there is none, in one line for people.
    fn ask(&mut self) -> Result<Answers, String>;
}

/// What a node has answered, as docs/CONTROL.md describes it.
#[derive(Clone, Debug)]
pub struct Answers {
    /// How it stands.
    pub status: Value,
    /// What has happened since it was asked last, oldest first. What was told already may come again.
    pub events: Vec<Value>,
}

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
    let asking = tokio::task::spawn_local(keep_asking(source, Rc::clone(&board)));
    let serving = tokio::task::spawn_local(http::accept(listener, Rc::new(hosts), board));
    tokio::select! {
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
        // Neither has an end but by a fault of the program: then somebody has to start it again.
        ended = asking => Err(ended.err().map_or(io::Error::other("nobody asks the node any more"), io::Error::other)),
        ended = serving => Err(ended.err().map_or(io::Error::other("nobody serves any more"), io::Error::other)),
    }
}

async fn keep_asking(mut source: impl Source, board: Rc<RefCell<Board>>) {
    loop {
        let started = Instant::now();
        let asked = tokio::task::spawn_blocking(move || {
            let answer = source.ask();
            (source, answer)
        });
        let Ok((back, answer)) = asked.await else { return };
        source = back;
        let now = Instant::now();
        let pause = pause(answer.as_ref().ok(), now - started);
        board.borrow_mut().hear(answer, now);
        tokio::time::sleep(pause).await;
    }
}

/// How long to wait before the node is asked again: some times a round, and so long that answering takes it a
/// sixth of its time at most.
fn pause(answer: Option<&Answers>, took: Duration) -> Duration {
    let interval = answer.and_then(|answer| answer.status["interval_ns"].as_u64()).map(Duration::from_nanos);
    let wanted = interval.map_or(MIN_PAUSE * 2, |interval| interval / 5).max(took * 5);
    wanted.clamp(MIN_PAUSE, MAX_PAUSE)
}

/// People see no more than two pictures a second.
const MIN_PAUSE: Duration = Duration::from_millis(500);
/// Older than this nothing should be on the page.
const MAX_PAUSE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_node_is_asked_a_few_times_a_round_and_never_kept_busy() {
        let answers =
            |interval_ns: i64| Answers { status: json!({ "interval_ns": interval_ns }), events: vec![] };
        let quick = Duration::from_millis(1);
        assert_eq!(pause(Some(&answers(5_000_000_000)), quick), Duration::from_secs(1));
        assert_eq!(pause(Some(&answers(50_000_000)), quick), MIN_PAUSE);
        assert_eq!(pause(Some(&answers(3_600_000_000_000)), quick), MAX_PAUSE);
        assert_eq!(pause(Some(&answers(50_000_000)), Duration::from_millis(200)), Duration::from_secs(1));
        assert_eq!(pause(None, Duration::from_secs(5)), MAX_PAUSE);
    }
}
