//! Tests of the pool.

use super::*;
use crate::endpoint::Source;

fn endpoint(port: u16) -> Endpoint {
    let addr = SocketAddr::from(([127, 0, 0, 1], port));
    Endpoint {
        addr,
        name: addr.to_string(),
        priority: 0,
        weight: 0,
        identity: None,
        source: Source::Endpoints,
    }
}

fn pool(ports: &[u16]) -> Pool {
    let pool = Pool::new(Policy::RoundRobin, Duration::from_secs(60), None).unwrap();
    pool.replace(ports.iter().copied().map(endpoint).collect());
    pool
}

fn addr(port: u16) -> SocketAddr {
    endpoint(port).addr
}

fn refused(port: u16) -> dial::Error {
    dial::Error::connect(addr(port), io::Error::from_raw_os_error(111))
}

fn pick(pool: &Pool, tried: &[u16]) -> Option<u16> {
    let tried: Vec<SocketAddr> = tried.iter().copied().map(addr).collect();
    pool.pick(&tried).map(|(addr, _)| addr.port())
}

fn picks(pool: &Pool, count: usize) -> Vec<u16> {
    (0..count).filter_map(|_| pick(pool, &[])).collect()
}

#[test]
fn a_failure_takes_an_endpoint_out_and_a_success_brings_it_back() {
    let pool = pool(&[1, 2, 3]);
    assert_eq!(picks(&pool, 4), [1, 2, 3, 1]);
    pool.failed(addr(2), Instant::now(), &refused(2));
    assert_eq!(picks(&pool, 4), [3, 1, 3, 1]);
    assert_eq!(
        pool.census(),
        Census {
            active: 2,
            total: 3
        }
    );
    pool.succeeded(addr(2), Instant::now());
    assert_eq!(picks(&pool, 3), [2, 3, 1]);
}

#[test]
fn our_own_failures_and_stale_ones_change_nothing() {
    let pool = pool(&[1, 2]);
    let out_of_ports = dial::Error::connect(addr(1), io::Error::from_raw_os_error(99));
    pool.failed(addr(1), Instant::now(), &out_of_ports);
    assert_eq!(pool.census().active, 2);
    let before = Instant::now();
    pool.succeeded(addr(1), Instant::now());
    pool.failed(addr(1), before, &refused(1));
    assert_eq!(
        pool.census().active,
        2,
        "the endpoint was well after that dial began"
    );
    pool.failed(addr(1), Instant::now(), &refused(1));
    assert_eq!(pool.census().active, 1);
    pool.failed(addr(9), Instant::now(), &refused(9));
    assert_eq!(pool.census().total, 2);

    pool.overdue(addr(2));
    let before = Instant::now();
    pool.succeeded(addr(2), Instant::now());
    pool.overdue(addr(2));
    pool.failed(addr(2), before, &refused(2));
    pool.succeeded(addr(1), Instant::now());
    assert_eq!(
        picks(&pool, 4),
        [1, 2, 1, 2],
        "a stale failure ends the doubt all the same"
    );
}

#[test]
fn a_slow_endpoint_is_nobodys_first_choice_until_it_has_an_outcome() {
    let pool = pool(&[1, 2, 3]);
    pool.overdue(addr(1));
    assert_eq!(picks(&pool, 4), [2, 3, 2, 3]);
    assert_eq!(pick(&pool, &[2, 3]), Some(1));
    assert_eq!(pool.census().active, 3);
    pool.answered(addr(1), Duration::from_secs(1));
    assert_eq!(picks(&pool, 3), [2, 3, 1]);
}

#[test]
fn with_none_active_all_are_tried_in_turn_but_never_the_gateway_itself() {
    let pool = pool(&[1, 2, 3]);
    for port in [1, 2] {
        pool.failed(addr(port), Instant::now(), &refused(port));
    }
    pool.failed(addr(3), Instant::now(), &dial::Error::looped(addr(3)));
    assert!(pool.is_looped(addr(3)) && !pool.is_looped(addr(1)));
    assert_eq!(picks(&pool, 4), [1, 2, 1, 2]);
    assert_eq!(pick(&pool, &[1, 2]), None);
}

