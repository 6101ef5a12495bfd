//! Endpoints that are second choice, and no worse: slow to say that they are well (A12), no etcd at all (A13), a learner
//! under a policy that rewards those who fail quickly (A14).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::LONG;
use super::load::Call;
use super::members::{Cluster, Setup, client};
use super::observed::{Sights, given, states};
use super::rig::{CONTROL_NAME, FEATURE, Plan, Rig};
use super::servers::{forward, say_healthy, sink};
use super::vocabulary::{ACTIVE, SILENT};
use crate::support::SOON;
use crate::support::isolated::isolated_within;

/// Two checks of 5 s, of which each may take 2 s, and a little.
const TWO_CHECKS: u64 = 16;

/// The share of fresh clients that each endpoint was given, in percent.
fn shares(sights: &Sights, endpoints: &[String], from: Duration, to: Duration) -> Vec<f64> {
    let counts: Vec<f64> = endpoints
        .iter()
        .map(|endpoint| given(sights, endpoint, from, to))
        .collect();
    let all: f64 = counts.iter().sum();
    counts.iter().map(|count| 100.0 * count / all).collect()
}

#[test]
#[ignore = "an experiment of a minute and a half: make soak SOAK=A12"]
fn a12_overload() {
    isolated_within(LONG, a12_overload, |site| {
        let Some(cluster) = Cluster::start(site, Setup::chosen()) else {
            return;
        };
        // Each member behind an address whose health this test answers for.
        let delays: Vec<Arc<AtomicU64>> = (0..3).map(|_| Arc::default()).collect();
        let mut endpoints = Vec::new();
        for (index, delay) in delays.iter().enumerate() {
            let host = format!("10.77.0.{}", 11 + index);
            cluster.wires.address(&host);
            let address = format!("{host}:2379");
            forward(&address, &client(index), Duration::ZERO);
            say_healthy(&format!("{host}:2382"), delay);
            endpoints.push(address);
        }
        let plan = Plan {
            flags: &[
                "--health-check=http://:2382/health",
                "--close-unhealthy=never",
            ],
            control: None,
            ..Plan::new("A12")
        };
        let rig = Rig::before(cluster, &endpoints, plan);
        rig.pass(2);
        let begun = rig.now();
        delays[0].store(3000, Ordering::SeqCst);
        rig.pass(TWO_CHECKS);
        let one = rig.now();
        rig.pass(10);
        let both = rig.now();
        delays
            .iter()
            .for_each(|delay| delay.store(3000, Ordering::SeqCst));
        rig.pass(TWO_CHECKS);
        let all = rig.now();
        rig.pass(15);
        let end = rig.now();
        let outcome = rig.finish();
        let mut report = outcome.report();
        let windows = [
            ("before", Duration::ZERO..begun),
            ("one slow", one..both),
            ("all slow", all..end),
        ];
        outcome.print(&report, &windows);
        let seen = outcome.seen(FEATURE);
        for endpoint in &endpoints {
            report.say(&format!(
                "{endpoint} {:.1?}",
                states(&seen.sights, endpoint)
            ));
        }
        let first = given(&seen.sights, &endpoints[0], one, both);
        report.hold(
            first == 0.0,
            &format!("an overloaded member is second choice: {first}"),
        );
        let even = shares(&seen.sights, &endpoints, all, end);
        report.hold(
            even.iter().all(|share| (26.0..41.0).contains(share)),
            &format!("where all are, shares are even: {even:.0?} %"),
        );
        let ends = |stories: &[super::long_lived::Story]| -> usize {
            stories.iter().map(|story| story.ends.len()).sum()
        };
        let ended = ends(&seen.watches) + ends(&seen.leases);
        report.hold(
            ended == 0,
            &format!("nothing that is open is closed: {ended}"),
        );
        let tally = outcome.fresh(FEATURE, &(begun..end));
        report.hold(tally.failed == 0, &format!("none fails: {}", tally.failed));
        report.end();
    });
}

