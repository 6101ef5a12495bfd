//! Plays a plan and looks at what became of every byte.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use super::plan::{Pause, Peer, PeerEnd, Plan, Session, mix};
use crate::endpoint::pool::Pool;
use crate::proxy::calls::Call;
use crate::proxy::calls::tests::{Fault, What};
use crate::proxy::cause::{Cause, Failure, Party, Rejection};
use crate::proxy::pipes::Pipes;
use crate::proxy::relay::Relay;
use crate::proxy::relay::tests::served::Served;
use crate::sys::syscall::{self, PollFd};

/// What a thread has waited for without success.
const SOON: Duration = Duration::from_secs(10);

/// Plays a plan.
///
/// # Errors
/// What was not as it has to be.
pub(super) fn run(plan: &Plan) -> Result<(), Vec<String>> {
    // Where there is no pipe, there is no buffer either.
    let pipes = Pipes::new(plan.pipes, 2 * plan.pipes, Duration::from_millis(20));
    let pipes = Arc::new(pipes);
    for fault in &plan.pipe_faults {
        pipes.seam.plan(*fault);
    }
    let pool = super::super::pool();
    for wave in &plan.waves {
        let mut problems: Vec<String> = thread::scope(|scope| {
            let sessions: Vec<_> = wave
                .iter()
                .map(|session| scope.spawn(|| play(session, &pipes, &pool)))
                .collect();
            let ended = sessions.into_iter().zip(wave);
            ended
                .flat_map(|(played, session)| {
                    let problems = played.join().unwrap_or_else(|_| vec!["panic".to_owned()]);
                    let name = move |problem| format!("session {:016x}: {problem}", session.id);
                    problems.into_iter().map(name)
                })
                .collect()
        });
        if problems.is_empty() {
            problems = left_behind(plan, &pipes, &pool);
        }
        if !problems.is_empty() {
            return Err(problems);
        }
    }
    Ok(())
}

/// What is not as it was before the sessions that are over now.
fn left_behind(plan: &Plan, pipes: &Pipes, pool: &Pool) -> Vec<String> {
    let mut problems = Vec::new();
    let bytes = pipes.with_bytes();
    if bytes > 0 {
        problems.push(format!("{bytes} free pipes have bytes in them"));
    }
    let left = pipes.left();
    if left != plan.pipes {
        problems.push(format!("{left} pipes are left of {}", plan.pipes));
    }
    let open: u64 = pool.views().iter().map(|view| view.stats.open()).sum();
    if open > 0 {
        problems.push(format!("{open} connections count as open"));
    }
    problems
}

/// How the sending of one peer ended.
#[derive(Debug, PartialEq, Eq)]
enum Sent {
    Fin,
    /// It closed the connection itself.
    Gone,
    /// It heard of a reset.
    Reset,
    Stuck,
}

/// How the reading of one peer ended.
#[derive(Debug, PartialEq, Eq)]
enum Got {
    Fin,
    Gone,
    Reset,
    Stuck,
    Failed(ErrorKind),
    /// From this byte on it is not what was sent.
    Wrong(usize),
}

/// What a relay says when it is over.
struct Said {
    cause: Cause,
    passed: [u64; 2],
    happened: Vec<(Party, Fault)>,
}