#[test]
fn a_loop_counts_although_the_dial_succeeded() {
    let pool = pool(&[1]);
    let before = Instant::now();
    pool.succeeded(addr(1), Instant::now());
    pool.failed(addr(1), before, &dial::Error::looped(addr(1)));
    assert!(pool.is_looped(addr(1)));
}

/// Of a dial that comes back to us both ends are ours, and either may be looked at first.
#[test]
fn a_dial_that_began_before_a_loop_was_found_does_not_end_it() {
    for identity in [None, Some("etcd.example".to_owned())] {
        let gate = identity
            .is_some()
            .then(|| -> Arc<dyn Gate> { Arc::new(Strict) });
        let pool = Pool::new(Policy::RoundRobin, Duration::from_secs(60), gate).unwrap();
        let endpoint = Endpoint {
            identity,
            ..endpoint(1)
        };
        pool.replace(vec![endpoint.clone()]);
        pool.proven(&endpoint, Instant::now(), PROOF);
        let before = Instant::now();
        pool.failed(addr(1), before, &dial::Error::looped(addr(1)));
        pool.failed(addr(1), before, &refused(1));
        assert!(pool.is_looped(addr(1)), "by its failure");
        pool.answered(addr(1), Duration::ZERO);
        pool.succeeded(addr(1), before);
        assert!(pool.is_looped(addr(1)), "by its success");
        assert!(!pool.proven(&endpoint, before, PROOF), "by its proof");
        assert!(pool.is_looped(addr(1)) && pick(&pool, &[]).is_none());
        // What began later tells of what is there now.
        pool.proven(&endpoint, Instant::now(), PROOF);
        pool.succeeded(addr(1), Instant::now());
        assert_eq!(picks(&pool, 1), [1]);
    }
}

#[test]
fn a_new_set_keeps_what_is_known_of_what_stays() {
    let pool = pool(&[1, 2]);
    pool.failed(addr(1), Instant::now(), &refused(1));
    let change = pool.replace([3, 1, 3].map(endpoint).into());
    assert_eq!(change.added, [addr(3)]);
    assert_eq!(change.removed, [addr(2)]);
    assert_eq!(
        pool.census(),
        Census {
            active: 1,
            total: 2
        }
    );
    assert!(pool.replace([1, 3].map(endpoint).into()).is_empty());
}

#[test]
fn an_inactive_endpoint_is_due_once_a_delay() {
    let pool = pool(&[1, 2]);
    let now = Instant::now();
    assert_eq!(pool.due(now), (vec![], None));
    pool.failed(addr(1), now, &refused(1));
    let (due, next) = pool.due(now);
    assert!(due.is_empty());
    let next = next.unwrap();
    assert!(next >= now + Duration::from_secs(54) && next <= now + Duration::from_secs(61));
    let (due, after) = pool.due(next);
    assert_eq!(due, [addr(1)]);
    assert!(after.unwrap() >= next + Duration::from_secs(54));
    assert!(pool.due(next).0.is_empty(), "handed out once");
}

#[test]
fn even_under_concurrent_clients() {
    let pool = pool(&[1, 2, 3]);
    let ports = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..10 {
            scope.spawn(|| {
                let drawn = picks(&pool, 30);
                lock(&ports).extend(drawn);
            });
        }
    });
    let ports = ports.into_inner().unwrap();
    for port in 1..=3 {
        assert_eq!(ports.iter().filter(|drawn| **drawn == port).count(), 100);
    }
}

const PROOF: Proof = Proof {
    not_after: Some(4_000_000_000),
};

#[derive(Debug)]
struct Strict;

