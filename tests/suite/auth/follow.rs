//! The authorities change while the gateway runs, in all the ways that files are changed, for the better and for
//! the worse. Clients are the measure; nothing is restarted.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use super::{REFUSED, Stage, address, said, shares, wait_refused_for};
use crate::admin::admin_of;
use crate::discovery::problems::wait_problems;
use crate::support::front::{Face, Front, TlsServer};
use crate::support::isolated::{Site, isolated};
use crate::support::json::Json;
use crate::support::pki::{Certified, Request};
use crate::support::{Gateway, Launch, SOON, eventually};

const CHANGED: &str = "authorities changed; authenticating all members again";
const UNUSABLE: &str = "authorities are not usable, keeping the last good ones";
const TIMES: &str = "file_look=100,refresh_pause=20";

/// Two members, each certified by an authority of its own.
struct Setting {
    stage: Stage,
    other: Certified,
    members: [Front; 2],
    dir: PathBuf,
}

impl Setting {
    fn set(site: &Site) -> Option<Setting> {
        let stage = Stage::set(site)?;
        let other = stage.pki.root("other CA");
        let shown = stage.pki.issue(&other, &Request::server("DNS:x.test"));
        let face = Face::Tls(TlsServer::start(&stage.pki, &shown, &[]));
        let members = [stage.member(1), Front::at(address(2), 2, face)];
        stage.publish(&[1, 2]);
        let dir = stage.pki.dir().to_owned();
        Some(Setting {
            stage,
            other,
            members,
            dir,
        })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// What trusts these members.
    fn text(&self, numbers: &[u8]) -> String {
        let authority = |number: &u8| match number {
            1 => self.stage.root.pem(),
            _ => self.other.pem(),
        };
        numbers.iter().map(authority).collect()
    }

    /// As most programs do it.
    fn write(&self, text: &str) {
        self.stage.pki.file("trusted.pem", text);
    }

    /// As configuration management does it.
    fn replace(&self, text: &str) {
        self.stage.pki.file("new.pem", text);
        fs::rename(self.path("new.pem"), self.path("trusted.pem")).expect("rename the new file");
    }

    /// A gateway that has its members from there, and trusts what is in the file.
    fn start(&self, source: &[&str]) -> Gateway {
        let file = format!("--trusted-ca-file={}", self.path("trusted.pem").display());
        let flags = [file.as_str(), "--metrics-addr=127.0.0.1:0"];
        Launch::start_with(&[source, &flags].concat())
            .times(TIMES)
            .start()
    }

    fn list(&self) -> [String; 3] {
        let [one, two] = [&self.members[0], &self.members[1]].map(Front::address);
        [
            format!("--endpoints={one},{two}"),
            "--verify-endpoints".to_owned(),
            "--discovery-server-name=x.test".to_owned(),
        ]
    }
}

/// Waits until the members serve so many of ten clients. Until then, too, each is served.
#[track_caller]
fn wait_shares(gateway: &Gateway, wanted: [usize; 2]) {
    eventually(SOON, &format!("shares of {wanted:?}"), || {
        (shares(gateway, 10) == wanted).then_some(())
    });
}

/// Records, a list and a file: wherever members come from, and however the file is changed.
#[test]
fn every_way_to_change_the_file_is_followed_for_every_source() {
    isolated(
        every_way_to_change_the_file_is_followed_for_every_source,
        |site| {
            let Some(setting) = Setting::set(site) else {
                return;
            };
            setting.write(&setting.text(&[1]));
            let list = setting.list();
            let list = [list[0].as_str(), &list[1], &list[2]];
            let lines = [1, 2].map(|number| format!("{}\n", address(number)));
            let file = setting.stage.pki.file("members", &lines.concat());
            let file = format!("--endpoints-file={file}");
            let gateways = [
                setting.start(&["--discovery-srv=x.test"]),
                setting.start(&list),
                setting.start(&[file.as_str(), list[1], list[2]]),
            ];
            let all_have = |wanted| gateways.each_ref().map(|own| wait_shares(own, wanted));
            all_have([10, 0]);
            setting.replace(&setting.text(&[1, 2]));
            all_have([5, 5]);
            setting.write(&setting.text(&[2]));
            all_have([0, 10]);
            // As a Secret that is mounted: the file is behind a link to a directory, which is swapped.
            for (dir, numbers) in [("one", [1, 2].as_slice()), ("two", &[1])] {
                fs::create_dir(setting.path(dir)).expect("create a directory");
                let name = format!("{dir}/trusted.pem");
                setting.stage.pki.file(&name, &setting.text(numbers));
            }
            symlink("one", setting.path("..data")).expect("create a link");
            symlink("..data/trusted.pem", setting.path("link")).expect("create a link");
            let file = setting.path("trusted.pem");
            fs::rename(setting.path("link"), file).expect("rename the link");
            all_have([5, 5]);
            symlink("two", setting.path("..tmp")).expect("create a link");
            fs::rename(setting.path("..tmp"), setting.path("..data")).expect("swap the link");
            all_have([10, 0]);
            for gateway in &gateways {
                let facts = gateway.records(CHANGED).into_iter().map(|record| {
                    ["authorities", "added", "removed"].map(|name| record.number(name))
                });
                let wanted = [[2, 1, 0], [1, 0, 1], [2, 1, 0], [1, 0, 1]];
                let wanted = wanted.map(|facts| facts.map(f64::from));
                assert_eq!(facts.collect::<Vec<_>>(), wanted, "{}", gateway.text());
                assert!(gateway.records(UNUSABLE).is_empty(), "{}", gateway.text());
                // Each was set aside once, for its own reason.
                for number in [1, 2] {
                    let deactivated = said(gateway, "deactivated endpoint", address(number));
                    assert_eq!(deactivated, 1, "{}", gateway.text());
                    wait_refused_for(gateway, address(number), "is not known");
                }
            }
        },
    );
}

/// Whatever is wrong with the file, members are authenticated by the last good set, and the log says what and where.
#[test]
fn bad_authorities_change_nothing_and_are_a_problem_until_they_are_good() {
    isolated(
        bad_authorities_change_nothing_and_are_a_problem_until_they_are_good,
        |site| {
            let Some(setting) = Setting::set(site) else {
                return;
            };
            setting.write(&setting.text(&[1]));
            let list = setting.list();
            let gateway = setting.start(&list.each_ref().map(String::as_str));
            let admin = admin_of(&gateway);
            wait_problems(&gateway, admin, &[]);
            let good = setting.text(&[1, 2]);
            let path = setting.path("trusted.pem").display().to_string();
            let lines = setting.text(&[1]).lines().count();
            let none = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
            let bad = [
                (String::new(), "no CERTIFICATE block".to_owned()),
                (
                    good.trim_end().replace("-----END CERTIFICATE-----", ""),
                    format!("line {}: BEGIN line inside a block", lines + 1),
                ),
                (none.to_owned(), "certificate 1: ".to_owned()),
                (
                    "#".repeat(17 << 20),
                    "is larger than 16777216 bytes".to_owned(),
                ),
            ];
            let mut errors = 0;
            for (text, error) in &bad {
                setting.replace(text);
                let kept = "the last good authorities stay in use";
                wait_problems(&gateway, admin, &[&[&path, error, kept]]);
                errors += 1;
                let records = gateway.records(UNUSABLE);
                assert_eq!(records.len(), errors, "{error}: {records:?}");
                let last = records.last().expect("a record");
                let said = last.text("error");
                assert!(said.starts_with(&path) && said.contains(error), "{last:?}");
                assert_eq!(last.text("level"), "error");
                assert_eq!(last.get("authorities_kept"), Some(&Json::Number(1.0)));
                assert_eq!(shares(&gateway, 4), [4, 0], "{error}");
            }
            fs::remove_file(setting.path("trusted.pem")).expect("remove the file");
            wait_problems(&gateway, admin, &[&[&path, "cannot be read: no such file"]]);
            errors += 1;
            // Each request logs it once more.
            for _ in 0..2 {
                gateway.signal("HUP");
                errors += 1;
                eventually(SOON, "the error is logged again", || {
                    (gateway.records(UNUSABLE).len() == errors).then_some(())
                });
            }
            assert_eq!(shares(&gateway, 4), [4, 0]);
            assert!(gateway.records(CHANGED).is_empty(), "{}", gateway.text());
            assert_eq!(said(&gateway, "deactivated endpoint", address(1)), 0);
            setting.write(&format!("{good}{none}"));
            wait_problems(&gateway, admin, &[]);
            wait_shares(&gateway, [5, 5]);
            let over = gateway.wait_record("problem is over");
            assert!(over.texts("problem")[0].starts_with(&path), "{over:?}");
            let odd = gateway.wait_line("certificate of an authority is ignored");
            assert!(
                odd.contains(&path) && odd.contains("certificate 3: "),
                "{odd}"
            );
            assert_eq!(gateway.records(CHANGED).len(), 1);
            assert_eq!(gateway.records(UNUSABLE).len(), errors);
        },
    );
}

/// Without being asked it waits for a file that is at rest; one that never is shows that SIGHUP is what counts here.
#[test]
fn sighup_reads_the_authorities_at_once() {
    isolated(sighup_reads_the_authorities_at_once, |site| {
        let Some(setting) = Setting::set(site) else {
            return;
        };
        setting.write(&setting.text(&[1]));
        let gateway = setting.start(&["--discovery-srv=x.test"]);
        let mut turn = 0;
        let mut restless = || {
            turn += 1;
            setting.replace(&format!("{}# {turn}\n", setting.text(&[2, 1])));
        };
        restless();
        gateway.signal("HUP");
        eventually(SOON, "the change is used", || {
            restless();
            (!gateway.records(CHANGED).is_empty()).then_some(())
        });
        wait_shares(&gateway, [5, 5]);
        assert_eq!(said(&gateway, REFUSED, address(1)), 0);
    });
}

/// An authority that is added to a directory of the system, and taken out again.
#[test]
fn the_bundle_of_the_system_is_followed() {
    isolated(the_bundle_of_the_system_is_followed, |site| {
        let Some(setting) = Setting::set(site) else {
            return;
        };
        let dir = setting.path("certs");
        fs::create_dir(&dir).expect("create a directory");
        setting.stage.pki.file("certs/one.pem", &setting.text(&[1]));
        let gateway = Launch::start_with(&setting.list().each_ref().map(String::as_str))
            .times(TIMES)
            .env("SSL_CERT_FILE", "/nonexistent")
            .env("SSL_CERT_DIR", &dir.display().to_string())
            .start();
        assert_eq!(shares(&gateway, 4), [4, 0]);
        setting.stage.pki.file("certs/two.pem", &setting.text(&[2]));
        wait_shares(&gateway, [5, 5]);
        fs::remove_file(dir.join("one.pem")).expect("remove an authority");
        wait_shares(&gateway, [0, 10]);
        let record = gateway.wait_record(CHANGED);
        assert_eq!(record.text("from"), "the system's bundle");
        fs::remove_file(dir.join("two.pem")).expect("remove an authority");
        gateway.wait_record(UNUSABLE);
        assert_eq!(shares(&gateway, 4), [0, 4]);
    });
}
