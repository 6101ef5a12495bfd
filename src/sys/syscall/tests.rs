//! Each call against the kernel itself.

use super::*;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

#[test]
fn wait_reports_what_is_ready_and_times_out() {
    let (near, far) = UnixStream::pair().unwrap();
    let mut fds = [PollFd::readable(near.as_fd()), PollFd::hung_up(far.as_fd())];
    wait(&mut fds, Some(Duration::from_micros(10))).unwrap();
    assert!(!fds[0].is_ready() && !fds[1].is_ready());
    (&far).write_all(b"x").unwrap();
    wait(&mut fds, None).unwrap();
    assert!(fds[0].is_ready() && !fds[0].has_error() && !fds[1].is_ready());
}

#[test]
fn a_wait_is_no_shorter_than_it_was_to_be() {
    let (near, far) = UnixStream::pair().unwrap();
    let mut fds = [PollFd::readable(near.as_fd())];
    for micros in [1, 999, 1_001] {
        let (timeout, start) = (Duration::from_micros(micros), std::time::Instant::now());
        wait(&mut fds, Some(timeout)).unwrap();
        assert!(start.elapsed() >= timeout, "{micros}");
    }
    // Longer than poll(2) can wait.
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(20));
            (&far).write_all(b"x").unwrap();
        });
        wait(&mut fds, Some(Duration::MAX)).unwrap();
        assert!(fds[0].is_ready());
    });
}

#[test]
fn privileges_are_given_up_for_this_thread_and_its_children() {
    // In a thread, so that the runner stays as it is.
    let after = std::thread::spawn(|| {
        forbid_new_privileges().unwrap();
        let child = std::thread::spawn(|| std::fs::read_to_string("/proc/thread-self/status"));
        child.join().unwrap().unwrap()
    });
    assert!(after.join().unwrap().contains("NoNewPrivs:\t1\n"));
}

#[test]
fn entropy_differs_and_fills_all() {
    let (mut a, mut b) = ([0u8; 64], [0u8; 64]);
    fill_random(&mut a).unwrap();
    fill_random(&mut b).unwrap();
    assert_ne!(a, b);
    assert!(a[32..].iter().any(|byte| *byte != 0));
    fill_random(&mut []).unwrap();
}

#[test]
fn bytes_move_into_a_pipe_and_out_of_it() {
    let (mut source, from) = UnixStream::pair().unwrap();
    let (to, mut sink) = UnixStream::pair().unwrap();
    let (reader, writer) = io::pipe().unwrap();
    assert_eq!(resize_pipe(writer.as_fd(), 65_536).unwrap(), 65_536);
    assert_eq!(pipe_size(reader.as_fd()).unwrap(), 65_536);
    source.write_all(b"some bytes").unwrap();
    assert_eq!(move_bytes(from.as_fd(), writer.as_fd(), 100).unwrap(), 10);
    assert_eq!(move_bytes(reader.as_fd(), to.as_fd(), 4).unwrap(), 4);
    assert_eq!(move_bytes(reader.as_fd(), to.as_fd(), 100).unwrap(), 6);
    let mut got = [0; 10];
    sink.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"some bytes");
    drop(source);
    assert_eq!(move_bytes(from.as_fd(), writer.as_fd(), 100).unwrap(), 0);
    // Two sockets, no pipe.
    let refused = move_bytes(from.as_fd(), to.as_fd(), 100).unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(22));
}

/// One that is in use elsewhere, too, and has bytes on their way in both directions.
#[test]
fn a_connection_is_aborted_for_every_handle() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut peer = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (socket, _) = listener.accept().unwrap();
    let mut other = socket.try_clone().unwrap();
    peer.write_all(b"unread").unwrap();
    disconnect(socket.as_fd()).unwrap();
    let error = peer.read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    assert!(other.write(b"x").is_err() && other.read(&mut [0]).is_err());
    disconnect(socket.as_fd()).unwrap();
}

#[test]
fn a_thread_runs_once_with_the_stack_and_the_policy_asked_for() {
    let (sender, heard) = std::sync::mpsc::channel();
    start_thread(256 * 1024, move || {
        let own = [0u8; 128 * 1024];
        let policy = schedule_as_batch().map(|()| {
            let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
            // Field 41 of proc(5), counted from behind the name in parentheses.
            let fields = stat.rsplit(')').next().unwrap();
            fields.split_whitespace().nth(38).map(str::to_owned)
        });
        sender
            .send((std::hint::black_box(&own)[0], policy))
            .unwrap();
    })
    .unwrap();
    let (byte, policy) = heard.recv().unwrap();
    assert_eq!((byte, policy.unwrap().as_deref()), (0, Some("3")));
    assert!(
        heard.recv().is_err(),
        "the work is dropped, and was done once"
    );
    // On some processors a worker's stack is less than what the C library allows.
    assert!(smallest_stack() >= 2048, "{}", smallest_stack());
    let (sender, heard) = std::sync::mpsc::channel();
    start_thread(1, move || sender.send(()).unwrap()).unwrap();
    heard.recv().unwrap();
    let absurd = start_thread(usize::MAX, || ()).unwrap_err();
    assert!(absurd.raw_os_error().is_some());
}

#[test]
fn limits_read_and_set() {
    // That of descriptors is raised by another test.
    let now = limit(Resource::Threads).unwrap();
    assert!(now.soft > 0 && now.soft <= now.hard);
    set_limit(Resource::Threads, now).unwrap();
    assert_eq!(limit(Resource::Threads).unwrap(), now);
    let descriptors = limit(Resource::Descriptors).unwrap();
    assert!(descriptors.soft > 0 && descriptors.soft <= descriptors.hard);
}