impl Gate for Strict {
    fn admit(&self, endpoint: &Endpoint, _: Duration) -> Result<Proof, dial::Error> {
        match endpoint.identity.as_deref() {
            Some("etcd.example") => Ok(PROOF),
            _ => Err(dial::Error::rejected(endpoint.addr, "impostor".to_owned())),
        }
    }
}

#[test]
fn nobody_reaches_an_endpoint_that_has_not_proven_itself() {
    let pool = Pool::new(
        Policy::RoundRobin,
        Duration::from_secs(60),
        Some(Arc::new(Strict)),
    )
    .unwrap();
    let with_identity = |port, identity: &str| Endpoint {
        identity: Some(identity.to_owned()),
        ..endpoint(port)
    };
    pool.replace(vec![
        with_identity(1, "etcd.example"),
        with_identity(2, "other"),
    ]);
    assert_eq!(pick(&pool, &[]), None, "not even as a last resort");
    assert_eq!(
        pool.due(Instant::now()).0,
        [addr(1), addr(2)],
        "asked at once"
    );
    let patience = Duration::from_secs(1);
    for port in [1, 2] {
        assert!(pool.needs_proof(addr(port)));
        match pool.vet(addr(port), patience) {
            Ok(()) => pool.succeeded(addr(port), Instant::now()),
            Err(error) => pool.failed(addr(port), Instant::now(), &error),
        }
    }
    assert_eq!(picks(&pool, 2), [1, 1]);
    assert_eq!(pool.authenticated(), [with_identity(1, "etcd.example")]);
    assert!(
        !pool.needs_proof(addr(1)),
        "once is enough while it is active"
    );

    pool.failed(addr(1), Instant::now(), &refused(1));
    assert!(
        pool.needs_proof(addr(1)),
        "it may be another when it comes back"
    );
    assert_eq!(picks(&pool, 1), [1], "a last resort, once vetted");
    pool.failed(addr(2), Instant::now(), &refused(2));
    assert_eq!(
        picks(&pool, 2),
        [1, 1],
        "an impostor that went away is none the better"
    );

    pool.succeeded(addr(1), Instant::now());
    pool.replace(vec![with_identity(1, "third.example")]);
    assert_eq!(pick(&pool, &[]), None, "another name is another identity");
}

/// A dial that a client gave up is the monitor's: what it tells of the endpoint holds although that
/// then has more to prove, over another connection.
#[test]
fn a_dial_that_is_answered_ends_the_doubt_and_proves_nothing() {
    use view::Status;
    let gate: Arc<dyn Gate> = Arc::new(Strict);
    let pool = Pool::new(Policy::RoundRobin, Duration::from_secs(60), Some(gate)).unwrap();
    let with_identity = |port| Endpoint {
        identity: Some("etcd.example".to_owned()),
        ..endpoint(port)
    };
    pool.replace([1, 2].map(with_identity).into());
    let seen = || pool.views().swap_remove(0).status;
    let patience = Duration::from_secs(1);
    for port in [1, 2] {
        pool.vet(addr(port), patience).unwrap();
    }
    pool.failed(addr(1), Instant::now(), &refused(1));
    pool.overdue(addr(1));
    pool.answered(addr(1), patience);
    assert_eq!(seen(), Status::Inactive);
    assert!(pool.needs_proof(addr(1)));
    assert_eq!(pick(&pool, &[2]), Some(1), "a last resort, once vetted");
    pool.vet(addr(1), patience).unwrap();
    assert_eq!(seen(), Status::Active);
    assert_eq!(picks(&pool, 2), [2, 1]);
    // Not yet proven at all: no dial makes it a choice.
    pool.replace(vec![with_identity(3)]);
    pool.overdue(addr(3));
    pool.answered(addr(3), patience);
    assert_eq!((seen(), pick(&pool, &[])), (Status::Unproven, None));
}

