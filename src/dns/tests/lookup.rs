//! Names: aliases, the search list, the hosts file, both address families, several at a time.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use super::fake::{A, AAAA, Act, Asked, CNAME, Net, SRV, script, zone};
use super::{AMPLE, Bench, PATIENCE, good, ips};
use crate::dns::Class;
use crate::dns::message;
use crate::dns::record::Type;
use crate::sys::memory;

#[test]
fn sixty_three_targets_with_aliases() {
    let names: Vec<[String; 4]> = (0..63)
        .map(|n| {
            [
                format!("0 0 2379 m{n}.example"),
                format!("m{n}.example"),
                format!("host{n}.test"),
                format!("192.0.2.{n}"),
            ]
        })
        .collect();
    let mut records = Vec::new();
    for [srv, alias, host, ip] in &names {
        records.extend([
            ("_s._tcp.example", SRV, srv.as_str()),
            (alias, CNAME, host),
            (host, A, ip),
        ]);
    }
    let bench = Bench::new(Net::new(vec![zone(&records)]), "");
    let found = bench.srv("_s._tcp.example").unwrap();
    assert_eq!(found.data.len(), 63);
    for (srv, [.., ip]) in found.data.iter().zip(&names) {
        assert_eq!(
            bench.host(&srv.target.to_string()),
            ips(&[ip]),
            "{}",
            srv.target
        );
    }
}

#[test]
fn aliases_across_replies() {
    let net = Net::new(vec![script(|asked| {
        match (asked.name.as_str(), asked.qtype) {
            ("a.example.", _) => asked.reply().cname("a.example", 10, "b.test").send(),
            ("b.test.", A) => asked
                .reply()
                .cname("b.test", 20, "c.test")
                .a("c.test", 90, "192.0.2.3")
                .send(),
            _ => asked.reply().send(),
        }
    })]);
    let bench = Bench::new(net, "");
    let found = bench
        .resolver
        .lookup_host("a.example", Instant::now() + AMPLE)
        .unwrap();
    assert_eq!(found.data, [IpAddr::from([192, 0, 2, 3])]);
    assert_eq!(
        found.ttl,
        Duration::from_secs(10),
        "the shortest on the way"
    );
    assert_eq!(found.missing, None, "no data is a complete answer");
}

/// Another server would have the same loop.
#[test]
fn aliases_in_a_loop_are_asked_of_one_server() {
    let looped = || script(|asked| asked.reply().cname(&asked.name, 9, &asked.name).send());
    let bench = Bench::new(Net::new(vec![looped(), looped()]), "");
    assert_eq!(bench.host("a.test"), Err(Class::AliasChain));
    assert_eq!((bench.log(0).len(), bench.log(1).len()), (2, 0));
}

#[test]
fn a_lookup_without_memory_fails_and_the_next_does_not() {
    let bench = Bench::new(Net::new(vec![zone(&[("a.test", A, "192.0.2.1")])]), "");
    let refused = memory::tests::refuse();
    let error = bench.host("a.test").unwrap_err();
    assert!(matches!(error, Class::Io(_, Some(12))), "{error}");
    assert!(!error.is_definite() && bench.log(0).is_empty());
    drop(refused);
    assert_eq!(bench.host("a.test"), ips(&["192.0.2.1"]));
}

#[test]
fn an_alias_of_this_machine_is_not_asked_for() {
    let net = Net::new(vec![script(|asked| {
        asked.reply().cname(&asked.name, 9, "x.localhost").send()
    })]);
    let bench = Bench::new(net, "");
    assert_eq!(bench.host("a.example"), Err(Class::NxDomain));
    assert_eq!(bench.log(0).len(), 2);
}

