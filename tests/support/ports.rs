//! Ports that must be known before anybody binds them (a listener that is its own endpoint, etcd's peers).
//!
//! They are taken below the range from which the kernel serves port 0 and outgoing connections (32768 and up by
//! default), so that nothing of this suite can be given one by chance between the probe and the use.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU32, Ordering};

const FIRST: u32 = 12_000;
const COUNT: u32 = 18_000;

/// A port that is free on the IPv4 and the IPv6 wildcard, and that no other call of this process returns.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Suites that run side by side start at different places.
    let start = std::process::id().wrapping_mul(101);
    for _ in 0..COUNT {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = FIRST + start.wrapping_add(step) % COUNT;
        let port = u16::try_from(port).expect("FIRST + COUNT is a port");
        let free =
            TcpListener::bind(("0.0.0.0", port)).is_ok() && TcpListener::bind(("::", port)).is_ok();
        if free {
            return port;
        }
    }
    panic!("no free port between {FIRST} and {}", FIRST + COUNT);
}
