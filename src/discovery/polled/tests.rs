//! Every kind of change of every kind of file, poll by poll.

use super::super::endpoints_file::EndpointsFile;
use super::super::member::{Identity, Member};
use super::super::roots::Bundle;
use super::super::tests::files::{Site, certificates};
use super::*;
use crate::x509::{Anchors, pem};
use std::fs;
use std::os::unix::fs::symlink;

/// What is polled in production, with names `a` to `d` for what can be in it.
trait Kind {
    const NAME: &str;
    type Files: PolledFiles;

    fn at(site: &Site) -> Self::Files;

    fn text(names: &str) -> String;

    /// The names of what was found.
    fn show(value: &<Self::Files as PolledFiles>::Value) -> String;

    fn open(site: &Site) -> Polled<Self::Files> {
        let opened = Polled::open(Self::at(site)).map_err(|error| error.to_string());
        opened.unwrap().0
    }

    fn write(site: &Site, names: &str) {
        site.write("f", &Self::text(names));
    }

    /// One poll: `-` for no news, `!` for a bad content, otherwise the names.
    fn poll(polled: &mut Polled<Self::Files>, asked: bool) -> String {
        match polled.poll(asked) {
            None => "-".to_owned(),
            Some(Err(_)) => "!".to_owned(),
            Some(Ok((value, _))) => Self::show(&value),
        }
    }

    fn polls(polled: &mut Polled<Self::Files>, count: usize) -> Vec<String> {
        (0..count).map(|_| Self::poll(polled, false)).collect()
    }
}

/// `--endpoints-file`
struct List;

impl Kind for List {
    const NAME: &str = "list";
    type Files = EndpointsFile;

    fn at(site: &Site) -> EndpointsFile {
        EndpointsFile::new(&site.path("f"), Identity::None)
    }

    fn text(names: &str) -> String {
        names.chars().map(|name| format!("{name}:1\n")).collect()
    }

    fn show(members: &Vec<Member>) -> String {
        let members = members.iter().map(|member| member.at.to_string());
        members.collect::<String>().replace(":1", "")
    }
}

/// `--trusted-ca-file`
struct Named;

impl Kind for Named {
    const NAME: &str = "named";
    type Files = Bundle;

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

    fn show(anchors: &Anchors) -> String {
        let has = |name: &char| {
            let text = Self::text(&name.to_string());
            let der = pem::parse_certificates(text.as_bytes()).unwrap();
            Anchors::from_der(der).unwrap().missing_from(anchors) == 0
        };
        "abcd".chars().filter(has).collect()
    }
}

/// The system's bundle in a directory.
struct OfTheSystem;

impl Kind for OfTheSystem {
    const NAME: &str = "system";
    type Files = Bundle;

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

    fn show(anchors: &Anchors) -> String {
        Named::show(anchors)
    }
}

#[test]
fn every_kind_of_change_is_seen_at_the_second_poll() {
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
            let mut polled = K::open(&site);
            K::polls(&mut polled, settled);
            change(&site);
            assert_eq!(
                K::polls(&mut polled, 3),
                expected,
                "{}: {what} after {settled} polls",
                K::NAME
            );
        }
    }
}

/// Neither the size nor, perhaps, the stamp differs.
#[test]
fn a_write_right_after_the_first_poll_is_seen() {
    let site = Site::new("at-once");
    List::write(&site, "a");
    let mut polled = List::open(&site);
    fs::write(site.path("f"), "b:1\n").unwrap();
    assert_eq!(List::polls(&mut polled, 3), ["-", "b", "-"]);
}

