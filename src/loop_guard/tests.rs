//! Tests of the loop guard: which connections are known to be our own.

use super::*;
use std::net::TcpListener;

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

#[test]
fn listeners_are_recognised() {
    let own = {
        // The address this host would use towards others, if it has one.
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        let found = socket
            .connect("192.0.2.1:9")
            .and_then(|()| socket.local_addr());
        found.map_or(address("127.0.0.1:5"), |found| {
            SocketAddr::new(found.ip(), 5)
        })
    };
    let cases = [
        ("127.0.0.1:5", address("127.0.0.1:5"), true),
        ("127.0.0.1:5", address("127.0.0.1:6"), false),
        ("127.0.0.1:5", address("127.0.0.2:5"), false),
        ("127.0.0.1:5", address("[::ffff:127.0.0.1]:5"), true),
        ("127.0.0.1:5", address("0.0.0.0:5"), true),
        ("0.0.0.0:5", address("127.0.0.1:5"), true),
        ("0.0.0.0:5", address("127.9.9.9:5"), true),
        ("0.0.0.0:5", own, true),
        ("0.0.0.0:5", address("192.0.2.7:5"), false),
        ("0.0.0.0:5", address("[::1]:5"), false),
        ("[::]:5", address("[::1]:5"), true),
        ("[::]:5", address("127.0.0.1:5"), true),
        ("[::]:5", own, true),
        ("[::]:5", address("[2001:db8::1]:5"), false),
        ("[::1]:5", address("[::]:5"), true),
        ("[::1]:5", address("127.0.0.1:5"), false),
        ("[fe80::5%2]:5", address("[fe80::5%2]:5"), true),
        // Another host, on another link.
        ("[fe80::5%2]:5", address("[fe80::5%3]:5"), false),
        // It may be this link.
        ("[fe80::5%2]:5", address("[fe80::5]:5"), true),
        ("[fe80::5]:5", address("[fe80::5%2]:5"), true),
        ("0.0.0.0:5", address("0.0.0.0:5"), true),
        ("[::]:5", address("0.0.0.0:5"), true),
        ("[::1]:5", address("[::1%1]:5"), true),
        ("[::]:5", address("[fe80::db8%1]:5"), false),
    ];
    for (listener, target, looped) in cases {
        assert_eq!(
            serves(&[address(listener)], target),
            looped,
            "{listener} {target}"
        );
    }
    assert!(!serves(&[], address("127.0.0.1:5")));
}

#[test]
fn the_side_that_is_registered_second_finds_the_loop() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = listener.local_addr().unwrap();
    let near = TcpStream::connect(endpoint).unwrap();
    let (far, _) = listener.accept().unwrap();

    let guard = LoopGuard::default();
    let (dial, is_loop) = guard.dialled(near.local_addr().unwrap(), endpoint, &Arc::default());
    assert!(!is_loop);
    let (accepted, found) = guard.accepted(&far).unwrap();
    assert_eq!(found, Some(endpoint));

    drop(dial);
    assert!(
        guard
            .dialled(near.local_addr().unwrap(), endpoint, &Arc::default())
            .1
    );
    drop(accepted);
    assert!(
        !guard
            .dialled(near.local_addr().unwrap(), endpoint, &Arc::default())
            .1
    );
    assert_eq!(
        guard.accepted(&far).unwrap().1,
        None,
        "tickets were dropped"
    );
}

#[test]
fn a_wait_that_ends_early_proves_nothing() {
    let hour = Duration::from_secs(3600);
    // (the result after each wait, the verdict)
    let cases = [
        (vec![Ok(true)], false),
        (vec![Err(())], false),
        (vec![Ok(false), Ok(false), Ok(true)], false),
    ];
    for (heard, quiet) in cases {
        let mut answers = heard.iter();
        let found = is_quiet_until(Instant::now() + hour, |left| {
            assert!(left > hour / 2 && left <= hour);
            let answer = *answers.next().expect("no wait after the verdict");
            answer.map_err(|()| io::ErrorKind::OutOfMemory.into())
        });
        assert_eq!((found, answers.len()), (quiet, 0), "{heard:?}");
    }
    // Once the time is up, a last look.
    for heard in [true, false] {
        let quiet = is_quiet_until(Instant::now(), |left| {
            assert!(left.is_zero());
            Ok(heard)
        });
        assert_eq!(quiet, !heard);
    }
}

#[test]
fn a_client_that_ends_or_resets_does_not_stay_open() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let connected = || {
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (near, listener.accept().unwrap().0)
    };
    let (near, far) = connected();
    let start = Instant::now();
    assert!(stays_open(&far) && start.elapsed() >= QUIET_TIME);
    near.shutdown(std::net::Shutdown::Write).unwrap();
    assert!(!stays_open(&far), "it has ended its direction");
    let (near, far) = connected();
    socket2::SockRef::from(&near)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    drop(near);
    assert!(!stays_open(&far), "it was reset");
}

