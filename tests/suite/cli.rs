//! The command line's forms: commands, help, version, where flags may stand, the environment.

use crate::support::gateway::{Outcome, assert_bad_flag, binary, called_etcd};
use crate::support::net::tag;
use crate::support::process::tool;
use crate::support::{Backend, Launch, TempDir};

fn run(args: &[&str]) -> Outcome {
    Launch::exactly(args).run()
}

/// Every spelling prints to stdout, nothing to stderr, and ends with 0: the short help, or the long one with what it
/// adds.
#[test]
fn help_is_printed_at_both_levels() {
    const LISTED: &[&str] = &["--endpoints", "--listen-addr", "--retry-delay"];
    const EXPLAINED: &[&str] = &["127.0.0.1:23790", "ETCD_GATEWAY_ENDPOINTS"];
    const COMMANDS: &[&str] = &["start", "check", "config", "generate", "help", "version"];
    let spellings: [(&[&str], &[&[&str]]); 12] = [
        (&["--help"], &[COMMANDS, LISTED, EXPLAINED]),
        (&["-h"], &[COMMANDS]),
        (&["help"], &[COMMANDS, LISTED, EXPLAINED]),
        (&["help", "start"], &[LISTED, EXPLAINED]),
        (&["start", "--help"], &[LISTED, EXPLAINED]),
        (&["start", "-h"], &[LISTED]),
        (&["check", "-h"], &[&["--endpoints", "--output"]]),
        (&["config", "--help"], &[LISTED, EXPLAINED, &["--output"]]),
        (&["gateway", "--help"], &[COMMANDS, LISTED, EXPLAINED]),
        (&["gateway", "start", "--help"], &[LISTED, EXPLAINED]),
        (&["generate", "--help"], &[&["man", "unit"]]),
        (
            &["start", "--endpoints=127.0.0.1:2379", "--help"],
            &[LISTED, EXPLAINED],
        ),
    ];
    for (args, words) in spellings {
        let outcome = run(args);
        assert_eq!(
            (outcome.code, outcome.stderr.as_str()),
            (Some(0), ""),
            "{args:?}"
        );
        let said = &outcome.stdout;
        for word in words.concat() {
            assert!(
                said.contains(word),
                "{args:?} does not mention {word}:\n{said}"
            );
        }
        let wide = said.lines().find(|line| line.chars().count() > 80);
        assert_eq!(wide, None, "{args:?}");
    }
}

#[test]
fn version_is_one_line_at_both_levels() {
    for args in [
        &["--version"][..],
        &["-V"],
        &["version"],
        &["start", "--version"],
        &["gateway", "--version"],
    ] {
        let outcome = run(args);
        assert_eq!(
            (outcome.code, outcome.stderr.as_str()),
            (Some(0), ""),
            "{args:?}"
        );
        assert_eq!(outcome.stdout.lines().count(), 1, "{args:?}");
        assert!(
            outcome
                .stdout
                .starts_with(concat!("etcd-gateway ", env!("CARGO_PKG_VERSION"))),
            "{args:?}: {outcome:?}"
        );
    }
}

/// With stdout closed the program ends without a panic: `etcd-gateway --help | head -1`.
#[test]
fn help_into_a_closed_pipe_does_not_panic() {
    let script = format!("{} --help | true", binary().display());
    let output = tool("sh", &["-c", &script]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!stderr.contains("panicked"), "{stderr}");
}

/// A manual that is cut short must not be installed without a word.
#[test]
fn a_full_disk_is_reported() {
    let script = format!("{} generate man >/dev/full", binary().display());
    let output = tool("sh", &["-c", &script]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("standard output: cannot write"), "{stderr}");
}

#[test]
fn unknown_commands_and_flags_are_refused_with_the_likely_one() {
    assert_bad_flag(&[], &["etcd-gateway start"]);
    assert_bad_flag(&["strat"], &["strat", "start"]);
    assert_bad_flag(
        &["start", "--endpoint=127.0.0.1:2379"],
        &["--endpoint", "--endpoints"],
    );
    assert_bad_flag(
        &["start", "--listen-address=:1"],
        &["--listen-address", "--listen-addr"],
    );
    assert_bad_flag(&["start", "-endpoints=127.0.0.1:2379"], &["--endpoints"]);
    assert_bad_flag(&["start", "stray"], &["stray"]);
    assert_bad_flag(&["start", "--endpoints"], &["--endpoints"]);
    assert_bad_flag(&["start", "--zzzzzzzz"], &["--zzzzzzzz"]);
}

/// A message stays one line and harmless whatever the value holds.
#[test]
fn hostile_values_are_shown_escaped() {
    for value in ["a\nb", "\u{1b}[31m", "a\rb"] {
        let flag = format!("--endpoints={value}");
        let outcome = run(&["start", &flag]);
        assert_eq!(outcome.code, Some(2), "{outcome:?}");
        assert_eq!(outcome.stderr.lines().count(), 1, "{outcome:?}");
        let text = outcome.stderr.trim_end_matches('\n');
        assert!(!text.contains(|c: char| c.is_control()), "{outcome:?}");
        // A path may have anything in it, and is found wrong only when it is used.
        for flag in ["access-log", "endpoints-file"] {
            let flag = format!("--{flag}=/nothing/{value}");
            let outcome = run(&["check", &flag]);
            assert_eq!(outcome.code, Some(1), "{outcome:?}");
            let text = outcome.stderr.trim_end_matches('\n');
            assert!(!text.contains(|c: char| c.is_control()), "{outcome:?}");
        }
    }
}

