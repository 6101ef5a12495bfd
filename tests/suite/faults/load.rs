//! Many sessions at once through a gateway, of which every byte and every end is known.

use std::collections::HashMap;
use std::io::{ErrorKind, Read};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::plan::{Dice, Mix, Plan};
use super::play::{self, PATIENCE, Report};
use super::stream::{WORD, owner};
use crate::support::{Backend, eventually};

/// What the endpoints know of the sessions, and saw of them.
#[derive(Default)]
struct Book {
    plans: Mutex<HashMap<u32, Plan>>,
    reports: Mutex<HashMap<u32, Report>>,
    /// What no session can be blamed for.
    strays: Mutex<Vec<String>>,
    /// Connections that are being served.
    open: AtomicUsize,
}

/// Members that take part in sessions.
pub(crate) struct Members {
    book: Arc<Book>,
    pub(crate) backends: Vec<Backend>,
    sessions: AtomicU32,
}

/// What became of the sessions of a load.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Served to their ends.
    pub(crate) whole: usize,
    /// Reset by one of its peers, as planned.
    pub(crate) cuts: usize,
    /// Reset by the gateway.
    pub(crate) reset: usize,
    /// What must never be.
    pub(crate) wrong: Vec<String>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Members {
    pub(crate) fn new(count: usize) -> Members {
        Members::on((0..count).map(|_| Backend::dead()).collect())
    }

    /// On addresses that are reserved already.
    pub(crate) fn on(mut backends: Vec<Backend>) -> Members {
        let book = Arc::<Book>::default();
        for backend in &mut backends {
            let book = Arc::clone(&book);
            backend.up_with(move |stream| book.serve(stream));
        }
        Members {
            book,
            backends,
            sessions: AtomicU32::new(0),
        }
    }

    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.backends.iter().map(Backend::address).collect()
    }

    /// Has so many clients at once connect to `gateway`.
    pub(crate) fn load(
        &self,
        gateway: SocketAddr,
        count: u32,
        mix: Mix,
        dice: &mut Dice,
    ) -> Outcome {
        let first = self.sessions.fetch_add(count, Ordering::Relaxed);
        let plans: Vec<Plan> = (first..first + count)
            .map(|session| Plan::of(session, mix, dice))
            .collect();
        lock(&self.book.plans).extend(plans.iter().map(|plan| (plan.session, *plan)));
        let clients: Vec<Report> = std::thread::scope(|scope| {
            let threads: Vec<_> = plans
                .iter()
                .map(|plan| scope.spawn(move || play::client(gateway, plan)))
                .collect();
            let joined = threads.into_iter().map(|thread| thread.join());
            joined.map(|report| report.expect("no panic")).collect()
        });
        eventually(
            2 * PATIENCE,
            "every endpoint's end of a session ends",
            || (self.book.open.load(Ordering::SeqCst) == 0).then_some(()),
        );
        let mut outcome = Outcome {
            wrong: std::mem::take(&mut lock(&self.book.strays)),
            ..Outcome::default()
        };
        let reports = std::mem::take(&mut *lock(&self.book.reports));
        for (plan, client) in plans.iter().zip(&clients) {
            match plan.judge(client, reports.get(&plan.session)) {
                Ok(true) => outcome.whole += 1,
                Ok(false) if plan.cut.is_some() => outcome.cuts += 1,
                Ok(false) => outcome.reset += 1,
                Err(wrong) => outcome.wrong.push(format!("{plan:?}: {wrong}")),
            }
        }
        outcome
    }
}

impl Book {
    fn serve(&self, stream: &TcpStream) {
        self.open.fetch_add(1, Ordering::SeqCst);
        let _open = Open(&self.open);
        play::prepare(stream, false);
        match self.first_word(stream) {
            Ok(Some(plan)) => {
                let report = play::endpoint(stream, &plan);
                if lock(&self.reports).insert(plan.session, report).is_some() {
                    self.stray(format!("{plan:?} was served twice"));
                }
            }
            Ok(None) => {}
            Err(wrong) => self.stray(wrong),
        }
    }

    fn stray(&self, wrong: String) {
        lock(&self.strays).push(wrong);
    }

    /// Whose session it is. Nobody's, where the gateway only looks whether the endpoint is there and answers, or where
    /// the session was reset before it could be told.
    fn first_word(&self, mut stream: &TcpStream) -> Result<Option<Plan>, String> {
        let mut word = [0; WORD as usize];
        let mut had = 0;
        while had < word.len() {
            match stream.read(&mut word[had..]) {
                Ok(0) if had == 0 => return Ok(None),
                Ok(0) => return Err(format!("a clean end after {had} bytes of the first word")),
                Ok(count) => had += count,
                Err(error) => match error.kind() {
                    ErrorKind::Interrupted => {}
                    ErrorKind::ConnectionReset => return Ok(None),
                    _ => return Err(format!("after {had} bytes of the first word: {error}")),
                },
            }
        }
        if word == PREFACE {
            return Ok(None);
        }
        let (stream, offset) = owner(word);
        let plan = lock(&self.plans).get(&stream.session).copied();
        match plan {
            Some(plan) if stream == super::stream::Stream::up(plan.session) && offset == 0 => {
                Ok(Some(plan))
            }
            _ => Err(format!(
                "a first word that nobody sent: {stream:?} at {offset}"
            )),
        }
    }
}

/// How a probe of the gateway begins: HTTP/2's connection preface. On a busy host it asks whether an endpoint that is
/// slow still answers.
const PREFACE: [u8; WORD as usize] = *b"PRI * HT";

/// Counts a connection until it ends, whatever way.
struct Open<'a>(&'a AtomicUsize);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}
