//! One server and one question: replies and other messages, TCP, EDNS, and which server is asked next.

use std::cell::Cell;
use std::io::{self, ErrorKind};
use std::net::UdpSocket;
use std::time::{Duration, Instant};

use super::fake::{A, Act, Answer, Asked, CNAME, Net, SRV, script, zone};
use super::{AMPLE, Bench, LITTLE, PATIENCE, good, ips};
use crate::dns::Class;
use crate::dns::message;
use crate::dns::name::DecodeError;

/// Messages that a stranger or a broken server may send; none is a reply to `asked`.
fn nonsense(asked: &Asked) -> Vec<Act> {
    let lie = || asked.reply().a(&asked.name, 60, "203.0.113.66").bytes;
    let changed = |position: usize, value: u8| {
        let mut bytes = lie();
        bytes[position] ^= value;
        Act::Send(bytes)
    };
    let question_end = asked.reply().bytes.len();
    let mut looping_question = lie();
    looping_question[12..14].copy_from_slice(&[0xc0, 0x0c]);
    vec![
        changed(1, 0x01),                // another id
        changed(2, 0x80),                // a query
        changed(2, 0x08),                // another operation
        changed(13, 0x01),               // another name
        changed(question_end - 3, 0x02), // another type
        changed(question_end - 1, 0x02), // another class
        changed(5, 0x03),                // two questions
        Act::Send(looping_question),
        Act::Send(lie()[..question_end - 1].to_vec()),
        Act::Send(lie()[..11].to_vec()),
        Act::Send(Vec::new()),
        Act::Send(asked.bytes.clone()),
        Act::Send(vec![0xff; 60_000]),
        Act::Spoof(lie()), // correct, but from another address
    ]
}

/// A failure without the question, as Unbound sends it to refused clients.
fn bare(asked: &Asked, rcode: u8) -> Act {
    let mut bytes = asked.reply().rcode(rcode).bytes;
    bytes.truncate(12);
    bytes[5] = 0;
    Act::Send(bytes)
}

#[test]
fn nonsense_is_ignored() {
    let net = Net::new(vec![script(|asked| {
        let mut acts = nonsense(asked);
        acts.extend(good(asked));
        acts
    })]);
    assert_eq!(Bench::new(net, "").host("a.example"), ips(&["192.0.2.1"]));
}

#[test]
fn nonsense_without_a_reply_ends_in_a_timeout() {
    let net = Net::new(vec![script(nonsense)]);
    let bench = Bench::new(net, "options attempts:1");
    let start = Instant::now();
    assert_eq!(bench.host_within("a.example", LITTLE), Err(Class::Timeout));
    let elapsed = start.elapsed();
    assert!(elapsed >= LITTLE && elapsed < PATIENCE, "{elapsed:?}");
}

/// Over TCP, too, messages that are not the reply are ignored, except empty ones.
#[test]
fn nonsense_over_tcp() {
    let net = Net::new(vec![script(|asked| {
        let mut acts = nonsense(asked);
        acts.retain(|act| matches!(act, Act::Send(bytes) if !bytes.is_empty()));
        acts.extend(good(asked));
        acts
    })]);
    let bench = Bench::new(net, "options use-vc");
    assert_eq!(bench.host("a.example"), ips(&["192.0.2.1"]));
    assert_eq!(bench.log(0), ["a.example. 1 tcp", "a.example. 28 tcp"]);
}

/// An empty message ends an exchange at once, whether more messages follow or not.
#[test]
fn empty_message_over_tcp() {
    let empty = || vec![Act::Send(Vec::new())];
    let ends_early = Err(Class::Malformed(DecodeError::TRUNCATED));
    for more in [true, false] {
        let net = Net::new(vec![script(move |asked| match more {
            true => [empty(), good(asked)].concat(),
            false => empty(),
        })]);
        let bench = Bench::new(net, "options use-vc attempts:1 timeout:30");
        assert_eq!(
            bench.host_within("a.example", PATIENCE),
            ends_early,
            "{more}"
        );
    }
}

