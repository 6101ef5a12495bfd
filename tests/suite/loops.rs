//! The gateway as its own endpoint: refused at start in every spelling, recognized at run time when addresses
//! move, and never taken for one when it is not. D5, CVE-2020-15114.

use std::net::{SocketAddr, UdpSocket};
use std::process::Command;

use crate::support::gateway::READY;
use crate::support::names::{PrivateNames, same_port};
use crate::support::net::{expect_refused, tag, try_tag};
use crate::support::process::{can, descriptors, have, is_root, tool_text};
use crate::support::{Backend, Gateway, Launch, SOON, eventually, host_offers, ports};

/// One line on stderr that names the endpoint; nothing is served.
#[track_caller]
fn assert_refused(listen: &str, endpoint: &str) {
    let [listen_flag, endpoints_flag] = [
        format!("--listen-addr={listen}"),
        format!("--endpoints={endpoint}"),
    ];
    let outcome = Launch::exactly(&["start", &listen_flag, &endpoints_flag]).run();
    let case = format!("{listen_flag} {endpoints_flag}: {outcome:?}");
    assert!(matches!(outcome.code, Some(1 | 2)), "{case}");
    assert_eq!(outcome.stdout, "", "{case}");
    assert!(!outcome.stderr.contains(READY), "{case}");
    let last = outcome.stderr.lines().last().unwrap_or_default();
    // IPv4 that is written as IPv6 is IPv4, also where it is shown.
    let endpoint = endpoint.replace("[::ffff:127.0.0.1]", "127.0.0.1");
    assert!(
        last.starts_with("etcd-gateway: ") && last.contains(&endpoint),
        "{case}"
    );
}

// REFERENCE 0, "self loop" and "--listen-addr=0.0.0.0:P --endpoints=127.0.0.1:P".
#[test]
fn endpoint_that_is_the_listener_is_refused_at_start() {
    let port = ports::free_port();
    let pairs = [
        ("127.0.0.1", "127.0.0.1"),
        ("127.0.0.1", "localhost"),
        // Connecting to the unspecified address reaches this host.
        ("127.0.0.1", "0.0.0.0"),
        ("127.0.0.1", "[::ffff:127.0.0.1]"),
        ("0.0.0.0", "127.0.0.1"),
        ("0.0.0.0", "127.0.0.77"),
        ("0.0.0.0", "0.0.0.0"),
        ("0.0.0.0", "localhost"),
        ("[::]", "[::1]"),
        ("[::]", "[::]"),
        // A listener on the IPv6 wildcard without V6ONLY accepts IPv4 too, and so may ours.
        ("[::]", "127.0.0.1"),
        ("[::1]", "[::1]"),
        ("", "127.0.0.1"),
        ("", "localhost"),
        ("localhost", "127.0.0.1"),
    ];
    for (listen, endpoint) in pairs {
        assert_refused(&format!("{listen}:{port}"), &format!("{endpoint}:{port}"));
    }
}

#[test]
fn endpoint_at_the_hosts_own_address_is_refused_under_a_wildcard() {
    // Asks the routing table which address this host has; connecting a UDP socket sends nothing.
    let probe = UdpSocket::bind("0.0.0.0:0").expect("bind a UDP socket");
    let own = probe
        .connect("192.0.2.1:9")
        .and_then(|()| probe.local_addr());
    let own = own
        .ok()
        .filter(|address| !address.ip().is_loopback() && !address.ip().is_unspecified());
    if !host_offers(own.is_some(), "an address besides loopback") {
        return;
    }
    let own = own.expect("checked").ip();
    let port = ports::free_port();
    assert_refused(&format!("0.0.0.0:{port}"), &format!("{own}:{port}"));
    assert_refused(&format!("[::]:{port}"), &format!("{own}:{port}"));
}