/// It was answered, over a connection of its own.
#[test]
fn a_failure_that_is_older_than_a_proof_changes_nothing() {
    let gate: Arc<dyn Gate> = Arc::new(Strict);
    let pool = Pool::new(Policy::RoundRobin, Duration::from_secs(60), Some(gate)).unwrap();
    let identity = Some("etcd.example".to_owned());
    pool.replace(vec![Endpoint {
        identity,
        ..endpoint(1)
    }]);
    let before = Instant::now();
    pool.vet(addr(1), Duration::from_secs(1)).unwrap();
    pool.failed(addr(1), before, &refused(1));
    assert_eq!(pool.census().active, 1);
    let rejected = dial::Error::rejected(addr(1), "expired".to_owned());
    pool.failed(addr(1), before, &rejected);
    assert_eq!(pool.census().active, 0, "but for what it has shown since");
}

/// A gate that lets the pool change while it is asking.
#[derive(Debug)]
struct Slow(std::sync::OnceLock<Arc<Pool>>, fn(&Pool));

impl Gate for Slow {
    fn admit(&self, _: &Endpoint, _: Duration) -> Result<Proof, dial::Error> {
        if let Some(pool) = self.0.get() {
            (self.1)(pool);
        }
        Ok(PROOF)
    }
}

#[test]
fn a_proof_is_of_that_endpoint_and_of_that_time() {
    let with_identity = |identity: &str| Endpoint {
        identity: Some(identity.to_owned()),
        ..endpoint(1)
    };
    type Change = (&'static str, fn(&Pool), &'static str);
    let changes: [Change; 4] = [
        (
            "removed",
            |pool| drop(pool.replace(vec![endpoint(2)])),
            "not an endpoint any more",
        ),
        (
            "another identity",
            |pool| {
                let identity = Some("other.example".to_owned());
                pool.replace(vec![Endpoint {
                    identity,
                    ..endpoint(1)
                }]);
            },
            "not an endpoint any more",
        ),
        (
            "refused meanwhile",
            |pool| {
                let refused = dial::Error::rejected(addr(1), "expired".to_owned());
                pool.failed(addr(1), Instant::now(), &refused);
            },
            "refused meanwhile: authenticate 127.0.0.1:1: expired",
        ),
        (
            "looped meanwhile",
            |pool| {
                pool.failed(addr(1), Instant::now(), &dial::Error::looped(addr(1)));
            },
            "endpoint is this gateway itself",
        ),
    ];
    for (what, change, reason) in changes {
        let gate = Arc::new(Slow(std::sync::OnceLock::new(), change));
        let pool = Pool::new(
            Policy::RoundRobin,
            Duration::from_secs(60),
            Some(gate.clone()),
        )
        .unwrap();
        let pool = Arc::new(pool);
        gate.0.set(Arc::clone(&pool)).unwrap();
        pool.replace(vec![with_identity("etcd.example")]);
        let error = pool.vet(addr(1), Duration::from_secs(1)).unwrap_err();
        assert!(error.to_string().contains(reason), "{what}: {error}");
        assert!(pool.authenticated().is_empty(), "{what}");
        pool.succeeded(addr(1), Instant::now());
        assert!(
            pool.authenticated().is_empty(),
            "{what}: a dial proves nothing"
        );
    }
}

