//! Answers that are truncated over TCP too: if nothing better is known, the part is used, and
//! a warning says so; complete records stay.

use super::*;

const PART: &str = "only a part of the records is known, using it";

/// What names members, the name that is truncated, and how it is shown and logged.
fn services() -> [(Members, &'static str, &'static str, &'static str); 2] {
    [
        (srv(), PLAIN, "SRV _etcd-client._tcp.x.test.", "SRV lookup"),
        (Members::listed(list(&["m:1"])), "m", "A m.", "endpoint"),
    ]
}

fn publish(bench: &Bench, owner: &str, members: &[u8]) {
    match owner {
        PLAIN => bench.members(&[], members),
        _ => {
            let line = |member| format!("{owner} A 127.1.0.{member}\n");
            bench.publish(&members.iter().map(line).collect::<String>());
        }
    }
}

#[test]
fn a_start_uses_a_part_of_an_answer() {
    for (source, owner, asked, _) in services() {
        let mut bench = Bench::new(source);
        publish(&bench, owner, &[1, 2, 3]);
        bench.cut(owner, 2);
        heard();
        bench.start().unwrap();
        assert_eq!(bench.endpoints(), ["1", "2"]);
        let lines = heard();
        let lines: Vec<_> = lines.iter().filter(|line| line.contains(PART)).collect();
        let [line] = lines[..] else {
            panic!("{lines:?}")
        };
        for part in [
            asked,
            "truncated even over TCP, asked 127.0.0.1:",
            "_used=2",
        ] {
            assert!(line.contains(part), "{part}: {line}");
        }
        let problems = bench.problems();
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].contains(asked), "{problems:?}");
        let used = "; records in use, from an incomplete answer: 2";
        assert!(problems[0].ends_with(used), "{problems:?}");
        assert_eq!(bench.counts(), (0, 1));
        // It is logged once.
        bench.refresh();
        assert_eq!(count(&heard(), PART), 0);
        // After a later failure the part stays, and it is still one.
        bench.fail(owner, SERVFAIL);
        bench.refresh();
        assert_eq!(bench.endpoints(), ["1", "2"]);
        // A complete answer ends it.
        bench.mend();
        bench.refresh();
        assert_eq!(bench.endpoints(), ["1", "2", "3"]);
        assert_eq!(bench.problems(), [""; 0]);
        assert_eq!(count(&heard(), "again"), 1);
    }
}

#[test]
fn complete_records_are_not_replaced_by_a_part() {
    for (source, owner, asked, lookup) in services() {
        let mut bench = Bench::new(source);
        publish(&bench, owner, &[1, 2, 3]);
        bench.refresh();
        publish(&bench, owner, &[4, 5, 6]);
        bench.cut(owner, 2);
        heard();
        for _ in 0..3 {
            bench.refresh();
            assert_eq!(bench.endpoints(), ["1", "2", "3"]);
        }
        assert!(bench.removed.borrow().is_empty());
        let lines = heard();
        assert_eq!(lines.len(), 1, "{lines:?}");
        for part in [lookup, "will try again", asked, "_kept=3"] {
            assert!(lines[0].contains(part), "{part}: {lines:?}");
        }
        assert_eq!(bench.counts(), (1, 3));
        bench.mend();
        bench.refresh();
        assert_eq!(bench.endpoints(), ["4", "5", "6"]);
    }
}

/// It is unknown what a part lacks: it adds endpoints and removes none.
#[test]
fn one_part_after_another_removes_no_endpoint() {
    for (source, owner, ..) in services() {
        let mut bench = Bench::new(source);
        publish(&bench, owner, &[1, 2, 3]);
        bench.cut(owner, 2);
        bench.refresh();
        publish(&bench, owner, &[4, 5, 6]);
        for _ in 0..3 {
            bench.refresh();
            assert_eq!(bench.endpoints(), ["4", "5", "1", "2"]);
        }
        assert!(bench.removed.borrow().is_empty());
        bench.mend();
        for _ in 0..2 {
            bench.refresh();
            assert_eq!(bench.endpoints(), ["4", "5", "6"]);
        }
        assert_eq!(bench.removed.borrow().len(), 2);
    }
}

/// After a part of one service, the other one is not forgotten.
#[test]
fn a_part_does_not_replace_the_other_service() {
    let mut bench = Bench::new(srv());
    bench.members(&[1], &[2]);
    bench.cut(TLS, 1);
    bench.refresh();
    assert_eq!(bench.endpoints(), ["1", "2"]);
    bench.members(&[1], &[]);
    bench.cut(TLS, 1);
    bench.refresh();
    assert_eq!(bench.endpoints(), ["1", "2"]);
}
