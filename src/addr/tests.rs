//! Tests of addresses.

use super::*;

fn named(name: &str, port: u16) -> HostPort {
    HostPort {
        host: Host::Name(name.to_owned()),
        port,
    }
}

fn literal(ip: &str, port: u16) -> HostPort {
    HostPort {
        host: Host::Ip(ip.parse().unwrap()),
        port,
    }
}

#[test]
fn endpoints() {
    let plain = |address| Ok((address, None));
    let missing_port = |proposal: &str| {
        Err(AddrError::MissingPort {
            proposal: proposal.to_owned(),
        })
    };
    let missing_host = |proposal: &str| {
        Err(AddrError::MissingHost {
            proposal: proposal.to_owned(),
        })
    };
    let unbracketed = |proposal: &str| {
        Err(AddrError::Unbracketed {
            proposal: proposal.to_owned(),
        })
    };
    let out_of_range = Err(AddrError::PortOutOfRange { lowest: 1 });
    let zoned = HostPort {
        host: Host::Ip6Zone("fe80::1".parse().unwrap(), "eth0.7".to_owned()),
        port: 1,
    };
    let cases = [
        ("127.0.0.1:2379", plain(literal("127.0.0.1", 2379))),
        ("[::1]:2379", plain(literal("::1", 2379))),
        ("[::ffff:1.2.3.4]:1", plain(literal("1.2.3.4", 1))),
        ("[fe80::1%eth0.7]:1", plain(zoned)),
        ("etcd-0:65535", plain(named("etcd-0", 65535))),
        ("ETCD.Example.COM:1", plain(named("etcd.example.com", 1))),
        ("etcd.example.com.:1", plain(named("etcd.example.com.", 1))),
        ("_etcd.a_b:1", plain(named("_etcd.a_b", 1))),
        ("1password.com:1", plain(named("1password.com", 1))),
        ("etcd.1:1", plain(named("etcd.1", 1))),
        // Hexadecimal letters alone are a name, `0x` makes them a number.
        ("beef:1", plain(named("beef", 1))),
        ("a:02379", plain(named("a", 2379))),
        // The URL form.
        ("http://a:1", Ok((named("a", 1), Some(Scheme::Http)))),
        ("HTTPS://a:1/", Ok((named("a", 1), Some(Scheme::Https)))),
        (
            "https://[::1]:1",
            Ok((literal("::1", 1), Some(Scheme::Https))),
        ),
        ("https://a:1//", Err(AddrError::Path)),
        ("http://a:1/v3", Err(AddrError::Path)),
        ("http://a/v3", Err(AddrError::Path)),
        ("http://a:1?x", Err(AddrError::Query)),
        ("http://a:1#x", Err(AddrError::Fragment)),
        ("http://root:pw@a:1", Err(AddrError::User)),
        ("http://", Err(AddrError::Empty)),
        ("http://http://a:1", Err(AddrError::Path)),
        ("tcp://a:1", Err(AddrError::UnknownScheme)),
        ("://a:1", Err(AddrError::UnknownScheme)),
        ("a:1/", Err(AddrError::Path)),
        ("user@a:1", Err(AddrError::User)),
        // No port, or no host.
        ("127.0.0.1", missing_port("127.0.0.1:2379")),
        ("https://etcd", missing_port("etcd:2379")),
        ("Etcd:", missing_port("etcd:2379")),
        ("[::1]", missing_port("[::1]:2379")),
        ("[::1]:", missing_port("[::1]:2379")),
        (":2380", missing_host("127.0.0.1:2380")),
        (":", missing_host("127.0.0.1:2379")),
        ("2380", missing_host("127.0.0.1:2380")),
        // Ports that the reference starts with and then serves nothing (defect D14).
        ("a:0", out_of_range.clone()),
        ("a:65536", out_of_range.clone()),
        ("a:99999999999999999999999", out_of_range),
        ("a:+1", Err(AddrError::PortNotDecimal)),
        ("a:-1", Err(AddrError::PortNotDecimal)),
        ("a:2379x", Err(AddrError::PortNotDecimal)),
        ("a:0x1", Err(AddrError::PortNotDecimal)),
        ("a:etcd-client", Err(AddrError::PortNotDecimal)),
        // Arabic-Indic digits.
        ("a:\u{661}", Err(AddrError::PortNotDecimal)),
        // Blanks are part of a CSV item.
        (" a:1", Err(AddrError::Blank)),
        ("a:1\n", Err(AddrError::Blank)),
        ("a\u{a0}b:1", Err(AddrError::Blank)),
        ("", Err(AddrError::Empty)),
        // IPv6 and its brackets.
        ("::1", unbracketed("[::1]:2379")),
        ("::1:2379", unbracketed("[::1]:2379")),
        ("fe80::5", unbracketed("[fe80::5]:2379")),
        ("2001:db8::a:5", unbracketed("[2001:db8::a:5]:2379")),
        ("1:2:3:4:5:6:7:8:80", unbracketed("[1:2:3:4:5:6:7:8]:80")),
        ("fe80::1%eth0:80", unbracketed("[fe80::1%eth0]:80")),
        ("a:b:c", Err(AddrError::TooManyColons)),
        ("a::1", unbracketed("[a::1]:2379")),
        ("[::1", Err(AddrError::UnclosedBracket)),
        ("[::1]2379", Err(AddrError::AfterBracket)),
        ("[::1]:1:2", Err(AddrError::PortNotDecimal)),
        ("[]:1", Err(AddrError::NotIp6)),
        ("[127.0.0.1]:1", Err(AddrError::NotIp6)),
        ("[etcd]:1", Err(AddrError::NotIp6)),
        ("[[::1]]:1", Err(AddrError::AfterBracket)),
        ("[fe80::1%]:1", Err(AddrError::BadZone)),
        ("[fe80::1%a%b]:1", Err(AddrError::BadZone)),
        ("[fe80::1%sixteen-letters-]:1", Err(AddrError::BadZone)),
        // What inet_aton(3) would read as some address.
        ("300.1.1.1:1", Err(AddrError::NotIp4)),
        ("1.2.3:1", Err(AddrError::NotIp4)),
        ("010.0.0.1:1", Err(AddrError::NotIp4)),
        ("127.0.0.1.:1", Err(AddrError::NotIp4)),
        ("0x7f000001:1", Err(AddrError::NotIp4)),
        ("0X7F.1:1", Err(AddrError::NotIp4)),
        // Names.
        ("a..b:1", Err(AddrError::EmptyLabel)),
        (".a:1", Err(AddrError::EmptyLabel)),
        (".:1", Err(AddrError::EmptyLabel)),
        ("a..:1", Err(AddrError::EmptyLabel)),
        ("b\u{fc}cher:1", Err(AddrError::NameCharacter('\u{fc}'))),
        ("*:1", Err(AddrError::NameCharacter('*'))),
        ("a]:1", Err(AddrError::NameCharacter(']'))),
        ("a\u{1b}[2J:1", Err(AddrError::NameCharacter('\u{1b}'))),
        ("a\0:1", Err(AddrError::NameCharacter('\0'))),
    ];
    for (text, expected) in cases {
        assert_eq!(parse_endpoint(text), expected, "{text:?}");
    }
}

