//! What is logged and shown of problems: one line when a problem begins and one when it is
//! over, however many refreshes there are between the two.

use super::*;

/// The lines of `count` refreshes, without those about changes of the endpoints.
pub(super) fn lines_of(bench: &mut Bench, count: usize, refresh: fn(&mut Bench)) -> Vec<String> {
    heard();
    for _ in 0..count {
        refresh(bench);
    }
    let mut lines = heard();
    lines.retain(|line| !line.contains("endpoints changed"));
    lines
}

/// Three refreshes log one line, which begins with the first of these parts and has all of them.
#[track_caller]
fn assert_one_line(bench: &mut Bench, parts: &[&str]) {
    let lines = lines_of(bench, 3, Bench::refresh);
    assert_eq!(lines.len(), 1, "{parts:?}: {lines:?}");
    let line = lines[0].replace("discovery: ", "");
    assert!(line.starts_with(parts[0]), "{parts:?}: {line}");
    assert!(parts.iter().all(|p| line.contains(p)), "{parts:?}: {line}");
}

#[track_caller]
pub(super) fn assert_problems(bench: &Bench, expected: &[&[&str]]) {
    let problems = bench.problems();
    assert_eq!(problems.len(), expected.len(), "{problems:?}");
    for (problem, parts) in problems.iter().zip(expected) {
        assert!(parts.iter().all(|p| problem.contains(p)), "{problem}");
    }
}

type Change = fn(&mut Bench);

/// A problem, and how it is logged and shown.
struct Case {
    members: Members,
    begin: Change,
    /// Parts of its line.
    begun: &'static [&'static str],
    /// Parts of each problem.
    problems: &'static [&'static [&'static str]],
    end: Change,
    ended: &'static [&'static str],
}

fn more_records(bench: &mut Bench) {
    let line = |port: u16| format!("{PLAIN} SRV 0 0 {port} m1.test\n");
    bench.publish(&(1..=257).map(line).collect::<String>());
}

fn more_addresses(bench: &mut Bench) {
    let line = |n: u16| format!("many.test A 127.2.{}.{}\n", n / 256, n % 256);
    bench.publish(&(0..1026).map(line).collect::<String>());
}

fn usual(bench: &mut Bench) {
    bench.mend();
    bench.members(&[], &[1, 2]);
}

const OVER: &str = "INFO  problem is over problem=";

