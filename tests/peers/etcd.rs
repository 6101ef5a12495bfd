//! Handshakes with etcd, which is Go's crypto/tls, and what it logs of them.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Stdio};

use crate::peers::child_command::child_command;
use crate::peers::pki::{client, file, installed, scratch};
use crate::tls::{Error, Version};

/// An etcd of one member.
struct Etcd {
    process: Child,
    log: BufReader<std::process::ChildStderr>,
    address: String,
}

impl Etcd {
    /// Starts one with clients' URL of that scheme and waits until it serves.
    fn start(name: &str, scheme: &str, options: &[&std::ffi::OsStr]) -> Self {
        let data = scratch(&format!("etcd-{name}"));
        let url = format!("{scheme}://127.0.0.1:0");
        let peer = "http://127.0.0.1:0";
        let mut process = child_command("etcd")
            .args([
                "--listen-client-urls",
                &url,
                "--advertise-client-urls",
                &url,
            ])
            .args([
                "--listen-peer-urls",
                peer,
                "--initial-advertise-peer-urls",
                peer,
            ])
            .args(["--initial-cluster", "default=http://127.0.0.1:0"])
            .args(["--logger", "zap", "--data-dir"])
            .arg(data)
            .args(options)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(process.stderr.take().unwrap());
        let mut line = String::new();
        let address = loop {
            line.clear();
            assert_ne!(log.read_line(&mut line).unwrap(), 0, "{name}: etcd ended");
            if line.contains("serving client traffic") {
                let (_, rest) = line.split_once("\"address\":\"").unwrap();
                break rest.split('"').next().unwrap().to_owned();
            }
        };
        Self {
            process,
            log,
            address,
        }
    }

    /// Stops it: what it logged since it served.
    fn stop(mut self) -> String {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        let mut log = String::new();
        self.log.read_to_string(&mut log).unwrap();
        log
    }
}

/// Runs clients against an etcd with the key of that name.
fn check(key: &str, client_cert_auth: bool) {
    if !installed("etcd", "--version") || !installed("openssl", "version") {
        return;
    }
    let [certificate, key_file, authority] = [
        format!("{key}.crt"),
        format!("{key}.key"),
        "ca.crt".to_owned(),
    ]
    .map(|name| file(&name).unwrap());
    let mut options = vec!["--cert-file".as_ref(), certificate.as_os_str()];
    options.extend(["--key-file".as_ref(), key_file.as_os_str()]);
    if client_cert_auth {
        // the file alone would do: etcd takes it for a wish to see certificates
        options.extend(["--trusted-ca-file".as_ref(), authority.as_os_str()]);
        options.push("--client-cert-auth".as_ref());
    }
    let etcd = Etcd::start(&format!("{key}-{client_cert_auth}"), "https", &options);
    let verified = client(&etcd.address, &[b"h2"]);
    let again = client(&etcd.address, &[]);
    let log = etcd.stop();
    for verified in [verified, again] {
        let verified = verified.unwrap_or_else(|failure| panic!("{key}: {}", failure.error));
        assert_eq!(verified.version, Version::TLS13);
    }
    // etcd warns of each client that does not show the certificate it insists on, and of
    // nothing else
    let rejected = log.matches("rejected connection").count();
    let explained = log
        .matches("tls: client didn't provide a certificate")
        .count();
    assert_eq!(rejected, if client_cert_auth { 2 } else { 0 }, "{log}");
    assert_eq!(explained, rejected, "{log}");
}

#[test]
fn ecdsa() {
    check("p256", false);
}

#[test]
fn rsa() {
    check("rsa2048", false);
}

#[test]
fn ecdsa_with_client_cert_auth() {
    check("p384", true);
}

#[test]
fn rsa_with_client_cert_auth() {
    check("rsa3072", true);
}

#[test]
fn without_tls() {
    if !installed("etcd", "--version") || !installed("openssl", "version") {
        return;
    }
    let etcd = Etcd::start("plain", "http", &[]);
    let failure = client(&etcd.address, &[b"h2"]).unwrap_err();
    etcd.stop();
    let error = failure.error.to_string();
    // etcd closes without having read all that was sent, which makes the end a reset, if the
    // rest has come by then.
    assert!(
        matches!(
            failure.error,
            Error::Closed {
                answered: false,
                ..
            }
        ),
        "{error}"
    );
    assert!(
        error.contains(", as one without TLS does; offered: TLS 1.3, "),
        "{error}"
    );
}
