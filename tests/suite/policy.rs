//! `--policy=least-connections`: new connections even out the distribution of those that stay open long, as those of gRPC
//! clients do.

use std::io::Read;
use std::net::TcpStream;
use std::sync::{Barrier, Mutex};

use crate::support::net::{connect, try_tag};
use crate::support::process::descriptors;
use crate::support::{Backend, Gateway, Launch, SOON, TempDir, eventually};

const LEAST: &str = "--policy=least-connections";

/// Connections that end count no longer than they live: here they end as soon as they are made.
const AT_ONCE: &str = "counted=0,refresh_pause=20";

/// A gateway that has tried its endpoints.
fn least(endpoints: &[&Backend], flags: &[&str]) -> Gateway {
    let addresses: Vec<_> = endpoints
        .iter()
        .map(|endpoint| endpoint.address())
        .collect();
    let launch = Launch::before(&addresses, &[&[LEAST], flags].concat());
    launch.times(AT_ONCE).start()
}

/// The same with a file that names them.
fn least_of_file(path: &str, endpoints: &[&Backend]) -> Gateway {
    let addresses: Vec<_> = endpoints
        .iter()
        .map(|endpoint| endpoint.address())
        .collect();
    let launch = Launch::start_with(&["--endpoints-file", path, LEAST]);
    launch.visiting(&addresses).times(AT_ONCE).start()
}

/// Connections that stay open, each with the tag of its endpoint.
struct Clients<'a> {
    gateway: &'a Gateway,
    open: Vec<(u8, TcpStream)>,
    /// Descriptors of the gateway before the first.
    idle: usize,
}

impl<'a> Clients<'a> {
    fn of(gateway: &'a Gateway) -> Clients<'a> {
        let idle = descriptors(gateway.pid());
        let open = Vec::new();
        Clients {
            gateway,
            open,
            idle,
        }
    }

    #[track_caller]
    fn open(&mut self, count: usize) -> [usize; 3] {
        for _ in 0..count {
            self.open
                .push(try_tag(self.gateway.address()).expect("every client is served"));
        }
        self.at()
    }

    /// How many are at the endpoints `a`, `b` and `c`.
    fn at(&self) -> [usize; 3] {
        [b'a', b'b', b'c'].map(|wanted| self.open.iter().filter(|(tag, _)| *tag == wanted).count())
    }

    /// Ends some of those at an endpoint, and waits until the gateway has ended its side of them.
    #[track_caller]
    fn end(&mut self, tag: u8, count: usize) {
        let each = (descriptors(self.gateway.pid()) - self.idle) / self.open.len();
        for _ in 0..count {
            let place = self.open.iter().position(|(of, _)| *of == tag);
            self.open.remove(place.expect("one is open"));
        }
        let left = self.idle + each * self.open.len();
        eventually(SOON, "the gateway has noticed", || {
            (descriptors(self.gateway.pid()) == left).then_some(())
        });
    }
}

fn backends() -> [Backend; 3] {
    [b'a', b'b', b'c'].map(Backend::tagged)
}

/// Waits until the gateway has noticed `count` times that an endpoint is back.
#[track_caller]
fn wait_activated(gateway: &Gateway, count: usize) {
    eventually(SOON, "the endpoint is active again", || {
        (gateway.records("activated").len() >= count).then_some(())
    });
}

/// What the policy is for: all members restart, one after the other.
#[test]
fn members_that_restart_get_their_connections_back() {
    let [mut a, mut b, mut c] = backends();
    let gateway = least(&[&a, &b, &c], &["--retry-delay=50ms"]);
    let mut clients = Clients::of(&gateway);
    assert_eq!(clients.open(30), [10, 10, 10]);
    for (round, (tag, member)) in (1..).zip([(b'a', &mut a), (b'b', &mut b), (b'c', &mut c)]) {
        let lost = clients.at()[usize::from(tag - b'a')];
        member.down();
        clients.end(tag, lost);
        // Its clients come back at once and pile up on the others.
        let mut at = clients.open(lost);
        at.sort_unstable();
        assert_eq!(at, [0, 15, 15]);
        member.up_tagged(tag);
        wait_activated(&gateway, round);
        // Half of the clients come and go once: that is enough.
        for tag in [b'a', b'b', b'c'] {
            let surplus = clients.at()[usize::from(tag - b'a')].saturating_sub(10);
            if surplus > 0 {
                clients.end(tag, surplus);
            }
        }
        assert_eq!(clients.open(10), [10, 10, 10], "round {round}");
    }
}

/// The same with turns: nothing evens it out, which is the reference's behaviour and the default.
#[test]
fn round_robin_leaves_open_connections_uneven() {
    let [a, b, mut c] = backends();
    c.down();
    let gateway = Gateway::before(&[&a, &b, &c], &["--retry-delay=50ms"]);
    let mut clients = Clients::of(&gateway);
    assert_eq!(clients.open(20), [10, 10, 0]);
    c.up_tagged(b'c');
    wait_activated(&gateway, 1);
    assert_eq!(clients.open(30), [20, 20, 10]);
}

/// A hundred at once: each counts from the moment that its endpoint was chosen, long before it is connected.
#[test]
fn burst_is_spread_evenly() {
    let [mut a, mut b, c] = backends();
    a.down();
    b.down();
    let gateway = least(&[&a, &b, &c], &["--retry-delay=50ms"]);
    let mut clients = Clients::of(&gateway);
    assert_eq!(clients.open(20), [0, 0, 20]);
    a.up_tagged(b'a');
    b.up_tagged(b'b');
    wait_activated(&gateway, 2);
    let (together, burst) = (Barrier::new(100), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..100 {
            scope.spawn(|| {
                together.wait();
                let mut stream = connect(gateway.address());
                let mut tag = [0];
                stream.read_exact(&mut tag).expect("served");
                burst
                    .lock()
                    .expect("no panic with the lock")
                    .push((tag[0], stream));
            });
        }
    });
    clients
        .open
        .extend(burst.into_inner().expect("no panic with the lock"));
    assert_eq!(clients.at(), [40, 40, 40]);
}

