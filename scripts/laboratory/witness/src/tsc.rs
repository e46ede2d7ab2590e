//! The processor's time stamp counter.

/// The counter now. In a virtual machine: its counter.
#[expect(unsafe_code, reason = "the instruction has no safe form")]
pub(crate) fn read() -> u64 {
    // SAFETY: every x86-64 processor has the counter, and programs may read it here. The fence
    // keeps the reading from being done before what stands before it.
    unsafe {
        core::arch::x86_64::_mm_lfence();
        core::arch::x86_64::_rdtsc()
    }
}
