//! Every way not to be a member of the cluster: each is refused for its own reason, and no client ever meets it.

use super::{REFUSED, Stage, address, expect_failed, said, shares, wait_refused};
use crate::support::front::{Face, Front, TlsServer, ask};
use crate::support::isolated::{Site, isolated};
use crate::support::pki::{Certified, Key, Pki, Request};

/// What impostors answer with where a member answers with its number.
const IMPOSTOR: u8 = 200;
/// Where the first of them is; member 1 is true.
const FIRST: u8 = 11;
/// Long enough for twenty handshakes of a debug build that share two processors, short enough to wait for the
/// silent ones.
const TIMEOUT: &str = "--dial-timeout=3s";

/// One impostor.
struct Impostor {
    what: &'static str,
    face: Face,
    /// Part of the reason for which it is refused.
    reason: &'static str,
    /// Whether it shows a certificate of its own choice, so that the log says which.
    certified: bool,
}

/// All of them. What they show to those who want a proof differs from what a member shows in one respect each.
fn impostors(pki: &Pki, root: &Certified) -> Vec<Impostor> {
    let mut all = without_certificate();
    all.extend(with_a_false_certificate(pki, root));
    all.extend(with_a_false_chain(pki, root));
    all
}

fn without_certificate() -> Vec<Impostor> {
    let cases: [(_, Face, _); 5] = [
        (
            "plaintext that is not HTTP",
            Face::Says(b"-ERR unknown command\r\n"),
            "not a TLS server: its answer is not a TLS record",
        ),
        (
            "plaintext HTTP",
            Face::Says(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"),
            "not a TLS server: it answered in plaintext HTTP",
        ),
        (
            "closes, as etcd without TLS does",
            Face::Says(b""),
            "closed the connection instead of sending ServerHello",
        ),
        ("silent", Face::Silent, "timed out waiting for ServerHello"),
        (
            "a byte a second",
            Face::Trickles,
            "timed out waiting for ServerHello",
        ),
    ];
    let impostor = |(what, face, reason)| Impostor {
        what,
        face,
        reason,
        certified: false,
    };
    cases.into_iter().map(impostor).collect()
}

/// Certificates that the true authority could have issued, or should not have, and others.
fn with_a_false_certificate(pki: &Pki, root: &Certified) -> Vec<Impostor> {
    let good = || Request::server("DNS:x.test");
    // The true authority's name is known to everybody.
    let namesake = pki.root("true CA");
    let stranger = pki.root("false CA");
    let issue = |request: &Request| pki.issue(root, request);
    let old = ["-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0"];
    let weak = ["-cipher", "DEFAULT@SECLEVEL=0"];
    let without = |line: &str| good().extensions.replace(line, "");
    let cases: [(_, Certified, &[&str], _); 12] = [
        (
            "of another authority",
            pki.issue(&stranger, &good()),
            &[],
            "certificate of CN=member: issuer is not known",
        ),
        (
            "of a namesake of the authority",
            pki.issue(&namesake, &good()),
            &[],
            "another CA of that name",
        ),
        (
            "self-signed",
            pki.self_signed(&good()),
            &[],
            "signed by itself and not trusted",
        ),
        // The names and addresses that the SRV record leads to were chosen by whoever answered.
        (
            "names of the record's target only",
            issue(&Request::server(
                "DNS:m16.test,DNS:*.x.test,DNS:x.test.evil.test,IP:127.1.0.16",
            )),
            &[],
            "not for x.test",
        ),
        (
            "expired",
            issue(&Request {
                not_after: "20210101000000Z",
                ..good()
            }),
            &[],
            "expired at 2021-01-01T00:00:00Z",
        ),
        (
            "not yet valid",
            issue(&Request {
                not_before: "20480101000000Z",
                ..good()
            }),
            &[],
            "not valid before 2048-01-01T00:00:00Z",
        ),
        (
            "common name only",
            issue(&Request {
                subject: "/CN=x.test".to_owned(),
                extensions: without("subjectAltName=DNS:x.test"),
                ..good()
            }),
            &[],
            "the common name does not count",
        ),
        (
            "for clients only",
            issue(&Request {
                extensions: good().extensions.replace("serverAuth", "clientAuth"),
                ..good()
            }),
            &[],
            "does not include serverAuth",
        ),
        (
            "for signing certificates only",
            issue(&Request {
                extensions: good().extensions.replace("digitalSignature", "keyCertSign"),
                ..good()
            }),
            &[],
            "does not include digitalSignature",
        ),
        (
            "unknown critical extension",
            issue(&Request {
                extensions: good().extensions + "\n1.2.3.4=critical,ASN1:NULL",
                ..good()
            }),
            &[],
            "unknown critical extension 1.2.3.4",
        ),
        (
            "RSA of 1024 bits",
            issue(&Request {
                key: Key::Rsa1024,
                ..good()
            }),
            &weak,
            "certificate of CN=member: RSA key is not accepted: it has 1024 bits",
        ),
        ("TLS 1.1 only", issue(&good()), &old, "protocol_version"),
    ];
    let impostor = |(what, shown, args, reason): (&'static str, Certified, &[&str], _)| Impostor {
        what,
        face: Face::Tls(TlsServer::start(pki, &shown, args)),
        reason,
        certified: what != "TLS 1.1 only",
    };
    cases.into_iter().map(impostor).collect()
}

/// Certificates that somebody issued who must not.
fn with_a_false_chain(pki: &Pki, root: &Certified) -> Vec<Impostor> {
    let good = Request::server("DNS:x.test");
    // Who has a certificate of a server is not an authority.
    let member = pki.issue(root, &good);
    let short = pki.issue(root, &Request::authority("short", ",pathlen:0"));
    let below_short = pki.issue(&short, &Request::authority("below short", ""));
    let elsewhere = "\nnameConstraints=critical,permitted;DNS:y.test";
    let confined = pki.issue(root, &Request::authority("confined", elsewhere));
    // OpenSSL never sends a server certificate that is signed so; those of authorities it does.
    let weak = pki.issue(
        root,
        &Request {
            digest: "sha1",
            ..Request::authority("weak", "")
        },
    );
    let small = pki.issue(
        root,
        &Request {
            key: Key::Rsa1024,
            ..Request::authority("small", "")
        },
    );
    let cases: [(_, &Certified, &[&Certified], _); 5] = [
        (
            "issued with RSA of 1024 bits",
            &small,
            &[&small],
            "certificate of CN=small,O=suite: RSA key is not accepted: it has 1024 bits",
        ),
        ("signed with SHA-1", &weak, &[&weak], "which is broken"),
        (
            "issued by a member",
            &member,
            &[&member],
            "not a CA, but it issued a certificate",
        ),
        (
            "below a path that ends",
            &below_short,
            &[&below_short, &short],
            "intermediate certificates that",
        ),
        (
            "outside of a name constraint",
            &confined,
            &[&confined],
            "breaks a name constraint",
        ),
    ];
    let impostor = |(what, issuer, chain, reason): (&'static str, _, &[&Certified], _)| {
        let shown = pki.issue(issuer, &good);
        let chain = pki.bundle(&format!("chain-{}.pem", pki.next()), chain);
        Impostor {
            what,
            face: Face::Tls(TlsServer::start(
                pki,
                &shown,
                &["-cert_chain", &chain, "-cipher", "DEFAULT@SECLEVEL=0"],
            )),
            reason,
            certified: true,
        }
    };
    cases.into_iter().map(impostor).collect()
}

/// The table, with each impostor at its address.
fn placed(stage: &Stage) -> Vec<(Impostor, Front)> {
    let all = impostors(&stage.pki, &stage.root);
    let place = |(number, impostor): (u8, Impostor)| {
        let front = Front::at(address(number), IMPOSTOR, impostor.face.clone());
        (impostor, front)
    };
    (FIRST..).zip(all).map(place).collect()
}

fn numbers(placed: &[(Impostor, Front)]) -> Vec<u8> {
    (FIRST..).take(placed.len()).collect()
}

/// No client's byte has reached any of them.
#[track_caller]
fn expect_unmet(placed: &[(Impostor, Front)]) {
    for (impostor, front) in placed {
        assert_eq!(front.clients(), 0, "clients met: {}", impostor.what);
    }
}

#[test]
fn impostors_added_in_dns_never_receive_a_client() {
    isolated(impostors_added_in_dns_never_receive_a_client, |site| {
        let Some(stage) = Stage::set(site) else {
            return;
        };
        let mut member = stage.member(1);
        let placed = placed(&stage);
        stage.publish(&[1]);
        let gateway = stage.launch(&[TIMEOUT]).start();
        let added = numbers(&placed);
        let all = [&[1], added.as_slice()].concat();
        stage.republish(&gateway, &all, &added, &[]);
        // From the moment that they are known, not from the moment that they are refused.
        assert_eq!(shares(&gateway, 20), [20]);
        for (impostor, front) in &placed {
            let record = wait_refused(&gateway, front.address());
            let case = format!("{}: {record:?}", impostor.what);
            assert_eq!(record.text("level"), "warn", "{case}");
            assert_eq!(record.text("server_name"), "x.test", "{case}");
            let number = front.address().to_string();
            let number = number
                .trim_start_matches("127.1.0.")
                .trim_end_matches(":2379");
            assert_eq!(
                record.text("name"),
                format!("m{number}.test:2379"),
                "{case}"
            );
            assert!(record.text("error").contains(impostor.reason), "{case}");
            let facts = ["subject", "issuer", "not_before", "not_after"];
            let shown = facts.iter().all(|fact| !record.text(fact).is_empty());
            assert_eq!(shown, impostor.certified, "{case}");
            assert_eq!(record.get("sans").is_some(), impostor.certified, "{case}");
        }
        assert_eq!(shares(&gateway, 20), [20]);
        // Nor when nobody else is left: a client is refused rather than given to one of them.
        member.down();
        for _ in 0..4 {
            assert!(ask(gateway.address()).is_err(), "refused");
        }
        expect_unmet(&placed);
        for (impostor, front) in &placed {
            let times = said(&gateway, REFUSED, front.address());
            assert_eq!(times, 1, "logged on change only: {}", impostor.what);
        }
    });
}

/// Nobody passes: the start ends, with each and its reason in the message, and no default is tried (D2).
#[test]
fn start_with_impostors_only_fails_and_names_each_reason() {
    isolated(
        start_with_impostors_only_fails_and_names_each_reason,
        |site: &Site| {
            let Some(stage) = Stage::set(site) else {
                return;
            };
            let default = std::net::SocketAddr::from(([127, 0, 0, 1], 2379));
            let default = Front::at(default, 1, stage.true_face());
            let placed = placed(&stage);
            stage.publish(&numbers(&placed));
            let outcome = stage.launch(&[TIMEOUT]).run();
            let message = expect_failed(&outcome, &["no endpoint could be authenticated"]);
            for (impostor, front) in &placed {
                let start = format!("{}: ", front.address());
                let own = message.split("; ").find(|part| part.contains(&start));
                let own = own.unwrap_or_else(|| panic!("{} is not in {message}", impostor.what));
                assert!(own.contains(impostor.reason), "{}: {own}", impostor.what);
            }
            expect_unmet(&placed);
            assert_eq!(default.visits().len(), 0, "the default endpoint is dialled");
        },
    );
}