#[test]
fn each_problem_is_one_line_when_it_begins_and_one_when_it_is_over() {
    let cases = [
        Case {
            members: srv(),
            begin: |bench| bench.fail(PLAIN, SERVFAIL),
            begun: &[
                "WARN  SRV lookup failed, will try again error=",
                PLAIN,
                "SERVFAIL",
                "records_kept=2",
            ],
            problems: &[&[PLAIN, "SERVFAIL", "; records that stay in use: 2"]],
            end: usual,
            ended: &[
                "INFO  SRV lookup works again name=_etcd-client._tcp.x.test",
                "records=2",
            ],
        },
        Case {
            members: srv(),
            begin: |bench| bench.publish(""),
            begun: &[
                "WARN  SRV lookup failed, will try again error=",
                PLAIN,
                "NXDOMAIN",
                "records_kept=2",
            ],
            problems: &[&[PLAIN, "NXDOMAIN", "; records that stay in use: 2"]],
            end: usual,
            ended: &["INFO  SRV lookup works again", "records=2"],
        },
        // The service without records only has to be answered.
        Case {
            members: srv(),
            begin: |bench| bench.fail(TLS, SERVFAIL),
            begun: &[
                "WARN  SRV lookup failed, will try again",
                TLS,
                "records_kept=0",
            ],
            problems: &[&[TLS, "SERVFAIL"]],
            end: usual,
            ended: &["INFO  SRV lookup works again", TLS, "records=0"],
        },
        Case {
            members: srv(),
            begin: |bench| bench.fail("m2.test", SERVFAIL),
            begun: &[
                "WARN  cannot resolve endpoint, will try again host=m2.test. error=",
                "SERVFAIL",
                "addresses_kept=1",
            ],
            problems: &[&["m2.test.: ", "SERVFAIL"]],
            end: usual,
            ended: &["INFO  resolved endpoint again host=m2.test."],
        },
        // The name is not looked up any more.
        Case {
            members: srv(),
            begin: |bench| bench.members(&[], &[1, 2, 3]),
            begun: &[],
            problems: &[],
            end: |bench| {
                bench.fail("m3.test", SERVFAIL);
                bench.refresh();
                bench.members(&[], &[1, 2]);
            },
            ended: &[OVER, "m3.test"],
        },
        Case {
            members: srv(),
            begin: |bench| bench.members(&[], &[1, 5]),
            begun: &[
                "WARN  endpoint is this gateway itself; ignored address=127.1.0.5:1",
                "name=m5.test:1",
            ],
            problems: &[&["m5.test:1: 127.1.0.5:1 is this gateway itself"]],
            end: usual,
            ended: &[OVER, "m5.test:1: 127.1.0.5:1 is this gateway itself"],
        },
        Case {
            members: authenticated(&[]),
            begin: |bench| bench.members(&[1], &[1, 2, 3]),
            begun: &["WARN  members without TLS are ignored members=[m2.test:1,m3.test:1]"],
            problems: &[
                &["m2.test:1: ", "speaks no TLS"],
                &["m3.test:1: ", "speaks no TLS"],
            ],
            end: |bench| bench.members(&[1], &[1]),
            ended: &[OVER, "m2.test:1: ", "m3.test:1: "],
        },
        Case {
            members: srv(),
            begin: more_records,
            begun: &["WARN  too many SRV records; ignoring the rest found=257 used=256"],
            problems: &[&[PLAIN, ": 257 members are named, of which 256 are used"]],
            end: usual,
            ended: &[OVER, "257 members"],
        },
        Case {
            members: Members::listed(list(&["many.test:1"])),
            begin: more_addresses,
            begun: &["WARN  too many endpoints; ignoring the rest found=1026 used=1024"],
            problems: &[&["1026 endpoints are found, of which 1024 are used"]],
            end: |bench| bench.publish("many.test A 127.1.0.1"),
            ended: &[OVER, "1026 endpoints"],
        },
    ];
    for case in cases {
        let mut bench = Bench::new(case.members);
        bench.listeners.push("127.1.0.5:1".parse().unwrap());
        if bench.gate.is_some() {
            bench.members(&[1], &[1]);
        } else {
            let records = format!("{PLAIN} SRV 0 0 1 m1.test\n{PLAIN} SRV 0 0 1 m2.test\n");
            bench.publish(&(records + "many.test A 127.1.0.1"));
        }
        assert_eq!(lines_of(&mut bench, 2, Bench::refresh), [""; 0]);
        assert_problems(&bench, &[]);
        (case.begin)(&mut bench);
        if case.begun.is_empty() {
            bench.refresh();
        } else {
            assert_one_line(&mut bench, case.begun);
        }
        assert_problems(&bench, case.problems);
        (case.end)(&mut bench);
        assert_one_line(&mut bench, case.ended);
        assert_problems(&bench, &[]);
        assert_eq!(lines_of(&mut bench, 3, Bench::refresh), [""; 0]);
    }
}

