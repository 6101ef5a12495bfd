//! A cluster, two gateways in front of it, and the same clients through both of them at the same time.
//!
//! `vocabulary` is the gateway as the experiment wants it, `control` one that does not ask whether a member answers: it
//! shows that the harness sees the fault. `direct` are clients of the members that stay well: what fails there is not
//! the gateway's doing.

use std::net::SocketAddr;
use std::ops::Range;
use std::time::{Duration, Instant};

use super::grpc_client::Channel;
use super::load::{Call, Load, Notes, Request, Stream};
use super::long_lived::{Held, Story};
use super::members::{Cluster, Setup, client};
use super::network::HUB;
use super::observed::{Pulse, Sights, Watcher, metric};
use super::report::{Report, Tally};
use super::vocabulary::{CONTROL, known};
use crate::admin::admin_of;
use crate::support::isolated::Site;
use crate::support::{Gateway, Launch, SOON, eventually};

pub(super) const FEATURE: &str = "feature";
pub(super) const CONTROL_NAME: &str = "control";
pub(super) const DIRECT: &str = "direct";

/// TTL of the leases, in seconds.
const TTL: &str = "12";

/// What an experiment wants.
#[derive(Clone, Copy)]
pub(super) struct Plan {
    pub(super) name: &'static str,
    /// Flags of the gateway under test.
    pub(super) flags: &'static [&'static str],
    /// Intervals of both, as `Launch::times` takes them.
    pub(super) times: &'static str,
    /// Flags of the other; nothing where there is to be none.
    pub(super) control: Option<&'static [&'static str]>,
    /// Fresh clients through each gateway.
    pub(super) calls: &'static [Call],
    /// Time between two of a kind.
    pub(super) every: Duration,
    /// Watches, and as many leases, through each gateway.
    pub(super) held: usize,
    pub(super) channels: usize,
    /// What clients ask of the members themselves, and of which.
    pub(super) direct: (Call, &'static [usize]),
}

impl Plan {
    /// As the study had it: two fresh `etcdctl put` and two fresh `curl` per second, three watches, three leases.
    pub(super) const fn new(name: &'static str) -> Plan {
        Plan {
            name,
            flags: &[],
            times: "",
            control: Some(CONTROL),
            calls: &[Call::EtcdctlPut, Call::CurlPut],
            every: Duration::from_millis(500),
            held: 3,
            channels: 0,
            direct: (Call::EtcdctlPut, &[1, 2]),
        }
    }
}

pub(super) struct Front {
    pub(super) name: &'static str,
    pub(super) address: String,
    pub(super) admin: SocketAddr,
    watches: Vec<Held>,
    leases: Vec<Held>,
    channels: Vec<Channel>,
    watcher: Watcher,
    pub(super) gateway: Gateway,
}

pub(super) struct Rig {
    clock: Instant,
    plan: Plan,
    notes: Notes,
    load: Option<Load>,
    pub(super) fronts: Vec<Front>,
    pulse: Pulse,
    pub(super) cluster: Cluster,
}

impl Rig {
    /// With everything running; nothing where the host lacks what it takes.
    pub(super) fn start(site: &Site, setup: Setup, plan: Plan) -> Option<Rig> {
        let cluster = Cluster::start(site, setup)?;
        let endpoints = [0, 1, 2].map(client);
        Some(Rig::before(cluster, &endpoints, plan))
    }

    /// In front of these endpoints of the cluster.
    pub(super) fn before(cluster: Cluster, endpoints: &[String], plan: Plan) -> Rig {
        let clock = Instant::now();
        let notes = Notes::new(clock);
        let wanted = [
            Some((FEATURE, plan.flags)),
            plan.control.map(|flags| (CONTROL_NAME, flags)),
        ];
        let mut fronts: Vec<Front> = wanted
            .into_iter()
            .flatten()
            .map(|(name, flags)| start_front(name, flags, plan.times, endpoints, clock))
            .collect();
        for front in &mut fronts {
            front.hold(&cluster, &notes, clock, &plan);
        }
        let mut rig = Rig {
            clock,
            plan,
            notes,
            load: None,
            fronts,
            pulse: Pulse::start(),
            cluster,
        };
        rig.load = Some(rig.begin());
        rig
    }

