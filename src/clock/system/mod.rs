//! The system's clock: `CLOCK_REALTIME`, steered to follow the node's published time.
//!
//! The node's own clocks are those of the [`Overlay`](super::Overlay); only other programs see what is
//! steered. It needs `CAP_SYS_TIME` and nothing else.
//!
//! | module | what it decides |
//! |---|---|
//! | [`kernel`] | what the kernel lets a program set, as a trait |
//! | `linux` | the real kernel |
//! | [`steering`] | what is set to which value |
//! | [`takeover`] | whether the clock can be set, and whether another program sets it |
//! | [`lock`] | that only one meantime steers it |
//! | [`system_clock`] | [`SystemClock`]: when it is steered |

pub mod config;
pub mod event;
pub mod kernel;
#[cfg(target_os = "linux")]
mod linux;
pub mod lock;
pub mod steering;
pub mod system_clock;
pub mod takeover;

#[cfg(target_os = "linux")]
pub use self::linux::LinuxClock;
pub use self::system_clock::SystemClock;