/// Neither leaves a trace in the stamp, on a kernel whose stamps are coarse.
#[test]
fn the_second_of_two_writes_around_a_poll_counts() {
    let site = Site::new("twice");
    List::write(&site, "a");
    for _ in 0..100 {
        let mut polled = List::open(&site);
        let before = polled.stamp;
        fs::write(site.path("f"), "b:1\n").unwrap();
        assert_eq!(List::poll(&mut polled, false), "-");
        fs::write(site.path("f"), "c:1\n").unwrap();
        let is_traceless = stamp(&polled.files) == before;
        assert_eq!(List::polls(&mut polled, 3), ["-", "c", "-"]);
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
    let mut polled = K::open(&site);
    assert_eq!(K::polls(&mut polled, 2), ["-", "-"]);
    symlink("two", site.path("..tmp")).unwrap();
    fs::rename(site.path("..tmp"), site.path("..data")).unwrap();
    fs::remove_dir_all(site.path("one")).unwrap();
    assert_eq!(K::polls(&mut polled, 3), ["-", "b", "-"]);
}

#[test]
fn a_content_that_only_one_poll_finds_is_ignored() {
    let site = Site::new("moment");
    List::write(&site, "ab");
    let mut polled = List::open(&site);
    let moments: [fn(&Site); 3] = [
        |site| fs::remove_file(site.path("f")).unwrap(),
        |site| List::write(site, "a"),
        |site| drop(site.write("f", "")),
    ];
    for moment in moments {
        moment(&site);
        assert_eq!(List::poll(&mut polled, false), "-");
        assert_eq!(polled.interval(&Times::REAL), Times::REAL.file_look_again);
        List::write(&site, "ab");
        assert_eq!(List::polls(&mut polled, 2), ["-", "-"]);
        assert_eq!(polled.interval(&Times::REAL), Times::REAL.file_look);
    }
    // Never twice the same: nothing is accepted.
    for round in 0..5 {
        site.write("f", &format!("a:1\nb:1\nc:{round}"));
        assert_eq!(List::poll(&mut polled, false), "-");
    }
}

#[test]
fn a_request_needs_one_poll_and_reports_bad_files_again() {
    answer_who_asks::<List>();
    answer_who_asks::<Named>();
    answer_who_asks::<OfTheSystem>();
}

fn answer_who_asks<K: Kind>() {
    let site = Site::new(&format!("asked-{}", K::NAME));
    K::write(&site, "a");
    let mut polled = K::open(&site);
    assert_eq!(K::poll(&mut polled, true), "-", "nothing is new");
    K::write(&site, "b");
    assert_eq!(K::poll(&mut polled, true), "b");
    site.write("f", "b");
    assert_eq!(K::poll(&mut polled, true), "!");
    assert!(polled.error().is_some());
    assert_eq!(K::polls(&mut polled, 3), ["-", "-", "-"], "once a change");
    assert_eq!(K::poll(&mut polled, true), "!", "still bad");
    K::write(&site, "b");
    assert_eq!(K::polls(&mut polled, 2), ["-", "b"], "good again");
    assert_eq!(polled.error(), None);
    assert_eq!(K::poll(&mut polled, true), "-");
}

#[test]
fn files_are_not_used_until_there_is_memory() {
    lack_memory::<List>();
    lack_memory::<Named>();
    lack_memory::<OfTheSystem>();
}

fn lack_memory<K: Kind>() {
    let site = Site::new(&format!("memory-{}", K::NAME));
    K::write(&site, "a");
    let mut polled = K::open(&site);
    K::write(&site, "ab");
    let refused = memory::tests::refuse();
    assert_eq!(K::poll(&mut polled, true), "!");
    let error = polled.error().unwrap();
    let remedy = ": cannot allocate memory; free memory of this host";
    assert!(error.contains(remedy), "{error}");
    drop(refused);
    assert_eq!(K::polls(&mut polled, 3), ["-", "ab", "-"]);
}

/// Files that count how often they are read.
#[derive(Debug)]
struct Counted(EndpointsFile, std::cell::Cell<usize>);

impl PolledFiles for Counted {
    type Value = Vec<Member>;

    fn paths(&self) -> Vec<PathBuf> {
        self.0.paths()
    }

    fn read(&self) -> Result<Contents, FileError> {
        self.1.set(self.1.get() + 1);
        self.0.read()
    }

    fn memory_for(&self, contents: &Contents) -> usize {
        self.0.memory_for(contents)
    }

    fn parse(&self, contents: Contents) -> Parsed<Vec<Member>> {
        self.0.parse(contents)
    }
}

#[test]
fn unchanged_files_are_not_read_again_unless_requested() {
    let site = Site::new("counted");
    let large = "#".repeat(2 * 1024 * 1024);
    List::write(&site, "a");
    let files = Counted(List::at(&site), std::cell::Cell::default());
    let (mut polled, _, _) = Polled::open(files).unwrap();
    let mut reads = |asked: bool| {
        let before = polled.files.1.get();
        for _ in 0..5 {
            let _ = polled.poll(asked);
        }
        polled.files.1.get() - before
    };
    assert_eq!(reads(false), 1, "the second poll in a row");
    assert_eq!(reads(false), 0);
    assert_eq!(reads(true), 5);
    // Good or bad; but errors of the host may end without a change of the stamp.
    for (text, expected) in [("b:1", 2), ("bad", 2), (large.as_str(), 2)] {
        site.write("f", text);
        assert_eq!(reads(false), expected, "{} octets", text.len());
    }
    fs::remove_file(site.path("f")).unwrap();
    assert_eq!(reads(false), 5);
}
