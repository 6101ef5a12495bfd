//! A settings file: what is read is bounded, and a value must survive being written and read again.

use super::Target;
use crate::cli::env_file::{self, Cause};

pub(super) const TARGET: Target = Target {
    name: "env-file",
    seeds,
    run,
    max_input: 1024,
};

fn run(input: &[u8]) {
    let lines = input.split(|octet| *octet == b'\n').count();
    let assignments = match env_file::parse(input) {
        Ok(assignments) => assignments,
        Err(error) => {
            assert!((1..=lines).contains(&error.line));
            assert!(error.cause != Cause::Nul || input.contains(&0));
            assert!(!error.cause.to_string().contains('\n'));
            return;
        }
    };
    assert!(!input.contains(&0));
    let mut size = 0;
    let mut last = 1;
    for assignment in &assignments {
        assert!((last..=lines).contains(&assignment.line));
        last = assignment.line;
        assert!(!assignment.name.is_empty() && !assignment.name.ends_with([' ', '\t']));
        let Some(value) = &assignment.value else {
            continue;
        };
        size += assignment.name.len() + value.len();
        let quoted = format!("A='{}'\n", value.replace('\'', "'\"'\"'"));
        let again = env_file::parse(quoted.as_bytes()).expect("what was read can be written");
        let again: Vec<_> = again.iter().map(|found| found.value.as_ref()).collect();
        assert_eq!(again, [Some(value)], "{quoted:?}");
    }
    assert!(size <= input.len());
}

fn seeds() -> Vec<Vec<u8>> {
    [
        "# one\nA=1\n; two\\\nB=2\n\n C = 3 4 \nexport D=5\nE\n",
        "A='1 \"\\2' \"3\\\"\\\\\\`\\$\\n\\\n\" 4\n",
        "A=1,\\\n2\\ \\\"\nB=\n=C==\r\nD=\\\r\n",
    ]
    .map(|text| text.as_bytes().to_vec())
    .into()
}
