//! Very many members that accept connections and say nothing: what they cost, others do not pay.

use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Instant;

use super::{Stage, address};
use crate::support::front::ask;
use crate::support::isolated::isolated;
use crate::support::process::{descriptors, threads};
use crate::support::{Launch, SOON, TempDir};

/// One address for each, all of one listener that nobody reads from.
fn silent(count: u16) -> (TcpListener, Vec<SocketAddr>) {
    let listener = TcpListener::bind("0.0.0.0:0").expect("bind port 0");
    let port = listener.local_addr().expect("bound address").port();
    let address = |number: u16| {
        let [high, low] = number.to_be_bytes();
        SocketAddr::from(([127, 3, high, low], port))
    };
    (listener, (1..=count).map(address).collect())
}

/// Each is asked who it is, and each takes the whole time for that; sixteen at a time, whoever asks.
#[test]
fn a_thousand_silent_members_take_nothing_from_the_clients_of_a_good_one() {
    isolated(
        a_thousand_silent_members_take_nothing_from_the_clients_of_a_good_one,
        |site| {
            let Some(stage) = Stage::set(site) else {
                return;
            };
            let _good = stage.member(1);
            let (listener, crowd) = silent(1000);
            let accepted = std::thread::spawn(move || {
                // Kept open, without a word.
                let all: Vec<TcpStream> = listener.incoming().take(100).flatten().collect();
                all.into_iter().for_each(|mut stream| {
                    let _ = stream.read(&mut [0]);
                });
            });
            let dir = TempDir::new();
            let lines = |members: &[SocketAddr]| -> String {
                members.iter().map(|member| format!("{member}\n")).collect()
            };
            let path = dir.file("members", &lines(&[address(1)]));
            let flags = [
                "--endpoints-file",
                &path,
                "--verify-endpoints",
                "--discovery-server-name=x.test",
                "--trusted-ca-file",
                &stage.root.certificate,
                "--dial-timeout=500ms",
            ];
            let launch = Launch::start_with(&flags).times("refresh_pause=20,file_look=50");
            let mut gateway = launch.wrapped(&["prlimit", "--nofile=512:512"]).start();
            let (idle_threads, idle_descriptors) =
                (threads(gateway.pid()), descriptors(gateway.pid()));
            assert_eq!(ask(gateway.address()).expect("served"), 1);
            dir.file("members", &lines(&[&[address(1)], &crowd[..]].concat()));
            gateway.signal("HUP");
            gateway.wait_record("endpoints changed");
            // A client after the other, until a hundred of the silent have been asked.
            let begun = Instant::now();
            let (mut most_threads, mut most_descriptors, mut clients) = (0, 0, 0);
            while !accepted.is_finished() {
                assert!(begun.elapsed() < SOON, "the others are not asked");
                match ask(gateway.address()) {
                    Ok(tag) => assert_eq!(tag, 1),
                    Err(error) => panic!("client {clients}: {error}\n{}", gateway.text()),
                }
                clients += 1;
                most_threads = most_threads.max(threads(gateway.pid()));
                most_descriptors = most_descriptors.max(descriptors(gateway.pid()));
            }
            accepted.join().expect("no panic");
            assert!(clients >= 20, "{clients} clients");
            // Two for a client, one that it leaves behind for a moment, one for each proof.
            assert!(
                most_threads <= idle_threads + 16 + 4,
                "{most_threads} threads, {idle_threads} before"
            );
            assert!(
                most_descriptors <= idle_descriptors + 16 + 8,
                "{most_descriptors} descriptors, {idle_descriptors} before"
            );
            for line in ["cannot accept", "rejected client", "cannot start a thread"] {
                assert!(gateway.records(line).is_empty(), "{}", gateway.text());
            }
            gateway.assert_running();
        },
    );
}
