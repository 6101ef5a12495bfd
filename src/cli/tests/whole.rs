//! Whole command lines: help, version, bytes that are not text, and every sequence over a hostile vocabulary.

use super::*;

#[test]
fn help_and_version() {
    let of_start = manual::command("start");
    let version = Ok(Invocation::Print(help::version()));
    type Of = fn(Option<&manual::Command>) -> String;
    let helps: [(&str, Of, _); 15] = [
        ("etcd-gateway --help", help::long, None),
        ("etcd-gateway -h", help::short, None),
        ("etcd-gateway help", help::long, None),
        ("etcd-gateway help start", help::long, of_start),
        ("etcd-gateway help gateway start", help::long, of_start),
        ("etcd-gateway gateway help", help::long, None),
        ("etcd-gateway gateway --help", help::long, None),
        ("etcd-gateway start --help", help::long, of_start),
        (
            "etcd-gateway start -h --endpoints=a:1 --version",
            help::short,
            of_start,
        ),
        (
            "etcd-gateway --endpoints a:1 start --help=true",
            help::long,
            of_start,
        ),
        (
            "etcd-gateway check -h",
            help::short,
            manual::command("check"),
        ),
        // As in cobra, help asked for with a flag wins over words.
        ("etcd-gateway nonsense --help", help::long, None),
        ("etcd --help", help::long, None),
        ("etcd help", help::long, None),
        ("etcd gateway start --help", help::long, of_start),
    ];
    for (line, help, of) in helps {
        let found = run(line, &[("ETCD_GATEWAY_ENDPOINTS", "!")]);
        assert_eq!(found, Ok(Invocation::Print(help(of))), "{line}");
    }
    const VERSION: [&str; 7] = [
        "etcd-gateway --version",
        "etcd-gateway -V",
        "etcd-gateway version",
        "etcd-gateway start --version",
        "etcd-gateway gateway version",
        "etcd --version",
        "etcd version",
    ];
    for line in VERSION {
        assert_eq!(run(line, &[]), version, "{line}");
    }
    assert_eq!(
        start("etcd-gateway start --help=false", &[]),
        (defaults(), vec![])
    );
    // Not over an invalid value, in either order, as in pflag.
    for line in [
        "etcd-gateway -h --retry-delay=1",
        "etcd-gateway --retry-delay=1 -h",
    ] {
        assert!(refusal(line, &[]).contains("missing unit"), "{line}");
    }
}

#[test]
fn bytes_that_are_not_utf8_are_refused_by_name() {
    let bad = OsString::from_vec(b"a\xff\n".to_vec());
    let words = |last: &OsString| vec!["etcd-gateway".into(), "start".into(), last.clone()];
    let mut flag = OsString::from("--endpoints=");
    flag.push(&bad);
    let parse = |argv, env: &[(OsString, OsString)]| parse(argv, env, &no_file);
    let message = parse(words(&flag), &[]).unwrap_err().to_string();
    let expected = "invalid value \"a\\xFF\\n\" for --endpoints: is not UTF-8 text; write plain \
                    ASCII";
    assert_eq!(message, expected);
    let env = [("ETCD_GATEWAY_ENDPOINTS".into(), bad.clone())];
    let argv = vec!["etcd-gateway".into(), "start".into()];
    let message = parse(argv, &env).unwrap_err().to_string();
    let expected = expected.replace("--endpoints", "ETCD_GATEWAY_ENDPOINTS");
    assert_eq!(message, expected);
    let message = parse(words(&bad), &[]).unwrap_err().to_string();
    assert!(message.starts_with("unexpected argument \"a\\xFF\\n\";"));
    assert!(parse(vec![], &[]).is_err());
    assert!(parse(vec![bad], &[]).is_err());
}

/// All sequences of up to three arguments over a hostile vocabulary: no panic, a refusal
/// is one short line of printable text, and what starts has sound settings.
#[test]
fn sweep() {
    let vocabulary: Vec<OsString> = [
        "start",
        "gateway",
        "help",
        "",
        "-",
        "--",
        "---",
        "-h",
        "-hh=",
        "--=",
        "--help=false",
        "--version=x",
        "--endpoints",
        "--endpoints=",
        "--endpoints=a:1,a:1",
        "-endpoints",
        "--retry-delay",
        "--retry-delay=1\u{b5}s",
        "5s",
        "\u{1b}[2J\r\n",
    ]
    .into_iter()
    .map(OsString::from)
    .chain([
        OsString::from_vec(b"--\xff=\xff".to_vec()),
        OsString::from_vec(b"--log-level=\xf0".to_vec()),
        OsString::from("x".repeat(5_000)),
    ])
    .collect();
    let (mut started, mut printed, mut refused) = (0, 0, 0);
    for name in ["etcd-gateway", "etcd"] {
        let mut layer = vec![vec![OsString::from(name)]];
        for _ in 0..3 {
            let longer = |line: &Vec<OsString>| -> Vec<Vec<OsString>> {
                let append =
                    |word: &OsString| [line.as_slice(), std::slice::from_ref(word)].concat();
                vocabulary.iter().map(append).collect()
            };
            layer = layer.iter().flat_map(longer).collect();
            for line in &layer {
                match parse(line.clone(), &[], &no_file) {
                    Ok(Invocation::Start { config, .. }) => {
                        started += 1;
                        assert!(!config.endpoints.is_empty(), "{line:?}");
                        assert!(config.retry_delay >= Duration::from_millis(1), "{line:?}");
                        assert!(line.contains(&"start".into()), "{line:?}");
                    }
                    Ok(Invocation::Check { .. }) => panic!("{line:?} is not a check"),
                    Ok(Invocation::Print(_)) => printed += 1,
                    Err(error) => {
                        refused += 1;
                        let text = error.to_string();
                        assert!(text.len() < 1_000, "{line:?}: {text}");
                        assert!(!text.contains(char::is_control), "{line:?}: {text}");
                    }
                }
            }
        }
    }
    assert_eq!(started + printed + refused, 2 * (23 + 529 + 12_167));
    assert!(started > 20 && printed > 20, "{started} {printed}");
}

#[test]
fn the_access_log_is_off_stderr_or_a_file() {
    let file = |path: &str| Some(AccessLogTarget::File(path.into()));
    for (value, expected) in [
        ("off", None),
        ("stderr", Some(AccessLogTarget::Stderr)),
        ("./off", file("./off")),
        ("/dev/stdout", file("/dev/stdout")),
    ] {
        let line = format!("g start --access-log={value}");
        assert_eq!(start(&line, &[]).0.access_log, expected, "{value}");
    }
    // The flag overrides the environment of a unit.
    let environment = [("ETCD_GATEWAY_ACCESS_LOG", "/var/log/a")];
    assert_eq!(
        start("g start", &environment).0.access_log,
        file("/var/log/a")
    );
    assert_eq!(
        start("g start --access-log=off", &environment).0.access_log,
        None
    );
}
