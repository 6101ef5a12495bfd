//! What a start and `check` find.

use super::*;

#[test]
fn a_start_without_an_endpoint_says_why_and_what_to_do() {
    type Prepare = fn(&Bench);
    let nobody: Prepare = |bench| bench.publish("");
    let silent: Prepare = |bench| bench.fail(PLAIN, SERVFAIL);
    let names = |endpoints: &[&str]| Members::listed(proving(&Identity::Own, endpoints));
    let cases: [(Members, Prepare, &[&str]); 9] = [
        (
            srv(),
            nobody,
            &[
                "no endpoint found: ",
                TLS,
                PLAIN,
                "publish SRV records under one of",
            ],
        ),
        (
            srv(),
            silent,
            &[
                PLAIN,
                "SERVFAIL",
                "see that the servers in /etc/resolv.conf answer",
            ],
        ),
        (
            Members::in_dns("_client._tcp.x.test", "", None, Vec::new()),
            nobody,
            &[
                "_client._tcp.x.test",
                "publish SRV records under this name, or correct it",
            ],
        ),
        (
            srv(),
            |bench| bench.publish(&format!("{PLAIN} SRV 0 0 1 .")),
            &[
                TLS,
                "NXDOMAIN",
                PLAIN,
                "says that the service is not available (target \".\")",
            ],
        ),
        (
            srv(),
            |bench| bench.publish(&format!("{PLAIN} SRV 0 0 0 m1.test\n{PLAIN} SRV 0 0 1 .")),
            &[PLAIN, "2 records, none with an address"],
        ),
        (
            authenticated(&[]),
            |bench| bench.members(&[], &[1]),
            &[
                "only _etcd-client._tcp.x.test has records",
                "--insecure-discovery",
            ],
        ),
        (
            srv(),
            |bench| {
                let records = format!("{PLAIN} SRV 0 0 7 a.test\n{TLS} SRV 0 0 8 b.test");
                bench.publish(&records);
            },
            &[
                "the targets of _etcd-client-ssl._tcp.x.test and _etcd-client._tcp.x.test have no address",
                "a.test:7: ",
                "b.test:8: ",
                "publish the addresses of these names",
            ],
        ),
        (
            names(&["a.test:1", "b.test:1"]),
            nobody,
            &[
                "no name in --endpoints has an address: a.test: ",
                "; b.test: ",
            ],
        ),
        (
            names(&["m1.test:1"]),
            |bench| {
                bench.publish("");
                let gate = bench.gate.as_ref().unwrap();
                lock(&gate.impostors).insert("m1.test:1".to_owned());
            },
            &[
                "no endpoint could be authenticated: ",
                "127.1.0.1:1",
                "an impostor",
            ],
        ),
    ];
    for (source, prepare, parts) in cases {
        let mut bench = Bench::new(source);
        prepare(&bench);
        let message = bench.start().unwrap_err();
        assert!(parts.iter().all(|p| message.contains(p)), "{message}");
        if bench.gate.is_none() {
            let nothing = bench.discovery.find().nothing;
            assert_eq!(nothing, Some(message), "a look says the same");
        }
    }
}

/// The names of a list may resolve later, unless members have to be authenticated.
#[test]
fn a_start_by_a_list_waits_for_its_names() {
    let mut bench = Bench::new(Members::listed(list(&["nobody.test:1"])));
    bench.publish("");
    bench.start().unwrap();
    assert_eq!(bench.endpoints(), [""; 0]);
    assert_eq!(bench.problems().len(), 1);
    bench.publish("nobody.test A 127.1.0.3");
    bench.refresh();
    assert_eq!(bench.endpoints(), ["3"]);
}

#[test]
fn only_members_that_are_authenticated_serve_from_the_start() {
    let mut bench = Bench::new(authenticated(&[]));
    bench.members(&[1, 2, 3], &[4]);
    let gate = bench.gate.clone().unwrap();
    lock(&gate.impostors).insert("m2.test:1".to_owned());
    heard();
    bench.start().unwrap();
    assert_eq!(bench.endpoints(), ["1", "2", "3"]);
    assert_eq!(bench.active(), ["1", "3"]);
    let lines = heard();
    assert_eq!(count(&lines, "members without TLS are ignored"), 1);
    assert_eq!(bench.problems().len(), 1);
    // The first refresh of the running gateway has nothing to add.
    bench.refresh();
    assert_eq!(heard(), [""; 0]);
}

