//! Members that are stopped: the kernel answers for them, and takes what clients send.

use std::time::Duration;

use super::load::Call;
use super::members::{Setup, client};
use super::observed::{given, states};
use super::report::{HANG, Report, UNDER_WAY};
use super::rig::{CONTROL_NAME, FEATURE, Outcome, Plan, Rig};
use super::vocabulary::{ACTIVE, DOES_NOT_ANSWER, PROBES, REFUSED_CLIENT, REJECTED, SILENT, label};
use super::{LONG, seconds};
use crate::support::isolated::isolated_within;

/// Times of one freeze, by the rig's clock.
#[derive(Clone, Copy)]
pub(super) struct Freeze {
    pub(super) begun: Duration,
    pub(super) thawed: Duration,
    /// Until the end of the experiment.
    pub(super) end: Duration,
    /// What the gateway may take to find out.
    pub(super) early: Duration,
}

/// The first member is stopped for a while, all else goes on.
pub(super) fn freeze_first(rig: &Rig, for_seconds: u64, early: Duration) -> Freeze {
    rig.pass(4);
    let begun = rig.now();
    rig.cluster.freeze(0);
    rig.pass(for_seconds);
    let thawed = rig.now();
    rig.cluster.thaw(0);
    rig.pass(6);
    Freeze {
        begun,
        thawed,
        end: rig.now(),
        early,
    }
}

/// Prints all windows of a freeze.
pub(super) fn print_freeze(outcome: &Outcome, report: &Report, freeze: &Freeze) {
    let (met, late) = (freeze.begun - UNDER_WAY, freeze.begun + freeze.early);
    let windows = [
        ("before", Duration::ZERO..met),
        ("early", met..late),
        ("late", late..freeze.thawed),
        ("after", freeze.thawed..freeze.end),
    ];
    outcome.print(report, &windows);
    for seen in &outcome.fronts {
        let text = |at: Duration| format!("{:+.1}", at.as_secs_f64() - freeze.begun.as_secs_f64());
        let states = states(&seen.sights, &client(0));
        let states: Vec<String> = states
            .iter()
            .map(|(at, state)| format!("{} s {state}", text(*at)))
            .collect();
        let (watches, leases): (Vec<f64>, Vec<bool>) = (
            seen.watches
                .iter()
                .map(|watch| watch.silence(freeze.begun, freeze.end).as_secs_f64())
                .collect(),
            seen.leases
                .iter()
                .map(|lease| !lease.ends.is_empty())
                .collect(),
        );
        let sights = seen.sights.get(&client(0)).map_or(&[][..], Vec::as_slice);
        let open = sights.iter().rev().find(|sight| sight.at <= freeze.begun);
        let open = open.map(|sight| sight.open);
        report.say(&format!(
            "{}: first member {states:?}, with {open:?} connections at the beginning",
            seen.name
        ));
        report.say(&format!(
            "{}: watches silent for {watches:.1?} s, leases lost {leases:?}",
            seen.name
        ));
    }
}

/// What must hold of fresh clients while the first member is stopped, and when it is back (A1).
pub(super) fn judge_freeze(outcome: &Outcome, report: &mut Report, freeze: &Freeze) {
    let (met, late) = (freeze.begun - UNDER_WAY, freeze.begun + freeze.early);
    for call in [Call::EtcdctlPut, Call::CurlPut] {
        let name = call.name();
        let before = outcome.tally(FEATURE, call, &(Duration::ZERO..met));
        report.hold(
            before.blamed() == 0,
            &format!("no {name} fails before the fault"),
        );
        let tally = outcome.tally(FEATURE, call, &(late..freeze.thawed));
        report.hold(
            tally.well(),
            &format!("of the late {name} none fails: {}", tally.failures()),
        );
        let tally = outcome.tally(FEATURE, call, &(met..late));
        report.hold(
            tally.blamed() <= 3,
            &format!("of the early {name} at most 3 fail: {}", tally.failures()),
        );
        let tally = outcome.tally(FEATURE, call, &(met..freeze.thawed));
        report.hold(
            tally.longest <= HANG,
            &format!("no {name} takes more than 5.5 s: {:.2?}", tally.longest),
        );
        let tally = outcome.tally(FEATURE, call, &(freeze.thawed..freeze.end));
        report.hold(
            tally.well(),
            &format!("no {name} fails after the thaw: {}", tally.failures()),
        );
    }
    let seen = outcome.seen(FEATURE);
    let fresh = given(&seen.sights, &client(0), late, freeze.thawed);
    report.hold(
        fresh == 0.0,
        &format!("the stopped member is given no client: {fresh}"),
    );
    let states = states(&seen.sights, &client(0));
    let silent = states
        .iter()
        .any(|(at, state)| state == SILENT && (freeze.begun..freeze.thawed).contains(at));
    report.hold(silent, "its state is silent");
    let address = client(0);
    let lines = seen
        .log
        .iter()
        .filter(|line| line.contains(DOES_NOT_ANSWER));
    let lines = lines
        .filter(|line| line.contains(&format!("\"{address}\"")))
        .count();
    report.hold(lines == 1, &format!("that is logged once: {lines}"));
    let back = seen.sights.get(&address).into_iter().flatten();
    let back = back
        .filter(|sight| sight.at >= freeze.thawed)
        .find(|sight| sight.state == ACTIVE)
        .map(|sight| sight.at - freeze.thawed);
    report.hold(
        back.is_some_and(|after| after <= seconds(3)),
        &format!("it is active at most 3 s after SIGCONT: {back:.1?}"),
    );
}