#[test]
fn listen_addresses() {
    let wildcard = |port| HostPort {
        host: Host::Wildcard,
        port,
    };
    let cases = [
        ("127.0.0.1:23790", Ok(literal("127.0.0.1", 23790))),
        ("0.0.0.0:1", Ok(literal("0.0.0.0", 1))),
        ("[::]:1", Ok(literal("::", 1))),
        (":2379", Ok(wildcard(2379))),
        (":0", Ok(wildcard(0))),
        ("localhost:0", Ok(named("localhost", 0))),
        (
            "localhost",
            Err(AddrError::MissingPort {
                proposal: "localhost:23790".to_owned(),
            }),
        ),
        (
            "2379",
            Err(AddrError::MissingHost {
                proposal: ":2379".to_owned(),
            }),
        ),
        (
            ":",
            Err(AddrError::MissingHost {
                proposal: ":23790".to_owned(),
            }),
        ),
        (":65536", Err(AddrError::PortOutOfRange { lowest: 0 })),
        ("http://a:1", Err(AddrError::SchemeOnListen)),
        ("*:1", Err(AddrError::NameCharacter('*'))),
        ("", Err(AddrError::Empty)),
    ];
    for (text, expected) in cases {
        assert_eq!(parse_listen(text), expected, "{text:?}");
    }
}

