//! Members that answer and cannot serve: cut off from the others, removed, without quorum, without space. Only a health
//! check can tell.

use std::time::Duration;

use super::access::Etcd;
use super::frozen::judge_control;
use super::load::Call;
use super::members::{Cluster, Setup, client};
use super::observed::states;
use super::report::{Tally, UNDER_WAY};
use super::rig::{CONTROL_NAME, DIRECT, FEATURE, Plan, Rig};
use super::vocabulary::{HEALTH_CHECK, UNHEALTHY};
use super::{LONG, seconds};
use crate::support::isolated::isolated_within;
use crate::support::{SOON, eventually, skipped};

/// A member is found out by two checks, 5 s apart, of which each may take 2 s.
const FOUND_OUT: Duration = seconds(12);

/// What happens to the first member while it is cut off.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Then {
    Heals,
    Removed,
}

/// The first member is cut off from the others (A6, A9).
pub(super) fn cut_off(rig: Rig, for_seconds: u64, then: Then) {
    rig.pass(4);
    let begun = rig.now();
    rig.cluster.wires.cut(0);
    if then == Then::Removed {
        rig.cluster.remove(0);
    }
    rig.pass(for_seconds);
    let healed = (then == Then::Heals).then(|| {
        let healed = rig.now();
        rig.cluster.wires.heal(0);
        rig.pass(8);
        healed
    });
    judge_cut(rig, begun, begun + FOUND_OUT, healed);
}

/// What must hold, by the times of the cut, of when the gateway must have found out, and of the end of the cut if it had
/// one.
pub(super) fn judge_cut(rig: Rig, begun: Duration, late: Duration, heal: Option<Duration>) {
    let end = rig.now();
    let healed = heal.unwrap_or(end);
    let control = rig.front(CONTROL_NAME).is_some();
    let outcome = rig.finish();
    let mut report = outcome.report();
    let windows = [
        ("before", Duration::ZERO..begun - UNDER_WAY),
        ("early", begun - UNDER_WAY..late),
        ("late", late..healed),
        ("after", healed..end),
    ];
    outcome.print(&report, &windows);
    let seen = states(&outcome.seen(FEATURE).sights, &client(0));
    report.say(&format!(
        "cut at {begun:.1?}, healed at {healed:.1?}, first member {seen:.1?}"
    ));
    let tally = outcome.fresh(FEATURE, &(Duration::ZERO..begun - UNDER_WAY));
    report.hold(tally.blamed() == 0, "none fails before the fault");
    let tally = outcome.fresh(FEATURE, &(late..healed));
    report.hold(
        tally.well(),
        &format!("of the late ones none fails: {}", tally.failures()),
    );
    report.hold(
        seen.iter().any(|(_, state)| state == UNHEALTHY),
        "the state of the member is unhealthy",
    );
    if heal.is_some() {
        let tally = outcome.fresh(FEATURE, &(healed..end));
        report.hold(
            tally.well(),
            &format!("none fails after the heal: {}", tally.failures()),
        );
    }
    if control {
        judge_control(&outcome, &mut report, begun, healed);
    }
    report.end();
}

/// A gateway that checks, beside one that does not.
pub(super) const fn checked(name: &'static str) -> Plan {
    Plan {
        flags: &[HEALTH_CHECK],
        ..Plan::new(name)
    }
}

fn cut_test<F: Fn()>(test: F, name: &'static str, setup: Setup, then: Then) {
    isolated_within(LONG, test, |site| {
        if let Some(rig) = Rig::start(site, setup, checked(name)) {
            cut_off(rig, 25, then);
        }
    });
}

#[test]
#[ignore = "an experiment of a minute: make soak SOAK=A6"]
fn a6_plain() {
    cut_test(a6_plain, "A6 plain", Setup::PLAIN, Then::Heals);
}

#[test]
#[ignore = "an experiment of a minute: make soak SOAK=A6"]
fn a6_mutual_tls() {
    cut_test(a6_mutual_tls, "A6 mTLS", Setup::MUTUAL, Then::Heals);
}

#[test]
#[ignore = "an experiment of a minute: make soak SOAK=A6"]
fn a6_etcd_351() {
    cut_test(a6_etcd_351, "A6 3.5.1", Setup::V351, Then::Heals);
}

#[test]
#[ignore = "an experiment of a minute: make soak SOAK=A9"]
fn a9_removed_while_cut_off() {
    cut_test(
        a9_removed_while_cut_off,
        "A9",
        Setup::chosen(),
        Then::Removed,
    );
}

