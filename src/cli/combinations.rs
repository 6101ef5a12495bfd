//! The settings taken together: which exclude each other, have no effect, or are given twice.

use super::error::Error;
use super::sources::Sources;
use crate::addr::HostPort;

/// Logged where the reference's default is used, which is right only on the host of a member.
pub(super) const NO_ENDPOINTS: &str = "no endpoints are given, using the default, 127.0.0.1:2379; give --endpoints, \
    --endpoints-file or --discovery-srv";

/// Refuses settings that contradict each other, removes duplicates, and warns of what has no effect.
pub(super) fn check(sources: &mut Sources) -> Result<(), Error> {
    let given = |flag| sources.is_given(flag);
    let by_list = given("endpoints");
    let by_file = given("endpoints-file");
    let by_dns = given("discovery-srv");
    for other in ["endpoints", "discovery-srv"] {
        if by_file && given(other) {
            return Err(format!(
                "--endpoints-file and --{other} (or their variables) exclude each other; give \
                 only one of them"
            )
            .into());
        }
    }
    let config = &sources.options.config;
    let authenticates = match by_dns {
        true => !config.insecure_discovery || by_list && config.verify_endpoints,
        false => config.verify_endpoints,
    };
    let domain = config.discovery_srv.as_deref().unwrap_or_default();
    let warnings = [
        (
            sources.text("endpoints").contains("://"),
            "http:// and https:// in front of endpoints have no effect: the gateway passes TLS \
             through and does not terminate it",
        ),
        (!by_list && !by_file && !by_dns, NO_ENDPOINTS),
        (
            !by_dns && given("discovery-srv-name"),
            "--discovery-srv-name has no effect without --discovery-srv",
        ),
        (
            !by_dns && config.insecure_discovery,
            "--insecure-discovery has no effect without --discovery-srv",
        ),
        (
            domain.starts_with('_') && given("discovery-srv-name"),
            "--discovery-srv-name has no effect on a --discovery-srv that begins with _",
        ),
        (
            by_dns && config.verify_endpoints && !by_list,
            "--verify-endpoints has no effect without --endpoints: members from SRV records are \
             authenticated without it",
        ),
    ];
    let warnings = warnings.into_iter().filter(|(applies, _)| *applies);
    let mut warnings: Vec<String> = warnings.map(|(_, text)| text.to_owned()).collect();
    for flag in ["trusted-ca-file", "discovery-server-name"] {
        if given(flag) && !authenticates {
            warnings.push(format!(
                "--{flag} has no effect: nothing is authenticated without --discovery-srv or \
                 --verify-endpoints, or with --insecure-discovery"
            ));
        }
    }
    sources.warnings.append(&mut warnings);
    let config = &mut sources.options.config;
    for (addresses, what) in [
        (&mut config.endpoints, "endpoint"),
        (&mut config.listen_addrs, "address to listen on"),
    ] {
        if let Some(address) = remove_duplicates(addresses) {
            sources.warnings.push(format!(
                "{what} {address} is given more than once; duplicates are merged"
            ));
        }
    }
    Ok(())
}

/// Keeps the first of equal addresses, in order, and returns the first duplicate. Port 0 asks for any free port, so two
/// of those are two listeners.
fn remove_duplicates(addresses: &mut Vec<HostPort>) -> Option<HostPort> {
    // Not hashed: hashing needs random numbers, and it has not been checked yet that there are any.
    let mut seen = Vec::new();
    let mut duplicate = None;
    addresses.retain(|address| {
        let is_first = address.port == 0 || !seen.contains(address);
        if is_first {
            seen.push(address.clone());
        } else if duplicate.is_none() {
            duplicate = Some(address.clone());
        }
        is_first
    });
    duplicate
}