#[test]
fn records_of_other_names_are_not_used() {
    let net = Net::new(vec![script(|asked| {
        let reply = asked.reply().a("evil.example", 1, "203.0.113.66");
        let reply = reply.srv(&asked.name, 1, [0, 0, 0], "evil.example");
        let reply = match asked.qtype {
            A => reply.a(&asked.name, 60, "192.0.2.1"),
            _ => reply.aaaa(&asked.name, 50, "2001:db8::1"),
        };
        let address = [203, 0, 113, 66];
        reply
            .record(1, &asked.name, A, 1, &address)
            .record(2, &asked.name, A, 1, &address)
            .send()
    })]);
    let bench = Bench::new(net, "");
    let found = bench
        .resolver
        .lookup_host("a.example", Instant::now() + AMPLE)
        .unwrap();
    let expected: [IpAddr; 2] = ["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()];
    assert_eq!(found.data, expected);
    assert_eq!(found.ttl, Duration::from_secs(50));
}

#[test]
fn rotation() {
    let bench = Bench::new(
        Net::new(vec![script(good), script(good), script(good)]),
        "options rotate",
    );
    for _ in 0..6 {
        assert!(bench.host("a.example").is_ok());
    }
    for server in 0..3 {
        assert_eq!(bench.log(server).len(), 4, "two lookups of two questions");
    }
}

/// A is answered only after AAAA was asked for, too.
#[test]
fn families_are_asked_for_at_the_same_time() {
    let held: Mutex<Option<Asked>> = Mutex::new(None);
    let net = Net::new(vec![script(move |asked| {
        let mut held = held.lock().unwrap();
        let Some(first) = held.take() else {
            *held = Some(asked.clone());
            return vec![];
        };
        let late = good(&first).into_iter().map(|act| match act {
            Act::Send(bytes) => Act::SendTo(first.client, bytes),
            act => act,
        });
        good(asked).into_iter().chain(late).collect()
    })]);
    let bench = Bench::new(net, "");
    assert_eq!(
        bench.host_within("a.example", Duration::from_secs(4)),
        ips(&["192.0.2.1"])
    );
    let asked = bench.net.servers[0].asked();
    assert_eq!(bench.log(0), ["a.example. 1", "a.example. 28"]);
    assert_ne!(asked[0].client, asked[1].client, "a socket each");
}

#[test]
fn one_family_missing() {
    let net = Net::new(vec![script(|asked| match asked.qtype {
        AAAA => asked.reply().rcode(2).send(),
        _ => good(asked),
    })]);
    let bench = Bench::new(net, "options attempts:1");
    let found = bench
        .resolver
        .lookup_host("a.example", Instant::now() + AMPLE)
        .unwrap();
    assert_eq!(found.data, [IpAddr::from([192, 0, 2, 1])]);
    let missing = found.missing.unwrap();
    assert_eq!(
        (missing.qtype, missing.class),
        (Type::AAAA, Class::Rcode(message::SERVFAIL))
    );
}

/// An administrator sets this where questions for AAAA are dropped.
#[test]
fn only_a_with_no_aaaa() {
    let hosts = "2001:db8::9 listed";
    let conf = "search a.test\noptions no-aaaa";
    let bench = Bench::with_hosts(Net::new(vec![script(good)]), conf, hosts);
    let found = bench.resolver.lookup_host("host", Instant::now() + AMPLE);
    assert_eq!(found.unwrap().missing, None);
    assert_eq!(bench.log(0), ["host.a.test. 1"]);
    assert_eq!(bench.host("listed"), ips(&["2001:db8::9"]), "it is for DNS");
}

/// Silence about one family costs a second, not all attempts at all servers.
#[test]
fn silence_about_one_family() {
    let answers_only = |qtype| {
        script(move |asked: &Asked| match asked.qtype == qtype {
            true if qtype == A => good(asked),
            true => asked.reply().aaaa(&asked.name, 9, "2001:db8::1").send(),
            false => vec![],
        })
    };
    let silent = || script(|_| vec![]);
    // The socket of A is read first: its silence lasts as long as configured.
    for (qtype, missing, timeout) in [(A, Type::AAAA, 30), (AAAA, Type::A, 1)] {
        let net = Net::new(vec![answers_only(qtype), silent()]);
        let bench = Bench::new(net, &format!("options timeout:{timeout} attempts:5"));
        let start = Instant::now();
        let found = bench.resolver.lookup_host("a.example", start + AMPLE);
        let found = found.unwrap();
        assert_eq!(found.data.len(), 1);
        let error = found.missing.unwrap();
        assert_eq!((error.qtype, error.class), (missing, Class::Timeout));
        assert!(start.elapsed() < PATIENCE);
        assert_eq!((bench.log(0).len(), bench.log(1).len()), (2, 0));
    }
}

#[test]
fn search_list() {
    let found = &[("host.b.test", A, "192.0.2.7"), ("x.y", A, "192.0.2.8")];
    let bench = Bench::new(
        Net::new(vec![zone(found)]),
        "search a.test b.test\noptions ndots:2",
    );
    let names = |bench: &Bench| -> Vec<String> {
        let asked = bench.net.servers[0].asked();
        asked
            .into_iter()
            .filter(|asked| asked.qtype == A)
            .map(|asked| asked.name)
            .collect()
    };
    assert_eq!(bench.host("host"), ips(&["192.0.2.7"]));
    assert_eq!(names(&bench), ["host.a.test.", "host.b.test."]);
    assert_eq!(bench.host("x.y"), ips(&["192.0.2.8"]), "last, as it stands");
    assert_eq!(bench.host("x.y."), ips(&["192.0.2.8"]), "absolute");
    assert_eq!(
        names(&bench)[2..],
        ["x.y.a.test.", "x.y.b.test.", "x.y.", "x.y."]
    );

    let error = bench
        .resolver
        .lookup_host("none", Instant::now() + AMPLE)
        .unwrap_err();
    assert_eq!(
        (error.class, error.owner.as_str()),
        (Class::NxDomain, "none."),
        "as it was given"
    );
    assert_eq!(error.negative_ttl, Some(60));
    assert!(error.server.is_some());
    let error = bench
        .resolver
        .lookup_host("no.such.name", Instant::now() + AMPLE)
        .unwrap_err();
    assert_eq!(error.owner, "no.such.name.", "the first of those asked");

    let services = Bench::new(
        Net::new(vec![zone(&[("_s._tcp.b.test", SRV, "0 0 1 .")])]),
        "search a.test b.test\noptions ndots:5",
    )
    .srv("_s._tcp")
    .unwrap();
    assert_eq!(services.owner.unwrap().to_string(), "_s._tcp.b.test.");
    assert!(services.data[0].target.is_root());
    assert_eq!(services.ttl, Duration::from_secs(300));
}

#[test]
fn search_list_and_failures() {
    let fails_in = |domain: &'static str, acts: fn(&Asked) -> Vec<Act>| {
        Net::new(vec![script(move |asked| match asked.name.as_str() {
            name if name.contains(domain) => acts(asked),
            "a.b.test." => good(asked),
            _ => asked.reply().rcode(3).send(),
        })])
    };
    let conf = "search a.test b.test\noptions attempts:1";
    let bench = Bench::new(
        fails_in("a.test", |asked| asked.reply().rcode(2).send()),
        conf,
    );
    assert_eq!(bench.host("a"), ips(&["192.0.2.1"]), "SERVFAIL leads on");
    assert_eq!(
        bench.host("c"),
        Err(Class::Rcode(message::SERVFAIL)),
        "and outranks NXDOMAIN"
    );

    let net = fails_in("a.test", |_| vec![]);
    let bench = Bench::new(net, &format!("{conf} timeout:1"));
    assert_eq!(bench.host("a"), Err(Class::Timeout), "silence does not");
    let with_edns = ["a.a.test. 1", "a.a.test. 28"].map(str::to_owned);
    let without = with_edns.each_ref().map(|asked| format!("{asked} plain"));
    let as_given = ["a. 1", "a. 28"].map(str::to_owned);
    let asked = [with_edns, without, as_given].concat();
    assert_eq!(bench.log(0), asked, "but to the name as it was given");

    let bench = Bench::new(fails_in("a.test", |asked| asked.reply().send()), conf);
    assert_eq!(
        bench.host("c"),
        Err(Class::NoData),
        "the name exists in one domain"
    );
}

