//! Published test vectors, run against the modules of the program: a part of its unit tests
//! (see `lib.rs`), which stands here for its size.
//!
//! The vectors are no part of this repository: they are read from `../shared/vectors`, or from
//! the directory that the environment variable `VECTORS_DIR` names. Where there is none, every
//! test here says so on standard error and returns; where there is one, a missing or empty file
//! is a failure. Each test asserts and prints how many cases it ran, so that a reader that
//! finds nothing does not pass. One file a primitive.

mod json;

mod aes_gcm;
mod ecdsa;
mod ed25519;
mod hkdf;
mod rsa;
mod sha2;

mod tls;
mod x25519;
mod x509;

use std::fmt::Display;
use std::io::Write;
use std::path::PathBuf;

use json::Json;

/// The text of the vector file at `path`, or `None` where there are no vectors at all.
fn vectors(path: &str) -> Option<String> {
    let directory = match std::env::var_os("VECTORS_DIR") {
        Some(directory) => PathBuf::from(directory),
        None => PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/vectors")),
    };
    if !directory.is_dir() {
        say(format_args!("SKIPPED {path}: no {}", directory.display()));
        return None;
    }
    let text = std::fs::read_to_string(directory.join(path))
        .unwrap_or_else(|error| panic!("{path}: {error}"));
    assert!(!text.is_empty(), "{path} is empty");
    Some(text)
}

/// The Wycheproof file `name`, after a check that it holds as many tests as it says.
fn wycheproof(name: &str) -> Option<Json> {
    let file = Json::parse(&vectors(&format!("wycheproof/{name}.json"))?);
    let groups = file.get("testGroups").array();
    let tests: usize = groups
        .iter()
        .map(|group| group.get("tests").array().len())
        .sum();
    assert_eq!(tests, file.get("numberOfTests").count(), "{name}");
    Some(file)
}

/// Whether a Wycheproof test carries `flag`.
fn flagged(test: &Json, flag: &str) -> bool {
    test.get("flags")
        .array()
        .iter()
        .any(|found| found.str() == flag)
}

/// Prints how many cases of a file were run, after a check that none was lost.
fn ran(name: &str, count: usize, expected: usize) {
    assert_eq!(count, expected, "{name}: cases run");
    say(format_args!("{name}: {count} cases run"));
}

/// Writes past the test harness, which keeps to itself what a passing test prints.
fn say(line: impl Display) {
    // Nothing is lost but the message if standard error is closed.
    let _ = writeln!(std::io::stderr(), "{line}");
}
