//! What the process needs of the system, and nothing more: the manual's list of system calls and files is compared with a
//! trace of the main path, and the unit's filter with that list.
//!
//! The list is that of a build for x86_64 and glibc, as the tests run it. When code starts or stops using a call, the
//! failure names what to add to the table between the manual's `needs` markers, and what to take out.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use crate::support::dns::FakeDns;
use crate::support::front::{Face, Front, TlsServer, ask};
use crate::support::gateway::binary;
use crate::support::isolated::{Site, isolated};
use crate::support::net::{connect, expect, expect_echo, expect_refused, send, tag, try_connect};
use crate::support::pki::{Pki, Request};
use crate::support::process::{self, can, is_root, threads, tool_text};
use crate::support::{Backend, End, Gateway, Launch, SOON, TempDir};
use crate::support::{eventually, expect_end, host_offers};

const TOP: &str = env!("CARGO_MANIFEST_DIR");
/// Enough for every buffer on the way to be full at times.
const BULK: u64 = 4 << 20;

/// One row of the manual's table: calls, or patterns of paths.
struct Need {
    what: Vec<String>,
    /// Seen in every run of the main path; otherwise it may be.
    always: bool,
}

fn manual() -> String {
    let page = Path::new(TOP).join("src/deploy/man/etcd-gateway-security.7.md");
    std::fs::read_to_string(page).expect("read the page")
}

/// The rows `| `a` `b` | always | why |` between the markers.
fn needs() -> Vec<Need> {
    let text = manual();
    let (_, rest) = text.split_once("<!-- needs:begin -->").expect("a begin");
    let (table, _) = rest.split_once("<!-- needs:end -->").expect("an end");
    let need = |line: &str| {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [what, when, _why] = cells[..] else {
            panic!("not three cells: {line}")
        };
        // Between backquotes stands every other piece.
        let words = what.split('`').skip(1).step_by(2).map(str::to_owned);
        let always = match when {
            "always" => true,
            "sometimes" => false,
            _ => panic!("neither always nor sometimes: {line}"),
        };
        Need {
            what: words.collect(),
            always,
        }
    };
    let row = |line: &&str| line.starts_with("| `");
    table.lines().filter(row).map(need).collect()
}

/// Whether `*` in a pattern, for any text, makes it the path.
fn matches(pattern: &str, path: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == path,
        Some((head, tail)) => path.strip_prefix(head).is_some_and(|rest| {
            (0..=rest.len())
                .filter(|at| rest.is_char_boundary(*at))
                .any(|at| matches(tail, &rest[at..]))
        }),
    }
}

/// What a run has asked the kernel for.
#[derive(Default)]
struct Trace {
    calls: BTreeSet<String>,
    files: BTreeSet<String>,
    /// Lines that show more than the manual promises: another program, another process, a file that is written.
    broken_promises: Vec<String>,
}

impl Trace {
    fn add(&mut self, other: Trace) {
        self.calls.extend(other.calls);
        self.files.extend(other.files);
        self.broken_promises.extend(other.broken_promises);
    }

    /// Of one process, in lines `PID call(ARGUMENTS) = RESULT`; it may append to `log`.
    fn of(text: &str, log: Option<&str>) -> Trace {
        let mut trace = Trace::default();
        trace.read(text, log);
        trace
    }

    fn read(&mut self, text: &str, log: Option<&str>) {
        for line in text.lines() {
            let (_, line) = line.split_once(char::is_whitespace).expect("PID first");
            let Some((call, arguments)) = line.trim_start().split_once('(') else {
                continue;
            };
            // Signals, ends and second halves of calls begin otherwise.
            if !is_call(call) {
                continue;
            }
            // In a reload it starts itself, and nothing else.
            let own = concat!("\"", env!("CARGO_BIN_EXE_etcd-gateway"), "\"");
            let again = call == "execve" && !arguments.starts_with(own);
            let process = call.starts_with("clone")
                && !["CLONE_THREAD", "CLONE_VFORK"]
                    .iter()
                    .any(|flag| arguments.contains(flag));
            let writes = ["O_WRONLY", "O_RDWR", "O_CREAT"];
            let written = call == "openat" && writes.iter().any(|flag| arguments.contains(flag));
            let appended = log.is_some_and(|log| {
                arguments.contains(&format!("\"{log}\"")) && arguments.contains("O_APPEND")
            });
            if again || process || written && !appended {
                self.broken_promises.push(line.to_owned());
            }
            self.calls.insert(call.to_owned());
            let by_path = [
                "open", "stat", "access", "readlink", "execve", "unlink", "mkdir",
            ];
            if by_path.iter().any(|name| call.contains(name)) {
                let path = arguments.split('"').nth(1);
                self.files
                    .extend(path.filter(|path| !path.is_empty()).map(str::to_owned));
            }
        }
    }
}

