//! From exec to the first accepted connection.

use std::time::{Duration, Instant};

use super::{Rig, Sample, Subject};

/// Between two looks whether it listens; a refused connection costs a few microseconds.
const PAUSE: Duration = Duration::from_micros(50);

/// Starts in one run, of which the fastest counts: what else the host does only ever adds.
const STARTS: usize = 5;

pub fn run(rig: &Rig, subject: &Subject) -> Result<Sample, String> {
    let mut best = f64::INFINITY;
    for _ in 0..STARTS {
        let start = Instant::now();
        let mut gateway = subject.peer.spawn(&[subject.endpoint], &rig.dir)?;
        let address = gateway.address;
        if let Some(process) = gateway.process() {
            process.wait_for(address, PAUSE)?;
        }
        best = best.min(start.elapsed().as_secs_f64() * 1e3);
    }
    Ok(vec![("time", best)])
}
