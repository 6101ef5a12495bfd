//! Everything at once: many sessions over the same pipes, peers that pause, reset and vanish, calls
//! that fail or do less than asked, cuts from outside. What arrives is the beginning of what was sent,
//! all of it if the end was clean, nothing of another session; whoever is cut hears of it; and nothing
//! stays behind.
//!
//! A seed determines the plan, not how threads take turns: a plan that has failed may have to be played
//! some times until it does so again.

mod plan;
mod run;

use std::time::{Duration, Instant};

use plan::{Plan, Random};
pub(super) use run::connection;

/// Seeds that have shown something.
const FOUND: [u64; 0] = [];

/// How long a plan that has failed is made smaller.
const SHRINKING: Duration = Duration::from_secs(60);

/// How often a smaller plan is played before it counts as one that does not fail.
const TRIES: usize = 3;

/// Plans that are played side by side; most of their time goes into pauses.
const LANES: u64 = 6;

#[test]
fn sessions_are_exact_whatever_happens_to_them() {
    FOUND.iter().for_each(|seed| play(*seed));
    play_for(Duration::from_secs(3), None);
}

/// `make soak`: for SOAK_SECONDS, and the plan of SEED alone, if that is given.
#[test]
#[ignore = "it takes as long as the environment says"]
fn soak() {
    let number = |name| {
        let text = std::env::var(name).ok().filter(|text| !text.is_empty());
        text.map(|text| text.parse().expect(name))
    };
    super::served::prepare();
    let before = open();
    let time = Duration::from_secs(number("SOAK_SECONDS").unwrap_or(60));
    let plans = play_for(time, number("SEED"));
    // A thread reports its end a moment before it ends.
    let deadline = Instant::now() + Duration::from_secs(10);
    while open() != before && Instant::now() < deadline {
        std::thread::yield_now();
    }
    assert_eq!(open(), before, "descriptors and threads");
    println!("{plans} plans");
}

/// Plays as many plans as there is time for; how many these were.
fn play_for(time: Duration, given: Option<u64>) -> u32 {
    let mut random = [0; 8];
    crate::sys::random::fill(&mut random).unwrap();
    let (start, first) = (Instant::now(), u64::from_le_bytes(random));
    println!("seeds from {}", given.unwrap_or(first));
    std::thread::scope(|scope| {
        let lanes = (0..LANES).map(|lane| {
            scope.spawn(move || {
                let (mut seeds, mut plans) = (Random(first ^ lane), 0);
                while start.elapsed() < time {
                    play(given.unwrap_or_else(|| seeds.next()));
                    plans += 1;
                }
                plans
            })
        });
        let lanes: Vec<_> = lanes.collect();
        lanes.into_iter().map(|lane| lane.join().unwrap()).sum()
    })
}

/// How many descriptors and threads this process has.
fn open() -> [usize; 2] {
    ["fd", "task"].map(|what| {
        let list = std::fs::read_dir(format!("/proc/self/{what}"));
        list.expect("proc is mounted").count()
    })
}

/// Plays the plan of a seed; if it fails, prints the smallest plan that fails.
fn play(seed: u64) {
    let mut plan = Plan::draw(seed);
    let Err(mut problems) = run::run(&plan) else {
        return;
    };
    eprintln!("SEED={seed} has failed: {problems:#?}");
    let deadline = Instant::now() + SHRINKING;
    let fails = |plan: &Plan| {
        let mut tries = (0..TRIES).take_while(|_| Instant::now() < deadline);
        tries.find_map(|_| run::run(plan).err())
    };
    while let Some((smaller, shown)) = plan
        .smaller()
        .into_iter()
        .find_map(|smaller| fails(&smaller).map(|shown| (smaller, shown)))
    {
        (plan, problems) = (smaller, shown);
    }
    panic!("SEED={seed}: {problems:#?} of {plan:#?}");
}