/// One loop among good endpoints is still a loop.
#[test]
fn loop_in_a_list_is_refused_at_start() {
    let good = Backend::tagged(b'g');
    let port = ports::free_port();
    let own = format!("127.0.0.1:{port}");
    let list = format!("--endpoints={},{own}", good.address());
    let outcome =
        Launch::exactly(&["start", &format!("--listen-addr=127.0.0.2:0,{own}"), &list]).run();
    assert!(
        matches!(outcome.code, Some(1 | 2)) && outcome.stderr.contains(&own),
        "{outcome:?}"
    );
    assert_eq!(good.accepted(), 0);
}

/// The same port elsewhere, or the same host at another port, is an ordinary endpoint.
#[test]
fn neighbours_of_the_listener_are_not_loops() {
    let (endpoint, other) = same_port("127.0.0.2", "127.0.0.3");
    let port = endpoint.address().port();
    drop(other);
    let listen = format!("--listen-addr=127.0.0.3:{port}");
    let gateway = Launch::start_with(&[&listen, &format!("--endpoints=127.0.0.2:{port}")]).start();
    assert_eq!(tag(gateway.address()).0, b'1');
    let gateway = Launch::before(&[endpoint.address()], &["--listen-addr=0.0.0.0:0"]).start();
    let address = SocketAddr::from(([127, 0, 0, 1], gateway.address().port()));
    assert_eq!(tag(address).0, b'1');
}

/// The log says that an endpoint is this gateway: found by its address, or by the first connection of the loop.
fn names_the_loop(gateway: &Gateway) -> bool {
    let text = gateway.text();
    text.contains("loop") || text.contains("this gateway itself")
}

/// A record that comes to point at the gateway itself.
#[test]
fn name_that_moves_to_the_gateway_is_not_an_endless_loop() {
    let Some(names) = PrivateNames::new("127.0.0.2 moving.test\n") else {
        return;
    };
    let (endpoint, own) = same_port("127.0.0.2", "127.0.0.3");
    let port = endpoint.address().port();
    drop(own);
    let listen = format!("--listen-addr=127.0.0.3:{port}");
    let mut gateway = names.start(&[
        &listen,
        &format!("--endpoints=moving.test:{port}"),
        "--retry-delay=200ms",
    ]);
    tag(gateway.address());
    let before = descriptors(gateway.pid());
    names.set("127.0.0.3 moving.test\n");
    drop(endpoint);
    eventually(SOON * 2, "the loop is named in the log", || {
        expect_refused(gateway.address());
        names_the_loop(&gateway).then_some(())
    });
    eventually(SOON, "no connection of the loop stays", || {
        (descriptors(gateway.pid()) <= before).then_some(())
    });
    gateway.assert_running();
    // It comes back as soon as the name does.
    let (_back, _) = eventually(SOON, "the port is free again", || {
        let mut back = Backend::dead_at(SocketAddr::from(([127, 0, 0, 2], port))).ok()?;
        back.up_tagged(b'1');
        Some((back, ()))
    });
    names.set("127.0.0.2 moving.test\n");
    let found = eventually(SOON * 2, "the endpoint serves again", || {
        try_tag(gateway.address()).ok()
    });
    assert_eq!(found.0, b'1');
}

/// A gateway in a network namespace of its own, where addresses can be moved.
pub(crate) struct Island {
    pub(crate) gateway: Gateway,
}

impl Island {
    /// Runs `setup` in the namespace first; nothing where the host lets us make none.
    pub(crate) fn start(setup: &str, flags: &[&str]) -> Option<Island> {
        Some(Island {
            gateway: Island::prepare(setup, Launch::start_with(flags))?.start(),
        })
    }

    fn prepare(setup: &str, launch: Launch) -> Option<Launch> {
        let mut unshare = vec!["--net"];
        if !is_root() {
            unshare.extend(["--user", "--map-root-user"]);
        }
        let allowed = have("ip")
            && have("nsenter")
            && can("unshare", &[unshare.as_slice(), &["true"]].concat());
        if !host_offers(allowed, "network namespaces, ip and nsenter") {
            return None;
        }
        let script = format!("ip link set lo up && {setup} && exec \"$0\" \"$@\"");
        let wrapper = [&["unshare"], unshare.as_slice(), &["sh", "-c", &script]].concat();
        Some(launch.wrapped(&wrapper))
    }