#[test]
fn what_is_seen_of_an_endpoint_follows_what_happens_to_it() {
    use view::Status;
    let pool = pool(&[1, 2]);
    let seen = || {
        let views = pool.views();
        let seen = views
            .iter()
            .map(|view| (view.endpoint.addr.port(), view.status));
        seen.collect::<Vec<_>>()
    };
    let begun = Instant::now();
    pool.overdue(addr(1));
    assert_eq!(seen(), [(1, Status::Overdue), (2, Status::Active)]);
    pool.failed(addr(1), begun, &refused(1));
    pool.failed(addr(2), begun, &dial::Error::looped(addr(2)));
    assert_eq!(seen(), [(1, Status::Inactive), (2, Status::Looped)]);
    let view = pool.views().swap_remove(0);
    assert!(view.last_error.unwrap().1.ends_with("connection refused"));
    let endless = dial::Error::rejected(addr(2), "é".repeat(10_000));
    pool.failed(addr(2), Instant::now(), &endless);
    let kept = pool.views().swap_remove(1).last_error.unwrap().1;
    assert_eq!(kept.chars().count(), 501, "{kept}");
    pool.succeeded(addr(1), Instant::now());
    let view = pool.views().swap_remove(0);
    assert_eq!(view.status, Status::Active);
    assert!(view.last_error.is_some(), "what was wrong stays to be read");
    assert_eq!(
        (
            view.ledger.activations.get(),
            view.ledger.deactivations.get()
        ),
        (1, 1)
    );
}

#[test]
fn each_dial_is_counted_once_by_its_outcome() {
    let pool = pool(&[1]);
    pool.answered(addr(1), Duration::from_millis(2));
    pool.succeeded(addr(1), Instant::now());
    pool.failed(addr(1), Instant::now(), &refused(1));
    pool.reaffirmed(addr(1), PROOF);
    // Of an address that nobody knows nothing is kept.
    pool.answered(addr(9), Duration::from_millis(2));
    let ledger = pool.views().swap_remove(0).ledger;
    let dials: Vec<_> = ledger.dials().filter(|(_, count)| *count > 0).collect();
    assert_eq!(dials, [("ok", 2), ("refused", 1)]);
    assert_eq!(ledger.dial_time.read().count, 1);
    assert_eq!(ledger.not_after(), PROOF.not_after);
}

#[test]
fn an_account_stays_while_it_is_needed_and_goes_on_when_an_endpoint_is_back() {
    use view::Status;
    let pool = pool(&[1, 2]);
    let account = |port: u16| {
        let mut views = pool.views().into_iter();
        let view = views.find(|view| view.endpoint.addr == addr(port));
        view.unwrap().ledger
    };
    let client = account(1).hold().connected();
    client.to_client.add(7);
    pool.replace(vec![endpoint(3)]);
    let seen = || {
        let views = pool.views();
        let seen = views
            .iter()
            .map(|view| (view.endpoint.addr.port(), view.status));
        seen.collect::<Vec<_>>()
    };
    assert_eq!(
        seen(),
        [(3, Status::Active), (1, Status::Removed)],
        "of number 2 nothing was open"
    );
    pool.replace(vec![endpoint(1)]);
    assert_eq!(seen(), [(1, Status::Active)]);
    assert_eq!(account(1).to_client.get(), 7);
    pool.replace(vec![endpoint(2)]);
    assert_eq!(seen(), [(2, Status::Active), (1, Status::Removed)]);
    drop(client);
    assert_eq!(seen(), [(2, Status::Active)]);
    // The same address with another identity is new, and has the same account.
    account(2).to_client.add(1);
    let identity = Some("etcd.example".to_owned());
    pool.replace(vec![Endpoint {
        identity,
        ..endpoint(2)
    }]);
    assert_eq!(seen(), [(2, Status::Unproven)]);
    assert_eq!(account(2).to_client.get(), 1);
}

/// What was picked and is held.
type Held = Vec<(SocketAddr, Hold)>;

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
fn a_pick_counts_until_its_hold_ends() {
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
    assert!(pool.proven(&one, Instant::now(), PROOF));
    assert_eq!(ports(&hold(&pool, 3)), [1, 2, 3], "each has four");
    drop(held);
    assert_eq!(ports(&hold(&pool, 8)), [1, 1, 1, 1, 2, 2, 2, 2]);
    // Of what is gone for good nothing is kept.
    drop(newer);
    pool.replace(vec![endpoint(9)]);
    pool.replace(vec![endpoint(8)]);
    assert!(lock(&pool.state).departed.is_empty());
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
