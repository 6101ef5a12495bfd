//! `etcd-gateway check`: what a start with these flags would find, without starting.

use super::{PLAIN, SECURE, Stage, address};
use crate::support::dns::{Fault, SERVFAIL};
use crate::support::front::TlsServer;
use crate::support::front::{Face, Front};
use crate::support::gateway::{Outcome, assert_bad_flag};
use crate::support::isolated::isolated;
use crate::support::json::Json;
use crate::support::pki::{Pki, Request};
use crate::support::{Backend, Launch, TempDir};

/// The parsed report, which must say the same as the exit code.
#[track_caller]
fn report(outcome: &Outcome) -> (Json, Vec<Json>) {
    assert_eq!(outcome.stderr, "", "{outcome:?}");
    let report = Json::parse(outcome.stdout.trim_end());
    let report = report.unwrap_or_else(|error| panic!("{error}: {outcome:?}"));
    let would_serve = Json::Bool(outcome.code == Some(0));
    assert_eq!(report.get("would_serve"), Some(&would_serve), "{outcome:?}");
    let rows = report.list("endpoints").to_vec();
    (report, rows)
}

#[track_caller]
/// One member of each kind: the row of each says what there is to know, in both forms.
#[test]
fn check_prints_one_row_per_endpoint() {
    isolated(check_prints_one_row_per_endpoint, |site| {
        let Some(stage) = Stage::set(site) else {
            return;
        };
        let _members = [
            stage.member(1),
            Front::at(address(2), 2, stage.false_face()),
        ];
        let expired = Request {
            not_after: "20210101000000Z",
            ..Request::server("DNS:x.test")
        };
        let expired = stage.pki.issue(&stage.root, &expired);
        let expired = Face::Tls(TlsServer::start(&stage.pki, &expired, &[]));
        let _expired = Front::at(address(3), 3, expired);
        let _dead = Backend::dead_at(address(4)).expect("bind an address");
        let addresses: String = (1..=5)
            .map(|number| format!("m{number}.test A 127.1.0.{number}\n"))
            .collect();
        stage.dns.publish(&format!(
            "{SECURE} SRV 0 3 2379 m1.test\n{SECURE} SRV 0 2 2379 m2.test\n{SECURE} SRV 1 0 2379 m3.test\n\
             {SECURE} SRV 2 0 2379 m4.test\n{PLAIN} SRV 0 0 2379 m5.test\n{addresses}"
        ));
        let outcome = stage.check(&["--output=json"]);
        assert_eq!(outcome.code, Some(0), "one is enough: {outcome:?}");
        let (report, rows) = report(&outcome);
        let facts: Vec<_> = rows
            .iter()
            .map(|row| {
                let rank = (row.number("priority"), row.number("weight"));
                (
                    row.text("address"),
                    row.text("name"),
                    rank,
                    row.text("verdict"),
                )
            })
            .collect();
        assert_eq!(
            facts,
            [
                (
                    "127.1.0.1:2379",
                    "m1.test:2379",
                    (0.0, 3.0),
                    "authenticated"
                ),
                ("127.1.0.2:2379", "m2.test:2379", (0.0, 2.0), "refused"),
                ("127.1.0.3:2379", "m3.test:2379", (1.0, 0.0), "refused"),
                ("127.1.0.4:2379", "m4.test:2379", (2.0, 0.0), "unreachable"),
            ]
        );
        for row in &rows {
            assert_eq!(
                (row.text("source"), row.text("server_name")),
                ("srv", "x.test"),
                "{row:?}"
            );
        }
        let passed = &rows[0];
        assert_eq!(
            passed.text("tls"),
            "TLS 1.3 TLS_AES_128_GCM_SHA256",
            "{passed:?}"
        );
        assert_eq!(passed.get("reason"), Some(&Json::Null), "{passed:?}");
        let dial = passed.number("dial_seconds");
        assert!((0.0..5.0).contains(&dial), "{passed:?}");
        let certificate = passed.get("certificate").expect("a certificate");
        assert_eq!(certificate.text("subject"), "CN=member");
        assert_eq!(certificate.text("issuer"), "CN=true CA,O=suite");
        assert_eq!(certificate.texts("sans"), ["DNS:x.test"]);
        assert_eq!(certificate.text("not_after"), "2049-01-01T00:00:00Z");
        assert!(certificate.number("days_left") > 300.0, "{certificate:?}");
        assert!(
            rows[1].text("reason").contains("is not known"),
            "{:?}",
            rows[1]
        );
        let shown = rows[1].get("certificate").expect("what was presented");
        assert_eq!(shown.text("issuer"), "CN=false CA,O=suite");
        let shown = rows[2].get("certificate").expect("what was presented");
        assert!(shown.number("days_left") < -300.0, "{shown:?}");
        assert!(
            rows[3].text("reason").contains("onnection refused"),
            "{:?}",
            rows[3]
        );
        for absent in ["dial_seconds", "tls", "certificate"] {
            assert_eq!(rows[3].get(absent), Some(&Json::Null), "{:?}", rows[3]);
        }
        let insecure = report.texts("insecure");
        assert!(
            insecure.len() == 1 && insecure[0].contains("m5.test:2379"),
            "{report:?}"
        );
        expect_table(&stage.check(&[]), &rows);
    });
}

