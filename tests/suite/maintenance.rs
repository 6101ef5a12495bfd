//! Members that are taken out for maintenance by the word `drain` in the endpoints file, and brought back.

use std::net::SocketAddr;

use crate::admin::{Samples, admin_of, endpoints, get, page};
use crate::discovery::problems::wait_problems;
use crate::members::{Watch, Writer, asks_a_member};
use crate::status::{ask, with_message};
use crate::support::cluster::{EtcdCluster, etcdctl_text};
use crate::support::json::Json;
use crate::support::net::{expect_echo, tag, try_tag};
use crate::support::{Backend, Gateway, Launch, SOON, TempDir, eventually};

const ALL_DRAIN: &str = "every endpoint has the word drain: all are used as if none had it";

/// Endpoints in a file, each with the word or without it.
struct Site {
    dir: TempDir,
    addresses: Vec<SocketAddr>,
}

impl Site {
    fn new(addresses: &[SocketAddr]) -> Site {
        let (dir, addresses) = (TempDir::new(), addresses.to_vec());
        let site = Site { dir, addresses };
        site.drain(&[]);
        site
    }

    /// Has these drain, and no others.
    fn drain(&self, drained: &[usize]) {
        let word = |index| match drained.contains(&index) {
            true => " drain",
            false => "",
        };
        let lines = self.addresses.iter().enumerate();
        let lines: Vec<String> = lines
            .map(|(index, address)| format!("{address}{}\n", word(index)))
            .collect();
        self.dir.file("members", &lines.concat());
    }

    fn flag(&self) -> String {
        format!("--endpoints-file={}/members", self.dir.path().display())
    }

    #[track_caller]
    fn start(&self, flags: &[&str]) -> (Gateway, SocketAddr) {
        let own = [self.flag(), "--metrics-addr=127.0.0.1:0".to_owned()];
        let own = own.each_ref().map(String::as_str);
        let launch = Launch::start_with(&[own.as_slice(), flags].concat());
        let launch = launch.visiting(&self.addresses);
        let gateway = launch.times("file_look=100,refresh_pause=20").start();
        let admin = admin_of(&gateway);
        (gateway, admin)
    }

    /// Has these drain and no others, and waits until the change is used, which adds and removes none.
    #[track_caller]
    fn change(&self, gateway: &Gateway, drained: &[usize], draining: &[usize], restored: &[usize]) {
        const CHANGED: &str = "endpoints changed";
        let before = gateway.records(CHANGED).len();
        self.drain(drained);
        let record = eventually(SOON, "the change is used", || {
            gateway.records(CHANGED).get(before).cloned()
        });
        let addresses = |indices: &[usize]| -> Vec<String> {
            let addresses = indices.iter().map(|index| self.addresses[*index]);
            addresses.map(|address| address.to_string()).collect()
        };
        assert_eq!(record.texts("draining"), addresses(draining));
        assert_eq!(record.texts("restored"), addresses(restored));
        assert!(record.texts("added").is_empty() && record.texts("removed").is_empty());
    }
}

/// Of each endpoint, in the order of the file.
fn numbers(admin: SocketAddr, field: &str) -> Vec<f64> {
    let (_, rows) = endpoints(admin);
    rows.iter().map(|row| row.number(field)).collect()
}

/// Every place that shows a state says that of this endpoint, with so many open connections.
#[track_caller]
fn expect_shown(gateway: &Gateway, admin: SocketAddr, address: SocketAddr, state: &str, open: f64) {
    let address = address.to_string();
    let (_, rows) = endpoints(admin);
    let row = rows.iter().find(|row| row.text("address") == address);
    let row = row.expect("it is an endpoint");
    assert_eq!(row.text("state"), state);
    assert_eq!(row.number("connections_open"), open, "{row:?}");
    assert_eq!(row.get("drain"), Some(&Json::Bool(true)));
    let samples = Samples::of(admin);
    let label = format!("{{address=\"{address}\"");
    assert!(samples.has(&format!("endpoint_state{label},state=\"{state}\"}}")));
    for (name, value) in [
        ("endpoint_connections_active", open),
        ("endpoint_draining", 1.0),
    ] {
        assert_eq!(samples.get(&format!("{name}{label}}}")), value, "{name}");
    }
    let page = page(admin).content;
    let row = page.split("<tbody>").find(|row| row.contains(&address));
    let row = row.expect("it is on the page");
    assert!(row.contains(&format!(">{state}<")), "{row}");
    let cell = format!("data-label=\"Open\">{open}</td>");
    assert!(row.contains(&cell), "{row}");
    let answer = ask(gateway);
    let lines = with_message(&answer, "status of endpoint");
    let line = lines.iter().find(|line| line.text("address") == address);
    let line = line.expect("it is in the status");
    assert_eq!((line.text("state"), line.text("drain")), (state, "yes"));
    assert_eq!(line.number("connections"), open);
}

