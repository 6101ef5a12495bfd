//! The experiments that the suite can afford: one gateway, less load, and no longer than it takes. It shares two cores
//! with the rest of the suite, so they wait until the gateway has found out, however long that takes there.

use std::time::Duration;

use super::cut_off::{checked, judge_cut};
use super::frozen::{Freeze, all_frozen, judge_freeze, print_freeze};
use super::members::Setup;
use super::rig::{Plan, Rig};
use super::vocabulary::{ACTIVE, SILENT, UNHEALTHY};
use crate::support::isolated::isolated;

/// The same with less load.
const fn light(plan: Plan) -> Plan {
    Plan {
        control: None,
        every: Duration::from_millis(1000),
        held: 0,
        ..plan
    }
}

#[test]
fn a1_in_short() {
    isolated(a1_in_short, |site| {
        let plan = light(Plan::new("A1 short"));
        let Some(rig) = Rig::start(site, Setup::PLAIN, plan) else {
            return;
        };
        rig.pass(2);
        let begun = rig.now();
        rig.cluster.freeze(0);
        rig.pass_until(0, SILENT);
        let early = rig.now() - begun;
        rig.pass(4);
        let thawed = rig.now();
        rig.cluster.thaw(0);
        rig.pass_until(0, ACTIVE);
        rig.pass(2);
        let end = rig.now();
        let freeze = Freeze {
            begun,
            thawed,
            end,
            early,
        };
        let outcome = rig.finish();
        let mut report = outcome.report();
        print_freeze(&outcome, &report, &freeze);
        judge_freeze(&outcome, &mut report, &freeze);
        report.end();
    });
}

#[test]
fn a3_in_short() {
    isolated(a3_in_short, |site| {
        let plan = light(Plan::new("A3 short"));
        if let Some(rig) = Rig::start(site, Setup::PLAIN, plan) {
            all_frozen(rig, 7);
        }
    });
}

#[test]
fn a6_in_short() {
    isolated(a6_in_short, |site| {
        let plan = Plan {
            times: "health_interval=1000",
            ..light(checked("A6 short"))
        };
        let Some(rig) = Rig::start(site, Setup::PLAIN, plan) else {
            return;
        };
        rig.pass(2);
        let begun = rig.now();
        rig.cluster.wires.cut(0);
        rig.pass_until(0, UNHEALTHY);
        let late = rig.now();
        rig.pass(4);
        let healed = rig.now();
        rig.cluster.wires.heal(0);
        rig.pass_until(0, ACTIVE);
        rig.pass(2);
        judge_cut(rig, begun, late, Some(healed));
    });
}
