//! True members of every kind that is supported: keys, chains, versions, suites, key shares. `check` verifies all of
//! a table at once and says what was agreed upon.

use super::REFUSED;
use crate::support::front::{Face, Front, TlsServer};
use crate::support::json::Json;
use crate::support::pki::{Certified, Key, Pki, Request};
use crate::support::{Launch, TempDir};

const NAME: &str = "DNS:x.test";

/// What a member shows, the arguments of its server, and what the two settle on.
struct Member<'a> {
    what: &'static str,
    shown: &'a Certified,
    args: Vec<&'a str>,
    agreed: &'static str,
}

/// How a program is started: as it was built for this host, or in another way.
pub(crate) type Via<'a> = &'a dyn Fn(Launch) -> Launch;

const DIRECTLY: Via<'_> = &|launch| launch;

/// Has `check` run on all of them; each must pass and settle on what is expected.
#[track_caller]
fn expect_authenticated(via: Via, pki: &Pki, roots: &str, members: &[Member]) -> Vec<Front> {
    let fronts: Vec<Front> = members
        .iter()
        .map(|member| Face::Tls(TlsServer::start(pki, member.shown, &member.args)))
        .map(|face| Front::anywhere(0, face))
        .collect();
    let (outcome, report) = check(via, roots, &fronts);
    let rows = report.list("endpoints");
    for (member, front) in members.iter().zip(&fronts) {
        let address = front.address().to_string();
        let row = rows.iter().find(|row| row.text("address") == address);
        let row = row.unwrap_or_else(|| panic!("{}: no row in {outcome}", member.what));
        assert_eq!(
            row.text("verdict"),
            "authenticated",
            "{}: {row:?}",
            member.what
        );
        assert!(
            row.text("tls").contains(member.agreed),
            "{}: {row:?}",
            member.what
        );
    }
    fronts
}

/// The output of `check`, as text and parsed.
fn check(via: Via, roots: &str, fronts: &[Front]) -> (String, Json) {
    let addresses: Vec<String> = fronts
        .iter()
        .map(|front| front.address().to_string())
        .collect();
    let endpoints = format!("--endpoints={}", addresses.join(","));
    let flags = [
        "check",
        "--verify-endpoints",
        "--discovery-server-name=x.test",
    ];
    // A debug build under an emulator takes its time.
    let more = [
        "--output=json",
        "--dial-timeout=1m",
        "--trusted-ca-file",
        roots,
        &endpoints,
    ];
    let launch = Launch::exactly(&[&flags[..], &more[..]].concat());
    let outcome = via(launch).run();
    let report = Json::parse(outcome.stdout.trim_end());
    let report = report.unwrap_or_else(|error| panic!("{error}: {outcome:?}"));
    (outcome.stdout, report)
}

#[test]
fn keys_of_every_supported_kind() {
    keys_of_every_kind(DIRECTLY);
}