/// How many of `clients` the endpoints tagged `a`, `b` and `c` served.
fn served(gateway: &Gateway, clients: usize) -> [usize; 3] {
    let mut counts = [0; 3];
    for _ in 0..clients {
        counts[usize::from(tag(gateway.address()).0 - b'a')] += 1;
    }
    counts
}

#[test]
fn drain_keeps_new_clients_away_and_nothing_else() {
    for policy in ["round-robin", "least-connections"] {
        let [a, mut b, mut c] = [b'a', b'b', b'c'].map(Backend::tagged);
        let site = Site::new(&[&a, &b, &c].map(Backend::address));
        let policy = format!("--policy={policy}");
        // What drains has not left: nothing is closed for it.
        let flags = [&policy, "--close-removed=0s", "--retry-delay=50ms"];
        let (gateway, admin) = site.start(&flags);
        let (first, open) = try_tag(gateway.address()).expect("served");
        assert_eq!(first, b'a');
        site.change(&gateway, &[0], &[0], &[]);
        let [of_a, others @ ..] = served(&gateway, 8);
        assert_eq!((of_a, others.iter().sum()), (0, 8));
        expect_shown(&gateway, admin, a.address(), "draining", 1.0);
        expect_echo(&open, 7);
        assert_eq!(get(admin, "/readyz").status(), 200);

        // Nobody else is there: it serves, and is ready.
        b.down();
        c.down();
        assert_eq!(served(&gateway, 4), [4, 0, 0], "{}", gateway.text());
        assert_eq!(get(admin, "/readyz").status(), 200);
        assert!(gateway.records("no endpoint is active").is_empty());
        b.up_tagged(b'b');
        c.up_tagged(b'c');
        eventually(SOON, "the others are active again", || {
            (gateway.records("activated").len() >= 2).then_some(())
        });
        assert_eq!(served(&gateway, 4)[0], 0);

        site.change(&gateway, &[], &[], &[0]);
        assert!(served(&gateway, 30)[0] > 0);
        expect_echo(&open, 8);
        wait_problems(&gateway, admin, &[]);
    }
}

#[test]
fn where_all_drain_all_serve_and_the_log_says_so() {
    let backends = [b'a', b'b', b'c'].map(Backend::tagged);
    let site = Site::new(&backends.each_ref().map(Backend::address));
    let (gateway, admin) = site.start(&[]);
    site.change(&gateway, &[0, 1, 2], &[0, 1, 2], &[]);
    assert_eq!(served(&gateway, 6), [2, 2, 2]);
    let told = |line: &Json| {
        line.text("msg").ends_with(&format!(
            "members:3: {ALL_DRAIN}; remove it where the member may be used"
        ))
    };
    let warning = gateway.wait_record_where("a warning", told);
    assert_eq!(warning.text("level"), "warn");
    wait_problems(&gateway, admin, &[&["every endpoint is marked drain"]]);
    let check = Launch::exactly(&["check", &site.flag()]).run();
    assert_eq!(check.code, Some(0), "{check:?}");
    assert!(check.stdout.contains(ALL_DRAIN), "{check:?}");
    assert_eq!(check.stdout.matches("reachable, draining").count(), 3);
    site.change(&gateway, &[0, 1], &[], &[2]);
    assert_eq!(served(&gateway, 6), [0, 0, 6]);
    wait_problems(&gateway, admin, &[]);
}

