//! Handshakes with `openssl s_server`, one process each, on a port of its choice.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Stdio};

use crate::peers::child_command::child_command;
use crate::peers::pki::{SUPPORTED, client, file, installed};
use crate::tls::group::GROUPS;
use crate::tls::{Failure, Verified, Version, suite};

/// What came of a handshake.
struct Outcome {
    result: Result<Verified, Failure>,
    /// What the server wrote of errors.
    complaints: String,
}

/// Runs a client against `openssl s_server` with the key of that name and these options.
fn handshake(key: &str, options: &str) -> Outcome {
    let path = |name: &str| file(name).unwrap();
    let mut server = child_command("openssl")
        .args([
            "s_server",
            "-accept",
            "127.0.0.1:0",
            "-naccept",
            "1",
            "-www",
        ])
        .arg("-cert")
        .arg(path(&format!("{key}.crt")))
        .arg("-key")
        .arg(path(&format!("{key}.key")))
        .args(options.split_ascii_whitespace())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let Some(address) = address(&mut server) else {
        let mut complaints = String::new();
        let mut stderr = server.stderr.take().unwrap();
        stderr.read_to_string(&mut complaints).unwrap();
        panic!("s_server {options}: {complaints}");
    };
    let result = client(&address, &[b"h2"]);
    let output = server.wait_with_output().unwrap();
    let complaints = String::from_utf8_lossy(&output.stderr);
    Outcome {
        result,
        complaints: complaints
            .lines()
            .filter(|line| line.contains(":error:"))
            .collect(),
    }
}

/// The address that the server says it accepts at.
fn address(server: &mut Child) -> Option<String> {
    let stdout = server.stdout.as_mut()?;
    let mut lines = BufReader::new(stdout).lines();
    lines.find_map(|line| Some(line.ok()?.strip_prefix("ACCEPT ")?.to_owned()))
}

/// The handshake succeeds and the server has nothing to complain of.
fn passes(key: &str, options: &str) -> Verified {
    let outcome = handshake(key, options);
    match outcome.result {
        Ok(verified) => {
            assert_eq!(outcome.complaints, "", "{key} {options}");
            verified
        }
        Err(failure) => panic!("{key} {options}: {}; {}", failure.error, outcome.complaints),
    }
}

/// Whether there is an OpenSSL to test with.
fn openssl() -> bool {
    installed("openssl", "version")
}

#[test]
fn every_key_in_both_versions() {
    if !openssl() {
        return;
    }
    for (option, version) in [("-tls1_3", Version::TLS13), ("-tls1_2", Version::TLS12)] {
        for (key, _) in SUPPORTED {
            let verified = passes(key, option);
            assert_eq!(verified.version, version, "{key}");
            assert_eq!(verified.chain.len(), 1, "{key}");
        }
    }
}

#[test]
fn every_cipher_suite() {
    if !openssl() {
        return;
    }
    for suite in suite::TLS13 {
        let verified = passes("p256", &format!("-ciphersuites {}", suite.name));
        assert_eq!(verified.suite, suite.name);
    }
    let suites = [
        ("p256", "ECDHE-ECDSA-AES128-GCM-SHA256"),
        ("rsa2048", "ECDHE-RSA-AES128-GCM-SHA256"),
        ("p256", "ECDHE-ECDSA-AES256-GCM-SHA384"),
        ("rsa2048", "ECDHE-RSA-AES256-GCM-SHA384"),
        ("p256", "ECDHE-ECDSA-CHACHA20-POLY1305"),
        ("rsa2048", "ECDHE-RSA-CHACHA20-POLY1305"),
    ];
    for ((key, cipher), suite) in suites.into_iter().zip(suite::TLS12) {
        let verified = passes(key, &format!("-tls1_2 -cipher {cipher}"));
        assert_eq!(verified.suite, suite.name);
    }
}

#[test]
fn every_group() {
    if !openssl() {
        return;
    }
    let names = ["X25519", "P-256", "P-384", "P-521"];
    assert_eq!(names.len(), GROUPS.len());
    for group in names {
        // in TLS 1.3 all but the first take a HelloRetryRequest
        for version in ["-tls1_3", "-tls1_2"] {
            passes("p256", &format!("{version} -groups {group}"));
        }
    }
}