fn file(dir: &TempDir, lines: &[(&Backend, &str)]) -> String {
    let line =
        |(endpoint, options): &(&Backend, &str)| format!("{} {options}\n", endpoint.address());
    dir.file("members", &lines.iter().map(line).collect::<String>())
}

#[test]
fn weights_are_shares_of_the_open_connections() {
    let [a, b, c] = backends();
    let dir = TempDir::new();
    let path = file(
        &dir,
        &[(&a, "weight=5"), (&b, "weight=3"), (&c, "weight=2")],
    );
    let gateway = least_of_file(&path, &[&a, &b, &c]);
    let mut clients = Clients::of(&gateway);
    assert_eq!(clients.open(50), [25, 15, 10]);
    clients.end(b'c', 10);
    assert_eq!(clients.open(10), [25, 15, 10], "all go where there is room");
    clients.end(b'a', 20);
    clients.end(b'b', 10);
    assert_eq!(clients.open(30), [25, 15, 10]);
}

/// The next class is idle, and stays so for as long as the first has an active endpoint.
#[test]
fn priority_comes_before_connections() {
    let [mut a, mut b, c] = backends();
    let dir = TempDir::new();
    let path = file(&dir, &[(&a, ""), (&b, ""), (&c, "priority=1")]);
    let gateway = least_of_file(&path, &[&a, &b, &c]);
    let mut clients = Clients::of(&gateway);
    assert_eq!(clients.open(20), [10, 10, 0]);
    a.down();
    assert_eq!(clients.open(6), [10, 16, 0]);
    b.down();
    assert_eq!(clients.open(6), [10, 16, 6]);
}

/// An endpoint leaves the set and comes back while its connections live: they still count.
#[test]
fn connections_of_an_endpoint_that_comes_back_still_count() {
    let [a, b, c] = backends();
    let dir = TempDir::new();
    let path = file(&dir, &[(&a, ""), (&b, "")]);
    let gateway = least_of_file(&path, &[&a, &b]);
    let mut clients = Clients::of(&gateway);
    assert_eq!(clients.open(20), [10, 10, 0]);
    let change = |lines: &[(&Backend, &str)], changes: usize| {
        file(&dir, lines);
        gateway.signal("HUP");
        eventually(SOON, "the change is used", || {
            (gateway.records("endpoints changed").len() == changes).then_some(())
        });
    };
    change(&[(&b, "")], 1);
    change(&[(&b, ""), (&c, "")], 2);
    assert_eq!(clients.open(4), [10, 10, 4]);
    clients.end(b'a', 2);
    change(&[(&a, ""), (&b, ""), (&c, "")], 3);
    assert_eq!(clients.open(8), [10, 10, 10]);
}