/// A name with a dot is first asked for as it is. In a network without access to the outside no server
/// answers that, but the search list may still find it.
#[test]
fn search_list_and_silence_about_the_name_as_it_was_given() {
    let net = Net::new(vec![script(|asked| match asked.name.as_str() {
        "etcd.prod.b.test." => good(asked),
        "etcd.prod.a.test." => asked.reply().rcode(3).send(),
        _ => vec![],
    })]);
    let bench = Bench::new(net, "search a.test b.test c.test");
    let start = Instant::now();
    let found = bench.resolver.lookup_host("etcd.prod", start + PATIENCE);
    let found = found.unwrap();
    assert_eq!(found.owner.unwrap().to_string(), "etcd.prod.b.test.");
    assert_eq!(found.earlier_failure.unwrap().owner, "etcd.prod.");
}

/// Where questions for AAAA are dropped, the search still continues soon after a name that does not exist.
#[test]
fn search_list_and_silence_about_one_family() {
    let net = Net::new(vec![script(|asked| {
        match (asked.qtype, asked.name.as_str()) {
            (A, "host.b.test.") => good(asked),
            (A, _) => asked.reply().rcode(3).soa(".", 60, 60).send(),
            _ => vec![],
        }
    })]);
    let bench = Bench::new(net, "search a.test b.test\noptions attempts:5 timeout:30");
    let start = Instant::now();
    let found = bench.resolver.lookup_host("host", start + AMPLE).unwrap();
    assert_eq!(found.data, [IpAddr::from([192, 0, 2, 1])]);
    assert!(start.elapsed() < PATIENCE);
    let unknown = [
        found.earlier_failure.unwrap().class,
        found.missing.unwrap().class,
    ];
    assert_eq!(unknown, [Class::Timeout; 2], "of a.test, of b.test");
}

