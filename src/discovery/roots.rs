//! Which authorities members are authenticated by: those of `--trusted-ca-file`, or without it the bundle of
//! the system, found as Go's crypto/x509 finds it on Linux. The files are polled, and the set is replaced as a
//! whole: one authentication is by one set from beginning to end.
//!
//! A certificate that cannot be used (bundles of public authorities have had some) is ignored, as Go
//! does; in a file that the operator named it is reported. A file that is not a bundle, or has
//! nothing that can be used, is an error.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::polled::{self, Contents, FileError, Parsed, Polled, PolledFiles};
use super::problems::{Problem, Subject};
use crate::log;
use crate::sync::lock;
use crate::sys::shortage;
use crate::times::Times;
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

/// How many octets it may take for each octet of a bundle to make authorities of it.
const PARSED: usize = 3;

/// What a file should be that is something else.
const WANTED: &str = "a file with the certificates of the members' authority, in PEM";

/// Where the authorities are.
#[derive(Debug)]
pub(crate) enum Bundle {
    /// In a file that the operator named.
    Named(PathBuf),
    /// In the first of these files that can be read, and in all files of these directories.
    System {
        files: Vec<PathBuf>,
        directories: Vec<PathBuf>,
    },
}

impl Bundle {
    /// A file, or the bundle of the system. `variable` reads the environment.
    pub(crate) fn of(file: Option<&Path>, variable: impl Fn(&str) -> Option<OsString>) -> Self {
        if let Some(file) = file {
            return Self::Named(file.into());
        }
        let variable = |name| variable(name).filter(|value| !value.is_empty());
        Self::System {
            files: match variable("SSL_CERT_FILE") {
                Some(file) => vec![file.into()],
                None => FILES.map(PathBuf::from).to_vec(),
            },
            directories: match variable("SSL_CERT_DIR") {
                Some(list) => std::env::split_paths(&list).collect(),
                None => DIRECTORIES.map(PathBuf::from).to_vec(),
            },
        }
    }
}

impl fmt::Display for Bundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(path) => path.display().fmt(f),
            Self::System { .. } => f.write_str("the system's bundle"),
        }
    }
}

impl PolledFiles for Bundle {
    type Value = Anchors;

    fn paths(&self) -> Vec<PathBuf> {
        match self {
            Self::Named(path) => vec![path.clone()],
            Self::System { files, directories } => {
                let entries = directories.iter().flat_map(|directory| entries(directory));
                files.iter().cloned().chain(entries.flatten()).collect()
            }
        }
    }

    fn read(&self) -> Result<Contents, FileError> {
        match self {
            Self::Named(path) => Ok(vec![read(path)?]),
            Self::System { files, directories } => read_system(files, directories),
        }
    }

    fn memory_for(&self, contents: &Contents) -> usize {
        let size: usize = contents.iter().map(Vec::len).sum();
        size.saturating_mul(PARSED)
    }

    fn parse(&self, contents: Contents) -> Parsed<Anchors> {
        let files = match self {
            Self::Named(path) => {
                // Borrowed: a copy is not in `memory_for`.
                let text = contents.first().map(Vec::as_slice).unwrap_or_default();
                return parse_named(path, text);
            }
            Self::System { files, .. } => files.as_slice(),
        };
        let texts = contents.iter();
        let certificates = texts.filter_map(|text| pem::parse_certificates(text).ok());
        let (usable, _) = usable(certificates.flatten());
        match (anchors(usable), files) {
            (Some(anchors), _) => Ok((anchors, Vec::new())),
            // The variable names it; the error says why it cannot be used.
            (None, [file]) => parse_named(file, &read(file)?),
            (None, _) => Err(FileError::Content(
                "this system has no bundle of authorities: name one with --trusted-ca-file"
                    .to_owned(),
            )),
        }
    }
}

fn parse_named(path: &Path, text: &[u8]) -> Parsed<Anchors> {
    let path = path.display();
    let certificates = pem::parse_certificates(text)
        .map_err(|error| FileError::Content(format!("{path}: {error}; name {WANTED}")))?;
    let (usable, errors) = usable(certificates);
    let mut errors = errors.into_iter().map(|(number, error)| {
        format!("{path}: certificate {number}: {error}; replace it, or take it out")
    });
    let Some(anchors) = anchors(usable) else {
        // There is at least one certificate, so at least one error.
        let first = errors.next();
        return Err(FileError::Content(first.unwrap_or_default()));
    };
    let warning = |error| format!("certificate of an authority is ignored: {error}");
    Ok((anchors, errors.map(warning).collect()))
}

/// The certificates that can be used, each once: what is appended again and again would use up what a
/// verification may cost. Also what is wrong with the others, by their number from 1.
fn usable(
    certificates: impl IntoIterator<Item = Vec<u8>>,
) -> (Vec<Vec<u8>>, Vec<(usize, x509::Error)>) {
    let (mut usable, mut errors) = (Vec::new(), Vec::new());
    let mut seen = HashSet::new();
    for (number, der) in (1..).zip(certificates) {
        match x509::Certificate::parse(&der) {
            Err(error) => errors.push((number, error)),
            Ok(_) if !seen.insert(der.clone()) => {}
            Ok(_) => usable.push(der),
        }
    }
    (usable, errors)
}