    fn enter(&self) -> Vec<String> {
        let mut words = vec![
            "--target".to_owned(),
            self.gateway.pid().to_string(),
            "--net".to_owned(),
        ];
        if !is_root() {
            words.extend(["--user".to_owned(), "--preserve-credentials".to_owned()]);
        }
        words
    }

    fn sh(&self, script: &str) {
        let enter = self.enter();
        let enter: Vec<&str> = enter.iter().map(String::as_str).collect();
        tool_text(
            "nsenter",
            &[enter.as_slice(), &["sh", "-c", script]].concat(),
        );
    }

    /// What a client in the namespace that sends a word gets back.
    pub(crate) fn client(&self) -> String {
        let address = self.gateway.address();
        let script = format!(
            "exec 3<>/dev/tcp/127.0.0.1/{} && echo word >&3 && timeout 3 head -c 5 <&3",
            address.port()
        );
        let output = Command::new("nsenter")
            .args(self.enter())
            .args(["bash", "-c", &script])
            .output()
            .expect("run nsenter");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

/// A floating address that moves to this host: no check at start can know.
#[test]
fn address_that_moves_to_this_host_is_not_an_endless_loop() {
    let listen = "--listen-addr=0.0.0.0:4000";
    let Some(mut island) = Island::start(
        "true",
        &[listen, "--endpoints=10.9.9.9:4000", "--retry-delay=200ms"],
    ) else {
        return;
    };
    let before = descriptors(island.gateway.pid());
    island.sh("ip addr add 10.9.9.9/32 dev lo");
    eventually(SOON, "the loop is named in the log", || {
        assert_eq!(island.client(), "");
        names_the_loop(&island.gateway).then_some(())
    });
    // It is set aside, and so are clients told.
    eventually(SOON, "a client is refused for that reason", || {
        assert_eq!(island.client(), "");
        let reason = "no_eligible_endpoint";
        let refused = island.gateway.records("rejected client");
        let told = refused.iter().any(|record| record.text("reason") == reason);
        told.then_some(())
    });
    eventually(SOON, "no connection of the loop stays", || {
        (descriptors(island.gateway.pid()) <= before).then_some(())
    });
    island.gateway.assert_running();
}

/// An address of a link counts with its zone only, for the kernel as for us.
#[test]
fn address_of_a_link_of_this_host_is_refused_under_a_wildcard() {
    let flags = [
        "start",
        "--listen-addr=[::]:4000",
        "--endpoints=[fe80::5%lo]:4000",
    ];
    // Without nodad it would not be ours at once.
    let own = "ip addr add fe80::5/64 dev lo nodad";
    let Some(launch) = Island::prepare(own, Launch::exactly(&flags)) else {
        return;
    };
    let outcome = launch.run();
    assert!(matches!(outcome.code, Some(1 | 2)), "{outcome:?}");
    let last = outcome.stderr.lines().last().unwrap_or_default();
    assert!(last.contains("[fe80::5%lo]:4000"), "{last}");
}

/// A dial to a dead local port in the ephemeral range can meet itself (RFC 9293, simultaneous open): the client
/// would hear its own words as etcd's answer. Here the range is so small that it happens at once.
#[test]
fn gateway_that_dials_itself_finds_it_out() {
    let range = "echo 4001 4004 > /proc/sys/net/ipv4/ip_local_port_range";
    let flags = [
        "--listen-addr=127.0.0.1:4000",
        "--endpoints=127.0.0.1:4001,127.0.0.1:4003",
        "--retry-delay=1h",
    ];
    let Some(island) = Island::start(range, &flags) else {
        return;
    };
    for _ in 0..20 {
        assert_eq!(
            island.client(),
            "",
            "the client heard itself:\n{}",
            island.gateway.text()
        );
    }
}
