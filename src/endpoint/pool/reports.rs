//! What dials, probes, health checks and clients report of endpoints.
//!
//! A report about an address that is not in the set is ignored.

use std::net::SocketAddr;
use std::time::Instant;

use super::Pool;
use super::change::Before;
use super::member::Member;
use crate::dial::{self, DialResult};
use crate::endpoint::stats::{Checked, Probed};
use crate::sync::lock;

impl Pool {
    /// A dial waits for an answer longer than usual. The endpoint stays usable until that dial's
    /// own outcome is reported, but others are preferred.
    pub(crate) fn slow(&self, addr: SocketAddr) {
        self.change(addr, |member, _| member.slow = true);
    }

    /// A slow dial was given up before it had an outcome: the endpoint is dialled again.
    pub(crate) fn unresolved(&self, addr: SocketAddr) {
        self.change(addr, Member::unresolved);
    }

    /// All questions that were under way in the background were given up without an outcome.
    pub(crate) fn all_unresolved(&self) {
        let (now, members) = (Instant::now(), &mut lock(&self.set).members);
        members.iter_mut().for_each(|member| member.unresolved(now));
    }

    /// A dial begun at `started` failed. A failure of this host leaves the
    /// endpoint as it was, except that it is no longer slow.
    pub(crate) fn failed(&self, addr: SocketAddr, started: Instant, error: &dial::Error) {
        self.change(addr, |member, now| member.failed(started, error, now));
    }

    /// A client has sent its first bytes and waits too long for the answer.
    pub(crate) fn unanswered(&self, addr: SocketAddr) {
        self.change(addr, |member, _| member.stats.unanswered.add(1));
    }

    /// A client has waited for an endpoint since then, so it is to be probed. False if it was asked too recently:
    /// the caller has to repeat the report.
    pub(crate) fn suspect(&self, addr: SocketAddr, since: Instant) -> bool {
        let mut settled = true;
        self.change(addr, |member, now| settled = member.suspect(since, now));
        settled
    }

    /// A client has received the first bytes of its answer, some time after that.
    pub(crate) fn first_answer(&self, addr: SocketAddr, after: Instant) {
        self.change(addr, |member, now| {
            member.stats.answered_now();
            member.saw_answer(after);
            member.sent_late(now);
        });
    }

    /// An endpoint has reset a client's connection.
    pub(crate) fn reset(&self, addr: SocketAddr) {
        self.change(addr, Member::reset);
    }

    /// An endpoint has ended a client's connection; this many are left.
    pub(crate) fn ended(&self, addr: SocketAddr, left: u64) {
        self.change(addr, |member, now| member.ended(left, now));
    }

    /// A probe was made; when it was sent, if the endpoint has answered it in time.
    pub(crate) fn probed(&self, addr: SocketAddr, answered: Option<Instant>) {
        self.change(addr, |member, now| {
            // The probe was connected in either case.
            member.stats.dialled(DialResult::Ok, None);
            match answered {
                Some(sent) => {
                    member.stats.probed(Probed::Answered);
                    member.answered_probe(sent, now);
                }
                None => {
                    member.stats.probed(Probed::Silent);
                    member.ignored_probe(now);
                }
            }
        });
    }

    /// A probe was answered after its time.
    pub(crate) fn late_answer(&self, addr: SocketAddr) {
        self.change(addr, Member::sent_late);
    }

    /// A probe could not be made because its dial failed.
    pub(crate) fn probe_failed(&self, addr: SocketAddr, started: Instant, error: &dial::Error) {
        let probed = match error.is_local() {
            true => Probed::Local,
            false => Probed::Failed,
        };
        self.change(addr, |member, now| {
            member.stats.probed(probed);
            member.failed(started, error, now);
        });
    }

    /// A health check was made: whether the endpoint is unhealthy now, and why the check failed, if it did.
    pub(crate) fn checked(
        &self,
        addr: SocketAddr,
        checked: Checked,
        unhealthy: bool,
        error: Option<String>,
    ) {
        self.change(addr, |member, now| {
            member.stats.checked(checked);
            if checked == Checked::Passed {
                member.saw_answer(now);
            }
            member.judge(unhealthy, error, now);
        });
    }

    /// Applies a report to an endpoint, and records and logs what it changes.
    pub(super) fn change(&self, addr: SocketAddr, apply: impl FnOnce(&mut Member, Instant)) {
        let mut apply = Some(apply);
        self.apply(addr, &mut |member, now| {
            if let Some(apply) = apply.take() {
                apply(member, now);
            }
        });
    }

    /// One function for all reports, not inlined: sessions call it, and their stacks are small.
    #[inline(never)]
    fn apply(&self, addr: SocketAddr, apply: &mut dyn FnMut(&mut Member, Instant)) {
        let now = Instant::now();
        let mut set = lock(&self.set);
        let Some(member) = set.find(addr) else {
            return;
        };
        let before = Before::of(member);
        apply(member, now);
        let sooner = before.is_asked_sooner(member);
        let changed = before.changed(member, now);
        let changed = changed.map(|changed| set.record(changed, now));
        drop(set);
        if sooner {
            self.monitor_waker.wake();
        }
        if let Some(changed) = changed {
            changed.log();
            self.raise(changed.alarm);
        }
    }
}