#[test]
fn every_signature_scheme() {
    if !openssl() {
        return;
    }
    for hash in ["SHA256", "SHA384", "SHA512"] {
        for version in ["-tls1_3", "-tls1_2"] {
            passes("rsa2048", &format!("{version} -sigalgs RSA-PSS+{hash}"));
            let name = hash.to_lowercase();
            passes("pss", &format!("{version} -sigalgs rsa_pss_pss_{name}"));
        }
        passes("rsa2048", &format!("-tls1_2 -sigalgs RSA+{hash}"));
        // the curve is bound to the hash in TLS 1.3 alone
        for key in ["p256", "p384", "p521"] {
            passes(key, &format!("-tls1_2 -sigalgs ECDSA+{hash}"));
        }
    }
}

#[test]
fn other_ways_of_servers() {
    if !openssl() {
        return;
    }
    for version in ["-tls1_3", "-tls1_2"] {
        for options in [
            "",
            "-alpn h2",
            "-max_send_frag 512",
            // each record to the full, in TLS 1.3
            "-record_padding 16384",
            "-split_send_frag 512",
            "-verify 1",
            "-num_tickets 8",
            "-no_ticket",
            "-serverpref",
        ] {
            passes("rsa4096", &format!("{version} {options}"));
        }
    }
    passes("p256", "-tls1_3 -no_middlebox");
}

#[test]
fn a_retry_for_a_cookie_alone() {
    if !openssl() {
        return;
    }
    // -stateless answers the first hello and then accepts again: no end after one connection
    let outcome = handshake("p256", "-tls1_3 -stateless");
    if let Err(failure) = outcome.result {
        panic!("{}", failure.error);
    }
}

#[test]
fn a_server_that_insists_on_a_client_certificate_has_proven_itself_before() {
    if !openssl() {
        return;
    }
    let outcome = handshake("p256", "-tls1_3 -Verify 1");
    assert!(outcome.result.is_ok());
    assert!(
        outcome.complaints.contains("did not return a certificate"),
        "{}",
        outcome.complaints
    );
    // TLS 1.2 is left before the server could ask for it
    passes("p256", "-tls1_2 -Verify 1");
}

#[test]
fn servers_that_cannot_be_talked_to() {
    if !openssl() {
        return;
    }
    let cases = [
        (
            "rsa2048",
            "-tls1_1 -cipher ALL:@SECLEVEL=0",
            "protocol_version",
            "probably its versions of TLS are all below 1.2",
        ),
        (
            "rsa2048",
            "-tls1_2 -cipher AES128-GCM-SHA256",
            "handshake_failure",
            NONE,
        ),
        (
            "rsa2048",
            "-tls1_2 -cipher DHE-RSA-AES128-GCM-SHA256",
            "handshake_failure",
            NONE,
        ),
        (
            "rsa2048",
            "-tls1_2 -cipher ECDHE-RSA-AES128-SHA256",
            "handshake_failure",
            NONE,
        ),
        ("rsa2048", "-tls1_3 -groups X448", "handshake_failure", NONE),
        (
            "rsa2048",
            "-tls1_3 -groups ffdhe2048",
            "handshake_failure",
            NONE,
        ),
        (
            "rsa2048",
            "-tls1_3 -ciphersuites TLS_AES_128_CCM_SHA256",
            "handshake_failure",
            NONE,
        ),
        ("ed448", "-tls1_3", "handshake_failure", NONE),
        ("ed448", "-tls1_2", "handshake_failure", NONE),
        (
            "rsa2048",
            "-alpn http/1.1",
            "no_application_protocol",
            "it supports none of the protocols offered by ALPN",
        ),
    ];
    for (key, options, alert, likely) in cases {
        let failure = handshake(key, options).result.unwrap_err();
        let expected = format!(
            "the server sent alert {alert} instead of ServerHello: {likely}; offered: TLS 1.3, \
             TLS 1.2, ECDHE with AES_128_GCM, AES_256_GCM, CHACHA20_POLY1305, groups X25519, \
             P-256, P-384, P-521, keys ECDSA, ED25519, RSA"
        );
        assert_eq!(failure.error.to_string(), expected, "{key} {options}");
    }
}

/// What a handshake_failure in answer to a ClientHello is likely to mean.
const NONE: &str = "probably no cipher suite, group or key type in common";
