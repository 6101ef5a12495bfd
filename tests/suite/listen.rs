//! Listeners: every form of address, several at once, and what happens when one cannot be bound.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, TcpListener, TcpStream};

use crate::admin::{admin_of, get};
use crate::status::{ask, with_message};
use crate::support::gateway::{READY, assert_bad_flag};
use crate::support::isolated::isolated;
use crate::support::net::{expect_echo, tag, try_tag};
use crate::support::process::{can, tool_text};
use crate::support::{
    Backend, End, Gateway, Launch, SOON, connect, eventually, expect_end, host_offers, ports,
};

const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

fn listening_on(address: &str) -> (Gateway, Backend) {
    let endpoint = Backend::tagged(b't');
    let gateway = Gateway::before(&[&endpoint], &[&format!("--listen-addr={address}")]);
    (gateway, endpoint)
}

// D12: `:port` was refused.
#[test]
fn port_alone_listens_on_both_families() {
    let (gateway, _endpoint) = listening_on(":0");
    let port = gateway.address().port();
    for ip in [V4, V6] {
        assert_eq!(tag(SocketAddr::new(ip, port)).0, b't', "{ip}");
    }
}

#[test]
fn ipv6_listener_serves_ipv6() {
    let (gateway, _endpoint) = listening_on("[::1]:0");
    assert_eq!(gateway.address().ip(), V6);
    assert_eq!(tag(gateway.address()).0, b't');
}

#[test]
fn ipv4_wildcard_serves_every_ipv4_address() {
    let (gateway, _endpoint) = listening_on("0.0.0.0:0");
    let port = gateway.address().port();
    for ip in ["127.0.0.1", "127.0.0.9"] {
        assert_eq!(
            tag(SocketAddr::new(ip.parse().expect("an address"), port)).0,
            b't',
            "{ip}"
        );
    }
}

#[test]
fn ipv6_wildcard_serves_ipv6() {
    let (gateway, _endpoint) = listening_on("[::]:0");
    assert_eq!(tag(SocketAddr::new(V6, gateway.address().port())).0, b't');
}

/// IPv4 that is written as IPv6 is IPv4, for clients and for metrics, and in everything that is shown.
#[test]
fn ipv4_in_the_notation_of_ipv6_serves_ipv4() {
    let endpoint = Backend::tagged(b't');
    let mapped = "[::ffff:127.0.0.1]:0";
    let flags = ["--listen-addr", mapped, "--metrics-addr", mapped];
    let gateway = Gateway::before(&[&endpoint], &flags);
    assert_eq!(gateway.address().ip(), V4);
    assert_eq!(tag(gateway.address()).0, b't');
    assert_eq!(admin_of(&gateway).ip(), V4);
    assert_eq!(get(admin_of(&gateway), "/readyz").status(), 200);
}

#[test]
fn name_listens_on_what_it_resolves_to() {
    let (gateway, _endpoint) = listening_on("localhost:0");
    assert!(
        gateway
            .addresses()
            .iter()
            .all(|address| address.ip().is_loopback()),
        "{:?}",
        gateway.addresses()
    );
    assert_eq!(tag(gateway.address()).0, b't');
}

#[test]
fn repeated_listeners_all_serve() {
    let endpoint = Backend::tagged(b't');
    let flags = [
        "--listen-addr=127.0.0.1:0,127.0.0.2:0",
        "--listen-addr=[::1]:0",
    ];
    let gateway = Gateway::before(&[&endpoint], &flags);
    assert_eq!(gateway.addresses().len(), 3, "{}", gateway.text());
    for &address in gateway.addresses() {
        assert_eq!(tag(address).0, b't', "{address}");
    }
}

/// The cursor is one: which listener a client came by does not matter.
#[test]
fn clients_of_all_listeners_share_evenly() {
    let (a, b) = (Backend::tagged(b'a'), Backend::tagged(b'b'));
    let gateway = Gateway::before(&[&a, &b], &["--listen-addr=127.0.0.1:0,127.0.0.2:0"]);
    for &address in gateway.addresses().iter().cycle().take(20) {
        tag(address);
    }
    assert_eq!((a.accepted(), b.accepted()), (10, 10));
}

