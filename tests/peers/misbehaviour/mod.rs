//! Servers that break a rule, each refused for its own reason, and told so.

use crate::peers::tls_server::{
    Conversation, Edit, NAME, Plan, Server, client, extension, fix_extensions, fix_length, flight,
    handshake, last_alert, leaf, length16, length24, record, records, run, run_bytes,
};
use crate::tls::codes::{ContentType, Description, HandshakeType};
use crate::tls::group::Group;
use crate::tls::{Error, Verified, Version};
use crate::x509;

/// The edit of one message.
macro_rules! on {
    ($name:literal, $edit:expr) => {
        &|name: &str, message: &mut Vec<u8>| {
            if name == $name {
                let edit: fn(&mut Vec<u8>) = $edit;
                edit(message);
            }
        }
    };
}

mod cost;
mod encrypted;
mod hellos;
mod tls12;

/// Where the extensions of the good ServerHello begin.
const EXTENSIONS_13: usize = 74;
const EXTENSIONS_12: usize = 42;

/// Where the key_share of the good TLS 1.3 ServerHello begins.
const KEY_SHARE: usize = 82;

const SERVER_HELLO: HandshakeType = HandshakeType::SERVER_HELLO;

/// A server that differs from a good one by `edit`, and why it is refused.
struct Case<'a> {
    name: &'a str,
    edit: Edit<'a>,
    error: Error,
}

/// A case of the name.
fn case<'a>(name: &'a str, edit: Edit<'a>, error: Error) -> Case<'a> {
    Case { name, edit, error }
}

/// Runs all cases against servers that otherwise follow `plan`.
fn check(plan: Base, cases: &[Case<'_>]) {
    for case in cases {
        let mut server = Server::new(Plan {
            edit: case.edit,
            ..plan()
        });
        let mut stream = Conversation::new(|sent: &[u8]| server.answer(sent));
        let failure = client(&mut stream).expect_err(case.name);
        assert_eq!(failure.error, case.error, "{}", case.name);
        let sent = std::mem::take(&mut stream.sent);
        drop(stream);
        let alert = case.error.alert().map(|description| description.0);
        if last_alert(&sent).is_some() || alert.is_none() {
            assert_eq!(last_alert(&sent), alert, "{}: alert", case.name);
            continue;
        }
        let (secrets, _) = server.secrets.expect(case.name);
        let (header, payload) = sent.split_first_chunk().expect(case.name);
        let mut keys = secrets.client.protection().unwrap();
        let opened = keys.open(*header, payload.to_vec()).unwrap();
        let expected = (ContentType::ALERT, vec![2, alert.unwrap()]);
        assert_eq!(opened, expected, "{}: alert", case.name);
    }
}

/// A good server.
type Base = fn() -> Plan<'static>;

/// A good server of TLS 1.3.
fn tls13() -> Plan<'static> {
    Plan::default()
}

/// A good server of TLS 1.2.
fn tls12() -> Plan<'static> {
    Plan {
        version: Version::TLS12,
        ..Plan::default()
    }
}

/// A good server of TLS 1.3 that wants P-256.
fn retrying() -> Plan<'static> {
    Plan {
        retry: Some(Group::Secp256r1),
        ..Plan::default()
    }
}

/// Appends an extension to a hello whose extensions begin at `at`, or to EncryptedExtensions,
/// where it is 4.
fn add_extension(message: &mut Vec<u8>, at: usize, kind: u16, content: &[u8]) {
    extension(message, kind, content);
    fix_extensions(message, at);
}

/// Runs a client against a good server with that plan: the result, and the groups of the shares
/// that the client sent.
fn groups(plan: Plan<'_>) -> (Verified, Vec<Group>) {
    let mut server = Server::new(plan);
    let verified = client(&mut Conversation::new(|sent: &[u8]| server.answer(sent)));
    let groups = server.groups.iter().filter_map(|code| Group::find(*code));
    let verified = verified.unwrap_or_else(|failure| panic!("{}", failure.error));
    (verified, groups.collect())
}

