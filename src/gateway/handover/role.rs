//! The variable `GATEWAY_HANDOVER`: what a process of the service is started for.
//!
//! | value | this process |
//! |---|---|
//! | not set | is the first of a service |
//! | `1:start:PROCESS:FD[,FD...]` | starts the successor of PROCESS, and ends |
//! | `1:serve:PROCESS:FD[,FD...]` | is the successor of PROCESS |
//! | `1:watch:PROCESS:FD` | only watches PROCESS, which serves (`watcher`) |
//!
//! 1 is the version of the handover. The first descriptor is the control socket; messages in it say what the others are.

use std::ffi::OsStr;
use std::os::fd::RawFd;

pub(super) const VARIABLE: &str = "GATEWAY_HANDOVER";

/// What a process is started for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Start,
    Serve,
    Watch,
}

const NAMES: [(&str, Role); 3] = [
    ("start", Role::Start),
    ("serve", Role::Serve),
    ("watch", Role::Watch),
];

/// The value of the variable for a process with this role towards `process`.
pub(crate) fn value(role: Role, process: u32, descriptors: &[RawFd]) -> String {
    let named = NAMES.iter().find(|(_, known)| *known == role);
    let name = named.map_or("", |(name, _)| name);
    let numbers: Vec<String> = descriptors.iter().map(ToString::to_string).collect();
    format!("1:{name}:{process}:{}", numbers.join(","))
}

/// The role of a process, towards which other, and the descriptors that it was given.
pub(crate) fn parse(text: &OsStr) -> Option<(Role, u32, Vec<RawFd>)> {
    let words: Vec<&str> = text.to_str()?.split(':').collect();
    let ["1", role, process, numbers] = words.as_slice() else {
        return None;
    };
    let (_, role) = NAMES.iter().find(|(name, _)| name == role)?;
    let numbers = numbers.split(',').map(|number| number.parse().ok());
    Some((
        *role,
        process.parse().ok()?,
        numbers.collect::<Option<_>>()?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_read_as_it_is_written_and_nothing_else_is() {
        let value = value(Role::Serve, 70, &[5, 9]);
        assert_eq!(value, "1:serve:70:5,9");
        assert_eq!(parse(value.as_ref()), Some((Role::Serve, 70, vec![5, 9])));
        for (text, expected) in [
            ("1:start:1:3", Some((Role::Start, 1, vec![3]))),
            ("1:watch:1:3", Some((Role::Watch, 1, vec![3]))),
            ("2:serve:1:3", None),
            ("1:other:1:3", None),
            ("1:serve:-1:3", None),
            ("1:serve:1:", None),
            ("1:serve:1:3,", None),
            ("1:serve:1:x", None),
            ("1:serve:1", None),
            ("1:serve:1:3:4", None),
            ("", None),
        ] {
            assert_eq!(parse(text.as_ref()), expected, "{text}");
        }
    }
}
