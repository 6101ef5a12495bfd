//! Runs the rounds: in each, every load, on every peer in turn. What the host does meanwhile hits all of them alike, and
//! ratios are taken within a round.

use std::io::{self, IsTerminal};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::load::{self, Kind, Load, Rig, Subject, Timing};
use crate::options::Options;
use crate::peers::{self, Peer, Running};
use crate::results::{Earlier, Results};
use crate::scratch::Scratch;
use crate::upstream::ADDRESSES;
use crate::{machine, report, sys};

/// The limit on descriptors of every program here, the gateways' included.
const DESCRIPTORS: u64 = 20_000;

const TIMING: Timing = Timing {
    warm_up: Duration::from_millis(200),
    measure: Duration::from_millis(700),
};
const TIMING_QUICK: Timing = Timing {
    warm_up: Duration::from_millis(50),
    measure: Duration::from_millis(200),
};

/// Measures and reports; whether all of it went well.
pub fn run(options: &Options) -> Result<bool, String> {
    let mut loads = options.choose(load::all())?;
    let (peers, mut missing) = peers::find(&options.gateways, options.metrics)?;
    let peers = options.choose_peers(peers, |peer| &peer.name)?;
    loads.retain(|load| {
        let program = load
            .kind
            .needs()
            .filter(|program| peers::on_path(program).is_none());
        missing.extend(program.map(|program| format!("{}: no {program} on the PATH", load.name)));
        program.is_none()
    });
    if peers.len() > usize::from(ADDRESSES) {
        return Err(format!(
            "--gateway: no more than {ADDRESSES} peers can be compared"
        ));
    }
    let earlier = options.compare.as_deref().map(Earlier::read).transpose()?;
    let descriptors =
        sys::limit_descriptors(DESCRIPTORS).map_err(|e| format!("RLIMIT_NOFILE: {e}"))?;

    let head = head(options, descriptors, &peers);
    for (name, value) in &head {
        println!("{name:<17} {value}");
    }
    for peer in &missing {
        println!("{:<17} {peer}", "missing");
    }
    if machine::busy() {
        println!(
            "{:<17} this host is: ratios will be rough, other figures wrong",
            "busy"
        );
    }
    if options.list {
        for load in &loads {
            println!("{:<18}{}", load.name, load.kind.about());
        }
        return Ok(true);
    }
    println!();

    let start = Instant::now();
    let results = measure(options, loads, &peers)?;
    println!("{}", report::tables(&results));
    let gateways: Vec<String> = options
        .gateways
        .iter()
        .map(|(name, _)| name.clone())
        .collect();
    if !options.quick {
        println!("{}", report::goals(&results, &gateways));
    }
    if let Some(earlier) = earlier {
        println!(
            "since {} ({})",
            earlier.head("date"),
            earlier.head("kernel")
        );
        println!("{}", report::changes(&results, &earlier));
    }
    for failure in &results.failures {
        println!("FAILED: {failure}");
    }
    if !results.peers.contains(&options.base) {
        println!("no ratios: {} is not among the peers", options.base);
    }
    if let Some(path) = &options.json {
        results.save(path, &head)?;
        println!("saved in {}", path.display());
    }
    println!("took {:.0} s", start.elapsed().as_secs_f64());
    Ok(results.failures.is_empty())
}

/// What the report is of, by names.
fn head(options: &Options, descriptors: u64, peers: &[Peer]) -> Vec<(String, String)> {
    let mut head = machine::describe();
    head.push(("RLIMIT_NOFILE", descriptors.to_string()));
    head.push(("rounds", options.rounds.to_string()));
    if options.quick {
        head.push(("quick", "too short to say anything of speed".to_owned()));
    }
    head.push(("ratios to", options.base.clone()));
    let versions = peers.iter().map(|peer| (&*peer.name, peer.version.clone()));
    head.into_iter()
        .chain(versions)
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

fn measure(options: &Options, loads: Vec<Load>, peers: &[Peer]) -> Result<Results, String> {
    let scratch = Scratch::new()?;
    let timing = if options.quick { TIMING_QUICK } else { TIMING };
    let rig = Rig::new(scratch.path().to_owned(), timing, options.quick)
        .map_err(|e| format!("upstream: {e}"))?;
    let endpoints: Vec<SocketAddr> = (0..peers.len()).map(|i| rig.upstream.address(i)).collect();
    let names = peers.iter().map(|peer| peer.name.clone()).collect();
    let mut results = Results::new(loads, names, &options.base);
    // One that does not start, as the others do, is left out.
    let mut running: Vec<Option<Running>> = Vec::new();
    for (peer, &endpoint) in peers.iter().zip(&endpoints) {
        let started = peer.start(&[endpoint], &rig.dir);
        running.push(started.map_err(|error| results.failures.push(error)).ok());
    }

    for round in 0..options.rounds {
        for index in 0..results.loads.len() {
            let Load { name, kind } = &results.loads[index];
            let kind = *kind;
            if round >= kind.rounds(options.rounds) {
                continue;
            }
            progress(&format!(
                "round {} of {}: {name}",
                round + 1,
                options.rounds
            ));
            for peer in order(round, kind, peers) {
                let Some(gateway) = &mut running[peer] else {
                    continue;
                };
                if peers[peer].is_direct() && !kind.suits_direct() {
                    continue;
                }
                // One that a load has killed is back for the next.
                if let Some(death) = gateway.death() {
                    let name = &peers[peer].name;
                    results.failures.push(format!("{name} {death}"));
                    *gateway = peers[peer].start(&[endpoints[peer]], &rig.dir)?;
                }
                let mut subject = Subject {
                    peer: &peers[peer],
                    running: gateway,
                    endpoint: endpoints[peer],
                };
                let result = kind.run(&rig, &mut subject);
                results.record(index, peer, round, result);
            }
        }
    }
    progress("");
    Ok(results)
}

/// One line that is overwritten, for whoever watches.
fn progress(line: &str) {
    if io::stderr().is_terminal() {
        eprint!("\r\x1b[K{line}");
    }
}

/// Each round begins with another peer and goes the other way, so that none always follows the same one. For idle
/// connections the figure without a proxy comes first: the others' are relative to it.
fn order(round: usize, kind: Kind, peers: &[Peer]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..peers.len())
        .map(|i| (i + round) % peers.len())
        .collect();
    if round % 2 == 1 {
        order.reverse();
    }
    if kind == Kind::Idle {
        order.sort_by_key(|&peer| !peers[peer].is_direct());
    }
    order
}
