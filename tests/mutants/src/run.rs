//! Runs the tests, each in a process of its own: which changes do they reach, and which do they notice?

use std::collections::{HashMap, HashSet, VecDeque};
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use crate::tree::Built;

/// How long a test may run; a change that makes it run longer is noticed.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Copy, PartialEq)]
enum Ended {
    Passed,
    Failed,
    Hung,
    Stopped,
}

#[derive(Debug, Default, Clone)]
pub struct Test {
    pub suite: bool,
    pub name: String,
    took: Duration,
    reaches: HashSet<usize>,
    passes: bool,
}

/// What came of one change.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    Noticed {
        suite: bool,
        by: String,
        hangs: bool,
    },
    Survives {
        tests: usize,
    },
    NotReached,
}

pub struct Runner {
    built: Built,
    jobs: usize,
    vectors: PathBuf,
    tests: Vec<Test>,
    /// The test that noticed a change the last time, by the id of the change.
    noticed: HashMap<String, String>,
}

impl Runner {
    /// Runs every test whose name contains `filter` without a change, to learn how long it takes and what it reaches.
    pub fn new(
        built: Built,
        jobs: usize,
        vectors: PathBuf,
        filter: &str,
    ) -> Result<Runner, String> {
        let mut tests = Vec::new();
        for (suite, program) in [false, true].into_iter().zip(&built.programs) {
            let output = Command::new(program)
                .args(["--list", "--format", "terse", "--", filter])
                .output()
                .map_err(|error| format!("{}: {error}", program.display()))?;
            let listed = String::from_utf8_lossy(&output.stdout);
            let names = listed
                .lines()
                .filter_map(|line| line.strip_suffix(": test"));
            tests.extend(names.filter(|name| name.contains(filter)).map(|name| Test {
                suite,
                name: name.to_owned(),
                ..Test::default()
            }));
        }
        let memory = fs::read_to_string(built.tree.join("../noticed")).unwrap_or_default();
        let noticed = memory.lines().filter_map(|line| line.split_once(' '));
        let mut runner = Runner {
            noticed: noticed.map(|(id, test)| (id.into(), test.into())).collect(),
            built,
            jobs,
            vectors,
            tests: Vec::new(),
        };
        runner.tests = runner.learn(tests);
        runner.tests.sort_by_key(|test| (test.suite, test.took));
        Ok(runner)
    }

    /// The tests that say nothing, because they fail without any change.
    pub fn useless(&self) -> impl Iterator<Item = &str> {
        let failing = self.tests.iter().filter(|test| !test.passes);
        failing.map(|test| test.name.as_str())
    }

    pub fn count(&self) -> usize {
        self.tests.len()
    }

    fn learn(&self, tests: Vec<Test>) -> Vec<Test> {
        let reached = self.built.tree.join("../reached");
        let _ = fs::remove_dir_all(&reached);
        let _ = fs::create_dir_all(&reached);
        let queue = Mutex::new(tests.into_iter().enumerate());
        let known = Mutex::new(Vec::new());
        let learn = |number: usize, test: &mut Test| {
            let file = reached.join(number.to_string());
            // Some tests run the gateway as another user.
            let made = File::create(&file);
            let open = std::os::unix::fs::PermissionsExt::from_mode(0o666);
            let _ = made.and_then(|made| made.set_permissions(open));
            let file = file.to_string_lossy().into_owned();
            let start = Instant::now();
            test.passes = self.run(test, &[("MUTANT_REACHED", &file)], None) == Ended::Passed;
            test.took = start.elapsed();
            let lines = fs::read_to_string(file).unwrap_or_default();
            test.reaches
                .extend(lines.lines().filter_map(|line| line.parse::<usize>().ok()));
        };
        self.side_by_side(|| {
            loop {
                let next = queue.lock().unwrap().next();
                let Some((number, mut test)) = next else {
                    break;
                };
                learn(number, &mut test);
                known.lock().unwrap().push(test);
            }
        });
        let mut tests = known.into_inner().unwrap();
        for (number, test) in tests
            .iter_mut()
            .enumerate()
            .filter(|(_, test)| !test.passes)
        {
            // By chance, since others ran beside it? Because of the file that it writes?
            learn(number, test);
            test.passes = test.passes || self.run(test, &[], None) == Ended::Passed;
        }
        tests
    }

