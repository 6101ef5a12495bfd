//! A TCP connection whose reads and writes all end by one deadline: a peer that sends one byte per
//! second gets no more time than one that sends nothing.
//!
//! After the deadline they fail with the kind `TimedOut`, or `WouldBlock` from the socket itself.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// A stream that is used until a deadline.
#[derive(Debug)]
pub(crate) struct DeadlineStream<'a> {
    stream: &'a TcpStream,
    deadline: Instant,
}

impl<'a> DeadlineStream<'a> {
    pub(crate) fn new(stream: &'a TcpStream, deadline: Instant) -> Self {
        Self { stream, deadline }
    }
}

/// The time left until a deadline; an error if there is none.
pub(crate) fn time_left(deadline: Instant) -> io::Result<Duration> {
    match deadline.saturating_duration_since(Instant::now()) {
        Duration::ZERO => Err(ErrorKind::TimedOut.into()),
        left => Ok(left),
    }
}

impl Read for DeadlineStream<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut stream = self.stream;
        stream.set_read_timeout(Some(time_left(self.deadline)?))?;
        stream.read(buffer)
    }
}

impl Write for DeadlineStream<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut stream = self.stream;
        stream.set_write_timeout(Some(time_left(self.deadline)?))?;
        stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut stream = self.stream;
        stream.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (ours, listener.accept().unwrap().0)
    }

    fn is_late(error: &io::Error) -> bool {
        matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock)
    }

    #[test]
    fn nothing_is_read_or_written_after_the_deadline() {
        let (ours, mut theirs) = pair();
        theirs.write_all(b"in time").unwrap();
        let mut late = DeadlineStream::new(&ours, Instant::now());
        assert!(is_late(&late.read(&mut [0; 9]).unwrap_err()));
        assert!(is_late(&late.write(b"late").unwrap_err()));
        let ample = Instant::now() + Duration::from_secs(60);
        let mut timed = DeadlineStream::new(&ours, ample);
        let mut read = [0; 7];
        timed.read_exact(&mut read).unwrap();
        timed.write_all(b"answer").unwrap();
        timed.flush().unwrap();
        assert_eq!(&read, b"in time");
        drop(ours);
        let mut all = Vec::new();
        theirs.read_to_end(&mut all).unwrap();
        assert_eq!(all, b"answer");
    }

    /// A peer that sends without end, one byte at a time, and one that never reads.
    #[test]
    fn a_peer_that_is_slow_gets_no_more_time_than_one_that_is_silent() {
        let (ours, mut theirs) = pair();
        let trickle = std::thread::spawn(move || {
            while theirs.write_all(b"x").is_ok() {
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        let started = Instant::now();
        let mut timed = DeadlineStream::new(&ours, started + Duration::from_millis(100));
        let error = io::copy(&mut timed, &mut io::sink()).unwrap_err();
        assert!(is_late(&error), "{error}");
        assert!(started.elapsed() < Duration::from_secs(10));
        drop(ours);
        trickle.join().unwrap();

        let (ours, _theirs) = pair();
        let mut timed = DeadlineStream::new(&ours, Instant::now() + Duration::from_millis(100));
        let error = io::copy(&mut io::repeat(0), &mut timed).unwrap_err();
        assert!(is_late(&error), "{error}");
    }
}