/// What shows that the harness sees the fault: a gateway that does not ask loses the clients of a whole member.
pub(super) fn judge_control(outcome: &Outcome, report: &mut Report, from: Duration, to: Duration) {
    // A client that begins shortly before the end is served after a wait that does not count as a hang.
    let tally = outcome.fresh(CONTROL_NAME, &(from..to.saturating_sub(HANG)));
    let share = tally.hurt_share();
    report.hold(
        share >= 25.0,
        &format!("the control loses a quarter of its clients, or more: {share:.0} %"),
    );
}

fn a1<F: Fn()>(test: F, name: &'static str, setup: Setup) {
    isolated_within(LONG, test, |site| {
        let Some(rig) = Rig::start(site, setup, Plan::new(name)) else {
            return;
        };
        let freeze = freeze_first(&rig, 25, seconds(3));
        let outcome = rig.finish();
        let mut report = outcome.report();
        print_freeze(&outcome, &report, &freeze);
        judge_freeze(&outcome, &mut report, &freeze);
        judge_control(&outcome, &mut report, freeze.begun, freeze.thawed);
        report.end();
    });
}

#[test]
#[ignore = "an experiment of a minute: make soak SOAK=A1"]
fn a1_plain() {
    a1(a1_plain, "A1 plain", Setup::PLAIN);
}

#[test]
#[ignore = "an experiment of a minute: make soak SOAK=A1"]
fn a1_mutual_tls() {
    a1(a1_mutual_tls, "A1 mTLS", Setup::MUTUAL);
}

#[test]
#[ignore = "an experiment of a minute: make soak SOAK=A1"]
fn a1_etcd_351() {
    a1(a1_etcd_351, "A1 3.5.1", Setup::V351);
}

fn a2<F: Fn()>(test: F, name: &'static str, setup: Setup) {
    isolated_within(LONG, test, |site| {
        let plan = Plan {
            flags: &["--close-unhealthy=5s"],
            channels: 3,
            ..Plan::new(name)
        };
        let Some(rig) = Rig::start(site, setup, plan) else {
            return;
        };
        let freeze = freeze_first(&rig, 25, seconds(3));
        let outcome = rig.finish();
        let mut report = outcome.report();
        print_freeze(&outcome, &report, &freeze);
        judge_freeze(&outcome, &mut report, &freeze);
        let silence = |front: &str| {
            let watches = outcome.seen(front).watches.iter();
            let silences = watches.map(|watch| watch.silence(freeze.begun, freeze.thawed));
            silences.max().unwrap_or_default()
        };
        let longest = silence(FEATURE);
        report.hold(
            longest <= seconds(9),
            &format!("no watch is silent for more than 9 s: {longest:.1?}"),
        );
        let lost = |front: &str| {
            let leases = &outcome.seen(front).leases;
            leases.iter().filter(|lease| !lease.ends.is_empty()).count()
        };
        report.hold(
            lost(FEATURE) == 0,
            &format!("no lease is lost: {}", lost(FEATURE)),
        );
        // Of each channel's calls, how many fail; the worst of them.
        let failed = |front: &str| {
            let of_lane = |lane| {
                let calls = outcome.requests.iter().filter(|request| {
                    (request.front, request.call, request.lane) == (front, Call::Channel, lane)
                        && (freeze.begun..freeze.thawed).contains(&request.begun)
                });
                calls.filter(|request| request.error.is_some()).count()
            };
            (0..plan.channels).map(of_lane).max()
        };
        let worst = failed(FEATURE).unwrap_or_default();
        report.hold(
            worst <= 2,
            &format!("no channel fails more than 2 calls: {worst}"),
        );
        let (longest, worst) = (silence(CONTROL_NAME), failed(CONTROL_NAME));
        report.hold(
            longest > seconds(9) && worst > Some(2) && lost(CONTROL_NAME) > 0,
            &format!(
                "the control does worse: {longest:.1?} of silence, {} leases, {worst:?} calls",
                lost(CONTROL_NAME)
            ),
        );
        report.end();
    });
}

