//! Black-box tests: the real binary, spawned, over loopback. What each module holds:
//!
//! - `reference`: what the reference was observed to do (REFERENCE section 0), row by row, and what we do instead
//! - `cli`, `cli_values`, `listen`: the command line, environment and listeners, as an operator meets them
//! - `settings`: settings in a file, and what shows those in effect
//! - `availability`: members that accept connections and cannot serve, under load
//! - `balance`, `failover`, `dials`, `names`, `loops`: which endpoint serves a client, and which never must
//! - `policy`: endpoints chosen by their open connections
//! - `endpoints_file`, `maintenance`: endpoints that a file names, followed, and taken out by it for a while
//! - `discovery`: endpoints by SRV records, followed for as long as the gateway runs
//! - `auth`: endpoints that have to prove who they are before they carry a client
//! - `halves`, `resets`, `pressure`, `sockets`: what happens to the bytes of one connection
//! - `vanished_peers`: peers that vanish without a word
//! - `limits`, `memory_limits`, `overload`: descriptors, processes, memory and connections run out
//! - `memory`: memory is refused, comes back, and is not touched where there is nothing to do
//! - `access_log`: one line per connection, and what happens when it cannot be written
//! - `admin`: metrics, health and status over HTTP
//! - `health`: members that are asked how they are
//! - `shutdown`, `notify`, `logs`: life cycle, service manager, log lines
//! - `activation`, `status`: sockets that a service manager passes, the answer to SIGUSR1
//! - `threads`: what happens when a thread cannot be started or ends
//! - `faults`: calls of the kernel that fail, under a load of which every byte is known
//! - `containment`: what the process needs of the system, and that it needs no more
//! - `processors`: the program on other processors, under an emulator
//! - `readme`: README against the program
//! - `reload`: a new process takes over, and clients see nothing of it
//! - `reload_faults`: reloads in which another process is not what it should be
//! - `manual`: the manual and the completions that are installed beside the program
//! - `deploy`: rules, dashboard, manifests and samples that are shipped
//! - `release`: the static executable alone in its root directory, the bill of materials
//! - `packages`: the tarball, the package of Debian and the image for containers
//! - `etcd`, `members`: in front of a real cluster, whole and losing members
//! - `clients`: what README says of clients, with those that every host has
//!
//! Tests that show a defect of the reference to be absent name it by its id (D2 … D22) above the test.

mod access_log;
mod activation;
mod admin;
mod auth;
mod availability;
mod balance;
mod bulk;
mod cli;
mod cli_values;
mod clients;
mod containment;
mod deploy;
mod dials;
mod discovery;
mod endpoints_file;
mod etcd;
mod failover;
mod faults;
mod halves;
mod health;
mod idle_connections;
mod limits;
mod listen;
mod logs;
mod loops;
mod maintenance;
mod manual;
mod members;
mod memory;
mod memory_limits;
mod names;
mod notify;
mod overload;
mod packages;
mod policy;
mod pressure;
mod processors;
mod readme;
mod reference;
mod release;
mod reload;
mod reload_faults;
mod resets;
mod settings;
mod shutdown;
mod silent_endpoints;
mod sockets;
mod status;
#[path = "../support/mod.rs"]
mod support;
mod threads;
mod vanished_peers;
