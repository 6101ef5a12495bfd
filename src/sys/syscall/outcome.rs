//! What the C library's functions return, as results.

use std::ffi::c_int;
use std::io;

/// Of a function that returns -1 for an error.
pub(super) fn checked(code: c_int) -> io::Result<c_int> {
    match code {
        -1 => Err(io::Error::last_os_error()),
        code => Ok(code),
    }
}

/// Of one that returns a count, or -1 for an error.
pub(super) fn counted(count: isize) -> io::Result<usize> {
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

/// Of one that returns zero, or the number of an error.
pub(super) fn error_number(number: c_int) -> io::Result<()> {
    match number {
        0 => Ok(()),
        number => Err(io::Error::from_raw_os_error(number)),
    }
}
