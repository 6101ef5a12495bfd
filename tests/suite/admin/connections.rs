//! `/connections`: the list of open connections agrees with what their clients did, whether a thread serves them or not,
//! and however many there are.

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::{admin_of, get, page};
use crate::support::BlackHole;
use crate::support::json::Json;
use crate::support::net::{expect, expect_echo, send};
use crate::support::process::threads;
use crate::support::{Backend, Gateway, Launch, SOON, eventually};

/// Silent connections give their threads back at once.
const QUICK: &str = "silence=20,worker_patience=20,wake_pause=20";

/// `/connections` with a query, parsed: the whole, and its connections.
#[track_caller]
fn connections(admin: SocketAddr, query: &str) -> (Json, Vec<Json>) {
    let reply = get(admin, &format!("/connections{query}"));
    assert_eq!(reply.status(), 200, "{reply:?}");
    let json = Json::parse(&reply.content).expect("valid JSON");
    let list = json.list("connections").to_vec();
    assert_eq!(json.number("connections_shown"), list.len() as f64);
    (json, list)
}

fn address(client: &TcpStream) -> String {
    client.local_addr().expect("it is connected").to_string()
}

#[track_caller]
fn row<'a>(rows: &'a [Json], client: &TcpStream) -> &'a Json {
    let address = address(client);
    let found = rows.iter().find(|row| row.text("client") == address);
    found.unwrap_or_else(|| panic!("no {address} in {rows:?}"))
}

/// Waits until none is served by a thread.
fn wait_parked(gateway: &Gateway, idle: usize) {
    eventually(SOON, "all are parked", || {
        (threads(gateway.pid()) <= idle).then_some(())
    });
}

#[test]
fn each_open_connection_is_listed_as_it_is() {
    const CLIENTS: u64 = 300;
    let (one, two) = (Backend::echo(), Backend::echo());
    let flags = ["--metrics-addr=127.0.0.1:0"];
    let launch = Launch::before(&[one.address(), two.address()], &flags);
    let gateway = launch.times(QUICK).start();
    let admin = admin_of(&gateway);
    let before = threads(gateway.pid());
    assert_eq!(connections(admin, "").1, []);

    let began = Instant::now();
    let mut clients: Vec<TcpStream> = Vec::new();
    for index in 0..CLIENTS {
        let client = gateway.connect();
        send(&client, index, 10 + index);
        expect(&client, index, 10 + index);
        clients.push(client);
    }
    wait_parked(&gateway, before);
    let (whole, rows) = connections(admin, "");
    assert_eq!(whole.number("connections_open"), CLIENTS as f64);
    assert_eq!(whole.get("complete"), Some(&Json::Bool(true)));
    assert_eq!(whole.number("draining_processes"), 0.0);
    assert_eq!(rows.len(), clients.len());
    let addresses = [&one, &two].map(|backend| backend.address().to_string());
    for (index, (row, client)) in (0..).zip(rows.iter().zip(&clients)) {
        // The oldest is the first.
        assert_eq!(row.text("client"), address(client), "{row:?}");
        assert_eq!(row.text("listen"), gateway.address().to_string());
        let bytes = f64::from(10 + index);
        assert_eq!(row.number("bytes_to_endpoint"), bytes, "{row:?}");
        assert_eq!(row.number("bytes_to_client"), bytes, "{row:?}");
        assert!(addresses.iter().any(|wanted| wanted == row.text("address")));
        assert_eq!(row.text("name"), row.text("address"));
        let idle = row.number("idle_seconds");
        assert!(idle <= began.elapsed().as_secs_f64() + 0.1, "{row:?}");
        assert!(row.text("since").ends_with('Z'), "{row:?}");
    }
    let mut dates: Vec<&str> = rows.iter().map(|row| row.text("since")).collect();
    dates.sort_unstable();
    assert!(
        dates.iter().eq(rows
            .iter()
            .map(|row| row.text("since"))
            .collect::<Vec<_>>()
            .iter())
    );

    // Round robin: each has half of them.
    let query = format!("?address={}", one.address());
    let (some, of_one) = connections(admin, &query);
    assert_eq!(of_one.len(), clients.len() / 2);
    assert!(of_one.iter().all(|row| row.text("address") == addresses[0]));
    assert_eq!(some.get("complete"), Some(&Json::Bool(true)));
    assert_eq!(some.number("connections_open"), CLIENTS as f64);
    let (some, first) = connections(admin, "?limit=7");
    assert_eq!(some.get("complete"), Some(&Json::Bool(false)));
    let first: Vec<&str> = first.iter().map(|row| row.text("client")).collect();
    let wanted: Vec<String> = clients.iter().take(7).map(address).collect();
    assert_eq!(first, wanted);

    // Time passes for those that are silent; to look wakes nobody.
    std::thread::sleep(Duration::from_millis(300));
    expect_echo(&clients[5], 1);
    let (_, rows) = connections(admin, "");
    let idle = |client: &TcpStream| row(&rows, client).number("idle_seconds");
    assert!(idle(&clients[5]) < idle(&clients[6]), "{rows:?}");
    assert!(idle(&clients[0]) >= 0.3, "{rows:?}");
    wait_parked(&gateway, before);
    connections(admin, "");
    assert!(threads(gateway.pid()) <= before);

    // One that is busy is shown as such, and one that ends is gone.
    let bulk = clients.pop().expect("there are some");
    std::thread::scope(|scope| {
        let sent = scope.spawn(|| send(&bulk, 9, 20_000_000));
        scope.spawn(|| expect(&bulk, 9, 20_000_000));
        while !sent.is_finished() {
            let (_, rows) = connections(admin, "");
            assert!(row(&rows, &bulk).number("idle_seconds") < 5.0, "{rows:?}");
        }
    });
    let (_, rows) = connections(admin, "");
    let total = 20_000_000.0 + 10.0 + (CLIENTS - 1) as f64;
    assert_eq!(row(&rows, &bulk).number("bytes_to_client"), total);
    drop(bulk);
    eventually(SOON, "it is gone", || {
        (connections(admin, "").1.len() == clients.len()).then_some(())
    });
    (0..)
        .zip(&clients)
        .for_each(|(seed, client)| expect_echo(client, seed));
}