    fn begin(&self) -> Load {
        let members: Vec<String> = self
            .plan
            .direct
            .1
            .iter()
            .map(|&index| client(index))
            .collect();
        let every = self.plan.every;
        let mut wanted = Vec::new();
        for &call in self.plan.calls {
            for front in &self.fronts {
                wanted.push((front.name, call, front.address.clone()));
            }
        }
        wanted.push((DIRECT, self.plan.direct.0, members.join(",")));
        let count = u32::try_from(wanted.len()).expect("a few streams");
        let streams = wanted
            .into_iter()
            .zip(0..)
            .map(|((front, call, address), index)| Stream {
                front,
                call,
                address,
                every,
                offset: every * index / count,
            });
        Load::start(&self.cluster.access, &self.notes, streams.collect())
    }

    /// The rig's clock.
    pub(super) fn now(&self) -> Duration {
        self.clock.elapsed()
    }

    /// Lets an experiment go on for so long.
    pub(super) fn pass(&self, seconds: u64) {
        std::thread::sleep(Duration::from_secs(seconds));
    }

    /// Lets it go on until the gateway under test says that a member is in this state.
    pub(super) fn pass_until(&self, member: usize, state: &str) {
        let member = client(member);
        eventually(2 * SOON, state, || {
            let sights = self.feature().watcher.sights();
            let last = sights.get(&member)?.last()?;
            (last.state == state).then_some(())
        });
    }

    pub(super) fn front(&self, name: &str) -> Option<&Front> {
        self.fronts.iter().find(|front| front.name == name)
    }

    pub(super) fn feature(&self) -> &Front {
        self.front(FEATURE).expect("there is always a gateway")
    }

    /// A metric of the gateway under test, summed over what matches; nothing where it has none such.
    pub(super) fn metric(&self, name: &str, labels: &[&str]) -> Option<f64> {
        metric(self.feature().admin, name, labels)
    }

    /// Ends all clients and gateways, and returns what was seen.
    pub(super) fn finish(mut self) -> Outcome {
        if let Some(load) = self.load.take() {
            load.stop();
        }
        let stories = |held: &[Held]| held.iter().map(Held::story).collect();
        let mut fronts = Vec::new();
        for front in &mut self.fronts {
            front.channels.clear();
            fronts.push(Seen {
                name: front.name,
                watches: stories(&front.watches),
                leases: stories(&front.leases),
                sights: front.watcher.sights(),
                log: front.gateway.lines(),
            });
        }
        let mut requests = self.notes.all();
        excuse(&mut requests);
        Outcome {
            name: self.plan.name,
            requests,
            fronts,
            calls: self.plan.calls,
            channels: self.plan.channels,
            direct: self.plan.direct.0,
            worst: self.pulse.stop(),
        }
    }
}

/// A client of the members themselves that waits longer than this has met a cluster that did not serve.
const WELL: Duration = Duration::from_secs(2);

/// Marks requests that failed through a gateway while clients of the members themselves failed or waited.
fn excuse(requests: &mut [Request]) {
    let ill: Vec<(Duration, Duration)> = requests
        .iter()
        .filter(|request| request.front == DIRECT)
        .filter(|request| request.error.is_some() || request.took > WELL)
        .map(|request| (request.begun, request.ended()))
        .collect();
    for request in requests
        .iter_mut()
        .filter(|request| request.error.is_some())
    {
        let (begun, ended) = (request.begun, request.ended());
        request.excused = ill.iter().any(|&(from, to)| begun < to && ended > from);
    }
}