/// Each form starts the same gateway.
#[test]
fn flags_may_stand_before_and_after_start() {
    let endpoint = Backend::tagged(b't');
    let flag = format!("--endpoints={}", endpoint.address());
    let value = endpoint.address().to_string();
    let listen = "--listen-addr=127.0.0.1:0";
    let forms: [&[&str]; 6] = [
        &["start", &flag, listen],
        &[
            "start",
            "--endpoints",
            &value,
            "--listen-addr",
            "127.0.0.1:0",
        ],
        &[&flag, "start", listen],
        &["gateway", "start", &flag, listen],
        &["gateway", &flag, listen, "start"],
        &["gateway", "--endpoints", &value, "start", listen],
    ];
    for form in forms {
        let gateway = Launch::exactly(form).start();
        assert_eq!(tag(gateway.address()).0, b't', "{form:?}");
    }
}

#[test]
fn program_called_etcd_takes_the_references_command_line() {
    let dir = TempDir::new();
    let etcd = called_etcd(&dir);
    let endpoint = Backend::tagged(b't');
    let flag = format!("--endpoints={}", endpoint.address());
    let args = ["gateway", &flag, "start", "--listen-addr=127.0.0.1:0"];
    let gateway = Launch::exactly(&args).program(etcd.clone()).start();
    assert_eq!(tag(gateway.address()).0, b't');
    // It is not the rest of etcd, and says so.
    let outcome = Launch::exactly(&["--name=infra0"]).program(etcd).run();
    assert_eq!(
        (outcome.code, outcome.stdout.as_str()),
        (Some(2), ""),
        "{outcome:?}"
    );
    assert!(outcome.stderr.contains("gateway"), "{outcome:?}");
}

#[test]
fn lists_are_comma_separated_and_repeatable() {
    let [a, b, c] = [b'a', b'b', b'c'].map(Backend::tagged);
    let pair = format!("--endpoints={},{}", a.address(), b.address());
    let single = format!("--endpoints={}", c.address());
    let gateway = Launch::start_with(&[&pair, &single]).start();
    let mut tags = [0; 3].map(|_: u8| tag(gateway.address()).0);
    tags.sort_unstable();
    assert_eq!(tags, *b"abc");
}

#[test]
fn environment_sets_flags_and_the_command_line_wins() {
    let (a, b) = (Backend::tagged(b'a'), Backend::tagged(b'b'));
    let launch = || {
        Launch::exactly(&["start"])
            .env("ETCD_GATEWAY_ENDPOINTS", &a.address().to_string())
            .env("ETCD_GATEWAY_LISTEN_ADDR", "127.0.0.1:0")
    };
    assert_eq!(tag(launch().start().address()).0, b'a');
    let over = format!("--endpoints={}", b.address());
    let launch = Launch::exactly(&["start", &over])
        .env("ETCD_GATEWAY_ENDPOINTS", &a.address().to_string())
        .env("ETCD_GATEWAY_LISTEN_ADDR", "127.0.0.1:0");
    let gateway = launch.start();
    for _ in 0..4 {
        assert_eq!(
            tag(gateway.address()).0,
            b'b',
            "the command line replaces the variable, it does not add to it"
        );
    }
}

#[test]
fn invalid_variable_is_refused_by_its_name() {
    let outcome = Launch::exactly(&["start"])
        .env("ETCD_GATEWAY_RETRY_DELAY", "123")
        .run();
    assert_eq!(
        (outcome.code, outcome.stdout.as_str()),
        (Some(2), ""),
        "{outcome:?}"
    );
    assert_eq!(outcome.stderr.lines().count(), 1, "{outcome:?}");
    assert!(
        outcome.stderr.contains("ETCD_GATEWAY_RETRY_DELAY"),
        "{outcome:?}"
    );
}

#[test]
fn unknown_variable_is_a_warning() {
    let endpoint = Backend::tagged(b't');
    let gateway = Launch::before(&[endpoint.address()], &[])
        .env("ETCD_GATEWAY_ENDPOINT", "127.0.0.1:1")
        // Kubernetes sets these in every pod beside a service of our name; nobody typed them.
        .env("ETCD_GATEWAY_SERVICE_HOST", "10.0.0.1")
        .env("ETCD_GATEWAY_PORT_2379_TCP", "tcp://10.0.0.1:2379")
        .start();
    assert_eq!(tag(gateway.address()).0, b't');
    let named = |name: &str| {
        gateway
            .lines()
            .iter()
            .filter(|line| line.contains(name))
            .count()
    };
    assert_eq!(
        named("ETCD_GATEWAY_ENDPOINT\\\"") + named("ETCD_GATEWAY_ENDPOINT "),
        1,
        "{}",
        gateway.text()
    );
    assert_eq!(
        named("ETCD_GATEWAY_SERVICE_HOST") + named("ETCD_GATEWAY_PORT_2379_TCP"),
        0,
        "{}",
        gateway.text()
    );
}
