//! The signals that the program acts on, and sets of signals as the C library has them: signal(7), sigsetops(3).

use std::ffi::{c_int, c_ulong};

/// A signal that the program acts on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    /// SIGHUP, by which an operator asks for a refresh.
    Hangup = 1,
    /// SIGINT, as a terminal sends for Ctrl-C.
    Interrupt = 2,
    /// SIGUSR1, by which an operator asks for the status.
    Status = 10,
    /// SIGUSR2, by which an operator asks for a reload.
    Reload = 12,
    /// SIGTERM, as a service manager sends.
    Terminate = 15,
    /// SIGCHLD: a process below this one has ended.
    Child = 17,
}

/// With the names of signal(7).
const SIGNALS: [(Signal, &str); 6] = [
    (Signal::Hangup, "SIGHUP"),
    (Signal::Interrupt, "SIGINT"),
    (Signal::Status, "SIGUSR1"),
    (Signal::Reload, "SIGUSR2"),
    (Signal::Terminate, "SIGTERM"),
    (Signal::Child, "SIGCHLD"),
];

impl Signal {
    /// The one that has this number.
    pub(super) fn of(number: c_int) -> Option<Self> {
        let mut signals = SIGNALS.into_iter().map(|(signal, _)| signal);
        signals.find(|signal| *signal as c_int == number)
    }

    pub(crate) fn name(self) -> &'static str {
        let mut named = SIGNALS.into_iter();
        named
            .find(|(signal, _)| *signal == self)
            .map_or("", |(_, name)| name)
    }
}

/// `sigset_t`: 1024 bits in words of `unsigned long`, with glibc and with musl. Signals up to 32 are in the
/// first word, where n is bit n-1, which is what sigaddset(3) does in both.
#[repr(C)]
pub(super) struct SignalSet([c_ulong; 1024 / c_ulong::BITS as usize]);

impl SignalSet {
    /// Those that the program acts on.
    pub(super) fn handled() -> Self {
        let mut words = [0; 1024 / c_ulong::BITS as usize];
        words[0] = SIGNALS
            .iter()
            .fold(0, |word, (signal, _)| word | 1 << (*signal as u32 - 1));
        Self(words)
    }

    /// Those, SIGXFSZ and SIGPIPE.
    pub(super) fn blocked() -> Self {
        let Self(mut words) = Self::handled();
        words[0] |= 1 << (SIGXFSZ - 1) | 1 << (SIGPIPE - 1);
        Self(words)
    }
}

/// A file has reached the limit of the process (RLIMIT_FSIZE), which by default ends the process. While the signal is blocked
/// the write fails with EFBIG instead (setrlimit(2)).
const SIGXFSZ: u32 = 25;

/// Sent by a write to a pipe without a reader, which also fails (pipe(7)). `std` ignores it, but not while this program executes
/// itself again.
const SIGPIPE: u32 = 13;