/// A flood of messages that are not the reply ends after a few, over UDP, over TCP and if they are large.
#[test]
fn after_a_flood_the_next_server_is_asked() {
    type Flood = fn(&Asked) -> Vec<Act>;
    let floods: [(&str, Flood); 4] = [
        ("", |_| vec![Act::Send(Vec::new()); 100]),
        ("", |asked| vec![Act::Send(asked.bytes.clone()); 100]),
        ("use-vc", |_| vec![Act::Send(vec![0; 12]); 100]),
        ("use-vc", |_| vec![Act::Send(vec![0; 60_000]); 5]),
    ];
    for (options, flood) in floods {
        let net = Net::new(vec![script(flood), script(good)]);
        let bench = Bench::new(net, &format!("options timeout:30 {options}"));
        let found = bench.host_within("a.example", PATIENCE);
        assert_eq!(found, ips(&["192.0.2.1"]), "{options}");
        // A reply that comes early enough is found among them.
        let net = Net::new(vec![script(move |asked| {
            let mut acts = flood(asked);
            acts.truncate(if asked.tcp { 4 } else { 60 });
            acts.extend(good(asked));
            acts
        })]);
        let bench = Bench::new(net, &format!("options {options}"));
        assert_eq!(bench.host("a.example"), ips(&["192.0.2.1"]), "{options}");
        let net = Net::new(vec![script(flood)]);
        let bench = Bench::new(net, &format!("options {options}"));
        assert_eq!(bench.host("a.example"), Err(Class::Flood), "{options}");
    }
}

/// One server with one error in all its replies.
#[test]
fn failures_of_servers() {
    let with = |rdata: &'static [u8]| {
        script(move |asked| asked.reply().record(0, &asked.name, CNAME, 9, rdata).send())
    };
    let rcode = |rcode| script(move |asked| asked.reply().rcode(rcode).send());
    let cases = [
        (
            "looping name",
            with(&[0xc0, 0x30]),
            Class::Malformed(DecodeError::POINTER),
        ),
        (
            "forward pointer",
            with(&[0xc0, 0xff]),
            Class::Malformed(DecodeError::POINTER),
        ),
        (
            "overlong data",
            with(&[0, 0]),
            Class::Malformed(DecodeError::RDATA_LENGTH),
        ),
        ("FORMERR", rcode(1), Class::Rcode(message::FORMERR)),
        ("SERVFAIL", rcode(2), Class::Rcode(message::SERVFAIL)),
        ("NXDOMAIN", rcode(3), Class::NxDomain),
        ("NOTIMP", rcode(4), Class::Rcode(message::NOTIMP)),
        ("REFUSED", rcode(5), Class::Rcode(message::REFUSED)),
        ("NOTAUTH", rcode(9), Class::Rcode(9)),
        (
            "REFUSED, a header alone",
            script(|asked| vec![bare(asked, 5)]),
            Class::Rcode(message::REFUSED),
        ),
        (
            "no data",
            script(|asked| asked.reply().send()),
            Class::NoData,
        ),
        (
            "lame",
            script(|asked| {
                let mut reply = asked.reply();
                reply.bytes[3] = 0;
                reply.send()
            }),
            Class::Lame,
        ),
        (
            "truncated twice",
            script(|asked| asked.reply().truncated().send()),
            Class::Truncated,
        ),
        (
            "an alias of itself",
            script(|asked| asked.reply().cname(&asked.name, 9, &asked.name).send()),
            Class::AliasChain,
        ),
        (
            "aliases without end, one per reply",
            script(|asked| {
                asked
                    .reply()
                    .cname(&asked.name, 9, &format!("x.{}", asked.name))
                    .send()
            }),
            Class::AliasChain,
        ),
        (
            "a connection closed within the message",
            script(|asked| match asked.tcp {
                true => vec![Act::Trickle(vec![0, 40, 1, 2, 3], Duration::ZERO)],
                false => asked.reply().truncated().send(),
            }),
            Class::Io(ErrorKind::UnexpectedEof, None),
        ),
        (
            "a connection closed at once",
            script(|asked| match asked.tcp {
                true => vec![],
                false => asked.reply().truncated().send(),
            }),
            Class::Io(ErrorKind::UnexpectedEof, None),
        ),
    ];
    for (what, script, class) in cases {
        let bench = Bench::new(Net::new(vec![script]), "");
        let error = bench
            .resolver
            .lookup_host("a.example", Instant::now() + AMPLE)
            .unwrap_err();
        assert_eq!(error.class, class, "{what}");
        assert_eq!(error.owner, "a.example.", "{what}");
        let server = error.server.unwrap();
        assert_eq!(
            server.address,
            (bench.net.servers[0].ip, bench.net.port).into(),
            "{what}"
        );
        let tcp = what.contains("twice") || what.contains("connection");
        assert_eq!(server.tcp, tcp, "{what}");
    }
}