#[test]
fn the_fallback_is_one_line_until_it_is_over() {
    let mut bench = Bench::new(srv_or(&["127.1.0.9:1"]));
    bench.publish("");
    let fallback = "WARN  SRV records give no endpoint; using --endpoints until they do reason=";
    assert_one_line(&mut bench, &[fallback, TLS, PLAIN, "NXDOMAIN"]);
    let headline: &[&str] = &["SRV records give no endpoint that may serve"];
    let none: [&[&str]; 2] = [&[TLS, "NXDOMAIN"], &[PLAIN, "NXDOMAIN"]];
    assert_problems(&bench, &[headline, none[0], none[1]]);
    // A service that fails has its own line, and is one problem.
    bench.fail(TLS, SERVFAIL);
    assert_one_line(&mut bench, &["WARN  SRV lookup failed", TLS, "SERVFAIL"]);
    assert_problems(&bench, &[headline, none[1], &[TLS, "SERVFAIL"]]);
    bench.mend();
    assert_one_line(&mut bench, &["INFO  SRV lookup works again", TLS]);
    bench.publish(&format!("{PLAIN} SRV 0 0 1 .\n{TLS} SRV 0 0 0 m1.test"));
    assert_eq!(lines_of(&mut bench, 2, Bench::refresh), [""; 0]);
    let declined: [&[&str]; 2] = [
        &[TLS, "1 records, none with an address"],
        &[PLAIN, "the service is not available"],
    ];
    assert_problems(&bench, &[headline, declined[0], declined[1]]);
    bench.publish(&format!("{PLAIN} SRV 0 0 1 .\n{TLS} SRV 0 0 1 m1.test"));
    assert_one_line(&mut bench, &[OVER, "SRV records give no endpoint"]);
    assert_problems(&bench, &[]);
}

#[test]
fn changes_of_a_lasting_problem_are_logged() {
    let mut bench = Bench::new(srv());
    bench.listeners.push("127.1.0.5:1".parse().unwrap());
    bench.members(&[], &[1, 2]);
    bench.refresh();
    // Another reason is logged for a service, and not for a name.
    for rcode in [SERVFAIL, 5, NXDOMAIN] {
        bench.fail(PLAIN, rcode);
        assert_one_line(&mut bench, &["WARN  SRV lookup failed"]);
    }
    bench.mend();
    assert_one_line(&mut bench, &["INFO  SRV lookup works again"]);
    bench.fail("m2.test", SERVFAIL);
    assert_one_line(&mut bench, &["WARN  cannot resolve endpoint"]);
    for rcode in [5, NXDOMAIN] {
        bench.fail("m2.test", rcode);
        assert_eq!(lines_of(&mut bench, 3, Bench::refresh), [""; 0]);
    }
    assert_problems(&bench, &[&["m2.test", "NXDOMAIN"]]);
    bench.mend();
    bench.refresh();
    // So is another surplus, and another name of a loop.
    more_records(&mut bench);
    assert_one_line(&mut bench, &["WARN  too many SRV records", "found=257"]);
    let line = |port: u16| format!("{PLAIN} SRV 0 0 {port} m1.test\n");
    bench.publish(&(1..=300).map(line).collect::<String>());
    assert_one_line(&mut bench, &["WARN  too many SRV records", "found=300"]);
    bench.members(&[], &[5, 1]);
    bench.refresh();
    bench.publish(&format!(
        "{PLAIN} SRV 0 0 1 other.test\nother.test A 127.1.0.5"
    ));
    assert_one_line(
        &mut bench,
        &["WARN  endpoint is this gateway", "other.test"],
    );

    let mut bench = Bench::new(authenticated(&[]));
    bench.members(&[1], &[2, 3]);
    bench.refresh();
    bench.members(&[1], &[3, 2]);
    assert_eq!(lines_of(&mut bench, 3, Bench::refresh), [""; 0]);
    bench.members(&[1], &[3]);
    assert_one_line(&mut bench, &["WARN  members without TLS", "[m3.test:1]"]);
}

