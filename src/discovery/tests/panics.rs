//! A defect in one refresh fails that refresh only. The panic prints a message, which is not under test.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

const PROBLEM: &str =
    "a refresh panicked, which is a defect of the gateway; what is known stays in use";

#[test]
fn a_refresh_without_memory_changes_nothing() {
    let mut bench = Bench::new(srv());
    bench.members(&[1, 2], &[3]);
    bench.refresh();
    bench.members(&[4], &[5]);
    let refused = memory::tests::refuse();
    bench.refresh();
    assert_eq!(bench.endpoints(), ["1", "2", "3"]);
    assert_eq!(
        bench.problems(),
        ["a refresh: cannot allocate memory; what is known stays in use"]
    );
    drop(refused);
    bench.refresh();
    assert_eq!(
        (bench.endpoints(), bench.counts()),
        (["4", "5"].map(str::to_owned).to_vec(), (2, 1))
    );
    assert!(bench.problems().is_empty());
}

/// The panic is in a thread that looks a name up.
#[test]
fn a_panic_in_a_lookup_fails_that_refresh_only() {
    static IS_DEFECT: AtomicBool = AtomicBool::new(false);
    fn random(octets: &mut [u8]) -> io::Result<()> {
        assert!(!IS_DEFECT.load(Ordering::SeqCst), "a defect");
        entropy(octets)
    }
    let mut bench = Bench::with(srv(), TIMES, "", random);
    bench.members(&[1, 2], &[3]);
    bench.refresh();
    heard();
    IS_DEFECT.store(true, Ordering::SeqCst);
    bench.members(&[4], &[]);
    for round in 1..=3 {
        bench.refresh();
        assert_eq!(bench.endpoints(), ["1", "2", "3"]);
        assert_eq!(bench.counts(), (1, round));
        assert_eq!(bench.problems(), [PROBLEM]);
        let longest = Duration::from_secs(5 << (round - 1));
        assert!(bench.pause() <= longest && bench.pause() > longest / 2);
    }
    let expected = "ERROR discovery: a refresh panicked, will try again";
    assert_eq!(heard(), [expected]);
    IS_DEFECT.store(false, Ordering::SeqCst);
    bench.refresh();
    assert_eq!(bench.endpoints(), ["3", "4"]);
    assert_eq!(bench.counts().0, 1, "one service is not answered for");
    assert_eq!(count(&heard(), "problem is over"), 1);
}

#[test]
fn a_panic_in_an_authentication_leaves_discovery_running() {
    let times = Times {
        audit: Duration::ZERO,
        ..TIMES
    };
    let mut bench = Bench::with(authenticated(&[]), times, "", entropy);
    bench.members(&[1, 2], &[]);
    bench.start().unwrap();
    let gate = bench.gate.clone().unwrap();
    lock(&gate.defects).insert("m1.test:1".to_owned());
    bench.step(Ok(false));
    assert_eq!(bench.problems(), [PROBLEM]);
    lock(&gate.defects).clear();
    bench.members(&[2, 3], &[]);
    bench.refresh();
    assert_eq!(bench.endpoints(), ["2", "3"]);
    assert_eq!(bench.problems(), [""; 0]);
}
