//! A copy of the product with all changes in it, and its tests, built.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::apply::{Applied, Change, apply};
use crate::entries::Entry;

/// What the copy has beside the product: is it to behave as changed by that number?
const SWITCH: &str = r#"//! Chooses a change at run time.

use std::io::Write;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

static CHOSEN: OnceLock<Option<usize>> = OnceLock::new();
/// Kept open, for a change may be reached where no descriptor is left.
static REACHED: OnceLock<Option<std::fs::File>> = OnceLock::new();
static SEEN: [AtomicBool; COUNT] = [const { AtomicBool::new(false) }; COUNT];

pub(crate) fn is(number: usize) -> bool {
    let open = || {
        let path = std::env::var_os("MUTANT_REACHED")?;
        std::fs::OpenOptions::new().append(true).create(true).open(path).ok()
    };
    if let Some(mut file) = REACHED.get_or_init(open).as_ref() && !SEEN[number].swap(true, Relaxed) {
        let _ = file.write_all(format!("{number}\n").as_bytes());
    }
    let chosen = || std::env::var("MUTANT").ok().and_then(|number| number.parse().ok());
    *CHOSEN.get_or_init(chosen) == Some(number)
}
"#;

/// The changed sources by their path; or every entry that does not fit.
pub fn change(top: &Path, entries: &mut [Entry]) -> Result<BTreeMap<String, Applied>, Vec<String>> {
    let mut files: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (number, entry) in entries.iter().enumerate() {
        files.entry(entry.file.clone()).or_default().push(number);
    }
    let (mut changed, mut wrong) = (BTreeMap::new(), Vec::new());
    for (file, numbers) in files {
        let Ok(source) = fs::read_to_string(top.join(&file)) else {
            wrong.extend(
                numbers
                    .iter()
                    .map(|&n| format!("{}: {file} is not a file", entries[n].listed)),
            );
            continue;
        };
        let mut changes = Vec::new();
        for number in numbers {
            match entries[number].find(&source) {
                Ok(place) => {
                    entries[number].line = 1 + source[..place.start].matches('\n').count();
                    let new = entries[number].new.join("\n");
                    changes.push(Change { number, place, new });
                }
                Err(what) => wrong.push(what),
            }
        }
        match apply(&source, changes) {
            Ok(applied) => {
                changed.insert(file, applied);
            }
            Err((one, other)) => {
                let [one, other] = [one, other].map(|number| &entries[number]);
                wrong.push(format!("{}: overlaps {} in part", one.listed, other.id));
            }
        }
    }
    if wrong.is_empty() {
        Ok(changed)
    } else {
        Err(wrong)
    }
}

/// What was built.
pub struct Built {
    pub tree: PathBuf,
    /// The test programs: of the unit tests and of the suite.
    pub programs: [PathBuf; 2],
}

/// Copies the product into `tree`, with the changes, and builds its tests there.
pub fn build(
    top: &Path,
    tree: &Path,
    entries: &[Entry],
    changed: &BTreeMap<String, Applied>,
) -> Result<Built, String> {
    copy(top, tree, entries.len(), changed).map_err(|error| format!("cannot copy: {error}"))?;
    let output = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()))
        .args(["test", "--locked", "--no-run", "--lib", "--test", "suite"])
        .args(["--color", "never"])
        .current_dir(tree)
        // A change may leave something unused.
        .env("RUSTFLAGS", "--cap-lints=allow")
        .env("CARGO_PROFILE_DEV_DEBUG", "0")
        .env("CARGO_PROFILE_TEST_DEBUG", "0")
        .env_remove("CARGO_TARGET_DIR")
        .output()
        .map_err(|error| format!("cannot run cargo: {error}"))?;
    let text = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        let blamed = blame(&text, entries, changed);
        return Err(match blamed.is_empty() {
            true => format!("the copy does not build\n{text}"),
            false => format!("{text}\nthese do not build:\n{}", blamed.join("\n")),
        });
    }
    let program = |of: &str| {
        let line = text
            .lines()
            .find(|line| line.contains("Executable") && line.contains(of));
        let path = line
            .and_then(|line| line.rsplit_once('('))?
            .1
            .strip_suffix(')')?;
        Some(tree.join(path))
    };
    let programs = ["src/lib.rs", "tests/suite"].map(program);
    let [Some(unit), Some(suite)] = programs else {
        return Err(format!("cargo names no test program:\n{text}"));
    };
    Ok(Built {
        tree: tree.to_owned(),
        programs: [unit, suite],
    })
}

/// The entries that the compiler's messages are about, each with the message.
fn blame(messages: &str, entries: &[Entry], changed: &BTreeMap<String, Applied>) -> Vec<String> {
    let (mut blamed, mut message) = (Vec::new(), "");
    for line in messages.lines() {
        if line.starts_with("error") {
            message = line;
        }
        let Some(place) = line.trim_start().strip_prefix("--> ") else {
            continue;
        };
        let mut place = place.split(':');
        let (file, line) = (place.next().unwrap_or_default(), place.next());
        if let (Some(applied), Some(Ok(line))) = (changed.get(file), line.map(str::parse)) {
            let entries = applied.at(line).into_iter().map(|number| &entries[number]);
            blamed
                .extend(entries.map(|entry| format!("{} ({}): {message}", entry.listed, entry.id)));
        }
    }
    blamed.dedup();
    blamed
}

/// Writes what differs only, so that cargo builds no more than it must.
fn copy(
    top: &Path,
    tree: &Path,
    count: usize,
    changed: &BTreeMap<String, Applied>,
) -> std::io::Result<()> {
    let listed = Command::new("git")
        .args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ])
        .current_dir(top)
        .output()?;
    let listed = String::from_utf8_lossy(&listed.stdout);
    let mut expected = HashSet::from([tree.join("src/mutant.rs")]);
    for name in listed.split_terminator('\0') {
        let Ok(mut content) = fs::read(top.join(name)) else {
            continue;
        };
        match name {
            "src/lib.rs" => content.extend(b"\nmod mutant;\n"),
            _ if changed.contains_key(name) => content = changed[name].text.clone().into(),
            _ => {}
        }
        let path = tree.join(name);
        write(&path, &content)?;
        let permissions = fs::metadata(top.join(name))?.permissions();
        fs::set_permissions(&path, permissions)?;
        expected.insert(path);
    }
    let switch = SWITCH.replace("COUNT", &count.to_string());
    write(&tree.join("src/mutant.rs"), switch.as_bytes())?;
    for part in ["src", "tests"] {
        remove_others(&tree.join(part), &expected)?;
    }
    Ok(())
}

fn write(path: &Path, content: &[u8]) -> std::io::Result<()> {
    if fs::read(path).is_ok_and(|old| old == content) {
        return Ok(());
    }
    path.parent().map_or(Ok(()), fs::create_dir_all)?;
    fs::write(path, content)
}

/// Files of an earlier copy.
fn remove_others(directory: &Path, expected: &HashSet<PathBuf>) -> std::io::Result<()> {
    for entry in fs::read_dir(directory)?.flatten() {
        let path = entry.path();
        match path.is_dir() {
            true => remove_others(&path, expected)?,
            false if expected.contains(&path) => {}
            false => fs::remove_file(path)?,
        }
    }
    Ok(())
}
