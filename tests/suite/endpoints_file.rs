//! Members that a file names, while the file changes in all the ways that files are changed, to good and to bad content. What
//! counts is which member serves clients; nothing is restarted.

use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::admin::{Samples, admin_of};
use crate::discovery::problems::wait_problems;
use crate::support::front::{Face, Front, TlsServer, ask, tagged};
use crate::support::gateway::{Outcome, assert_bad_flag};
use crate::support::json::Json;
use crate::support::names::{PrivateNames, same_port};
use crate::support::net::{expect_echo, tag, try_tag};
use crate::support::pki::{Pki, Request};
use crate::support::{
    Backend, End, Gateway, Launch, SOON, TempDir, end_of, eventually, expect_end,
};

const CHANGED: &str = "endpoints changed";
const UNUSABLE: &str = "endpoints file is not usable, keeping the last good list";

/// A directory with the file.
struct Site(TempDir);

impl Site {
    fn new(text: &str) -> Site {
        let site = Site(TempDir::new());
        site.write(text);
        site
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// As `cp` and most editors do it.
    fn write(&self, text: &str) {
        self.0.file("members", text);
    }

    /// As configuration management does it.
    fn replace(&self, text: &str) {
        self.0.file("new", text);
        fs::rename(self.path("new"), self.path("members")).expect("rename the new file");
    }

    fn flag(&self) -> String {
        format!("--endpoints-file={}", self.path("members").display())
    }

    #[track_caller]
    fn start(&self, flags: &[&str]) -> Gateway {
        self.launch(flags).start()
    }

    /// A gateway that looks at the file more often than it would.
    fn launch(&self, flags: &[&str]) -> Launch {
        let flag = self.flag();
        let all = [&[flag.as_str()], flags].concat();
        Launch::start_with(&all).times("file_look=100,refresh_pause=20")
    }

    fn run(&self, command: &str, flags: &[&str]) -> Outcome {
        Launch::exactly(&[&[command, self.flag().as_str()], flags].concat()).run()
    }
}

/// One line an endpoint, with what may follow it.
fn lines(endpoints: &[(&Backend, &str)]) -> String {
    let line =
        |(endpoint, options): &(&Backend, &str)| format!("{} {options}\n", endpoint.address());
    endpoints.iter().map(line).collect()
}

fn plain(endpoints: &[&Backend]) -> String {
    lines(
        &endpoints
            .iter()
            .map(|endpoint| (*endpoint, ""))
            .collect::<Vec<_>>(),
    )
}

/// How many of `clients` the endpoints tagged `a`, `b` and `c` served.
fn served(gateway: &Gateway, clients: usize) -> [usize; 3] {
    let mut counts = [0; 3];
    for _ in 0..clients {
        counts[usize::from(tag(gateway.address()).0 - b'a')] += 1;
    }
    counts
}

fn backends() -> [Backend; 3] {
    [b'a', b'b', b'c'].map(Backend::tagged)
}

/// Waits for a change of the set by exactly these endpoints.
#[track_caller]
fn wait_change(gateway: &Gateway, added: &[&Backend], removed: &[&Backend]) {
    let texts = |endpoints: &[&Backend]| -> Vec<String> {
        endpoints
            .iter()
            .map(|endpoint| endpoint.address().to_string())
            .collect()
    };
    gateway.wait_record_where("the endpoints change", |record| {
        record.text("msg") == CHANGED
            && record.texts("added") == texts(added)
            && record.texts("removed") == texts(removed)
    });
}

#[test]
fn every_way_to_change_the_file_reaches_clients() {
    let [a, b, c] = backends();
    let site = Site::new(&plain(&[&a]));
    let gateway = site.start(&[]);
    assert_eq!(served(&gateway, 4), [4, 0, 0]);
    let (_, open) = try_tag(gateway.address()).expect("served");

    site.replace(&plain(&[&a, &b]));
    wait_change(&gateway, &[&b], &[]);
    assert_eq!(served(&gateway, 4), [2, 2, 0]);

    site.write(&plain(&[&c]));
    wait_change(&gateway, &[&c], &[&a, &b]);
    assert_eq!(served(&gateway, 4), [0, 0, 4]);

    // As a ConfigMap that is mounted: from now on the file is behind a link to a directory, which is swapped.
    for (dir, text) in [("one", plain(&[&b])), ("two", plain(&[&b, &a]))] {
        fs::create_dir(site.path(dir)).expect("create a directory");
        site.0.file(&format!("{dir}/members"), &text);
    }
    symlink("one", site.path("..data")).expect("create a link");
    symlink("..data/members", site.path("link")).expect("create a link");
    fs::rename(site.path("link"), site.path("members")).expect("rename the link");
    wait_change(&gateway, &[&b], &[&c]);
    symlink("two", site.path("..tmp")).expect("create a link");
    fs::rename(site.path("..tmp"), site.path("..data")).expect("swap the link");
    wait_change(&gateway, &[&a], &[]);
    assert_eq!(served(&gateway, 4), [2, 2, 0]);

    // Through all of this a connection to a member that left and came back was left alone.
    expect_echo(&open, 1);
    assert!(gateway.records(UNUSABLE).is_empty(), "{}", gateway.text());
}

/// Without being asked it waits for a file that is at rest; one that never is shows that SIGHUP is what counts here.
#[test]
fn sighup_reads_the_file_at_once() {
    let [a, b, _] = backends();
    let site = Site::new(&plain(&[&a]));
    let gateway = site.start(&[]);
    let restless = |turn: u32| site.replace(&format!("{}# {turn}\n", plain(&[&b])));
    restless(0);
    gateway.signal("HUP");
    let mut turn = 0;
    eventually(SOON, "the change is used", || {
        turn += 1;
        restless(turn);
        (!gateway.records(CHANGED).is_empty()).then_some(())
    });
    wait_change(&gateway, &[&b], &[&a]);
    assert_eq!(served(&gateway, 4), [0, 4, 0]);
    // Each request logs a bad file once more.
    site.replace("nonsense");
    for times in 1..=3 {
        gateway.signal("HUP");
        eventually(SOON, "the error is logged", || {
            (gateway.records(UNUSABLE).len() >= times).then_some(())
        });
    }
    assert_eq!(served(&gateway, 4), [0, 4, 0]);
}

/// The page, too, shows a path that has marks of HTML in it.
#[test]
fn a_bad_file_is_a_problem_until_it_is_good_again() {
    let [a, b, _] = backends();
    let site = Site::new("");
    let dir = "<b>&amp;";
    fs::create_dir(site.path(dir)).expect("create a directory");
    let name = format!("{dir}/members");
    let path = site.0.file(&name, &plain(&[&a]));
    let flags = [
        "--metrics-addr=127.0.0.1:0",
        &format!("--endpoints-file={path}"),
    ];
    let launch = Launch::start_with(&flags);
    let gateway = launch.times("file_look=50,file_look_again=50").start();
    let admin = admin_of(&gateway);
    wait_problems(&gateway, admin, &[]);
    site.0.file(&name, "nonsense");
    let bad: &[&str] = &[&path, ":1: invalid endpoint", "last good list"];
    wait_problems(&gateway, admin, &[bad]);
    fs::remove_file(&path).expect("remove the file");
    wait_problems(&gateway, admin, &[&[&path, "cannot be read: no such file"]]);
    assert_eq!(served(&gateway, 2), [2, 0, 0]);
    site.0.file(&name, &plain(&[&b]));
    wait_problems(&gateway, admin, &[]);
    gateway.wait_record("endpoints file has changed, using its list");
}

/// Whatever is wrong with the file, clients are served by the last good list, and the log says what and where.
#[test]
fn bad_change_keeps_serving() {
    let [a, b, c] = backends();
    let site = Site::new(&plain(&[&a, &b]));
    let launch = site.launch(&[]);
    let mut gateway = launch.times("file_look=50,file_look_again=50").start();
    let path = site.path("members").display().to_string();
    let long = format!("{}#{}", plain(&[&c]), "x".repeat(1100));
    let many: String = (0..=1024).map(|host| format!("m{host}.test:1\n")).collect();
    let bad = [
        (
            format!("{}nonsense\n", plain(&[&c])),
            ":2: invalid endpoint \"nonsense\": has no port; write nonsense:2379",
        ),
        (
            lines(&[(&c, "wieght=3")]),
            ":1: unknown option \"wieght=3\"",
        ),
        (
            lines(&[(&c, "weight=65536")]),
            ":1: invalid weight \"65536\"; write a number",
        ),
        (String::new(), ": has no endpoints"),
        (long, ":2: the line is longer than 1024 bytes"),
        (many, ":1025: there are more than 1024 endpoints"),
        ("#\n".repeat(600_000), ": is larger than 1048576 bytes"),
        ("\0".repeat(100), ":1: invalid endpoint"),
    ];
    for (count, (text, error)) in (1..).zip(&bad) {
        site.replace(text);
        eventually(SOON, error, || {
            (gateway.records(UNUSABLE).len() >= count).then_some(())
        });
        let records = gateway.records(UNUSABLE);
        let last = records.last().expect("a record");
        assert!(
            last.text("error").starts_with(&format!("{path}{error}")),
            "{last:?}"
        );
        assert_eq!(last.get("endpoints_kept"), Some(&Json::Number(2.0)));
        assert_eq!(served(&gateway, 4), [2, 2, 0], "{error}");
    }
    fs::remove_file(site.path("members")).expect("remove the file");
    gateway.wait_record_where("the file is gone", |record| {
        record.text("msg") == UNUSABLE
            && record
                .text("error")
                .contains("cannot be read: no such file")
    });
    fs::create_dir(site.path("members")).expect("create a directory");
    gateway.wait_record_where("a directory", |record| {
        record.text("msg") == UNUSABLE && record.text("error").contains("is not a regular file")
    });
    assert_eq!(served(&gateway, 4), [2, 2, 0]);
    fs::remove_dir(site.path("members")).expect("remove the directory");
    site.write(&plain(&[&c]));
    wait_change(&gateway, &[&c], &[&a, &b]);
    assert_eq!(served(&gateway, 4), [0, 0, 4]);
    gateway.assert_running();
    // Each once, and nothing else changed the set.
    let errors = gateway.records(UNUSABLE).len();
    assert!(
        (bad.len() + 2..=bad.len() + 3).contains(&errors),
        "{}",
        gateway.text()
    );
    assert_eq!(gateway.records(CHANGED).len(), 1);
}

#[test]
fn weights_and_priorities_are_observed_and_followed() {
    let [a, b, c] = backends();
    let site = Site::new(&lines(&[
        (&a, "weight=3"),
        (&b, "# weight=9"),
        (&c, "priority=1"),
    ]));
    let gateway = site.start(&[]);
    assert_eq!(served(&gateway, 8), [6, 2, 0], "without a weight it is 1");
    // The set is the same, its shares are not.
    site.write(&lines(&[
        (&a, "priority=2"),
        (&b, "priority=1 weight=1"),
        (&c, "weight=4 priority=1"),
    ]));
    gateway.wait_record("endpoints file has changed, using its list");
    eventually(SOON, "the shares are those of the file", || {
        (served(&gateway, 10) == [0, 2, 8]).then_some(())
    });
    assert!(gateway.records(CHANGED).is_empty());
}

/// What is named twice is one endpoint, what is the gateway itself is none, and both are said.
#[test]
fn duplicates_and_the_gateway_itself_in_a_change() {
    let [a, b, c] = backends();
    let site = Site::new(&plain(&[&a]));
    let gateway = site.start(&[]);
    site.write(&format!(
        "{}http://{}\n{} weight=5\n",
        plain(&[&a, &b]),
        gateway.address(),
        a.address()
    ));
    let looped = gateway.wait_record("endpoint is this gateway itself; ignored");
    assert_eq!(looped.text("address"), gateway.address().to_string());
    wait_change(&gateway, &[&b], &[]);
    assert_eq!(served(&gateway, 10), [5, 5, 0]);
    let path = site.path("members").display().to_string();
    for warning in [
        ":3: http:// and https:// in front of endpoints have no effect",
        ":4: the endpoint is given more than once",
    ] {
        let line = gateway.wait_line(&format!("{path}{warning}"));
        assert_eq!(
            Json::parse(&line).expect("JSON").text("level"),
            "warn",
            "{line}"
        );
    }
    // It is still there, and is logged again only on request.
    let loops = || gateway.records("endpoint is this gateway itself; ignored");
    site.write(&format!("{}{}\n", plain(&[&a, &c]), gateway.address()));
    wait_change(&gateway, &[&c], &[&b]);
    assert_eq!(loops().len(), 1, "{}", gateway.text());
    // Nothing but the gateway: the last good set stays.
    site.write(&gateway.address().to_string());
    gateway.signal("HUP");
    eventually(SOON, "the loop is seen again", || {
        (loops().len() > 1).then_some(())
    });
    assert_eq!(served(&gateway, 10), [5, 0, 5]);
}

#[test]
fn close_removed_ends_connections_to_what_left_the_file() {
    let [a, b, _] = backends();
    let site = Site::new(&plain(&[&a, &b]));
    let gateway = site.start(&["--close-removed=500ms"]);
    let mut open = [0, 1].map(|_| try_tag(gateway.address()).expect("served"));
    open.sort_by_key(|(tag, _)| *tag);
    let [(b'a', of_removed), (b'b', of_kept)] = open else {
        panic!("one connection each")
    };
    let written = Instant::now();
    site.replace(&plain(&[&b]));
    end_of(&of_removed);
    assert!(
        written.elapsed() > Duration::from_millis(500),
        "not at once"
    );
    expect_echo(&of_kept, 1);
}

/// What is cut in the middle must not look whole to anyone, also where a write to one side is stuck.
#[test]
fn close_removed_resets_both_sides_of_a_connection_that_nobody_reads() {
    for to_client in [true, false] {
        let (endpoint, accepted) = Backend::by_hand();
        let other = Backend::tagged(b'o');
        let site = Site::new(&plain(&[&endpoint]));
        let launch = site.launch(&["--close-removed=0s"]);
        let gateway = launch.visiting(&[endpoint.address()]).start();
        let (client, server) = (gateway.connect(), accepted.next());
        let (mut writer, reader) = match to_client {
            true => (&server, &client),
            false => (&client, &server),
        };
        writer
            .set_write_timeout(Some(Duration::from_millis(300)))
            .expect("set a write timeout");
        while writer.write(&[0; 65_536]).is_ok() {}
        site.replace(&plain(&[&other]));
        gateway.signal("HUP");
        expect_end(writer, End::Reset);
        assert_eq!(end_of(reader).1, End::Reset);
    }
}

/// A name in the file follows its records, and the file follows the names.
#[test]
fn names_in_the_file_follow_dns() {
    let Some(names) = PrivateNames::new("127.0.0.2 moving.test\n") else {
        return;
    };
    let (one, _two) = same_port("127.0.0.2", "127.0.0.3");
    let port = one.address().port();
    let site = Site::new(&format!("moving.test:{port}\n"));
    let gateway = names.start(&[&site.flag()]);
    let by = |gateway: &Gateway, wanted: u8| {
        eventually(SOON, "the other member serves", || {
            (tag(gateway.address()).0 == wanted).then_some(())
        });
    };
    by(&gateway, b'1');
    names.set("127.0.0.3 moving.test\n127.0.0.2 other.test\n");
    by(&gateway, b'2');
    site.write(&format!("other.test:{port}\n"));
    by(&gateway, b'1');
    // A name that nobody has takes nothing away.
    site.write(&format!("nobody.test:{port}\n"));
    gateway.wait_record("cannot resolve endpoint, will try again");
    assert_eq!(tag(gateway.address()).0, b'1');
}

/// Members of a file prove who they are like those of a list, those that a change brings too.
#[test]
fn members_of_the_file_are_verified() {
    let dir = TempDir::new();
    let Some(pki) = Pki::below(dir.path()) else {
        return;
    };
    let (root, other) = (pki.root("true CA"), pki.root("false CA"));
    let request = Request::server("IP:127.0.0.1,DNS:x.test");
    let face = |issuer| Face::Tls(TlsServer::start(&pki, &pki.issue(issuer, &request), &[]));
    let [one, two] = [1, 2].map(|number| Front::anywhere(number, face(&root)));
    let impostor = Front::anywhere(3, face(&other));
    let line = |front: &Front| format!("{}\n", front.address());
    let site = Site::new(&line(&one));
    let flags = ["--verify-endpoints", "--trusted-ca-file", &root.certificate];
    let gateway = site.start(&[&flags[..], &["--metrics-addr=127.0.0.1:0"]].concat());
    let stays = tagged(gateway.address());
    assert_eq!(stays.0, 1);
    let clients = |count: usize| -> Vec<u8> {
        let mut tags: Vec<u8> = (0..count)
            .map(|_| ask(gateway.address()).expect("served"))
            .collect();
        tags.sort_unstable();
        tags
    };
    assert_eq!(clients(2), [1, 1]);
    site.write(&[&impostor, &two, &one].map(line).concat());
    let refused = gateway.wait_record("endpoint failed authentication; not sending it connections");
    assert_eq!(refused.text("address"), impostor.address().to_string());
    eventually(SOON, "the new member serves", || {
        (clients(2) == [1, 2]).then_some(())
    });
    assert_eq!(impostor.clients(), 0);
    // No certificate is watched over of what has left, though a client is there still.
    site.write(&line(&two));
    let samples = eventually(SOON, "the first member leaves", || {
        let samples = Samples::of(admin_of(&gateway));
        (samples.get("discovery_endpoints") == 1.0).then_some(samples)
    });
    let of = |name: &str, front: &Front| format!("{name}{{address=\"{}\"}}", front.address());
    assert!(samples.get(&of("endpoint_connections_active", &one)) >= 1.0);
    for name in [
        "endpoint_up",
        "endpoint_certificate_expiry_timestamp_seconds",
    ] {
        assert!(!samples.has(&of(name, &one)), "{name}");
        assert!(samples.has(&of(name, &two)), "{name}");
    }
    drop((gateway, stays));
    // Another name than their own, for all of them.
    for (name, code) in [("x.test", Some(0)), ("y.test", Some(1))] {
        let name = format!("--discovery-server-name={name}");
        let outcome = site.run("check", &[flags.as_slice(), &[&name]].concat());
        assert_eq!(outcome.code, code, "{outcome:?}");
    }
}

#[test]
fn check_shows_what_the_file_says() {
    let [a, b, _] = backends();
    let site = Site::new(&lines(&[(&a, "priority=3 weight=7"), (&b, ""), (&a, "")]));
    let outcome = site.run("check", &["--output=json"]);
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    let report = Json::parse(outcome.stdout.trim_end()).expect("a report");
    let rows = report.list("endpoints");
    let numbers = |row: &Json| [row.get("priority").cloned(), row.get("weight").cloned()];
    let facts: Vec<_> = rows
        .iter()
        .map(|row| (row.text("address"), row.text("source"), numbers(row)))
        .collect();
    let [of_a, of_b] = [&a, &b].map(|endpoint| endpoint.address().to_string());
    let number = |value| Some(Json::Number(value));
    assert_eq!(
        facts,
        [
            (of_a.as_str(), "file", [number(3.0), number(7.0)]),
            (of_b.as_str(), "file", [number(0.0), number(1.0)]),
        ]
    );
    let outcome = site.run("check", &[]);
    assert!(outcome.stdout.contains("3/7"), "{outcome:?}");
    assert!(
        outcome
            .stdout
            .contains(":3: the endpoint is given more than once"),
        "{outcome:?}"
    );
}

/// A start or a check with a file that cannot be used ends, in one line that says what to do; so does a start
/// that would leave it open where the members come from.
#[test]
fn unusable_file_is_an_error_at_start() {
    let site = Site::new("# members\n10.0.0.1\n");
    let file = site.flag();
    for (flag, words) in [
        (
            file.as_str(),
            "/members:2: invalid endpoint \"10.0.0.1\": has no port; write 10.0.0.1:2379",
        ),
        (
            "--endpoints-file=/nonexistent",
            "/nonexistent: cannot be read: no such file or directory",
        ),
        ("--endpoints-file=/", "/: is not a regular file"),
    ] {
        for command in ["start", "check"] {
            let outcome = Launch::exactly(&[command, "--listen-addr=127.0.0.1:0", flag]).run();
            assert_eq!(outcome.code, Some(1), "{outcome:?}");
            let last = outcome.stderr.lines().last().unwrap_or_default();
            assert!(
                last.starts_with("etcd-gateway: --endpoints-file: "),
                "{outcome:?}"
            );
            assert!(last.contains(words), "{outcome:?}");
        }
    }
    for other in ["--endpoints=127.0.0.1:1", "--discovery-srv=x.test"] {
        assert_bad_flag(
            &["start", other, &file],
            &["--endpoints-file", "exclude each other"],
        );
    }
    // The gateway itself, at start.
    let free = Backend::dead();
    let address: SocketAddr = free.address();
    site.write(&address.to_string());
    let listen = format!("--listen-addr={address}");
    let outcome = site.run("start", &[&listen]);
    assert_eq!(outcome.code, Some(2), "{outcome:?}");
    let said = outcome.stderr.lines().last().unwrap_or_default();
    assert!(said.contains("--endpoints-file: SRV or endpoint"), "{said}");
    let wanted = "should not resolve to the gateway listen addr";
    assert!(said.contains(wanted), "{said}");
}
