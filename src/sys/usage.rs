//! What this process uses of the host, from /proc (proc(5)).
//!
//! What cannot be read is missing, for instance when all descriptors are in use.

use std::fs;
use std::path::Path;
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
    let status = text(Path::new("/proc/self/status"));
    let stat = text(Path::new("/proc/self/stat"));
    Usage {
        open_descriptors: open_descriptors(),
        max_descriptors: syscall::limit(Resource::Descriptors)
            .ok()
            .map(|limit| limit.soft),
        resident_memory: kibibytes(&status, "VmRSS:"),
        virtual_memory: kibibytes(&status, "VmSize:"),
        threads: threads(&status),
        processor_time: processor_time(&stat),
    }
}

/// What a file of /proc says; nothing if it cannot be read. It may name a process or a cgroup, which is named by any
/// octets, and the name of a process is cut after fifteen of them, within a character or not.
pub(super) fn text(path: &Path) -> String {
    let octets = fs::read(path).unwrap_or_default();
    String::from_utf8_lossy(&octets).into_owned()
}

/// How many descriptors this process has open.
pub(super) fn open_descriptors() -> Option<u64> {
    let count = fs::read_dir("/proc/self/fd").ok()?.count();
    // The directory that is being read is one of them.
    Some(u64::try_from(count).unwrap_or(u64::MAX).saturating_sub(1))
}

/// Octets of address space that this process uses, as RLIMIT_AS counts it and as RLIMIT_DATA does; zero where it cannot be
/// read.
pub(super) fn address_space() -> [u64; 2] {
    let status = text(Path::new("/proc/self/status"));
    ["VmSize:", "VmData:"].map(|name| kibibytes(&status, name).unwrap_or(0))
}

/// How many threads a process has, by its /proc/PID/status.
pub(crate) fn threads(status: &str) -> Option<u64> {
    field(status, "Threads:")?.parse().ok()
}

/// The value of a line of /proc/self/status.
fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = status.lines();
    lines
        .find_map(|line| line.strip_prefix(name))
        .map(str::trim)
}

/// The same of one that is a number of kB, in octets; /proc/meminfo has such lines, too.
pub(crate) fn kibibytes(status: &str, name: &str) -> Option<u64> {
    let count: u64 = field(status, name)?
        .strip_suffix("kB")?
        .trim()
        .parse()
        .ok()?;
    count.checked_mul(1024)
}

/// Fields 14 and 15 of /proc/self/stat; the second, in parentheses, may hold anything.
pub(crate) fn processor_time(stat: &str) -> Option<Duration> {
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
    fn what_a_process_is_named_hides_nothing() {
        let name = format!("etcd-gateway-usage-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::write(&path, b"Name:\tgr\xc3\nThreads:\t3\n").unwrap();
        let found = threads(&text(&path));
        fs::remove_file(&path).unwrap();
        assert_eq!(found, Some(3));
        assert_eq!(text(&path), "");
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