/// Makes a ServerHello of TLS 1.2 give back the session id that the client made up: its second
/// 32 random bytes.
fn echo_session_id(message: &mut Vec<u8>) {
    message[38] = 32;
    message.splice(39..39, 33..65);
    fix_length(message);
}

#[test]
fn good_servers_pass() {
    let servers: [Base; 3] = [tls13, tls12, retrying];
    for (index, plan) in servers.into_iter().enumerate() {
        for suite in [0, 1, 2] {
            for fragment in [usize::MAX, 5] {
                // the second TLS 1.2 suite is for RSA
                let suite = suite * if index == 1 { 2 } else { 1 };
                let plan = Plan {
                    suite,
                    fragment,
                    ..plan()
                };
                let version = plan.version;
                let retries = plan.retry.is_some();
                let (verified, groups) = groups(plan);
                assert_eq!(verified.version, version);
                assert_eq!(verified.chain, [leaf()]);
                let expected = [Group::X25519, Group::Secp256r1];
                assert_eq!(groups, expected[..1 + usize::from(retries)]);
            }
        }
    }
}

#[test]
fn good_oddities_pass() {
    let cases: &[(&str, Base, Edit<'_>)] = &[
        (
            "a certificate request with an extension that nobody knows",
            tls13,
            on!("Certificate", |message| {
                let mut request = vec![0, 0, 0];
                extension(&mut request, 13, &[0, 2, 4, 3]);
                extension(&mut request, 0xfafa, &[1]);
                let length = length16(&request[3..]);
                request[1..3].copy_from_slice(&length);
                let request = handshake(HandshakeType::CERTIFICATE_REQUEST, &[&request]);
                message.splice(..0, request);
            }),
        ),
        (
            "a certificate request of TLS 1.2",
            tls12,
            on!("ServerHelloDone", |message| {
                let request = handshake(HandshakeType::CERTIFICATE_REQUEST, &[b"whatever"]);
                message.splice(..0, request);
            }),
        ),
        (
            "groups for next time",
            tls13,
            on!("EncryptedExtensions", |message| {
                add_extension(message, 4, 10, &[0, 2, 0, 23]);
            }),
        ),
        (
            "no extensions at all in a ServerHello of TLS 1.2",
            tls12,
            on!("ServerHello", |message| {
                message.truncate(EXTENSIONS_12);
                fix_length(message);
            }),
        ),
        (
            "a new session's id in TLS 1.2",
            tls12,
            on!("ServerHello", |message| {
                message[38] = 32;
                message.splice(39..39, [9; 32]);
                fix_length(message);
            }),
        ),
        (
            "the client's own session id in TLS 1.2",
            tls12,
            on!("ServerHello", echo_session_id),
        ),
        (
            "groups in a ServerHello of TLS 1.2",
            tls12,
            on!("ServerHello", |message| {
                add_extension(message, EXTENSIONS_12, 10, &[0, 4, 0, 23, 0, 24]);
            }),
        ),
        (
            "groups in a ServerHello of TLS 1.2 that are none",
            tls12,
            on!("ServerHello", |message| {
                add_extension(message, EXTENSIONS_12, 10, &[0, 23]);
            }),
        ),
        (
            "requests to negotiate amid a handshake of TLS 1.2",
            tls12,
            &|name: &str, message: &mut Vec<u8>| {
                if name != "ServerHello" {
                    message.splice(..0, [0, 0, 0, 0]);
                }
            },
        ),
        (
            "a retry with a cookie as well",
            retrying,
            on!("HelloRetryRequest", |message| {
                add_extension(message, EXTENSIONS_13, 44, &[0, 3, 7, 7, 7]);
            }),
        ),
        (
            "superfluous and misordered certificates",
            tls12,
            on!("Certificate", |message| {
                let entry = [&length24(&leaf())[..], &leaf()].concat();
                let list = entry.repeat(9);
                *message = handshake(HandshakeType::CERTIFICATE, &[&length24(&list), &list]);
            }),
        ),
    ];
    for (name, plan, edit) in cases {
        let plan = Plan {
            edit: *edit,
            ..plan()
        };
        if let Err(failure) = run(plan) {
            panic!("{name}: {}", failure.error);
        }
    }
}

#[test]
fn a_cookie_alone_asks_for_the_same_share_again() {
    let edit = on!("HelloRetryRequest", |message| {
        // instead of the key_share
        message.truncate(KEY_SHARE);
        add_extension(message, EXTENSIONS_13, 44, &[0, 3, 7, 7, 7]);
    });
    let plan = Plan { edit, ..retrying() };
    assert_eq!(groups(plan).1, [Group::X25519; 2]);
}

#[test]
fn the_client_closes_with_close_notify() {
    for requested in [false, true] {
        let request = handshake(
            HandshakeType::CERTIFICATE_REQUEST,
            &[&[0, 0, 8, 0, 13, 0, 4, 0, 2, 4, 3]],
        );
        let edit = |name: &str, message: &mut Vec<u8>| {
            if requested && name == "Certificate" {
                message.splice(..0, request.clone());
            }
        };
        let mut server = Server::new(Plan {
            edit: &edit,
            ..Plan::default()
        });
        let mut stream = Conversation::new(|sent: &[u8]| server.answer(sent));
        client(&mut stream).unwrap();
        let sent = std::mem::take(&mut stream.sent);
        drop(stream);

        let mut sent = records(&sent).into_iter();
        assert_eq!(sent.next(), Some((20, vec![1])));
        let (secrets, mut transcript) = server.secrets.unwrap();
        let application = secrets.client_application(&transcript.current()).unwrap();
        let mut keys = secrets.client.protection().unwrap();
        let mut open = |keys: &mut crate::tls::record::Protection| {
            let (content, payload) = sent.next().unwrap();
            let [high, low] = length16(&payload);
            keys.open([content, 3, 3, high, low], payload).unwrap()
        };
        if requested {
            let empty = vec![11, 0, 0, 4, 0, 0, 0, 0];
            transcript.add(&empty);
            assert_eq!(open(&mut keys), (ContentType::HANDSHAKE, empty));
        }
        let verify_data = secrets.client.verify_data(&transcript.current()).unwrap();
        let finished = handshake(HandshakeType::FINISHED, &[verify_data.as_ref()]);
        assert_eq!(open(&mut keys), (ContentType::HANDSHAKE, finished));
        let mut keys = application.protection().unwrap();
        assert_eq!(open(&mut keys), (ContentType::ALERT, vec![1, 0]));
        assert_eq!(sent.next(), None);
    }
}

#[test]
fn the_middlebox_record_precedes_the_second_flight() {
    let mut server = Server::new(retrying());
    let mut flights = Vec::new();
    let mut stream = Conversation::new(|sent: &[u8]| {
        flights.push(sent.to_vec());
        server.answer(sent)
    });
    client(&mut stream).unwrap();
    let last = std::mem::take(&mut stream.sent);
    drop(stream);
    flights.push(last);
    let contents = flights.iter().map(|flight| {
        let contents = records(flight).into_iter().map(|(content, _)| content);
        contents.collect::<Vec<_>>()
    });
    // hello; change_cipher_spec, hello; Finished, close_notify
    assert!(contents.eq([vec![22], vec![20, 22], vec![23, 23]]));
    // legacy_record_version differs in the very first hello
    let versions = flights.iter().map(|flight| [flight[1], flight[2]]);
    assert!(versions.eq([[3, 1], [3, 3], [3, 3]]));
}

#[test]
fn what_is_presented_is_reported() {
    let failure = run(Plan {
        edit: on!("Finished", |m| *m.last_mut().unwrap() ^= 1),
        ..tls13()
    })
    .unwrap_err();
    assert_eq!(failure.presented, [leaf()]);
    // a certificate for another name: the last letter of the name in the certificate
    let edit = |name: &str, message: &mut Vec<u8>| {
        if name == "Certificate" {
            let wanted = NAME.as_bytes();
            let at = message.windows(wanted.len()).position(|w| w == wanted);
            message[at.unwrap()] = b'x';
        }
    };
    for plan in [tls13(), tls12()] {
        let failure = run(Plan {
            edit: &edit,
            ..plan
        })
        .unwrap_err();
        assert_eq!(failure.presented.len(), 1);
        assert!(matches!(
            failure.error,
            Error::Certificate(x509::Error::NameMismatch { .. })
        ));
        assert_eq!(failure.error.alert(), Some(Description::BAD_CERTIFICATE));
    }
}

/// Whoever has sent a record speaks TLS, and one that has answered the hello took what it offers.
#[test]
fn only_a_server_that_answers_nothing_counts_as_one_without_tls() {
    let retry = flight(retrying());
    let hello = flight(tls12());
    let warning = record(21, &[1, 112]);
    let retry_record = 5 + records(&retry)[0].1.len();
    let cases: &[(&str, &[u8], bool)] = &[
        ("nothing", &[], true),
        ("half a header", &hello[..3], true),
        ("a header", &hello[..5], false),
        ("half a ServerHello", &hello[..40], false),
        ("a warning", &warning, false),
        ("a HelloRetryRequest", &retry[..retry_record], false),
    ];
    for (name, bytes, expected) in cases {
        let error = run_bytes(bytes).unwrap_err().error;
        assert!(error.is_transport(), "{name}: {error}");
        let error = error.to_string();
        let start = "the server closed the connection instead of sending ServerHello";
        assert!(error.starts_with(start), "{name}: {error}");
        let hint = ", as one without TLS does; offered: ";
        assert_eq!(error.contains(hint), *expected, "{name}: {error}");
        assert_eq!(error != start, *expected, "{name}: {error}");
    }
}

#[test]
fn what_is_not_a_tls_server() {
    let awaiting = HandshakeType::SERVER_HELLO;
    let cases: &[(&str, Vec<u8>, Error)] = &[
        (
            "HTTP",
            b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(),
            Error::NotTls { http: true },
        ),
        (
            "SSH",
            b"SSH-2.0-OpenSSH_9.2\r\n".to_vec(),
            Error::NotTls { http: false },
        ),
        (
            "HTTP/2",
            vec![0, 0, 6, 4, 0, 0, 0, 0, 0],
            Error::NotTls { http: false },
        ),
        (
            "nothing",
            vec![],
            Error::Closed {
                reset: false,
                answered: false,
                awaiting: SERVER_HELLO,
            },
        ),
        (
            "half a header",
            vec![22, 3, 3],
            Error::Closed {
                reset: false,
                answered: false,
                awaiting: SERVER_HELLO,
            },
        ),
        (
            "an alert",
            record(21, &[2, 40]),
            Error::Alert {
                alert: Description::HANDSHAKE_FAILURE,
                awaiting,
            },
        ),
        (
            "close_notify",
            record(21, &[1, 0]),
            Error::Alert {
                alert: Description::CLOSE_NOTIFY,
                awaiting,
            },
        ),
        (
            "endless warnings",
            record(21, &[1, 112]).repeat(20),
            Error::unexpected("too many records or messages without effect"),
        ),
        (
            "endless change_cipher_spec",
            record(20, &[1]).repeat(20),
            Error::unexpected("too many records or messages without effect"),
        ),
        (
            "empty records",
            record(22, &[]).repeat(20),
            Error::unexpected("empty handshake record"),
        ),
        (
            "data",
            record(23, b"x"),
            Error::unexpected("record of a type that has no place here"),
        ),
        (
            "a record too long",
            vec![22, 3, 3, 0x40, 1],
            Error::misbehaved(Description::RECORD_OVERFLOW, "record is too long"),
        ),
        (
            "a message too long",
            record(22, &[2, 0xff, 0xff, 0xff]),
            Error::illegal("handshake message is too long"),
        ),
    ];
    for (name, bytes, error) in cases {
        assert_eq!(run_bytes(bytes).unwrap_err().error, *error, "{name}");
    }
}
