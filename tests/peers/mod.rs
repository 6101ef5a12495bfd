//! The TLS client against servers: real ones, and one in memory that misbehaves. A part of the
//! program's unit tests (see `lib.rs`), which stands here for its size.
//!
//! The real ones are OpenSSL's `s_server` and etcd, on ports that the system chooses, with
//! keys and certificates that `openssl` makes when the tests start. One that is not installed
//! is a failure if the environment variable `CI` is set, and a skip, said on standard error,
//! otherwise.
//!
//! | file | what belongs there |
//! |---|---|
//! | `pki` | keys and certificates made by `openssl`, and a client that trusts them |
//! | `openssl` | handshakes with `openssl s_server`: versions, suites, groups, keys, schemes |
//! | `etcd` | handshakes with etcd, and what it logs of them |
//! | `misbehaviour` | a table of servers, each refused for its own reason |
//! | `mutation` | every truncation and every changed byte of good handshakes |
//! | `deadline` | servers that are silent or slow |

#[path = "../support/child_command.rs"]
mod child_command;
#[path = "../support/kept_keys.rs"]
mod kept_keys;
#[path = "../support/scratch.rs"]
mod scratch;
mod tls_server;

mod deadline;
mod etcd;
mod misbehaviour;
mod mutation;
mod openssl;
mod pki;