#[test]
fn at_sighup_loops_are_logged_again_and_nothing_else() {
    let mut bench = Bench::new(srv());
    bench.listeners.push("127.1.0.5:1".parse().unwrap());
    bench.members(&[], &[1, 5]);
    bench.fail(TLS, SERVFAIL);
    bench.fail("m1.test", SERVFAIL);
    assert_eq!(lines_of(&mut bench, 1, Bench::refresh).len(), 3);
    let lines = lines_of(&mut bench, 3, Bench::ask);
    assert_eq!(count(&lines, "endpoint is this gateway itself"), 3);
    assert_eq!(lines.len(), 3, "{lines:?}");
    // A request is done after one refresh.
    assert_eq!(lines_of(&mut bench, 3, Bench::refresh), [""; 0]);
    // The end is logged, too.
    bench.members(&[], &[1]);
    let lines = lines_of(&mut bench, 3, Bench::ask);
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!(count(&lines, "problem is over"), 1, "{lines:?}");
}

/// A file, and discovery that polls it at each step.
fn following(text: &str) -> (TempFile, Bench) {
    let file = TempFile::new(text);
    let (source, _) = Members::in_file(&file.path, Identity::None).unwrap();
    let times = Times {
        file_look: Duration::ZERO,
        file_look_again: Duration::ZERO,
        ..TIMES
    };
    let bench = Bench::with(source, times, "", entropy);
    (file, bench)
}

const UNUSABLE: &str = "ERROR endpoints file is not usable, keeping the last good list error=";

#[test]
fn a_bad_endpoints_file_is_one_line_per_change_and_one_when_it_is_good_again() {
    let (file, mut bench) = following("127.1.0.1:1");
    assert_eq!(lines_of(&mut bench, 3, Bench::refresh), [""; 0]);
    file.write("nonsense");
    assert_one_line(&mut bench, &[UNUSABLE, ":1: invalid", "endpoints_kept=1"]);
    assert_problems(
        &bench,
        &[&["nonsense", "; the last good list stays in use"]],
    );
    file.write("127.1.0.1:1\nother nonsense");
    assert_one_line(&mut bench, &[UNUSABLE, ":2: "]);
    assert_problems(&bench, &[&[":2: "]]);
    // A request logs it again.
    let lines = lines_of(&mut bench, 3, Bench::ask);
    assert_eq!((lines.len(), count(&lines, UNUSABLE)), (3, 0), "{lines:?}");
    assert_eq!(count(&lines, "endpoints file is not usable"), 3);
    file.write("127.1.0.2:1 # other");
    assert_one_line(
        &mut bench,
        &[
            "INFO  endpoints file has changed, using its list file=",
            "endpoints=1",
        ],
    );
    assert_problems(&bench, &[]);
    assert_eq!(bench.endpoints(), ["2"]);
}

#[test]
fn the_result_of_a_requested_refresh_is_logged() {
    let (file, mut bench) = following("127.1.0.1:1");
    bench.refresh();
    let cases = [
        (
            "127.1.0.1:1",
            "INFO  discovery: refreshed endpoints endpoints=1 changed=no files=[",
            "]",
        ),
        (
            "127.1.0.1:1\n127.1.0.2:1",
            "refreshed endpoints endpoints=2 changed=yes files=[",
            "]",
        ),
        (
            "nonsense",
            "WARN  discovery: refreshed endpoints, with problems endpoints=2 changed=no files=[",
            "; the last good list stays in use\"]",
        ),
    ];
    for (text, words, end) in cases {
        file.write(text);
        bench.discovery.refreshes.ask();
        let lines = [(); 2].map(|()| {
            heard();
            bench.ask();
            let told = heard().into_iter();
            told.filter(|line| line.contains("refreshed endpoints"))
                .collect()
        });
        let [first, second]: [Vec<String>; 2] = lines;
        let [line] = &first[..] else {
            panic!("{text}: {first:?}");
        };
        assert!(line.contains(words) && line.ends_with(end), "{line}");
        assert_eq!(second, [""; 0], "once");
    }
}