/// Without a client's socket on this host, and of it, a dial from its very address is what the
/// client is.
#[test]
fn a_client_without_a_socket_on_this_host_is_a_dial_of_ours() {
    #[derive(Debug, PartialEq)]
    enum Client {
        Stays,
        HasEnded,
        HasASocket,
    }
    /// The port as changed from the client's, whether it was answered, the endpoint.
    type Dials<'a> = &'a [(u16, bool, SocketAddr)];
    let elsewhere = address("192.0.2.1:2379");
    let cases: [(&str, Dials<'_>, Client, Option<SocketAddr>); 7] = [
        // (what, dials, client, loop)
        (
            "a loop",
            &[(0, false, elsewhere)],
            Client::Stays,
            Some(elsewhere),
        ),
        ("no dial", &[], Client::Stays, None),
        (
            "from another port",
            &[(1, false, elsewhere)],
            Client::Stays,
            None,
        ),
        ("answered", &[(0, true, elsewhere)], Client::Stays, None),
        (
            "one of two",
            &[(0, false, elsewhere), (0, false, address("192.0.2.2:2379"))],
            Client::Stays,
            None,
        ),
        ("gone", &[(0, false, elsewhere)], Client::HasEnded, None),
        (
            "a client",
            &[(0, false, elsewhere)],
            Client::HasASocket,
            None,
        ),
    ];
    let directory = std::env::temp_dir().join(format!("etcd-gateway-net-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    for name in ["tcp", "tcp6"] {
        std::fs::write(directory.join(name), "  sl  local_address rem_address\n").unwrap();
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    for (what, dials, client, expected) in cases {
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (far, _) = listener.accept().unwrap();
        let tables = match client {
            Client::HasASocket => Tables::default(),
            _ => Tables::below(directory.clone()),
        };
        let open = Mutex::default();
        let guard = LoopGuard(Arc::new(State { open, tables }));
        let tickets: Vec<Ticket> = dials
            .iter()
            .map(|(beside, answered, endpoint)| {
                let mut local = near.local_addr().unwrap();
                local.set_port(local.port() ^ beside);
                let received = Arc::<Counter>::default();
                received.add(u64::from(*answered));
                guard.dialled(local, *endpoint, &received).0
            })
            .collect();
        if client == Client::HasEnded {
            near.shutdown(std::net::Shutdown::Write).unwrap();
        }
        assert_eq!(guard.accepted(&far).unwrap().1, expected, "{what}");
        drop(tickets);
    }
    std::fs::remove_dir_all(directory).unwrap();
}

/// Addresses of this host that are of one link, as `net/if_inet6` of proc(5) has them.
fn of_links() -> Vec<SocketAddr> {
    let table = std::fs::read_to_string("/proc/net/if_inet6").unwrap_or_default();
    let of_link = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let ip = u128::from_str_radix(fields.first()?, 16).ok()?;
        let scope = u32::from_str_radix(fields.get(1)?, 16).ok()?;
        let ip = Ipv6Addr::from_bits(ip);
        // One that is still tentative has no socket.
        let usable = u8::from_str_radix(fields.get(4)?, 16).ok()? & 0x40 == 0;
        (usable && ip.is_unicast_link_local()).then(|| SocketAddrV6::new(ip, 5, 0, scope).into())
    };
    table.lines().filter_map(of_link).collect()
}

#[test]
fn a_link_local_address_is_recognised_with_its_zone() {
    let found = of_links();
    if found.is_empty() {
        eprintln!("skipped: no address of a link on this host");
    }
    for own in found {
        assert!(serves(&[address("[::]:5")], own), "{own}");
        assert!(serves(&[own], own) && !serves(&[address("0.0.0.0:5")], own));
        // The pool has it by the address that it was given.
        let listener = TcpListener::bind(("::", 0)).unwrap();
        let mut endpoint = own;
        endpoint.set_port(listener.local_addr().unwrap().port());
        let near = TcpStream::connect(endpoint).unwrap();
        let (far, _) = listener.accept().unwrap();
        let guard = LoopGuard::default();
        let (_ticket, _) = guard.dialled(near.local_addr().unwrap(), endpoint, &Arc::default());
        assert_eq!(guard.accepted(&far).unwrap().1, Some(endpoint));
    }
}

#[test]
fn a_translated_address_is_a_loop_and_a_shared_port_is_not() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (accepted, _) = listener.accept().unwrap();
    let guard = LoopGuard::default();
    // A dial of ours that shares the client's address: the client's own socket
    // exists on this host, so the connection is the client's.
    let elsewhere = address("192.0.2.1:2379");
    let received = Arc::<Counter>::default();
    let (_dial, _) = guard.dialled(client.local_addr().unwrap(), elsewhere, &received);
    assert_eq!(guard.accepted(&accepted).unwrap().1, None);
    // What has been answered is not even asked about: this client has been sent nothing.
    let client_addr = comparable(client.local_addr().unwrap());
    let asked_about = || from(&lock(&guard.0.open).dialled, client_addr);
    assert_eq!(asked_about(), [elsewhere]);
    received.add(1);
    assert_eq!(asked_about(), []);
    // The same without such a socket: the tables hold ours alone.
    let [client, listener] =
        [client.local_addr(), listener.local_addr()].map(|address| comparable(address.unwrap()));
    assert!(guard.0.tables.have((client, listener)));
    assert!(!guard.0.tables.have((client, comparable(elsewhere))));
}