/// Members with each kind of key, in each version of TLS, pass, and none of them does where another authority is
/// trusted.
pub(crate) fn keys_of_every_kind(via: Via) {
    let dir = TempDir::new();
    let Some(pki) = Pki::below(dir.path()) else {
        return;
    };
    // Roots have keys of these kinds as well.
    let kinds = [
        ("ECDSA P-256", Key::P256, "sha256"),
        ("ECDSA P-384", Key::P384, "sha384"),
        ("ECDSA P-521", Key::P521, "sha512"),
        ("RSA 2048", Key::Rsa2048, "sha256"),
        ("RSA 4096", Key::Rsa4096, "sha512"),
        ("Ed25519", Key::Ed25519, "null"),
    ];
    let request = |base: Request, key, digest| Request {
        key,
        digest,
        ..base
    };
    let roots: Vec<Certified> = kinds
        .iter()
        .filter(|(what, ..)| *what != "RSA 4096")
        .map(|(what, key, digest)| {
            pki.self_signed(&request(Request::authority(what, ""), *key, digest))
        })
        .collect();
    let shown: Vec<(&str, Certified)> = kinds
        .iter()
        .zip(roots.iter().cycle())
        .zip(
            kinds
                .iter()
                .filter(|(what, ..)| *what != "RSA 4096")
                .cycle(),
        )
        .map(|(((what, key, _), root), (_, _, digest))| {
            (
                *what,
                pki.issue(root, &request(Request::server(NAME), *key, digest)),
            )
        })
        .collect();
    let members: Vec<Member> = shown
        .iter()
        .flat_map(|(what, shown)| {
            let versions = [("-tls1_3", "TLS 1.3"), ("-tls1_2", "TLS 1.2")];
            versions.map(|(version, agreed)| member(what, shown, &[version], agreed))
        })
        .collect();
    let roots: Vec<&Certified> = roots.iter().collect();
    let fronts = expect_authenticated(via, &pki, &pki.bundle("roots.pem", &roots), &members);
    let (outcome, report) = check(via, &pki.root("another").certificate, &fronts);
    let rows = report.list("endpoints");
    for (member, row) in members.iter().zip(rows) {
        assert_eq!(row.text("verdict"), "refused", "{}: {row:?}", member.what);
        let reason = row.text("reason");
        assert!(reason.contains("is not known"), "{}: {row:?}", member.what);
    }
    assert_eq!(rows.len(), members.len(), "{outcome}");
}

fn member<'a>(
    what: &'static str,
    shown: &'a Certified,
    args: &[&'a str],
    agreed: &'static str,
) -> Member<'a> {
    Member {
        what,
        shown,
        args: args.to_vec(),
        agreed,
    }
}

