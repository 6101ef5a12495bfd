//! Errors of the operating system as people read them.

use std::fmt::{self, Display};
use std::io;

use super::errno;

/// Where C libraries have words of their own: what glibc says, and Go. The numbers are those of
/// asm-generic/errno.h.
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

/// An operating system's error as Go words it: lower case, without its number. Others as they are:
/// they may begin with a name.
pub(crate) struct Plain<'a>(pub(crate) &'a io::Error);

impl Display for Plain<'_> {
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
        errno::EMFILE => {
            Some("raise the limit on open files of this process (LimitNOFILE in a unit)")
        }
        errno::ENFILE => Some("raise fs.file-max of this host"),
        errno::ENOMEM | errno::ENOBUFS => {
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
            assert_eq!(Plain(&error).to_string(), text);
        }
    }
}