#[test]
fn ipv6_endpoint_serves() {
    let mut endpoint = Backend::dead_at(SocketAddr::new(V6, 0)).expect("bind ::1");
    endpoint.up_tagged(b't');
    let gateway = Gateway::before(&[&endpoint], &[]);
    assert_eq!(tag(gateway.address()).0, b't');
}

#[test]
fn listener_named_twice_is_bound_once() {
    let endpoint = Backend::tagged(b't');
    let listen = format!("127.0.0.1:{}", ports::free_port());
    let gateway = Gateway::before(&[&endpoint], &[&format!("--listen-addr={listen},{listen}")]);
    assert_eq!(gateway.addresses().len(), 1, "{}", gateway.text());
    assert!(
        gateway
            .lines()
            .iter()
            .any(|line| line.contains("duplicate")),
        "{}",
        gateway.text()
    );
}

/// Whose address is in use is known before anything is bound: it is the operator's other one.
#[test]
fn listener_that_is_part_of_another_is_refused() {
    let port = ports::free_port();
    for (one, other) in [
        ("0.0.0.0", "[::]"),
        ("", "127.0.0.1"),
        ("[::1]", "0.0.0.0"),
        ("localhost", "127.0.0.1"),
    ] {
        let (one, other) = (format!("{one}:{port}"), format!("{other}:{port}"));
        let flag = format!("--listen-addr={one},{other}");
        for command in ["start", "check"] {
            let words = [flag.as_str(), "the addresses overlap: remove one of them"];
            assert_bad_flag(&[command, "--endpoints=127.0.0.1:1", &flag], &words);
        }
    }
}

/// A failure at run time: exit 1, and the address in the message.
#[test]
fn address_in_use_is_named_and_ends_it() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("bind port 0");
    let address = taken.local_addr().expect("bound address").to_string();
    for list in [address.clone(), format!("127.0.0.1:0,{address}")] {
        let outcome =
            Launch::start_with(&[&format!("--listen-addr={list}"), "--endpoints=127.0.0.1:1"])
                .run();
        assert_eq!(
            (outcome.code, outcome.stdout.as_str()),
            (Some(1), ""),
            "{outcome:?}"
        );
        assert!(!outcome.stderr.contains(READY), "{outcome:?}");
        let last = outcome.stderr.lines().last().unwrap_or_default();
        assert!(
            last.starts_with("etcd-gateway: ") && last.contains(&address),
            "{outcome:?}"
        );
        assert!(last.to_lowercase().contains("in use"), "{outcome:?}");
    }
}

#[test]
fn address_of_another_host_ends_it() {
    let outcome =
        Launch::start_with(&["--listen-addr=192.0.2.77:2379", "--endpoints=127.0.0.1:1"]).run();
    assert_eq!(outcome.code, Some(1), "{outcome:?}");
    assert!(outcome.stderr.contains("192.0.2.77:2379"), "{outcome:?}");
}

/// Whether a connection that has ended still waits on this port of 127.0.0.1 (TIME_WAIT, proc_net_tcp(5)).
fn lingers(port: u16) -> bool {
    let table = std::fs::read_to_string("/proc/net/tcp").expect("read /proc/net/tcp");
    let local = format!("0100007F:{port:04X}");
    let mut rows = table.lines().map(|line| line.split_whitespace());
    rows.any(|mut words| words.nth(1) == Some(local.as_str()) && words.nth(1) == Some("06"))
}

