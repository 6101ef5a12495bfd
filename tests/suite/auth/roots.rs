//! The authorities that members are authenticated by: the file that is named, or the bundle of the system.

use std::net::SocketAddr;

use crate::support::front::{Face, Front, TlsServer};
use crate::support::gateway::Outcome;
use crate::support::pki::{Certified, Pki, Request};
use crate::support::process::tool_text;
use crate::support::{Launch, TempDir};

/// Well-formed PEM around what is not a certificate.
const NO_CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";

/// An authority and a member that it has certified for 127.0.0.1.
struct Setting {
    _dir: TempDir,
    pki: Pki,
    root: Certified,
    member: Front,
}

fn set() -> Option<Setting> {
    let dir = TempDir::new();
    let pki = Pki::below(dir.path())?;
    let root = pki.root("true CA");
    let shown = pki.issue(&root, &Request::server("IP:127.0.0.1"));
    let member = Front::anywhere(1, Face::Tls(TlsServer::start(&pki, &shown, &[])));
    Some(Setting {
        _dir: dir,
        pki,
        root,
        member,
    })
}

impl Setting {
    fn launch(&self, command: &str, flags: &[&str]) -> Launch {
        launch(self.member.address(), command, flags)
    }

    fn check(&self, flags: &[&str]) -> Outcome {
        self.launch("check", flags).run()
    }
}

fn launch(member: SocketAddr, command: &str, flags: &[&str]) -> Launch {
    let endpoints = format!("--endpoints={member}");
    let all = [command, "--verify-endpoints", &endpoints];
    Launch::exactly(&[&all[..], flags].concat())
}

/// Bundles as they are found: several roots, in any order, with text between them, from other systems.
#[test]
fn bundles_with_several_roots_comments_and_crlf() {
    let Some(setting) = set() else { return };
    let pki = &setting.pki;
    let other = pki.root("another CA");
    let (ours, other) = (setting.root.pem(), other.pem());
    let commented = format!(
        "# Authorities of the cluster\nSubject: O=suite\n{other}\n\n=== the true one ===\n{ours}trailing words\n"
    );
    let cases = [
        ("alone", ours.clone()),
        ("last of several", format!("{other}{other}{ours}")),
        ("first of several", format!("{ours}{other}")),
        ("with comments", commented.clone()),
        ("with CRLF", commented.replace('\n', "\r\n")),
        ("without a final line end", ours.trim_end().to_owned()),
        (
            "indented by an editor",
            ours.replace("-----END", "\n-----END"),
        ),
    ];
    for (what, text) in cases {
        let file = pki.file("bundle.pem", &text);
        let outcome = setting.check(&["--trusted-ca-file", &file]);
        assert_eq!(outcome.code, Some(0), "{what}: {outcome:?}");
    }
    let file = pki.file("bundle.pem", &other);
    let outcome = setting.check(&["--trusted-ca-file", &file]);
    assert_eq!(outcome.code, Some(1), "the other alone: {outcome:?}");
    // As a file is after a hundred times `cat ca.pem >>bundle.pem`.
    let old = pki.root("true CA").pem().repeat(100);
    let file = pki.file("bundle.pem", &format!("{old}{ours}"));
    let outcome = setting.check(&["--trusted-ca-file", &file]);
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    let file = pki.file("bundle.pem", &old);
    let outcome = setting.check(&["--trusted-ca-file", &file]);
    assert_eq!(outcome.code, Some(1), "{outcome:?}");
    let reason = "another CA of that name";
    assert!(outcome.stdout.contains(reason), "{outcome:?}");
}

/// A file that is not a bundle is an error at once, in one line that says where; `check` says the same.
#[test]
fn unusable_file_ends_the_start() {
    let Some(setting) = set() else { return };
    let pki = &setting.pki;
    let ours = setting.root.pem();
    let key = std::fs::read_to_string(&setting.root.key).expect("read a key");
    let body = ours.lines().nth(1).expect("a line of base64");
    let lines = ours.lines().count();
    let second = |text: &str| format!("{ours}{text}");
    let cases: Vec<(&str, String, Vec<String>)> = vec![
        ("empty", String::new(), vec!["no CERTIFICATE block".into()]),
        (
            "words",
            "no certificate here\n".into(),
            vec!["no CERTIFICATE block".into()],
        ),
        ("a key", key, vec!["no CERTIFICATE block".into()]),
        (
            "not base64 in line 2",
            ours.replacen(body, "!!!!", 1),
            vec!["line 2: not base64".into()],
        ),
        (
            "not base64 in the second block",
            second(&ours.replacen(body, "!!!!", 1)),
            vec![format!("line {}: not base64", lines + 2)],
        ),
        (
            "cut off",
            ours.replace("-----END CERTIFICATE-----\n", ""),
            vec![format!("line {lines}: the text ends before the END line")],
        ),
        (
            "a block that holds no certificate",
            NO_CERTIFICATE.to_owned(),
            vec!["certificate 1".into()],
        ),
    ];
    for (what, text, words) in cases {
        let file = pki.file("bad.pem", &text);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        expect_unusable(&setting, &file, what, &words);
    }
    let missing = pki.dir().join("missing.pem");
    let missing = missing.to_str().expect("a temporary path in UTF-8");
    expect_unusable(&setting, missing, "missing", &["o such file"]);
    let dir = pki.dir().to_str().expect("a temporary path in UTF-8");
    // Nobody ever writes to it.
    let pipe = pki.dir().join("a.pipe");
    let pipe = pipe.to_str().expect("a temporary path in UTF-8");
    tool_text("mkfifo", &[pipe]);
    for (what, path) in [
        ("a directory", dir),
        ("a pipe", pipe),
        ("a device", "/dev/zero"),
    ] {
        expect_unusable(&setting, path, what, &["is not a regular file"]);
    }
    assert_eq!(setting.member.visits().len(), 0, "nobody was asked");
}

