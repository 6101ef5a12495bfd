//! Files that are followed on disk, whatever they hold.
//!
//! They are looked at again and again, not watched: that needs no system call besides those that
//! read them, and works the same on every file system. A file may be written in place, replaced, or
//! be behind a link that is swapped, as in a ConfigMap or a Secret of Kubernetes, and it may be away for a
//! moment. So a new content, or that there is none, counts only once two looks in a row have
//! found it: the first may have come between the two halves of a write. When asked to look
//! (SIGHUP, or no endpoint is active any more), one look is enough.
//!
//! What is read is not trusted, and what was read is not kept: its digest tells whether it has changed. A
//! content that is refused is told once, and nothing changes by it. The owner keeps the last good value.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::time::Duration;

use crate::crypto::sha2::{self, Digest};
use crate::stamp::Stamp;
use crate::times::Times;

/// The octets of files, in their order.
pub(crate) type Contents = Vec<Vec<u8>>;

/// What can be followed.
pub(crate) trait PolledFiles: fmt::Debug {
    /// What its content means.
    type Value;
    type Error: fmt::Display;

    /// All files whose change may be one of the content.
    fn files(&self) -> Vec<PathBuf>;

    /// The content.
    ///
    /// # Errors
    /// If it cannot be had.
    fn read(&self) -> Result<Contents, Self::Error>;

    /// Whether what a read failed of may be over without a trace in any stamp.
    fn is_transient(error: &Self::Error) -> bool;

    /// What a content means.
    ///
    /// # Errors
    /// If it is refused.
    fn parse(&self, texts: Contents) -> Result<Self::Value, Self::Error>;
}

/// What one look found: the digest of a content, or why there is none.
type Seen = Result<Digest, String>;

/// What is followed.
#[derive(Debug)]
pub(crate) struct Polled<P> {
    place: P,
    /// What the last look found, and the stamp of all files from before it.
    stamp: u64,
    seen: Seen,
    /// Two looks in a row found the same, so that a change of the content must show in the
    /// stamp: after the first of them, a write may have come too soon to change it.
    settled: bool,
    /// The content that counts, good or bad.
    taken: Seen,
    /// Why, if it was bad.
    refused: Option<String>,
}

impl<P: PolledFiles> Polled<P> {
    /// Reads it for the first time.
    ///
    /// # Errors
    /// If it cannot be read, or is refused.
    pub(crate) fn open(place: P) -> Result<(Self, P::Value), P::Error> {
        let stamp = stamp(&place);
        let texts = place.read()?;
        let seen = Ok(digest(&texts));
        let value = place.parse(texts)?;
        let followed = Self {
            place,
            stamp,
            seen: seen.clone(),
            settled: false,
            taken: seen,
            refused: None,
        };
        Ok((followed, value))
    }

    pub(crate) fn place(&self) -> &P {
        &self.place
    }

    /// Why what is there now is not used.
    pub(super) fn refused(&self) -> Option<&str> {
        self.refused.as_deref()
    }

    /// When the next look is due, from the last on.
    pub(super) fn pause(&self, times: &Times) -> Duration {
        if self.seen == self.taken {
            times.file_look
        } else {
            times.file_look_again
        }
    }

    /// Looks: what is there if that is news. Whoever has `asked` is told of what is still bad
    /// once more.
    pub(super) fn look(&mut self, asked: bool) -> Option<Result<P::Value, P::Error>> {
        // Before the content: a write in between shows at the next look.
        let stamp = stamp(&self.place);
        let same_stamp = stamp == self.stamp;
        // What is settled has been taken, or there is nothing to take.
        if !asked && self.settled && same_stamp {
            return None;
        }
        let content = self.place.read();
        let seen = match &content {
            Ok(texts) => Ok(digest(texts)),
            Err(error) => Err(error.to_string()),
        };
        let same = seen == self.seen;
        let is_transient = content.as_ref().is_err_and(P::is_transient);
        self.settled = same && same_stamp && !is_transient;
        self.stamp = stamp;
        self.seen = seen;
        if !asked && !same {
            return None;
        }
        if self.seen == self.taken && !(asked && self.refused.is_some()) {
            return None;
        }
        self.taken = self.seen.clone();
        let news = content.and_then(|texts| self.place.parse(texts));
        self.refused = news.as_ref().err().map(ToString::to_string);
        Some(news)
    }
}

/// The stamps of all files in one number. A hash that can be forged is enough: the files are the operator's.
fn stamp(place: &impl PolledFiles) -> u64 {
    let mut hasher = DefaultHasher::new();
    for path in place.files() {
        Stamp::of(&path).unwrap_or(None).hash(&mut hasher);
        path.hash(&mut hasher);
    }
    hasher.finish()
}

