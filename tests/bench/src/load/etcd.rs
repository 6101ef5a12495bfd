//! Real clients of a real etcd: a steady stream of puts and linearizable ranges over gRPC, and etcdctl, a process with
//! its own connection for each command.
//!
//! The data of etcd is with the other files of the run, in memory if possible: what is measured is the way to it, not the
//! disk. Each gateway is a fresh instance in front of that etcd.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use super::{Latencies, Rig, Sample, Subject, Window, connect, joined, nanoseconds, said};
use crate::grpc::Client;
use crate::peers::on_path;
use crate::process::Process;
use crate::stats;

/// Each with a thread of its own here; half of their calls are puts, half are ranges.
pub const CLIENTS: u32 = 8;

/// A value as of a Kubernetes lease or a small object.
const VALUE: usize = 256;

/// The etcd that all gateways forward to.
pub struct Etcd {
    address: SocketAddr,
    process: Process,
}

impl Etcd {
    pub fn start(dir: &Path) -> Result<Etcd, String> {
        let program = on_path("etcd").ok_or("no etcd on the PATH")?;
        let free = || TcpListener::bind("127.0.5.1:0")?.local_addr();
        let address = free().map_err(said("no port for etcd"))?;
        let peers = free().map_err(said("no port for etcd"))?;
        let mut command = Command::new(program);
        command.arg("--data-dir").arg(dir.join("etcd")).args([
            format!("--listen-client-urls=http://{address}"),
            format!("--advertise-client-urls=http://{address}"),
            format!("--listen-peer-urls=http://{peers}"),
            format!("--initial-advertise-peer-urls=http://{peers}"),
            format!("--initial-cluster=default=http://{peers}"),
        ]);
        let mut etcd = Etcd {
            address,
            process: Process::start(command, &dir.join("etcd.log"))?,
        };
        etcd.process.wait_for(address, Duration::from_millis(5))?;
        etcd.wait_for_leader()?;
        Ok(etcd)
    }

    /// It listens before it has elected itself.
    fn wait_for_leader(&self) -> Result<(), String> {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let put = connect(self.address).and_then(|stream| {
                let mut client = Client::new(stream).map_err(said("HTTP/2"))?;
                client.put(b"ready", b"yes").map_err(said("put"))
            });
            match put {
                Err(error) if Instant::now() > deadline => return Err(format!("etcd: {error}")),
                Err(_) => thread::sleep(Duration::from_millis(20)),
                Ok(()) => return Ok(()),
            }
        }
    }
}

pub fn run_grpc(rig: &Rig, subject: &Subject) -> Result<Sample, String> {
    let etcd = rig.etcd()?;
    let gateway = subject.peer.start(&[etcd.address], &rig.dir)?;
    let (window, address) = (Window::default(), gateway.address);
    thread::scope(|scope| {
        let window = &window;
        let threads: Vec<_> = (0..CLIENTS)
            .map(|id| scope.spawn(move || client(address, id, window)))
            .collect();
        let measured = window.run(rig.timing, &gateway);
        let (mut puts, mut ranges) = (Latencies::new(), Latencies::new());
        for thread in threads {
            let (mut more_puts, mut more_ranges) = joined(thread)?;
            puts.append(&mut more_puts);
            ranges.append(&mut more_ranges);
        }
        let count = (puts.len() + ranges.len()) as f64;
        let mut sample = vec![("rate", count / measured.seconds)];
        for (latencies, p50, p99) in [
            (&mut puts, "put p50", "put p99"),
            (&mut ranges, "range p50", "range p99"),
        ] {
            latencies.sort_unstable();
            for (name, share) in [(p50, 0.5), (p99, 0.99)] {
                let value = stats::percentile(latencies, share);
                sample.extend(value.map(|value| (name, f64::from(value) / 1000.0)));
            }
        }
        sample.extend(measured.cpu_each(count, 1e6));
        Ok(sample)
    })
}

/// Puts and ranges in turn; the latencies of each.
fn client(address: SocketAddr, id: u32, window: &Window) -> Result<(Latencies, Latencies), String> {
    let mut client = Client::new(connect(address)?).map_err(said("HTTP/2"))?;
    let (mut puts, mut ranges) = (Latencies::new(), Latencies::new());
    let key = format!("/registry/leases/node-{id}");
    let mut value = vec![b'v'; VALUE];
    let mut revision = 0_u64;
    while !window.done() {
        revision += 1;
        value[..8].copy_from_slice(&revision.to_be_bytes());
        let start = Instant::now();
        client.put(key.as_bytes(), &value).map_err(said("put"))?;
        let between = Instant::now();
        client
            .range(key.as_bytes(), &value)
            .map_err(said("range"))?;
        if window.measuring() {
            puts.push(nanoseconds(between - start));
            ranges.push(nanoseconds(between.elapsed()));
        }
    }
    Ok((puts, ranges))
}

/// One command after the other, as of a script; the median time of one.
pub fn run_etcdctl(rig: &Rig, subject: &Subject) -> Result<Sample, String> {
    let etcd = rig.etcd()?;
    let program =
        on_path("etcdctl").ok_or("no etcdctl on the PATH (Debian package etcd-client)")?;
    let gateway = subject.peer.start(&[etcd.address], &rig.dir)?;
    let end = Instant::now() + rig.timing.measure;
    let mut times = Vec::new();
    let mut value = 0_u32;
    while Instant::now() < end {
        value += 1;
        let value = value.to_string();
        for (arguments, expected) in [
            (&["put", "script", &value][..], "OK"),
            (&["get", "script", "--print-value-only"], &value),
        ] {
            let start = Instant::now();
            let output = Command::new(&program)
                .env("ETCDCTL_API", "3")
                .arg(format!("--endpoints={}", gateway.address))
                .args(arguments)
                .output()
                .map_err(said("etcdctl"))?;
            times.push(start.elapsed().as_secs_f64() * 1e3);
            let text = String::from_utf8_lossy(&output.stdout);
            if text.trim() != expected {
                let error = String::from_utf8_lossy(&output.stderr);
                return Err(format!("etcdctl {}: {text}{error}", arguments.join(" ")));
            }
        }
    }
    let spread = stats::Spread::of(&times);
    Ok(spread
        .map(|spread| ("time", spread.median))
        .into_iter()
        .collect())
}
