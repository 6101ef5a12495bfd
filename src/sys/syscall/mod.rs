//! The program's only `unsafe` code: foreign functions of the C library behind safe wrappers. Each block makes one call and
//! says which invariant makes it sound; an error becomes an `io::Error` at once.
//!
//! The C library is linked by `std` already; declaring the functions here keeps the program's dependencies at `std` and
//! `socket2`. Constants and layouts are those of the Linux kernel interface for the processors that `platform` admits.

mod allocator;
mod descriptor;
mod outcome;
mod process;
mod socket;
mod thread;

pub(crate) use allocator::*;
pub(crate) use descriptor::*;
pub(crate) use process::*;
pub(crate) use socket::*;
pub(crate) use thread::*;

#[cfg(test)]
mod tests;
