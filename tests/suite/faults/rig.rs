//! A gateway whose calls fail in rounds: healthy, faulty, healthy again.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use super::load::Members;
use super::plan::{Dice, Mix};
use crate::admin::{Samples, admin_of};
use crate::support::fault::{Faults, Rule, seed};
use crate::support::json::Json;
use crate::support::process::{resident_kib, threads};
use crate::support::{Gateway, Launch, SOON, TempDir};

/// Clients of one load.
const CLIENTS: u32 = 24;
/// Pipes that the gateway keeps for later have two descriptors each.
const PIPES: usize = 8;
/// What a round may leave in the heap: a load's worth of buffers.
const GROWTH_KIB: u64 = 16 * 1024;
/// How often one message may come in one second of the log's clock: what is limited comes once in each, and what comes
/// in pairs, or from several places that have a limit each, a little more often.
const REPEATS: usize = 4;
/// These come as often as what they tell of changes, which in these tests is several times a second.
const CHANGES: [&str; 2] = ["activated", "deactivated endpoint"];
/// How long a rule that has not hit is given more loads.
pub(crate) const LOAD_FOR: Duration = Duration::from_secs(20);

/// What is still allowed while calls fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bears {
    /// Nothing: no client notices.
    All,
    /// A session may be reset, for both its peers. This host is to blame, and no client or endpoint is.
    OwnFault,
    /// The same; who is to blame cannot be told from the error.
    Fault,
    /// The same, and an endpoint may be given up for a while: the error says that it cannot be reached.
    Unreachable,
}

/// One row of a table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Round<'a> {
    pub(crate) name: &'a str,
    pub(crate) rules: &'a [Rule],
    pub(crate) mix: Mix,
    pub(crate) bears: Bears,
}

pub(crate) const fn round(
    name: &'static str,
    rules: &'static [Rule],
    mix: Mix,
    bears: Bears,
) -> Round<'static> {
    Round {
        name,
        rules,
        mix,
        bears,
    }
}

/// How a gateway is started, besides what all of them have.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Setup {
    pub(crate) flags: &'static [&'static str],
    /// It is passed its listener.
    pub(crate) passed: bool,
    /// Intervals of the product, as `Launch::times` takes them.
    pub(crate) times: &'static str,
}

/// The gateway, its endpoints, and how it was while nothing was wrong.
pub(crate) struct Rig {
    pub(crate) faults: Faults,
    pub(crate) gateway: Gateway,
    pub(crate) admin: SocketAddr,
    pub(crate) members: Members,
    dir: TempDir,
    dice: Dice,
    idle: Footprint,
}

/// What a process holds.
#[derive(Debug, Default)]
struct Footprint {
    threads: usize,
    pipes: usize,
    /// Those that are not pipes.
    others: usize,
    resident_kib: u64,
}

impl Footprint {
    fn of(pid: u32) -> Footprint {
        let links = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("list /proc/PID/fd");
        let targets = links
            .flatten()
            .filter_map(|link| link.path().read_link().ok());
        let (pipes, others): (Vec<_>, Vec<_>) =
            targets.partition(|target| target.to_string_lossy().starts_with("pipe:"));
        Footprint {
            threads: threads(pid),
            pipes: pipes.len(),
            others: others.len(),
            resident_kib: resident_kib(pid),
        }
    }

    /// What it holds more than `idle`, if that is too much.
    fn beyond(&self, idle: &Footprint) -> Option<String> {
        let too_much = self.threads > idle.threads
            || self.others > idle.others
            || self.pipes > idle.pipes + PIPES
            || self.resident_kib > idle.resident_kib + GROWTH_KIB;
        too_much.then(|| format!("{self:?}, and {idle:?} before"))
    }
}