#[test]
#[ignore = "an experiment of a minute: make soak SOAK=A13"]
fn a13_not_etcd() {
    isolated_within(LONG, a13_not_etcd, |site| {
        let Some(cluster) = Cluster::start(site, Setup::chosen()) else {
            return;
        };
        cluster.wires.address("10.77.0.20");
        let mute = "10.77.0.20:2379".to_owned();
        sink(&mute);
        let plan = Plan {
            held: 0,
            direct: (Call::EtcdctlStale, &[0]),
            ..Plan::new("A13")
        };
        let endpoints = [client(1), client(2), mute.clone()];
        let mut rig = Rig::before(cluster, &endpoints, plan);
        rig.pass(8);
        let known = rig.now();
        rig.pass(12);
        let killed = rig.now();
        for index in [1, 2] {
            rig.cluster.kill(index);
        }
        rig.pass(6);
        let end = rig.now();
        let outcome = rig.finish();
        let mut report = outcome.report();
        let windows = [
            ("early", Duration::ZERO..known),
            ("known", known..killed),
            ("alone", killed..end),
        ];
        outcome.print(&report, &windows);
        let sights = &outcome.seen(FEATURE).sights;
        let seen = states(sights, &mute);
        let silent = seen
            .iter()
            .any(|(at, state)| *at < killed && state == SILENT);
        report.hold(silent, &format!("it is silent: {seen:.1?}"));
        let fresh = given(sights, &mute, known, killed);
        report.hold(
            fresh == 0.0,
            &format!("it is given no client while others serve: {fresh}"),
        );
        let fresh = given(sights, &mute, killed, end);
        report.hold(
            fresh > 0.0,
            &format!("it is used when the others are down: {fresh}"),
        );
        let tally = outcome.fresh(FEATURE, &(known..killed));
        report.hold(
            tally.begun > 0 && tally.failed == 0,
            &format!(
                "none fails while others serve: {} of {}",
                tally.failed, tally.begun
            ),
        );
        let control = outcome.fresh(CONTROL_NAME, &(known..killed)).hurt_share();
        report.hold(
            control >= 25.0,
            &format!("the control loses a quarter: {control:.0} %"),
        );
        report.end();
    });
}

/// Streams are open at the three voters, none at the learner, which fails quickly: it never has an open connection. What
/// counts a connection for a second does not depend on a flag, so the control is not expected to differ.
#[test]
#[ignore = "an experiment of a minute: make soak SOAK=A14"]
fn a14_learner() {
    isolated_within(LONG, a14_learner, |site| {
        let Some(cluster) = Cluster::start(site, Setup::chosen()) else {
            return;
        };
        let plan = Plan {
            flags: &["--policy=least-connections", "--retry-delay=1s"],
            control: Some(&[
                "--policy=least-connections",
                "--retry-delay=1s",
                "--answer-timeout=0s",
            ]),
            ..Plan::new("A14")
        };
        let endpoints = [0, 1, 2, 3].map(client);
        // The fourth refuses, until it is there: clients that stay are with the others.
        let mut rig = Rig::before(cluster, &endpoints, plan);
        rig.cluster.add_learner();
        crate::support::eventually(4 * SOON, "the learner is an active endpoint", || {
            let all_active = rig.fronts.iter().all(|front| {
                let seen = super::observed::look(front.admin, rig.now()).unwrap_or_default();
                seen.iter().all(|(_, sight)| sight.state == ACTIVE)
            });
            all_active.then_some(())
        });
        let begun = rig.now();
        rig.pass(20);
        let end = rig.now();
        let outcome = rig.finish();
        let mut report = outcome.report();
        outcome.print(&report, &[("all", begun..end)]);
        let share = |front| shares(&outcome.seen(front).sights, &endpoints, begun, end);
        report.say(&format!(
            "shares of the control: {:.0?} %",
            share(CONTROL_NAME)
        ));
        let ours = share(FEATURE);
        report.hold(
            ours.last().is_some_and(|&share| share <= 27.0),
            &format!("the learner gets at most 27 % of the clients: {ours:.0?} %"),
        );
        report.end();
    });
}
