//! How many connections this host allows, derived from everything that bounds a program with up to two threads, and two
//! descriptors, per connection.
//!
//! Running out of descriptors or threads is an error that one connection feels; running out of memory or of memory mappings
//! ends the process: the kernel kills it, or `std` aborts it. So the smallest of all bounds becomes the cap above which clients
//! are rejected, and nothing below it is ever exceeded. What is in use already, here and by others that a limit counts, is
//! subtracted.

mod capacity;
mod host;
mod reached;

pub(crate) use capacity::{Capacity, Needs, Shortage, capacity};
pub(crate) use host::raise_descriptors;
pub(crate) use reached::{ReachedLimit, reached_by_a_session, reached_by_a_thread};

#[cfg(test)]
pub(super) mod tests;