fn digest(texts: &Contents) -> Digest {
    let mut hasher = sha2::Hasher::new(sha2::Hash::Sha256);
    for text in texts {
        hasher.update(&text.len().to_be_bytes());
        hasher.update(text);
    }
    hasher.finish()
}

#[cfg(test)]
pub(in crate::discovery) mod tests {
    use super::super::file::EndpointsFile;
    use super::super::listing::Listing;
    use super::super::roots::tests::certificates;
    use super::super::roots::{Bundle, Roots};
    use super::*;
    use crate::sys::memory;
    use crate::x509::{Anchors, pem};
    use std::fs;
    use std::os::unix::fs::symlink;

    /// A directory that lives as long as the value.
    pub(in crate::discovery) struct Site(pub(in crate::discovery) PathBuf);

    impl Site {
        pub(in crate::discovery) fn new(name: &str) -> Self {
            let dir = format!("etcd-gateway-follow-{}-{name}", std::process::id());
            let dir = std::env::temp_dir().join(dir);
            fs::create_dir(&dir).unwrap();
            Self(dir)
        }

        pub(in crate::discovery) fn path(&self, name: &str) -> PathBuf {
            self.0.join(name)
        }

        /// Writes as after a while: the stamp is another one.
        pub(in crate::discovery) fn write(&self, name: &str, text: &str) -> PathBuf {
            let path = self.path(name);
            let before = Stamp::of(&path).unwrap();
            fs::write(&path, text).unwrap();
            while Stamp::of(&path).unwrap() == before {
                fs::write(&path, text).unwrap();
            }
            path
        }
    }

    impl Drop for Site {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    /// What is followed in production, with names `a` to `d` for what can be in it.
    trait Kind {
        const NAME: &str;
        type PolledFiles: PolledFiles;

        fn at(site: &Site) -> Self::PolledFiles;

        fn text(names: &str) -> String;

        /// The names of what was found.
        fn show(value: &<Self::PolledFiles as PolledFiles>::Value) -> String;

        fn open(site: &Site) -> Polled<Self::PolledFiles> {
            let opened = Polled::open(Self::at(site)).map_err(|error| error.to_string());
            opened.unwrap().0
        }

        fn write(site: &Site, names: &str) {
            site.write("f", &Self::text(names));
        }

        /// One look: `-` for no news, `!` for a bad content, otherwise the names.
        fn look(followed: &mut Polled<Self::PolledFiles>, asked: bool) -> String {
            match followed.look(asked) {
                None => "-".to_owned(),
                Some(Err(_)) => "!".to_owned(),
                Some(Ok(value)) => Self::show(&value),
            }
        }

        fn looks(followed: &mut Polled<Self::PolledFiles>, count: usize) -> Vec<String> {
            (0..count).map(|_| Self::look(followed, false)).collect()
        }
    }

    /// `--endpoints-file`
    struct List;

    impl Kind for List {
        const NAME: &str = "list";
        type PolledFiles = EndpointsFile;

        fn at(site: &Site) -> EndpointsFile {
            EndpointsFile::new(&site.path("f"))
        }

        fn text(names: &str) -> String {
            names.chars().map(|name| format!("{name}:1\n")).collect()
        }

        fn show(listing: &Listing) -> String {
            let members = listing.members.iter().map(|member| member.at.to_string());
            members.collect::<String>().replace(":1", "")
        }
    }

    /// `--trusted-ca-file`
    struct Named;

    impl Kind for Named {
        const NAME: &str = "named";
        type PolledFiles = Bundle;

        fn at(site: &Site) -> Bundle {
            Bundle::of(Some(&site.path("f")), |_| None)
        }

        fn text(names: &str) -> String {
            let [a, b, c, d] = certificates();
            let block = |name| match name {
                'a' => a.as_str(),
                'b' => &b,
                'c' => &c,
                _ => &d,
            };
            names.chars().map(block).collect()
        }

        fn show(roots: &Roots) -> String {
            let has = |name: &char| {
                let text = Self::text(&name.to_string());
                let der = pem::parse_certificates(text.as_bytes()).unwrap();
                Anchors::from_der(der).unwrap().missing_from(&roots.anchors) == 0
            };
            "abcd".chars().filter(has).collect()
        }
    }

    /// The system's bundle in a directory.
    struct OfTheSystem;

    impl Kind for OfTheSystem {
        const NAME: &str = "system";
        type PolledFiles = Bundle;

