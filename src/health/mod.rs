//! Health checks: each endpoint is asked over HTTP how it is (`--health-check`).
//!
//! A member that accepts connections may still be unable to serve: cut off from its peers,
//! removed, without a quorum. Nothing that a connection shows tells that; `/readyz` and `/health`
//! of etcd do. [`ask`] asks once, [`judge`] makes an opinion of many answers, [`rounds`] says who
//! is asked when, and [`watch`] does it all, for the pool, which decides what follows from an opinion.

mod ask;
pub(crate) mod judge;
pub(crate) mod response;
pub(crate) mod rounds;
pub(crate) mod watch;

pub(crate) use ask::{Failure, ask};