/// It has no endpoint yet, and is shown with its client.
#[test]
fn a_client_that_waits_for_an_endpoint_is_listed() {
    let hole = BlackHole::new();
    let (gateway, admin) = super::observed(&[hole.address()], &["--dial-timeout=1h"]);
    let client = gateway.connect();
    let rows = eventually(SOON, "it is accepted", || {
        let (_, rows) = connections(admin, "");
        (!rows.is_empty()).then_some(rows)
    });
    let row = row(&rows, &client);
    for field in ["address", "name", "idle_seconds"] {
        assert_eq!(row.get(field), Some(&Json::Null), "{row:?}");
    }
    assert_eq!(row.number("bytes_to_endpoint"), 0.0);
    let query = format!("?address={}", hole.address());
    assert_eq!(connections(admin, &query).1, []);
}

/// More than are shown, and all are served meanwhile.
#[test]
fn an_answer_has_a_bound_however_many_there_are() {
    const CLIENTS: usize = 1100;
    let endpoint = Backend::echo();
    let (gateway, admin) = super::observed(&[endpoint.address()], &[]);
    let clients: Vec<TcpStream> = (0..CLIENTS).map(|_| gateway.connect()).collect();
    expect_echo(&clients[CLIENTS - 1], 1);
    for _ in 0..20 {
        let content = get(admin, "/connections?limit=1000000").content;
        let head = "{\"connections_open\":1100,\"connections_shown\":1000,\"complete\":false,";
        assert!(content.starts_with(head), "{content}");
        assert_eq!(content.matches("\n{\"client\":").count(), 1000);
        expect_echo(&clients[0], 2);
    }
    assert!(page(admin).content.contains("<b>1100 <small>of "));
}