#[test]
fn the_fallback_serves_if_no_member_can_be_authenticated() {
    let fallback = proving(&Identity::Own, &["m8.test:1", "m9.test:1"]);
    for fallback in [list(&["m8.test:1", "m9.test:1"]), fallback] {
        let is_own = fallback[0].identity.is_some();
        let source = Members::in_dns("x.test", "", Some("x.test".to_owned()), fallback);
        let mut bench = Bench::new(source);
        bench.members(&[1], &[]);
        let gate = bench.gate.clone().unwrap();
        lock(&gate.impostors).extend(["m1.test:1", "m8.test:1"].map(str::to_owned));
        heard();
        bench.start().unwrap();
        assert_eq!(bench.endpoints(), ["1", "8", "9"]);
        let expected: &[&str] = if is_own { &["9"] } else { &["8", "9"] };
        assert_eq!(bench.active(), expected);
        let reason = "reason=\"no member that they name could be authenticated\"";
        let lines = heard();
        assert_eq!(count(&lines, reason), 1, "{lines:?}");
        let mut asked = lock(&gate.asked).clone();
        asked.sort();
        let expected: &[&str] = match is_own {
            true => &["m1.test:1", "m8.test:1", "m9.test:1"],
            false => &["m1.test:1"],
        };
        assert_eq!(asked, expected);
        let names = [
            Some("x.test".to_owned()),
            is_own.then(|| "m8.test".to_owned()),
        ];
        let endpoints = bench.pool.endpoints();
        assert_eq!([0, 1].map(|index| endpoints[index].identity.clone()), names);
        // They serve until a member passes.
        bench.refresh();
        assert_eq!(bench.endpoints(), ["1", "8", "9"]);
        let proof = Proof { not_after: None };
        bench
            .pool
            .set_authenticated(&endpoints[0], Instant::now(), proof);
        bench.refresh();
        assert_eq!(bench.endpoints(), ["1"]);
        // From then on they are not used.
        let error = dial::ErrorKind::Rejected("down".into()).at(endpoints[0].addr);
        bench.pool.failed(endpoints[0].addr, Instant::now(), &error);
        bench.refresh();
        assert_eq!(bench.endpoints(), ["1"]);
    }
}

#[test]
fn the_fallback_does_not_serve_if_a_member_does() {
    let mut bench = Bench::new(authenticated(&["m9.test:1"]));
    bench.members(&[1, 2], &[]);
    let gate = bench.gate.clone().unwrap();
    lock(&gate.impostors).insert("m2.test:1".to_owned());
    bench.start().unwrap();
    assert_eq!(bench.endpoints(), ["1", "2"]);
    assert_eq!(bench.problems(), [""; 0]);
    let mut bench = Bench::new(srv_or(&["m9.test:1"]));
    bench.members(&[], &[1]);
    bench.start().unwrap();
    assert_eq!(bench.endpoints(), ["1"]);
    // Nor later, even if the records decline the service.
    bench.publish(&format!("{PLAIN} SRV 0 0 0 ."));
    bench.refresh();
    assert_eq!(bench.endpoints(), ["1"]);
}

#[test]
fn a_failed_start_names_fallback_endpoints_too() {
    let fallback = proving(&Identity::Own, &["m9.test:1"]);
    let source = Members::in_dns("x.test", "", Some("x.test".to_owned()), fallback);
    let mut bench = Bench::new(source);
    bench.members(&[1], &[]);
    let gate = bench.gate.clone().unwrap();
    lock(&gate.impostors).extend(["m1.test:1", "m9.test:1"].map(str::to_owned));
    let message = bench.start().unwrap_err();
    for part in ["127.1.0.1:1", "127.1.0.9:1"] {
        assert!(message.contains(part), "{message}");
    }
}

/// Even if the members that are found have nothing to prove.
#[test]
fn fallback_endpoints_have_to_prove_their_identity() {
    let fallback = proving(&Identity::Own, &["m9.test:1"]);
    let mut bench = Bench::new(Members::in_dns("x.test", "", None, fallback));
    bench.publish("");
    let gate = bench.gate.clone().expect("an authenticator is set");
    lock(&gate.impostors).insert("m9.test:1".to_owned());
    let message = bench.start().unwrap_err();
    assert!(message.contains("127.1.0.9:1"), "{message}");
    bench.members(&[], &[1]);
    bench.start().unwrap();
    assert_eq!(bench.active(), ["1"]);
}

