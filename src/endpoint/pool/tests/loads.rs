//! Open connections as they count for who is chosen.

use super::*;

fn least(ports: &[u16]) -> Pool {
    let pool = Pool::new(Policy::LeastConnections, Duration::from_secs(60), None).unwrap();
    pool.replace(ports.iter().copied().map(endpoint).collect());
    pool
}

fn hold(pool: &Pool, count: usize) -> Held {
    (0..count).map(|_| pool.pick(&[]).unwrap()).collect()
}

fn ports(held: &Held) -> Vec<u16> {
    let mut ports: Vec<u16> = held.iter().map(|(addr, _)| addr.port()).collect();
    ports.sort_unstable();
    ports
}

#[test]
fn a_pick_counts_while_it_is_in_flight() {
    let pool = least(&[1, 2, 3]);
    let mut held = hold(&pool, 6);
    assert_eq!(ports(&held), [1, 1, 2, 2, 3, 3]);
    held.retain(|(endpoint, _)| *endpoint != addr(2));
    let more = hold(&pool, 4);
    assert_eq!(ports(&more), [1, 2, 2, 3]);
    drop((held, more));
    assert_eq!(ports(&hold(&pool, 3)), [1, 2, 3], "none is open any more");
}

#[test]
fn connections_of_an_endpoint_that_comes_back_count_again() {
    let with_identity = |port, name: &str| Endpoint {
        identity: Some(name.to_owned()),
        ..endpoint(port)
    };
    let pool = least(&[1, 2]);
    let held = hold(&pool, 8);
    pool.replace(vec![endpoint(2), endpoint(3)]);
    let newer = hold(&pool, 4);
    assert_eq!(ports(&newer), [3, 3, 3, 3]);
    // Gone through several sets, and back under another name.
    pool.replace(vec![endpoint(3)]);
    pool.replace(vec![
        with_identity(1, "a.example"),
        endpoint(2),
        endpoint(3),
    ]);
    pool.replace(vec![
        with_identity(1, "b.example"),
        endpoint(2),
        endpoint(3),
    ]);
    let one = with_identity(1, "b.example");
    assert!(pool.set_authenticated(&one, Instant::now(), PROOF));
    assert_eq!(ports(&hold(&pool, 3)), [1, 2, 3], "each has four");
    drop(held);
    assert_eq!(ports(&hold(&pool, 8)), [1, 1, 1, 1, 2, 2, 2, 2]);
    // Of what is gone for good nothing is kept.
    drop(newer);
    pool.replace(vec![endpoint(9)]);
    pool.replace(vec![endpoint(8)]);
    assert!(lock(&pool.set).removed.is_empty());
}

#[test]
fn a_burst_is_even_while_nothing_is_connected_yet() {
    let pool = least(&[1, 2, 3, 4]);
    let piled = hold(&pool, 100);
    pool.replace([1, 2, 3, 4, 5].map(endpoint).into());
    let burst = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..25 {
            scope.spawn(|| {
                let held = hold(&pool, 1);
                lock(&burst).extend(held);
            });
        }
    });
    let burst = burst.into_inner().unwrap();
    assert_eq!(ports(&burst), [5; 25]);
    assert_eq!(ports(&piled).len(), 100);
}

/// One that drops its connections would be the least loaded otherwise.
#[test]
fn a_connection_that_has_ended_counts_for_a_while() {
    let hour = Duration::from_secs(3600);
    let times = Times {
        counted: hour,
        ..Times::REAL
    };
    let pool = least(&[1, 2]).tuned(16, times);
    let stay = hold(&pool, 2);
    assert_eq!(ports(&stay), [1, 2]);
    for _ in 0..4 {
        let (_, hold) = pool.pick(&[addr(2)]).unwrap();
        drop(hold.connected());
    }
    assert_eq!(ports(&hold(&pool, 4)), [2; 4]);
}