fn play(session: &Session, pipes: &Arc<Pipes>, pool: &Pool) -> Vec<String> {
    let (client, client_side) = connection(session.buffers);
    let (endpoint, endpoint_side) = connection(session.buffers);
    super::super::reset_on_close(&client_side);
    let account = pool.pick(&[]).unwrap().1.connected();
    let relay = Relay::new(
        Arc::new(client_side),
        endpoint_side,
        account,
        Arc::default(),
        session.silence,
        Some(session.silence),
    );
    let relay = Arc::new(relay.unwrap());
    for (party, fault) in &session.faults {
        let side = match party {
            Party::Client => &relay.client,
            Party::Endpoint => &relay.endpoint,
        };
        side.socket.seam.plan(*fault);
    }
    // Only its threads hold it, as in a gateway.
    let outside = Arc::downgrade(&relay);
    let said = serve(relay, pipes, session.refused_threads);
    let [(up, down), (sent_down, got_up)] = thread::scope(|scope| {
        let ids = [session.id, !session.id];
        let [client, endpoint] = [
            (client, &session.client, ids),
            (endpoint, &session.endpoint, [ids[1], ids[0]]),
        ]
        .map(|(stream, plan, [own, other])| scope.spawn(move || peer(stream, plan, own, other)));
        if let Some(time) = session.cut {
            thread::sleep(time);
            if let Some(relay) = Weak::upgrade(&outside) {
                relay.abort(Cause::Removed);
            }
        }
        [client, endpoint].map(|peer| peer.join().unwrap())
    });
    let mut problems = Vec::new();
    let last = said.recv_timeout(SOON).ok();
    if last.is_none() {
        problems.push("its threads do not end".to_owned());
    }
    if problems.is_empty() && outside.strong_count() > 0 {
        problems.push("its sockets are still open".to_owned());
    }
    let lanes = [
        ("client", &session.client, &up, &got_up),
        ("endpoint", &session.endpoint, &sent_down, &down),
    ];
    let said = last.unwrap_or_else(|| Said {
        cause: Cause::Internal,
        passed: [0; 2],
        happened: Vec::new(),
    });
    judge(session, &lanes, &said, &mut problems);
    if !problems.is_empty() {
        problems.push(format!("{:?}, {:?}", said.cause, said.happened));
        if let Some(relay) = Weak::upgrade(&outside) {
            relay.abort(Cause::Internal);
        }
    }
    problems
}

type PaddedCounter<'a> = (&'a str, &'a Peer, &'a Sent, &'a (usize, Got));

