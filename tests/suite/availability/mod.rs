//! A member accepts connections and cannot serve: real clusters, each member on a machine of its own, under load.
//!
//! Each experiment has the name that it has in the study of availability, A1 to A14. Most take a minute or more and are
//! ignored; `make soak` runs them one after the other and prints their figures, `make soak SOAK=A1` those of that name,
//! `AVAILABILITY_SETUP=mtls,3.5.1` those without variants of their own in another setup.
//! What each module holds:
//!
//! - `network`, `members`, `access`: namespaces and faults of the network, the cluster and faults of its members, clients
//! - `load`, `long_lived`, `grpc_client`: fresh clients, clients that stay, a gRPC client without keepalive
//! - `rig`, `observed`, `report`: two gateways under the same load, what they say of their endpoints, figures and verdicts
//! - `servers`: what else than a member may be behind an address
//! - `vocabulary`: the names of flags, states, log lines and metrics
//! - `frozen`: A1 to A4, members that are stopped
//! - `tolerated`: A5, what a gateway has always borne
//! - `cut_off`: A6 to A9, members that answer and cannot serve
//! - `no_fault`: A10 and A11, nothing is wrong
//! - `second_choice`: A12 to A14, endpoints that are second choice
//! - `short`: what of it the suite can afford
//!
//! Three things are not as in the study. Latency is added by a forwarder in front of the member's port, not to packets.
//! The gRPC client is the test's own. And there is no etcd with `/readyz` to be had from a package registry: the part of
//! A9 on learners needs one in the directory that `AVAILABILITY_ETCD` names.

use std::time::Duration;

mod access;
mod cut_off;
mod frozen;
mod grpc_client;
mod load;
mod long_lived;
mod members;
mod network;
mod no_fault;
mod observed;
mod report;
mod rig;
mod second_choice;
mod servers;
mod short;
mod tolerated;
mod vocabulary;

/// An experiment that takes longer hangs.
const LONG: Duration = Duration::from_secs(240);

const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}