/// The table holds what the rows of JSON hold, in columns that are aligned.
#[track_caller]
fn expect_table(table: &Outcome, rows: &[Json]) {
    assert_eq!(
        (table.code, table.stderr.as_str()),
        (Some(0), ""),
        "{table:?}"
    );
    let lines: Vec<&str> = table.stdout.lines().collect();
    let heads = [
        "ADDRESS",
        "NAME",
        "SOURCE",
        "PRIO/WEIGHT",
        "DIAL",
        "TLS",
        "SUBJECT",
        "SANS",
        "EXPIRES",
        "VERDICT",
    ];
    assert!(!lines[0].contains("HEALTH"), "nobody was asked: {table:?}");
    let starts: Vec<usize> = heads
        .iter()
        .map(|head| {
            lines[0]
                .find(head)
                .unwrap_or_else(|| panic!("no {head}: {table:?}"))
        })
        .collect();
    for (line, row) in lines[1..].iter().zip(rows) {
        let cell = |column: usize| {
            let end = starts.get(column + 1).map_or(line.len(), |end| *end);
            line.get(starts[column]..end).unwrap_or_default().trim_end()
        };
        assert_eq!(cell(0), row.text("address"), "{line}");
        assert_eq!(cell(1), row.text("name"), "{line}");
        assert_eq!(cell(2), row.text("source"), "{line}");
        let rank = format!("{}/{}", row.number("priority"), row.number("weight"));
        assert_eq!(cell(3), rank, "{line}");
        let text = row.text("tls");
        assert_eq!(cell(5), if text.is_empty() { "-" } else { text }, "{line}");
        match row.get("certificate") {
            Some(Json::Null) | None => {
                assert_eq!((cell(6), cell(7), cell(8)), ("-", "-", "-"), "{line}")
            }
            Some(shown) => {
                assert_eq!(cell(6), shown.text("subject"), "{line}");
                assert_eq!(cell(7), shown.texts("sans").join(","), "{line}");
                assert_eq!(
                    cell(8),
                    format!("{} d", shown.number("days_left")),
                    "{line}"
                );
            }
        }
        assert_eq!(cell(9), row.text("verdict"), "{line}");
        // The two were not looked at in the same second.
        let reason = row.text("reason").split(", now is ").next();
        let reason = reason.unwrap_or_default();
        let told = format!("{}: {}: {reason}", cell(9), cell(0));
        let explained = lines.iter().any(|line| line.starts_with(&told));
        assert_eq!(explained, !reason.is_empty(), "{told}");
    }
    let [.., insecure, verdict] = lines.as_slice() else {
        panic!("{table:?}")
    };
    assert!(insecure.starts_with("refused: m5.test:2379: "), "{table:?}");
    assert!(insecure.contains("--insecure-discovery"), "{table:?}");
    assert!(
        verdict.starts_with("start would serve: 1 of 4"),
        "{table:?}"
    );
}