/// Starts it under strace, which writes to a file of the site.
fn traced(site: &Site, trace: &str, launch: Launch) -> Gateway {
    // As a grandchild (-D), so that it ends with the gateway and not the other way round.
    let strace = ["strace", "-D", "-f", "-q", "-s", "256", "-o", trace];
    let launch = launch.wrapped(&strace).env("LD_LIBRARY_PATH", "");
    site.file(
        "hosts",
        "127.0.0.1 localhost\n127.1.0.1 one.test\n127.1.0.2 two.test\n",
    );
    launch.start()
}

/// Waits for the process to end in order and for its trace to be whole.
#[track_caller]
fn trace_of(mut gateway: Gateway, path: &str) -> String {
    let status = gateway.wait_exit(SOON);
    assert!(status.success(), "{status}:\n{}", gateway.text());
    eventually(SOON, "the trace has the end of the process", || {
        let text = std::fs::read_to_string(path).expect("read the trace");
        let end =
            |line: &&str| line.starts_with(&gateway.pid().to_string()) && line.contains("+++");
        let ended = text.lines().any(|line| end(&line));
        ended.then_some(text)
    })
}

/// Endpoints by name, one of them dead, a passed socket, a service manager that listens: sessions, bulk, failover,
/// refresh, status, and a drain that ends in order.
fn by_list(site: &Site) -> String {
    let port = |mut backend: Backend, up: bool| {
        if up {
            backend.up_tagged(b't');
        }
        backend
    };
    let dead = |ip: [u8; 4]| Backend::dead_at((ip, 0).into()).expect("bind an address");
    let up = port(dead([127, 1, 0, 1]), true);
    let down = port(dead([127, 1, 0, 2]), false);
    let manager = site.path("notify");
    let socket = UnixDatagram::bind(&manager).expect("bind the notification socket");
    // It reads what it is sent, as every manager does: a reload waits for room for its last message.
    std::thread::spawn(move || while socket.recv(&mut [0; 4096]).is_ok() {});
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind port 0");
    let endpoints = format!(
        "--endpoints=one.test:{},two.test:{}",
        up.address().port(),
        down.address().port()
    );
    let launch = Launch::exactly(&["start", &endpoints, "--retry-delay=100ms"])
        .env("NOTIFY_SOCKET", &manager)
        .env("WATCHDOG_USEC", "200000")
        .times("silence=50,worker_patience=50")
        // A reload that is traced takes seconds on a busy host.
        .patient(4 * SOON)
        .passing(listener);
    let trace = site.path("trace.list");
    let gateway = traced(site, &trace, launch);
    let client = || {
        let mut client = connect(gateway.address());
        std::io::Read::read_exact(&mut client, &mut [0]).expect("a tag");
        client
    };
    for seed in 0..4 {
        expect_echo(&client(), seed);
    }
    gateway.wait_record("deactivated endpoint");
    // Of few, those that have become busy keep their threads.
    let _many: Vec<_> = (0..33).map(|_| client()).collect();
    let bulk = client();
    std::thread::scope(|scope| {
        scope.spawn(|| send(&bulk, 1, BULK));
        expect(&bulk, 1, BULK);
    });
    // It is silent, and goes on.
    eventually(SOON, "it is parked", || {
        (threads(gateway.pid()) < 10).then_some(())
    });
    expect_echo(&bulk, 2);
    gateway.signal("HUP");
    gateway.signal("USR1");
    gateway.wait_record("status of discovery");
    gateway.signal("USR2");
    let reloaded = gateway.wait_record("reloaded, draining");
    // The new process serves, and has a session of its own.
    expect_echo(&client(), 3);
    process::signal(reloaded.number("successor") as u32, "TERM");
    gateway.signal("TERM");
    gateway.wait_record("received signal, draining");
    drop(bulk);
    trace_of(gateway, &trace)
}

