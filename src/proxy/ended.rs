//! The end of a session: it is counted, logged, written to the access log and unregistered when its last handle is
//! dropped. [`Sessions::reset_endpoint`] and [`Sessions::reset_all`] end sessions from outside.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use crate::date::{self, Rfc3339};
use crate::dial;
use crate::log;
use crate::proxy::cause::{Cause, Failure, Party};
use crate::proxy::session::Session;
use crate::proxy::sessions::Sessions;
use crate::sys::OsErrorText;

/// How long sessions get to end by themselves as the process ends. Copying needs less, a dial may need more.
const STOP_GRACE: Duration = Duration::from_millis(250);

impl Drop for Session {
    fn drop(&mut self) {
        let (proxy, cause) = (&self.proxy, self.cause());
        proxy.counters.ended(cause, self.arrival.at.elapsed());
        let error = self.failure().and_then(|failure| failure.error.as_ref());
        match (cause, self.link.get(), error) {
            (Cause::Rejected(_), ..) => self.warn_rejected(cause),
            (_, _, Some(error)) => self.warn_host_failed(error),
            (Cause::Failed(Party::Endpoint), Some(link), _) => proxy.pool.reset(link.endpoint),
            (Cause::Closed(Party::Endpoint), Some(link), _) => {
                proxy.pool.ended(link.endpoint, link.relay.leave());
            }
            _ => {}
        }
        // Before it is unregistered: when the last session has ended, its line is written.
        self.log_once();
        if let Some(id) = self.id.get() {
            proxy.sessions.remove(*id);
        }
    }
}

impl Session {
    /// Ends it because the gateway ends: nothing is copied from here on.
    fn stop(&self) {
        // Before the link is looked for: one that is made later finds it.
        self.fail(Cause::Stopped);
        self.reset(Cause::Stopped);
    }

    /// Why it fails, if it does.
    fn failure(&self) -> Option<&Failure> {
        match self.link.get() {
            Some(link) => link.relay.failure(),
            None => self.failure.get(),
        }
    }

    /// Why it has ended.
    fn cause(&self) -> Cause {
        match self.link.get() {
            Some(link) => link.relay.cause(),
            // Without a failure: a thread has panicked.
            None => self
                .failure()
                .map_or(Cause::Internal, |failure| failure.cause),
        }
    }

    fn warn_rejected(&self, cause: Cause) {
        let proxy = &self.proxy;
        proxy.counters.warn(cause, "rejected client", || {
            let census = proxy.pool.census();
            let mut fields = vec![
                ("reason", cause.name().into()),
                ("client", self.arrival.peer.into()),
                ("connections", proxy.sessions.count().into()),
                ("active_endpoints", census.active.into()),
                ("endpoints", census.total.into()),
            ];
            fields.extend(self.dial_error().map(|error| ("error", error.into())));
            fields
        });
    }

    /// The connection was reset because a system call of this host failed.
    fn warn_host_failed(&self, error: &io::Error) {
        let message = "reset connection, this host failed";
        self.proxy.counters.warn(Cause::Host, message, || {
            vec![
                ("client", self.arrival.peer.into()),
                ("error", OsErrorText(error).to_string().into()),
                ("exhausted", dial::is_exhaustion(error).to_string().into()),
            ]
        });
    }

    /// How the last dial for a rejected client failed.
    fn dial_error(&self) -> Option<String> {
        let error = self.failure()?.error.as_ref()?;
        Some(log::shortened(error.to_string(), log::MAX_ERROR))
    }

    /// Writes its line in the access log, once.
    fn log_once(&self) {
        let Some(log) = &self.proxy.access else {
            return;
        };
        if self.logged.swap(true, Ordering::SeqCst) {
            return;
        }
        let (now, duration, cause) = (SystemTime::now(), self.arrival.at.elapsed(), self.cause());
        let start = date::since_1970(now).saturating_sub(duration);
        let mut fields: Vec<(&str, log::Value)> = vec![
            ("start", Rfc3339(start).to_string().into()),
            ("client", self.arrival.peer.into()),
            ("listen", self.arrival.listen.into()),
        ];
        let link = self.link.get();
        if let Some(link) = link {
            let (to_endpoint, to_client) = link.relay.passed();
            fields.push(("address", link.endpoint.into()));
            let name = self.proxy.pool.name(link.endpoint);
            fields.extend(name.map(|name| ("name", name.into())));
            fields.extend([
                ("dial_seconds", link.dial.into()),
                ("wait_seconds", link.wait.into()),
                ("bytes_to_endpoint", to_endpoint.into()),
                ("bytes_to_client", to_client.into()),
            ]);
        }
        fields.extend([
            ("attempts", self.attempts.get().into()),
            ("duration_seconds", duration.into()),
            ("cause", cause.name().into()),
        ]);
        if cause.is_rejection() {
            fields.extend(self.dial_error().map(|error| ("error", error.into())));
        }
        // Other clients only.
        let itself = usize::from(self.id.get().is_some());
        let others = self.proxy.sessions.count().saturating_sub(itself);
        fields.push(("connections", others.into()));
        fields.extend(link.map(|link| ("endpoint_connections", link.relay.leave().into())));
        log.record(now, "connection ended", &fields);
    }
}

impl Sessions<Session> {
    /// Resets all sessions that are connected to an endpoint; returns how many there were.
    pub(super) fn reset_endpoint(&self, endpoint: SocketAddr, cause: Cause) -> usize {
        let to_it = self.all().filter(|s| s.endpoint() == Some(endpoint));
        to_it.filter(|session| session.reset(cause)).count()
    }

    /// Resets every open connection, because the process is about to end. Returns once the sessions have
    /// ended; those that still wait for something end with the process.
    pub(crate) fn reset_all(&self) {
        self.all().for_each(|session| session.stop());
        self.wait_for_none(STOP_GRACE);
        for session in self.all() {
            session.log_once();
            // Not dropped: the end of the process closes what is left, all at once.
            std::mem::forget(session);
        }
    }
}
