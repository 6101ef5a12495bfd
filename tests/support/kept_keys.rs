//! Private keys that are dear to make, kept between runs of the tests: the search for the primes of an RSA key takes
//! seconds, of a length that is chance. Certificates are made anew each time, so nothing that is kept expires.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The key of that name below `directory`, made as `openssl genpkey -algorithm …` is told if it is not there yet.
/// Two runs at a time may both make it; the one that comes second replaces a whole file by a whole file.
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