fn judge(
    session: &Session,
    lanes: &[PaddedCounter<'_>; 2],
    said: &Said,
    problems: &mut Vec<String>,
) {
    let mut complain = |what: String| problems.push(what);
    for ((name, plan, sent, (count, got)), passed) in lanes.iter().zip(said.passed) {
        let end = format!(
            "{name}'s {} bytes, {sent:?}: {count} bytes, {got:?}",
            plan.bytes
        );
        let whole = *count == plan.bytes;
        let may_be_whole = match sent {
            Sent::Fin => true,
            Sent::Gone => matches!(plan.end, PeerEnd::Vanish | PeerEnd::FinThenReset),
            Sent::Reset | Sent::Stuck => false,
        };
        match got {
            Got::Fin if whole && may_be_whole => {}
            Got::Fin => complain(format!("{end}, a clean end of what was cut")),
            Got::Reset | Got::Gone => {}
            Got::Stuck | Got::Failed(_) | Got::Wrong(_) => complain(end.clone()),
        }
        if **sent == Sent::Stuck {
            complain(end.clone());
        }
        if (*count as u64) > passed {
            complain(format!("{end}, {passed} counted"));
        }
    }
    let no_thread = said.cause == Cause::Rejected(Rejection::NoThread);
    if no_thread && session.refused_threads > 0 {
        return;
    }
    let fatal: Vec<Cause> = said.happened.iter().filter_map(ends_it).collect();
    let ends = [session.client.end, session.endpoint.end];
    let bad = |end: &PeerEnd| !matches!(end, PeerEnd::Fin | PeerEnd::Silent);
    let may_be: Vec<Cause> = match (session.cut, ends.iter().position(bad)) {
        (None, None) if fatal.is_empty() => {
            let whole = lanes.iter().all(|(_, _, _, (_, got))| *got == Got::Fin);
            let counted = lanes
                .iter()
                .zip(said.passed)
                .all(|((_, plan, ..), passed)| plan.bytes as u64 == passed);
            if !whole || !counted {
                complain(format!(
                    "nothing was cut: {lanes:?}, counted {:?}",
                    said.passed
                ));
            }
            [Party::Client, Party::Endpoint].map(Cause::Closed).into()
        }
        (None, None) => fatal,
        (cut, bad) => {
            let closed = [Party::Client, Party::Endpoint].map(Cause::Closed);
            let bad = bad.map(|place| Cause::Failed([Party::Client, Party::Endpoint][place]));
            let cut = cut.map(|_| Cause::Removed);
            let all = closed.into_iter().chain(fatal).chain(bad).chain(cut);
            all.collect()
        }
    };
    if !may_be.contains(&said.cause) {
        complain(format!("the cause is one of {may_be:?}"));
    }
}

/// What a session ends of to which this has happened, if it is not to go on.
fn ends_it((party, fault): &(Party, Fault)) -> Option<Cause> {
    const EINTR: i32 = 4;
    const EAGAIN: i32 = 11;
    let What::Error(number) = fault.what else {
        return None;
    };
    let failure = Failure::of(*party, io::Error::from_raw_os_error(number)).cause;
    let fatal = match fault.call {
        _ if matches!(number, EINTR | EAGAIN) => false,
        Call::Read | Call::Send | Call::PeerName | Call::Linger | Call::EndWrites => true,
        // What this host refuses is copied.
        Call::SpliceIn | Call::SpliceOut => failure != Cause::Host,
        // A pipe has no peer.
        Call::ReadPipe => return Some(Cause::Host),
        _ => false,
    };
    fatal.then_some(failure)
}

/// Serves a relay as a session does, and reports how it ended.
fn serve(relay: Arc<Relay>, pipes: &Arc<Pipes>, refused_threads: usize) -> Receiver<Said> {
    let (sender, receiver) = channel();
    Served::start(relay, pipes, refused_threads, move |relay, panicked| {
        let (to_endpoint, to_client) = relay.passed();
        let sides = [&relay.client, &relay.endpoint];
        let happened = sides.iter().flat_map(|side| {
            let happened = side.socket.seam.happened().into_iter();
            happened.map(|fault| (side.party, fault))
        });
        let said = Said {
            cause: if panicked {
                Cause::Internal
            } else {
                relay.cause()
            },
            passed: [to_endpoint, to_client],
            happened: happened.collect(),
        };
        // Before it is reported.
        drop(relay);
        let _ = sender.send(said);
    });
    receiver
}

/// Two ends of a connection whose buffers are so large.
pub(crate) fn connection(buffers: Option<usize>) -> (TcpStream, TcpStream) {
    let set = |socket: &Socket| {
        if let Some(bytes) = buffers {
            socket.set_recv_buffer_size(bytes).unwrap();
            socket.set_send_buffer_size(bytes).unwrap();
            // A window smaller than a packet opens by timers only.
            socket.set_tcp_mss(1000).unwrap();
        }
    };
    let socket = || Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let (near, listener) = (socket(), socket());
    set(&near);
    set(&listener);
    let any: std::net::SocketAddr = ([127, 0, 0, 1], 0).into();
    listener.bind(&any.into()).unwrap();
    listener.listen(1).unwrap();
    near.connect(&listener.local_addr().unwrap()).unwrap();
    let (far, _) = TcpListener::from(listener).accept().unwrap();
    let near = TcpStream::from(near);
    for stream in [&near, &far] {
        stream.set_nodelay(true).unwrap();
    }
    near.set_read_timeout(Some(SOON)).unwrap();
    near.set_write_timeout(Some(SOON)).unwrap();
    (near, far)
}

/// One peer: sends and reads as planned, then closes.
fn peer(stream: TcpStream, plan: &Peer, own: u64, other: u64) -> (Sent, (usize, Got)) {
    let [finished, gone] = [(); 2].map(|()| AtomicBool::new(false));
    if plan.end == PeerEnd::Reset {
        let brief = Some(Duration::from_millis(200));
        stream.set_write_timeout(brief).unwrap();
    }
    let outcome = thread::scope(|scope| {
        let reading = scope.spawn(|| read(&stream, plan, other, &[&finished, &gone]));
        let sent = send(&stream, plan, own, &finished);
        if sent == Sent::Gone {
            gone.store(true, Ordering::SeqCst);
            // Without a word to the relay; it may be reset already.
            let _ = stream.shutdown(Shutdown::Read);
        }
        (sent, reading.join().unwrap())
    });
    if matches!(plan.end, PeerEnd::Reset | PeerEnd::FinThenReset) {
        super::super::reset_on_close(&stream);
    }
    outcome
}

/// Waits until it is reset.
fn is_reset(stream: &TcpStream) -> bool {
    let mut fds = [PollFd::hung_up(stream.as_fd())];
    syscall::wait(&mut fds, Some(SOON)).unwrap();
    fds[0].is_ready()
}

fn send(mut stream: &TcpStream, plan: &Peer, id: u64, finished: &AtomicBool) -> Sent {
    let mut chunk = vec![0; plan.chunk];
    let mut gaps = plan.gaps.iter().peekable();
    let mut sent = 0;
    while sent < plan.bytes {
        rest(&mut gaps, sent);
        let bytes = &mut chunk[..plan.chunk.min(plan.bytes - sent)];
        fill(bytes, id, sent);
        match stream.write_all(bytes) {
            Ok(()) => sent += bytes.len(),
            Err(error) if error.kind() != ErrorKind::WouldBlock => return Sent::Reset,
            Err(_) if plan.end == PeerEnd::Reset => return Sent::Gone,
            Err(_) => return Sent::Stuck,
        }
    }
    rest(&mut gaps, sent);
    match plan.end {
        PeerEnd::Reset | PeerEnd::Vanish => Sent::Gone,
        PeerEnd::Silent if is_reset(stream) => Sent::Reset,
        PeerEnd::Silent => Sent::Stuck,
        PeerEnd::Fin | PeerEnd::FinThenReset => {
            finished.store(true, Ordering::SeqCst);
            if stream.shutdown(Shutdown::Write).is_err() {
                finished.store(false, Ordering::SeqCst);
                return Sent::Reset;
            }
            if plan.end == PeerEnd::Fin {
                return Sent::Fin;
            }
            thread::sleep(Duration::from_millis(20));
            Sent::Gone
        }
    }
}

/// Told is when the sending has `[finished, gone]`.
fn read(
    mut stream: &TcpStream,
    plan: &Peer,
    id: u64,
    [finished, gone]: &[&AtomicBool; 2],
) -> (usize, Got) {
    let (mut buffer, mut wanted) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    let mut stalls = plan.stalls.iter().peekable();
    let mut got = 0;
    loop {
        rest(&mut stalls, got);
        if plan.deaf.is_some_and(|from| from <= got) {
            let end = if is_reset(stream) {
                Got::Reset
            } else {
                Got::Stuck
            };
            return (got, end);
        }
        let end = match stream.read(&mut buffer) {
            // The kernel reports a reset once; then a read returns an end of stream.
            Ok(0) if stream.peer_addr().is_err() && !finished.load(Ordering::SeqCst) => Got::Reset,
            Ok(0) => Got::Fin,
            Ok(count) => {
                let (bytes, wanted) = (&buffer[..count], &mut wanted[..count]);
                fill(wanted, id, got);
                if bytes == wanted {
                    got += count;
                    continue;
                }
                let right = bytes.iter().zip(wanted).take_while(|(a, b)| *a == *b);
                Got::Wrong(got + right.count())
            }
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock => Got::Stuck,
                ErrorKind::ConnectionReset => Got::Reset,
                kind => Got::Failed(kind),
            },
        };
        let end = if gone.load(Ordering::SeqCst) {
            Got::Gone
        } else {
            end
        };
        return (got, end);
    }
}

/// Sleeps through the pauses that begin at or before this byte.
fn rest<'a>(pauses: &mut std::iter::Peekable<impl Iterator<Item = &'a Pause>>, at: usize) {
    while let Some((_, time)) = pauses.next_if(|(begin, _)| *begin <= at) {
        thread::sleep(*time);
    }
}

/// The bytes of a stream from this one on: they tell which stream they are of, and where in it.
fn fill(bytes: &mut [u8], id: u64, at: usize) {
    let mut offset = at;
    let mut rest = bytes;
    while !rest.is_empty() {
        let word = mix(id.wrapping_add(offset as u64 / 8)).to_le_bytes();
        let word = &word[offset % 8..];
        let count = word.len().min(rest.len());
        let (part, left) = rest.split_at_mut(count);
        part.copy_from_slice(&word[..count]);
        offset += count;
        rest = left;
    }
}
