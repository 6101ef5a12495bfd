//! The environment: sets each flag from its variable.
//!
//! As in etcd, a variable that is set but empty counts as unset. An unknown variable with our prefix is a warning, not an
//! error: environments are shared, and an older version must start with the settings of a newer one.

use std::ffi::{OsStr, OsString};

use super::error::{Error, shown};
use super::flags::{self, FLAGS, Flag, VARIABLE_PREFIX};
use super::sources::Sources;
use super::suggest;
use crate::config::Origin;

/// Applies the variables of the flags that the command line does not set.
pub(super) fn apply_environment(
    env: &[(OsString, OsString)],
    sources: &mut Sources,
) -> Result<(), Error> {
    let set = |name: &str| {
        let (_, value) = env.iter().find(|(key, _)| key == name)?;
        (!value.is_empty()).then_some(value)
    };
    for flag in FLAGS {
        if let Some(value) = flag.variable().and_then(|name| set(&name)) {
            sources.take(flag, Origin::Environment, value)?;
        }
    }
    for (key, value) in env {
        let key_text = key.to_string_lossy();
        let Some(rest) = key_text.strip_prefix(VARIABLE_PREFIX) else {
            continue;
        };
        let known = flags::of_variable(&key_text).is_some();
        if known || value.is_empty() || is_service_link(rest, value) {
            continue;
        }
        let typed = shown(key);
        sources.warnings.push(match meant(&key_text) {
            Some(name) => format!("unknown variable {typed} is ignored; did you mean {name}?"),
            None => format!("unknown variable {typed} is ignored"),
        });
    }
    Ok(())
}

/// The variable that a mistyped one was probably meant to be.
pub(super) fn meant(typed: &str) -> Option<String> {
    let rest = typed.strip_prefix(VARIABLE_PREFIX)?.replace('_', "-");
    let settings = FLAGS.iter().filter(|flag| flag.variable().is_some());
    let nearest = suggest::nearest(&rest, settings.map(|flag| flag.name))?;
    flags::named(nearest).and_then(Flag::variable)
}

/// Whether `rest`, behind our prefix, is a variable that Kubernetes sets in every pod of a namespace with a Service named
/// `etcd-gateway` (or `etcd-gateway-...`). Operators did not write it and cannot remove it, so there is no warning. The
/// value of such a `..._PORT` is a URL, which distinguishes it from a mistaken setting.
pub(super) fn is_service_link(rest: &str, value: &OsStr) -> bool {
    let name = format!("_{rest}");
    let port = name.split_once("_PORT_").map(|(_, port)| port);
    name.ends_with("_SERVICE_HOST")
        || name.ends_with("_SERVICE_PORT")
        || name.contains("_SERVICE_PORT_")
        || (name.ends_with("_PORT") && value.to_string_lossy().contains("://"))
        || port.is_some_and(|p| p.starts_with(|c: char| c.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use crate::cli::tests::{defaults, start};

    #[test]
    fn unknown_variables() {
        const CASES: &[(&str, &str, Option<&str>)] = &[
            (
                "ETCD_GATEWAY_ENDPOINT",
                "x",
                Some("did you mean ETCD_GATEWAY_ENDPOINTS?"),
            ),
            ("ETCD_GATEWAY_ZZZZ", "x", Some("is ignored")),
            ("ETCD_GATEWAY_", "x", Some("is ignored")),
            ("ETCD_GATEWAY_HELP", "true", Some("is ignored")),
            ("ETCD_GATEWAY_ZZZZ", "", None),
            ("ETCD_ENDPOINTS", "x", None),
            ("XETCD_GATEWAY_ENDPOINT", "x", None),
            // Kubernetes sets these for a Service named etcd-gateway, and for one with a longer name.
            ("ETCD_GATEWAY_SERVICE_HOST", "10.0.0.1", None),
            ("ETCD_GATEWAY_SERVICE_PORT", "2379", None),
            ("ETCD_GATEWAY_SERVICE_PORT_CLIENT", "2379", None),
            ("ETCD_GATEWAY_PORT", "tcp://10.0.0.1:2379", None),
            ("ETCD_GATEWAY_PORT_2379_TCP", "tcp://10.0.0.1:2379", None),
            ("ETCD_GATEWAY_PORT_2379_TCP_PROTO", "tcp", None),
            ("ETCD_GATEWAY_PORT_2379_TCP_PORT", "2379", None),
            ("ETCD_GATEWAY_PORT_2379_TCP_ADDR", "10.0.0.1", None),
            ("ETCD_GATEWAY_PROD_SERVICE_HOST", "10.0.0.1", None),
            ("ETCD_GATEWAY_PROD_PORT", "tcp://10.0.0.1:2379", None),
            // An operator might try these.
            ("ETCD_GATEWAY_PORT", "2379", Some("is ignored")),
            ("ETCD_GATEWAY_PORT_RANGE", "1-2", Some("is ignored")),
        ];
        for &(name, value, expected) in CASES {
            let (config, warnings) = start("etcd-gateway start", &[(name, value)]);
            assert_eq!(config, defaults(), "{name}");
            assert_eq!(
                warnings.len(),
                usize::from(expected.is_some()),
                "{name}: {warnings:?}"
            );
            if let (Some(expected), Some(warning)) = (expected, warnings.first()) {
                assert!(
                    warning.starts_with(&format!("unknown variable {name:?}")),
                    "{warning}"
                );
                assert!(warning.ends_with(expected), "{warning}");
            }
        }
    }
}
