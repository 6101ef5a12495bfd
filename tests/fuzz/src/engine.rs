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

/// Runs `target` once; the reason if it fails.
pub fn check(target: &Target, input: &[u8]) -> Result<(), String> {
    let start = Instant::now();
    *RUNNING.lock().unwrap() = Some((target.name, input.to_vec(), start));
    panic::catch_unwind(AssertUnwindSafe(|| (target.run)(input)))
        .map_err(|_| LAST_PANIC.lock().unwrap().clone())?;
    let elapsed = start.elapsed();
    if elapsed < TOO_LONG {
        Ok(())
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

/// Fuzzes for `time`. On a finding returns the smallest input found for it.
pub fn fuzz(target: &Target, time: Duration, seed: u64) -> Result<(), Vec<u8>> {
    panic::set_hook(Box::new(|info| {
        *LAST_PANIC.lock().unwrap() = info.to_string()
    }));
    let start = Instant::now();
    let mut random = Random(seed | 1);
    let mut seen = Seen::new();
    let mut corpus = vec![Vec::new()];
    for mut input in (target.seeds)() {
        input.truncate(target.max_input);
        if run(target, &input, &mut seen)? {
            corpus.push(input);
        }
    }
    let mut next_report = Duration::from_secs(10);
    let mut runs = 0u64;
    loop {
        let mut input = mutate(&corpus, &mut random);
        input.truncate(target.max_input);
        runs += 1;
        if run(target, &input, &mut seen)? {
            corpus.push(input);
        }
        if runs.is_multiple_of(256) {
            let elapsed = start.elapsed();
            if elapsed >= next_report || elapsed >= time {
                let (inputs, edges) = (corpus.len(), seen.edges());
                let name = target.name;
                let seconds = elapsed.as_secs();
                println!("{name}: {seconds} s, {runs} runs, {inputs} inputs kept, {edges} edges");
                next_report = elapsed * 2;
            }
            if elapsed >= time {
                return Ok(());
            }
        }
    }
}

/// Whether the input reached something new.
fn run(target: &Target, input: &[u8], seen: &mut Seen) -> Result<bool, Vec<u8>> {
    coverage::begin();
    let outcome = check(target, input);
    let new = seen.absorb();
    match outcome {
        Ok(()) => Ok(new),
        Err(reason) => {
            let smallest = minimize(target, input.to_vec());
            println!("{}: FAILED: {reason}", target.name);
            Err(smallest)
        }
    }
}

/// Takes away what is not needed to fail, in ever smaller pieces.
fn minimize(target: &Target, mut input: Vec<u8>) -> Vec<u8> {
    let mut piece = input.len().next_power_of_two();
    while piece > 0 {
        let mut at = 0;
        while at < input.len() {
            let end = input.len().min(at + piece);
            let shorter = [&input[..at], &input[end..]].concat();
            if check(target, &shorter).is_err() {
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
