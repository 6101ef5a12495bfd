//! What moves bytes fails.

use super::plan::Mix;
use super::rig::{Bears, LOAD_FOR, Rig, Round, Setup, round};
use crate::support::fault::{Effect, LINGER, RECEIVE_TIMEOUT, Rule, SEND_TIMEOUT, fails};
use crate::support::{SOON, eventually};

/// Workers have the name of the thread that started the first of them.
const WORKER: &str = "accept";
/// The direction of shutdown(2).
const READ: u32 = 0;
const WRITE: u32 = 1;
/// The direction of splice(2).
const IN: u32 = 0;
const OUT: u32 = 1;

/// A pause after a refusal must not be in the way of the next round.
const SOON_AGAIN: Setup = Setup {
    flags: &[],
    passed: false,
    times: "splice_pause=1",
};

const SHORT: [Rule; 4] = [
    Rule::new("recv", Effect::Short).of(WORKER).chance(300),
    Rule::new("send", Effect::Short).of(WORKER).chance(300),
    Rule::new("splice", Effect::Short).with(IN).chance(500),
    Rule::new("splice", Effect::Short).with(OUT).chance(500),
];
const EINTR: [Rule; 5] = [
    fails("recv", "EINTR").of(WORKER).chance(200),
    fails("send", "EINTR").of(WORKER).chance(200),
    fails("splice", "EINTR").with(IN).chance(300),
    fails("splice", "EINTR").with(OUT).chance(300),
    fails("poll", "EINTR").of(WORKER).chance(200),
];
const EAGAIN: [Rule; 4] = [
    fails("recv", "EAGAIN").of(WORKER).chance(100),
    fails("send", "EAGAIN").of(WORKER).chance(100),
    fails("splice", "EAGAIN").with(IN).chance(100),
    fails("splice", "EAGAIN").with(OUT).chance(100),
];
const SLOW: [Rule; 2] = [
    Rule::new("recv", Effect::Delay(2000)).of(WORKER).chance(20),
    Rule::new("send", Effect::Delay(2000)).of(WORKER).chance(20),
];
const RESET: [Rule; 2] = [
    Rule::new("recv", Effect::Reset).of(WORKER).chance(10),
    Rule::new("send", Effect::Reset).of(WORKER).chance(10),
];
const RESET_BULK: [Rule; 2] = [
    Rule::new("splice", Effect::Reset).with(IN).chance(40),
    Rule::new("splice", Effect::Reset).with(OUT).chance(40),
];

#[test]
fn calls_that_are_interrupted_or_do_less_harm_no_session() {
    const ROUNDS: [Round<'_>; 7] = [
        round("short", &SHORT, Mix::Whole, Bears::All),
        round("short bulk", &SHORT, Mix::Bulk, Bears::All),
        round("eintr", &EINTR, Mix::Whole, Bears::All),
        round("eintr bulk", &EINTR, Mix::Bulk, Bears::All),
        round("eagain", &EAGAIN, Mix::Bulk, Bears::All),
        round("slow", &SLOW, Mix::Whole, Bears::All),
        round("short with resets", &SHORT, Mix::Cut, Bears::All),
    ];
    Rig::run(&Setup::default(), &ROUNDS);
}

#[test]
fn connection_that_dies_in_any_call_is_reset_for_both_peers() {
    const ROUNDS: [Round<'_>; 2] = [
        round("reset", &RESET, Mix::Whole, Bears::Fault),
        round("reset bulk", &RESET_BULK, Mix::Bulk, Bears::Fault),
    ];
    Rig::run(&Setup::default(), &ROUNDS);
}

