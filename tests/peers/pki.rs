//! Keys and certificates, made by `openssl`, and a client that trusts them: keys once, certificates in each run.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::kept_keys;
use crate::tls::{Config, Failure, Verified, authenticate};
use crate::x509::{Anchors, ServerName, UnixTime, pem};

/// The keys of server certificates: name and how `openssl genpkey` is asked for them.
const KEYS: [(&str, &[&str]); 9] = [
    ("p256", &["EC", "-pkeyopt", "ec_paramgen_curve:P-256"]),
    ("p384", &["EC", "-pkeyopt", "ec_paramgen_curve:P-384"]),
    ("p521", &["EC", "-pkeyopt", "ec_paramgen_curve:P-521"]),
    ("rsa2048", &["RSA", "-pkeyopt", "rsa_keygen_bits:2048"]),
    ("rsa3072", &["RSA", "-pkeyopt", "rsa_keygen_bits:3072"]),
    ("rsa4096", &["RSA", "-pkeyopt", "rsa_keygen_bits:4096"]),
    ("pss", &["RSA-PSS", "-pkeyopt", "rsa_keygen_bits:2048"]),
    ("ed25519", &["ED25519"]),
    ("ed448", &["ED448"]),
];

/// Those of them that the client supports: all but the last.
pub(crate) const SUPPORTED: &[(&str, &[&str])] = KEYS.split_at(8).0;

/// The name in all server certificates.
const NAME: &str = "etcd.test";

/// How long a peer may take, generously: the machine may be busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Whether `program` can be run; if not, that is said, or a failure in CI.
pub(crate) fn installed(program: &str, argument: &str) -> bool {
    let found = Command::new(program)
        .arg(argument)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !found {
        assert!(std::env::var_os("CI").is_none(), "{program} is missing");
        // past the test harness, which keeps what a passing test prints
        let _ = writeln!(io::stderr(), "SKIPPED: {program} is not installed");
    }
    found
}

/// The path of a file, all of which are made at the first call; `None` without `openssl`.
pub(crate) fn file(name: &str) -> Option<PathBuf> {
    static DIRECTORY: OnceLock<Option<PathBuf>> = OnceLock::new();
    let directory = DIRECTORY.get_or_init(|| {
        installed("openssl", "version").then(|| {
            let directory = scratch("peers");
            make(&directory);
            directory
        })
    });
    Some(directory.as_ref()?.join(name))
}

/// What the tests of this checkout leave behind.
const LEFT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/tmp");

/// An empty directory of this process.
pub(crate) fn scratch(name: &str) -> PathBuf {
    super::scratch::scratch(Path::new(LEFT), name).unwrap()
}

fn make(directory: &Path) {
    let openssl = |arguments: &str, more: &[&str]| {
        let output = Command::new("openssl")
            .args(arguments.split(' '))
            .args(more)
            .current_dir(directory)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "openssl {arguments}: {said}");
    };
    std::fs::write(
        directory.join("cnf"),
        format!(
            "[req]\ndistinguished_name=dn\n[dn]\n\
             [ca]\nbasicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\n\
             subjectKeyIdentifier=hash\n\
             [leaf]\nsubjectAltName=DNS:{NAME}\nextendedKeyUsage=serverAuth\n\
             keyUsage=critical,digitalSignature\nauthorityKeyIdentifier=keyid\n"
        ),
    )
    .unwrap();
    let keep = |name: &str, algorithm: &[&str]| {
        let kept = kept_keys::key(&Path::new(LEFT).join("keys"), name, algorithm);
        std::fs::copy(kept, directory.join(format!("{name}.key"))).unwrap();
    };
    let (_, p256) = KEYS[0];
    keep("ca", p256);
    openssl(
        "req -x509 -config cnf -extensions ca -key ca.key -out ca.crt -days 2 -subj /CN=authority",
        &[],
    );
    std::thread::scope(|scope| {
        for (name, key) in KEYS {
            scope.spawn(move || {
                keep(name, key);
                openssl(
                    &format!(
                        "req -x509 -config cnf -extensions leaf -CA ca.crt -CAkey ca.key \
                         -key {name}.key -out {name}.crt -days 2 -subj /CN={name}"
                    ),
                    &[],
                );
            });
        }
    });
}

/// A connection with one deadline for all reads.
pub(crate) struct Deadline {
    pub(crate) stream: TcpStream,
    until: Instant,
}

impl Deadline {
    pub(crate) fn connect(address: &str, patience: Duration) -> Self {
        Self {
            stream: TcpStream::connect(address).unwrap(),
            until: Instant::now() + patience,
        }
    }
}

impl Read for Deadline {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.stream.set_read_timeout(Some(left))?;
        self.stream.read(buffer)
    }
}

impl Write for Deadline {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// Authenticates the server at `address` for [`NAME`] by the authority, and waits until it
/// has closed.
pub(crate) fn client(address: &str, alpn: &[&[u8]]) -> Result<Verified, Failure> {
    let pem = std::fs::read(file("ca.crt").unwrap()).unwrap();
    let anchors = Anchors::from_der(pem::parse_certificates(&pem).unwrap()).unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let config = Config {
        anchors: &anchors,
        name: &ServerName::parse(NAME).unwrap(),
        now: UnixTime(now.as_secs() as i64),
        alpn,
    };
    let mut entropy = std::fs::File::open("/dev/urandom").unwrap();
    let mut stream = Deadline::connect(address, PATIENCE);
    let verified = authenticate(&mut stream, &config, &mut |out| entropy.read_exact(out));
    // so that it is known to have seen all of it; a reset is as good
    let _ = stream.read_to_end(&mut Vec::new());
    verified
}
