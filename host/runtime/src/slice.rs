//! How long a guest thread computes before somebody else's turn comes, in words of the kernel.
//!
//! A thread that wakes up on a processor where another one computes waits until that one has used up its slice, which is looked at when the clock ticks:
//! every 4 ms as a rule. What answers a client wakes up several times for one message. Since Linux 6.12 the slice is a thread's own
//! (`sched_setattr(2)`, `sched_runtime`), and one that wakes up with a shorter slice than that of the one that computes does not wait. So guest
//! threads have longer slices than everybody else, and those that have computed for long the longest. Older kernels take no notice of it.

use std::cell::Cell;
use std::time::Duration;

/// Others have 0.7 ms on one processor and at most 3 ms on eight or more.
const USUAL: Duration = Duration::from_millis(4);
/// The most that the kernel lets one have.
const LONG: Duration = Duration::from_millis(100);

thread_local! {
    static IS_LONG: Cell<bool> = const { Cell::new(false) };
}

/// The calling thread, and those that it starts, give way to whoever wakes up: for a process that does nothing but compute. A low priority
/// alone makes others wait for the clock.
pub fn give_way() {
    set(LONG);
}

/// The calling thread is a guest thread from now on.
pub(crate) fn of_a_guest_thread() {
    set(USUAL);
}

/// A call was running on this thread when the epoch advanced, as one that takes long does: others are to wait for it no more.
pub(crate) fn takes_long() {
    if !IS_LONG.replace(true) {
        set(LONG);
    }
}

/// What ran on this thread has ended.
pub(crate) fn is_over() {
    if IS_LONG.replace(false) {
        set(USUAL);
    }
}

/// Where it is refused the thread keeps what it has: that costs others time, and nothing else.
#[cfg(target_os = "linux")]
fn set(slice: Duration) {
    let Some(mut how) = scheduling() else { return };
    how.sched_runtime = u64::try_from(slice.as_nanos()).unwrap_or(0);
    // SAFETY: the kernel reads the structure, which says how long it is and outlives the call. What changes is how the calling thread is
    // scheduled.
    #[allow(unsafe_code, reason = "a system call that no library wraps")]
    let _ = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const how, 0) };
}

#[cfg(not(target_os = "linux"))]
fn set(_: Duration) {}

/// Of the calling thread.
#[cfg(target_os = "linux")]
fn scheduling() -> Option<libc::sched_attr> {
    let size = u32::try_from(size_of::<libc::sched_attr>()).ok()?;
    // SAFETY: the structure is plain numbers, for which zero is a value; the kernel writes no more than the octets that it is told of, and
    // the structure outlives the call.
    #[allow(unsafe_code, reason = "a system call that no library wraps")]
    unsafe {
        let mut how: libc::sched_attr = std::mem::zeroed();
        (libc::syscall(libc::SYS_sched_getattr, 0, &raw mut how, size, 0) == 0).then_some(how)
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    /// Kernels before 6.12 say nothing of slices.
    fn slice() -> Option<Duration> {
        let nanos = scheduling().expect("readable").sched_runtime;
        (nanos > 0).then(|| Duration::from_nanos(nanos))
    }

    #[test]
    fn a_call_that_takes_long_has_a_long_slice_until_it_is_over() {
        let known = slice().is_some();
        let others = || scheduling().map(|how| (how.sched_policy, how.sched_nice, how.sched_priority));
        let before = others();
        let is = |slice_is: Duration| {
            assert_eq!(slice(), known.then_some(slice_is));
            assert_eq!(others(), before, "nothing else changes");
        };
        of_a_guest_thread();
        is(USUAL);
        is_over();
        is(USUAL);
        for _ in 0..2 {
            takes_long();
            takes_long();
            is(LONG);
            is_over();
            is(USUAL);
        }
    }
}
