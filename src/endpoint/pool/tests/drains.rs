//! Members that are taken out for maintenance: what the word changes, and what it leaves as it is.

use super::*;

/// Endpoints with these ports, some of which drain.
fn marked(ports: &[(u16, bool)]) -> Vec<Endpoint> {
    let marked = |(port, drains): &(u16, bool)| Endpoint {
        drains: *drains,
        ..endpoint(*port)
    };
    ports.iter().map(marked).collect()
}

fn states(pool: &Pool) -> Vec<EndpointState> {
    pool.views().iter().map(|view| view.state).collect()
}

#[test]
fn marking_drain_keeps_the_state() {
    let pool = pool(&[1, 2]);
    let (_, hold) = pool.pick(&[addr(2)]).unwrap();
    let held = hold.connected();
    let before = &pool.views()[0];
    let change = pool.replace(marked(&[(1, true), (2, false), (3, true)]));
    assert_eq!(change.draining, [addr(1), addr(3)]);
    assert_eq!(change.added, [addr(3)]);
    assert!(change.removed.is_empty() && change.restored.is_empty());
    let after = &pool.views()[0];
    assert_eq!(after.state, EndpointState::Draining);
    assert!(after.since > before.since, "it is a state of its own");
    assert!(Arc::ptr_eq(&after.stats, &before.stats));
    assert_eq!(after.stats.open(), 1, "its connection is open");
    assert_eq!(pool.census().draining, 2);
    // What was known before the word is known with it.
    assert_eq!(picks(&pool, 3), [2, 2, 2]);
    pool.failed(addr(2), Instant::now(), &refused(2));
    assert_eq!(picks(&pool, 1), [3], "untried, as good as active");
    assert!(
        pool.replace(marked(&[(1, true), (2, false), (3, true)]))
            .is_empty()
    );
    let change = pool.replace(marked(&[(1, false), (2, false), (3, true)]));
    assert_eq!(change.restored, [addr(1)]);
    assert!(!change.is_empty() && change.draining.is_empty());
    assert_eq!(states(&pool)[0], EndpointState::Active);
    assert_eq!(picks(&pool, 2), [1, 1]);
    // One that has left is marked no more.
    pool.replace(marked(&[(1, true), (2, false)]));
    pool.replace(marked(&[(2, false)]));
    let views = pool.views();
    let (state, drains) = (views[1].state, views[1].endpoint.drains);
    assert_eq!((state, drains), (EndpointState::Removed, false));
    drop(held);
}

#[test]
fn a_draining_endpoint_serves_where_no_other_does() {
    for policy in [Policy::RoundRobin, Policy::LeastConnections] {
        let pool = Pool::new(policy, Duration::from_secs(60), None).unwrap();
        pool.replace(marked(&[(1, true), (2, false), (3, false)]));
        for port in [1, 2, 3] {
            pool.succeeded(addr(port), Instant::now());
        }
        assert!(picks(&pool, 8).iter().all(|port| *port != 1), "{policy:?}");
        assert_eq!(pick(&pool, &[2, 3]), Some(1), "{policy:?}");
        pool.slow(addr(2));
        pool.failed(addr(3), Instant::now(), &refused(3));
        assert_eq!(picks(&pool, 1), [2], "slow is better");
        pool.probed(addr(2), None);
        assert_eq!(picks(&pool, 2), [1, 1], "silent is not");
        assert_eq!(
            pick(&pool, &[1, 2]),
            Some(3),
            "the inactive come last of all"
        );
        // It is known to serve: the monitor is not woken for that.
        assert_eq!(pool.census().active, 1);
        assert!(!is_called(pool.refresh_waker()));
        pool.succeeded(addr(3), Instant::now());
        assert_eq!(picks(&pool, 2), [3, 3]);
    }
}

#[test]
fn where_all_drain_all_serve() {
    let pool = pool(&[1, 2, 3]);
    pool.replace(marked(&[(1, true), (2, true), (3, true)]));
    assert_eq!(picks(&pool, 6), [1, 2, 3, 1, 2, 3]);
    assert_eq!(states(&pool), [EndpointState::Draining; 3]);
    assert_eq!((pool.census().draining, pool.census().active), (3, 3));
}

/// What is worse than to drain is the state, and what the endpoint does is looked at as before.
#[test]
fn a_draining_endpoint_that_is_down_has_the_worse_state() {
    type Event = fn(&Pool);
    let cases: [(Event, EndpointState); 6] = [
        (|_| {}, EndpointState::Draining),
        (|pool| pool.slow(addr(1)), EndpointState::Draining),
        (
            |pool| pool.checked(addr(1), Checked::Failed, true, None),
            EndpointState::Unhealthy,
        ),
        (|pool| pool.probed(addr(1), None), EndpointState::Silent),
        (
            |pool| pool.failed(addr(1), Instant::now(), &refused(1)),
            EndpointState::Inactive,
        ),
        (
            |pool| pool.failed(addr(1), Instant::now(), &dial::ErrorKind::Loop.at(addr(1))),
            EndpointState::ThisGateway,
        ),
    ];
    for (event, state) in cases {
        let pool = pool(&[1, 2]);
        pool.replace(marked(&[(1, true), (2, false)]));
        assert!(pool.usable().contains(&addr(1)), "its health is asked for");
        event(&pool);
        assert_eq!(states(&pool)[0], state);
        assert_eq!(pool.census().draining, 1, "{state:?}");
        let was = pool.views()[0].since;
        let change = pool.replace(marked(&[(1, false), (2, false)]));
        assert_eq!(change.restored, [addr(1)]);
        if state != EndpointState::Draining {
            assert_eq!(pool.views()[0].since, was, "it is in that state still");
        }
    }
    let pool = Pool::new(Policy::RoundRobin, Duration::from_secs(60), None).unwrap();
    pool.replace(marked(&[(1, true)]));
    assert_eq!(
        states(&pool),
        [EndpointState::Untried],
        "nothing is known yet"
    );
    assert_eq!(due(&pool, Instant::now()).0, [addr(1)]);
}

/// Another is known to be better also if it drains: clients that are reset get it.
#[test]
fn a_draining_endpoint_is_better_than_a_silent_one() {
    let pool = pool(&[1, 2]);
    pool.replace(marked(&[(1, true), (2, false)]));
    pool.probed(addr(2), None);
    pool.first_answer(addr(1), Instant::now());
    let doubted = pool.doubted(Duration::ZERO);
    let doubted: Vec<_> = doubted
        .iter()
        .map(|d| (d.addr, d.another_is_better))
        .collect();
    assert_eq!(doubted, [(addr(2), true)]);
}

#[test]
fn a_client_waits_for_others_before_a_draining_endpoint() {
    // (tried, waits for, whether the next is to be spared)
    let cases: [(&[u16], &[u16], bool); 6] = [
        (&[2], &[2], false), // 3 is next
        (&[2, 3], &[2, 3], true),
        (&[2, 3], &[3], true),
        (&[2, 3], &[], false),
        (&[1, 2, 3], &[1], false), // 4 is next, and 1 drains, too
        (&[1, 2, 3], &[1, 3], true),
    ];
    for (tried, waits_for, spared) in cases {
        let pool = pool(&[1, 2, 3, 4]);
        pool.replace(marked(&[(1, true), (2, false), (3, false), (4, true)]));
        let addrs = |ports: &[u16]| ports.iter().copied().map(addr).collect::<Vec<_>>();
        let spares = pool.is_worth_waiting(&addrs(tried), addrs(waits_for).into_iter());
        assert_eq!(spares, spared, "{tried:?} {waits_for:?}");
    }
}
