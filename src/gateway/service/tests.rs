//! Tests of the end of a process.

use super::*;
use std::sync::mpsc::channel;

const MS: fn(u64) -> Duration = Duration::from_millis;

/// A thread that blocks in accept(2) of a socket that other processes use too may never wake.
#[test]
fn the_drain_does_not_wait_for_ever_for_a_thread_that_blocks() {
    let (hold, held) = channel::<()>();
    let stuck = std::thread::spawn(move || {
        let _ = held.recv();
    });
    join(stuck, Instant::now() + MS(20));
    drop(hold);
    let (ended, ends) = channel();
    let quick = std::thread::spawn(move || ended.send(()).unwrap());
    join(quick, Instant::now() + MS(10_000));
    assert_eq!(ends.try_recv(), Ok(()), "it was not waited for");
}
