//! Every count is in the metrics and on the page, each in its own place.

use super::*;

/// Each number is different, so that none can stand in the place of another.
pub(super) fn counted() -> Snapshot {
    let second = Duration::from_secs(1);
    Snapshot {
        now: present(7000 * second),
        started: after(100),
        clients: Clients {
            accepted: 11,
            active: 12,
            max: 13,
            rejected: vec![("max_connections", 14), ("loop", 15)],
            accept_errors: vec![("EMFILE", 16)],
            ended: vec![("removed", 26)],
            redispatches: 17,
            durations: Distribution {
                buckets: vec![(second, 18)],
                count: 19,
                sum: 20 * second,
            },
        },
        discovery: Discovery {
            refreshes: vec![("ok", 21), ("failed", 22)],
            last_success: Some(after(6000)),
        },
        reloads: Reloads {
            succeeded: 27,
            failed: 28,
            draining_processes: 29,
            draining_connections: 30,
        },
        threads_lost: vec![("admin", 23)],
        log_lines_dropped: 24,
        access_log_lines_dropped: 25,
        ..snapshot(Vec::new())
    }
}

#[test]
fn every_count_has_a_family_of_its_own() {
    let usage = Usage {
        open_descriptors: Some(31),
        max_descriptors: Some(32),
        resident_memory: Some(33),
        virtual_memory: Some(34),
        threads: Some(35),
        processor_time: Some(Duration::from_millis(36_500)),
    };
    let text = metrics::render(&counted(), &usage);
    let samples: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    let expected = [
        "etcd_gateway_build_info{version=\"\"} 1",
        "etcd_gateway_draining 0",
        "etcd_gateway_reloads_total{result=\"success\"} 27",
        "etcd_gateway_reloads_total{result=\"failure\"} 28",
        "etcd_gateway_draining_processes 29",
        "etcd_gateway_draining_connections 30",
        "etcd_gateway_connections_total 11",
        "etcd_gateway_connections_active 12",
        "etcd_gateway_max_connections 13",
        "etcd_gateway_connections_rejected_total{reason=\"max_connections\"} 14",
        "etcd_gateway_connections_rejected_total{reason=\"loop\"} 15",
        "etcd_gateway_accept_errors_total{errno=\"EMFILE\"} 16",
        "etcd_gateway_connections_ended_total{cause=\"removed\"} 26",
        "etcd_gateway_connection_duration_seconds_bucket{le=\"1\"} 18",
        "etcd_gateway_connection_duration_seconds_bucket{le=\"+Inf\"} 19",
        "etcd_gateway_connection_duration_seconds_sum 20",
        "etcd_gateway_connection_duration_seconds_count 19",
        "etcd_gateway_redispatches_total 17",
        "etcd_gateway_threads_lost_total{thread=\"admin\"} 23",
        "etcd_gateway_log_lines_dropped_total 24",
        "etcd_gateway_access_log_lines_dropped_total 25",
        "etcd_gateway_discovery_endpoints 0",
        "etcd_gateway_discovery_refreshes_total{result=\"ok\"} 21",
        "etcd_gateway_discovery_refreshes_total{result=\"failed\"} 22",
        "etcd_gateway_discovery_last_success_timestamp_seconds 6000",
        "etcd_gateway_discovery_problems 0",
        "process_open_fds 31",
        "process_max_fds 32",
        "process_resident_memory_bytes 33",
        "process_virtual_memory_bytes 34",
        "process_threads 35",
        "process_cpu_seconds_total 36.5",
        "process_start_time_seconds 100",
    ];
    assert_eq!(samples, expected);
}

#[test]
fn the_page_has_every_count_that_is_not_zero() {
    let page = html::render(&counted(), true);
    for (what, value) in [
        ("clients rejected: max_connections", "14"),
        ("clients rejected: loop", "15"),
        ("connections ended: removed", "26"),
        ("accept failed: EMFILE", "16"),
        ("dials of a second endpoint for one client", "17"),
        ("refreshes of the endpoints: ok", "21"),
        ("refreshes of the endpoints: failed", "22"),
        ("log lines dropped", "24"),
        ("access log lines dropped", "25"),
        ("last complete refresh", "16 min 40 s ago"),
    ] {
        let row = format!("<tr><th scope=\"row\">{what}</th><td class=\"n\">{value}</td></tr>");
        assert!(page.contains(&row), "{row}");
    }
    for card in [
        "<b>0 <small>of 0</small></b><span>endpoints active<",
        "<b>12 <small>of 13</small></b><span>connections open<",
        "<b>11</b><span>clients accepted<",
        "<b>29</b><span>clients rejected<",
    ] {
        assert!(page.contains(card), "{card}");
    }
    assert!(page.contains("up 1 h 55 min"), "{page}");
    let none = html::render(&snapshot(Vec::new()), true);
    assert!(!none.contains("dropped"), "{none}");
    assert!(none.contains("last complete refresh</th><td class=\"n\">never</td>"));
}

/// The row of one endpoint, in each of its states.
#[test]
fn a_row_of_the_page_shows_the_state_and_the_last_error() {
    let second = Duration::from_secs(1);
    let row = |view: View| {
        let snapshot = Snapshot {
            now: present(1000 * second),
            ..snapshot(vec![view])
        };
        html::render(&snapshot, true)
    };
    for (status, colour, error) in [
        (EndpointState::Active, "good", "dim"),
        (EndpointState::Slow, "odd", "dim"),
        (EndpointState::Inactive, "bad", "error"),
        (EndpointState::ThisGateway, "bad", "error"),
        (EndpointState::Unauthenticated, "bad", "error"),
        (EndpointState::Removed, "odd", "error"),
    ] {
        let page = row(View {
            since: after(910),
            last_error: Some((after(880), "why".to_owned())),
            stats: Arc::new(EndpointStats::default()),
            ..view(1, status, None)
        });
        let what = if error == "dim" {
            "last error"
        } else {
            "error"
        };
        for part in [
            format!(
                "pill {colour}\">{}</span> for 1 min 30 s<div class=\"dim\">since \
                 <time datetime=\"1970-01-01T00:15:10Z\">1970-01-01 00:15:10</time>",
                status.name()
            ),
            format!(
                "<td colspan=\"8\" class=\"{error}\">{what} 2 min 0 s ago, \
                 <time datetime=\"1970-01-01T00:14:40Z\">1970-01-01 00:14:40</time>: why</td>"
            ),
        ] {
            assert!(page.contains(&part), "{part} in {page}");
        }
        // One endpoint alone has no rank among others.
        assert!(!page.contains("priority"), "{page}");
    }
}
