//! Certificates, made by the host's `openssl` when a test asks for them: none in the repository can expire, and
//! no key is ever published. Keys of RSA are kept between runs.
//!
//! Each `Pki` has a directory of its own, so tests that run in parallel share nothing.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use super::{host_offers, kept_keys, process};

/// `openssl ca` is the one command of OpenSSL 3.0 that sets the dates of a certificate; it wants a database.
const CONFIG: &str = "\
[ca]
default_ca = issuer
[issuer]
database = index
new_certs_dir = .
unique_subject = no
rand_serial = yes
policy = any
[any]
organizationName = optional
commonName = optional
[req]
distinguished_name = none
[none]
";

/// Long before and after any run of these tests.
const LONG_AGO: &str = "20200101000000Z";
const FAR_AHEAD: &str = "20490101000000Z";

pub(crate) struct Pki {
    dir: PathBuf,
    serial: AtomicU32,
}

/// A certificate and its key, as paths of PEM files.
#[derive(Debug, Clone)]
pub(crate) struct Certified {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Key {
    P256,
    P384,
    P521,
    Rsa1024,
    Rsa2048,
    Rsa4096,
    Ed25519,
}

impl Key {
    /// As `openssl genpkey -algorithm` takes it.
    fn arguments(self) -> &'static [&'static str] {
        match self {
            Key::P256 => &["EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
            Key::P384 => &["EC", "-pkeyopt", "ec_paramgen_curve:P-384"],
            Key::P521 => &["EC", "-pkeyopt", "ec_paramgen_curve:P-521"],
            Key::Rsa1024 => &["RSA", "-pkeyopt", "rsa_keygen_bits:1024"],
            Key::Rsa2048 => &["RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
            Key::Rsa4096 => &["RSA", "-pkeyopt", "rsa_keygen_bits:4096"],
            Key::Ed25519 => &["ED25519"],
        }
    }
}

/// What a certificate is to say.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// As `openssl req -subj` takes it.
    pub(crate) subject: String,
    /// Lines as in a section of openssl.cnf.
    pub(crate) extensions: String,
    pub(crate) key: Key,
    pub(crate) digest: &'static str,
    pub(crate) not_before: &'static str,
    pub(crate) not_after: &'static str,
}

impl Request {
    /// A certificate with these extensions and nothing else unusual about it.
    pub(crate) fn with(subject: &str, extensions: &str) -> Request {
        Request {
            subject: subject.to_owned(),
            extensions: extensions.to_owned(),
            key: Key::P256,
            digest: "sha256",
            not_before: LONG_AGO,
            not_after: FAR_AHEAD,
        }
    }

    /// A server with these names, `DNS:x.test,IP:127.0.0.1`.
    pub(crate) fn server(names: &str) -> Request {
        let extensions = format!(
            "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\n\
             extendedKeyUsage=serverAuth\nsubjectAltName={names}"
        );
        Request::with("/CN=member", &extensions)
    }

    /// A certification authority; `more` is what follows `CA:TRUE` (`,pathlen:0`) and further lines.
    pub(crate) fn authority(name: &str, more: &str) -> Request {
        let extensions = format!(
            "keyUsage=critical,keyCertSign,cRLSign\nbasicConstraints=critical,CA:TRUE{more}"
        );
        Request::with(&format!("/O=suite/CN={name}"), &extensions)
    }
}

impl Pki {
    /// In a directory that exists; nothing where the host has no openssl.
    pub(crate) fn below(dir: impl Into<PathBuf>) -> Option<Pki> {
        if !host_offers(process::have("openssl"), "openssl") {
            return None;
        }
        let pki = Pki {
            dir: dir.into(),
            serial: AtomicU32::new(0),
        };
        pki.file("openssl.cnf", CONFIG);
        pki.file("index", "");
        Some(pki)
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Writes a file and returns its path.
    pub(crate) fn file(&self, name: &str, text: &str) -> String {
        let path = self.dir.join(name);
        std::fs::write(&path, text).expect("write a file of the PKI");
        path.to_str().expect("a temporary path in UTF-8").to_owned()
    }

    /// Several certificates in one file.
    pub(crate) fn bundle(&self, name: &str, certificates: &[&Certified]) -> String {
        let texts = certificates.iter().map(|certified| certified.pem());
        self.file(name, &texts.collect::<String>())
    }

    /// A number that no other file of this PKI has.
    pub(crate) fn next(&self) -> u32 {
        self.serial.fetch_add(1, Ordering::Relaxed)
    }

    /// A certificate signed by its own key.
    pub(crate) fn self_signed(&self, request: &Request) -> Certified {
        let certified = self.request(request);
        let issuer = ["-selfsign", "-keyfile", &certified.key];
        self.sign(request, &certified, &issuer);
        certified
    }

    /// A root, trusted by those who are given its file.
    pub(crate) fn root(&self, name: &str) -> Certified {
        self.self_signed(&Request::authority(name, ""))
    }

    pub(crate) fn issue(&self, issuer: &Certified, request: &Request) -> Certified {
        let certified = self.request(request);
        let issuer = ["-cert", &issuer.certificate, "-keyfile", &issuer.key];
        self.sign(request, &certified, &issuer);
        certified
    }

    /// A key, and a request for its certificate where the certificate will be.
    fn request(&self, request: &Request) -> Certified {
        let number = self.next();
        let path = |kind: &str| {
            let path = self.dir.join(format!("{number}.{kind}"));
            path.to_str().expect("a temporary path in UTF-8").to_owned()
        };
        let certified = Certified {
            certificate: path("pem"),
            key: path("key"),
        };
        let algorithm = request.key.arguments();
        if algorithm[0] == "RSA" {
            // Certificates of one PKI differ by more than their keys.
            let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("keys");
            let kept = kept_keys::key(&directory, &format!("suite-{:?}", request.key), algorithm);
            std::fs::copy(kept, &certified.key).expect("copy a key");
        } else {
            let genpkey = ["genpkey", "-out", &certified.key, "-algorithm"];
            self.openssl(&[&genpkey, algorithm].concat());
        }
        let mut words = vec![
            "req",
            "-new",
            "-config",
            "openssl.cnf",
            "-key",
            &certified.key,
        ];
        words.extend(["-subj", &request.subject, "-out", &certified.certificate]);
        self.openssl(&words);
        certified
    }

    fn sign(&self, request: &Request, certified: &Certified, issuer: &[&str]) {
        let csr = format!("{}.csr", certified.certificate);
        std::fs::rename(&certified.certificate, &csr).expect("rename a request");
        let extensions = self.file("extensions", &request.extensions);
        let mut words = vec!["ca", "-batch", "-notext", "-config", "openssl.cnf"];
        words.extend(["-in", &csr, "-out", &certified.certificate]);
        words.extend(["-extfile", &extensions, "-md", request.digest]);
        words.extend(["-startdate", request.not_before]);
        words.extend(["-enddate", request.not_after]);
        words.extend(issuer);
        self.openssl(&words);
    }

    #[track_caller]
    fn openssl(&self, words: &[&str]) {
        let output = Command::new("openssl")
            .args(words)
            .current_dir(&self.dir)
            .stdin(Stdio::null())
            .output()
            .expect("run openssl");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "openssl {words:?}: {said}");
    }
}

impl Certified {
    /// The certificate's text.
    pub(crate) fn pem(&self) -> String {
        std::fs::read_to_string(&self.certificate).expect("read a certificate")
    }
}