/// The exit code is what ExecStartPre goes by.
#[test]
fn exit_code_says_whether_a_start_would_serve() {
    isolated(exit_code_says_whether_a_start_would_serve, |site| {
        let Some(stage) = Stage::set(site) else {
            return;
        };
        let (_member, impostor) = (stage.member(1), stage.member(2));
        impostor.show(stage.false_face());
        let cases: &[(&str, &str, &[u8], Option<&str>)] = &[
            ("all pass", SECURE, &[1], Some("authenticated")),
            ("some pass", SECURE, &[1, 2], Some("refused")),
            ("none passes", SECURE, &[2], None),
            ("nobody there", SECURE, &[3], None),
            ("insecure records only", PLAIN, &[1], None),
            ("no records", SECURE, &[], None),
        ];
        for (what, owner, numbers, expected) in cases {
            stage.publish_under(owner, numbers);
            for output in ["--output=table", "--output=json"] {
                let outcome = stage.check(&[output]);
                let case = format!("{what}: {outcome:?}");
                assert_eq!(outcome.code, Some(i32::from(expected.is_none())), "{case}");
                if let Some(word) = expected {
                    assert!(outcome.stdout.contains(word), "{case}");
                }
            }
            // A start says the same.
            if expected.is_none() {
                assert_eq!(stage.launch(&[]).run().code, Some(1), "{what}");
            }
        }
        // A name that cannot be resolved may have more members: the rest serves, and the name is reported.
        stage.publish(&[1]);
        stage.dns.fail(PLAIN, Fault::Rcode(SERVFAIL));
        let outcome = stage.check(&["--output=json"]);
        assert_eq!(outcome.code, Some(0), "{outcome:?}");
        let unresolved = report(&outcome).0;
        let unresolved = unresolved.texts("unresolved");
        assert!(
            unresolved.len() == 1
                && unresolved[0].contains(PLAIN)
                && unresolved[0].contains("SERVFAIL"),
            "{unresolved:?}"
        );
        stage.dns.mend();
        // Explicit endpoints would serve then.
        stage.publish(&[2]);
        let outcome = stage.check(&["--output=json", "--endpoints=127.1.0.1:2379"]);
        assert_eq!(outcome.code, Some(0), "{outcome:?}");
        let rows = report(&outcome).1;
        let facts: Vec<_> = rows
            .iter()
            .map(|row| (row.text("address"), row.text("source"), row.text("verdict")))
            .collect();
        assert_eq!(
            facts,
            [
                ("127.1.0.2:2379", "srv", "refused"),
                ("127.1.0.1:2379", "fallback", "reachable"),
            ]
        );
    });
}

/// Where nothing has to be proven, reachable is all that there is to say.
#[test]
fn check_without_authentication() {
    let member = Backend::tagged(b'1');
    let dead = Backend::dead();
    let endpoints = format!("--endpoints={},{}", member.address(), dead.address());
    let flags = ["check", "--output=json", &endpoints];
    let outcome = Launch::exactly(&flags).run();
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    let rows = report(&outcome).1;
    let facts: Vec<_> = rows
        .iter()
        .map(|row| {
            let name = row.get("server_name");
            (row.text("source"), row.text("verdict"), name)
        })
        .collect();
    assert_eq!(
        facts,
        [
            ("endpoints", "reachable", Some(&Json::Null)),
            ("endpoints", "unreachable", Some(&Json::Null)),
        ]
    );
    let alone = format!("--endpoints={}", dead.address());
    assert_eq!(Launch::exactly(&["check", &alone]).run().code, Some(1));
}

/// A name without an address has no row, but is reported with the reason; a start logs the same.
#[test]
fn what_cannot_be_resolved_is_reported() {
    let member = Backend::echo();
    // An interface's name has at most 15 characters.
    let adrift = "[fe80::1%none-such]:2379";
    let told = format!("{adrift}: this host has no interface none-such");
    let endpoints = format!("--endpoints={adrift},{}", member.address());
    let outcome = Launch::exactly(&["check", &endpoints]).run();
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    let line = format!("unresolved: {told}");
    assert!(outcome.stdout.lines().any(|l| l == line), "{outcome:?}");
    let outcome = Launch::exactly(&["check", "--output=json", &endpoints]).run();
    let report = Json::parse(outcome.stdout.trim_end()).expect("JSON");
    assert_eq!(report.texts("unresolved"), [told.as_str()], "{outcome:?}");
    // Alone it leaves nothing to use.
    let alone = format!("--endpoints={adrift}");
    let outcome = Launch::exactly(&["check", &alone]).run();
    assert_eq!(outcome.code, Some(1), "{outcome:?}");
    let verdict = outcome.stdout.lines().last().unwrap_or_default();
    assert!(
        verdict.starts_with("start would not serve: "),
        "{outcome:?}"
    );
    assert!(verdict.contains(&told), "{outcome:?}");
    let gateway = Launch::start_with(&[&endpoints]).start();
    let warning = gateway.wait_record("cannot resolve endpoint, will try again");
    assert_eq!(warning.text("host"), adrift);
    assert_eq!(
        warning.text("error"),
        "this host has no interface none-such"
    );
}

