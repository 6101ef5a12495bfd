//! Tests of where a gateway listens.

use super::*;
use crate::dns::{Resolver, ResolverConfig};
use crate::sys::random;
use crate::times::Times;

fn addr(text: &str) -> SocketAddr {
    text.parse().expect(text)
}

fn wanted(text: &str) -> HostPort {
    let addr = addr(text);
    HostPort {
        host: Host::Ip(addr.ip()),
        port: addr.port(),
    }
}

fn resolver() -> Resolver {
    let times = Times::REAL;
    let sources = ResolverConfig::of_system(times.resolver_look, times.edns_memory);
    Resolver::new(sources, random::fill)
}

#[test]
fn addresses_overlap_if_only_one_of_them_can_be_listened_on() {
    for (one, other, expected) in [
        ("127.0.0.1:1", "127.0.0.1:1", true),
        ("127.0.0.1:1", "127.0.0.1:2", false),
        ("127.0.0.1:1", "127.0.0.2:1", false),
        ("0.0.0.0:1", "127.0.0.1:1", true),
        ("127.0.0.1:1", "0.0.0.0:1", true),
        ("[::]:1", "127.0.0.1:1", true),
        ("127.0.0.1:1", "[::]:1", true),
        ("[::]:1", "0.0.0.0:2", false),
        ("[::1]:1", "127.0.0.1:1", false),
        // Any free port is another one.
        ("127.0.0.1:0", "127.0.0.1:0", false),
        ("0.0.0.0:0", "127.0.0.1:0", false),
    ] {
        assert_eq!(overlap(addr(one), addr(other)), expected, "{one} {other}");
    }
}

#[test]
fn the_overlap_of_any_two_places_is_named() {
    let listen = |text: &str| ListenAddr {
        addr: addr(text),
        display: format!("name of {text}"),
    };
    let listen_addrs = ["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"].map(listen);
    assert!(refuse_overlap(&listen_addrs).is_ok());
    for (first, second) in [(0, 1), (0, 2), (1, 2)] {
        let mut listen_addrs = listen_addrs.clone();
        let same = format!("0.0.0.0:{}", listen_addrs[first].addr.port());
        listen_addrs[second] = listen(&same);
        let error = refuse_overlap(&listen_addrs).expect_err("they overlap");
        assert!(error.is_usage());
        let (one, other) = (&listen_addrs[first].display, &listen_addrs[second].display);
        let expected =
            format!("--listen-addr={one},{other}: the addresses overlap: remove one of them");
        assert_eq!(error.to_string(), expected);
    }
}

#[test]
fn passed_sockets_take_the_place_of_the_default_and_have_to_agree_with_the_rest() {
    let listen = |named: &[&str], given: bool, passed: &[&str]| {
        let config = Config {
            listen_addrs: named.iter().map(|text| wanted(text)).collect(),
            listen_given: given,
            ..Config::default()
        };
        let passed: Vec<SocketAddr> = passed.iter().map(|text| addr(text)).collect();
        let listen_addrs = listen_addrs(&config, &passed, &resolver())?;
        Ok::<_, Error>(
            listen_addrs
                .into_iter()
                .map(|listen| listen.addr)
                .collect::<Vec<_>>(),
        )
    };
    let addrs = |texts: &[&str]| texts.iter().map(|text| addr(text)).collect::<Vec<_>>();
    let (a, b, c) = ("127.0.0.1:1001", "127.0.0.1:1002", "127.0.0.1:1003");
    for (named, given, passed, expected) in [
        (&[a, b][..], false, &[][..], &[a, b][..]),
        (&[a, b], true, &[], &[a, b]),
        (&[a], false, &[b, c], &[b, c]),
        (&[b, c], true, &[b, c], &[b, c]),
        // The order is that of the socket unit.
        (&[b, c], true, &[c, b], &[c, b]),
        (
            &["0.0.0.0:1001"],
            true,
            &["0.0.0.0:1001"],
            &["0.0.0.0:1001"],
        ),
    ] {
        let found = listen(named, given, passed);
        assert_eq!(
            found.expect("they agree"),
            addrs(expected),
            "{named:?} {passed:?}"
        );
    }
    for (named, passed) in [
        (&[a][..], &[b][..]),
        (&[a, b], &[a]),
        (&[a], &[a, b]),
        (&[a, b], &[a, c]),
    ] {
        let error = listen(named, true, passed).expect_err("they differ");
        assert!(error.is_usage());
        let expected = format!(
            "--listen-addr={}: the service manager passes sockets at {} instead (LISTEN_FDS); remove \
             --listen-addr, name the same addresses, or disable the socket unit",
            named.join(","),
            passed.join(",")
        );
        assert_eq!(error.to_string(), expected);
    }
}