/// Two members of three are killed, among them the leader, and come back.
fn quorum_lost<F: Fn()>(test: F, name: &'static str, setup: Setup) {
    isolated_within(LONG, test, |site| {
        let plan = Plan {
            calls: &[Call::EtcdctlPut, Call::EtcdctlStale],
            direct: (Call::EtcdctlPut, &[2]),
            ..checked(name)
        };
        let Some(mut rig) = Rig::start(site, setup, plan) else {
            return;
        };
        rig.pass(4);
        let begun = rig.now();
        for index in [0, 1] {
            rig.cluster.kill(index);
        }
        rig.pass(15);
        let back = rig.now();
        for index in [0, 1] {
            rig.cluster.restart(index);
        }
        rig.pass(12);
        let end = rig.now();
        let outcome = rig.finish();
        let mut report = outcome.report();
        let served = outcome.requests.iter().filter(|request| {
            request.front == DIRECT && request.begun >= begun && request.error.is_none()
        });
        let served = served.map(|request| request.ended());
        let first = served.filter(|&at| at >= back).min();
        report.hold(
            first.is_some(),
            &format!("the last member serves again, at {first:.1?}"),
        );
        let after = first.unwrap_or(back) + seconds(1);
        let windows = [
            ("before", Duration::ZERO..begun - UNDER_WAY),
            ("lost", begun - UNDER_WAY..back),
            ("back", back..after),
            ("after", after..end),
        ];
        outcome.print(&report, &windows);
        let share = |front| {
            let tally = outcome.tally(front, Call::EtcdctlPut, &(begun..back));
            tally.failed_share()
        };
        let (ours, without) = (share(FEATURE), share(CONTROL_NAME));
        report.hold(
            ours <= without + 5.0,
            &format!("puts fail as without a check: {ours:.0} % and {without:.0} %"),
        );
        // The clients of the last member fail, too: that excuses nothing here.
        let stale = outcome.tally(FEATURE, Call::EtcdctlStale, &(begun..back));
        report.hold(
            stale.begun > 0 && stale.failed == 0,
            &format!(
                "serializable reads are served: {} of {} fail",
                stale.failed, stale.begun
            ),
        );
        let tally = outcome.fresh(FEATURE, &(after..end));
        report.hold(
            tally.begun > 0 && tally.failed == 0,
            &format!(
                "none fails after the return: {} of {}",
                tally.failed, tally.begun
            ),
        );
        report.end();
    });
}

#[test]
#[ignore = "an experiment of a minute: make soak SOAK=A7"]
fn a7_plain() {
    quorum_lost(a7_plain, "A7 plain", Setup::PLAIN);
}

#[test]
#[ignore = "an experiment of a minute: make soak SOAK=A7"]
fn a7_etcd_351() {
    quorum_lost(a7_etcd_351, "A7 3.5.1", Setup::V351);
}

/// Bytes that the database may have, and how it is filled.
const QUOTA: u32 = 2 << 20;

/// Puts until the cluster says that there is no more room.
fn fill(cluster: &Cluster) {
    let value = "x".repeat(100_000);
    eventually(2 * SOON, "no space is left", || {
        let output = cluster.etcdctl(&[1], &["put", "fill", &value]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        said.contains("space exceeded").then_some(())
    });
}

#[test]
#[ignore = "an experiment of a minute: make soak SOAK=A8"]
fn a8_no_space() {
    isolated_within(LONG, a8_no_space, |site| {
        let setup = Setup {
            quota: QUOTA,
            ..Setup::chosen()
        };
        let plan = Plan {
            calls: &[Call::EtcdctlGet, Call::CurlGet],
            direct: (Call::EtcdctlGet, &[1, 2]),
            held: 0,
            ..checked("A8")
        };
        let Some(rig) = Rig::start(site, setup, plan) else {
            return;
        };
        rig.pass(3);
        let begun = rig.now();
        fill(&rig.cluster);
        // Until the checks have failed twice at each member, and some time more.
        rig.pass(20);
        let end = rig.now();
        let gateway = rig.feature().address.clone();
        let mut disarm = rig.cluster.access.etcdctl(&gateway, &["alarm", "disarm"]);
        let disarmed = disarm.output().expect("run etcdctl");
        let left = rig.cluster.etcdctl_text(&[1], &["alarm", "list"]);
        let outcome = rig.finish();
        let mut report = outcome.report();
        let windows = [("before", Duration::ZERO..begun), ("full", begun..end)];
        outcome.print(&report, &windows);
        let all: Vec<Vec<(Duration, String)>> = (0..3)
            .map(|index| states(&outcome.seen(FEATURE).sights, &client(index)))
            .collect();
        report.say(&format!("full from {begun:.1?}, states {all:.1?}"));
        let tally = outcome.fresh(FEATURE, &(begun..end));
        report.hold(
            tally.well(),
            &format!("all reads are served: {} fail", tally.failures()),
        );
        let found = all.iter().flatten().any(|(_, state)| state == UNHEALTHY);
        report.hold(found, "the wrong URL makes members unhealthy");
        let said = String::from_utf8_lossy(&disarmed.stderr).into_owned();
        report.hold(
            disarmed.status.success() && left.trim().is_empty(),
            &format!("alarm disarm works through the gateway: {said} {left}"),
        );
        report.end();
    });
}

/// Needs an etcd whose `/readyz` tells a learner: 3.5.19 or newer.
#[test]
#[ignore = "an experiment of a minute: make soak SOAK=A9 AVAILABILITY_ETCD=DIRECTORY"]
fn a9_learner() {
    if std::env::var_os("AVAILABILITY_ETCD").is_none() {
        return skipped("an etcd of 3.5.19 or newer, in the directory AVAILABILITY_ETCD");
    }
    isolated_within(LONG, a9_learner, |site| {
        let setup = Setup {
            etcd: Etcd::Named,
            ..Setup::PLAIN
        };
        let Some(mut cluster) = Cluster::start(site, setup) else {
            return;
        };
        cluster.add_learner();
        let plan = Plan {
            flags: &["--health-check=http://:2381/readyz"],
            held: 0,
            ..Plan::new("A9 learner")
        };
        let endpoints = [0, 1, 2, 3].map(client);
        let rig = Rig::before(cluster, &endpoints, plan);
        rig.pass(32);
        let end = rig.now();
        let outcome = rig.finish();
        let mut report = outcome.report();
        let windows = [
            ("early", Duration::ZERO..FOUND_OUT),
            ("late", FOUND_OUT..end),
        ];
        outcome.print(&report, &windows);
        let tally: Tally = outcome.fresh(FEATURE, &(FOUND_OUT..end));
        report.hold(
            tally.well(),
            &format!("of the late ones none fails: {}", tally.failures()),
        );
        report.end();
    });
}
