//! Round robin: exactly even over the endpoints that are healthy, whatever the clients do.

use std::io::Read;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::net::tag;
use crate::support::{Backend, Gateway};

/// How many of `clients` each of the endpoints `a`, `b` and `c` served, asked one after the other.
fn served(address: SocketAddr, clients: usize) -> [usize; 3] {
    let mut counts = [0; 3];
    for _ in 0..clients {
        counts[usize::from(tag(address).0 - b'a')] += 1;
    }
    counts
}

// REFERENCE 0, "round robin over three healthy endpoints".
#[test]
fn thirty_clients_over_three_endpoints_are_ten_each() {
    let [a, b, c] = [b'a', b'b', b'c'].map(Backend::tagged);
    let gateway = Gateway::before(&[&a, &b, &c], &[]);
    assert_eq!(served(gateway.address(), 30), [10, 10, 10]);
}

#[test]
fn three_hundred_clients_from_sixteen_threads_are_a_hundred_each() {
    let [a, b, c] = [b'a', b'b', b'c'].map(Backend::tagged);
    let gateway = Gateway::before(&[&a, &b, &c], &[]);
    let started = AtomicUsize::new(0);
    let counts = Mutex::new([0; 3]);
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                while started.fetch_add(1, Ordering::SeqCst) < 300 {
                    let (tag, _) = tag(gateway.address());
                    counts.lock().expect("no panic with the lock")[usize::from(tag - b'a')] += 1;
                }
            });
        }
    });
    assert_eq!(
        counts.into_inner().expect("no panic with the lock"),
        [100, 100, 100]
    );
}

#[test]
fn connections_that_stay_open_count_no_different() {
    let [a, b, c] = [b'a', b'b', b'c'].map(Backend::tagged);
    let gateway = Gateway::before(&[&a, &b, &c], &[]);
    let clients: Vec<_> = (0..30).map(|_| gateway.connect()).collect();
    for client in &clients {
        let mut tag = [0];
        (&*client)
            .read_exact(&mut tag)
            .expect("every client is served");
    }
    assert_eq!(
        [&a, &b, &c].map(|endpoint| endpoint.accepted()),
        [10, 10, 10]
    );
}

#[test]
fn dead_endpoint_fails_no_client_and_leaves_the_others_even() {
    let (a, dead, c) = (
        Backend::tagged(b'a'),
        Backend::dead(),
        Backend::tagged(b'c'),
    );
    let gateway = Gateway::before(&[&a, &dead, &c], &[]);
    // Somebody finds out; that client is served too.
    served(gateway.address(), 3);
    gateway.wait_record("deactivated endpoint");
    assert_eq!(served(gateway.address(), 30), [15, 0, 15]);
}

// D19: a duplicate gets no double share.
#[test]
fn endpoint_named_twice_gets_one_share() {
    let (a, b) = (Backend::tagged(b'a'), Backend::tagged(b'b'));
    let gateway = Gateway::before(&[&a, &b, &a, &a], &[]);
    assert_eq!(served(gateway.address(), 30), [15, 15, 0]);
    // Once as a warning; the ready line names it too, so look for the address with the word.
    let merged = gateway
        .lines()
        .iter()
        .filter(|line| line.contains("duplicate"))
        .count();
    assert_eq!(
        merged,
        1,
        "one warning names the duplicate:\n{}",
        gateway.text()
    );
}

#[test]
fn single_endpoint_serves_everybody() {
    let a = Backend::tagged(b'a');
    let gateway = Gateway::before(&[&a], &[]);
    assert_eq!(served(gateway.address(), 10), [10, 0, 0]);
}
