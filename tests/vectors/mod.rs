//! Published test vectors, run against the modules of the program: a part of its unit tests
//! (see `lib.rs`), which stands here for its size.
//!
//! The vectors are not part of this repository: they are read from `../shared/vectors`, or from
//! the directory that the environment variable `VECTORS_DIR` names. Where there is none, every
//! test here says so on standard error and returns; where there is one, a missing or empty file
//! is a failure. Each test asserts and prints how many cases it ran, so that a reader that
//! finds nothing does not pass. One file per primitive.

#[path = "../support/json.rs"]
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

/// Accessors that panic where the file is not what is expected: a vector that is read wrongly must not pass for a test
/// that ran.
impl Json {
    fn field(&self, name: &str) -> &Self {
        self.get(name)
            .unwrap_or_else(|| panic!("no member {name:?} in {self:?}"))
    }

    fn array(&self) -> &[Self] {
        match self {
            Self::List(items) => items,
            _ => panic!("not a list: {self:?}"),
        }
    }

    fn str(&self) -> &str {
        match self {
            Self::Text(text) => text,
            _ => panic!("not a string: {self:?}"),
        }
    }

    /// A number that counts something.
    fn count(&self) -> usize {
        match self {
            Self::Number(number) if *number >= 0.0 && number.fract() == 0.0 => *number as usize,
            _ => panic!("not a count: {self:?}"),
        }
    }

    /// The bytes that a string writes in hexadecimal.
    fn hex(&self) -> Vec<u8> {
        let digits: Vec<u32> = self
            .str()
            .chars()
            .map(|c| c.to_digit(16).expect("a hexadecimal digit"))
            .collect();
        assert!(digits.len().is_multiple_of(2), "an even number of digits");
        digits
            .chunks(2)
            .map(|pair| (pair[0] << 4 | pair[1]) as u8)
            .collect()
    }
}

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
    let text = vectors(&format!("wycheproof/{name}.json"))?;
    let file = Json::parse(&text).unwrap();
    let groups = file.field("testGroups").array();
    let tests: usize = groups
        .iter()
        .map(|group| group.field("tests").array().len())
        .sum();
    assert_eq!(tests, file.field("numberOfTests").count(), "{name}");
    Some(file)
}

/// Whether a Wycheproof test carries `flag`.
fn flagged(test: &Json, flag: &str) -> bool {
    test.field("flags")
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
