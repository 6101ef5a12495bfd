//! Where and when the measurement was made: without that its figures say little.

use std::fs;
use std::process::Command;
use std::thread;

/// Names and values for the head of the report.
pub fn describe() -> Vec<(&'static str, String)> {
    let read = |path: &str| fs::read_to_string(path).map(|text| text.trim().to_owned());
    let unknown = |_| "unknown".to_owned();
    let cpu = read("/proc/cpuinfo").ok().and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("model name"))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    });
    let cores = thread::available_parallelism().map_or(0, usize::from);
    let memory = read("/proc/meminfo").ok().and_then(|text| {
        let kilobytes: u64 = text.split_whitespace().nth(1)?.parse().ok()?;
        Some(format!("{} MiB", kilobytes / 1024))
    });
    vec![
        ("date", date()),
        ("cpu", cpu.unwrap_or_else(|| "unknown".to_owned())),
        ("processors", cores.to_string()),
        ("memory", memory.unwrap_or_else(|| "unknown".to_owned())),
        (
            "kernel",
            read("/proc/sys/kernel/osrelease").unwrap_or_else(unknown),
        ),
        (
            "vm.max_map_count",
            read("/proc/sys/vm/max_map_count").unwrap_or_else(unknown),
        ),
        (
            "load average",
            read("/proc/loadavg").unwrap_or_else(unknown),
        ),
        ("command", std::env::args().collect::<Vec<_>>().join(" ")),
    ]
}

/// Whether something else runs already: more than a quarter of the processors were wanted in the last minute.
pub fn busy() -> bool {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    fs::read_to_string("/proc/loadavg")
        .ok()
        .and_then(|text| text.split(' ').next()?.parse::<f64>().ok())
        .is_some_and(|load| load > processors as f64 / 4.0)
}

fn date() -> String {
    let output = Command::new("date")
        .args(["-u", "+%Y-%m-%d %H:%M UTC"])
        .output();
    let text = output.map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&text).trim().to_owned()
}
