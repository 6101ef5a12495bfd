//! What is compared: this gateway (several builds of it, if wanted), `etcd gateway`, HAProxy, nginx, and no proxy at
//! all. Which of them are here, their versions, and how each is started, configured as its operator would for many
//! connections on one host: all processors, TCP_NODELAY, a backlog of 4096, no logging of connections.

use std::ffi::OsStr;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::process::Process;
use crate::scrape::Scraper;

/// The name of the peer that ratios refer to.
pub const REFERENCE: &str = "reference";

/// The name of the first gateway where it also serves metrics.
pub const METRICS: &str = "metrics";

/// Between two looks whether a program listens, where its start-up time is not measured.
const PAUSE: Duration = Duration::from_millis(1);

enum Kind {
    Direct,
    Gateway,
    /// With `--metrics-addr`, scraped all the time.
    Scraped,
    Reference,
    HaProxy,
    /// nginx, and its stream module where that is a file of its own.
    Nginx(Option<PathBuf>),
}

pub struct Peer {
    pub name: String,
    pub version: String,
    pub program: PathBuf,
    kind: Kind,
    /// Each listens on an address of its own, so that no port of it is taken by outgoing connections.
    listen: Ipv4Addr,
}

/// A peer that runs.
pub struct Running {
    pub address: SocketAddr,
    process: Option<Process>,
    /// Where metrics are served, if they are, and who asks for them once they are.
    metrics: Option<SocketAddr>,
    scraper: Option<Scraper>,
    files: Option<PathBuf>,
}

/// Finds the peers: gateways by the given names and paths, the others on the PATH. The second list says who is missing
/// and how to get it. With `metrics` the first gateway is there a second time, serving them.
pub fn find(
    gateways: &[(String, PathBuf)],
    metrics: bool,
) -> Result<(Vec<Peer>, Vec<String>), String> {
    for (index, (name, program)) in gateways.iter().enumerate() {
        if !program.is_file() {
            return Err(format!(
                "--gateway {name}={}: no such file",
                program.display()
            ));
        }
        let taken = [REFERENCE, METRICS, "haproxy", "nginx", "direct"].contains(&name.as_str());
        if taken || gateways[..index].iter().any(|(other, _)| other == name) {
            return Err(format!("--gateway {name}: the name is taken"));
        }
    }
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    let mut add = |name: &str, program: PathBuf, kind: Kind, version: String| {
        let index = u8::try_from(found.len()).unwrap_or(u8::MAX);
        found.push(Peer {
            name: name.to_owned(),
            version,
            program,
            kind,
            listen: Ipv4Addr::new(127, 0, 2, index.saturating_add(1)),
        });
    };
    match on_path("etcd") {
        Some(program) => {
            let version = version_of(&program, "--version");
            add(REFERENCE, program, Kind::Reference, version);
        }
        None => missing.push("reference: no etcd on the PATH (Debian package etcd-server); without it there are no ratios".to_owned()),
    }
    for (name, program) in gateways {
        add(
            name,
            program.clone(),
            Kind::Gateway,
            version_of(program, "--version"),
        );
    }
    if let Some((_, program)) = gateways.first().filter(|_| metrics) {
        let version =
            version_of(program, "--version") + ", with --metrics-addr, asked every second";
        add(METRICS, program.clone(), Kind::Scraped, version);
    }
    match on_path("haproxy") {
        Some(program) => {
            let version = version_of(&program, "-v");
            add("haproxy", program, Kind::HaProxy, version);
        }
        None => missing.push("haproxy: not on the PATH (Debian package haproxy)".to_owned()),
    }
    match on_path("nginx").map(|program| (stream_module(&program), program)) {
        Some((Some(module), program)) => {
            let version = version_of(&program, "-v");
            add("nginx", program, Kind::Nginx(module), version);
        }
        Some((None, _)) => missing.push(
            "nginx: is here without its stream module (Debian package libnginx-mod-stream)"
                .to_owned(),
        ),
        None => missing.push(
            "nginx: not on the PATH (Debian packages nginx-light libnginx-mod-stream)".to_owned(),
        ),
    }
    add(
        "direct",
        PathBuf::new(),
        Kind::Direct,
        "no proxy at all".to_owned(),
    );
    Ok((found, missing))
}

impl Peer {
    pub fn is_direct(&self) -> bool {
        matches!(self.kind, Kind::Direct)
    }

    /// Starts the peer in front of `endpoints` and waits until it listens. Its files are in a directory below `dir`.
    pub fn start(&self, endpoints: &[SocketAddr], dir: &Path) -> Result<Running, String> {
        let mut running = self.spawn(endpoints, dir)?;
        if let Some(process) = &mut running.process {
            process
                .wait_for(running.address, PAUSE)
                .map_err(|e| format!("{}: {e}", self.name))?;
        }
        running.scraper = running.metrics.map(Scraper::start).transpose()?;
        Ok(running)
    }

