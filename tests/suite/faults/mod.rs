//! Calls of the kernel that fail, under a load of which every byte and every end is known. What each module holds:
//!
//! - `stream`, `plan`, `play`, `load`: that load, and what both ends of each session must have seen
//! - `rig`: a gateway whose calls fail for a round; what must hold in each round, and after it
//! - `relay`: what moves bytes fails: nobody is given a wrong byte or a false end, nobody waits for ever
//! - `dials`: what finds clients and endpoints fails: no endpoint is blamed for what this host cannot do
//! - `start`: sockets that a start needs
//! - `discovery`: names and files
//! - `clock`: the wall clock is set by decades
//! - `soak`: rules by chance, for as long as one likes (`make soak`)
//!
//! `FAULT_SEED` repeats a run, as far as threads allow; `FAULT_ROUND` chooses rounds by a part of their name.

mod clock;
mod dials;
mod discovery;
mod load;
mod plan;
mod play;
mod relay;
mod rig;
mod soak;
mod start;
mod stream;
