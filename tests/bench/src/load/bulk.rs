//! As many bytes as go through. Each connection has a blocking thread, here and in the upstream; the side that receives
//! checks order and count.

use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use super::{Sample, Timing, Window, connect, joined, said};
use crate::peers::Running;
use crate::wire::{self, Mode};

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Direction {
    Up,
    Down,
}

/// How much longer than the measurement the upstream sends: it never ends first.
const MARGIN: Duration = Duration::from_millis(150);

pub fn run(
    timing: Timing,
    running: &Running,
    connections: u32,
    direction: Direction,
) -> Result<Sample, String> {
    let (window, address) = (Window::default(), running.address);
    thread::scope(|scope| {
        let window = &window;
        let threads: Vec<_> = (0..connections)
            .map(|_| scope.spawn(move || stream(address, direction, timing, window)))
            .collect();
        let measured = window.run(timing, running);
        let mut gigabytes = 0.0;
        for thread in threads {
            gigabytes += joined(thread)? as f64 / 1e9;
        }
        let mut sample = vec![("speed", gigabytes / measured.seconds)];
        sample.extend(measured.cpu_each(gigabytes, 1.0));
        Ok(sample)
    })
}

/// One stream to its verified end; the bytes that passed here while the window was open.
///
/// Upwards that is counted where they are sent: what the sockets in between hold is the same at both ends of the window.
pub(super) fn stream(
    address: SocketAddr,
    direction: Direction,
    timing: Timing,
    window: &Window,
) -> Result<u64, String> {
    let stream = connect(address)?;
    let mut counted = 0;
    let mut count = |bytes: usize| {
        if window.measuring() {
            counted += bytes as u64;
        }
    };
    match direction {
        Direction::Up => {
            send_header(&stream, Mode::Sink)?;
            let sent = wire::send_blocks(&stream, |bytes| {
                count(bytes);
                !window.done()
            })
            .map_err(said("send"))?;
            wire::confirm_sent(&stream, sent).map_err(said("end of the stream"))?;
        }
        Direction::Down => {
            let time = timing.warm_up + timing.measure + MARGIN;
            let milliseconds = u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
            send_header(&stream, Mode::Source(milliseconds))?;
            wire::receive_blocks(&stream, &[], count).map_err(said("receive"))?;
        }
    }
    Ok(counted)
}

fn send_header(mut stream: &std::net::TcpStream, mode: Mode) -> Result<(), String> {
    std::io::Write::write_all(&mut stream, &mode.header(0, 0)).map_err(said("header"))
}