#[test]
fn truncated_where_nobody_listens_for_tcp() {
    let net = Net::without_tcp(vec![script(|asked| asked.reply().truncated().send())]);
    let error = Bench::new(net, "").srv("_s._tcp.example").unwrap_err();
    assert_eq!(
        error.class,
        Class::Io(ErrorKind::ConnectionRefused, Some(111))
    );
    assert!(error.server.unwrap().tcp, "{error}");
}

#[test]
fn no_server_listens() {
    for options in ["", "options use-vc"] {
        let bench = Bench::new(
            Net::new(vec![]),
            &format!("nameserver 127.0.0.1\n{options}"),
        );
        let refused = Class::Io(ErrorKind::ConnectionRefused, Some(111));
        assert_eq!(bench.host("a.example"), Err(refused), "{options}");
    }
}

#[test]
fn tcp_one_octet_at_a_time() {
    let slow = |pause| {
        script(move |asked| {
            if !asked.tcp {
                return asked.reply().truncated().send();
            }
            let message = asked
                .reply()
                .srv(&asked.name, 9, [1, 2, 3], "t.example")
                .bytes;
            let length = u16::try_from(message.len()).unwrap().to_be_bytes();
            vec![Act::Trickle([&length, &message[..]].concat(), pause)]
        })
    };
    let bench = Bench::new(Net::new(vec![slow(Duration::from_millis(1))]), "");
    assert_eq!(bench.srv("_s._tcp.example").unwrap().data.len(), 1);

    let bench = Bench::new(
        Net::new(vec![slow(Duration::from_millis(20))]),
        "options attempts:1",
    );
    let start = Instant::now();
    let error = bench
        .resolver
        .lookup_srv("_s._tcp.example", start + LITTLE)
        .unwrap_err();
    assert_eq!(error.class, Class::Timeout);
    assert!(error.server.unwrap().tcp);
    assert!(
        start.elapsed() < PATIENCE,
        "each octet must not renew the deadline"
    );
}

#[test]
fn two_hundred_records_over_tcp() {
    let targets: Vec<String> = (0..200)
        .map(|n| format!("0 {n} 2379 m{n}.example"))
        .collect();
    let records: Vec<_> = targets
        .iter()
        .map(|data| ("_s._tcp.example", SRV, data.as_str()))
        .collect();
    let bench = Bench::new(Net::new(vec![zone(&records)]), "");
    let found = bench.srv("_s._tcp.example").unwrap();
    assert_eq!(found.data.len(), 200);
    assert!(found.data.iter().zip(0..).all(|(srv, n)| srv.weight == n));
    assert_eq!(
        bench.log(0),
        ["_s._tcp.example. 33", "_s._tcp.example. 33 tcp"]
    );
}

/// More octets in one datagram than the query offers.
#[test]
fn oversized_datagram() {
    let net = Net::new(vec![script(|asked| {
        let records = 0..200;
        let add = |reply: Answer, n| reply.srv(&asked.name, 9, [0, n, 1], "target.example");
        records.fold(asked.reply(), add).send()
    })]);
    assert_eq!(
        Bench::new(net, "")
            .srv("_s._tcp.example")
            .unwrap()
            .data
            .len(),
        200
    );
}