/// Neither connections that were reset nor those that the gateway closed first (TIME_WAIT) keep the address.
#[test]
fn address_can_be_bound_again_right_after_the_end() {
    let port = ports::free_port();
    let listen = format!("--listen-addr=127.0.0.1:{port}");
    let ends = Backend::serving(|_| {});
    for _ in 0..3 {
        let mut gateway = Gateway::before(&[&ends], &[&listen, "--drain-timeout=0s"]);
        // The endpoint closes first, so the gateway closes its side to the client before the client does.
        let client = gateway.connect();
        expect_end(&client, End::Clean);
        drop(client);
        eventually(SOON, "the connection lingers on the port", || {
            lingers(port).then_some(())
        });
        gateway.signal("TERM");
        assert!(gateway.wait_exit(SOON).success());
    }
    let endpoint = Backend::tagged(b't');
    for _ in 0..2 {
        let mut gateway = Gateway::before(&[&endpoint], &[&listen, "--drain-timeout=0s"]);
        let _open = try_tag(gateway.address()).expect("served");
        gateway.signal("TERM");
        assert!(gateway.wait_exit(SOON).success());
    }
}

/// A link with this address on it; the interfaces of this namespace are those that are seen.
fn make_link() {
    tool_text(
        "ip",
        &["link", "add", "one", "type", "veth", "peer", "name", "two"],
    );
    for name in ["one", "two"] {
        tool_text("ip", &["link", "set", name, "up"]);
    }
    tool_text("ip", &["addr", "add", "fe80::77/64", "dev", "one", "nodad"]);
}

/// The listener's address by the number that the interface has now.
fn on_link(port: u16) -> SocketAddr {
    let index = std::fs::read_to_string("/sys/class/net/one/ifindex").expect("an interface");
    let index = index.trim().parse().expect("a number");
    SocketAddrV6::new("fe80::77".parse().expect("an address"), port, 0, index).into()
}

/// Whether metrics are served there. No zone may stand in the field Host.
fn is_observed(mut admin: TcpStream) -> bool {
    let request = b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    admin.write_all(request).expect("send a request");
    let mut answer = String::new();
    admin.read_to_string(&mut answer).expect("an answer");
    answer.starts_with("HTTP/1.1 200 ")
}

/// The kernel binds to the number of an interface, and the new one of the same name has another.
#[test]
fn listener_follows_an_interface_that_is_made_anew() {
    isolated(listener_follows_an_interface_that_is_made_anew, |_| {
        if !host_offers(
            can(
                "ip",
                &["link", "add", "t1", "type", "veth", "peer", "name", "t2"],
            ),
            "veth interfaces",
        ) {
            return;
        }
        tool_text("mount", &["-t", "sysfs", "none", "/sys"]);
        make_link();
        let endpoint = Backend::tagged(b't');
        let flags = [
            "--listen-addr=[fe80::77%one]:1001,127.0.0.1:1002",
            "--metrics-addr=[fe80::77%one]:1003",
        ];
        let launch = Launch::before(&[endpoint.address()], &flags);
        let mut gateway = launch.times("zone_look=20").start();
        assert_eq!(gateway.addresses()[0], on_link(1001));
        let (_, other) = try_tag(gateway.addresses()[1]).expect("served");
        for round in 0..2 {
            assert_eq!(tag(on_link(1001)).0, b't', "{round}");
            assert!(is_observed(connect(on_link(1003))), "{round}");
            let told = |msg: &str| gateway.records(msg).len();
            let (lost, found) = (
                "cannot listen on the interface, trying again",
                "interface was created again, listening on it",
            );
            let before = (told(lost), told(found));
            tool_text("ip", &["link", "del", "one"]);
            eventually(SOON, "that both are deaf is told", || {
                (told(lost) == before.0 + 2).then_some(())
            });
            let problems = with_message(&ask(&gateway), "status of a problem").len();
            assert_eq!(problems, 2);
            make_link();
            eventually(SOON, "both listen again", || {
                (told(found) == before.1 + 2).then_some(())
            });
        }
        assert_eq!(tag(on_link(1001)).0, b't');
        assert!(is_observed(connect(on_link(1003))));
        assert!(with_message(&ask(&gateway), "status of a problem").is_empty());
        // Who came by another listener was not disturbed.
        expect_echo(&other, 1);
        gateway.signal("TERM");
        drop(other);
        assert!(gateway.wait_exit(SOON).success());
    });
}
