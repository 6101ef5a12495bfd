//! The address to listen on that a name or a wildcard of the command line stands for.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Instant;

use super::member::literal;
use super::resolved::PATIENCE;
use crate::addr::{Host, HostPort};
use crate::dns::Resolver;

/// The address to bind for `--listen-addr`: a wildcard takes both families where the
/// host has both, as the reference does; of a name's addresses an IPv4 one is preferred.
pub(crate) fn listen_address(listen: &HostPort, resolver: &Resolver) -> io::Result<SocketAddr> {
    let wildcard = match &listen.host {
        Host::Wildcard => true,
        Host::Ip(ip) => ip.is_unspecified(),
        Host::Name(name) => {
            let deadline = Instant::now() + PATIENCE;
            let addresses = resolver
                .lookup_host(name, deadline)
                .map_err(|error| io::Error::other(error.to_string()))?
                .data;
            let mut addresses = addresses.iter().map(IpAddr::to_canonical);
            let first = addresses.clone().next();
            let preferred = addresses.find(IpAddr::is_ipv4).or(first);
            return preferred
                .map(|ip| SocketAddr::new(ip, listen.port))
                .ok_or_else(|| io::ErrorKind::NotFound.into());
        }
        Host::Ip6Zone(..) => false,
    };
    if !wildcard {
        return literal(listen)
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no interface of that name"));
    }
    let has_ipv6 = std::net::UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).is_ok();
    let ip = if has_ipv6 {
        IpAddr::from([0; 16])
    } else {
        IpAddr::from([0; 4])
    };
    Ok(SocketAddr::new(ip, listen.port))
}
