//! Health checks: each endpoint is asked over HTTP whether it is healthy (`--health-check`).
//!
//! A member that accepts connections may still be unable to serve: separated from its peers,
//! removed, without a quorum. Connections do not show that; `/readyz` and `/health`
//! of etcd do. `ask` makes one check, `response` parses the answer, `timetable` says who
//! is asked when, and [`watch`] does it all and reports to the pool, which decides what follows.

mod ask;
pub(crate) mod response;
mod timetable;
pub(crate) mod watch;

pub(crate) use ask::ask;
