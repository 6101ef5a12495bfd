//! What is to happen to many sessions: drawn from a seed, and made smaller where it has shown
//! something.

use std::time::Duration;

use crate::proxy::calls::Call;
use crate::proxy::calls::tests::{Fault, What};
use crate::proxy::cause::Party;
use crate::proxy::relay::tests::HOUR;

/// Numbers that a seed determines (splitmix64).
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap()
    }

    /// True so many times in a hundred.
    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }
}

pub(super) fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Waves of sessions: those of one run side by side, and the next begins when all of them are over.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    /// How many pipes all sessions have together.
    pub(super) pipes: usize,
    /// Faults of opening them.
    pub(super) pipe_faults: Vec<Fault>,
    pub(super) waves: Vec<Vec<Session>>,
}

#[derive(Debug, Clone)]
pub(super) struct Session {
    /// What its bytes are derived from.
    pub(super) id: u64,
    pub(super) client: Peer,
    pub(super) endpoint: Peer,
    /// Bytes of each socket's buffers, if not the kernel's choice.
    pub(super) buffers: Option<usize>,
    /// How often there is no second thread.
    pub(super) refused_threads: usize,
    /// After what time it is cut from outside.
    pub(super) cut: Option<Duration>,
    pub(super) faults: Vec<(Party, Fault)>,
    /// After how long without a byte it is parked.
    pub(super) silence: Duration,
}

/// What one peer does.
#[derive(Debug, Clone)]
pub(super) struct Peer {
    /// How many bytes it sends.
    pub(super) bytes: usize,
    /// How many at a time, at most.
    pub(super) chunk: usize,
    /// Where it sends nothing for a time.
    pub(super) gaps: Vec<Pause>,
    /// Where it reads nothing for a time.
    pub(super) stalls: Vec<Pause>,
    /// From which byte on it reads nothing until it is reset.
    pub(super) deaf: Option<usize>,
    /// What it does when all is sent.
    pub(super) end: PeerEnd,
}

/// From which byte on, and how long.
pub(super) type Pause = (usize, Duration);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PeerEnd {
    /// Ends its direction, and reads on.
    Fin,
    /// Sends nothing more until it is reset.
    Silent,
    /// Resets the connection, also if it cannot send all of it.
    Reset,
    /// Closes it, whatever it has not read.
    Vanish,
    /// Ends its direction, and resets the connection a little later.
    FinThenReset,
}

impl Plan {
    pub(super) fn draw(seed: u64) -> Self {
        let random = &mut Random(seed);
        let waves = 1 + random.below(3);
        let pipe_fault = random.chance(10).then(|| Fault {
            call: random.of(&[Call::OpenPipe, Call::SizePipe]),
            after: 0,
            what: What::Error(random.of(&[1, 23, 24])),
        });
        Self {
            pipes: random.of(&[0, 1, 1, 2, 4]),
            pipe_faults: pipe_fault.into_iter().collect(),
            waves: (0..waves)
                .map(|_| {
                    let sessions = 1 + random.below(8);
                    (0..sessions).map(|_| Session::draw(random)).collect()
                })
                .collect(),
        }
    }

    /// Plans that ask a little less, those that ask much less first.
    pub(super) fn smaller(&self) -> Vec<Self> {
        let mut plans = Vec::new();
        for wave in 0..self.waves.len() {
            plans.push(self.with(|plan| drop(plan.waves.remove(wave))));
        }
        for wave in 0..self.waves.len() {
            for session in 0..self.waves[wave].len() {
                plans.push(self.with(|plan| drop(plan.waves[wave].remove(session))));
            }
        }
        plans.push(self.with(|plan| plan.pipe_faults.clear()));
        for wave in 0..self.waves.len() {
            for session in 0..self.waves[wave].len() {
                for smaller in self.waves[wave][session].smaller() {
                    plans.push(self.with(|plan| plan.waves[wave][session] = smaller));
                }
            }
        }
        plans.push(self.with(|plan| plan.pipes = plan.pipes.min(1)));
        plans.retain(|plan| format!("{plan:?}") != format!("{self:?}"));
        plans
    }

    fn with(&self, change: impl FnOnce(&mut Self)) -> Self {
        let mut plan = self.clone();
        change(&mut plan);
        plan.waves.retain(|wave| !wave.is_empty());
        plan
    }
}

impl Session {
    fn draw(random: &mut Random) -> Self {
        let [mut client, mut endpoint] = match random.below(4) {
            0 => [4_000; 2],
            1 => [100_000; 2],
            2 => random.of(&[[3_000_000, 5_000], [5_000, 3_000_000]]),
            _ => [1_500_000; 2],
        }
        .map(|bytes| Peer::draw(random, bytes));
        let mut cut = None;
        match random.below(100) {
            0..60 => {}
            60..70 => cut = Some(pause(random)),
            _ => {
                let ends = [PeerEnd::Reset, PeerEnd::Vanish, PeerEnd::FinThenReset];
                client.end = random.of(&ends);
            }
        }
        // Who is silent has to be reset some day.
        let silent = random.chance(40);
        if silent && (cut.is_some() || matches!(client.end, PeerEnd::Reset | PeerEnd::FinThenReset))
        {
            endpoint.end = PeerEnd::Silent;
        }
        // Who reads nothing more must not be left with an end that it never comes to.
        if random.chance(40) && (cut.is_some() || client.end == PeerEnd::Reset) {
            endpoint.deaf = Some(random.below(client.bytes + 1));
            if cut.is_some() {
                client.end = PeerEnd::Silent;
            }
        }
        if random.chance(50) {
            std::mem::swap(&mut client, &mut endpoint);
        }
        let count = if random.chance(40) {
            1 + random.below(3)
        } else {
            0
        };
        let mut faults: Vec<_> = (0..count).map(|_| fault(random)).collect();
        let spliced = |(_, fault): &&(Party, Fault)| fault.call == Call::SpliceOut;
        if let Some((party, _)) = faults.iter().find(spliced) {
            // What it leaves in the pipe is read, by and by.
            let read = Fault {
                call: Call::ReadPipe,
                after: 0,
                what: What::AtMost(1000),
            };
            faults.push((*party, read));
        }
        Self {
            id: random.next(),
            client,
            endpoint,
            buffers: random
                .chance(40)
                .then(|| random.of(&[4_000, 10_000, 60_000])),
            refused_threads: random.of(&[0, 0, 0, 1, 3]),
            cut,
            faults,
            silence: random.of(&[Duration::from_millis(1), Duration::from_millis(5), HOUR]),
        }
    }

