//! Memory that runs out would end the process: `--max-connections=auto` is what a limit on memory allows, however busy all
//! connections are, and clients above it are rejected.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::support::memory_group::MemoryGroup;
use crate::support::net::{expect_echo, expect_refused, try_tag};
use crate::support::process::{can, is_root, virtual_memory};
use crate::support::{Backend, Launch, host_offers};

/// Messages one after the other that make a session have both its threads.
const FAST: u64 = 40;
/// Clients that send more than everybody on the way will hold, and read nothing.
const STUCK: usize = 16;

/// A client that is answered, and keeps both threads of its session.
fn busy(address: SocketAddr) -> Option<TcpStream> {
    let (_, client) = try_tag(address).ok()?;
    (0..FAST).for_each(|seed| expect_echo(&client, seed));
    Some(client)
}

/// Fills all there is between the client and itself, as the endpoint sends all of it back.
fn stick(mut client: &TcpStream) {
    let patience = Some(Duration::from_millis(300));
    client.set_write_timeout(patience).expect("set a timeout");
    let bytes = vec![7; 1 << 20];
    while client.write(&bytes).is_ok() {}
    client.set_write_timeout(None).expect("set a timeout");
}

#[test]
fn more_clients_than_the_memory_of_the_cgroup_bears_end_nobody() {
    // The smaller the limit, the more of it is not for connections.
    for (mebibytes, least) in [(12, 40), (20, 120)] {
        let group = MemoryGroup::of(mebibytes);
        if !host_offers(group.is_some(), "a cgroup with a limit of memory") {
            return;
        }
        let Some(group) = group else { return };
        let endpoint = Backend::tagged(b't');
        let launch = Launch::before(&[endpoint.address()], &[]);
        let mut gateway = launch.wrapped(&group.wrapper()).start();
        let ready = gateway.wait_record(crate::support::gateway::READY);
        let bounded_by = ready.text("bounded_by");
        assert!(
            bounded_by.starts_with("memory.") && bounded_by.ends_with(" of the cgroup"),
            "{ready:?}"
        );
        let promised = ready.number("max_connections") as usize;
        assert!((least..400).contains(&promised), "{mebibytes}: {promised}");

        let clients: Vec<TcpStream> = (0..promised)
            .map_while(|_| busy(gateway.address()))
            .collect();
        assert_eq!(clients.len(), promised, "{}", gateway.text());
        std::thread::scope(|scope| {
            for client in clients.iter().take(STUCK) {
                scope.spawn(|| stick(client));
            }
        });
        for _ in 0..50 {
            expect_refused(gateway.address());
        }
        let refused = gateway.wait_record("rejected client");
        assert_eq!(refused.text("reason"), "max_connections", "{refused:?}");
        gateway.assert_running();
        for (seed, client) in (0..).zip(clients.iter().skip(STUCK)) {
            expect_echo(client, seed);
        }
        gateway.assert_running();
    }
}

/// Address space is used up at start: the limit that is named is the one that was met.
#[test]
fn a_start_without_address_space_names_the_limit() {
    if !host_offers(can("prlimit", &["true"]), "prlimit") {
        return;
    }
    for (limit, named) in [("--as", "RLIMIT_AS"), ("--data", "RLIMIT_DATA")] {
        let limit = |bytes: u64| format!("{limit}={bytes}");
        // The program itself fits, and the stack of a thread, 2 MiB, does not.
        let fits = |kib: &u64| {
            let launch = Launch::exactly(&["--version"]);
            let outcome = launch.wrapped(&["prlimit", &limit(kib * 1024)]).run();
            outcome.code == Some(0)
        };
        let least = (0..64 * 1024).step_by(512).find(fits).expect("it starts");
        let endpoint = Backend::tagged(b't');
        let launch = Launch::before(&[endpoint.address()], &[]);
        let limit = limit((least + 1024) * 1024);
        let outcome = launch.wrapped(&["prlimit", &limit]).run();
        assert_eq!(outcome.code, Some(1), "{outcome:?}");
        let said = outcome.stderr.lines().last().unwrap_or_default();
        assert!(
            said.starts_with("etcd-gateway: cannot start a thread: ") && said.contains(named),
            "{said}"
        );
    }
}

#[test]
fn address_space_bounds_the_connections_and_bears_as_many() {
    if !host_offers(can("prlimit", &["true"]), "prlimit") {
        return;
    }
    for (limit, named) in [
        ("--as=40000000", "RLIMIT_AS"),
        ("--data=30000000", "RLIMIT_DATA"),
    ] {
        let endpoint = Backend::tagged(b't');
        let launch = Launch::before(&[endpoint.address()], &[]);
        let mut gateway = launch.wrapped(&["prlimit", limit]).start();
        let ready = gateway.wait_record(crate::support::gateway::READY);
        assert_eq!(ready.text("bounded_by"), named, "{ready:?}");
        let promised = ready.number("max_connections") as usize;
        assert!((20..400).contains(&promised), "{promised}");
        let clients: Vec<TcpStream> = (0..promised)
            .map_while(|_| busy(gateway.address()))
            .collect();
        assert_eq!(clients.len(), promised, "{}", gateway.text());
        expect_refused(gateway.address());
        gateway.assert_running();
        for (seed, client) in (0..).zip(&clients) {
            expect_echo(client, seed);
        }
    }
}

/// The heap that glibc gives each thread by itself takes 64 MiB of it, which no stack has then.
#[test]
fn no_thread_takes_address_space_for_a_heap() {
    let endpoint = Backend::tagged(b't');
    let gateway = Launch::before(&[endpoint.address()], &[]).start();
    let clients: Vec<TcpStream> = (0..20).map_while(|_| busy(gateway.address())).collect();
    assert_eq!(clients.len(), 20, "{}", gateway.text());
    let taken = virtual_memory(gateway.pid(), "VmSize:");
    assert!(taken < 128 << 20, "{taken} octets of address space");
}

/// Nothing is hashed before it is known that there are random numbers: the standard library would panic.
#[test]
fn without_entropy_the_start_is_refused_in_one_line() {
    const HIDE: &str = "mount -t tmpfs -o ro none /dev && exec \"$@\"";
    let wrapper =
        "strace -D -f -qq -o /dev/null -e inject=getrandom:error=ENOSYS unshare --mount sh -c";
    let wrapper: Vec<&str> = wrapper.split(' ').chain([HIDE, "sh"]).collect();
    let offered = is_root() && can(wrapper[0], &[&wrapper[1..], &["true"]].concat());
    if !host_offers(offered, "strace with the right to trace, and mounts") {
        return;
    }
    let twice = "--endpoints=127.0.0.1:1,127.0.0.1:2,127.0.0.1:1";
    for command in ["start", "check"] {
        let launch = Launch::exactly(&[command, "--listen-addr=127.0.0.1:0", twice]);
        let outcome = launch.wrapped(&wrapper).run();
        assert_eq!(outcome.code, Some(1), "{outcome:?}");
        assert_eq!(
            outcome.stderr,
            "etcd-gateway: no entropy: function not implemented\n"
        );
    }
}
