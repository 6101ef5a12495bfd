//! What follows from the settings before anything is bound or dialled: where to listen, where members are found
//! and what they have to prove, and which settings contradict each other.

use std::net::SocketAddr;
use std::sync::Arc;

use super::error::Error;
use super::listeners::{self, ListenAddr};
use crate::config::Config;
use crate::discovery::auth::Authenticator;
use crate::discovery::roots::{Authorities, Bundle};
use crate::discovery::{Discovery, Identity, Member, Members, identity_of_domain};
use crate::dns::{Resolver, ResolverConfig};
use crate::endpoint::{self, Endpoint};
use crate::loop_guard::{self, LoopGuard};
use crate::sys::activation::Inherited;
use crate::sys::random;
use crate::times::Times;
use crate::x509::ServerName;

/// What a start and a `check` both begin with: nothing is bound or dialled yet.
pub(super) struct Plan {
    pub(super) listen: Vec<ListenAddr>,
    /// Where to serve metrics.
    pub(super) metrics: Option<ListenAddr>,
    /// Whether members may have names.
    pub(super) resolves: bool,
    pub(super) discovery: Discovery,
    pub(super) authenticator: Option<Arc<Authenticator>>,
    pub(super) guard: LoopGuard,
    pub(super) warnings: Vec<String>,
}

/// Resolves names to listen on; all else is found on this host.
pub(super) fn plan(config: &Config, passed: &[Inherited], times: Times) -> Result<Plan, Error> {
    let sources = ResolverConfig::of_system(times.resolver_look, times.edns_memory);
    let resolver = Resolver::new(sources, random::fill);
    let passed = passed
        .iter()
        .map(|socket| loop_guard::canonical(socket.addr));
    let passed: Vec<SocketAddr> = passed.collect();
    let listen = listeners::listen_addrs(config, &passed, &resolver)?;
    let mut warnings = Vec::new();
    let metrics = listeners::metrics_addr(config, &listen, &resolver)?;
    if let Some(ListenAddr { addr, display }) = &metrics
        && !addr.ip().is_loopback()
    {
        warnings.push(format!(
            "--metrics-addr={display} can be reached from other hosts: without a password they can read \
             addresses and states of the cluster"
        ));
    }
    let members = members(config, &mut warnings)?;
    let guard = LoopGuard::default();
    let authorities = if members.authenticates() {
        let file = config.trusted_ca_file.as_deref();
        let bundle = Bundle::of(file, |name| std::env::var_os(name));
        let (authorities, more) = Authorities::open(bundle)
            .map_err(|error| Error::runtime(format!("--trusted-ca-file: {error}")))?;
        warnings.extend(more);
        Some(authorities)
    } else {
        None
    };
    let authenticator = authorities
        .as_ref()
        .map(|authorities| Arc::new(Authenticator::new(authorities.trusted(), guard.clone())));
    Ok(Plan {
        listen,
        metrics,
        resolves: members.may_have_names(),
        discovery: Discovery::new(members, authorities, resolver, times),
        authenticator,
        guard,
        warnings,
    })
}

/// Where the members are to be found, and what they have to prove.
fn members(config: &Config, warnings: &mut Vec<String>) -> Result<Members, Error> {
    let valid = |name: String| match ServerName::parse(&name) {
        Ok(_) => Ok(name),
        Err(error) => Err(Error::usage(format!(
            "members cannot prove that they are {name:?}: {error}; give the name that their \
             certificates have with --discovery-server-name"
        ))),
    };
    let named = config
        .server_name
        .clone()
        .map(|name| name.trim_end_matches('.').to_owned());
    let listed = match (config.verify_endpoints, &named) {
        (false, _) => Identity::None,
        (true, None) => Identity::Own,
        (true, Some(name)) => Identity::Named(valid(name.clone())?),
    };
    if let Some(path) = &config.endpoints_file {
        let (members, odd) = Members::in_file(path, listed)
            .map_err(|error| Error::runtime(format!("--endpoints-file: {error}")))?;
        warnings.extend(odd);
        return Ok(members);
    }
    let given = config.endpoints.iter();
    let list = given.map(|at| Member::given(at, &listed)).collect();
    let Some(domain) = &config.discovery_srv else {
        return Ok(Members::listed(list));
    };
    let identity = if config.insecure_discovery {
        None
    } else {
        Some(valid(named.unwrap_or_else(|| identity_of_domain(domain)))?)
    };
    let fallback = if config.endpoints_given {
        list
    } else {
        Vec::new()
    };
    Ok(Members::in_dns(
        domain,
        &config.discovery_srv_name,
        identity,
        fallback,
    ))
}

/// Rejects an endpoint that is one of the addresses to listen on.
pub(super) fn refuse_loops(
    endpoints: &[Endpoint],
    listen: &[ListenAddr],
    metrics: Option<&ListenAddr>,
) -> Result<(), Error> {
    let clients = listen.iter().map(|listen| (listen, ""));
    let metrics = metrics.map(|listen| (listen, " of --metrics-addr"));
    let listen_addrs: Vec<(&ListenAddr, &str)> = clients.chain(metrics).collect();
    for endpoint in endpoints {
        let own =
            |(listen, _): &&(&ListenAddr, &str)| loop_guard::serves(&[listen.addr], endpoint.addr);
        if let Some((listen, which)) = listen_addrs.iter().find(own) {
            let flag = match endpoint.source {
                endpoint::Source::Endpoints => "--endpoints",
                endpoint::Source::File => "--endpoints-file",
                endpoint::Source::Srv => "--discovery-srv",
            };
            return Err(Error::usage(format!(
                "{flag}: SRV or endpoint ({}->{}) should not resolve to the gateway listen addr \
                 ({}{which}): name the etcd members, or listen on another port",
                endpoint.name, endpoint.addr, listen.display
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