#[test]
fn servers_without_edns() {
    type Refusal = fn(&Asked) -> Vec<Act>;
    let refusals: [(&str, Refusal); 5] = [
        ("FORMERR", |asked| asked.reply().rcode(1).send()),
        ("FORMERR that counts our OPT", |asked| {
            let mut bytes = asked.reply().rcode(1).bytes;
            bytes[11] = 1;
            vec![Act::Send(bytes)]
        }),
        ("NOTIMP", |asked| asked.reply().rcode(4).send()),
        ("a bare header", |asked| vec![bare(asked, 1)]),
        ("BADVERS", |asked| {
            let mut bytes = asked.reply().bytes;
            bytes[11] = 1;
            bytes.extend([0, 0, 41, 4, 0xd0, 1, 0, 0, 0, 0, 0]);
            vec![Act::Send(bytes)]
        }),
    ];
    for (what, refuse) in refusals {
        for (options, way) in [("", ""), ("options use-vc", " tcp")] {
            let net = Net::new(vec![script(move |asked| match asked.edns {
                true => refuse(asked),
                false => asked
                    .reply()
                    .srv(&asked.name, 9, [0, 0, 1], "t.example")
                    .send(),
            })]);
            let bench = Bench::new(net, &format!("{options}\noptions attempts:1"));
            assert_eq!(bench.srv("s.example").unwrap().data.len(), 1, "{what}{way}");
            let expected = [
                format!("s.example. 33{way}"),
                format!("s.example. 33{way} plain"),
            ];
            assert_eq!(bench.log(0), expected, "{what}");
        }
    }
}

/// A server that does not answer queries with EDNS, or breaks them, is asked without in the last attempt.
#[test]
fn the_last_attempt_has_no_edns() {
    type Fault = fn(&Asked) -> Vec<Act>;
    let faults: [(&str, Fault); 3] = [
        ("silence", |_| vec![]),
        ("SERVFAIL", |asked| asked.reply().rcode(2).send()),
        // The reply is the query with records appended, so that the OPT record is the first.
        ("what follows the question is an answer", |asked| {
            let mut bytes = asked.bytes.clone();
            let record = asked.reply().srv(&asked.name, 9, [0, 0, 1], "t.example");
            bytes.extend(&record.bytes[asked.reply().bytes.len()..]);
            bytes[2..4].copy_from_slice(&[0x81, 0x80]);
            bytes[7] = 1;
            vec![Act::Send(bytes)]
        }),
    ];
    for (what, fault) in faults {
        for (options, way) in [("", ""), ("options use-vc", " tcp")] {
            let net = Net::new(vec![script(move |asked| match asked.edns {
                true => fault(asked),
                false => asked
                    .reply()
                    .srv(&asked.name, 9, [0, 0, 1], "t.example")
                    .send(),
            })]);
            let conf = format!("{options}\noptions timeout:1 attempts:3");
            let bench = Bench::new(net, &conf);
            let found = bench.srv("s.example");
            assert_eq!(found.map(|found| found.data.len()), Ok(1), "{what}{way}");
            let first = format!("s.example. 33{way}");
            let last = format!("{first} plain");
            assert_eq!(bench.log(0), [first.clone(), first, last], "{what}");
        }
    }
}

/// A lost datagram does not use up all the time.
#[test]
fn a_query_that_is_lost_is_repeated_in_time() {
    let net = Net::new(vec![script(|asked| match asked.before {
        0..2 => vec![],
        _ => good(asked),
    })]);
    let bench = Bench::new(net, "options timeout:30");
    assert_eq!(
        bench.host_within("a.example", PATIENCE),
        ips(&["192.0.2.1"])
    );
}

#[test]
fn after_a_failure_the_next_server_is_asked() {
    type Fault = fn(&Asked) -> Vec<Act>;
    let faults: [(&str, Fault); 6] = [
        ("SERVFAIL", |asked| asked.reply().rcode(2).send()),
        ("REFUSED", |asked| asked.reply().rcode(5).send()),
        ("a header alone", |asked| vec![bare(asked, 5)]),
        ("silence", |_| vec![]),
        ("a broken reply", |asked| {
            asked.reply().record(0, ".", A, 0, &[1]).send()
        }),
        ("lame", |asked| {
            let mut reply = asked.reply();
            reply.bytes[3] = 0;
            reply.send()
        }),
    ];
    for (what, fault) in faults {
        let bench = Bench::new(Net::new(vec![script(fault), script(good)]), "");
        assert_eq!(
            bench.host_within("a.example", PATIENCE),
            ips(&["192.0.2.1"]),
            "{what}"
        );
        for server in 0..2 {
            assert_eq!(
                bench.log(server),
                ["a.example. 1", "a.example. 28"],
                "{what}"
            );
        }
    }
    // The other servers are not asked about a name that does not exist.
    let nxdomain = script(|asked: &Asked| asked.reply().rcode(3).send());
    let bench = Bench::new(Net::new(vec![nxdomain, script(good)]), "");
    assert_eq!(bench.host("a.example"), Err(Class::NxDomain));
    assert_eq!(bench.log(1), [""; 0]);
}