    /// Starts the peer, and waits for nothing.
    pub fn spawn(&self, endpoints: &[SocketAddr], dir: &Path) -> Result<Running, String> {
        if self.is_direct() {
            return Ok(Running {
                address: endpoints[0],
                process: None,
                metrics: None,
                scraper: None,
                files: None,
            });
        }
        let port = || free_port(self.listen).map_err(|e| format!("no port to listen on: {e}"));
        let address = port()?;
        let metrics = match self.kind {
            Kind::Scraped => Some(port()?),
            _ => None,
        };
        let files = dir.join(format!("{}-{}", self.name, address.port()));
        fs::create_dir_all(&files).map_err(|e| format!("{}: {e}", files.display()))?;
        let list: Vec<String> = endpoints.iter().map(SocketAddr::to_string).collect();
        let write = |name: &str, text: String| {
            let path = files.join(name);
            fs::write(&path, text).map_err(|e| format!("{}: {e}", path.display()))?;
            Ok::<PathBuf, String>(path)
        };
        let mut command = Command::new(&self.program);
        match &self.kind {
            Kind::Direct => {}
            Kind::Gateway | Kind::Scraped => {
                command.arg("start").arg(format!("--listen-addr={address}"));
                command.arg(format!("--endpoints={}", list.join(",")));
                command.arg("--drain-timeout=0s");
                command.args(metrics.map(|metrics| format!("--metrics-addr={metrics}")));
            }
            Kind::Reference => {
                command.args(["gateway", "start"]);
                command.arg(format!("--listen-addr={address}"));
                command.arg(format!("--endpoints={}", list.join(",")));
            }
            Kind::HaProxy => {
                let config = write("haproxy.cfg", haproxy_config(address, &list))?;
                command.arg("-db").arg("-f").arg(config);
            }
            Kind::Nginx(module) => {
                let text = nginx_config(address, &list, module.as_deref(), &files);
                let config = write("nginx.conf", text)?;
                command.arg("-p").arg(&files).arg("-c").arg(config);
                command.args(["-e", "stderr"]);
            }
        }
        let process = Process::start(command, &files.join("log"))?;
        Ok(Running {
            address,
            process: Some(process),
            metrics,
            scraper: None,
            files: Some(files),
        })
    }
}

impl Running {
    /// The program and its children; none without a proxy.
    pub fn pids(&self) -> Vec<u32> {
        self.process.as_ref().map(Process::pids).unwrap_or_default()
    }

    pub fn process(&mut self) -> Option<&mut Process> {
        self.process.as_mut()
    }

    /// Why the peer is of no more use, if it has ended.
    pub fn death(&mut self) -> Option<String> {
        if let Some(failure) = self.scraper.as_ref().and_then(Scraper::failure) {
            return Some(failure.to_owned());
        }
        let process = self.process.as_mut()?;
        match process.alive() {
            true => None,
            false => Some(format!(
                "has ended; its last words: {}",
                process.last_words()
            )),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.scraper.take());
        drop(self.process.take());
        if let Some(files) = &self.files {
            fs::remove_dir_all(files).ok();
        }
    }
}

/// All else is HAProxy's default: a thread for each processor, maxconn from the limit on descriptors, TCP_NODELAY.
fn haproxy_config(listen: SocketAddr, endpoints: &[String]) -> String {
    let checked = if endpoints.len() > 1 {
        " check inter 2s"
    } else {
        ""
    };
    let servers: String = endpoints
        .iter()
        .enumerate()
        .map(|(i, endpoint)| format!("    server s{i} {endpoint}{checked}\n"))
        .collect();
    format!(
        "defaults
    mode tcp
    option splice-auto
    option redispatch 1
    backlog 4096
    timeout connect 5s
    timeout client 1h
    timeout server 1h
listen gateway
    bind {listen}
    balance roundrobin
{servers}"
    )
}

/// One worker a processor; a session takes two of a worker's connections.
fn nginx_config(
    listen: SocketAddr,
    endpoints: &[String],
    module: Option<&Path>,
    files: &Path,
) -> String {
    let module = module
        .map(|path| format!("load_module {};\n", path.display()))
        .unwrap_or_default();
    let servers: String = endpoints
        .iter()
        .map(|endpoint| format!("        server {endpoint};\n"))
        .collect();
    format!(
        "{module}daemon off;
pid {}/nginx.pid;
error_log stderr crit;
worker_processes auto;
worker_rlimit_nofile 20000;
events {{
    worker_connections 20000;
}}
stream {{
    upstream members {{
{servers}    }}
    server {{
        listen {listen} backlog=4096;
        proxy_pass members;
        proxy_connect_timeout 5s;
        proxy_timeout 1h;
    }}
}}
",
        files.display()
    )
}

/// Nothing else listens on these addresses, and no outgoing connection takes a port of them.
fn free_port(address: Ipv4Addr) -> std::io::Result<SocketAddr> {
    TcpListener::bind((address, 0))?.local_addr()
}

/// Debian keeps daemons where the PATH of a plain user does not look.
pub fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|dir| dir.join(name))
        .find(|program| program.is_file())
}

/// The first line that a program prints with a version in it.
pub fn version_of(program: &Path, flag: impl AsRef<OsStr>) -> String {
    let Ok(output) = Command::new(program).arg(flag).output() else {
        return "does not run".to_owned();
    };
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    text.lines().next().unwrap_or("unknown").trim().to_owned()
}

/// Whether nginx can do stream at all; the module's file if it is not built in.
#[expect(
    clippy::option_option,
    reason = "no stream, stream built in, stream in a file"
)]
fn stream_module(nginx: &Path) -> Option<Option<PathBuf>> {
    let output = Command::new(nginx).arg("-V").output().ok()?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    if text.split_whitespace().any(|word| word == "--with-stream") {
        return Some(None);
    }
    let given = text
        .split_whitespace()
        .find_map(|word| word.strip_prefix("--modules-path="));
    given
        .into_iter()
        .chain(["/usr/lib/nginx/modules", "/usr/lib64/nginx/modules"])
        .map(|dir| Path::new(dir).join("ngx_stream_module.so"))
        .find(|file| file.is_file())
        .map(Some)
}