#[test]
fn chains_suites_groups_and_requests_for_certificates() {
    let dir = TempDir::new();
    let Some(pki) = Pki::below(dir.path()) else {
        return;
    };
    let root = pki.root("true CA");
    let rsa = Request {
        key: Key::Rsa2048,
        ..Request::server(NAME)
    };
    let ecdsa = &pki.issue(&root, &Request::server(NAME));
    let rsa = &pki.issue(&root, &rsa);
    let first = pki.issue(&root, &Request::authority("first", ",pathlen:1"));
    let second = pki.issue(&first, &Request::authority("second", ",pathlen:0"));
    let confined = "\nnameConstraints=critical,permitted;DNS:x.test,excluded;DNS:y.test";
    let third = pki.issue(&root, &Request::authority("confined", confined));
    let stranger = pki.root("stranger");
    let below = &pki.issue(&second, &Request::server(NAME));
    let inside = &pki.issue(&third, &Request::server(NAME));
    let ordered = pki.bundle("ordered.pem", &[&second, &first]);
    // Misordered, with the root and with one that nobody needs.
    let chaotic = pki.bundle("chaotic.pem", &[&stranger, &root, &first, &second]);
    let confined = pki.bundle("confined.pem", &[&third]);
    let members = [
        member(
            "two intermediates",
            below,
            &["-cert_chain", &ordered],
            "TLS 1.3",
        ),
        member(
            "misordered and superfluous",
            below,
            &["-cert_chain", &chaotic],
            "TLS 1.3",
        ),
        member(
            "within a name constraint",
            inside,
            &["-cert_chain", &confined],
            "TLS 1.3",
        ),
        member(
            "in 1.3",
            ecdsa,
            &["-ciphersuites", "TLS_AES_128_GCM_SHA256"],
            "TLS_AES_128_GCM_SHA256",
        ),
        member(
            "in 1.3",
            ecdsa,
            &["-ciphersuites", "TLS_AES_256_GCM_SHA384"],
            "TLS_AES_256_GCM_SHA384",
        ),
        member(
            "in 1.3",
            ecdsa,
            &["-ciphersuites", "TLS_CHACHA20_POLY1305_SHA256"],
            "TLS_CHACHA20_POLY1305_SHA256",
        ),
        member(
            "in 1.2",
            ecdsa,
            &["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"],
            "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        ),
        member(
            "in 1.2",
            ecdsa,
            &["-tls1_2", "-cipher", "ECDHE-ECDSA-CHACHA20-POLY1305"],
            "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        ),
        member(
            "in 1.2",
            rsa,
            &["-tls1_2", "-cipher", "ECDHE-RSA-AES256-GCM-SHA384"],
            "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
        ),
        member("P-256 only, in 1.3", rsa, &["-groups", "P-256"], "TLS 1.3"),
        // No key share is sent for these: HelloRetryRequest.
        member("P-384 only", rsa, &["-groups", "P-384"], "TLS 1.3"),
        member("P-521 only", rsa, &["-groups", "P-521"], "TLS 1.3"),
        member(
            "P-256 only, in 1.2",
            rsa,
            &["-tls1_2", "-groups", "P-256"],
            "TLS 1.2",
        ),
        // The server has proven itself before we would have to.
        member(
            "asks for a certificate",
            ecdsa,
            &["-verify", "1"],
            "TLS 1.3",
        ),
        member(
            "insists on a certificate",
            ecdsa,
            &["-Verify", "1"],
            "TLS 1.3",
        ),
        member(
            "insists on a certificate in 1.2",
            rsa,
            &["-tls1_2", "-Verify", "1"],
            "TLS 1.2",
        ),
        member("ALPN", ecdsa, &["-alpn", "h2,http/1.1"], "TLS 1.3"),
        // Fragments of 512 bytes (RFC 8446 section 5.1 allows any size).
        member(
            "small records",
            below,
            &["-cert_chain", &ordered, "-max_send_frag", "512"],
            "TLS 1.3",
        ),
    ];
    expect_authenticated(DIRECTLY, &pki, &root.certificate, &members);
}

/// Servers that offer nothing that is supported are refused, for that.
#[test]
fn what_is_not_supported_is_refused_by_name() {
    let dir = TempDir::new();
    let Some(pki) = Pki::below(dir.path()) else {
        return;
    };
    let root = pki.root("true CA");
    let shown = pki.issue(
        &root,
        &Request {
            key: Key::Rsa2048,
            ..Request::server(NAME)
        },
    );
    let cases: &[(&[&str], &str)] = &[
        (
            &["-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0"],
            "alert protocol_version",
        ),
        (
            &["-tls1", "-cipher", "DEFAULT@SECLEVEL=0"],
            "alert protocol_version",
        ),
        // No forward secrecy, and no proof of anything but decryption.
        (
            &["-tls1_2", "-cipher", "AES128-GCM-SHA256"],
            "alert handshake_failure",
        ),
        (
            &["-tls1_2", "-cipher", "ECDHE-RSA-AES128-SHA256"],
            "alert handshake_failure",
        ),
        (
            &["-tls1_2", "-cipher", "DHE-RSA-AES128-GCM-SHA256"],
            "alert handshake_failure",
        ),
        (
            &["-tls1_3", "-groups", "ffdhe2048"],
            "alert handshake_failure",
        ),
    ];
    let fronts: Vec<Front> = cases
        .iter()
        .map(|(args, _)| Front::anywhere(0, Face::Tls(TlsServer::start(&pki, &shown, args))))
        .collect();
    let (outcome, report) = check(DIRECTLY, &root.certificate, &fronts);
    assert_eq!(
        report.get("would_serve"),
        Some(&Json::Bool(false)),
        "{outcome}"
    );
    let rows = report.list("endpoints");
    for ((args, reason), row) in cases.iter().zip(rows) {
        assert_eq!(row.text("verdict"), "refused", "{args:?}: {row:?}");
        assert!(row.text("reason").contains(reason), "{args:?}: {row:?}");
    }
    // The same in the log of a start that ends.
    let endpoints = format!("--endpoints={}", fronts[0].address());
    let flags = [
        &endpoints,
        "--verify-endpoints",
        "--discovery-server-name=x.test",
    ];
    let ca = ["--trusted-ca-file", &root.certificate];
    let outcome = Launch::start_with(&[&flags[..], &ca[..]].concat()).run();
    super::expect_failed(&outcome, &["alert protocol_version"]);
    assert!(outcome.stderr.contains(REFUSED), "{outcome:?}");
}
