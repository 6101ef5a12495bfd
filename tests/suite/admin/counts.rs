//! Exact figures after known traffic.

use std::net::{SocketAddr, TcpStream};

use super::{Samples, addresses, admin_of, endpoints, observed, page, wait_sample};
use crate::support::dns::FakeDns;
use crate::support::front::{Face, Front, TlsServer};
use crate::support::isolated::isolated;
use crate::support::net::{end_writing, expect, expect_echo, expect_refused, send, try_tag};
use crate::support::pki::{Pki, Request};
use crate::support::{Backend, End, Launch, connect, expect_end, reset};

/// Ends a client's direction, and sees the answer's end.
fn end(client: TcpStream) {
    end_writing(&client);
    expect_end(&client, End::Clean);
}

/// Every byte and every client, each where it belongs, while connections are open and after.
#[test]
fn connections_and_bytes_of_each_endpoint_are_exact() {
    const LENGTH: u64 = 1_000_003;
    let members = [Backend::tagged(b'a'), Backend::tagged(b'b')];
    let addresses = addresses(&[&members[0], &members[1]]);
    let (gateway, admin) = observed(&addresses, &[]);
    let clients: Vec<(usize, TcpStream)> = (0..5)
        .map(|_| {
            let (tag, client) = try_tag(gateway.address()).expect("a client is served");
            (usize::from(tag - b'a'), client)
        })
        .collect();
    let mut opened = [0; 2];
    for (at, client) in &clients {
        opened[*at] += 1;
        std::thread::scope(|scope| {
            scope.spawn(|| send(client, 1, LENGTH));
            expect(client, 1, LENGTH);
        });
    }
    assert_eq!(opened.iter().sum::<u64>(), 5);
    let bytes = |at: usize, direction: &str| {
        // Before the echo the endpoint sends its tag.
        let tags = if direction == "to_client" {
            opened[at]
        } else {
            0
        };
        (opened[at] * LENGTH + tags) as f64
    };
    let direction = |direction| format!(",direction=\"{direction}\"");
    let assert_bytes = || {
        let samples = Samples::of(admin);
        for (at, addr) in addresses.iter().enumerate() {
            for way in ["to_endpoint", "to_client"] {
                let counted = samples.at(*addr, "endpoint_bytes_total", &direction(way));
                assert_eq!(counted, bytes(at, way), "{addr} {way}");
            }
            let dials = samples.at(*addr, "endpoint_dials_total", ",result=\"ok\"");
            // And the one of the start.
            assert_eq!(dials, opened[at] as f64 + 1.0, "{addr}");
            let timed = samples.at(*addr, "endpoint_dial_duration_seconds_count", "");
            assert_eq!(timed, opened[at] as f64 + 1.0, "{addr}");
            let total = samples.at(*addr, "endpoint_connections_total", "");
            assert_eq!(total, opened[at] as f64, "{addr}");
        }
        samples
    };
    // A client may have its bytes a moment before they are counted.
    for (at, addr) in addresses.iter().enumerate() {
        for way in ["to_endpoint", "to_client"] {
            let name = format!("endpoint_bytes_total{{address=\"{addr}\",direction=\"{way}\"}}");
            wait_sample(admin, &name, bytes(at, way));
        }
    }
    let samples = assert_bytes();
    for (at, addr) in addresses.iter().enumerate() {
        let open = samples.at(*addr, "endpoint_connections_active", "");
        assert_eq!(open, opened[at] as f64, "{addr}");
    }
    assert_eq!(samples.get("connections_total"), 5.0);
    assert_eq!(samples.get("connections_active"), 5.0);
    assert_eq!(samples.get("connection_duration_seconds_count"), 0.0);
    let (_, seen) = endpoints(admin);
    for (at, json) in seen.iter().enumerate() {
        assert_eq!(json.text("address"), addresses[at].to_string());
        assert_eq!(json.text("state"), "active");
        assert_eq!(json.number("connections_open"), opened[at] as f64);
        assert_eq!(json.number("bytes_to_client"), bytes(at, "to_client"));
        assert_eq!(json.number("bytes_to_endpoint"), bytes(at, "to_endpoint"));
    }

    clients.into_iter().for_each(|(_, client)| end(client));
    wait_sample(admin, "connections_active", 0.0);
    for addr in &addresses {
        let name = format!("endpoint_connections_active{{address=\"{addr}\"}}");
        wait_sample(admin, &name, 0.0);
    }
    let samples = assert_bytes();
    assert_eq!(samples.get("connection_duration_seconds_count"), 5.0);
    assert_eq!(samples.get("connections_total"), 5.0);
    assert_eq!(samples.get("redispatches_total"), 0.0);
}

