//! Authorities are polled on disk, and members are authenticated again when they have changed.

use super::files::certificates;
use super::reports::{assert_problems, lines_of};
use super::*;
use crate::discovery::roots::Bundle;
use std::path::Path;

/// A bench whose authorities are in this file, which is polled at each step.
fn trusting(members: Members, path: &Path) -> Bench {
    let times = Times {
        file_look: Duration::ZERO,
        file_look_again: Duration::ZERO,
        ..TIMES
    };
    let mut bench = Bench::with(members, times, "", entropy);
    let (authorities, odd) = Authorities::open(Bundle::of(Some(path), |_| None)).unwrap();
    assert_eq!(odd, [""; 0]);
    bench.discovery.authorities = Some(authorities);
    bench
}

fn own(endpoints: &[&str]) -> Members {
    Members::listed(proving(&Identity::Own, endpoints))
}

fn polls(bench: &mut Bench) {
    bench.step(Ok(false));
}

const UNUSABLE: &str = "ERROR authorities are not usable, keeping the last good ones error=";

#[test]
fn bad_authorities_are_one_line_per_change_and_one_when_they_are_good_again() {
    let [one, two, three] = certificates();
    let file = TempFile::new(&format!("{one}{two}"));
    let mut bench = trusting(own(&["127.1.0.1:1"]), &file.path);
    bench.start().unwrap();
    assert_eq!(lines_of(&mut bench, 3, polls), [""; 0]);
    let (cut, _) = one.split_once("-----END").unwrap();
    let cut = format!("{three}{cut}");
    // The line where the text ends.
    let line = format!(
        ": line {}: the text ends before the END line",
        cut.lines().count() + 1
    );
    let none = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let bad = [
        ("", ": no CERTIFICATE block; name a file"),
        (cut.as_str(), line.as_str()),
        (none, ": certificate 1: "),
    ];
    for (text, reason) in bad {
        file.write(text);
        let kept = "authorities_kept=2";
        let lines = lines_of(&mut bench, 3, polls);
        assert_eq!(lines.len(), 1, "{reason}: {lines:?}");
        let begins = lines[0].replace("discovery: ", "").starts_with(UNUSABLE);
        assert!(
            begins && lines[0].contains(reason) && lines[0].contains(kept),
            "{lines:?}"
        );
        let shown = "; the last good authorities stay in use";
        assert_problems(
            &bench,
            &[&[&file.path.display().to_string(), reason, shown]],
        );
    }
    // A request logs it again.
    let lines = lines_of(&mut bench, 3, Bench::ask);
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert_eq!(count(&lines, "authorities are not usable"), 3);
    std::fs::remove_file(&file.path).unwrap();
    let lines = lines_of(&mut bench, 3, polls);
    let gone = count(&lines, "cannot be read: no such file");
    assert_eq!((lines.len(), gone), (1, 1), "{lines:?}");
    assert_eq!(bench.active(), ["1"]);
    // The set is the same, whatever its order.
    file.write(&format!("{two}{one}"));
    let over = "INFO  problem is over problem=";
    let lines = lines_of(&mut bench, 3, polls);
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].replace("discovery: ", "").starts_with(over));
    assert_problems(&bench, &[]);
    let gate = bench.gate.clone().unwrap();
    assert_eq!(lock(&gate.asked).len(), 1, "at start");
    // Another set, after a problem and without one.
    file.write("");
    assert_eq!(lines_of(&mut bench, 3, polls).len(), 1);
    for (text, facts) in [
        (
            format!("{two}{three}{none}"),
            "authorities=2 added=1 removed=1",
        ),
        (
            format!("{one}{two}{three}"),
            "authorities=3 added=1 removed=0",
        ),
    ] {
        file.write(&text);
        let lines = lines_of(&mut bench, 3, polls);
        let changed = "authorities changed; authenticating all members again from=";
        assert_eq!(count(&lines, changed), 1, "{lines:?}");
        assert_eq!(count(&lines, facts), 1, "{lines:?}");
        let trusted = bench.discovery.authorities.as_ref().unwrap().trusted();
        let told = format!("authorities={} ", trusted.now().len());
        assert!(facts.starts_with(&told), "{facts} are trusted as {told}");
        let has_odd = text.contains(none);
        let odd = "WARN  discovery: certificate of an authority is ignored: ";
        assert_eq!(count(&lines, odd), usize::from(has_odd), "{lines:?}");
        assert_eq!(
            count(&lines, "certificate 3: "),
            usize::from(has_odd),
            "{lines:?}"
        );
        assert_eq!(
            count(&lines, "problem is over"),
            usize::from(has_odd),
            "{lines:?}"
        );
    }
}

