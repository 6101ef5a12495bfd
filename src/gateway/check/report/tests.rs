//! Tests of what `check` prints.

use super::*;
use crate::endpoint::Source;

const NOW: UnixTime = UnixTime(1_800_000_000);
const DAY: i64 = 86_400;

fn certified(not_after: i64) -> Certified {
    Certified {
        subject: "CN=etcd \"1\"".to_owned(),
        issuer: "CN=ca".to_owned(),
        sans: vec!["a.example".to_owned(), "10.0.0.1".to_owned()],
        not_before: UnixTime(1_700_000_000),
        not_after: UnixTime(not_after),
    }
}

fn row(number: u8, identity: Option<&str>, dial: Option<u64>, reason: Option<&str>) -> Row {
    Row {
        endpoint: Endpoint {
            addr: ([10, 0, 0, number], 2379).into(),
            name: format!("m{number}.example:2379"),
            priority: u16::from(number),
            weight: u16::from(number) * 10,
            drains: false,
            identity: identity.map(str::to_owned),
            source: Source::Srv,
        },
        source: "srv",
        dial: dial.map(Duration::from_micros),
        tls: None,
        certified: None,
        health: None,
        reason: reason.map(str::to_owned),
    }
}

fn findings(rows: Vec<Row>) -> Findings {
    Findings {
        rows,
        found: Discovered {
            endpoints: Vec::new(),
            nothing: None,
            insecure: Vec::new(),
            unresolved: Vec::new(),
            surplus: Vec::new(),
        },
        metrics: None,
        warnings: Vec::new(),
        now: NOW,
    }
}

#[test]
fn days_are_whole_and_below_zero_once_a_certificate_has_expired() {
    for (left, days) in [
        (2 * DAY, 2),
        (2 * DAY - 1, 1),
        (DAY, 1),
        (DAY - 1, 0),
        (0, 0),
        (-1, -1),
        (-DAY, -1),
        (-DAY - 1, -2),
    ] {
        let certified = certified(NOW.0 + left);
        assert_eq!(days_left(&certified, NOW), days, "{left} s");
    }
}

#[test]
fn the_verdict_depends_on_how_far_the_examination_came() {
    let name = Some("etcd.example");
    for (row, verdict, would_serve) in [
        (row(1, name, Some(1), None), "authenticated", true),
        (row(1, None, Some(1), None), "reachable", true),
        (row(1, name, Some(1), Some("no")), "refused", false),
        (row(1, name, None, Some("no")), "unreachable", false),
        (row(1, None, None, Some("no")), "unreachable", false),
    ] {
        assert_eq!(row.verdict(), verdict);
        let findings = findings(vec![row]);
        assert_eq!(findings.would_serve(), would_serve, "{verdict}");
    }
    assert!(!findings(Vec::new()).would_serve());
}

/// Each value is different, so that none can be mistaken for another.
#[test]
fn object_and_table_have_every_value_in_its_place() {
    let mut proven = row(1, Some("etcd.example"), Some(1_500), None);
    proven.tls = Some("TLS 1.3 suite".to_owned());
    proven.certified = Some(certified(NOW.0 + 30 * DAY + 5));
    let mut down = row(2, None, None, Some("dial \"it\""));
    down.source = "fallback";
    // For one that cannot be used, the verdict does not say that it drains.
    (proven.endpoint.drains, down.endpoint.drains) = (true, true);
    proven.health = Some(Ok(()));
    down.health = Some(Err("503: \"no\"".to_owned()));
    let mut findings = findings(vec![proven, down]);
    findings.found.insecure = vec!["m3.example:2379".to_owned()];
    findings.found.unresolved = vec!["m4.example: no such name".to_owned()];
    findings.metrics = Some("127.0.0.1:9".to_owned());
    findings.warnings = vec!["odd".to_owned()];
    assert_eq!(
        findings.json(),
        "{\"would_serve\":true,\"summary\":\"start would serve: 1 of 2 endpoints can be used; correct what is named above\",\"nothing\":null,\"metrics\":\"127.0.0.1:9\",\"endpoints\":[\
         {\"address\":\"10.0.0.1:2379\",\"name\":\"m1.example:2379\",\"source\":\"srv\",\
         \"priority\":1,\"weight\":10,\"drain\":true,\"server_name\":\"etcd.example\",\"dial_seconds\":0.0015,\
         \"tls\":\"TLS 1.3 suite\",\"certificate\":{\"subject\":\"CN=etcd \\\"1\\\"\",\"issuer\":\"CN=ca\",\
         \"sans\":[\"a.example\",\"10.0.0.1\"],\"not_before\":\"2023-11-14T22:13:20Z\",\
         \"not_after\":\"2027-02-14T08:00:05Z\",\"days_left\":30},\
         \"health\":{\"ok\":true,\"answer\":\"200 OK\"},\"verdict\":\"authenticated\",\
         \"reason\":null},\
         {\"address\":\"10.0.0.2:2379\",\"name\":\"m2.example:2379\",\"source\":\"fallback\",\
         \"priority\":2,\"weight\":20,\"drain\":true,\"server_name\":null,\"dial_seconds\":null,\"tls\":null,\
         \"certificate\":null,\"health\":{\"ok\":false,\"answer\":\"503: \\\"no\\\"\"},\"verdict\":\"unreachable\",\"reason\":\"dial \\\"it\\\"\"}],\
         \"insecure\":[\"m3.example:2379\"],\"unresolved\":[\"m4.example: no such name\"],\
         \"warnings\":[\"odd\"]}\n"
    );
    let expected = format!(
        "ADDRESS        NAME             SOURCE    PRIO/WEIGHT  DIAL    TLS            SUBJECT      \
         SANS                EXPIRES  HEALTH  VERDICT\n\
         10.0.0.1:2379  m1.example:2379  srv       1/10         1.5 ms  TLS 1.3 suite  CN=etcd \"1\"  \
         a.example,10.0.0.1  30 d     passes  authenticated, draining\n\
         10.0.0.2:2379  m2.example:2379  fallback  2/20         -       -              -            \
         -                   -        fails   unreachable\n\
         unreachable: 10.0.0.2:2379: dial \"it\"\n\
         health: 10.0.0.2:2379: 503: \"no\"\n\
         refused: m3.example:2379: {INSECURE}\n\
         unresolved: m4.example: no such name\n\
         metrics: http://127.0.0.1:9/\n\
         warning: odd\n\
         start would serve: 1 of 2 endpoints can be used; correct what is named above\n"
    );
    assert_eq!(findings.table(), expected);
}

