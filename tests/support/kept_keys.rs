//! Private keys that take long to make, kept between runs of the tests: the search for the primes of an RSA key takes
//! seconds, sometimes many. Certificates are made in each run, so nothing that is kept expires.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The key of that name below `directory`; if it is missing, it is made with these arguments of `openssl genpkey -algorithm`.
/// Two runs at a time may both make it; the second replaces a whole file by a whole file.
///
/// # Panics
/// If `openssl` cannot make it.
pub(crate) fn key(directory: &Path, name: &str, algorithm: &[&str]) -> PathBuf {
    let path = directory.join(format!("{name}.key"));
    if path.exists() {
        return path;
    }
    std::fs::create_dir_all(directory).expect("create the directory of kept keys");
    let (thread, process) = (std::thread::current().id(), std::process::id());
    let fresh = directory.join(format!("{name}.{process}.{thread:?}"));
    let output = Command::new("openssl")
        .args(["genpkey", "-out"])
        .arg(&fresh)
        .arg("-algorithm")
        .args(algorithm)
        .output()
        .expect("run openssl");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "openssl genpkey {algorithm:?}: {said}"
    );
    std::fs::rename(&fresh, &path).expect("keep a key");
    path
}