#[test]
fn metrics_addresses() {
    let missing_port = |proposal: &str| {
        Err(AddrError::MissingPort {
            proposal: proposal.to_owned(),
        })
    };
    let missing_host = |proposal: &str| {
        Err(AddrError::MissingHost {
            proposal: proposal.to_owned(),
        })
    };
    let wildcard = HostPort {
        host: Host::Wildcard,
        port: 1,
    };
    let cases = [
        ("127.0.0.1:0", Ok(literal("127.0.0.1", 0))),
        (":1", Ok(wildcard)),
        ("http://[::1]:1", Ok(literal("::1", 1))),
        ("HTTP://localhost:1/", Ok(named("localhost", 1))),
        // Not the port of clients, and not another host.
        ("127.0.0.1", missing_port("127.0.0.1:23791")),
        ("http://a", missing_port("a:23791")),
        ("9100", missing_host("127.0.0.1:9100")),
        (":", missing_host("127.0.0.1:23791")),
        ("https://a:1", Err(AddrError::SchemeOnMetrics)),
        ("http://a:1/metrics", Err(AddrError::Path)),
        ("a:1/", Err(AddrError::Path)),
        ("", Err(AddrError::Empty)),
    ];
    for (text, expected) in cases {
        assert_eq!(parse_metrics(text), expected, "{text:?}");
    }
}

#[test]
fn lengths_of_names() {
    let label = "a".repeat(LABEL_MAX);
    let longest = format!("{label}.{label}.{label}.{}", "a".repeat(61));
    assert_eq!(longest.len(), NAME_MAX);
    for accepted in [&longest, &format!("{longest}.")] {
        assert!(parse_endpoint(&format!("{accepted}:1")).is_ok());
    }
    let too_long = parse_endpoint(&format!("{longest}a:1"));
    assert_eq!(too_long, Err(AddrError::NameTooLong));
    let label_too_long = parse_endpoint(&format!("{label}a:1"));
    assert_eq!(label_too_long, Err(AddrError::LabelTooLong));
}

/// All short texts over characters that mean something to some parser of addresses: no
/// panic, and what is accepted is in range and reads back as the same value, as does
/// what an error proposes.
#[test]
fn sweep() {
    const ALPHABET: [&str; 19] = [
        "a", "A", "0", "1", "9", ":", ".", "[", "]", "%", "/", "@", "-", "_", " ", "::1",
        "http://", "\u{e9}", "\n",
    ];
    let mut accepted = 0;
    let mut tried = 0;
    let mut layer = vec![String::new()];
    for _ in 0..4 {
        let longer = |text: &String| ALPHABET.map(|piece| format!("{text}{piece}"));
        layer = layer.iter().flat_map(longer).collect();
        for text in &layer {
            tried += 1;
            match parse_endpoint(text) {
                Ok((address, scheme)) => {
                    accepted += 1;
                    assert!(address.port > 0 && address.host != Host::Wildcard, "{text}");
                    let again = parse_endpoint(&address.to_string());
                    assert_eq!(again, Ok((address, None)), "{text}");
                    let has_scheme = text.to_ascii_lowercase().starts_with("http://");
                    assert_eq!(scheme.is_some(), has_scheme, "{text}");
                }
                Err(
                    AddrError::MissingHost { proposal }
                    | AddrError::MissingPort { proposal }
                    | AddrError::Unbracketed { proposal },
                ) => assert!(parse_endpoint(&proposal).is_ok(), "{text}: {proposal}"),
                Err(error) => assert!(!error.to_string().contains('\n'), "{text}"),
            }
            if let Ok(address) = parse_listen(text) {
                assert_eq!(parse_listen(&address.to_string()), Ok(address), "{text}");
            }
        }
    }
    assert_eq!(tried, 19 + 361 + 6_859 + 130_321);
    assert!(accepted > 100, "{accepted}");
}