#[test]
#[ignore = "an experiment of a minute: make soak SOAK=A2"]
fn a2_plain() {
    a2(a2_plain, "A2 plain", Setup::PLAIN);
}

#[test]
#[ignore = "an experiment of a minute: make soak SOAK=A2"]
fn a2_mutual_tls() {
    a2(a2_mutual_tls, "A2 mTLS", Setup::MUTUAL);
}

/// True for an error that a member has told the client: after a thaw there may be no leader for a moment.
fn is_answer(error: &str) -> bool {
    error.contains("etcdserver:") || error.starts_with("HTTP ") && !error.starts_with("HTTP 000")
}

/// All members are stopped: nobody may be worse off than in front of a gateway that knows nothing.
pub(super) fn all_frozen(rig: Rig, for_seconds: u64) {
    rig.pass(3);
    let begun = rig.now();
    (0..3).for_each(|index| rig.cluster.freeze(index));
    rig.pass(for_seconds);
    let thawed = rig.now();
    (0..3).for_each(|index| rig.cluster.thaw(index));
    rig.pass(5);
    let end = rig.now();
    let rejected = rig.metric(REJECTED, &[]);
    let outcome = rig.finish();
    let mut report = outcome.report();
    let windows = [
        ("before", Duration::ZERO..begun - UNDER_WAY),
        ("frozen", begun - UNDER_WAY..thawed),
        ("+ 1 s", thawed..thawed + seconds(1)),
        ("after", thawed + seconds(1)..end),
    ];
    outcome.print(&report, &windows);
    let hasty = outcome.requests.iter().filter(|request| {
        request.front == FEATURE
            && (begun..thawed).contains(&request.begun)
            && request.error.as_ref().is_some_and(|error| !is_answer(error))
            // Timers of clients may be early by as much as they were started before the clock was read.
            && request.took + Duration::from_millis(200) < request.call.patience()
    });
    let hasty = hasty.count();
    report.hold(
        hasty == 0,
        &format!("no client is reset before its own time-out: {hasty}"),
    );
    let after = outcome.fresh(FEATURE, &(thawed + seconds(1)..end));
    report.hold(
        after.well(),
        &format!("none fails after the thaw: {}", after.failures()),
    );
    report.hold(
        rejected == Some(0.0),
        &format!("no client is rejected: {rejected:?}"),
    );
    let log = &outcome.seen(FEATURE).log;
    let refused = log
        .iter()
        .filter(|line| line.contains(REFUSED_CLIENT))
        .count();
    report.hold(
        refused == 0,
        &format!("no rejected client is logged: {refused}"),
    );
    report.end();
}

#[test]
#[ignore = "an experiment of half a minute: make soak SOAK=A3"]
fn a3_all_frozen() {
    isolated_within(LONG, a3_all_frozen, |site| {
        if let Some(rig) = Rig::start(site, Setup::chosen(), Plan::new("A3")) {
            all_frozen(rig, 8);
        }
    });
}

#[test]
#[ignore = "an experiment of a minute and a half: make soak SOAK=A4"]
fn a4_stalls() {
    isolated_within(LONG, a4_stalls, |site| {
        let Some(rig) = Rig::start(site, Setup::chosen(), Plan::new("A4")) else {
            return;
        };
        rig.pass(4);
        let (begun, lines) = (rig.now(), rig.feature().gateway.lines().len());
        let mut stalls = 0;
        while rig.now() < begun + seconds(60) {
            rig.cluster.freeze(0);
            rig.pass(4);
            rig.cluster.thaw(0);
            rig.pass(4);
            stalls += 1;
        }
        let end = rig.now();
        let probes = rig.metric(PROBES, &[&label(&client(0))]);
        let outcome = rig.finish();
        let mut report = outcome.report();
        let windows = [("before", Duration::ZERO..begun), ("stalls", begun..end)];
        outcome.print(&report, &windows);
        let tally = outcome.fresh(FEATURE, &(begun..end));
        report.hold(tally.well(), &format!("none fails: {}", tally.failures()));
        report.hold(
            tally.p99 <= Duration::from_millis(4500),
            &format!("99 of 100 take at most 4.5 s: {:.2?}", tally.p99),
        );
        let address = format!("\"{}\"", client(0));
        let log = outcome.seen(FEATURE).log.iter().skip(lines);
        let changes = log.filter(|line| line.contains(&address)).count();
        report.hold(
            changes <= 2 * stalls,
            &format!("at most 2 lines per stall: {changes} in {stalls}"),
        );
        let most = (end - begun).as_secs_f64();
        report.hold(
            probes.is_some_and(|count| count <= most),
            &format!("at most one probe per second: {probes:?} in {most:.0} s"),
        );
        report.end();
    });
}
