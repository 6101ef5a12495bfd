//! When a load is measured: after a warm-up, for a fixed time, the CPU of the gateway over exactly that time.

use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::peers::Running;
use crate::process;

#[derive(Clone, Copy)]
pub struct Timing {
    pub warm_up: Duration,
    pub measure: Duration,
}

const MEASURE: u8 = 1;
const DONE: u8 = 2;

/// Read by the threads that make the load.
#[derive(Default)]
pub struct Window(AtomicU8);

/// What the clock and the gateway say of the time that was measured.
pub struct Measured {
    pub seconds: f64,
    /// Nothing where there is no gateway.
    cpu: Option<Duration>,
}

impl Measured {
    /// CPU seconds for each of `count`, in units of which a second has `unit`.
    pub fn cpu_each(&self, count: f64, unit: f64) -> Option<(&'static str, f64)> {
        Some(("cpu", self.cpu?.as_secs_f64() * unit / count))
    }
}

impl Window {
    pub fn measuring(&self) -> bool {
        self.0.load(Ordering::Relaxed) == MEASURE
    }

    pub fn done(&self) -> bool {
        self.0.load(Ordering::Relaxed) == DONE
    }

    /// Opens and closes the window, on a thread that makes no load.
    pub fn run(&self, timing: Timing, gateway: &Running) -> Measured {
        thread::sleep(timing.warm_up);
        // Not earlier: nginx listens before it has workers.
        let pids = &gateway.pids();
        let (start, cpu) = (Instant::now(), process::cpu(pids));
        self.0.store(MEASURE, Ordering::Relaxed);
        thread::sleep(timing.measure);
        self.0.store(DONE, Ordering::Relaxed);
        Measured {
            seconds: start.elapsed().as_secs_f64(),
            cpu: (!pids.is_empty()).then(|| process::cpu(pids).saturating_sub(cpu)),
        }
    }
}
