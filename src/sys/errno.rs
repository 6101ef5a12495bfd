//! Errors of the operating system: the numbers that `std::io::ErrorKind` does not tell apart, as most of Linux has them
//! (asm-generic/errno.h, errno(3)), and their words.

use std::fmt::{self, Display};
use std::io;

/// A signal came before the call was done.
pub(crate) const EINTR: i32 = 4;
/// A device failed.
pub(crate) const EIO: i32 = 5;
/// A named pipe without a reader, or a socket, cannot be opened.
pub(crate) const ENXIO: i32 = 6;
/// A security module forbids it.
pub(crate) const EACCES: i32 = 13;
/// The system-wide table of open files is full.
pub(crate) const ENFILE: i32 = 23;
/// The process has no descriptor left.
pub(crate) const EMFILE: i32 = 24;
/// The kernel has no such protocol family.
pub(crate) const EAFNOSUPPORT: i32 = 97;
/// An ICMP message: the host there is cut off from its network.
pub(crate) const ENONET: i32 = 64;
/// An ICMPv6 message: the host there did not understand what it got.
pub(crate) const EPROTO: i32 = 71;
/// It is a descriptor of something else than a socket.
pub(crate) const ENOTSOCK: i32 = 88;
/// An ICMP message: the host does not support the protocol.
pub(crate) const ENOPROTOOPT: i32 = 92;
/// An ICMP message: the way there does not take such packets.
pub(crate) const EOPNOTSUPP: i32 = 95;
/// No route leads there.
pub(crate) const ENETUNREACH: i32 = 101;
/// The kernel has no memory for socket buffers.
pub(crate) const ENOBUFS: i32 = 105;
/// The kernel has no memory.
pub(crate) const ENOMEM: i32 = 12;
/// The client was gone before it was accepted.
pub(crate) const ECONNABORTED: i32 = 103;
/// The socket is connected.
pub(crate) const EISCONN: i32 = 106;
/// A connect has begun before.
pub(crate) const EALREADY: i32 = 114;
/// The host there is down, as its neighbours say.
pub(crate) const EHOSTDOWN: i32 = 112;
/// A non-blocking connect has begun.
pub(crate) const EINPROGRESS: i32 = 115;

/// Where the C libraries differ: what glibc says, and Go.
const WORDS: [(i32, &str); 14] = [
    (5, "input/output error"),
    (12, "cannot allocate memory"),
    (24, "too many open files"),
    (36, "file name too long"),
    (40, "too many levels of symbolic links"),
    (88, "socket operation on non-socket"),
    (95, "operation not supported"),
    (98, "address already in use"),
    (99, "cannot assign requested address"),
    (101, "network is unreachable"),
    (103, "software caused connection abort"),
    (110, "connection timed out"),
    (113, "no route to host"),
    (122, "disk quota exceeded"),
];

/// Shows an error of the operating system as Go words it: lower case, without its number. Others are shown as they are: they
/// may begin with a name.
pub(crate) struct OsErrorText<'a>(pub(crate) &'a io::Error);

impl Display for OsErrorText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(number) = self.0.raw_os_error() else {
            return self.0.fmt(f);
        };
        if let Some((_, words)) = WORDS.iter().find(|(own, _)| *own == number) {
            return f.write_str(words);
        }
        let text = self.0.to_string();
        let text = text
            .split_once(" (os error")
            .map_or(&*text, |(text, _)| text);
        let mut characters = text.chars();
        match characters.next() {
            Some(first) => write!(f, "{}{}", first.to_ascii_lowercase(), characters.as_str()),
            None => Ok(()),
        }
    }
}

/// What helps where the host has run out of something that most calls need; `None` for other errors.
pub(crate) fn shortage(error: &io::Error) -> Option<&'static str> {
    match error.raw_os_error()? {
        EMFILE => Some("raise the limit on open files of this process (LimitNOFILE in a unit)"),
        ENFILE => Some("raise fs.file-max of this host"),
        ENOMEM | ENOBUFS => {
            Some("free memory of this host, or raise the limit of the cgroup (MemoryMax in a unit)")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_env = "gnu")]
    fn every_library_says_what_glibc_says() {
        for (number, words) in WORDS {
            let error = io::Error::from_raw_os_error(number).to_string();
            let glibc = error.to_lowercase();
            assert_eq!(glibc, format!("{words} (os error {number})"));
        }
    }

    #[test]
    fn only_the_systems_own_words_are_changed() {
        let cases = [
            (io::Error::from_raw_os_error(111), "connection refused"),
            (io::Error::from_raw_os_error(28), "no space left on device"),
            (io::Error::other("Frob: not found"), "Frob: not found"),
        ];
        for (error, text) in cases {
            assert_eq!(OsErrorText(&error).to_string(), text);
        }
    }
}
