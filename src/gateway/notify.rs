//! Notifications to the service manager (sd_notify(3)): that clients are served, and the status at intervals.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::runtime::Runtime;
use super::threads::Thread;
use crate::log;
use crate::sys::OsErrorText;
use crate::sys::notify::Notifier;
use crate::times::Times;

/// Notifies the service manager that clients are served; for `pause` see [`Notifier::send`].
pub(super) fn ready(notifier: &Notifier, runtime: &Runtime, pause: impl FnMut() -> bool) {
    let line = runtime.line();
    warn(notifier.send(&format!("READY=1\nSTATUS={line}"), pause));
}

/// The last notification of a process that has handed over: that clients are served, and by which process if the manager watches
/// this one. It restarts the watchdog, so that the new process has the whole time until its own first notification.
pub(super) fn handed_over(
    notifier: &Notifier,
    successor: Option<u32>,
    pause: impl FnMut() -> bool,
) {
    let main = successor.map(|process| format!("MAINPID={process}\n"));
    let watchdog = notifier.watchdog.map(|_| "WATCHDOG=1\n");
    let (main, watchdog) = (main.unwrap_or_default(), watchdog.unwrap_or_default());
    let state = format!("{main}{watchdog}READY=1\nSTATUS=reloaded");
    warn(notifier.send_last(&state, pause));
}

fn warn(sent: io::Result<()>) {
    if let Err(error) = sent {
        // A unit that waits for it is stopped after some time, and nothing else would give the reason.
        log::warn(
            "gateway",
            "cannot notify the service manager that clients are served",
            &[("error", OsErrorText(&error).to_string().into())],
        );
    }
}

/// Prepares the thread that sends the status and feeds the watchdog, if there is a service manager. The status takes the locks that
/// every session needs, so a gateway that is stuck on one of them sends nothing and is restarted.
///
/// # Errors
/// If the thread cannot be started.
pub(super) fn prepare(notifier: &Notifier, runtime: &Arc<Runtime>, times: Times) -> io::Result<()> {
    if !notifier.is_enabled() {
        return Ok(());
    }
    let interval = report_interval(notifier.watchdog, &times);
    let (notifier, own) = (notifier.clone(), Arc::clone(runtime));
    let work = move || {
        loop {
            std::thread::sleep(interval);
            let watchdog = match notifier.watchdog {
                Some(_) => "WATCHDOG=1\n",
                None => "",
            };
            // A failure was logged when the process became ready.
            let _ = notifier.send(&format!("{watchdog}STATUS={}", own.line()), || {
                std::thread::sleep(times.main_look);
                true
            });
        }
    };
    runtime.threads.prepare(Thread::STATUS, work).map(drop)
}

/// sd_watchdog_enabled(3) recommends half of the time that was asked for.
fn report_interval(watchdog: Option<Duration>, times: &Times) -> Duration {
    watchdog.map_or(times.status_interval, |asked| {
        (asked / 2).min(times.status_interval)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn the_watchdog_is_fed_twice_in_its_time_and_at_least_at_the_status_interval() {
        let times = Times {
            status_interval: MS(10_000),
            ..Times::REAL
        };
        for (watchdog, interval) in [
            (None, 10_000),
            (Some(1000), 500),
            (Some(20_000), 10_000),
            (Some(20_002), 10_000),
            (Some(19_998), 9_999),
        ] {
            let found = report_interval(watchdog.map(MS), &times);
            assert_eq!(found, MS(interval), "{watchdog:?}");
        }
    }
}
