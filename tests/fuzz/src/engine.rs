//! The fuzzer: mutates inputs at random and keeps those that reach something new.

use std::panic::{self, AssertUnwindSafe};
use std::process;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use etcd_gateway::fuzz::Target;

use crate::coverage::{self, Seen};

/// One run of any target takes microseconds; what takes this long is a finding.
const TOO_LONG: Duration = Duration::from_secs(1);

/// What does not end at all cannot be made smaller: it is reported as it is.
const ENDLESS: Duration = Duration::from_secs(20);

/// The input under test and since when.
static RUNNING: Mutex<Option<(&str, Vec<u8>, Instant)>> = Mutex::new(None);
/// Why an input is a finding.
static LAST_PANIC: Mutex<String> = Mutex::new(String::new());

/// Runs `target` once: whether the input reached something new, or the reason if it fails.
pub fn check(target: &Target, input: &[u8], seen: &mut Seen) -> Result<bool, String> {
    let start = Instant::now();
    *RUNNING.lock().unwrap() = Some((target.name, input.to_vec(), start));
    // Nothing else between the two: what the clock says must not count.
    coverage::begin();
    let outcome = panic::catch_unwind(AssertUnwindSafe(|| (target.run)(input)));
    let new = seen.absorb();
    outcome.map_err(|_| LAST_PANIC.lock().unwrap().clone())?;
    let elapsed = start.elapsed();
    if elapsed < TOO_LONG {
        Ok(new)
    } else {
        Err(format!("took {elapsed:?}"))
    }
}

/// Starts the thread that ends the program if an input does not.
pub fn watch() {
    thread::spawn(|| {
        loop {
            thread::sleep(ENDLESS / 4);
            let running = RUNNING.lock().unwrap();
            let Some((name, input, _)) = running
                .as_ref()
                .filter(|(_, _, since)| since.elapsed() > ENDLESS)
            else {
                continue;
            };
            println!("{name}: FAILED: does not end");
            report(name, input);
            process::exit(1);
        }
    });
}

/// Prints how to run an input again.
pub fn report(name: &str, input: &[u8]) {
    let hex: String = input.iter().map(|octet| format!("{octet:02x}")).collect();
    println!("cargo run --release -- {name} hex {hex}");
}

/// How many inputs a target tries before it is decided who is next.
const TURN: u32 = 64;

/// How much more the time counts in which a target found no new edge.
const IDLE_WEIGHT: u32 = 4;

/// A target and how far it has come.
struct Progress {
    target: &'static Target,
    random: Random,
    seen: Seen,
    corpus: Vec<Vec<u8>>,
    runs: u64,
    edges: usize,
    spent: Duration,
    /// What was spent when the last new edge was found.
    found: Duration,
}

impl Progress {
    fn new(target: &'static Target, seed: u64) -> Self {
        Self {
            target,
            random: Random(seed | 1),
            seen: Seen::new(),
            corpus: Vec::new(),
            runs: 0,
            edges: 0,
            spent: Duration::ZERO,
            found: Duration::ZERO,
        }
    }

    /// The seeds at first, then some mutated inputs. On a finding returns the smallest input found
    /// for it. Nothing of the turns of others goes into what is tried.
    fn turn(&mut self) -> Result<(), Vec<u8>> {
        let start = Instant::now();
        coverage::forget_compared();
        if self.corpus.is_empty() {
            self.corpus.push(Vec::new());
            for seed in (self.target.seeds)() {
                self.run(seed)?;
            }
        } else {
            for _ in 0..TURN {
                let input = mutate(&self.corpus, &mut self.random);
                self.run(input)?;
            }
        }
        self.spent += start.elapsed();
        let edges = self.seen.edges();
        if edges > self.edges {
            self.edges = edges;
            self.found = self.spent;
        }
        Ok(())
    }

    /// Keeps the input if it reaches something new.
    fn run(&mut self, mut input: Vec<u8>) -> Result<(), Vec<u8>> {
        input.truncate(self.target.max_input);
        self.runs += 1;
        match check(self.target, &input, &mut self.seen) {
            Ok(true) => self.corpus.push(input),
            Ok(false) => {}
            Err(reason) => {
                println!("{}: FAILED: {reason}", self.target.name);
                return Err(minimize(self.target, input, &mut self.seen));
            }
        }
        Ok(())
    }

    /// The least is next. So a target that still finds something gets up to five times the time
    /// of one that does not.
    fn rank(&self) -> Duration {
        self.spent + (self.spent - self.found) * IDLE_WEIGHT
    }
}