#[test]
fn the_summary_tells_what_a_start_would_do() {
    let up = || row(1, None, Some(1), None);
    let down = || row(2, None, None, Some("no"));
    let would =
        |usable, total| format!("start would serve: {usable} of {total} endpoints can be used");
    let but = |text: String| text + "; correct what is named above";
    let cases = [
        (vec![up()], None, would(1, 1)),
        (vec![up(), up()], None, would(2, 2)),
        (vec![up(), down()], None, but(would(1, 2))),
        // The endpoints of --endpoints serve in place of records that are not there.
        (vec![up()], Some("no record"), would(1, 1)),
        (
            vec![down(), down()],
            None,
            "start would not serve: none of 2 endpoints can be used, for the reasons above"
                .to_owned(),
        ),
        (
            Vec::new(),
            Some("no record"),
            "start would not serve: no record".to_owned(),
        ),
    ];
    for (rows, nothing, expected) in cases {
        let mut findings = findings(rows);
        findings.found.nothing = nothing.map(str::to_owned);
        assert_eq!(findings.summary(), expected);
        let last = findings.table().lines().last().map(str::to_owned);
        assert_eq!(last.as_deref(), Some(expected.as_str()));
        let report = findings.report(Output::Json);
        assert_eq!(
            report.would_serve,
            expected.starts_with("start would serve")
        );
        assert!(report.text.contains(&expected), "{}", report.text);
    }
    let mut unresolved = findings(vec![up()]);
    unresolved.found.unresolved = vec!["m4.example: no such name".to_owned()];
    assert_eq!(unresolved.summary(), but(would(1, 1)));
}

/// A terminal of 80 columns wraps what is wider; 100 and 160 are what a wide one has.
#[test]
fn columns_without_information_are_omitted_and_wide_ones_shortened() {
    let plain = |number| Row {
        endpoint: Endpoint {
            name: format!("10.0.0.{number}:2379"),
            priority: 0,
            weight: 0,
            ..row(number, None, None, None).endpoint
        },
        ..row(number, None, Some(1_500), None)
    };
    let table = findings(vec![plain(1), plain(2)]).table();
    assert_eq!(
        table.lines().take(2).collect::<Vec<_>>(),
        [
            "ADDRESS        SOURCE  DIAL    VERDICT",
            "10.0.0.1:2379  srv     1.5 ms  reachable",
        ]
    );
    let long = "x".repeat(60);
    let mut wide = row(1, None, Some(1), None);
    wide.endpoint.addr = "[2001:db8:1111:2222:3333:4444:5555:6666]:2379"
        .parse()
        .unwrap();
    wide.endpoint.name = format!("{long}.{long}.{long}:2379");
    let mut with_tls = row(2, Some("a.example"), Some(1), None);
    with_tls.tls = Some("TLS 1.3 TLS_AES_128_GCM_SHA256".to_owned());
    with_tls.certified = Some(Certified {
        subject: format!("CN={long}"),
        sans: vec![long.clone(), long],
        ..certified(NOW.0 + DAY)
    });
    for (rows, most, shortened) in [(vec![wide], 100, 1), (vec![with_tls], 160, 2)] {
        let table = findings(rows).table();
        let row = table.lines().nth(1).unwrap_or_default();
        assert_eq!(row.matches('\u{2026}').count(), shortened, "{table}");
        assert!(
            table.lines().all(|line| line.chars().count() <= most),
            "{table}"
        );
    }
}

#[test]
fn a_health_check_that_every_member_fails_is_doubted() {
    let url = Url::parse("http://:2381/helth").unwrap();
    let with = |health: &[Option<Result<(), String>>], reason: Option<&str>| {
        let rows = health.iter().map(|health| Row {
            health: health.clone(),
            ..row(1, None, Some(1), reason)
        });
        findings(rows.collect())
    };
    let (well, ill) = (Some(Ok(())), Some(Err("404 Not Found".to_owned())));
    let both = [ill.clone(), ill.clone()];
    // (findings, whether a URL was given, doubted)
    for (mut findings, given, doubted) in [
        (with(&both, None), true, true),
        (with(&[well, ill], None), true, false),
        (with(&[None, None], None), false, false),
        // What would not serve has other troubles.
        (with(&both, Some("refused")), true, false),
        (with(&[], None), true, false),
    ] {
        let would_serve = findings.would_serve();
        findings.doubt_health_check(Some(&url).filter(|_| given));
        let expected = "every member fails --health-check=http://:2381/helth: see that URL, port \
                        and path are right; while all fail, all are used";
        let expected: &[&str] = if doubted { &[expected] } else { &[] };
        assert_eq!(findings.warnings, expected);
        assert_eq!(
            findings.would_serve(),
            would_serve,
            "a second choice serves"
        );
    }
}
