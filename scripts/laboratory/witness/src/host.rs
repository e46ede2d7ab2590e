//! On the host: asks for a session of ping-pong and is the other player.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::page::{Page, Word};
use crate::{Failure, tsc};

/// Plays a session with the machine that shares the memory at `path`, and prints between which two numbers
/// its counter minus this one lies.
#[expect(clippy::disallowed_methods, reason = "a session is bounded in time")]
pub(crate) fn relate(path: &str) -> Result<(), Failure> {
    let page = Page::open(Path::new(path))?;
    let session = page.get(Word::Requested) + 1;
    page.set(Word::Requested, session);
    let begin = Instant::now();
    let mut seen = page.get(Word::Ping);
    while page.get(Word::Played) != session {
        for _ in 0..LOOKS {
            let ping = page.get(Word::Ping);
            if ping != seen {
                page.set(Word::PongCounter, tsc::read());
                page.set(Word::Pong, ping);
                seen = ping;
            }
        }
        if begin.elapsed() > MAX_WAIT {
            return Err("the machine does not answer".into());
        }
    }
    println!("{} {}", page.get(Word::Least) as i64, page.get(Word::Most) as i64);
    Ok(())
}

/// Prints the counter, and how many kHz it has by the host's clock.
#[expect(clippy::disallowed_methods, reason = "the counter is measured by the host's clock")]
pub(crate) fn counter() -> Result<(), Failure> {
    let (begin, first) = (Instant::now(), tsc::read());
    std::thread::sleep(Duration::from_secs(1));
    let (elapsed, last) = (begin.elapsed(), tsc::read());
    println!("{last} {:.3}", (last - first) as f64 / elapsed.as_secs_f64() / 1e3);
    Ok(())
}

/// How often to look between two looks at the time.
const LOOKS: u32 = 10_000;

/// A machine that is starved of processor time answers late.
const MAX_WAIT: Duration = Duration::from_secs(10);