/// At least one authority.
fn anchors(usable: Vec<Vec<u8>>) -> Option<Anchors> {
    let anchors = Anchors::from_der(usable).ok();
    anchors.filter(|anchors| anchors.len() > 0)
}

/// What was read; `None` if it cannot be read. That the host has run out of something is an error: it says
/// nothing about the file.
fn if_readable<T>(read: Result<T, FileError>) -> Result<Option<T>, FileError> {
    match read {
        Err(FileError::Unreadable(path, error)) if shortage(&error).is_some() => {
            Err(FileError::Unreadable(path, error))
        }
        read => Ok(read.ok()),
    }
}

/// The first of the files that can be read, and all files of the directories.
fn read_system(files: &[PathBuf], directories: &[PathBuf]) -> Result<Contents, FileError> {
    let mut texts = Vec::new();
    for file in files {
        if let Some(text) = if_readable(read(file))? {
            texts.push(text);
            break;
        }
    }
    for directory in directories {
        for entry in if_readable(entries(directory))?.into_iter().flatten() {
            texts.extend(if_readable(read(&entry))?);
        }
    }
    Ok(texts)
}

/// What is in a directory, always in the same order.
fn entries(directory: &Path) -> Result<Vec<PathBuf>, FileError> {
    let entries = std::fs::read_dir(directory);
    let entries = entries.map_err(|error| FileError::Unreadable(directory.into(), error))?;
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort_unstable();
    Ok(paths)
}

fn read(path: &Path) -> Result<Vec<u8>, FileError> {
    polled::read(path, MAX_FILE, WANTED)
}

/// The set of authorities in use, shared with what authenticates by it.
#[derive(Debug, Clone)]
pub(crate) struct TrustedSet(Arc<Mutex<Arc<Anchors>>>);

impl TrustedSet {
    pub(crate) fn new(anchors: Anchors) -> Self {
        Self(Arc::new(Mutex::new(Arc::new(anchors))))
    }

    /// The set in use now.
    pub(crate) fn now(&self) -> Arc<Anchors> {
        Arc::clone(&lock(&self.0))
    }

    pub(super) fn replace(&self, anchors: Anchors) {
        // What it replaces is freed after the lock.
        let _old = std::mem::replace(&mut *lock(&self.0), Arc::new(anchors));
    }
}

/// The set in use, and the files that it comes from.
#[derive(Debug)]
pub(crate) struct Authorities {
    bundle: Polled<Bundle>,
    trusted: TrustedSet,
}

impl Authorities {
    /// The authorities that there are now, and warnings about them.
    ///
    /// # Errors
    /// If a named file is not a bundle of certificates, or the system has none.
    pub(crate) fn open(bundle: Bundle) -> Result<(Self, Vec<String>), FileError> {
        let (bundle, anchors, warnings) = Polled::open(bundle)?;
        let trusted = TrustedSet::new(anchors);
        Ok((Self { bundle, trusted }, warnings))
    }

    /// The set in use, now and after each change.
    pub(crate) fn trusted(&self) -> TrustedSet {
        self.trusted.clone()
    }

    /// Where they are.
    pub(super) fn location(&self) -> String {
        self.bundle.files().to_string()
    }

    /// How long after the last poll the next is due.
    pub(super) fn poll_interval(&self, times: &Times) -> Duration {
        self.bundle.interval(times)
    }

    /// Uses the authorities that are on disk now; what is bad changes nothing. True if the set has changed.
    pub(super) fn poll(&mut self, asked: bool) -> bool {
        let Some(Ok((now, warnings))) = self.bundle.poll(asked) else {
            return false;
        };
        for warning in warnings {
            log::warn("discovery", &warning, &[]);
        }
        let before = self.trusted.now();
        let (added, removed) = (now.missing_from(&before), before.missing_from(&now));
        if added == 0 && removed == 0 {
            return false;
        }
        log::info(
            "discovery",
            "authorities changed; authenticating all members again",
            &[
                ("from", self.location().into()),
                ("authorities", now.len().into()),
                ("added", added.into()),
                ("removed", removed.into()),
            ],
        );
        self.trusted.replace(now);
        true
    }

