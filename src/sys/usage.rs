//! What this process uses of the host, from /proc (proc(5)).
//!
//! What cannot be read is left out, as under a limit of descriptors that is used up.

use std::fs;
use std::time::Duration;

use super::syscall::{self, Resource};

/// Descriptors that [`usage`] has open at a time.
pub(crate) const DESCRIPTORS: usize = 1;

/// A clock tick of /proc: USER_HZ is 100 a second on every architecture that is built for.
const TICK_MILLISECONDS: u64 = 10;

/// What the process uses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) open_descriptors: Option<u64>,
    pub(crate) max_descriptors: Option<u64>,
    /// In octets.
    pub(crate) resident_memory: Option<u64>,
    /// In octets.
    pub(crate) virtual_memory: Option<u64>,
    pub(crate) threads: Option<u64>,
    /// Of all threads, in user and system mode.
    pub(crate) processor_time: Option<Duration>,
}

/// What this process uses now.
pub(crate) fn usage() -> Usage {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let own = |count: usize| {
        // The directory that is being read is one of them.
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        count.saturating_sub(1)
    };
    Usage {
        open_descriptors: fs::read_dir("/proc/self/fd")
            .ok()
            .map(|entries| own(entries.count())),
        max_descriptors: syscall::limit(Resource::Descriptors)
            .ok()
            .map(|limit| limit.soft),
        resident_memory: kibibytes(&status, "VmRSS:"),
        virtual_memory: kibibytes(&status, "VmSize:"),
        threads: field(&status, "Threads:").and_then(|text| text.parse().ok()),
        processor_time: processor_time(&stat),
    }
}

/// The value of a line of /proc/self/status.
fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = status.lines();
    lines
        .find_map(|line| line.strip_prefix(name))
        .map(str::trim)
}

fn kibibytes(status: &str, name: &str) -> Option<u64> {
    let count: u64 = field(status, name)?
        .strip_suffix("kB")?
        .trim()
        .parse()
        .ok()?;
    count.checked_mul(1024)
}

/// Fields 14 and 15 of /proc/self/stat; the second, in parentheses, may hold anything.
fn processor_time(stat: &str) -> Option<Duration> {
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ').skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    let milliseconds = user
        .saturating_add(system)
        .saturating_mul(TICK_MILLISECONDS);
    Some(Duration::from_millis(milliseconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_something_of_everything() {
        let usage = usage();
        assert!(usage.open_descriptors >= Some(3), "{usage:?}");
        assert!(usage.max_descriptors >= usage.open_descriptors, "{usage:?}");
        assert!(usage.resident_memory > Some(100_000), "{usage:?}");
        assert!(usage.virtual_memory > usage.resident_memory, "{usage:?}");
        assert!(usage.threads >= Some(1) && usage.processor_time.is_some());
    }

    #[test]
    fn descriptors_are_counted_but_for_the_one_that_counts() {
        let listed = || fs::read_dir("/proc/self/fd").unwrap().count() as u64;
        // Other tests open and close some all the time.
        let agree = || Some(listed()) == usage().open_descriptors.map(|count| count + 1);
        assert!((0..10_000).any(|_| agree()));
    }

    #[test]
    fn rubbish_is_left_out() {
        assert_eq!(
            processor_time("1 (a) b) S 2 3 4 5 6 7 8 9 10 11 150 25 0"),
            { Some(Duration::from_millis(1_750)) }
        );
        // Of a gateway that has been busy on every processor for a year.
        let year = "1 (a) S 2 3 4 5 6 7 8 9 10 11 5000000000 1 0";
        assert_eq!(
            processor_time(year),
            Some(Duration::from_millis(50_000_000_010))
        );
        for stat in [
            "",
            "1 (a",
            "1 (a) S 2 3",
            "1 (a) S 2 3 4 5 6 7 8 9 10 11 -1 x",
        ] {
            assert_eq!(processor_time(stat), None, "{stat:?}");
        }
        assert_eq!(kibibytes("A: 1\nVmRSS:\t  12 kB\n", "VmRSS:"), Some(12_288));
        for status in [
            "",
            "VmRSS: kB",
            "VmRSS: 12 MB",
            "VmRSS: 99999999999999999999 kB",
        ] {
            assert_eq!(kibibytes(status, "VmRSS:"), None, "{status:?}");
        }
    }
}