        fn at(site: &Site) -> Bundle {
            let directory = site.0.clone();
            Bundle::of(None, |name| match name {
                "SSL_CERT_FILE" => Some("/nonexistent".into()),
                _ => Some(directory.clone().into()),
            })
        }

        fn text(names: &str) -> String {
            Named::text(names)
        }

        fn show(roots: &Roots) -> String {
            Named::show(roots)
        }
    }

    #[test]
    fn every_kind_of_change_is_seen_at_the_second_look() {
        see_every_kind_of_change::<List>();
        see_every_kind_of_change::<Named>();
        see_every_kind_of_change::<OfTheSystem>();
    }

    fn see_every_kind_of_change<K: Kind>() {
        type Change = (&'static str, fn(&Site), &'static [&'static str]);
        let cases: [Change; 8] = [
            ("nothing", |_| {}, &["-", "-", "-"]),
            (
                "in place",
                |site| drop(site.write("f", &(K::text("c") + "# longer\n"))),
                &["-", "c", "-"],
            ),
            (
                "replaced",
                |site| {
                    let new = site.path("new");
                    fs::write(&new, K::text("cd")).unwrap();
                    fs::rename(new, site.path("f")).unwrap();
                },
                &["-", "cd", "-"],
            ),
            ("touched", |site| K::write(site, "a"), &["-", "-", "-"]),
            ("bad", |site| drop(site.write("f", "bad")), &["-", "!", "-"]),
            ("empty", |site| drop(site.write("f", "")), &["-", "!", "-"]),
            (
                "gone",
                |site| fs::remove_file(site.path("f")).unwrap(),
                &["-", "!", "-"],
            ),
            (
                "a directory",
                |site| {
                    fs::remove_file(site.path("f")).unwrap();
                    fs::create_dir(site.path("f")).unwrap();
                },
                &["-", "!", "-"],
            ),
        ];
        for settled in [0, 1, 5] {
            for (what, change, expected) in cases {
                let name = what.replace(' ', "-");
                let site = Site::new(&format!("{}-{name}-{settled}", K::NAME));
                K::write(&site, "a");
                let mut followed = K::open(&site);
                K::looks(&mut followed, settled);
                change(&site);
                assert_eq!(
                    K::looks(&mut followed, 3),
                    expected,
                    "{}: {what} after {settled} looks",
                    K::NAME
                );
            }
        }
    }

    /// Neither the size nor, perhaps, the stamp differs.
    #[test]
    fn a_write_right_after_the_first_look_is_seen() {
        let site = Site::new("at-once");
        List::write(&site, "a");
        let mut followed = List::open(&site);
        fs::write(site.path("f"), "b:1\n").unwrap();
        assert_eq!(List::looks(&mut followed, 3), ["-", "b", "-"]);
    }

    /// Neither leaves a trace in the stamp, on a kernel whose stamps are coarse.
    #[test]
    fn of_two_writes_around_a_look_the_second_counts() {
        let site = Site::new("twice");
        List::write(&site, "a");
        for _ in 0..100 {
            let mut followed = List::open(&site);
            let before = followed.stamp;
            fs::write(site.path("f"), "b:1\n").unwrap();
            assert_eq!(List::look(&mut followed, false), "-");
            fs::write(site.path("f"), "c:1\n").unwrap();
            let is_traceless = stamp(&followed.place) == before;
            assert_eq!(List::looks(&mut followed, 3), ["-", "c", "-"]);
            if is_traceless {
                break;
            }
            List::write(&site, "a");
        }
    }

    /// As the kubelet does it: the file is behind a link to a directory, and that link is swapped.
    #[test]
    fn a_swapped_link_is_a_change() {
        see_a_swapped_link::<List>();
        see_a_swapped_link::<Named>();
        see_a_swapped_link::<OfTheSystem>();
    }

    fn see_a_swapped_link<K: Kind>() {
        let site = Site::new(&format!("swap-{}", K::NAME));
        for (dir, names) in [("one", "a"), ("two", "b")] {
            fs::create_dir(site.path(dir)).unwrap();
            site.write(&format!("{dir}/f"), &K::text(names));
        }
        symlink("one", site.path("..data")).unwrap();
        symlink("..data/f", site.path("f")).unwrap();
        let mut followed = K::open(&site);
        assert_eq!(K::looks(&mut followed, 2), ["-", "-"]);
        symlink("two", site.path("..tmp")).unwrap();
        fs::rename(site.path("..tmp"), site.path("..data")).unwrap();
        fs::remove_dir_all(site.path("one")).unwrap();
        assert_eq!(K::looks(&mut followed, 3), ["-", "b", "-"]);
    }

    #[test]
    fn what_lasts_for_one_look_only_never_was() {
        let site = Site::new("moment");
        List::write(&site, "ab");
        let mut followed = List::open(&site);
        let moments: [fn(&Site); 3] = [
            |site| fs::remove_file(site.path("f")).unwrap(),
            |site| List::write(site, "a"),
            |site| drop(site.write("f", "")),
        ];
        for moment in moments {
            moment(&site);
            assert_eq!(List::look(&mut followed, false), "-");
            assert_eq!(followed.pause(&Times::REAL), Times::REAL.file_look_again);
            List::write(&site, "ab");
            assert_eq!(List::looks(&mut followed, 2), ["-", "-"]);
            assert_eq!(followed.pause(&Times::REAL), Times::REAL.file_look);
        }
        // Never twice the same: nothing is taken, nothing is logged.
        for round in 0..5 {
            site.write("f", &format!("a:1\nb:1\nc:{round}"));
            assert_eq!(List::look(&mut followed, false), "-");
        }
    }

    #[test]
    fn who_asks_waits_for_no_second_look_and_is_told_again() {
        answer_who_asks::<List>();
        answer_who_asks::<Named>();
        answer_who_asks::<OfTheSystem>();
    }

    fn answer_who_asks<K: Kind>() {
        let site = Site::new(&format!("asked-{}", K::NAME));
        K::write(&site, "a");
        let mut followed = K::open(&site);
        assert_eq!(K::look(&mut followed, true), "-", "nothing is new");
        K::write(&site, "b");
        assert_eq!(K::look(&mut followed, true), "b");
        site.write("f", "b");
        assert_eq!(K::look(&mut followed, true), "!");
        assert!(followed.refused().is_some());
        assert_eq!(K::looks(&mut followed, 3), ["-", "-", "-"], "once a change");
        assert_eq!(K::look(&mut followed, true), "!", "still bad");
        K::write(&site, "b");
        assert_eq!(K::looks(&mut followed, 2), ["-", "b"], "good again");
        assert_eq!(followed.refused(), None);
        assert_eq!(K::look(&mut followed, true), "-");
    }

    #[test]
    fn what_there_is_no_memory_for_changes_nothing_until_there_is() {
        lack_memory::<List>();
        lack_memory::<Named>();
        lack_memory::<OfTheSystem>();
    }

    fn lack_memory<K: Kind>() {
        let site = Site::new(&format!("memory-{}", K::NAME));
        K::write(&site, "a");
        let mut followed = K::open(&site);
        K::write(&site, "ab");
        let refused = memory::tests::refuse();
        assert_eq!(K::look(&mut followed, true), "!");
        let error = followed.refused().unwrap();
        let remedy = ": cannot allocate memory; free memory of this host";
        assert!(error.contains(remedy), "{error}");
        drop(refused);
        assert_eq!(K::looks(&mut followed, 3), ["-", "ab", "-"]);
    }

    /// A place that counts how often it is read.
    #[derive(Debug)]
    struct Counted(EndpointsFile, std::cell::Cell<usize>);

    impl PolledFiles for Counted {
        type Value = Listing;
        type Error = <EndpointsFile as PolledFiles>::Error;

        fn files(&self) -> Vec<PathBuf> {
            self.0.files()
        }

        fn read(&self) -> Result<Contents, Self::Error> {
            self.1.set(self.1.get() + 1);
            self.0.read()
        }

        fn is_transient(error: &Self::Error) -> bool {
            EndpointsFile::is_transient(error)
        }

        fn parse(&self, texts: Contents) -> Result<Listing, Self::Error> {
            self.0.parse(texts)
        }
    }

    #[test]
    fn what_has_settled_is_not_read_again_until_it_changes_or_somebody_asks() {
        let site = Site::new("counted");
        let large = "#".repeat(2 * 1024 * 1024);
        List::write(&site, "a");
        let place = Counted(List::at(&site), std::cell::Cell::default());
        let (mut followed, _) = Polled::open(place).unwrap();
        let mut reads = |asked: bool| {
            let before = followed.place.1.get();
            for _ in 0..5 {
                let _ = followed.look(asked);
            }
            followed.place.1.get() - before
        };
        assert_eq!(reads(false), 1, "the second look in a row");
        assert_eq!(reads(false), 0);
        assert_eq!(reads(true), 5);
        // Good or bad, but for what no stamp may tell the end of.
        for (text, expected) in [("b:1", 2), ("bad", 2), (large.as_str(), 2)] {
            site.write("f", text);
            assert_eq!(reads(false), expected, "{} octets", text.len());
        }
        fs::remove_file(site.path("f")).unwrap();
        assert_eq!(reads(false), 5);
    }
}
