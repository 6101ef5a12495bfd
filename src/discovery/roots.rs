//! The authorities that members are authenticated by: `--trusted-ca-file`, or without it
//! the bundle of the system, found as Go's crypto/x509 finds it on Linux.
//!
//! A certificate that cannot be used (bundles of public authorities have had some) is passed
//! over, as Go does; in a file that the operator named it is reported. A file that is no bundle, or
//! has nothing that can be used, is an error.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::sys::Plain;
use crate::x509::{self, Anchors, pem};

/// The bundles of the distributions, in Go's order (src/crypto/x509/root_linux.go).
const FILES: [&str; 6] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/cacert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];
/// Directories of single certificates, likewise.
const DIRECTORIES: [&str; 2] = ["/etc/ssl/certs", "/etc/pki/tls/certs"];
/// More than any bundle of authorities (Debian's has 220 kB); not so much that a wrong path fills
/// the memory.
const MAX_FILE: usize = 16 * 1024 * 1024;

/// What to do about a file that is something else.
const REMEDY: &str = "name a file with the certificates of the members' authority, in PEM";

/// Why there are no authorities.
#[derive(Debug)]
pub(crate) enum Error {
    /// The file cannot be read.
    Read(PathBuf, io::Error),
    /// The file is larger than any bundle.
    TooLarge(PathBuf),
    /// The file is not in PEM.
    Pem(PathBuf, pem::Error),
    /// A block of the file, counted from 1, is no certificate.
    Certificate(PathBuf, usize, x509::Error),
    /// The file has no certificate in it.
    Empty(PathBuf),
    /// The system has no bundle.
    NoSystemBundle,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(path, error) => {
                write!(
                    f,
                    "{}: cannot read: {}; name a file that this user may read",
                    path.display(),
                    Plain(error)
                )
            }
            Self::TooLarge(path) => write!(
                f,
                "{}: larger than any bundle of certificates; {REMEDY}",
                path.display()
            ),
            Self::Pem(path, error) => write!(f, "{}: {error}; {REMEDY}", path.display()),
            Self::Certificate(path, block, error) => {
                write!(
                    f,
                    "{}: certificate {block}: {error}; replace it, or take it out",
                    path.display()
                )
            }
            Self::Empty(path) => {
                write!(f, "{}: has no certificate in it; {REMEDY}", path.display())
            }
            Self::NoSystemBundle => f.write_str(
                "this system has no bundle of authorities: name one with --trusted-ca-file",
            ),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Read(_, error) => Some(error),
            Self::Pem(_, error) => Some(error),
            Self::Certificate(_, _, error) => Some(error),
            Self::TooLarge(_) | Self::Empty(_) | Self::NoSystemBundle => None,
        }
    }
}

/// The authorities, and which certificates of a named file are not among them.
#[derive(Debug)]
pub(crate) struct Roots {
    pub(crate) anchors: Anchors,
    pub(crate) passed_over: Vec<Error>,
}

/// The authorities of a file, or of the system. `variable` reads the environment.
///
/// # Errors
/// If a named file is not a bundle of certificates, or the system has none.
pub(crate) fn load(
    file: Option<&Path>,
    variable: impl Fn(&str) -> Option<OsString>,
) -> Result<Roots, Error> {
    match file {
        Some(path) => named(path),
        None => {
            let variable = |name| variable(name).filter(|value| !value.is_empty());
            let file = variable("SSL_CERT_FILE").map(PathBuf::from);
            let files = match &file {
                Some(file) => vec![file.clone()],
                None => FILES.map(PathBuf::from).to_vec(),
            };
            let directories = match variable("SSL_CERT_DIR") {
                Some(list) => std::env::split_paths(&list).collect(),
                None => DIRECTORIES.map(PathBuf::from).to_vec(),
            };
            match (system(&files, &directories), file) {
                // Whoever has set the variable is told why it is of no use.
                (Err(Error::NoSystemBundle), Some(file)) => named(&file),
                (found, _) => found,
            }
        }
    }
}

fn named(path: &Path) -> Result<Roots, Error> {
    let text = read(path)?;
    let certificates =
        pem::parse_certificates(&text).map_err(|error| Error::Pem(path.into(), error))?;
    let mut passed_over = Vec::new();
    // Each once: what is appended again and again would use up what a verification may cost.
    let mut seen = HashSet::new();
    let mut usable = Vec::new();
    for (index, der) in certificates.into_iter().enumerate() {
        match x509::Certificate::parse(&der) {
            Ok(_) if !seen.insert(der.clone()) => {}
            Ok(_) => usable.push(der),
            Err(error) => {
                let error = Error::Certificate(path.into(), index.saturating_add(1), error);
                passed_over.push(error);
            }
        }
    }
    if usable.is_empty() {
        return Err(passed_over
            .into_iter()
            .next()
            .unwrap_or(Error::Empty(path.into())));
    }
    let anchors = Anchors::from_der(usable).map_err(|(index, error)| {
        Error::Certificate(path.into(), index.saturating_add(1), error)
    })?;
    Ok(Roots {
        anchors,
        passed_over,
    })
}

/// The first of the files that can be read, and all files of the directories; each
/// certificate once.
fn system(files: &[PathBuf], directories: &[PathBuf]) -> Result<Roots, Error> {
    let mut texts: Vec<Vec<u8>> = files
        .iter()
        .find_map(|file| read(file).ok())
        .into_iter()
        .collect();
    for directory in directories {
        let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
        // Nobody has named what is in there: a pipe that no one writes to would hold up the start.
        let files = entries
            .map(|entry| entry.path())
            .filter(|path| path.is_file());
        texts.extend(files.filter_map(|path| read(&path).ok()));
    }
    let mut seen = HashSet::new();
    let usable = texts
        .iter()
        .filter_map(|text| pem::parse_certificates(text).ok())
        .flatten()
        .filter(|der| x509::Certificate::parse(der).is_ok() && seen.insert(der.clone()))
        .collect();
    match Anchors::from_der(usable) {
        Ok(anchors) if anchors.len() > 0 => Ok(Roots {
            anchors,
            passed_over: Vec::new(),
        }),
        _ => Err(Error::NoSystemBundle),
    }
}

/// All of a file, if it is no longer than a bundle may be. A pipe will do, as it does for the reference; that
/// a device never ends does no harm.
fn read(path: &Path) -> Result<Vec<u8>, Error> {
    let failed = |error| Error::Read(path.into(), error);
    let mut text = Vec::new();
    let read = File::open(path)
        .and_then(|file| file.take(MAX_FILE as u64 + 1).read_to_end(&mut text))
        .map_err(failed)?;
    if read > MAX_FILE {
        return Err(Error::TooLarge(path.into()));
    }
    Ok(text)
}