impl Rig {
    /// Serves, and has served. Nothing where the host cannot compile what makes calls fail.
    #[track_caller]
    pub(crate) fn start(setup: &Setup) -> Option<Rig> {
        let faults = Faults::new()?;
        let dir = TempDir::new();
        let members = Members::new(3);
        let access = format!("--access-log={}", dir.path().join("access.log").display());
        let own = [
            "--metrics-addr=127.0.0.1:0",
            "--retry-delay=100ms",
            "--drain-timeout=1s",
            &access,
        ];
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind port 0");
        let listen = listener.local_addr().expect("a bound address");
        let listen = format!("--listen-addr={listen}");
        let passed: &[&str] = if setup.passed { &[&listen] } else { &[] };
        let flags = [&own, passed, setup.flags].concat();
        let mut launch = Launch::before(&members.addresses(), &flags);
        launch = launch.times(&format!("worker_patience=20,{}", setup.times));
        if setup.passed {
            launch = launch.passing(listener);
        }
        let gateway = faults.launch(launch).start();
        let admin = admin_of(&gateway);
        let idle = Footprint::of(gateway.pid());
        let mut rig = Rig {
            faults,
            gateway,
            admin,
            members,
            dir,
            dice: Dice::new(seed()),
            idle,
        };
        let served = rig.serves(Mix::Whole, CLIENTS);
        served.unwrap_or_else(|wrong| panic!("while nothing fails: {wrong}"));
        rig.idle.resident_kib = resident_kib(rig.gateway.pid());
        Some(rig)
    }

    /// Sessions that are planned from here on come from this seed.
    pub(crate) fn reseed(&mut self, seed: u64) {
        self.dice = Dice::new(seed);
    }