#[test]
fn metrics_are_served_elsewhere_than_clients() {
    let listen = [
        ListenAddr {
            addr: addr("127.0.0.1:1001"),
            display: "localhost:1001".to_owned(),
        },
        ListenAddr {
            addr: addr("127.0.0.1:1002"),
            display: "127.0.0.1:1002".to_owned(),
        },
    ];
    let listen = |text: Option<&str>| {
        let config = Config {
            metrics_addr: text.map(wanted),
            ..Config::default()
        };
        metrics_addr(&config, &listen, &resolver())
    };
    assert!(matches!(listen(None), Ok(None)));
    let found = listen(Some("127.0.0.1:1003")).expect("it is free");
    let found = found.map(|listen| (listen.addr, listen.display));
    assert_eq!(
        found,
        Some((addr("127.0.0.1:1003"), "127.0.0.1:1003".to_owned()))
    );
    for (text, listener) in [
        ("127.0.0.1:1001", "localhost:1001"),
        ("127.0.0.1:1002", "127.0.0.1:1002"),
    ] {
        let error = listen(Some(text)).expect_err("clients are accepted there");
        assert!(error.is_usage());
        let expected = format!(
            "--metrics-addr={text}: clients are accepted there (--listen-addr={listener}): choose \
             another port"
        );
        assert_eq!(error.to_string(), expected);
    }
}

/// An address in use is a warning, for it may be free when the gateway starts; one of another host is an error.
#[test]
fn a_rehearsal_reports_what_a_start_would_meet_and_leaves_the_address_free() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = |addr: SocketAddr| ListenAddr {
        addr,
        display: addr.to_string(),
    };
    let listen = at(taken.local_addr().unwrap());
    let display = listen.display.clone();
    let found = |flag| rehearse(flag, &listen).unwrap();
    assert_eq!(
        found("listen-addr"),
        Some(format!(
            "--listen-addr={display} is in use now: a start needs it free, or passed by systemd"
        ))
    );
    assert_eq!(
        found("metrics-addr"),
        Some(format!(
            "--metrics-addr={display} is in use now: a start needs it free"
        ))
    );
    drop(taken);
    for _ in 0..2 {
        assert_eq!(rehearse("listen-addr", &listen).unwrap(), None);
    }
    let foreign = at(addr("192.0.2.77:0"));
    let error = rehearse("listen-addr", &foreign).expect_err("not of this host");
    assert_eq!(
        error.to_string(),
        "--listen-addr=192.0.2.77:0: cannot listen: cannot assign requested address; no interface \
         of this host has that address, or not yet: an IPv6 address is looked for on the network first, \
         for a second or two, when its interface comes up"
    );
}

/// What is accepted inherits these from the listener (tcp(7)), also from one that was passed.
#[test]
fn clients_of_every_listener_have_keepalive_and_no_delay() {
    let passed = TcpListener::bind("127.0.0.1:0").unwrap();
    let inherited = Inherited {
        addr: passed.local_addr().unwrap(),
        listener: passed,
    };
    let listen = ListenAddr {
        addr: addr("127.0.0.1:0"),
        display: String::new(),
    };
    let own = open(std::slice::from_ref(&listen), Vec::new(), Vec::new()).unwrap();
    let passed = open(&[listen], vec![inherited], Vec::new()).unwrap();
    for listener in own.iter().chain(&passed) {
        let _client = std::net::TcpStream::connect(listener.addr).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        let accepted = SockRef::from(&accepted);
        assert!(accepted.tcp_nodelay().unwrap(), "{listener:?}");
        assert!(accepted.keepalive().unwrap(), "{listener:?}");
        let wait = std::time::Duration::from_secs(15);
        assert_eq!(accepted.tcp_keepalive_time().unwrap(), wait, "{listener:?}");
        assert_eq!(
            accepted.tcp_keepalive_interval().unwrap(),
            wait,
            "{listener:?}"
        );
    }
}
