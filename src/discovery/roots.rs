//! Where the authorities are that members are authenticated by: `--trusted-ca-file`, or without it
//! the bundle of the system, found as Go's crypto/x509 finds it on Linux; what it is to `follow`, and what
//! is wrong with it in words.
//!
//! A certificate that cannot be used (bundles of public authorities have had some) is passed
//! over, as Go does; in a file that the operator named it is reported. A file that is no bundle, or
//! has nothing that can be used, is an error.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::polled::{Contents, PolledFiles};
use crate::stamp;
use crate::sys::{Plain, memory, shortage};
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

/// What to do about a file that is something else.
const REMEDY: &str = "name a file with the certificates of the members' authority, in PEM";

/// Why there are no authorities.
#[derive(Debug)]
pub(crate) enum Error {
    /// The file cannot be read.
    Read(PathBuf, io::Error),
    /// A directory, a pipe, a device.
    NotAFile(PathBuf),
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
                    "{}: cannot read: {}; {}",
                    path.display(),
                    Plain(error),
                    shortage(error).unwrap_or("name a file that this user may read")
                )
            }
            Self::NotAFile(path) => {
                write!(f, "{}: is not a regular file; {REMEDY}", path.display())
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
            Self::NotAFile(_) | Self::TooLarge(_) | Self::Empty(_) | Self::NoSystemBundle => None,
        }
    }
}

/// The authorities, and which certificates of a named file are not among them.
#[derive(Debug)]
pub(crate) struct Roots {
    pub(crate) anchors: Anchors,
    pub(crate) passed_over: Vec<Error>,
}

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
    type Value = Roots;
    type Error = Error;

    fn files(&self) -> Vec<PathBuf> {
        match self {
            Self::Named(path) => vec![path.clone()],
            Self::System { files, directories } => {
                let entries = directories.iter().flat_map(|directory| entries(directory));
                files.iter().cloned().chain(entries.flatten()).collect()
            }
        }
    }

    fn read(&self) -> Result<Contents, Error> {
        let texts = match self {
            Self::Named(path) => vec![read(path)?],
            Self::System { files, directories } => system(files, directories)?,
        };
        let size: usize = texts.iter().map(Vec::len).sum();
        memory::room(size.saturating_mul(PARSED)).map_err(|error| {
            let path = self.files().into_iter().next();
            Error::Read(path.unwrap_or_default(), error)
        })?;
        Ok(texts)
    }

    fn is_transient(error: &Error) -> bool {
        matches!(error, Error::Read(..))
    }

    fn parse(&self, texts: Contents) -> Result<Roots, Error> {
        match self {
            Self::Named(path) => named(path, texts.first().map(Vec::as_slice).unwrap_or_default()),
            Self::System { files, .. } => match (all(&texts), files.as_slice()) {
                // Whoever has set the variable is told why it is of no use.
                (Err(Error::NoSystemBundle), [file]) => named(file, &read(file)?),
                (found, _) => found,
            },
        }
    }
}