    /// Runs all rounds, a few after one another on each of several gateways.
    ///
    /// # Panics
    /// If any failed, with all that failed.
    #[track_caller]
    pub(crate) fn run(setup: &Setup, rounds: &[Round<'_>]) {
        Rig::run_apart(setup, rounds, 6);
    }

    /// The same, with so many rounds for a gateway at most.
    #[track_caller]
    pub(crate) fn run_apart(setup: &Setup, rounds: &[Round<'_>], for_each: usize) {
        let failures: Vec<String> = std::thread::scope(|scope| {
            let runs: Vec<_> = rounds
                .chunks(for_each)
                .map(|some| scope.spawn(move || Rig::run_some(setup, some)))
                .collect();
            let joined = runs.into_iter().map(|run| run.join());
            joined.map(|failures| failures.expect("no panic")).collect()
        });
        assert!(
            failures.iter().all(String::is_empty),
            "{}",
            failures.concat()
        );
    }

    /// Runs each round on the same gateway, and on a new one after a round that failed; returns what failed.
    fn run_some(setup: &Setup, rounds: &[Round<'_>]) -> String {
        let only = std::env::var("FAULT_ROUND").unwrap_or_default();
        let chosen = rounds.iter().filter(|round| round.name.contains(&only));
        let (mut rig, mut failures) = (None, String::new());
        for round in chosen {
            if rig.is_none() {
                rig = Rig::start(setup);
            }
            let Some(running) = &mut rig else { break };
            let outcome = running.round(round, LOAD_FOR);
            let all_hit = outcome.and_then(|hits| match hits.contains(&0) {
                true => Err(format!("a rule never hit: {hits:?}")),
                false => Ok(()),
            });
            if let Err(wrong) = all_hit {
                let name = round.name;
                failures += &format!("\n=== {name} (FAULT_SEED={}): {wrong}", seed());
                rig = None;
            }
        }
        failures
    }

    /// One load, and more for up to `patience` if a rule has not hit; how often each has.
    ///
    /// # Errors
    /// What must never be.
    pub(crate) fn round(
        &mut self,
        round: &Round<'_>,
        patience: Duration,
    ) -> Result<Vec<u64>, String> {
        let (lines, ended) = (self.gateway.lines().len(), self.access().len());
        let rules = self.faults.set(round.rules);
        let (mut wrong, mut reset, mut cuts, mut hits) = (Vec::new(), 0, 0, Vec::new());
        let begin = Instant::now();
        while hits.is_empty() || hits.contains(&0) && begin.elapsed() < patience {
            let address = self.gateway.address();
            let outcome = self
                .members
                .load(address, CLIENTS, round.mix, &mut self.dice);
            reset += outcome.reset;
            cuts += outcome.cuts;
            wrong.extend(outcome.wrong);
            hits = self.faults.hits(rules.clone());
            if !wrong.is_empty() {
                break;
            }
        }
        self.faults.clear();
        let matched = self.faults.matched(rules);
        if round.bears == Bears::All && reset > 0 {
            wrong.push(format!("{reset} sessions were reset"));
        }
        if wrong.is_empty() {
            wrong.extend(self.recovers().err());
        }
        wrong.extend(log_faults(&self.gateway.lines()[lines..]));
        wrong.extend(self.blamed(round, lines, ended, cuts));
        wrong.truncate(6);
        match wrong.is_empty() {
            true => Ok(hits),
            false => Err(format!(
                "hits {hits:?} of {matched:?}\n    {}",
                wrong.join("\n    ")
            )),
        }
    }

    /// Nothing of what went wrong stays.
    pub(crate) fn recovers(&mut self) -> Result<(), String> {
        self.gateway.assert_running();
        let pid = self.gateway.pid();
        within(SOON, || {
            let samples = Samples::of(self.admin);
            let open = samples.get("connections_active");
            if open != 0.0 {
                return Err(format!("{open} connections are still open"));
            }
            for address in self.members.addresses() {
                if samples.get(&format!("endpoint_up{{address=\"{address}\"}}")) != 1.0 {
                    return Err(format!("{address} is still not active"));
                }
            }
            Footprint::of(pid).beyond(&self.idle).map_or(Ok(()), Err)
        })?;
        self.serves(Mix::Whole, 8)
    }

    /// Every client of a load is served to its end.
    fn serves(&mut self, mix: Mix, clients: u32) -> Result<(), String> {
        let address = self.gateway.address();
        let outcome = self.members.load(address, clients, mix, &mut self.dice);
        if let Some(wrong) = outcome.wrong.first() {
            return Err(wrong.clone());
        }
        match outcome.reset {
            0 => Ok(()),
            reset => Err(format!(
                "{reset} of {clients} clients reset although nothing fails"
            )),
        }
    }

    /// Whole lines of the access log.
    fn access(&self) -> Vec<Json> {
        let path = self.dir.path().join("access.log");
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let whole = text.rfind('\n').map_or("", |end| &text[..=end]);
        let records = whole.lines().map(Json::parse);
        records.map(|record| record.expect("JSON")).collect()
    }

    /// Who was held responsible for what this host has failed to do.
    fn blamed(&self, round: &Round<'_>, lines: usize, ended: usize, cuts: usize) -> Vec<String> {
        let mut wrong = Vec::new();
        let lines = &self.gateway.lines()[lines..];
        let deactivated = lines
            .iter()
            .find(|line| line.contains("deactivated endpoint"));
        if round.bears != Bears::Unreachable {
            wrong.extend(deactivated.map(|line| format!("an endpoint was given up: {line}")));
        }
        if matches!(round.bears, Bears::All | Bears::OwnFault) {
            let records = self.access();
            let causes = ["client_failed", "endpoint_failed"];
            let by_peers = |record: &&Json| causes.contains(&record.text("cause"));
            let blamed: Vec<_> = records[ended..].iter().filter(by_peers).collect();
            if blamed.len() > cuts {
                wrong.push(format!(
                    "{} failures of peers, of which {cuts} have reset: {:?}",
                    blamed.len(),
                    blamed.last()
                ));
            }
        }
        wrong
    }
}

/// Waits until `probe` has nothing to say.
fn within(patience: Duration, mut probe: impl FnMut() -> Result<(), String>) -> Result<(), String> {
    let deadline = Instant::now() + patience;
    loop {
        match probe() {
            Err(_) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(5)),
            outcome => return outcome,
        }
    }
}

/// What is wrong with these lines of a log, whatever they say.
pub(crate) fn log_faults(lines: &[String]) -> Vec<String> {
    let mut wrong = BTreeSet::new();
    let mut repeats = BTreeMap::new();
    for line in lines {
        let Ok(record) = Json::parse(line) else {
            wrong.insert(format!("not JSON: {line}"));
            continue;
        };
        if line.contains("(os error") {
            wrong.insert(format!("a number for an error: {line}"));
        }
        if CHANGES.contains(&record.text("msg")) {
            continue;
        }
        let second = record.text("ts").get(..19).unwrap_or_default().to_owned();
        let count = repeats
            .entry((second, record.text("msg").to_owned()))
            .or_insert(0);
        *count += 1;
        if *count == REPEATS + 1 {
            wrong.insert(format!("more than {REPEATS} times in a second: {line}"));
        }
    }
    wrong.into_iter().collect()
}