    /// Runs the tests that reach a change until one of them notices it.
    pub fn judge(&mut self, number: usize, id: &str) -> Verdict {
        let reaching = self
            .tests
            .iter()
            .filter(|test| test.passes && test.reaches.contains(&number));
        let mut queue: VecDeque<&Test> = reaching.collect();
        let tests = queue.len();
        if tests == 0 {
            return Verdict::NotReached;
        }
        if let Some(last) = self.noticed.get(id)
            && let Some(at) = queue.iter().position(|test| test.name == *last)
            && let Some(test) = queue.remove(at)
        {
            queue.push_front(test);
        }
        let mutant = number.to_string();
        let mutant = [("MUTANT", mutant.as_str())];
        let mut found = None;
        while found.is_none() && !queue.is_empty() {
            let failed = self.until_one_fails(&mut queue, &mutant);
            found = failed.into_iter().find(|&(test, ended)| {
                // By chance? A run that hung is not tried again.
                (ended == Ended::Hung || self.run(test, &mutant, None) != Ended::Passed)
                    && self.run(test, &[], None) == Ended::Passed
            });
        }
        let Some((test, ended)) = found else {
            return Verdict::Survives { tests };
        };
        let (suite, by) = (test.suite, test.name.clone());
        self.noticed.insert(id.to_owned(), by.clone());
        let memory = self
            .noticed
            .iter()
            .map(|(id, test)| format!("{id} {test}\n"));
        let _ = fs::write(
            self.built.tree.join("../noticed"),
            memory.collect::<String>(),
        );
        let hangs = ended == Ended::Hung;
        Verdict::Noticed { suite, by, hangs }
    }

    /// Takes tests from the queue until one has failed; gives back those that were stopped for that.
    fn until_one_fails<'a>(
        &self,
        queue: &mut VecDeque<&'a Test>,
        mutant: &[(&str, &str)],
    ) -> Vec<(&'a Test, Ended)> {
        let stop = AtomicBool::new(false);
        let failed = Mutex::new(Vec::new());
        let waiting = Mutex::new(queue);
        self.side_by_side(|| {
            while !stop.load(Relaxed) {
                let next = waiting.lock().unwrap().pop_front();
                let Some(test) = next else { break };
                match self.run(test, mutant, Some(&stop)) {
                    Ended::Passed => {}
                    Ended::Stopped => waiting.lock().unwrap().push_front(test),
                    ended => {
                        stop.store(true, Relaxed);
                        failed.lock().unwrap().push((test, ended));
                    }
                }
            }
        });
        failed.into_inner().unwrap()
    }

    fn side_by_side(&self, work: impl Fn() + Sync) {
        thread::scope(|scope| {
            for _ in 0..self.jobs {
                scope.spawn(&work);
            }
        });
    }

    /// Runs one test in a process group of its own, which ends with it, and with this process.
    fn run(&self, test: &Test, variables: &[(&str, &str)], stop: Option<&AtomicBool>) -> Ended {
        let mut child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL"])
            .arg(&self.built.programs[usize::from(test.suite)])
            .args(["--exact", &test.name])
            .current_dir(&self.built.tree)
            .env("VECTORS_DIR", &self.vectors)
            .env("CARGO_MANIFEST_DIR", &self.built.tree)
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("run setpriv, of util-linux");
        let deadline = Instant::now() + PATIENCE;
        let ended = loop {
            match child.try_wait() {
                Ok(Some(status)) if status.success() => break Ended::Passed,
                Ok(Some(_)) | Err(_) => break Ended::Failed,
                Ok(None) if stop.is_some_and(|stop| stop.load(Relaxed)) => break Ended::Stopped,
                Ok(None) if Instant::now() > deadline => break Ended::Hung,
                Ok(None) => thread::sleep(Duration::from_millis(5)),
            }
        };
        let group = format!("kill -KILL -{}", child.id());
        let kill = Command::new("sh")
            .args(["-c", &group])
            .stderr(Stdio::null())
            .status();
        let _ = (kill, child.wait());
        ended
    }
}

/// Where the published test vectors are, as the tests look for them.
pub fn vectors(top: &Path) -> PathBuf {
    std::env::var_os("VECTORS_DIR").map_or_else(|| top.join("../shared/vectors"), PathBuf::from)
}
