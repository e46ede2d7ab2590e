//! The system's allocator, with an account of the bytes asked for. What it keeps beside them is not in it.
//!
//! Counts are kept for each thread, since tests run beside one another.

#![allow(dead_code, reason = "each program uses a part of this")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// What it owns on the heap, in bytes.
pub(crate) fn heap<T>(owner: T) -> usize {
    let before = LIVE.get();
    drop(owner);
    usize::try_from(before - LIVE.get()).unwrap_or(0)
}

/// How many more bytes there are on the heap at a time, while this happens.
pub(crate) fn peak(happens: impl FnOnce()) -> usize {
    let before = LIVE.get();
    PEAK.set(before);
    happens();
    usize::try_from(PEAK.get() - before).unwrap_or(0)
}

struct Counting;

#[expect(unsafe_code, reason = "an allocator cannot be written without")]
// SAFETY: everything is handed to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the caller keeps the contract.
        unsafe { System.dealloc(pointer, layout) }
    }
}

fn count(bytes: isize) {
    // A thread that ends has no account any more.
    let _ = LIVE.try_with(|live| {
        live.set(live.get() + bytes);
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(live.get())));
    });
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

thread_local! {
    static LIVE: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}