/// Also one that was not authenticated before: it may pass now. No member stops serving before it was asked.
#[test]
fn after_a_change_every_member_is_authenticated_again_at_once() {
    let [one, two] = certificates();
    for asks in [false, true] {
        let file = TempFile::new(&one);
        let endpoints = ["127.1.0.1:1", "127.1.0.2:1", "127.1.0.3:1"];
        let mut bench = trusting(own(&endpoints), &file.path);
        let gate = bench.gate.clone().unwrap();
        lock(&gate.impostors).insert(endpoints[2].to_owned());
        bench.start().unwrap();
        polls(&mut bench);
        assert_eq!(bench.active(), ["1", "2"]);
        *lock(&gate.impostors) = HashSet::from([endpoints[0].to_owned()]);
        lock(&gate.asked).clear();
        file.write(&format!("{two}{one}"));
        if asks {
            bench.ask();
        } else {
            polls(&mut bench);
            assert_eq!(bench.active(), ["1", "2"]);
            assert_eq!(lock(&gate.asked).len(), 0);
            polls(&mut bench);
        }
        let mut asked = std::mem::take(&mut *lock(&gate.asked));
        asked.sort();
        assert_eq!(asked, endpoints, "each once");
        assert_eq!(bench.active(), ["2", "3"]);
        for _ in 0..3 {
            polls(&mut bench);
        }
        assert_eq!(lock(&gate.asked).len(), 0);
    }
}

/// All members that serve are asked, but others only as long as there is time.
#[test]
fn serving_endpoints_are_authenticated_first() {
    let [one, two] = certificates();
    let file = TempFile::new(&one);
    let mut bench = trusting(
        own(&["127.1.0.1:1", "127.1.0.2:1", "127.1.0.3:1"]),
        &file.path,
    );
    let gate = bench.gate.clone().unwrap();
    lock(&gate.impostors).extend(["127.1.0.1:1", "127.1.0.2:1"].map(str::to_owned));
    bench.start().unwrap();
    polls(&mut bench);
    lock(&gate.asked).clear();
    bench.timeout = Duration::ZERO;
    file.write(&two);
    bench.ask();
    assert_eq!(*lock(&gate.asked), ["127.1.0.3:1"]);
}

#[test]
fn a_gateway_sleeps_for_ever_unless_it_has_authorities_to_poll() {
    let [one] = certificates();
    let file = TempFile::new(&one);
    let next = |members: Members, follows: bool| {
        let times = Times {
            file_look: Duration::from_secs(7),
            audit: Duration::from_secs(3600),
            ..TIMES
        };
        let mut bench = match follows {
            true => trusting(members, &file.path),
            false => Bench::new(members),
        };
        bench.discovery.times = times;
        bench.start().unwrap();
        bench.step(Ok(false));
        let until = bench.discovery.schedule.until()?;
        Some(until.saturating_duration_since(Instant::now()))
    };
    let plain = || Members::listed(list(&["127.1.0.1:1"]));
    assert_eq!(next(plain(), false), None);
    let pause = next(plain(), true).unwrap();
    let seven = Duration::from_secs(7);
    assert!(pause <= seven && pause > seven / 2, "{pause:?}");
}