/// Endpoints by SRV records that have to prove who they are, listeners of its own: refresh, a member that leaves and
/// whose connections are closed, an access log, and a drain that ends with a reset.
fn by_srv(site: &Site, access_log: &str) -> Option<(String, String)> {
    let pki = Pki::below(site.path(""))?;
    let root = pki.root("true CA");
    let shown = pki.issue(&root, &Request::server("DNS:x.test"));
    let server = TlsServer::start(&pki, &shown, &[]);
    let face = || Face::Tls(std::sync::Arc::clone(&server));
    let members =
        [1, 2].map(|number| Front::at(([127, 1, 0, number], 2379).into(), number, face()));
    let dns = FakeDns::start("127.0.0.1");
    let publish = |numbers: &[u8]| {
        let record = |n: &u8| {
            format!(
                "_etcd-client-ssl._tcp.x.test SRV 0 0 2379 m{n}.test\nm{n}.test A 127.1.0.{n}\n"
            )
        };
        dns.publish(&numbers.iter().map(record).collect::<String>());
    };
    publish(&[1, 2]);
    let launch = Launch::start_with(&[
        "--listen-addr=127.0.0.1:0,[::1]:0",
        "--discovery-srv=x.test",
        "--trusted-ca-file",
        &root.certificate,
        "--retry-delay=100ms",
        "--close-removed=0s",
        "--drain-timeout=200ms",
        "--access-log",
        access_log,
    ]);
    let trace = site.path("trace.srv");
    let gateway = traced(site, &trace, launch);
    let served: BTreeSet<u8> = (0..4)
        .map(|_| ask(gateway.address()).expect("served"))
        .collect();
    assert_eq!(served.len(), members.len());
    publish(&[1]);
    gateway.signal("HUP");
    gateway.wait_record("endpoints changed");
    let client = try_connect(gateway.addresses()[1]).expect("accepted");
    send(&client, 1, 100);
    std::io::Read::read_exact(&mut &client, &mut [0]).expect("served");
    gateway.signal("TERM");
    expect_end(&client, End::Reset);
    Some((trace_of(gateway, &trace), root.certificate))
}

#[test]
fn the_list_of_what_it_needs_is_complete_and_has_nothing_else() {
    isolated(
        the_list_of_what_it_needs_is_complete_and_has_nothing_else,
        |site: &Site| {
            let traced = can("strace", &["-D", "-f", "-o", "/dev/null", "true"]);
            if !host_offers(traced, "strace with the right to trace") {
                return;
            }
            let mut trace = Trace::of(&by_list(site), None);
            let access_log = site.path("access.log");
            let Some((text, ca_file)) = by_srv(site, &access_log) else {
                return;
            };
            trace.add(Trace::of(&text, Some(&access_log)));
            assert!(
                trace.broken_promises.is_empty(),
                "{:#?}",
                trace.broken_promises
            );
            let needs = needs();
            if cfg!(all(target_arch = "x86_64", target_env = "gnu")) {
                compare_calls(&needs, &trace.calls);
            }
            compare_files(&needs, &trace.files, [&ca_file, &access_log]);
        },
    );
}

fn compare_calls(needs: &[Need], seen: &BTreeSet<String>) {
    let listed: BTreeSet<String> = patterns(needs, |_| true)
        .filter(|what| is_call(what))
        .collect();
    let required: BTreeSet<String> = patterns(needs, |need| need.always && as_built())
        .filter(|what| is_call(what))
        .collect();
    let missing: Vec<_> = seen.difference(&listed).collect();
    let unused: Vec<_> = required.difference(seen).collect();
    assert!(
        missing.is_empty() && unused.is_empty(),
        "system calls: not in the manual: {missing:?}; there as always needed, but not seen: {unused:?}"
    );
}

