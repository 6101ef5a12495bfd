//! Threads of the C library, with smaller stacks and fewer memory mappings than those of `std`.

use std::ffi::{c_int, c_long, c_ulong, c_void};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::null_mut;

use super::outcome::error_number;

unsafe extern "C" {
    safe fn pthread_self() -> c_ulong;
    safe fn sysconf(name: c_int) -> c_long;
    fn pthread_setschedparam(
        thread: c_ulong,
        policy: c_int,
        parameters: *const SchedulingParameters,
    ) -> c_int;
    fn pthread_attr_init(attributes: *mut ThreadAttributes) -> c_int;
    fn pthread_attr_setstacksize(attributes: *mut ThreadAttributes, bytes: usize) -> c_int;
    fn pthread_attr_destroy(attributes: *mut ThreadAttributes) -> c_int;
    fn pthread_create(
        thread: *mut c_ulong,
        attributes: *const ThreadAttributes,
        start: extern "C" fn(*mut c_void) -> *mut c_void,
        argument: *mut c_void,
    ) -> c_int;
    fn pthread_detach(thread: c_ulong) -> c_int;
    #[cfg(target_env = "gnu")]
    fn pthread_join(thread: c_ulong, outcome: *mut *mut c_void) -> c_int;
}

/// `pthread_attr_t`, opaque: no C library needs more than this on the processors that `platform` admits.
#[repr(C, align(16))]
struct ThreadAttributes([u64; 16]);

type Work = Box<dyn FnOnce() + Send>;

/// The smallest stack that the C library gives a thread, in bytes: 16 KiB with glibc on x86, 128 KiB on
/// aarch64, more where the processor has much state to save (sysconf(3), PTHREAD_STACK_MIN).
pub(crate) fn smallest_stack() -> usize {
    const SC_THREAD_STACK_MIN: c_int = 75;
    // -1: there is no such limit.
    usize::try_from(sysconf(SC_THREAD_STACK_MIN)).unwrap_or(0)
}

/// Where a thread of [`start_thread`] begins.
extern "C" fn enter(argument: *mut c_void) -> *mut c_void {
    // SAFETY: the pointer is what `start_thread` got from `Box::into_raw` for this thread
    // alone, which runs once.
    let work = unsafe { Box::from_raw(argument.cast::<Work>()) };
    // A panic was reported by its hook; it ends this thread and no other.
    let _ = catch_unwind(AssertUnwindSafe(work));
    null_mut()
}

/// Starts a detached thread whose panics end it alone, with a stack of `stack` bytes or the smallest
/// that this host allows.
///
/// A thread of `std` has a signal stack beside its stack, which doubles the memory
/// mappings it takes; of the threads meant here there are two for each connection.
pub(crate) fn start_thread(stack: usize, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let thread = create_thread(stack, work)?;
    // SAFETY: no other code has the thread, and it is neither detached nor joined yet.
    error_number(unsafe { pthread_detach(thread) })
}

/// The same, but waits for its end: what it had is free then.
#[cfg(target_env = "gnu")]
pub(crate) fn run_thread(stack: usize, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let thread = create_thread(stack, work)?;
    // SAFETY: as above; a null pointer asks for no outcome.
    error_number(unsafe { pthread_join(thread, null_mut()) })
}

/// A thread that is to be detached or joined.
fn create_thread(stack: usize, work: impl FnOnce() + Send + 'static) -> io::Result<c_ulong> {
    let mut attributes = ThreadAttributes([0; 16]);
    let attributes = &raw mut attributes;
    // SAFETY: the pointer is to writable memory of at least the size and alignment of the type.
    error_number(unsafe { pthread_attr_init(attributes) })?;
    // SAFETY: the attributes are initialised; a size that will not do is an error.
    let sized =
        error_number(unsafe { pthread_attr_setstacksize(attributes, stack.max(smallest_stack())) });
    let started = sized.and_then(|()| {
        let work: Box<Work> = Box::new(Box::new(work));
        let argument = Box::into_raw(work);
        let mut thread = 0;
        // SAFETY: thread and attributes are live; `argument` is a box that the new thread,
        // whose work is `Send` and borrows nothing, owns from here on.
        let code = unsafe { pthread_create(&raw mut thread, attributes, enter, argument.cast()) };
        if code != 0 {
            // SAFETY: no thread has been started, so the box is still ours alone.
            drop(unsafe { Box::from_raw(argument) });
        }
        error_number(code).map(|()| thread)
    });
    // SAFETY: the attributes are initialised and not used again.
    let _ = unsafe { pthread_attr_destroy(attributes) };
    started
}

const SCHED_BATCH: c_int = 3;

/// `struct sched_param`: the static priority, which has to be zero for this policy, and with musl
/// some reserved words.
#[repr(C, align(8))]
struct SchedulingParameters([c_int; 12]);

/// Tells the scheduler that this thread need not interrupt others as it wakes (sched(7)). Not by
/// sched_setscheduler(2), which musl does not have: there a process would be meant.
pub(crate) fn schedule_as_batch() -> io::Result<()> {
    let parameters = SchedulingParameters([0; 12]);
    let own = pthread_self();
    // SAFETY: the thread is this one, which lives; the parameters are live and only read.
    error_number(unsafe { pthread_setschedparam(own, SCHED_BATCH, &raw const parameters) })
}