/// The word does not hide that a member is down, though no client dials it.
#[test]
fn one_that_drains_and_is_down_is_shown_as_down() {
    let (mut a, b) = (Backend::tagged(b'a'), Backend::tagged(b'b'));
    let site = Site::new(&[a.address(), b.address()]);
    site.drain(&[0]);
    let (gateway, admin) = site.start(&["--retry-delay=50ms"]);
    expect_shown(&gateway, admin, a.address(), "draining", 0.0);
    a.down();
    gateway.wait_record("deactivated endpoint");
    expect_shown(&gateway, admin, a.address(), "inactive", 0.0);
    let page = page(admin).content;
    assert!(page.contains("marked drain"), "{page}");
    assert_eq!(served(&gateway, 4), [0, 4, 0]);
    a.up_tagged(b'a');
    gateway.wait_record("activated");
    expect_shown(&gateway, admin, a.address(), "draining", 0.0);
    assert_eq!(served(&gateway, 4), [0, 4, 0]);
}

/// The whole procedure with real members: writers and a watch see nothing of it.
#[test]
fn a_member_of_a_real_cluster_is_taken_out_and_brought_back() {
    let Some(mut cluster) = EtcdCluster::start() else {
        return;
    };
    let site = Site::new(&cluster.clients());
    let (gateway, admin) = site.start(&["--retry-delay=500ms"]);
    let watch = Watch::start(gateway.address(), "seen");
    let drained = eventually(SOON, "the watch is open", || {
        let open = numbers(admin, "connections_open");
        open.iter().position(|open| *open > 0.0)
    });
    etcdctl_text(gateway.address(), &["put", "seen", "before"], b"");
    watch.expect_put("seen", "before");
    let address = site.addresses[drained];
    let writers = [(); 2].map(|()| Writer::start(gateway.address()));
    writers.iter().for_each(|writer| writer.wait_for(3));

    site.change(&gateway, &[drained], &[drained], &[]);
    let alone = || (numbers(admin, "connections_open")[drained] == 1.0).then_some(());
    eventually(4 * SOON, "only the watch is left", alone);
    let before = numbers(admin, "connections_total");
    writers.iter().for_each(|writer| writer.wait_for(6));
    let after = numbers(admin, "connections_total");
    for (index, (before, after)) in before.iter().zip(&after).enumerate() {
        assert_eq!(before == after, index == drained, "{before} {after}");
    }
    etcdctl_text(gateway.address(), &["put", "seen", "during"], b"");
    watch.expect_put("seen", "during");
    expect_shown(&gateway, admin, address, "draining", 1.0);
    let failed = |writer: Writer| writer.finish().into_iter().find_map(|write| write.error);
    for writer in writers {
        assert_eq!(failed(writer), None, "{}", gateway.text());
    }
    drop(watch);

    // Without a quorum no write succeeds anywhere; that a member answers is what a gateway can do.
    let others: Vec<usize> = (0..3).filter(|index| *index != drained).collect();
    others.iter().for_each(|index| cluster.kill(*index));
    let before = numbers(admin, "connections_total")[drained];
    for client in 0..6 {
        assert!(asks_a_member(gateway.address()), "client {client}");
    }
    assert_eq!(numbers(admin, "connections_total")[drained], before + 6.0);
    cluster.start_all();
    eventually(4 * SOON, "the others are active again", || {
        (gateway.records("activated").len() >= 2).then_some(())
    });
    let before = numbers(admin, "connections_total")[drained];
    let writers = [(); 2].map(|()| Writer::start(gateway.address()));
    writers.iter().for_each(|writer| writer.wait_for(4));
    assert_eq!(numbers(admin, "connections_total")[drained], before);

    site.change(&gateway, &[], &[], &[drained]);
    eventually(4 * SOON, "it has its share again", || {
        (numbers(admin, "connections_total")[drained] >= before + 3.0).then_some(())
    });
    for writer in writers {
        assert_eq!(failed(writer), None, "{}", gateway.text());
    }
    let shares = numbers(admin, "connections_total");
    for _ in 0..9 {
        assert!(asks_a_member(gateway.address()));
    }
    let now = numbers(admin, "connections_total");
    let gained: Vec<f64> = now.iter().zip(shares).map(|(now, was)| now - was).collect();
    assert_eq!(gained, [3.0; 3]);
}
