//! The experiments that the suite can afford: one gateway, less load, less time. It shares two cores with the rest of
//! the suite, so a gateway may take longer to find out than alone.

use std::time::Duration;

use super::cut_off::{Then, checked, cut_off};
use super::frozen::{all_frozen, freeze_first, judge_freeze, print_freeze};
use super::members::Setup;
use super::rig::{Plan, Rig};
use super::seconds;
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
        let freeze = freeze_first(&rig, 12, seconds(6));
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
        let plan = light(checked("A6 short"));
        if let Some(rig) = Rig::start(site, Setup::PLAIN, plan) {
            cut_off(rig, 17, Then::Heals);
        }
    });
}
