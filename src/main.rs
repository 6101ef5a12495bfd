//! `etcd-gateway`: the command line in, an exit status out.

use std::process::ExitCode;

fn main() -> ExitCode {
    etcd_gateway::run()
}