fn start_front(
    name: &'static str,
    flags: &'static [&'static str],
    times: &str,
    endpoints: &[String],
    clock: Instant,
) -> Front {
    let (listen, endpoints) = (
        format!("--listen-addr={HUB}:0"),
        format!("--endpoints={}", endpoints.join(",")),
    );
    let own = [listen.as_str(), &endpoints, "--metrics-addr=127.0.0.1:0"];
    let launch = Launch::start_with(&[own.as_slice(), &known(flags)].concat());
    let gateway = launch.times(times).start();
    let admin = admin_of(&gateway);
    Front {
        name,
        address: gateway.address().to_string(),
        admin,
        watches: Vec::new(),
        leases: Vec::new(),
        channels: Vec::new(),
        watcher: Watcher::start(admin, clock),
        gateway,
    }
}

impl Front {
    /// Starts the clients that stay, one after the other, so that each kind is spread over all endpoints.
    fn hold(&mut self, cluster: &Cluster, notes: &Notes, clock: Instant, plan: &Plan) {
        let (access, address) = (&cluster.access, self.address.clone());
        let mut open = 0;
        let mut connected = |admin| {
            open += 1;
            let wanted = f64::from(open);
            eventually(SOON, "a client that stays is connected", || {
                let now = metric(admin, "etcd_gateway_connections_active", &[])?;
                (now >= wanted).then_some(())
            });
        };
        for _ in 0..plan.held {
            self.watches
                .push(Held::watch(access, clock, &address, "fresh"));
            connected(self.admin);
        }
        for _ in 0..plan.held {
            let granted = cluster.etcdctl_text(&[1, 2], &["lease", "grant", TTL]);
            let id = granted.split_whitespace().nth(1).expect("lease ID granted");
            self.leases.push(Held::lease(access, clock, &address, id));
            connected(self.admin);
        }
        for lane in 0..plan.channels {
            let channel = Channel::start(access, notes, self.name, lane, &address);
            self.channels.push(channel);
            connected(self.admin);
        }
    }
}

/// What was seen through one gateway.
pub(super) struct Seen {
    pub(super) name: &'static str,
    pub(super) watches: Vec<Story>,
    pub(super) leases: Vec<Story>,
    pub(super) sights: Sights,
    pub(super) log: Vec<String>,
}

pub(super) struct Outcome {
    name: &'static str,
    pub(super) requests: Vec<Request>,
    pub(super) fronts: Vec<Seen>,
    calls: &'static [Call],
    channels: usize,
    direct: Call,
    worst: Duration,
}

impl Outcome {
    pub(super) fn seen(&self, name: &str) -> &Seen {
        let seen = self.fronts.iter().find(|seen| seen.name == name);
        seen.expect("a gateway of that name")
    }

    pub(super) fn report(&self) -> Report {
        Report::new(self.name)
    }

    /// Requests of a kind through a gateway, begun in the window.
    pub(super) fn tally(&self, front: &str, call: Call, window: &Range<Duration>) -> Tally {
        Tally::of(self.requests.iter().filter(|request| {
            request.front == front && request.call == call && window.contains(&request.begun)
        }))
    }

    /// All fresh clients through a gateway.
    pub(super) fn fresh(&self, front: &str, window: &Range<Duration>) -> Tally {
        Tally::of(self.requests.iter().filter(|request| {
            request.front == front
                && request.call != Call::Channel
                && window.contains(&request.begun)
        }))
    }

    /// Prints everything, by gateway, kind of client and window.
    pub(super) fn print(&self, report: &Report, windows: &[(&str, Range<Duration>)]) {
        let channel = (self.channels > 0).then_some(Call::Channel);
        for seen in &self.fronts {
            for &call in self.calls.iter().chain(&channel) {
                for (name, window) in windows {
                    report.row(seen.name, call, name, &self.tally(seen.name, call, window));
                }
            }
        }
        for (name, window) in windows {
            let tally = self.tally(DIRECT, self.direct, window);
            report.row(DIRECT, self.direct, name, &tally);
        }
        let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let worst = self.worst.as_millis();
        let idle = if worst < 500 {
            "quiet enough"
        } else {
            "BUSY: figures are doubtful"
        };
        report.say(&format!(
            "host {idle}: a thread ran up to {worst} ms late, load average {}",
            load.trim()
        ));
    }
}
