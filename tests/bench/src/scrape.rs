//! Asks a gateway for its metrics once a second, as a Prometheus would that is in a hurry, for as long as it runs.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Between two scrapes: a fifteenth of what Prometheus waits.
const INTERVAL: Duration = Duration::from_secs(1);

/// How long an answer may take; far less is usual, and a gateway under load may have to wait for a processor.
const PATIENCE: Duration = Duration::from_secs(5);

pub struct Scraper {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
    failure: Arc<OnceLock<String>>,
}

impl Scraper {
    /// Begins with a scrape that has to succeed: what is measured is a gateway that serves metrics.
    pub fn start(address: SocketAddr) -> Result<Scraper, String> {
        wait_for(address);
        scrape(address)?;
        let (stop, stopped) = channel();
        let failure = Arc::new(OnceLock::new());
        let failed = Arc::clone(&failure);
        let thread = thread::spawn(move || {
            while stopped.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
                if let Err(error) = scrape(address) {
                    let _ = failed.set(error);
                    return;
                }
            }
        });
        Ok(Scraper {
            stop: Some(stop),
            thread: Some(thread),
            failure,
        })
    }

    /// Why it has given up, if it has.
    pub fn failure(&self) -> Option<&str> {
        self.failure.get().map(String::as_str)
    }
}

impl Drop for Scraper {
    fn drop(&mut self) {
        drop(self.stop.take());
        self.thread.take().map(JoinHandle::join);
    }
}

/// A gateway listens for clients a moment before it does for this. What is wrong after all is for the scrape to say.
fn wait_for(address: SocketAddr) {
    let limit = Instant::now() + PATIENCE;
    while TcpStream::connect(address).is_err() && Instant::now() < limit {
        thread::sleep(Duration::from_millis(1));
    }
}

fn scrape(address: SocketAddr) -> Result<(), String> {
    let answer = ask(address).map_err(|error| format!("metrics of {address}: {error}"))?;
    let whole =
        answer.starts_with("HTTP/1.1 200 ") && answer.contains("\netcd_gateway_connections_total ");
    match whole {
        true => Ok(()),
        false => Err(format!(
            "metrics of {address}: {}",
            answer.lines().next().unwrap_or("no answer")
        )),
    }
}

fn ask(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(
        stream,
        "GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    /// Answers every request with `answer`, to the end of the test.
    fn server(answer: &'static str) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let mut stream = stream;
                let mut request = [0; 512];
                let _ = stream.read(&mut request);
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        address
    }

    #[test]
    fn only_metrics_are_taken_for_metrics() {
        let good = server("HTTP/1.1 200 OK\r\n\r\n# HELP\netcd_gateway_connections_total 7\n");
        let scraper = Scraper::start(good).unwrap();
        assert_eq!(scraper.failure(), None);
        for bad in [
            server("HTTP/1.1 200 OK\r\n\r\nnothing\n"),
            server("HTTP/1.1 503 Service Unavailable\r\n\r\netcd_gateway_connections_total 7\n"),
            server(""),
        ] {
            assert!(Scraper::start(bad).is_err());
        }
    }
}