fn compare_files(needs: &[Need], seen: &BTreeSet<String>, [ca_file, access_log]: [&str; 2]) {
    let program = binary();
    let meant = |what: String| match what.as_str() {
        "--trusted-ca-file" => ca_file.to_owned(),
        "--access-log" => access_log.to_owned(),
        "etcd-gateway" => program.to_str().expect("a path in UTF-8").to_owned(),
        _ => what,
    };
    let listed = |always: bool| -> Vec<String> {
        patterns(needs, |need| (need.always && as_built()) || !always)
            .map(meant)
            .filter(|what| is_path(what))
            .collect()
    };
    let known = listed(false);
    let missing: Vec<_> = seen
        .iter()
        .filter(|path| !known.iter().any(|pattern| matches(pattern, path)))
        .collect();
    let mut unused = listed(true);
    unused.retain(|pattern| !seen.iter().any(|path| matches(pattern, path)));
    assert!(
        missing.is_empty() && unused.is_empty(),
        "files: not in the manual: {missing:?}; there as always needed, but not seen: {unused:?}"
    );
}

/// Another build (`ETCD_GATEWAY_BIN`), such as a static one, may need less, and so does musl.
fn as_built() -> bool {
    cfg!(target_env = "gnu") && std::env::var_os("ETCD_GATEWAY_BIN").is_none()
}

/// Its name as in the kernel's tables; programs and flags have a hyphen.
fn is_call(what: &str) -> bool {
    what.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn is_path(what: &str) -> bool {
    what.starts_with('/')
}

fn patterns(needs: &[Need], wanted: impl Fn(&Need) -> bool) -> impl Iterator<Item = String> {
    let chosen = needs.iter().filter(move |need| wanted(need));
    chosen.flat_map(|need| need.what.clone())
}

/// As nobody, with no capability in any set: all that a contained process has.
#[test]
fn it_runs_without_any_right_and_gives_up_gaining_some() {
    let endpoint = Backend::tagged(b't');
    let launch = Launch::before(&[endpoint.address()], &[]);
    // What the unit's DynamicUser= and CapabilityBoundingSet= do takes root here.
    let drop = "setpriv --reuid=65534 --regid=65534 --clear-groups --bounding-set=-all --inh-caps=-all --ambient-caps=-all";
    let drop: Vec<&str> = drop.split(' ').collect();
    let alone = TempDir::new();
    let program = alone.path().join("etcd-gateway");
    std::fs::copy(binary(), &program).expect("copy the program to where everybody may execute it");
    let launch = if host_offers(is_root() && can(drop[0], &["true"]), "root and setpriv") {
        launch.program(program).wrapped(&drop)
    } else {
        launch
    };
    let gateway = launch.start();
    let status = format!("/proc/{}/status", gateway.pid());
    let status = std::fs::read_to_string(status).expect("read /proc/PID/status");
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("{name} in {status}")).trim()
    };
    assert_eq!(field("NoNewPrivs:"), "1");
    if is_root() {
        for set in ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
            assert_eq!(field(set), "0000000000000000", "{set}");
        }
    }
    assert_eq!(tag(gateway.address()).0, b't');
}

/// Neither configuration nor what the kernel tells of itself, as in a sandbox that hides more than it should: the
/// members are named by address, so nothing of that is missing.
#[test]
fn it_serves_where_it_can_read_nothing() {
    const HIDE: &str =
        "for dir in /etc /proc /sys; do mount -t tmpfs -o ro none $dir || exit; done; exec \"$@\"";
    let hide = ["unshare", "--mount", "sh", "-c", HIDE, "sh"];
    if !host_offers(
        is_root() && can(hide[0], &[&hide[1..], &["true"]].concat()),
        "mounts",
    ) {
        return;
    }
    let endpoint = Backend::tagged(b't');
    let launch = Launch::before(&[endpoint.address()], &[]);
    let mut gateway = launch.wrapped(&hide).start();
    assert_eq!(tag(gateway.address()).0, b't');
    gateway.signal("HUP");
    gateway.signal("TERM");
    assert!(gateway.wait_exit(SOON).success());
}

/// An empty network namespace, into which only a socket is passed: nobody can be reached, which costs each client its
/// connection and nothing more.
#[test]
fn it_lives_where_there_is_no_network() {
    let alone = ["unshare", "--net"];
    if !host_offers(
        is_root() && can(alone[0], &["--net", "true"]),
        "network namespaces",
    ) {
        return;
    }
    let endpoint = Backend::tagged(b't');
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind port 0");
    let address = listener.local_addr().expect("bound address");
    let endpoints = format!("--endpoints={}", endpoint.address());
    let launch = Launch::exactly(&["start", &endpoints]).passing(listener);
    let mut gateway = launch.wrapped(&alone).start();
    for _ in 0..3 {
        expect_refused(address);
    }
    assert_eq!(endpoint.accepted(), 0);
    gateway.signal("TERM");
    assert!(gateway.wait_exit(SOON).success());
}

