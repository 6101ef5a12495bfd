//! What finds clients and endpoints fails.

use std::io::Read;
use std::time::{Duration, Instant};

use super::plan::Mix;
use super::rig::{Bears, Rig, Round, Setup, round};
use crate::support::fault::{Faults, NODELAY, Rule, fails};
use crate::support::net::tag;
use crate::support::{Backend, Launch, SOON, eventually};

/// All that accept(2) names, but for what only a defect of the program can cause.
#[test]
fn client_that_cannot_be_accepted_is_accepted_later() {
    const fn accept(error: &'static str) -> Rule {
        fails("accept4", error).chance(500).times(2)
    }
    const CLIENTS: [Rule; 12] = [
        accept("ECONNABORTED"),
        accept("ECONNRESET"),
        accept("EINTR"),
        accept("ENETDOWN"),
        accept("EPROTO"),
        accept("ENOPROTOOPT"),
        accept("EHOSTDOWN"),
        accept("ENONET"),
        accept("EHOSTUNREACH"),
        accept("EOPNOTSUPP"),
        accept("ENETUNREACH"),
        accept("ETIMEDOUT"),
    ];
    const HOSTS: [Rule; 6] = [
        accept("EMFILE"),
        accept("ENFILE"),
        accept("ENOBUFS"),
        accept("ENOMEM"),
        accept("EPERM"),
        accept("EAGAIN"),
    ];
    const ROUNDS: [Round<'_>; 2] = [
        round(
            "accept, the client's fault",
            &CLIENTS,
            Mix::Small,
            Bears::All,
        ),
        round("accept, our fault", &HOSTS, Mix::Small, Bears::All),
    ];
    Rig::run(&Setup::default(), &ROUNDS);
}

/// The client stays in the queue then, and trying again at once would take a processor.
#[test]
fn accept_that_is_refused_for_long_pauses() {
    for error in ["EPERM", "EACCES", "EMFILE", "ENFILE", "ENOBUFS", "ENOMEM"] {
        let Some(mut faults) = Faults::new() else {
            return;
        };
        let endpoint = Backend::tagged(b't');
        let launch = Launch::before(&[endpoint.address()], &[]);
        let gateway = faults.launch(launch).start();
        tag(gateway.address());
        let rules = faults.set(&[fails("accept4", error)]);
        let begin = Instant::now();
        // The call that waits already may succeed, for one of them.
        let clients = [(); 2].map(|()| gateway.connect());
        eventually(SOON, "it tries three times", || {
            (faults.hits(rules.clone())[0] >= 3).then_some(())
        });
        let took = begin.elapsed();
        assert!(took > Duration::from_millis(150), "{error}: {took:?}");
        faults.clear();
        for mut client in clients {
            client.read_exact(&mut [0]).expect("served in the end");
        }
    }
}

