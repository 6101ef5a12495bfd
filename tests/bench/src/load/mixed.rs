//! Small exchanges beside bulk: how long a watch or a heartbeat waits while snapshots and large ranges pass.

use std::thread;

use super::{Latencies, Sample, Timing, Window, bulk, describe, exchange, joined};
use crate::load::Direction;
use crate::peers::Running;

const EXCHANGES: u32 = 2;
const STREAMS: [Direction; 4] = [
    Direction::Up,
    Direction::Down,
    Direction::Up,
    Direction::Down,
];

pub fn run(timing: Timing, running: &Running) -> Result<Sample, String> {
    let (window, address) = (Window::default(), running.address);
    thread::scope(|scope| {
        let window = &window;
        let streams = STREAMS
            .map(|direction| scope.spawn(move || bulk::stream(address, direction, timing, window)));
        let exchanges: Vec<_> = (0..EXCHANGES)
            .map(|id| scope.spawn(move || exchange::alone(address, 128, id, window)))
            .collect();
        let measured = window.run(timing, running);
        let (mut latencies, mut gigabytes) = (Latencies::new(), 0.0);
        for thread in exchanges {
            latencies.append(&mut joined(thread)?);
        }
        for thread in streams {
            gigabytes += joined(thread)? as f64 / 1e9;
        }
        let mut sample = describe(&mut latencies, measured.seconds);
        sample.push(("bulk", gigabytes / measured.seconds));
        Ok(sample)
    })
}
