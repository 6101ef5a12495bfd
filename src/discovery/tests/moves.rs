//! Members move from one service of a domain to the other: the old records are forgotten once the
//! new ones serve, and not before.

use super::*;

const GONE: &str = "SRV records no longer exist";

/// Members 1 and 3 are published for TLS, 1 and 2 without; then the services say something else.
#[test]
fn a_service_without_records_is_believed_while_the_other_has_members() {
    type Change = fn(&Bench);
    type Case = (
        &'static str,
        fn() -> Members,
        Change,
        &'static [&'static str],
    );
    let plain_is_gone: Change = |bench| bench.members(&[1, 3], &[]);
    let tls_is_gone: Change = |bench| bench.members(&[], &[1, 2]);
    let both_are_gone: Change = |bench| bench.publish("");
    let cases: [Case; 11] = [
        ("plain NXDOMAIN", srv, plain_is_gone, &["1", "3"]),
        (
            "plain NODATA",
            srv,
            |bench| bench.publish(&format!("{TLS} SRV 0 0 1 m3.test\n{PLAIN} A 127.1.0.9")),
            &["3"],
        ),
        ("TLS NXDOMAIN", srv, tls_is_gone, &["1", "2"]),
        ("both NXDOMAIN", srv, both_are_gone, &["1", "2", "3"]),
        (
            "the other fails",
            srv,
            |bench| {
                bench.members(&[1, 3], &[]);
                bench.fail(TLS, SERVFAIL);
            },
            &["1", "2", "3"],
        ),
        (
            "it fails itself",
            srv,
            |bench| bench.fail(PLAIN, SERVFAIL),
            &["1", "2", "3"],
        ),
        (
            "the other declines",
            srv,
            |bench| bench.publish(&format!("{TLS} SRV 0 0 0 .")),
            &["1", "2"],
        ),
        (
            "the other has port 0",
            srv,
            |bench| bench.publish(&format!("{TLS} SRV 0 0 0 m3.test")),
            &["1", "2"],
        ),
        (
            "the other has no address",
            srv,
            |bench| bench.publish(&format!("{TLS} SRV 0 0 1 lost.test")),
            &["1", "2"],
        ),
        // Members that do not use TLS may not serve, so others are not forgotten because of them.
        ("TLS NXDOMAIN", secure, tls_is_gone, &["1", "3"]),
        ("plain NXDOMAIN", secure, plain_is_gone, &["1", "3"]),
    ];
    for (case, source, change, expected) in cases {
        let mut bench = Bench::new(source());
        bench.members(&[1, 3], &[1, 2]);
        bench.refresh();
        bench.refresh();
        heard();
        change(&bench);
        // It stays like this.
        for _ in 0..3 {
            bench.refresh();
            assert_eq!(bench.endpoints(), expected, "{case}");
        }
        let is_kept = bench.problems().iter().any(|p| p.contains("stay in use"));
        let is_gone = count(&heard(), GONE) == 1;
        assert_eq!((is_kept, is_gone), (!is_gone, !is_kept), "{case}");
        if is_gone {
            assert_eq!(bench.counts(), (5, 0), "{case}");
            assert_eq!(bench.problems(), [""; 0], "{case}");
        }
    }
}

fn secure() -> Members {
    authenticated(&[])
}

/// Records that replace others at once are used once the new names have addresses.
#[test]
fn a_move_to_new_members_ends_and_is_logged() {
    let mut bench = Bench::new(srv());
    bench.members(&[], &[1, 2]);
    bench.refresh();
    heard();
    bench.members(&[3], &[]);
    bench.refresh();
    assert_eq!(bench.endpoints(), ["1", "2", "3"]);
    let problems = bench.problems();
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].contains("records that stay in use: 2"));
    let lines = heard();
    assert_eq!(count(&lines, "SRV lookup failed"), 1, "{lines:?}");
    bench.refresh();
    assert_eq!(bench.endpoints(), ["3"]);
    assert_eq!(bench.problems(), [""; 0]);
    let lines = heard();
    let gone = "INFO  discovery: SRV records no longer exist, using those of the other service \
                name=_etcd-client._tcp.x.test records=2 error=";
    assert!(lines[0].starts_with(gone), "{lines:?}");
    assert!(lines[0].contains("NXDOMAIN"), "{lines:?}");
    assert_eq!((lines.len(), count(&lines, "endpoints changed")), (2, 1));
    // Names that are not used any more are not looked up.
    let asked = bench.asked("m1.test");
    bench.refresh();
    assert_eq!(bench.asked("m1.test"), asked);
    assert_eq!(heard(), [""; 0]);
}

#[test]
fn a_forgotten_service_comes_back() {
    let mut bench = Bench::new(srv());
    let follow = |bench: &mut Bench, tls: &[u8], plain: &[u8], expected: &[&str]| {
        bench.members(tls, plain);
        bench.refresh();
        assert_eq!(bench.endpoints(), expected, "{tls:?} {plain:?}");
    };
    follow(&mut bench, &[1], &[2], &["1", "2"]);
    follow(&mut bench, &[1], &[], &["1"]);
    // Now it is the only one left, so that it stays.
    follow(&mut bench, &[], &[], &["1"]);
    follow(&mut bench, &[1], &[2, 3], &["1", "2", "3"]);
    follow(&mut bench, &[1], &[3], &["1", "3"]);
    // And the other way round.
    follow(&mut bench, &[], &[3], &["3"]);
    follow(&mut bench, &[], &[], &["3"]);
    follow(&mut bench, &[4], &[3], &["3", "4"]);
    assert_eq!(bench.problems(), [""; 0]);
    // A failure of a forgotten service is logged like that of one that never had records.
    follow(&mut bench, &[4], &[], &["4"]);
    heard();
    bench.fail(PLAIN, SERVFAIL);
    bench.refresh();
    bench.mend();
    bench.refresh();
    assert_eq!(bench.endpoints(), ["4"]);
    let lines = heard();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert_eq!(count(&lines, "SRV lookup failed"), 1, "{lines:?}");
    assert_eq!(count(&lines, "SRV lookup works again"), 1, "{lines:?}");
}

/// While an earlier name of the search list is unanswered, it is unknown which members count.
#[test]
fn members_of_a_doubtful_name_do_not_replace_others() {
    let source = Members::in_dns("x", "", None, Vec::new());
    let search = "search a.example b.example\noptions ndots:5";
    let mut bench = Bench::with(source, TIMES, search, entropy);
    let [tls, plain] =
        ["_etcd-client-ssl", "_etcd-client"].map(|service| format!("{service}._tcp.x"));
    let records = format!("{tls}.b.example SRV 0 0 1 m1.test.\n");
    bench.publish(&format!("{records}{plain}.b.example SRV 0 0 1 m2.test."));
    bench.refresh();
    assert_eq!(bench.endpoints(), ["1", "2"]);
    bench.fail(&format!("{tls}.a.example"), SERVFAIL);
    bench.publish(&records);
    bench.refresh();
    assert_eq!(bench.endpoints(), ["1", "2"]);
    bench.mend();
    bench.refresh();
    assert_eq!(bench.endpoints(), ["1"]);
}