#[test]
fn failures_of_this_host_are_not_blamed_on_endpoints() {
    const fn socket(error: &'static str) -> [Rule; 1] {
        [fails("socket", error).on("socket").of("accept").chance(200)]
    }
    const fn connect(error: &'static str) -> [Rule; 1] {
        [fails("connect", error)
            .on("socket")
            .of("accept")
            .chance(200)]
    }
    const fn member(call: &'static str, error: &'static str) -> [Rule; 1] {
        [fails(call, error).on("member").of("accept").chance(200)]
    }
    const ROUNDS: [Round<'_>; 18] = [
        round(
            "socket EMFILE",
            &socket("EMFILE"),
            Mix::Small,
            Bears::OwnFault,
        ),
        round(
            "socket ENFILE",
            &socket("ENFILE"),
            Mix::Small,
            Bears::OwnFault,
        ),
        round(
            "socket ENOMEM",
            &socket("ENOMEM"),
            Mix::Small,
            Bears::OwnFault,
        ),
        round(
            "socket ENOBUFS",
            &socket("ENOBUFS"),
            Mix::Small,
            Bears::OwnFault,
        ),
        round(
            "socket EACCES",
            &socket("EACCES"),
            Mix::Small,
            Bears::OwnFault,
        ),
        round(
            "socket EPERM",
            &socket("EPERM"),
            Mix::Small,
            Bears::OwnFault,
        ),
        round(
            "socket EINVAL",
            &socket("EINVAL"),
            Mix::Small,
            Bears::OwnFault,
        ),
        round(
            "socket EPROTONOSUPPORT",
            &socket("EPROTONOSUPPORT"),
            Mix::Small,
            Bears::OwnFault,
        ),
        round(
            "connect EADDRINUSE",
            &connect("EADDRINUSE"),
            Mix::Small,
            Bears::OwnFault,
        ),
        round(
            "connect EADDRNOTAVAIL",
            &connect("EADDRNOTAVAIL"),
            Mix::Small,
            Bears::OwnFault,
        ),
        round(
            "connect EAGAIN",
            &connect("EAGAIN"),
            Mix::Small,
            Bears::OwnFault,
        ),
        round(
            "connect EINTR",
            &connect("EINTR"),
            Mix::Small,
            Bears::OwnFault,
        ),
        round(
            "connect EALREADY",
            &connect("EALREADY"),
            Mix::Small,
            Bears::OwnFault,
        ),
        round("connect EIO", &connect("EIO"), Mix::Small, Bears::OwnFault),
        round(
            "connect ENOBUFS",
            &connect("ENOBUFS"),
            Mix::Small,
            Bears::OwnFault,
        ),
        round(
            "ioctl ENOMEM",
            &member("ioctl", "ENOMEM"),
            Mix::Small,
            Bears::OwnFault,
        ),
        round(
            "getsockname ENOBUFS",
            &member("getsockname", "ENOBUFS"),
            Mix::Small,
            Bears::OwnFault,
        ),
        round(
            "TCP_NODELAY ENOBUFS",
            &[fails("setsockopt", "ENOBUFS")
                .with(NODELAY)
                .of("accept")
                .chance(200)],
            Mix::Small,
            Bears::OwnFault,
        ),
    ];
    Rig::run(&Setup::default(), &ROUNDS);
}

/// A firewall of this host, a family that its kernel does not have, an address that needs a zone, or the network.
#[test]
fn endpoint_that_cannot_be_reached_comes_back() {
    const fn connect(error: &'static str) -> Rule {
        fails("connect", error)
            .on("socket")
            .of("accept")
            .chance(50)
            .times(2)
    }
    const ALL: [Rule; 8] = [
        connect("EINVAL"),
        connect("EACCES"),
        connect("EPERM"),
        connect("ECONNREFUSED"),
        connect("ETIMEDOUT"),
        connect("EHOSTUNREACH"),
        connect("ENETUNREACH"),
        fails("socket", "EAFNOSUPPORT")
            .on("socket")
            .of("accept")
            .chance(50)
            .times(2),
    ];
    const ROUNDS: [Round<'_>; 1] = [round("unreachable", &ALL, Mix::Small, Bears::Unreachable)];
    Rig::run(&Setup::default(), &ROUNDS);
}

#[test]
fn monitor_that_cannot_dial_or_wait_dials_again() {
    const MONITOR: [Rule; 4] = [
        // It has something to do while an endpoint has failed and another works: clients would dial one that has
        // failed only if all had.
        fails("connect", "ECONNREFUSED")
            .on("socket")
            .of("accept")
            .chance(3),
        fails("socket", "ENOMEM")
            .on("socket")
            .of("monitor")
            .times(3),
        fails("connect", "EADDRINUSE")
            .on("socket")
            .of("monitor")
            .times(3),
        fails("poll", "ENOMEM").of("monitor").times(9),
    ];
    const ROUNDS: [Round<'_>; 1] = [round("monitor", &MONITOR, Mix::Small, Bears::Unreachable)];
    const QUICK: Setup = Setup {
        flags: &[],
        passed: false,
        times: "poll_pause=10",
    };
    Rig::run(&QUICK, &ROUNDS);
}

#[test]
fn thread_that_cannot_be_started_costs_its_client_alone() {
    const THREADS: [Rule; 1] = [fails("pthread_create", "EAGAIN").of("accept").chance(300)];
    const ROUNDS: [Round<'_>; 2] = [
        round(
            "threads of small ones",
            &THREADS,
            Mix::Small,
            Bears::OwnFault,
        ),
        round("threads of bulk", &THREADS, Mix::Bulk, Bears::OwnFault),
    ];
    Rig::run(&Setup::default(), &ROUNDS);
}
