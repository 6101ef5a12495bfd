//! Reloads in front of a real cluster, and under pressure: what clients see of them, which is nothing.

use std::io::{BufRead, BufReader, Write};
use std::sync::mpsc::{Receiver, channel};

use super::*;
use crate::support::Backend;
use crate::support::cluster::{EtcdCluster, etcdctl, etcdctl_text};
use crate::support::gateway::READY;
use crate::support::net::{expect_echo, expect_refused};
use crate::support::process::signal;
use crate::support::supervisor::RELOADED;

/// The numbers below 100 in the notation of etcd's JSON: base64 of their digits.
fn base64(text: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let quantum = |bytes: &[u8]| {
        let at = |index| u32::from(bytes.get(index).copied().unwrap_or(0));
        let word = at(0) << 16 | at(1) << 8 | at(2);
        let digit = |shift: u32| char::from(DIGITS[(word >> shift & 63) as usize]);
        let mut text: String = [18, 12, 6, 0].map(digit).iter().collect();
        text.replace_range(bytes.len() + 1.., &"="[..].repeat(3 - bytes.len()));
        text
    };
    text.as_bytes().chunks(3).map(quantum).collect()
}

/// A watch on the key `watched`, of one connection that nobody would open again: the lines it is sent.
#[track_caller]
fn watch(gateway: SocketAddr) -> (TcpStream, Receiver<String>) {
    let stream = net::connect(gateway);
    let body = format!(
        "{{\"create_request\":{{\"key\":\"{}\"}}}}",
        base64("watched")
    );
    let request = format!(
        "POST /v3/watch HTTP/1.1\r\nHost: {gateway}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    (&stream)
        .write_all(request.as_bytes())
        .expect("ask for a watch");
    let (sender, lines) = channel();
    let reader = stream.try_clone().expect("duplicate a descriptor");
    reader
        .set_read_timeout(None)
        .expect("wait for as long as it takes");
    std::thread::spawn(move || {
        for line in BufReader::new(reader).lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    wait_line(&lines, "\"created\":true");
    (stream, lines)
}

#[track_caller]
fn wait_line(lines: &Receiver<String>, wanted: &str) {
    loop {
        let line = lines.recv_timeout(SOON);
        let line = line.unwrap_or_else(|error| panic!("the watch has no {wanted}: {error}"));
        if line.contains(wanted) {
            return;
        }
    }
}

#[test]
fn twenty_reloads_in_front_of_a_cluster_fail_no_client() {
    let Some(cluster) = EtcdCluster::start() else {
        return;
    };
    let service = Service::before(&cluster.clients(), &[]);
    let gateway = service.address();
    let first = service.serving();
    let (watcher, lines) = watch(gateway);
    let writer = Clients::asking(move || {
        let put = etcdctl(gateway, &["put", "written", "value"], b"");
        match put.status.success() {
            true => Ok(()),
            false => Err(io::Error::other(
                String::from_utf8_lossy(&put.stderr).into_owned(),
            )),
        }
    });
    let readers = [0, 1].map(|_| Clients::of_http(gateway, "/version"));
    let mut processes = vec![first];
    for round in 10..30 {
        processes.push(service.reload());
        let value = round.to_string();
        assert_eq!(
            etcdctl_text(gateway, &["put", "watched", &value], b""),
            "OK\n"
        );
        wait_line(&lines, &format!("\"value\":\"{}\"", base64(&value)));
    }
    for readers in readers {
        readers.all_were_served(200);
    }
    // Each is a program that has to start, on a machine that is busy.
    writer.none_failed(20);
    let last = service.serving();
    assert_eq!(processes.last(), Some(&last));
    // The watch has been in the first process all the time; whoever else drained is gone.
    wait_for_only(&service, &[first, last]);
    drop(watcher);
    wait_for_only(&service, &[first, last]);
    assert!(service.family.zombies().is_empty());
    // The first has none.
    let successors = &service.records(READY)[1..];
    let ready: Vec<f64> = successors
        .iter()
        .map(|record| record.number("predecessor"))
        .collect();
    let predecessors: Vec<f64> = processes.iter().map(|pid| f64::from(*pid)).collect();
    assert_eq!(ready, predecessors[..20]);
    assert!(
        service.records("deactivated endpoint").is_empty(),
        "{}",
        service.text()
    );
}

/// As by hand and by a script that both want it: the requests are one, or one after the other, and none is forgotten.
#[test]
fn requests_that_come_while_it_reloads_are_one_more_reload() {
    let endpoint = Backend::tagged(b't');
    let service = Service::before(&[endpoint.address()], &[]);
    let (gateway, first) = (service.address(), service.serving());
    let held = client(gateway);
    let clients = [0, 1].map(|_| Clients::of(gateway));
    for _ in 0..5 {
        signal(first, "USR2");
    }
    // Settled: who is ready has taken over, and nobody drains who has no client.
    eventually(SOON, "the reloads are over", || {
        let (ready, reloaded) = (service.count(READY), service.count(RELOADED));
        let settled = reloaded > 0 && ready == reloaded + 1;
        (settled && service.family.gateways().len() == 2).then_some(())
    });
    // While one is under way, and before the next is asked for.
    for round in 0..4 {
        service.signal("USR2");
        service.reload_by(first);
        expect_echo(&held, round);
    }
    for clients in clients {
        clients.all_were_served(10);
    }
    let (reloads, most) = (service.count(RELOADED), 5 + 2 * 4);
    assert!(
        (5..=most).contains(&reloads),
        "{reloads}:\n{}",
        service.text()
    );
    wait_for_only(&service, &[first, service.serving()]);
}

/// Clients of the old process count for its bound, not for that of the new one.
#[test]
fn new_process_has_room_for_clients_where_the_old_one_is_full() {
    let endpoint = Backend::tagged(b't');
    let service = Service::before(&[endpoint.address()], &["--max-connections=2"]);
    let gateway = service.address();
    let mut held = Vec::new();
    for round in 0..3 {
        held.extend([0, 1].map(|_| client(gateway)));
        expect_refused(gateway);
        if round < 2 {
            service.reload();
        }
    }
    for (seed, client) in held.iter().enumerate() {
        expect_echo(client, seed as u64);
    }
}

/// Long transfers are where a hand-over would show: every byte is known.
#[test]
fn bulk_goes_on_through_reloads() {
    const BYTES: u64 = 48 << 20;
    let endpoint = Backend::echo();
    let service = Service::before(&[endpoint.address()], &[]);
    let stream = net::connect(service.address());
    std::thread::scope(|scope| {
        scope.spawn(|| net::send(&stream, 7, BYTES));
        let reader = scope.spawn(|| net::expect(&stream, 7, BYTES));
        while !reader.is_finished() && service.count(RELOADED) < 8 {
            service.reload();
        }
    });
    assert!(service.count(RELOADED) > 0);
}
