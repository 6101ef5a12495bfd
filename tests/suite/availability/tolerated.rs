//! A5: faults that cost no client, with health checks or without: packet loss, latency, restarts, a removed member.

use std::time::Duration;

use super::load::Request;
use super::members::{Cluster, Setup, client};
use super::observed::states;
use super::report::{Report, Tally};
use super::rig::{CONTROL_NAME, FEATURE, Outcome, Plan, Rig};
use super::servers::forward;
use super::vocabulary::SILENT;
use super::{LONG, seconds};
use crate::support::isolated::isolated_within;

/// Where the forwarder stands before the first member.
const SLOW: &str = "10.77.0.11";

/// Prints the figures, and what must hold of `allowed` failures.
fn judge(outcome: &Outcome, (begun, end): (Duration, Duration), allowed: usize) -> Report {
    let mut report = outcome.report();
    let windows = [("before", Duration::ZERO..begun), ("during", begun..end)];
    outcome.print(&report, &windows);
    let tally = outcome.fresh(FEATURE, &(begun..end));
    report.hold(
        tally.begun > 0 && tally.blamed() <= allowed,
        &format!("at most {allowed} fail: {}", tally.failures()),
    );
    report
}

/// With 30 % of all packets lost both ways, one client in some hundreds has five retransmissions lost in a row, which
/// is longer than its time-out; that is TCP's loss and the control has it as often. So one more than there is allowed.
#[test]
#[ignore = "an experiment of a minute: make soak SOAK=A5"]
fn a5_loss() {
    isolated_within(LONG, a5_loss, |site| {
        let Some(rig) = Rig::start(site, Setup::chosen(), Plan::new("A5 loss")) else {
            return;
        };
        rig.pass(4);
        let begun = rig.now();
        rig.cluster.wires.lose(0);
        rig.pass(30);
        rig.cluster.wires.heal(0);
        let end = rig.now();
        let outcome = rig.finish();
        let control = outcome.fresh(CONTROL_NAME, &(begun..end)).failed;
        judge(&outcome, (begun, end), control + 1).end();
    });
}

#[test]
#[ignore = "an experiment of a minute: make soak SOAK=A5"]
fn a5_latency() {
    isolated_within(LONG, a5_latency, |site| {
        let Some(cluster) = Cluster::start(site, Setup::chosen()) else {
            return;
        };
        cluster.wires.address(SLOW);
        let slow = format!("{SLOW}:2379");
        forward(&slow, &client(0), Duration::from_millis(250));
        let endpoints = [slow.clone(), client(1), client(2)];
        let rig = Rig::before(cluster, &endpoints, Plan::new("A5 latency"));
        let begun = rig.now();
        rig.pass(25);
        let end = rig.now();
        let outcome = rig.finish();
        let mut report = judge(&outcome, (begun, end), 0);
        let states = states(&outcome.seen(FEATURE).sights, &slow);
        let silent = states.iter().any(|(_, state)| state == SILENT);
        report.hold(
            !silent,
            &format!("500 ms of latency are not silence: {states:.1?}"),
        );
        report.end();
    });
}

/// A request that was on its way through a member when it was killed is etcd's loss.
#[test]
#[ignore = "an experiment of a minute: make soak SOAK=A5"]
fn a5_restarts() {
    isolated_within(LONG, a5_restarts, |site| {
        let Some(mut rig) = Rig::start(site, Setup::chosen(), Plan::new("A5 restarts")) else {
            return;
        };
        rig.pass(4);
        let (begun, mut kills) = (rig.now(), Vec::new());
        while rig.now() < begun + seconds(30) {
            let before = rig.now();
            rig.cluster.kill(0);
            kills.push((before, rig.now()));
            rig.pass(2);
            rig.cluster.restart(0);
            rig.pass(3);
        }
        let end = rig.now();
        let outcome = rig.finish();
        let under_way = |request: &&Request| {
            kills
                .iter()
                .any(|&(from, to)| request.begun <= to && request.ended() >= from)
        };
        let requests = outcome.requests.iter();
        let ours = requests
            .filter(|request| request.front == FEATURE)
            .filter(under_way);
        let lost = Tally::of(ours.filter(|request| request.begun >= begun)).failed;
        let report = judge(&outcome, (begun, end), lost);
        report.say(&format!(
            "{lost} of them were under way when the member was killed"
        ));
        report.end();
    });
}

#[test]
#[ignore = "an experiment of half a minute: make soak SOAK=A5"]
fn a5_removed() {
    isolated_within(LONG, a5_removed, |site| {
        let Some(mut rig) = Rig::start(site, Setup::chosen(), Plan::new("A5 removed")) else {
            return;
        };
        rig.pass(4);
        let begun = rig.now();
        rig.cluster.remove(0);
        rig.cluster.wait_gone(0);
        rig.pass(15);
        let end = rig.now();
        let outcome = rig.finish();
        judge(&outcome, (begun, end), 0).end();
    });
}