#[test]
fn check_shows_what_is_not_used_and_why() {
    let mut bench = Bench::new(authenticated(&["127.1.0.9:1"]));
    bench.members(&[1, 2], &[3]);
    bench.fail("m2.test", SERVFAIL);
    bench.fail(PLAIN, 5);
    let found = bench.discovery.find();
    assert_eq!(found.endpoints.len(), 1);
    assert_eq!(found.insecure, [""; 0]);
    let parts = [PLAIN, "m2.test"];
    assert_eq!(found.unresolved.len(), 2, "{:?}", found.unresolved);
    for (line, part) in found.unresolved.iter().zip(parts) {
        assert!(line.contains(part), "{line}");
    }
    bench.mend();
    let found = bench.discovery.find();
    assert_eq!((found.insecure.len(), found.unresolved.len()), (1, 0));
    assert_eq!(found.insecure, ["m3.test:1"]);
    assert_eq!(found.nothing, None);
    let fallback = bench.discovery.fallback();
    assert_eq!(fallback.len(), 1);
    assert_eq!(short(fallback[0].addr), "9");
    let line = |port: u16| format!("{TLS} SRV 0 0 {port} m1.test\n");
    bench.publish(&(1..=257).map(line).collect::<String>());
    let found = bench.discovery.find();
    assert_eq!(found.endpoints.len(), 256);
    assert_eq!(found.surplus.len(), 1);
    assert!(
        found.surplus[0].contains("257 members"),
        "{:?}",
        found.surplus
    );
}

#[test]
fn a_member_without_tls_is_shown_though_another_on_its_host_has_it() {
    let mut bench = Bench::new(authenticated(&[]));
    bench.publish(&format!(
        "{TLS} SRV 0 0 2 m1.test\n{PLAIN} SRV 0 0 1 m1.test"
    ));
    let found = bench.discovery.find();
    assert_eq!(found.insecure, ["m1.test:1"]);
    assert_eq!(found.endpoints.len(), 1);
}

#[test]
fn the_address_to_listen_on() {
    let times = Times {
        resolver_look: Duration::ZERO,
        ..TIMES
    };
    let bench = Bench::with(srv(), times, "", entropy);
    bench.publish("six.test AAAA ::5\nmapped.test AAAA ::ffff:127.0.0.6\nboth.test AAAA ::1\nboth.test A 127.0.0.7");
    bench.hosts.write("::1 file.test\n127.0.0.5 file.test\n");
    for (text, expected) in [
        ("both.test:7", Some("127.0.0.7:7")),
        ("file.test:7", Some("127.0.0.5:7")),
        ("six.test:7", Some("[::5]:7")),
        ("mapped.test:7", Some("127.0.0.6:7")),
        ("none.test:7", None),
        ("10.0.0.1:7", Some("10.0.0.1:7")),
        ("[::3]:7", Some("[::3]:7")),
        ("0.0.0.0:7", Some("[::]:7")),
        ("[::ffff:0.0.0.0]:7", Some("[::]:7")),
        ("[::ffff:10.0.0.1]:7", Some("10.0.0.1:7")),
        ("[::]:7", Some("[::]:7")),
    ] {
        let at = crate::addr::parse_listen(text).unwrap();
        let found = listen_address(&at, &bench.discovery.resolver);
        let found = found.ok().map(|addr| addr.to_string());
        assert_eq!(found.as_deref(), expected, "{text}");
    }
}

#[test]
fn what_a_member_of_a_list_has_to_prove() {
    let members = ["name.test.:1", "10.0.0.1:1", "[fe80::1%lo]:1", "[::1]:1"];
    let own = ["name.test", "10.0.0.1", "fe80::1", "::1"];
    for (member, own) in members.iter().zip(own) {
        let named = Identity::Named("x.test".to_owned());
        for (identity, expected) in [
            (Identity::None, None),
            (Identity::Own, Some(own)),
            (named, Some("x.test")),
        ] {
            let proves = proving(&identity, &[member])[0].identity.clone();
            assert_eq!(proves.as_deref(), expected, "{member}");
        }
    }
}

/// At first, and after the file has changed.
#[test]
fn what_members_of_a_file_have_to_prove() {
    let file = TempFile::new("m1.test:1");
    let (source, _) = Members::in_file(&file.path, Identity::Own).unwrap();
    let mut bench = Bench::new(source);
    bench.publish("");
    for own in ["m1.test", "m2.test"] {
        file.write(&format!("{own}:1"));
        bench.ask();
        let endpoints = bench.pool.endpoints();
        let identities: Vec<_> = endpoints.iter().map(|e| e.identity.as_deref()).collect();
        assert_eq!(identities, [Some(own)]);
    }
}

#[test]
fn what_discovered_members_have_to_prove_is_the_domain() {
    for (domain, identity) in [
        ("x.test", "x.test"),
        ("x.test.", "x.test"),
        ("_client._tcp.etcd.svc.test", "etcd.svc.test"),
        ("_tcp.x.test.", "x.test"),
        ("a._b.test", "a._b.test"),
        ("_only", "_only"),
    ] {
        assert_eq!(identity_of_domain(domain), identity, "{domain}");
    }
}