#[test]
fn failures_are_told_apart() {
    let (mut member, mut dead) = (Backend::tagged(b't'), Backend::tagged(b'd'));
    let addresses = addresses(&[&member, &dead]);
    let flags = ["--max-connections=3", "--retry-delay=1h"];
    let (gateway, admin) = observed(&addresses, &flags);
    dead.down();
    let held: Vec<TcpStream> = (0..3)
        .map(|_| try_tag(gateway.address()).expect("a client is served").1)
        .collect();
    expect_refused(gateway.address());
    expect_refused(gateway.address());
    let samples = Samples::of(admin);
    let result = |samples: &Samples, addr: SocketAddr, result: &str| {
        samples.at(
            addr,
            "endpoint_dials_total",
            &format!(",result=\"{result}\""),
        )
    };
    assert_eq!(result(&samples, addresses[0], "ok"), 3.0 + 1.0);
    assert!(result(&samples, addresses[1], "refused") >= 1.0);
    assert_eq!(samples.get("redispatches_total"), 1.0, "of one client");
    let rejected = "connections_rejected_total{reason=\"max_connections\"}";
    assert_eq!(samples.get(rejected), 2.0);
    assert_eq!(
        samples.get("connections_total"),
        5.0,
        "the rejected ones too"
    );
    assert_eq!(samples.at(addresses[0], "endpoint_up", ""), 1.0);
    assert_eq!(samples.at(addresses[1], "endpoint_up", ""), 0.0);
    let to = |samples: &Samples, addr, to: &str| {
        samples.at(addr, "endpoint_transitions_total", &format!(",to=\"{to}\""))
    };
    assert_eq!(to(&samples, addresses[1], "inactive"), 1.0);
    // The present spell counts: of one that is down it is longer at each scrape, of one that is up it is over.
    let down = |samples: &Samples, addr| samples.at(addr, "endpoint_downtime_seconds_total", "");
    let later = Samples::of(admin);
    assert!(down(&later, addresses[1]) > down(&samples, addresses[1]));
    assert!((down(&later, addresses[0]) - down(&samples, addresses[0])).abs() < f64::EPSILON);

    held.into_iter().for_each(end);
    wait_sample(admin, "connections_active", 0.0);
    member.down();
    expect_refused(gateway.address());
    let samples = Samples::of(admin);
    let rejected = "connections_rejected_total{reason=\"unreachable\"}";
    assert_eq!(samples.get(rejected), 1.0);
    assert_eq!(result(&samples, addresses[0], "refused"), 1.0);
    assert_eq!(result(&samples, addresses[1], "refused"), 2.0);
    let (_, seen) = endpoints(admin);
    assert_eq!(seen[1].text("state"), "inactive");
    assert!(seen[1].text("last_error").ends_with("connection refused"));

    member.up_tagged(b't');
    try_tag(gateway.address()).expect("a client is served");
    let samples = Samples::of(admin);
    assert_eq!(samples.at(addresses[0], "endpoint_up", ""), 1.0);
    // Its first answer was a change, too.
    assert_eq!(to(&samples, addresses[0], "active"), 2.0);
    assert_eq!(to(&samples, addresses[0], "inactive"), 1.0);
    let expected = "connection_duration_seconds_count";
    wait_sample(admin, expected, 4.0);
}