/// Some servers answer NXDOMAIN for AAAA if a name has only A: A is still asked for again.
#[test]
fn a_name_denied_for_aaaa_only() {
    let net = Net::new(vec![script(|asked| match (asked.qtype, asked.before) {
        (AAAA, _) => asked.reply().rcode(3).soa(".", 60, 60).send(),
        (_, 0..2) => vec![],
        _ => good(asked),
    })]);
    let bench = Bench::new(net, "options timeout:1");
    assert_eq!(bench.host("a.example"), ips(&["192.0.2.1"]));
}

#[test]
fn hosts_that_need_no_server() {
    let hosts = "192.0.2.9 Etcd-1 etcd-1.example\n2001:db8::9 etcd-1\n10.0.0.1 localhost\n127.0.0.9 my.localhost";
    let bench = Bench::with_hosts(Net::new(vec![script(good)]), "search localhost", hosts);
    let cases: [(&str, &[&str]); 9] = [
        ("192.0.2.200", &["192.0.2.200"]),
        ("2001:db8::5", &["2001:db8::5"]),
        ("etcd-1", &["192.0.2.9", "2001:db8::9"]),
        ("ETCD-1.EXAMPLE.", &["192.0.2.9"]),
        ("localhost", &["127.0.0.1", "::1"]),
        ("LocalHost.", &["127.0.0.1", "::1"]),
        ("x.localhost", &["127.0.0.1", "::1"]),
        ("local\\104ost", &["127.0.0.1", "::1"]),
        ("my.localhost", &["127.0.0.9"]),
    ];
    for (name, addresses) in cases {
        assert_eq!(bench.host(name), ips(addresses), "{name}");
    }
    assert_eq!(
        bench.srv("_s._tcp.localhost").unwrap_err().class,
        Class::NxDomain
    );
    for (text, error) in [
        ("", "is empty"),
        ("a b", "has a character that is not printable ASCII"),
        ("a..b", "has an empty label"),
    ] {
        assert_eq!(bench.host(text), Err(Class::BadName(error)), "{text}");
        assert_eq!(bench.srv(text).unwrap_err().server, None);
    }
    assert_eq!(bench.log(0), [""; 0]);
}

#[test]
fn a_deadline_that_has_passed() {
    let bench = Bench::new(Net::new(vec![script(good)]), "");
    let error = bench
        .resolver
        .lookup_srv("a.example", Instant::now())
        .unwrap_err();
    assert_eq!((error.class, error.server), (Class::Timeout, None));
    assert_eq!(bench.log(0), [""; 0]);
}

#[test]
fn many_threads() {
    let bench = Bench::new(Net::new(vec![script(good)]), "");
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..8 {
                    assert_eq!(bench.host("a.example"), ips(&["192.0.2.1"]));
                }
            });
        }
    });
    let asked = bench.net.servers[0].asked();
    let ids: HashSet<_> = asked
        .iter()
        .map(|asked| [asked.bytes[0], asked.bytes[1]])
        .collect();
    let ports: HashSet<_> = asked.iter().map(|asked| asked.client.port()).collect();
    // 128 draws from 65,536 ids and some 28,000 ports: a hundred differ, or they are not random.
    assert!(
        asked.len() == 128 && ids.len() > 100 && ports.len() > 100,
        "{} {}",
        ids.len(),
        ports.len()
    );
}

#[test]
fn text_that_is_not_a_name_is_escaped() {
    let bench = Bench::new(Net::new(vec![]), "");
    let error = bench.srv("a\nb").unwrap_err();
    let text = "SRV a\\nb: not a domain name: it has a character that is not printable ASCII";
    assert_eq!(error.to_string(), text);
}