#[test]
fn send_or_receive_that_fails_resets_both_peers() {
    const fn send(error: &'static str) -> [Rule; 1] {
        [fails("send", error).of(WORKER).chance(20)]
    }
    const fn recv(error: &'static str) -> [Rule; 1] {
        [fails("recv", error).of(WORKER).chance(20)]
    }
    const ROUNDS: [Round<'_>; 6] = [
        round(
            "send ENOBUFS",
            &send("ENOBUFS"),
            Mix::Whole,
            Bears::OwnFault,
        ),
        round("send ENOMEM", &send("ENOMEM"), Mix::Cut, Bears::OwnFault),
        round("send EACCES", &send("EACCES"), Mix::Small, Bears::OwnFault),
        round("send EIO", &send("EIO"), Mix::Whole, Bears::Fault),
        round("recv ENOMEM", &recv("ENOMEM"), Mix::Whole, Bears::OwnFault),
        round("recv ENOBUFS", &recv("ENOBUFS"), Mix::Cut, Bears::OwnFault),
    ];
    Rig::run(&Setup::default(), &ROUNDS);
}

#[test]
fn splice_that_is_refused_is_replaced_by_copying() {
    const fn splice(direction: u32, error: &'static str) -> [Rule; 1] {
        [fails("splice", error).with(direction).chance(300)]
    }
    const PIPE: [Rule; 1] = [fails("pipe2", "ENFILE").chance(700)];
    const SIZE: [Rule; 1] = [fails("fcntl", "EPERM").on("pipe").chance(700)];
    const ROUNDS: [Round<'_>; 6] = [
        round("pipe2 ENFILE", &PIPE, Mix::Bulk, Bears::All),
        round("fcntl EPERM", &SIZE, Mix::Bulk, Bears::All),
        round(
            "splice in EINVAL",
            &splice(IN, "EINVAL"),
            Mix::Bulk,
            Bears::All,
        ),
        round(
            "splice in EPERM",
            &splice(IN, "EPERM"),
            Mix::Bulk,
            Bears::All,
        ),
        round(
            "splice out EINVAL",
            &splice(OUT, "EINVAL"),
            Mix::Bulk,
            Bears::All,
        ),
        round(
            "splice out EPERM",
            &splice(OUT, "EPERM"),
            Mix::Bulk,
            Bears::All,
        ),
    ];
    // Each with a gateway of its own: after refusals in a row it splices again only after a pause that doubles each time.
    Rig::run_apart(&SOON_AGAIN, &ROUNDS, 1);
}

#[test]
fn splice_that_fails_resets_both_peers() {
    const fn splice(direction: u32, error: &'static str) -> [Rule; 1] {
        [fails("splice", error).with(direction).chance(30)]
    }
    const ROUNDS: [Round<'_>; 4] = [
        round(
            "splice in ENOMEM",
            &splice(IN, "ENOMEM"),
            Mix::Bulk,
            Bears::OwnFault,
        ),
        round("splice in EIO", &splice(IN, "EIO"), Mix::Bulk, Bears::Fault),
        round(
            "splice out ENOMEM",
            &splice(OUT, "ENOMEM"),
            Mix::Bulk,
            Bears::OwnFault,
        ),
        round(
            "splice out EIO",
            &splice(OUT, "EIO"),
            Mix::Bulk,
            Bears::Fault,
        ),
    ];
    Rig::run(&SOON_AGAIN, &ROUNDS);
}

#[test]
fn end_that_cannot_be_passed_on_is_not_a_clean_end() {
    const fn shutdown(how: u32, error: &'static str) -> [Rule; 1] {
        [fails("shutdown", error).of(WORKER).with(how).chance(300)]
    }
    const ROUNDS: [Round<'_>; 4] = [
        round(
            "shutdown ENOBUFS",
            &shutdown(WRITE, "ENOBUFS"),
            Mix::Whole,
            Bears::OwnFault,
        ),
        round(
            "shutdown ENOTCONN",
            &shutdown(WRITE, "ENOTCONN"),
            Mix::Whole,
            Bears::Fault,
        ),
        round(
            "shutdown with resets",
            &shutdown(WRITE, "ENOBUFS"),
            Mix::Cut,
            Bears::OwnFault,
        ),
        round(
            "shutdown of reads",
            &[fails("shutdown", "ENOBUFS").of(WORKER).with(READ)],
            Mix::CutByEndpoints,
            Bears::OwnFault,
        ),
    ];
    Rig::run(&Setup::default(), &ROUNDS);
}