fn named(path: &Path, text: &[u8]) -> Result<Roots, Error> {
    let certificates =
        pem::parse_certificates(text).map_err(|error| Error::Pem(path.into(), error))?;
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

/// The usable certificates of the system's files, each once.
fn all(texts: &Contents) -> Result<Roots, Error> {
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

/// What there is, if anything. That the host has run out of something says nothing of a file.
fn unless_short<T>(found: Result<T, Error>) -> Result<Option<T>, Error> {
    match found {
        Err(Error::Read(path, error)) if shortage(&error).is_some() => {
            Err(Error::Read(path, error))
        }
        found => Ok(found.ok()),
    }
}

/// The first of the files that can be read, and all files of the directories.
fn system(files: &[PathBuf], directories: &[PathBuf]) -> Result<Contents, Error> {
    let mut texts = Vec::new();
    for file in files {
        if let Some(text) = unless_short(read(file))? {
            texts.push(text);
            break;
        }
    }
    for directory in directories {
        for entry in unless_short(entries(directory))?.into_iter().flatten() {
            texts.extend(unless_short(read(&entry))?);
        }
    }
    Ok(texts)
}

/// What a directory has in it, always in the same order.
fn entries(directory: &Path) -> Result<Vec<PathBuf>, Error> {
    let entries = std::fs::read_dir(directory);
    let entries = entries.map_err(|error| Error::Read(directory.into(), error))?;
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort_unstable();
    Ok(paths)
}

/// All of a file, if it is no longer than a bundle may be.
fn read(path: &Path) -> Result<Vec<u8>, Error> {
    let text = stamp::read(path, MAX_FILE + 1).map_err(|error| Error::Read(path.into(), error))?;
    let text = text.ok_or(Error::NotAFile(path.into()))?;
    if text.len() > MAX_FILE {
        return Err(Error::TooLarge(path.into()));
    }
    Ok(text)
}

#[cfg(test)]
pub(in crate::discovery) mod tests {
    use super::super::polled::Polled;
    use super::super::polled::tests::Site;
    use super::*;
    use std::fs;

    /// Well-formed PEM around what is not a certificate.
    const NO_CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";

    /// The first certificates of the test data, in PEM.
    pub(in crate::discovery) fn certificates<const COUNT: usize>() -> [String; COUNT] {
        let all = include_str!("../../tests/data/x509.pem");
        let end = "-----END CERTIFICATE-----\n";
        let mut blocks = all.split_inclusive(end).map(|block| {
            let (_, block) = block.split_once("-----BEGIN").unwrap();
            format!("-----BEGIN{block}")
        });
        std::array::from_fn(|_| blocks.next().unwrap())
    }

    fn load(
        file: Option<&Path>,
        variable: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Roots, Error> {
        Polled::open(Bundle::of(file, variable)).map(|(_, roots)| roots)
    }

    fn load_named(path: &Path) -> Result<(usize, Vec<String>), String> {
        let roots = load(Some(path), |_| panic!("a named file is enough"));
        let roots = roots.map_err(|error| error.to_string())?;
        let passed_over = roots.passed_over.iter().map(ToString::to_string);
        Ok((roots.anchors.len(), passed_over.collect()))
    }

    #[test]
    fn a_named_file_gives_each_certificate_once_and_says_which_cannot_be_used() {
        let site = Site::new("named");
        let [one, two] = certificates();
        let text = format!("{two}{NO_CERTIFICATE}{one}{one}{NO_CERTIFICATE}");
        let path = site.write("ca.pem", &text);
        let (anchors, passed_over) = load_named(&path).unwrap();
        assert_eq!(anchors, 2);
        assert_eq!(passed_over.len(), 2);
        for (error, number) in passed_over.iter().zip([2, 5]) {
            let place = format!("{}: certificate {number}: ", path.display());
            assert!(error.starts_with(&place), "{error}");
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
            ("large", &format!("{at_most}#"), "larger than any bundle"),
        ];
        for (name, text, words) in cases {
            let path = site.write(name, text);
            let error = load_named(&path).unwrap_err();
            assert!(error.starts_with(&path.display().to_string()), "{error}");
            assert!(error.contains(words) && error.contains("; "), "{error}");
        }
        let error = load_named(&site.0.join("none")).unwrap_err();
        assert!(error.contains("cannot read: no such file or directory; name"));
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
            let error = Error::Read("/a".into(), io::Error::from_raw_os_error(number));
            let said = error.to_string();
            assert!(said.starts_with("/a: cannot read: ") && said.contains(&format!("; {remedy}")));
            assert_eq!(
                unless_short::<()>(Err(error)).is_ok(),
                of_the_file,
                "{said}"
            );
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
                Err("/nonexistent: cannot read: "),
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
                (Ok(roots), Ok(count)) => assert_eq!(roots.anchors.len(), count, "{file:?}"),
                (Err(error), Err(words)) => {
                    assert!(error.to_string().contains(words), "{error}");
                }
                (found, _) => panic!("{found:?} for {file:?}"),
            }
        }
        let found = system(&[none.clone(), file.clone(), cut], &[none]).unwrap();
        let found = all(&found).unwrap();
        assert_eq!(found.anchors.len(), 1, "the first that can be read");
        let error = all(&system(&[], &[]).unwrap()).unwrap_err().to_string();
        assert!(error.contains("--trusted-ca-file"), "{error}");
    }
}
