//! What else than a member may be behind an address of the hub. Nothing here is ended before the test's own namespace
//! of processes is.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

/// What a forwarder holds on to, in pieces of at most 64 KiB: enough that latency does not become a lack of throughput.
const PIECES: usize = 64;

/// Forwards connections to a member, each piece of bytes `delay` late in either direction: netem, where the kernel has
/// none, less what the handshake of TCP would see of it.
pub(super) fn forward(listen: &str, to: &str, delay: Duration) {
    let listener = TcpListener::bind(listen).expect("an address of the hub");
    let to = to.to_owned();
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            // A member that is down: the client sees the connection end.
            let Ok(member) = TcpStream::connect(&to) else {
                continue;
            };
            for stream in [&client, &member] {
                let _ = stream.set_nodelay(true);
            }
            let pairs = [
                (client.try_clone(), member.try_clone()),
                (member.try_clone(), client.try_clone()),
            ];
            for pair in pairs {
                if let (Ok(from), Ok(to)) = pair {
                    pump(from, to, delay);
                }
            }
        }
    });
}

fn pump(mut from: TcpStream, to: TcpStream, delay: Duration) {
    let (sender, pieces) = sync_channel(PIECES);
    std::thread::spawn(move || release(&pieces, to, delay));
    std::thread::spawn(move || {
        let mut bytes = vec![0; 65_536];
        while let Ok(count @ 1..) = from.read(&mut bytes) {
            if sender
                .send((Instant::now(), bytes[..count].to_vec()))
                .is_err()
            {
                return;
            }
        }
    });
}

fn release(pieces: &Receiver<(Instant, Vec<u8>)>, mut to: TcpStream, delay: Duration) {
    while let Ok((came, bytes)) = pieces.recv() {
        std::thread::sleep((came + delay).saturating_duration_since(Instant::now()));
        if to.write_all(&bytes).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

/// An HTTP server that says it is healthy, after `delay` milliseconds, which may change.
pub(super) fn say_healthy(listen: &str, delay: &Arc<AtomicU64>) {
    let (listener, delay) = (
        TcpListener::bind(listen).expect("an address of the hub"),
        Arc::clone(delay),
    );
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let delay = Duration::from_millis(delay.load(Ordering::SeqCst));
            std::thread::spawn(move || {
                let (mut stream, mut request) = (stream, [0; 4096]);
                let _ = stream.read(&mut request);
                std::thread::sleep(delay);
                let _ = stream.write_all(
                    b"HTTP/1.1 200 OK\r\nContent-Length: 17\r\nConnection: close\r\n\r\n{\"health\":\"true\"}",
                );
            });
        }
    });
}

/// Accepts and says nothing.
pub(super) fn sink(listen: &str) {
    let listener = TcpListener::bind(listen).expect("an address of the hub");
    std::thread::spawn(move || {
        let held: Vec<TcpStream> = listener.incoming().flatten().collect();
        drop(held);
    });
}