const fn linger(on: &'static str, error: &'static str, chance: u32) -> [Rule; 1] {
    let rule = fails("setsockopt", error).with(LINGER);
    [rule.on(on).chance(chance)]
}

/// SO_LINGER is what makes the kernel send a reset, by which a peer learns that something is missing.
#[test]
fn peer_of_one_that_resets_never_sees_a_clean_end() {
    const ROUNDS: [Round<'_>; 2] = [
        round(
            "SO_LINGER of members",
            &linger("member", "EPERM", 1000),
            Mix::CutByClients,
            Bears::Fault,
        ),
        round(
            "SO_LINGER of some members",
            &linger("member", "ENOBUFS", 300),
            Mix::Cut,
            Bears::Fault,
        ),
    ];
    Rig::run(&Setup::default(), &ROUNDS);
}

/// A listener that others use too cannot hand it down to those that are accepted.
#[test]
fn client_of_a_passed_socket_never_sees_a_clean_end_of_an_endpoint_that_resets() {
    const PASSED: Setup = Setup {
        flags: &[],
        passed: true,
        times: "",
    };
    const ROUNDS: [Round<'_>; 2] = [
        round(
            "SO_LINGER of clients",
            &linger("client", "EPERM", 1000),
            Mix::CutByEndpoints,
            Bears::Fault,
        ),
        round(
            "SO_LINGER of some clients",
            &linger("client", "ENOBUFS", 300),
            Mix::Cut,
            Bears::Fault,
        ),
    ];
    Rig::run(&PASSED, &ROUNDS);
}

/// What was refused need not be refused for ever, and if it lasts the log says so.
#[test]
fn splice_is_tried_again_after_refusals() {
    const REFUSED: [Rule; 1] = [fails("splice", "EINVAL")];
    // Counts, and does nothing.
    const COUNTED: [Rule; 1] = [Rule::new("splice", Effect::Delay(0)).with(OUT)];
    let Some(mut rig) = Rig::start(&SOON_AGAIN) else {
        return;
    };
    let said = |rig: &Rig, msg: &str| rig.gateway.records(msg).len();
    for (rules, msg) in [
        (&REFUSED, "cannot splice; copying instead"),
        (&COUNTED, "splice works again"),
    ] {
        eventually(SOON, msg, || {
            let bulk = round("bulk", rules, Mix::Bulk, Bears::All);
            let hits = rig
                .round(&bulk, LOAD_FOR)
                .unwrap_or_else(|wrong| panic!("{wrong}"));
            (hits[0] > 0 && said(&rig, msg) == 1).then_some(())
        });
    }
}

#[test]
fn calls_that_only_inspect_a_session_may_fail() {
    const TIMEOUTS: [Rule; 2] = [
        fails("setsockopt", "ENOMEM")
            .with(RECEIVE_TIMEOUT)
            .chance(500),
        fails("setsockopt", "ENOMEM").with(SEND_TIMEOUT).chance(500),
    ];
    const fn worker(call: &'static str, error: &'static str, chance: u32) -> [Rule; 1] {
        [fails(call, error).of(WORKER).chance(chance)]
    }
    const ROUNDS: [Round<'_>; 4] = [
        round("timeouts", &TIMEOUTS, Mix::Bulk, Bears::All),
        round(
            "getpeername ENOBUFS",
            &worker("getpeername", "ENOBUFS", 100),
            Mix::Whole,
            Bears::OwnFault,
        ),
        round(
            "getsockname ENOBUFS",
            &worker("getsockname", "ENOBUFS", 300),
            Mix::Whole,
            Bears::OwnFault,
        ),
        round(
            "poll ENOMEM",
            &worker("poll", "ENOMEM", 20),
            Mix::Whole,
            Bears::OwnFault,
        ),
    ];
    Rig::run(&Setup::default(), &ROUNDS);
}