    /// That what is on disk now is not used, if so.
    pub(super) fn problem(&self) -> Option<Problem> {
        self.bundle.problem(
            Subject::Authorities,
            "authorities are not usable, keeping the last good ones",
            ("authorities_kept", self.trusted.now().len().into()),
            "the last good authorities stay in use",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::files::{Site, certificates};
    use super::*;
    use std::fs;
    use std::io;

    /// Well-formed PEM around what is not a certificate.
    const NO_CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";

    fn load(
        file: Option<&Path>,
        variable: impl Fn(&str) -> Option<OsString>,
    ) -> Result<(usize, Vec<String>), FileError> {
        let (_, anchors, warnings) = Polled::open(Bundle::of(file, variable))?;
        Ok((anchors.len(), warnings))
    }

    fn load_named(path: &Path) -> Result<(usize, Vec<String>), String> {
        let loaded = load(Some(path), |_| panic!("a named file is enough"));
        loaded.map_err(|error| error.to_string())
    }

    #[test]
    fn a_named_file_gives_each_certificate_once_and_says_which_cannot_be_used() {
        let site = Site::new("named");
        let [one, two] = certificates();
        let text = format!("{two}{NO_CERTIFICATE}{one}{one}{NO_CERTIFICATE}");
        let path = site.write("ca.pem", &text);
        let (anchors, ignored) = load_named(&path).unwrap();
        assert_eq!(anchors, 2);
        assert_eq!(ignored.len(), 2);
        for (error, number) in ignored.iter().zip([2, 5]) {
            let place = format!(" is ignored: {}: certificate {number}: ", path.display());
            assert!(error.contains(&place), "{error}");
        }
    }

    #[test]
    fn a_named_file_without_a_certificate_is_an_error_with_a_remedy() {
        let site = Site::new("errors");
        let at_most = "#".repeat(MAX_FILE);
        let cases = [
            ("words", "no certificate", "no CERTIFICATE block"),
            ("bad", NO_CERTIFICATE, ": certificate 1: "),
            ("full", &at_most, "no CERTIFICATE block"),
            (
                "large",
                &format!("{at_most}#"),
                "is larger than 16777216 bytes",
            ),
        ];
        for (name, text, words) in cases {
            let path = site.write(name, text);
            let error = load_named(&path).unwrap_err();
            assert!(error.starts_with(&path.display().to_string()), "{error}");
            assert!(error.contains(words) && error.contains("; "), "{error}");
        }
        let error = load_named(&site.0.join("none")).unwrap_err();
        assert!(error.contains("cannot be read: no such file or directory; name"));
        for path in [&site.0, Path::new("/dev/zero")] {
            let error = load_named(path).unwrap_err();
            assert!(error.contains("is not a regular file; name a file"));
        }
    }

    /// Numbers of errno, and whether the file is at fault rather than the host.
    #[test]
    fn the_remedy_fits_the_error() {
        for (number, of_the_file, remedy) in [
            (2, true, "name a file that this user may read"),
            (13, true, "name a file that this user may read"),
            (12, false, "free memory of this host, or "),
            (23, false, "raise fs.file-max of this host"),
            (24, false, "raise the limit on open files"),
        ] {
            let error = io::Error::from_raw_os_error(number);
            let error = FileError::Unreadable("/a".into(), error);
            let said = error.to_string();
            assert!(
                said.starts_with("/a: cannot be read: ") && said.contains(&format!("; {remedy}"))
            );
            assert_eq!(if_readable::<()>(Err(error)).is_ok(), of_the_file, "{said}");
        }
    }

    /// Variables, and how many authorities there are.
    #[test]
    fn the_bundle_of_the_system_is_where_the_variables_say() {
        let site = Site::new("system");
        let [one, two, three] = certificates();
        let file = site.write("file.pem", &format!("{one}{one}{NO_CERTIFICATE}"));
        let dir = site.0.join("dir");
        fs::create_dir(&dir).unwrap();
        fs::create_dir(dir.join("sub")).unwrap();
        site.write("dir/two.pem", &format!("{two}{one}"));
        site.write("dir/three.pem", &three);
        site.write("dir/words", "no certificate");
        let cut = site.write("cut.pem", &one[..100]);
        let none = PathBuf::from("/nonexistent");
        let both = std::env::join_paths([&none, &dir]).unwrap();
        let cases: [(&Path, OsString, Result<usize, &str>); 6] = [
            (&file, none.clone().into(), Ok(1)),
            (&none, dir.clone().into(), Ok(3)),
            (&file, both, Ok(3)),
            (&cut, dir.into(), Ok(3)),
            (
                &none,
                none.clone().into(),
                Err("/nonexistent: cannot be read: "),
            ),
            (&cut, none.clone().into(), Err("cut.pem: ")),
        ];
        for (file, directories, expected) in cases {
            let roots = load(None, |name| match name {
                "SSL_CERT_FILE" => Some(file.into()),
                "SSL_CERT_DIR" => Some(directories.clone()),
                _ => panic!("{name}"),
            });
            match (roots, expected) {
                (Ok((found, _)), Ok(count)) => assert_eq!(found, count, "{file:?}"),
                (Err(error), Err(words)) => {
                    assert!(error.to_string().contains(words), "{error}");
                }
                (found, _) => panic!("{found:?} for {file:?}"),
            }
        }
        let system = |files, directories| {
            let opened = Polled::open(Bundle::System { files, directories });
            opened.map(|(_, anchors, _)| anchors.len())
        };
        let found = system(vec![none.clone(), file.clone(), cut], vec![none]);
        assert_eq!(found.unwrap(), 1, "the first that can be read");
        let error = system(Vec::new(), Vec::new()).unwrap_err().to_string();
        assert!(error.contains("--trusted-ca-file"), "{error}");
    }
}