/// Also who is gone again before anybody has looked at him.
#[test]
fn every_client_that_was_accepted_is_counted_once() {
    let member = Backend::tagged(b't');
    let (gateway, admin) = observed(&[member.address()], &["--max-connections=2"]);
    gateway.signal("STOP");
    for _ in 0..5 {
        reset(connect(gateway.address()));
    }
    gateway.signal("CONT");
    wait_sample(admin, "connections_total", 5.0);
    wait_sample(admin, "connections_active", 0.0);
    let _held = [0, 1].map(|_| try_tag(gateway.address()).expect("a client is served"));
    expect_refused(gateway.address());
    let samples = Samples::of(admin);
    let rejected = samples.get("connections_rejected_total{reason=\"max_connections\"}");
    let ended = samples.get("connection_duration_seconds_count");
    let active = samples.get("connections_active");
    assert_eq!((active, rejected + ended), (2.0, 6.0));
    assert_eq!(samples.get("connections_total"), 8.0);
}

/// An endpoint that left the set has metrics until its last client has left, and not longer.
#[test]
fn an_endpoint_that_left_is_seen_while_clients_are_connected() {
    isolated(
        an_endpoint_that_left_is_seen_while_clients_are_connected,
        |_| {
            let dns = FakeDns::start("127.0.0.1");
            let at = |number: u8| SocketAddr::from(([127, 1, 0, number], 2379));
            let _members = [1, 2, 3].map(|number| {
                let mut member = Backend::dead_at(at(number)).expect("bind a member's address");
                member.up_tagged(b'0' + number);
                member
            });
            let publish = |numbers: &[u8]| {
                let record = |number: &u8| {
                    let ip = at(*number).ip();
                    format!(
                        "_etcd-client._tcp.x.test SRV 1 7 2379 m{number}.test\nm{number}.test A {ip}\n"
                    )
                };
                dns.publish(&numbers.iter().map(record).collect::<String>());
            };
            publish(&[1, 2]);
            let gateway = Launch::start_with(&[
                "--discovery-srv=x.test",
                "--insecure-discovery",
                "--metrics-addr=127.0.0.1:0",
            ])
            .start();
            let admin = admin_of(&gateway);
            let samples = Samples::of(admin);
            assert_eq!(samples.get("discovery_refreshes_total{result=\"ok\"}"), 1.0);
            assert_eq!(
                samples.get("discovery_refreshes_total{result=\"failed\"}"),
                0.0
            );
            let first = samples.get("discovery_last_success_timestamp_seconds");
            assert!(first >= samples.get("process_start_time_seconds"));
            let (_, seen) = endpoints(admin);
            assert_eq!(seen[0].text("source"), "srv");
            assert_eq!(seen[0].text("name"), "m1.test:2379");
            assert_eq!(
                (seen[0].number("priority"), seen[0].number("weight")),
                (1.0, 7.0)
            );
            let info =
                "endpoint_info{address=\"127.1.0.1:2379\",name=\"m1.test:2379\",source=\"srv\"}";
            assert_eq!(samples.get(info), 1.0);

            let clients = [0, 1].map(|_| try_tag(gateway.address()).expect("a client is served"));
            let [(one, client), (two, other)] = clients;
            assert_ne!(one, two);
            let (gone, gone_client, other_client) = match one {
                b'1' => (at(1), client, other),
                _ => (at(1), other, client),
            };
            publish(&[2, 3]);
            gateway.signal("HUP");
            gateway.wait_record("endpoints changed");
            expect_echo(&gone_client, 1);
            let samples = Samples::of(admin);
            assert_eq!(samples.at(gone, "endpoint_connections_active", ""), 1.0);
            let up = format!("endpoint_up{{address=\"{gone}\"}}");
            assert!(!samples.has(&up), "no alert waits for it");
            let name =
                format!("endpoint_bytes_total{{address=\"{gone}\",direction=\"to_endpoint\"}}");
            wait_sample(admin, &name, 100.0);
            assert_eq!(
                samples.get("discovery_endpoints"),
                2.0,
                "it is none any more"
            );
            let (_, seen) = endpoints(admin);
            assert_eq!(seen.len(), 3);
            assert_eq!(seen[2].text("state"), "removed");

            end(gone_client);
            // The session is seen to have ended before its account is closed.
            crate::support::eventually(crate::support::SOON, "the endpoint is gone", || {
                let name = format!("endpoint_connections_total{{address=\"{gone}\"}}");
                (!Samples::of(admin).has(&name)).then_some(())
            });
            expect_echo(&other_client, 1);
            // A name server that is gone: what is known stays, and the failure is counted.
            drop(dns);
            gateway.signal("HUP");
            wait_sample(admin, "discovery_refreshes_total{result=\"failed\"}", 1.0);
            assert_eq!(Samples::of(admin).get("discovery_endpoints"), 2.0);
        },
    );
}

