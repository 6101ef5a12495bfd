//! Endpoints that have to be authenticated.

use super::*;

/// A pool whose endpoints are authenticated, if they have an identity.
fn strict_pool() -> Pool {
    let authenticator: Arc<dyn Authenticate> = Arc::new(Strict);
    let retry_delay = Duration::from_secs(60);
    Pool::new(Policy::RoundRobin, retry_delay, Some(authenticator)).unwrap()
}

#[test]
fn an_unauthenticated_endpoint_gets_no_client() {
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
        due(&pool, Instant::now()).0,
        [addr(1), addr(2)],
        "asked at once"
    );
    for port in [1, 2] {
        assert!(needs_proof(&pool, port));
        match admit(&pool, port) {
            Ok(()) => pool.succeeded(addr(port), Instant::now()),
            Err(error) => pool.failed(addr(port), Instant::now(), &error),
        }
    }
    assert_eq!(picks(&pool, 2), [1, 1]);
    assert_eq!(pool.authenticated(), [with_identity(1, "etcd.example")]);
    assert!(!needs_proof(&pool, 1), "once is enough while it is active");

    pool.failed(addr(1), Instant::now(), &refused(1));
    assert!(
        needs_proof(&pool, 1),
        "it may be another when it comes back"
    );
    assert_eq!(picks(&pool, 1), [1], "a last resort, once authenticated");
    pool.failed(addr(2), Instant::now(), &refused(2));
    assert_eq!(
        picks(&pool, 2),
        [1, 1],
        "an impostor that is down is still one"
    );

    pool.succeeded(addr(1), Instant::now());
    pool.replace(vec![with_identity(1, "third.example")]);
    assert_eq!(pick(&pool, &[]), None, "another name is another identity");
}

/// The monitor continues a dial that a client gave up: its result counts, although the endpoint must then be
/// authenticated over another connection.
#[test]
fn an_answered_dial_ends_the_doubt_and_authenticates_nothing() {
    let pool = strict_pool();
    let with_identity = |port| Endpoint {
        identity: Some("etcd.example".to_owned()),
        ..endpoint(port)
    };
    pool.replace([1, 2].map(with_identity).into());
    let seen = || pool.views().swap_remove(0).state;
    let patience = Duration::from_secs(1);
    for port in [1, 2] {
        admit(&pool, port).unwrap();
    }
    pool.failed(addr(1), Instant::now(), &refused(1));
    pool.slow(addr(1));
    answered(&pool, 1, patience);
    assert_eq!(seen(), EndpointState::Inactive);
    assert!(needs_proof(&pool, 1));
    assert_eq!(
        pick(&pool, &[2]),
        Some(1),
        "a last resort, once authenticated"
    );
    admit(&pool, 1).unwrap();
    assert_eq!(seen(), EndpointState::Active);
    assert_eq!(picks(&pool, 2), [2, 1]);
    // Not yet proven at all: no dial makes it a choice.
    pool.replace(vec![with_identity(3)]);
    pool.slow(addr(3));
    answered(&pool, 3, patience);
    assert_eq!((seen(), pick(&pool, &[])), (EndpointState::Untried, None));
}

/// It was answered, over a connection of its own.
#[test]
fn a_failure_older_than_an_authentication_changes_nothing() {
    let pool = strict_pool();
    let identity = Some("etcd.example".to_owned());
    pool.replace(vec![Endpoint {
        identity,
        ..endpoint(1)
    }]);
    let before = Instant::now();
    admit(&pool, 1).unwrap();
    pool.failed(addr(1), before, &refused(1));
    assert_eq!(pool.census().active, 1);
    let rejected = dial::ErrorKind::Rejected("expired".to_owned()).at(addr(1));
    pool.failed(addr(1), before, &rejected);
    assert_eq!(pool.census().active, 0, "but for what it has shown since");
    assert_eq!(pool.views()[0].state, EndpointState::Unauthenticated);
    assert_eq!(pick(&pool, &[]), None, "an impostor is not a last resort");
}

/// An authenticator that lets the pool change while it is asking.
#[derive(Debug)]
struct Slow(std::sync::OnceLock<Arc<Pool>>, fn(&Pool));

impl Authenticate for Slow {
    fn authenticate(&self, _: &Endpoint, _: Duration, _: &Slot) -> Result<Proof, dial::Error> {
        if let Some(pool) = self.0.get() {
            (self.1)(pool);
        }
        Ok(PROOF)
    }
}

#[test]
fn an_authentication_is_of_that_endpoint_and_of_that_time() {
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
            "rejected meanwhile",
            |pool| {
                let refused = dial::ErrorKind::Rejected("expired".to_owned()).at(addr(1));
                pool.failed(addr(1), Instant::now(), &refused);
            },
            "rejected meanwhile: authenticate 127.0.0.1:1: expired",
        ),
        (
            "looped meanwhile",
            |pool| {
                pool.failed(addr(1), Instant::now(), &dial::ErrorKind::Loop.at(addr(1)));
            },
            "endpoint is this gateway itself",
        ),
    ];
    for (what, change, reason) in changes {
        let authenticator = Arc::new(Slow(std::sync::OnceLock::new(), change));
        let pool = Pool::new(
            Policy::RoundRobin,
            Duration::from_secs(60),
            Some(authenticator.clone()),
        )
        .unwrap();
        let pool = Arc::new(pool);
        authenticator.0.set(Arc::clone(&pool)).unwrap();
        pool.replace(vec![with_identity("etcd.example")]);
        let error = admit(&pool, 1).unwrap_err();
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
fn without_authentication_a_dial_makes_any_endpoint_active() {
    let pool = Pool::new(Policy::RoundRobin, Duration::from_secs(60), None).unwrap();
    let identity = Some("etcd.example".to_owned());
    pool.replace(vec![Endpoint {
        identity,
        ..endpoint(1)
    }]);
    assert_eq!(pool.census().active, 0, "nothing was found out yet");
    admit(&pool, 1).unwrap();
    assert_eq!(picks(&pool, 2), [1, 1]);
}

#[test]
fn with_authentication_a_removed_endpoint_is_rejected() {
    let pool = strict_pool();
    pool.replace(vec![endpoint(1)]);
    assert!(!needs_proof(&pool, 1), "it has no identity");
    pool.failed(addr(1), Instant::now(), &refused(1));
    assert!(!needs_proof(&pool, 1), "nor when it was down");
    let error = admit(&pool, 9).unwrap_err();
    assert!(error.is_rejected(), "{error}");
    assert!(
        admit(&super::pool(&[1]), 9).is_ok(),
        "it is not authenticated"
    );
}