/// Fuzzes for `time`, which `targets` share. On a finding returns the target's name and the input.
pub fn fuzz(
    targets: &[&'static Target],
    time: Duration,
    seed: u64,
) -> Result<(), (&'static str, Vec<u8>)> {
    panic::set_hook(Box::new(|info| {
        *LAST_PANIC.lock().unwrap() = info.to_string()
    }));
    let start = Instant::now();
    let mut all = Vec::from_iter(targets.iter().map(|target| Progress::new(target, seed)));
    let mut next_report = Duration::from_secs(60);
    while start.elapsed() < time
        && let Some(next) = all.iter_mut().min_by_key(|progress| progress.rank())
    {
        next.turn().map_err(|input| (next.target.name, input))?;
        if start.elapsed() >= next_report {
            print(&all);
            next_report *= 2;
        }
    }
    print(&all);
    Ok(())
}

fn print(all: &[Progress]) {
    println!("target                 inputs  a second    kept   edges  last new of seconds");
    for progress in all {
        let (name, runs, kept) = (progress.target.name, progress.runs, progress.corpus.len());
        let [found, spent] = [progress.found, progress.spent].map(|time| time.as_secs_f64());
        let (rate, edges) = (runs as f64 / spent, progress.edges);
        println!("{name:<19}{runs:>10}{rate:>10.0}{kept:>8}{edges:>8}{found:>10.1}{spent:>11.1}");
    }
}

/// Takes away what is not needed to fail, in ever smaller pieces.
fn minimize(target: &Target, mut input: Vec<u8>, seen: &mut Seen) -> Vec<u8> {
    let mut piece = input.len().next_power_of_two();
    while piece > 0 {
        let mut at = 0;
        while at < input.len() {
            let end = input.len().min(at + piece);
            let shorter = [&input[..at], &input[end..]].concat();
            if check(target, &shorter, seen).is_err() {
                input = shorter;
            } else {
                at = end;
            }
        }
        piece /= 2;
    }
    input
}

/// A new input from one of the corpus, late ones preferred, by one to eight changes.
fn mutate(corpus: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let late = corpus.len() - random.below(corpus.len().min(32)) - 1;
    let any = random.below(corpus.len());
    let mut input = corpus[if random.below(2) == 0 { late } else { any }].clone();
    for _ in 0..=random.below(8) {
        change(&mut input, corpus, random);
    }
    input
}

fn change(input: &mut Vec<u8>, corpus: &[Vec<u8>], random: &mut Random) {
    let at = random.below(input.len() + 1);
    let end = at + random.below((input.len() - at).min(64) + 1);
    match random.below(9) {
        0 if at < input.len() => input[at] ^= 1 << random.below(8),
        1 if at < input.len() => input[at] = random.next().to_be_bytes()[0],
        2 if at < input.len() => {
            let step = random.below(16) as u8 + 1;
            input[at] = input[at].wrapping_add(step).wrapping_sub(8);
        }
        3 => drop(input.drain(at..end)),
        4 => {
            let copy = input[at..end].to_vec();
            input.splice(at..at, copy);
        }
        // A number that the code compared with something, in network byte order.
        5 => {
            let number = coverage::compared(random.below(1 << 16))[random.below(2)];
            let width = [1, 2, 2, 4, 8][random.below(5)];
            let replaced = if random.below(2) == 0 { 0 } else { width };
            let end = input.len().min(at + replaced);
            input.splice(at..end, number.to_be_bytes()[8 - width..].to_vec());
        }
        // Where a number stands that the code compared with another, that other.
        6 => {
            let mut pair = coverage::compared(random.below(1 << 16)).map(u64::to_be_bytes);
            pair.rotate_left(random.below(2));
            let width = [1, 2, 2, 4, 8][random.below(5)];
            let [a, b] = &pair.map(|number| number[8 - width..].to_vec());
            let places: Vec<usize> = input
                .windows(width)
                .enumerate()
                .filter_map(|(place, window)| (window == a).then_some(place))
                .collect();
            if !places.is_empty() {
                let place = places[random.below(places.len())];
                input[place..place + width].copy_from_slice(b);
            }
        }
        7 => {
            let filler = vec![[0, 0xff, b'a', 0x80][random.below(4)]; random.below(64)];
            input.splice(at..at, filler);
        }
        // A piece of another input, in place of a piece of this one.
        8 => {
            let other = &corpus[random.below(corpus.len())];
            let from = random.below(other.len() + 1);
            let to = from + random.below(other.len() - from + 1);
            input.splice(at..end, other[from..to].to_vec());
        }
        _ => {}
    }
}

/// xorshift64*: enough to wander about.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Below `bound`, which is not zero.
    fn below(&mut self, bound: usize) -> usize {
        (self.next() >> 33) as usize % bound
    }
}