/// It listens nowhere, so it can be run beside a gateway that is in service, with its very flags.
#[test]
fn check_beside_a_running_gateway() {
    let member = Backend::echo();
    let gateway = Launch::before(&[member.address()], &["--metrics-addr=127.0.0.1:0"]).start();
    let metrics = gateway.wait_record("serving metrics");
    let endpoints = format!("--endpoints={}", member.address());
    let listen = format!("--listen-addr={}", gateway.address());
    let metrics = format!("--metrics-addr={}", metrics.text("address"));
    let outcome = Launch::exactly(&["check", &endpoints, &listen, &metrics]).run();
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    // No service manager can pass the other.
    for (flag, or_passed) in [(listen, ", or passed by systemd"), (metrics, "")] {
        let warning = format!("warning: {flag} is in use now: a start needs it free{or_passed}\n");
        assert!(outcome.stdout.contains(&warning), "{outcome:?}");
    }
}

/// An address that this host does not have is none for a start either (RFC 5737 gives it to nobody).
#[test]
fn check_reports_addresses_that_cannot_be_listened_on() {
    let member = Backend::echo();
    let endpoints = format!("--endpoints={}", member.address());
    let elsewhere = "192.0.2.1:23790";
    for flag in ["--listen-addr", "--metrics-addr"] {
        let given = format!("{flag}={elsewhere}");
        for command in ["check", "start"] {
            let mut args = vec![command, &endpoints, &given];
            if flag == "--metrics-addr" {
                args.push("--listen-addr=127.0.0.1:0");
            }
            let outcome = Launch::exactly(&args).run();
            assert_eq!(outcome.code, Some(1), "{outcome:?}");
            let said = outcome.stderr.lines().last().unwrap_or_default();
            let wanted = format!("etcd-gateway: {given}: cannot listen: ");
            assert!(said.starts_with(&wanted), "{said}");
            assert!(said.contains("no interface of this host"), "{said}");
        }
    }
}

/// Flags from the environment count, warnings are shown, and a command line that cannot be run is exit 2.
#[test]
fn check_reads_flags_as_a_start_does() {
    let member = Backend::echo();
    let outcome = Launch::exactly(&["check", "--insecure-discovery"])
        .env("ETCD_GATEWAY_ENDPOINTS", &member.address().to_string())
        .run();
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    assert!(
        outcome.stdout.contains(&member.address().to_string()),
        "{outcome:?}"
    );
    assert!(
        outcome
            .stdout
            .contains("--insecure-discovery has no effect"),
        "{outcome:?}"
    );
    assert_bad_flag(
        &["check", "--output=xml"],
        &["--output", "xml", "table", "json"],
    );
    assert_bad_flag(&["check", "--endpoint=a:1"], &["--endpoint", "--endpoints"]);
    assert_bad_flag(&["check", "--dial-timeout=0s"], &["--dial-timeout"]);
    assert_bad_flag(&["chek"], &["check"]);
    let loops = format!("--endpoints={0}", "127.0.0.1:23790");
    let outcome = Launch::exactly(&["check", &loops]).run();
    assert_eq!(outcome.code, Some(2), "{outcome:?}");
}

/// Nobody vouches for a certificate that is refused, and it may be all names: it makes a row, or a line, like any other.
#[test]
fn certificate_of_countless_names_is_shown_in_part() {
    let dir = TempDir::new();
    let Some(pki) = Pki::below(dir.path()) else {
        return;
    };
    let names: String = (0..15_000).map(|n| format!("DNS.{n} = x\n")).collect();
    let request = Request::server(&format!("@names\n[names]\n{names}"));
    let shown = pki.self_signed(&request);
    let member = Front::anywhere(1, Face::Tls(TlsServer::start(&pki, &shown, &[])));
    let root = pki.root("true CA").certificate;
    let endpoints = format!("--endpoints={}", member.address());
    let flags = [&endpoints, "--verify-endpoints", "--trusted-ca-file", &root];
    // The table shortens its column, and has the names in the reason alone.
    let ends = [
        (vec!["check"], "and 14992 more"),
        (vec!["check", "--output=json"], "and 14936 more"),
        (vec!["start", "--listen-addr=127.0.0.1:0"], "and 14936 more"),
    ];
    for (command, more) in ends {
        let outcome = Launch::exactly(&[&command[..], &flags].concat()).run();
        assert_eq!(outcome.code, Some(1), "{command:?}: {outcome:?}");
        let said = outcome.stdout + &outcome.stderr;
        assert!(said.contains("not for 127.0.0.1"), "{command:?}: {said}");
        assert!(said.contains(more), "{command:?}: {said}");
        assert!(said.len() < 4096, "{command:?}: {said}");
    }
}