#[track_caller]
fn expect_unusable(setting: &Setting, file: &str, what: &str, words: &[&str]) {
    for command in ["start", "check"] {
        let flags = ["--listen-addr=127.0.0.1:0", "--trusted-ca-file", file];
        let outcome = setting.launch(command, &flags).run();
        let case = format!("{what}, {command}: {outcome:?}");
        assert_eq!(outcome.code, Some(1), "{case}");
        assert_eq!(outcome.stderr.lines().count(), 1, "{case}");
        for word in [&["--trusted-ca-file", file], words].concat() {
            assert!(
                outcome.stderr.contains(word),
                "{word:?} is missing in {case}"
            );
        }
        let remedies = ["; name a file ", "; replace it"];
        let told = remedies
            .iter()
            .any(|remedy| outcome.stderr.contains(remedy));
        assert!(told, "no remedy in {case}");
    }
}

/// One certificate that this program cannot use does not make the others useless; it is named.
#[test]
fn unusable_certificate_of_a_bundle_is_named() {
    let Some(setting) = set() else { return };
    let text = format!("{}{NO_CERTIFICATE}", setting.root.pem());
    let file = setting.pki.file("mixed.pem", &text);
    let flags = ["--listen-addr=127.0.0.1:0", "--trusted-ca-file", &file];
    let gateway = setting.launch("start", &flags).start();
    let line = gateway.wait_line("certificate of an authority is ignored");
    let outcome = setting.check(&["--trusted-ca-file", &file]);
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    for text in [line, outcome.stdout] {
        let named = text.contains(&file) && text.contains("certificate 2");
        assert!(named, "{text}");
    }
}

/// Without a file it is the system's bundle, which Go's variables may replace; one that is set but empty is not set.
#[test]
fn bundle_of_the_system() {
    let Some(setting) = set() else { return };
    let pki = &setting.pki;
    let sub = |name: &str| {
        let path = pki.dir().join(name);
        std::fs::create_dir(&path).expect("create a directory");
        path.to_str().expect("a temporary path in UTF-8").to_owned()
    };
    let (none, with) = (sub("none"), sub("with"));
    pki.file("with/ours.pem", &setting.root.pem());
    // Nobody ever writes to it.
    let pipe = std::process::Command::new("mkfifo")
        .arg(format!("{with}/a.pipe"))
        .status();
    assert!(pipe.is_ok_and(|status| status.success()), "mkfifo");
    let other = pki.root("another CA");
    // What cannot be used is passed over: every system's bundle has some of it.
    let mixed = format!("{NO_CERTIFICATE}{}", setting.root.pem());
    let mixed = pki.file("mixed.pem", &mixed);
    let both = format!("{none}:{with}");
    let cut = pki.file(
        "cut.pem",
        setting
            .root
            .pem()
            .split("-----END")
            .next()
            .unwrap_or_default(),
    );
    let cases: &[(&str, &str, &str, i32)] = &[
        ("by SSL_CERT_FILE", &setting.root.certificate, &none, 0),
        ("not in SSL_CERT_FILE", &other.certificate, &none, 1),
        ("by SSL_CERT_DIR", &other.certificate, &with, 0),
        (
            "by the second of SSL_CERT_DIR",
            &other.certificate,
            &both,
            0,
        ),
        ("among unusable ones", &mixed, &none, 0),
        ("nowhere", "/nonexistent", &none, 1),
        ("cut off", &cut, &none, 1),
    ];
    for (what, file, dir, code) in cases {
        let launch = setting.launch("check", &[]);
        let outcome = launch
            .env("SSL_CERT_FILE", file)
            .env("SSL_CERT_DIR", dir)
            .run();
        assert_eq!(outcome.code, Some(*code), "{what}: {outcome:?}");
        let told = match *what {
            "nowhere" => "/nonexistent: cannot be read: no such file or directory",
            "cut off" => ": the text ends before the END line",
            _ => continue,
        };
        let stderr = &outcome.stderr;
        assert!(stderr.contains("--trusted-ca-file"), "{what}: {stderr}");
        assert!(stderr.contains(told), "{what}: {stderr}");
    }
    // A file that is named replaces the system's, it does not add to it.
    let launch = setting.launch("check", &["--trusted-ca-file", &other.certificate]);
    let outcome = launch.env("SSL_CERT_FILE", &setting.root.certificate).run();
    assert_eq!(outcome.code, Some(1), "{outcome:?}");
}