#[test]
fn an_endpoints_file_that_comes_back_has_not_changed() {
    let (file, mut bench) = following("127.1.0.1:1\n127.1.0.2:1");
    bench.refresh();
    let back = "INFO  endpoints file is usable again, its list has not changed file=";
    for _ in 0..2 {
        std::fs::remove_file(&file.path).unwrap();
        assert_one_line(
            &mut bench,
            &[UNUSABLE, "cannot be read", "endpoints_kept=2"],
        );
        assert_problems(&bench, &[&["cannot be read"]]);
        file.write("127.1.0.1:1\n127.1.0.2:1");
        assert_one_line(&mut bench, &[back]);
        assert_problems(&bench, &[]);
    }
    // A repeated endpoint is a new warning, but only in a list that is used.
    file.write("127.1.0.1:1\n127.1.0.2:1\n127.1.0.2:1");
    let lines = lines_of(&mut bench, 3, Bench::refresh);
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert_eq!(count(&lines, "endpoint is given more than once"), 1);
    assert_eq!(
        count(&lines, "endpoints file has changed, using its list"),
        1
    );
}

/// As when a service manager sends signals in a row while the file is written again and again.
#[test]
fn a_flapping_file_is_not_logged_at_each_of_many_requests() {
    let (file, mut bench) = following("127.1.0.1:1");
    bench.step(Ok(false));
    bench.discovery.times.file_look = Duration::from_secs(3600);
    let pause = Times {
        refresh_pause: Duration::from_secs(3600),
        ..bench.discovery.times
    };
    bench.discovery.schedule = Schedule::new(Instant::now(), pause, true);
    bench.step(Ok(false));
    heard();
    for round in 0..40 {
        file.write(if round % 2 == 0 {
            "nonsense"
        } else {
            "127.1.0.1:1"
        });
        bench.ask();
    }
    assert_eq!(heard(), [""; 0]);
    assert_problems(&bench, &[]);
}

#[test]
fn a_wait_that_fails_is_one_line() {
    let mut bench = Bench::new(Members::listed(list(&["127.1.0.1:1"])));
    bench.refresh();
    heard();
    let failed: fn(&mut Bench) = |bench| {
        bench.discovery.schedule.request(Instant::now());
        bench.step(Err(io::Error::from_raw_os_error(12)));
    };
    let lines = lines_of(&mut bench, 3, failed);
    let expected = "ERROR discovery: cannot poll error=\"cannot allocate memory\"";
    assert_eq!(lines, [expected]);
    assert_problems(&bench, &[&["cannot poll: cannot allocate memory"]]);
    assert_one_line(&mut bench, &[OVER, "cannot poll"]);
    assert_problems(&bench, &[]);
}

#[test]
fn a_change_of_endpoints_is_one_line() {
    let mut bench = Bench::new(srv());
    bench.members(&[], &[1, 2]);
    bench.refresh();
    heard();
    bench.members(&[], &[2, 3]);
    for _ in 0..3 {
        bench.refresh();
    }
    let expected = "INFO  discovery: endpoints changed added=[127.1.0.3:1] removed=[127.1.0.1:1]";
    assert_eq!(heard(), [expected]);
    assert_eq!(*bench.removed.borrow(), ["127.1.0.1:1"]);
}

#[test]
fn refreshes_are_counted_and_the_last_success_is_kept() {
    let mut bench = Bench::new(srv());
    assert_eq!(bench.counts(), (0, 0));
    bench.fail(PLAIN, SERVFAIL);
    bench.refresh();
    assert_eq!(bench.counts(), (0, 1));
    assert_eq!(bench.discovery.refreshes().last_success(), None);
    usual(&mut bench);
    let before = Instant::now();
    bench.refresh();
    assert_eq!(bench.counts(), (1, 1));
    let success = bench.discovery.refreshes().last_success().unwrap();
    assert!(success >= before && success <= Instant::now());
    bench.fail(PLAIN, SERVFAIL);
    bench.refresh();
    assert_eq!(bench.discovery.refreshes().last_success(), Some(success));
}