/// Who has proven itself, by what, and who has not.
#[test]
fn certificates_and_impostors_are_counted() {
    isolated(certificates_and_impostors_are_counted, |site| {
        let Some(pki) = Pki::below(site.path("")) else {
            return;
        };
        let at = |number: u8| SocketAddr::from(([127, 1, 0, number], 2379));
        let roots = [pki.root("true CA"), pki.root("false CA")];
        let [good, bad] = [&roots[0], &roots[1]].map(|root| {
            let names = Request::server("IP:127.1.0.1,IP:127.1.0.2");
            TlsServer::start(&pki, &pki.issue(root, &names), &[])
        });
        let _member = Front::at(at(1), 1, Face::Tls(good));
        let _impostor = Front::at(at(2), 2, Face::Tls(bad));
        let ca = format!("--trusted-ca-file={}", roots[0].certificate);
        let gateway = Launch::before(
            &[at(1), at(2)],
            &["--verify-endpoints", &ca, "--metrics-addr=127.0.0.1:0"],
        )
        .start();
        let admin = admin_of(&gateway);
        let samples = Samples::of(admin);
        let expiry = "endpoint_certificate_expiry_timestamp_seconds";
        let not_after = samples.at(at(1), expiry, "");
        let now = samples.get("process_start_time_seconds");
        assert!(not_after > now + 1_000.0, "{not_after}, now {now}");
        assert!(!samples.has(&format!("{expiry}{{address=\"{}\"}}", at(2))));
        let impostor =
            "endpoint_dials_total{address=\"127.1.0.2:2379\",result=\"unauthenticated\"}";
        crate::support::eventually(crate::support::SOON, "the impostor is counted", || {
            (Samples::of(admin).get(impostor) >= 1.0).then_some(())
        });
        let (_, seen) = endpoints(admin);
        assert_eq!(seen[0].text("state"), "active");
        assert_eq!(seen[0].text("server_name"), "127.1.0.1");
        assert_eq!(&seen[0].text("certificate_expiry")[..2], "20");
        assert_eq!(seen[1].text("state"), "unauthenticated");
        assert!(
            seen[1].text("last_error").contains("authenticate"),
            "{seen:?}"
        );
        assert!(page(admin).content.contains("certificate expires in"));
    });
}

/// The figures of the process are those of the kernel.
#[test]
fn figures_of_the_process_are_right() {
    let member = Backend::tagged(b't');
    let (gateway, admin) = observed(&[member.address()], &[]);
    let _client = connect(gateway.address());
    let samples = Samples::of(admin);
    let near = |name: &str, real: f64, slack: f64| {
        let told = samples.get(name);
        assert!((told - real).abs() <= slack, "{name} {told}, really {real}");
    };
    let pid = gateway.pid();
    near(
        "process_threads",
        crate::support::process::threads(pid) as f64,
        4.0,
    );
    near(
        "process_open_fds",
        crate::support::process::descriptors(pid) as f64,
        4.0,
    );
    let resident = crate::support::process::resident_kib(pid) as f64 * 1024.0;
    near("process_resident_memory_bytes", resident, 2e6);
    let (soft, _) = crate::support::process::file_limits(pid);
    near("process_max_fds", soft.parse().expect("a number"), 0.0);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    near(
        "process_start_time_seconds",
        now.expect("after 1970").as_secs_f64(),
        60.0,
    );
    assert!(samples.get("process_cpu_seconds_total") < 5.0);
    assert_eq!(samples.get("build_info{version=\"0.1.0\"}"), 1.0);
}