    fn smaller(&self) -> Vec<Self> {
        let mut sessions = vec![
            self.with(|session| session.faults.clear()),
            self.with(|session| session.cut = None),
            self.with(|session| session.refused_threads = 0),
            self.with(|session| session.buffers = None),
            self.with(|session| session.silence = HOUR),
        ];
        for fault in 0..self.faults.len() {
            sessions.push(self.with(|session| _ = session.faults.remove(fault)));
        }
        let peers: [fn(&mut Self) -> &mut Peer; 2] = [
            |session| &mut session.client,
            |session| &mut session.endpoint,
        ];
        let changes: [fn(&mut Peer); 6] = [
            |peer| peer.end = PeerEnd::Fin,
            |peer| peer.deaf = None,
            |peer| peer.bytes = 0,
            |peer| peer.bytes /= 2,
            |peer| peer.gaps.clear(),
            |peer| peer.stalls.clear(),
        ];
        for peer in peers {
            for change in changes {
                sessions.push(self.with(|session| change(peer(session))));
            }
        }
        // Nobody else would ever end it.
        let peers = |session: &Self| [session.client.clone(), session.endpoint.clone()];
        sessions.retain(|session| {
            let any = |what: fn(&Peer) -> bool| peers(session).iter().any(what);
            let reset = any(|peer| peer.end == PeerEnd::Reset) || session.cut.is_some();
            let ended = reset || any(|peer| peer.end == PeerEnd::FinThenReset);
            let endless = |peer: &Peer| matches!(peer.end, PeerEnd::Reset | PeerEnd::Silent);
            (ended || !any(|peer| peer.end == PeerEnd::Silent))
                && (session.client.deaf.is_none() || endless(&session.endpoint))
                && (session.endpoint.deaf.is_none() || endless(&session.client))
                && (reset || !any(|peer| peer.deaf.is_some()))
        });
        sessions
    }

    fn with(&self, change: impl FnOnce(&mut Self)) -> Self {
        let mut session = self.clone();
        change(&mut session);
        session
    }
}

impl Peer {
    fn draw(random: &mut Random, most: usize) -> Self {
        let bytes = random.below(most);
        let mut pauses = |count| {
            let mut pauses: Vec<Pause> = (0..count)
                .map(|_| (random.below(bytes + 1), pause(random)))
                .collect();
            pauses.sort_unstable();
            pauses
        };
        let (gaps, stalls) = (pauses(2), pauses(2));
        Self {
            bytes,
            chunk: random.of(&[1 + most / 300, 2048, 64 * 1024]),
            gaps: if random.chance(50) { gaps } else { Vec::new() },
            stalls: if random.chance(50) {
                stalls
            } else {
                Vec::new()
            },
            deaf: None,
            end: PeerEnd::Fin,
        }
    }
}

fn pause(random: &mut Random) -> Duration {
    Duration::from_millis(random.of(&[0, 1, 3, 10, 10, 30, 30, 100, 100, 600]))
}

fn fault(random: &mut Random) -> (Party, Fault) {
    let call = random.of(&[
        Call::Read,
        Call::Send,
        Call::SpliceIn,
        Call::SpliceOut,
        Call::ReadPipe,
        Call::Poll,
        Call::PeerName,
        Call::Linger,
        Call::Timeout,
        Call::EndWrites,
        Call::EndReads,
        Call::Disconnect,
    ]);
    let transfers = matches!(
        call,
        Call::Read | Call::Send | Call::SpliceIn | Call::SpliceOut
    );
    // EPERM, EINTR, EIO, ENOMEM, EACCES, EINVAL, EPIPE, ENOSYS, ECONNRESET, ENOBUFS, ETIMEDOUT; EAGAIN.
    let errors = [1, 4, 4, 5, 12, 13, 22, 32, 38, 104, 105, 110];
    let what = match random.below(10) {
        0..4 => What::Error(random.of(&errors)),
        4..6 if transfers => What::Error(11),
        6..9 if transfers => What::AtMost(random.of(&[1, 7, 2047, 4096, 65_536])),
        9 => What::Delay(Duration::from_millis(random.of(&[1, 20, 150]))),
        _ => What::Error(random.of(&errors)),
    };
    let rare = matches!(
        call,
        Call::PeerName | Call::Linger | Call::EndWrites | Call::EndReads | Call::Disconnect
    );
    let after = match rare {
        true => random.below(2),
        false => random.of(&[0, 1, 2, 10, 100]),
    };
    let fault = Fault {
        call,
        after: u32::try_from(after).unwrap(),
        what,
    };
    (random.of(&[Party::Client, Party::Endpoint]), fault)
}
