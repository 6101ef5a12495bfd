//! Rules by chance, for as long as one likes: what no table has thought of.

use std::time::{Duration, Instant};

use super::plan::{Dice, Mix};
use super::rig::{Bears, Rig, Round, Setup};
use crate::support::fault::{Effect, Rule, seed};

/// Calls, what they are made on, and how they may fail.
const CALLS: [(&str, &str, &[&str]); 29] = [
    (
        "recv",
        "client",
        &["ENOMEM", "ENOBUFS", "EINTR", "EIO", "ETIMEDOUT", "EACCES"],
    ),
    (
        "recv",
        "member",
        &[
            "ENOMEM",
            "ENOBUFS",
            "EINTR",
            "EIO",
            "ECONNRESET",
            "EHOSTUNREACH",
        ],
    ),
    (
        "send",
        "client",
        &["ENOMEM", "ENOBUFS", "EINTR", "EAGAIN", "EPIPE", "EACCES"],
    ),
    (
        "send",
        "member",
        &[
            "ENOMEM",
            "ENOBUFS",
            "EINTR",
            "EAGAIN",
            "ECONNRESET",
            "EPERM",
        ],
    ),
    (
        "splice",
        "client",
        &[
            "ENOMEM", "EINVAL", "EINTR", "EAGAIN", "EIO", "EPERM", "ENOSYS",
        ],
    ),
    (
        "splice",
        "member",
        &[
            "ENOMEM", "EINVAL", "EINTR", "EAGAIN", "EIO", "EACCES", "EPIPE",
        ],
    ),
    ("read", "pipe", &["EIO", "EINTR", "ENOMEM"]),
    ("poll", "client", &["ENOMEM", "EINTR", "EAGAIN"]),
    ("poll", "member", &["ENOMEM", "EINTR", "EINVAL"]),
    (
        "accept4",
        "listen",
        &["EMFILE", "ENOBUFS", "ECONNABORTED", "EPERM", "EPROTO"],
    ),
    (
        "socket",
        "socket",
        &["EMFILE", "ENOBUFS", "EACCES", "EAFNOSUPPORT", "EINVAL"],
    ),
    (
        "connect",
        "socket",
        &[
            "EINTR",
            "EADDRINUSE",
            "EADDRNOTAVAIL",
            "ECONNREFUSED",
            "EAGAIN",
            "EALREADY",
            "EIO",
            "ENETUNREACH",
        ],
    ),
    ("getsockname", "member", &["ENOBUFS", "ENOTCONN"]),
    ("getsockname", "client", &["ENOBUFS", "ENOTCONN"]),
    // ENOTCONN would be a lie about the connection, which is more than a call that fails.
    ("getpeername", "member", &["ENOBUFS", "ENOMEM"]),
    ("getpeername", "client", &["ENOBUFS", "ENOMEM"]),
    (
        "setsockopt",
        "member",
        &["ENOBUFS", "ENOMEM", "EPERM", "ENOPROTOOPT"],
    ),
    ("setsockopt", "client", &["ENOBUFS", "ENOMEM", "EPERM"]),
    ("shutdown", "client", &["ENOBUFS", "ENOTCONN"]),
    ("shutdown", "member", &["ENOBUFS", "ENOTCONN"]),
    ("fcntl", "pipe", &["EPERM", "EBUSY", "ENOMEM"]),
    ("ioctl", "member", &["ENOMEM", "EIO"]),
    ("pipe2", "", &["EMFILE", "ENFILE"]),
    ("poll", "listen", &["ENOMEM", "EINTR"]),
    ("poll", "event", &["ENOMEM", "EINTR"]),
    ("poll", "", &["ENOMEM", "EINTR"]),
    ("write", "file", &["EIO", "ENOSPC", "EINTR", "EDQUOT"]),
    ("getrandom", "", &["EAGAIN", "EINTR"]),
    ("pthread_create", "", &["EAGAIN", "ENOMEM"]),
];

fn rule(dice: &mut Dice) -> Rule {
    let (call, on, errors) = dice.one_of(&CALLS);
    let moves = ["recv", "send", "splice", "write"].contains(&call);
    let effect = match dice.below(6) {
        0 if moves => Effect::Short,
        1 if moves => Effect::Reset,
        2 => Effect::Delay(100 << dice.below(6)),
        _ => Effect::Error(dice.one_of(errors)),
    };
    let rule = Rule::new(call, effect).on(on);
    rule.chance(dice.one_of(&[5, 20, 100, 500]))
}

/// `make soak`, or with `FAULT_SEED` the round that has failed.
#[test]
#[ignore = "takes as long as SOAK_SECONDS says, 60 unless it says something"]
fn soak() {
    let seconds = std::env::var("SOAK_SECONDS").map_or(60, |text| {
        text.parse().expect("SOAK_SECONDS is a number of seconds")
    });
    let until = Instant::now() + Duration::from_secs(seconds);
    let mixes = [
        Mix::CutByEndpoints,
        Mix::Whole,
        Mix::Cut,
        Mix::Bulk,
        Mix::Small,
        Mix::CutByClients,
    ];
    let (mut rig, mut failures) = (None, Vec::new());
    for number in seed().. {
        if Instant::now() > until {
            break;
        }
        let mut dice = Dice::new(number);
        let rules: Vec<Rule> = (0..1 + dice.below(4)).map(|_| rule(&mut dice)).collect();
        let round = Round {
            name: "soak",
            rules: &rules,
            mix: dice.one_of(&mixes),
            bears: Bears::Unreachable,
        };
        if rig.is_none() {
            // Sockets that were passed take other ways.
            let passed = dice.below(2) == 0;
            rig = Rig::start(&Setup {
                passed,
                ..Setup::default()
            });
        }
        let Some(running) = &mut rig else { return };
        running.reseed(number);
        let outcome = running.round(&round, Duration::ZERO);
        if number.is_multiple_of(20) {
            rig = None;
        }
        if let Err(wrong) = outcome {
            failures.push(format!(
                "\n=== FAULT_SEED={number}: {rules:#?} {:?}: {wrong}",
                round.mix
            ));
            rig = None;
        }
    }
    assert!(
        failures.is_empty(),
        "{} rounds: {}",
        failures.len(),
        failures.concat()
    );
}