/// The units, as the program prints them: the service starts the program that is tested.
fn installed(dir: &TempDir) -> String {
    for (name, file) in [
        ("unit", "etcd-gateway.service"),
        ("socket", "etcd-gateway.socket"),
    ] {
        let printed = Launch::exactly(&["generate", name]).run();
        assert_eq!(printed.code, Some(0), "{printed:?}");
        dir.file(file, &printed.stdout);
    }
    let path = dir.path().join("etcd-gateway.service");
    path.to_str().expect("a path in UTF-8").to_owned()
}

fn have_systemd() -> bool {
    host_offers(process::have("systemd-analyze"), "systemd-analyze")
}

#[test]
fn systemd_understands_the_units_and_rates_them_as_the_readme_says() {
    if !have_systemd() {
        return;
    }
    let dir = TempDir::new();
    let service = installed(&dir);
    let verify = ["verify", "--man=no", "--recursive-errors=no", &service];
    let socket = service.replace(".service", ".socket");
    let output = process::tool("systemd-analyze", &[&verify[..], &[&socket]].concat());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let about_ours: Vec<&str> = said
        .lines()
        .filter(|line| line.contains("etcd-gateway"))
        .collect();
    assert!(output.status.success() && about_ours.is_empty(), "{said}");

    let rating = tool_text(
        "systemd-analyze",
        &["security", "--offline=true", "--no-pager", &service],
    );
    let (_, score) = rating.rsplit_once("service: ").expect("a rating");
    let score: f64 = score
        .split(' ')
        .next()
        .and_then(|word| word.parse().ok())
        .expect("a number");
    let page = manual();
    let (_, promised) = page
        .split_once("rates its exposure ")
        .expect("the rating in the manual");
    let promised: f64 = promised
        .split(' ')
        .next()
        .and_then(|word| word.parse().ok())
        .expect("a number");
    assert!(
        score <= promised,
        "{score}, the manual says {promised}:\n{rating}"
    );
}

/// The calls of a group such as `@network-io`, the groups in it included, or the one call.
fn group(name: &str) -> BTreeSet<String> {
    if !name.starts_with('@') {
        return BTreeSet::from([name.to_owned()]);
    }
    let text = tool_text("systemd-analyze", &["syscall-filter", name]);
    let words = text.lines().skip(1).map(str::trim);
    words
        .filter(|word| !word.is_empty() && !word.starts_with('#'))
        .flat_map(group)
        .collect()
}

/// What a process needs to start itself anew, which the service manager's own start of it does not tell.
const RELOAD: [&str; 6] = ["execve", "clone", "clone3", "vfork", "wait4", "prctl"];

/// Every call that is documented, and those of a reload, passes the unit's filter: a list that is allowed, and one that is taken from it.
#[test]
fn the_units_filter_lets_all_of_the_list_pass() {
    if !have_systemd() {
        return;
    }
    let unit = Path::new(TOP).join("src/deploy/etcd-gateway.service");
    let unit = std::fs::read_to_string(unit).expect("read the unit");
    let mut allowed = BTreeSet::new();
    for line in unit
        .lines()
        .filter_map(|line| line.strip_prefix("SystemCallFilter="))
    {
        let (denied, names) = match line.strip_prefix('~') {
            Some(names) => (true, names),
            None => (false, line),
        };
        for call in names.split_whitespace().flat_map(group) {
            if denied {
                allowed.remove(&call);
            } else {
                allowed.insert(call);
            }
        }
    }
    let calls: BTreeSet<String> = patterns(&needs(), |_| true)
        .filter(|what| is_call(what))
        .chain(RELOAD.map(str::to_owned))
        .collect();
    let refused: Vec<_> = calls.difference(&allowed).collect();
    assert!(
        calls.len() > 40 && refused.is_empty(),
        "the unit refuses {refused:?}"
    );
}