#[test]
fn servfail_then_recovery() {
    let net = Net::new(vec![script(|asked| match asked.before {
        0..6 => asked.reply().rcode(2).send(),
        _ => good(asked),
    })]);
    let bench = Bench::new(net, "options attempts:4");
    assert_eq!(
        bench.host("a.example"),
        ips(&["192.0.2.1"]),
        "at the fourth attempt"
    );
    assert_eq!(bench.log(0).len(), 8);
}

#[test]
fn attempts_are_counted() {
    let bench = Bench::new(
        Net::new(vec![
            script(|a| a.reply().rcode(2).send()),
            script(|a| a.reply().rcode(5).send()),
        ]),
        "options attempts:3",
    );
    let error = bench.srv("s.example").unwrap_err();
    assert_eq!(
        error.class,
        Class::Rcode(message::SERVFAIL),
        "more telling than REFUSED"
    );
    assert_eq!((bench.log(0).len(), bench.log(1).len()), (3, 3));
}

/// A reply comes from the address to which the system sent the query, which may differ from the configured one.
#[test]
fn servers_of_all_families() {
    for (server, ip) in [
        ("0.0.0.0", "127.0.0.1"),
        ("::ffff:127.0.0.1", "127.0.0.1"),
        ("::1", "::1"),
        ("::1%lo", "::1"),
    ] {
        if UdpSocket::bind((ip, 0)).is_err() {
            eprintln!("SKIPPED: no {ip} on this machine");
            continue;
        }
        let net = Net::at(ip.parse().unwrap(), script(good));
        let conf = format!("nameserver {server}\noptions attempts:1");
        let bench = Bench::new(net, &conf);
        assert_eq!(bench.host("a.example"), ips(&["192.0.2.1"]), "{server}");
        let error = bench.srv("s.example").unwrap_err();
        let asked = error.server.unwrap().address.to_string();
        let scope = server.replace("%lo", "%1");
        assert!(asked.contains(&scope), "{asked} and not another server");
    }
}

#[test]
fn silence_of_one_server_leaves_time_for_the_others() {
    let silent = || script(|_| vec![]);
    let bench = Bench::new(Net::new(vec![silent(), silent(), script(good)]), "");
    assert_eq!(
        bench.host_within("a.example", PATIENCE),
        ips(&["192.0.2.1"])
    );
}

/// Without entropy for its id a query is not sent; the next attempt may succeed.
#[test]
fn without_entropy_no_query_is_sent() {
    thread_local!(static LEFT_TO_FAIL: Cell<u32> = const { Cell::new(0) });
    fn fails(octets: &mut [u8]) -> io::Result<()> {
        match LEFT_TO_FAIL.get() {
            0 => super::entropy(octets),
            left => {
                LEFT_TO_FAIL.set(left - 1);
                Err(io::Error::from_raw_os_error(11))
            }
        }
    }
    let failure = Class::Io(ErrorKind::WouldBlock, Some(11));
    let cases = [
        // (options, failed draws, outcome, queries)
        ("attempts:1", 2, Err(failure), 0),
        ("attempts:1 use-vc", 2, Err(failure), 0),
        ("attempts:2", 2, ips(&["192.0.2.1"]), 2),
        ("attempts:2 use-vc", 2, ips(&["192.0.2.1"]), 2),
        ("attempts:2", 99, Err(failure), 0),
    ];
    for (options, failing, outcome, queries) in cases {
        let net = Net::new(vec![script(good)]);
        let bench = Bench::new(net, &format!("options {options}")).with_random(fails);
        LEFT_TO_FAIL.set(failing);
        assert_eq!(bench.host("a.example"), outcome, "{options}");
        assert_eq!(bench.log(0).len(), queries, "{options}");
    }
}
