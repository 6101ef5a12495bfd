//! The history of changes: each is kept once, with the earlier state and how long it lasted.

use super::*;
use EndpointState::{Active, Draining, Inactive, Removed, Untried};

#[test]
fn every_change_of_a_state_is_kept() {
    let pool = Pool::new(Policy::RoundRobin, Duration::from_secs(60), None).unwrap();
    pool.replace(vec![endpoint(1), endpoint(2)]);
    assert_eq!(pool.transitions(), []);
    pool.succeeded(addr(1), Instant::now());
    pool.failed(addr(1), Instant::now(), &refused(1));
    // What changes nothing is not a change.
    pool.failed(addr(1), Instant::now(), &refused(1));
    let down = pool.views()[0].since;
    pool.succeeded(addr(1), Instant::now());
    let drains = Endpoint {
        drains: true,
        ..endpoint(1)
    };
    pool.replace(vec![drains]);

    let error = refused(1).to_string();
    let found = pool.transitions();
    let states = found.iter().map(|change| {
        let reason = change.reason.as_deref();
        (change.addr.port(), change.from, change.to, reason)
    });
    let expected = [
        (1, Active, Draining, None),
        (2, Untried, Removed, None),
        (1, Inactive, Active, None),
        (1, Active, Inactive, Some(error.as_str())),
        (1, Untried, Active, None),
    ];
    assert_eq!(states.collect::<Vec<_>>(), expected);
    // Each state but the first has lasted from the change before.
    for pair in [[0, 2], [2, 3], [3, 4]] {
        let [change, before] = pair.map(|index| &found[index]);
        assert_eq!(change.lasted, change.at - before.at);
    }
    assert_eq!(found[3].at, down);
    assert_eq!(found[1].name, addr(2).to_string());

    let hour = pool.views()[0].hour;
    let last = hour.last().copied().flatten();
    assert_eq!(last, Some(Inactive), "the worst of this minute");
    assert_eq!(hour[..59], [None; 59], "nothing is known of before");
}
