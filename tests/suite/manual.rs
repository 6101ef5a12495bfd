//! What `make install` puts beside the program, as its readers take it: the manual in groff and mandoc, the
//! completions in the three shells, each the real one.

use std::path::Path;
use std::process::{Command, Output};

use crate::support::gateway::binary;
use crate::support::process::{have, tool};
use crate::support::sources::all_sources;
use crate::support::{Backend, Launch, TempDir, host_offers};

fn generated(name: &str) -> String {
    let outcome = Launch::exactly(&["generate", name]).run();
    assert_eq!(
        (outcome.code, outcome.stderr.as_str()),
        (Some(0), ""),
        "{name}"
    );
    outcome.stdout
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("output in UTF-8")
}

/// Runs a script with arguments; it must succeed and complain of nothing.
#[track_caller]
fn run_script(shell: &str, args: &[&str]) -> String {
    let Output {
        status,
        stdout,
        stderr,
    } = tool(shell, args);
    assert!(status.success() && stderr.is_empty(), "{}", text(&stderr));
    text(&stdout)
}

#[test]
fn groff_prints_the_manual_without_a_warning() {
    if !host_offers(have("groff"), "groff") {
        return;
    }
    let dir = TempDir::new();
    let page = dir.file("etcd-gateway.1", &generated("man"));
    // The plain device knows no bold and breaks no word that we would look for.
    let args = [
        "-ww",
        "-man",
        "-Tascii",
        "-P-c",
        "-rHY=0",
        "-rLL=400n",
        &page,
    ];
    let printed = run_script("groff", &args);
    let printed: String = {
        // Bold and underlined letters are overstruck: LETTER BACKSPACE LETTER.
        let mut plain = String::new();
        for c in printed.chars() {
            match c {
                '\u{8}' => drop(plain.pop()),
                c => plain.push(c),
            }
        }
        plain
    };
    let sections: Vec<&str> = printed
        .lines()
        .filter(|line| line.starts_with(|c: char| c.is_ascii_uppercase()))
        .filter(|line| !line.starts_with("ETCD-GATEWAY(1)"))
        .collect();
    assert_eq!(
        sections,
        [
            "NAME",
            "SYNOPSIS",
            "DESCRIPTION",
            "COMMANDS",
            "OPTIONS",
            "OUTPUT OF CHECK",
            "ENVIRONMENT",
            "FILES",
            "SIGNALS",
            "EXIT STATUS",
            "EXAMPLES",
            "SEE ALSO"
        ]
    );
    // What roff would have eaten or made typographic.
    for wanted in [
        "--endpoints HOST:PORT,...",
        "accepts etcd gateway start [flags].",
        "etcd's word for text",
        "etcd-gateway start --discovery-srv=example.com \\",
        "Variable: ETCD_GATEWAY_LISTEN_ADDR",
    ] {
        assert!(printed.contains(wanted), "{wanted:?} in\n{printed}");
    }
}

/// The names of the pages, as `generate man` says them where it is given another.
fn pages() -> Vec<String> {
    let said = Launch::exactly(&["generate", "man", "?"]).run().stderr;
    let (_, names) = said.split_once("write one of ").expect("names");
    let names = names.split(", or no name").next().unwrap_or_default();
    let names: Vec<String> = names.split(", ").map(str::to_owned).collect();
    assert!(names.len() > 4, "{said}");
    names
}

#[test]
fn groff_and_mandoc_find_no_fault_in_any_page() {
    let dir = TempDir::new();
    for name in std::iter::once(String::new()).chain(pages()) {
        let args = ["generate", "man", &name];
        let args = if name.is_empty() {
            &args[..2]
        } else {
            &args[..]
        };
        let outcome = Launch::exactly(args).run();
        assert_eq!(outcome.code, Some(0), "{name}: {outcome:?}");
        let page = dir.file("page", &outcome.stdout);
        if host_offers(have("groff"), "groff") {
            run_script(
                "groff",
                &["-ww", "-man", "-Tascii", "-P-c", "-rLL=400n", &page],
            );
        }
        if host_offers(have("mandoc"), "mandoc") {
            let output = tool("mandoc", &["-Tlint", "-Wwarning", &page]);
            // The page has no date, so that two builds are alike.
            let complaints: Vec<String> = text(&output.stdout)
                .lines()
                .filter(|line| !line.contains("missing date"))
                .map(str::to_owned)
                .collect();
            assert!(complaints.is_empty(), "{name}: {complaints:#?}");
        }
    }
}

/// What the sources ask the environment for and which signals they name, each in its section.
#[test]
fn the_manual_has_every_variable_and_signal() {
    let page = generated("man").replace("\\-", "-");
    let section = |name: &str| {
        let (_, rest) = page.split_once(&format!(".SH {name}\n")).expect(name);
        rest.split(".SH ").next().unwrap_or_default().to_owned()
    };
    let sources = all_sources();
    let named = |before: &'static str| {
        let rests = sources.split(before).skip(1);
        rests.filter_map(|rest| rest.split('"').next())
    };
    // Whoever reads the environment is given a closure of this name, or asks std.
    let variables: Vec<&str> = named("variable(\"").chain(named("env::var(\"")).collect();
    let signals: Vec<&str> = named(", \"SIG")
        .filter(|rest| rest.chars().all(|c| c.is_ascii_alphanumeric()))
        .collect();
    assert!(
        variables.len() > 5 && signals.len() > 3,
        "{variables:?} {signals:?}"
    );
    for name in variables {
        assert!(section("ENVIRONMENT").contains(name), "{name}");
    }
    for name in signals {
        assert!(
            section("SIGNALS").contains(&format!("SIG{name}")),
            "SIG{name}"
        );
    }
}

#[test]
fn the_manual_has_every_key_of_checks_json() {
    let page = generated("man").replace("\\fB", " ");
    let (_, section) = page
        .split_once(".SH OUTPUT OF CHECK\n")
        .expect("the section");
    let section = section.split(".SH ").next().unwrap_or_default();
    let words: Vec<&str> = section
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .collect();
    let dead = Backend::dead();
    let flag = format!("--endpoints={}", dead.address());
    let said = Launch::exactly(&["check", "--output=json", &flag])
        .run()
        .stdout;
    let keys = said
        .split('"')
        .skip(1)
        .step_by(2)
        .zip(said.split('"').skip(2).step_by(2));
    let keys = keys
        .filter(|(_, after)| after.starts_with(':'))
        .map(|(key, _)| key);
    let missing: Vec<&str> = keys.clone().filter(|key| !words.contains(key)).collect();
    assert!(
        keys.count() > 15 && missing.is_empty(),
        "{missing:?} of {said}"
    );
}

/// Command lines as bash cuts them, the last word being completed, and what is proposed.
#[test]
fn bash_completes() {
    if !host_offers(have("bash"), "bash") {
        return;
    }
    const CASES: &[(&[&str], &str)] = &[
        (&[""], "start check config generate help version"),
        (&["st"], "start"),
        (&["gateway", "ch"], "check"),
        (&["start", "--retry"], "--retry-delay"),
        (&["generate", "ma"], "man"),
        (&["generate", ""], "man bash zsh fish unit socket settings"),
        (
            &["start", "--discovery-s"],
            "--discovery-srv --discovery-srv-name --discovery-server-name",
        ),
        (&["--log-level", ""], "debug info warn error"),
        (&["start", "--log-level", "="], "debug info warn error"),
        (&["start", "--log-level", "=", "w"], "warn"),
        // Where the shell does not cut at the equals sign.
        (&["start", "--log-level=w"], "--log-level=warn"),
        (&["start", "--insecure-discovery", "=", ""], "true false"),
        (&["start", "--insecure-discovery", "--vers"], "--version"),
        (&["help", "ch"], "check"),
        (&["start", "--out"], ""),
        (&["check", "--out"], "--output"),
        (&["check", "--retry"], ""),
        (&["--out"], "--output"),
        (&["generate", "man", "--retry"], ""),
        (&["start", "--close-removed", "="], "never"),
        (&["start", "--endpoints", ""], ""),
        (&["start", "--endpoints", "=", "a"], ""),
        (&["start", "--no-such-flag", "=", ""], ""),
        (&["start", "--trusted-ca-file", "ca"], "ca file.pem\nca.d"),
        (
            &["start", "--trusted-ca-file=ca."],
            "--trusted-ca-file=ca.d",
        ),
    ];
    const SCRIPT: &str = r#"
        compopt() { [[ $* == '-o filenames' ]]; } # bash has it only while it completes
        source "$1" && cd "$2" && shift 2 && COMP_WORDS=(etcd-gateway "$@") && COMP_CWORD=$# &&
        _etcd_gateway && printf '%s\n' "${COMPREPLY[@]}""#;
    let dir = TempDir::new();
    let script = dir.file("completion", &generated("bash"));
    let files = TempDir::new();
    files.file("ca file.pem", "");
    std::fs::create_dir(files.path().join("ca.d")).expect("create a directory");
    let at = files.path().to_str().expect("a temporary path in UTF-8");
    for (words, expected) in CASES {
        let mut args = vec!["--norc", "-c", SCRIPT, "bash", &script, at];
        args.extend(*words);
        let said = run_script("bash", &args);
        let mut proposed: Vec<&str> = said.lines().filter(|line| !line.is_empty()).collect();
        let mut expected: Vec<&str> = match expected.contains('\n') {
            true => expected.lines().collect(),
            false => expected.split_whitespace().collect(),
        };
        proposed.sort_unstable();
        expected.sort_unstable();
        assert_eq!(proposed, expected, "{words:?}");
    }
    // And it says which command it is for.
    let registered = "source \"$1\" && complete -p etcd-gateway";
    let said = run_script("bash", &["--norc", "-c", registered, "bash", &script]);
    assert!(said.contains("-F _etcd_gateway etcd-gateway"), "{said}");
}

#[test]
fn fish_completes() {
    if !host_offers(have("fish"), "fish") {
        return;
    }
    const CASES: &[(&str, &[&str])] = &[
        (
            "etcd-gateway ",
            &["check", "config", "generate", "help", "start", "version"],
        ),
        ("etcd-gateway generate u", &["unit"]),
        ("etcd-gateway start --retry", &["--retry-delay"]),
        ("etcd-gateway check --retry", &[]),
        ("etcd-gateway start --outp", &[]),
        ("etcd-gateway check --outp", &["--output"]),
        ("etcd-gateway help ch", &["check"]),
        ("etcd-gateway start --close-removed ", &["never"]),
        ("etcd-gateway start --access-log /etc/host", &["/etc/hosts"]),
        ("etcd-gateway start --log-level=w", &["--log-level=warn"]),
        (
            "etcd-gateway start --log-level ",
            &["debug", "error", "info", "warn"],
        ),
        ("etcd-gateway start --endpoints ", &[]),
        (
            "etcd-gateway start --trusted-ca-file /etc/host",
            &["/etc/hosts"],
        ),
    ];
    let dir = TempDir::new();
    let script = dir.file("completion.fish", &generated("fish"));
    for (line, expected) in CASES {
        let mut command = Command::new("fish");
        // It keeps its history at home.
        command.env("HOME", dir.path()).arg("--no-config");
        let code = format!("source {script}; complete -C '{line}'");
        let output = command.arg("-c").arg(code).output().expect("run fish");
        let said = text(&output.stdout);
        let proposed = said.lines().filter_map(|line| line.split('\t').next());
        let proposed: Vec<&str> = proposed
            .filter(|word| !word.starts_with("/etc/hosts."))
            .filter(|word| !word.starts_with("/etc/host.") && *word != "/etc/hostname")
            .collect();
        assert_eq!(proposed, *expected, "{line}: {}", text(&output.stderr));
    }
}

/// An interactive zsh on a terminal of its own, with keys typed into it: lines, each followed by a tab, and what the
/// tab makes of them.
#[test]
fn zsh_completes() {
    if !host_offers(have("zsh"), "zsh") {
        return;
    }
    const CASES: &[(&str, &str)] = &[
        ("etcd-gateway st", "etcd-gateway start "),
        ("etcd-gateway generate u", "etcd-gateway generate unit "),
        ("etcd-gateway help ch", "etcd-gateway help check "),
        ("etcd-gateway start --outp", "etcd-gateway start --outp"),
        ("etcd-gateway check --outp", "etcd-gateway check --output="),
        (
            "etcd-gateway start --close-removed=n",
            "etcd-gateway start --close-removed=never ",
        ),
        (
            "etcd-gateway start --access-log=st",
            "etcd-gateway start --access-log=stderr ",
        ),
        (
            "etcd-gateway start --access-log=/etc/passw",
            "etcd-gateway start --access-log=/etc/passwd",
        ),
        (
            "etcd-gateway start --retry",
            "etcd-gateway start --retry-delay=",
        ),
        (
            "etcd-gateway start --log-level=w",
            "etcd-gateway start --log-level=warn ",
        ),
        (
            "etcd-gateway --log-level e",
            "etcd-gateway --log-level error ",
        ),
        (
            "etcd-gateway start --insec",
            "etcd-gateway start --insecure-discovery ",
        ),
        (
            "etcd-gateway start --trusted-ca-file=/etc/passw",
            "etcd-gateway start --trusted-ca-file=/etc/passwd",
        ),
    ];
    // Ctrl-T writes the line to a file and empties it.
    const ZSHRC: &str = r#"
fpath=($ZDOTDIR $fpath)
autoload -Uz compinit
compinit -u -D
show() { print -r -- "$BUFFER" >>$ZDOTDIR/lines; BUFFER= }
zle -N show
bindkey '^I' complete-word '^T' show
"#;
    const DRIVER: &str = r#"
zmodload zsh/zpty
zpty z env ZDOTDIR=$1 TERM=dumb zsh -i
shift
for line; do zpty -w -n z "$line"$'\t\x14'; done
zpty -w -n z $'exit\r'
while zpty -r z; do :; done
"#;
    let dir = TempDir::new();
    dir.file(".zshrc", ZSHRC);
    dir.file("_etcd-gateway", &generated("zsh"));
    let home = dir.path().to_str().expect("a temporary path in UTF-8");
    let mut args = vec!["20", "zsh", "-f", "-c", DRIVER, "zsh", home];
    args.extend(CASES.iter().map(|(typed, _)| *typed));
    let output = tool("timeout", &args);
    let lines = std::fs::read_to_string(dir.path().join("lines"));
    let lines = lines.unwrap_or_else(|error| panic!("{error}: {output:?}"));
    let lines: Vec<&str> = lines.lines().collect();
    assert_eq!(lines.len(), CASES.len(), "{lines:?}");
    for (line, (typed, expected)) in lines.iter().zip(CASES) {
        // A blank behind a file name depends on what else is there.
        let matches = line.starts_with(expected);
        assert!(matches, "{typed:?} became {line:?}");
    }
}

/// Below DESTDIR, each file where its reader looks; and nothing is left after uninstall.
#[test]
fn make_install_and_uninstall() {
    if !host_offers(have("make") && have("install"), "make and install") {
        return;
    }
    const PROGRAM: &str = "/usr/bin/etcd-gateway";
    const TEXTS: [&str; 20] = [
        "/usr/lib/systemd/system/etcd-gateway.service",
        "/usr/lib/systemd/system/etcd-gateway.socket",
        "/usr/share/bash-completion/completions/etcd-gateway",
        "/usr/share/etcd-gateway/grafana-dashboard.json",
        "/usr/share/etcd-gateway/kubernetes/daemonset.yaml",
        "/usr/share/etcd-gateway/kubernetes/networkpolicy.yaml",
        "/usr/share/etcd-gateway/kubernetes/podmonitor.yaml",
        "/usr/share/etcd-gateway/kubernetes/sidecar.yaml",
        "/usr/share/etcd-gateway/logrotate",
        "/usr/share/etcd-gateway/prometheus-rules.yaml",
        "/usr/share/etcd-gateway/settings",
        "/usr/share/fish/vendor_completions.d/etcd-gateway.fish",
        "/usr/share/man/man1/etcd-gateway.1",
        "/usr/share/man/man5/etcd-gateway.5",
        "/usr/share/man/man7/etcd-gateway-behaviour.7",
        "/usr/share/man/man7/etcd-gateway-logs.7",
        "/usr/share/man/man7/etcd-gateway-metrics.7",
        "/usr/share/man/man7/etcd-gateway-operation.7",
        "/usr/share/man/man7/etcd-gateway-security.7",
        "/usr/share/zsh/site-functions/_etcd-gateway",
    ];
    let dir = TempDir::new();
    let root = dir.path().to_str().expect("a temporary path in UTF-8");
    let built = std::fs::canonicalize(binary()).expect("the binary exists");
    let built = built.to_str().expect("a path in UTF-8");
    let make = |target: &str| {
        let mut command = Command::new("make");
        // Nothing is built: the sources are newer than the program, and there is no cargo.
        command.args(["-C", env!("CARGO_MANIFEST_DIR"), "-s", "-W", "Cargo.toml"]);
        command.args([target, "CARGO=/nonexistent"]);
        command.args([format!("BINARY={built}"), format!("DESTDIR={root}")]);
        // What a make above this test was told is not part of it.
        command.env_remove("MAKEFLAGS").env_remove("MFLAGS");
        let output = command.arg("PREFIX=/usr").output().expect("run make");
        assert!(output.status.success(), "{}", text(&output.stderr));
    };
    let installed = || {
        let found = run_script("find", &[root, "-type", "f", "-printf", "/%P %m\\n"]);
        let mut lines: Vec<String> = found.lines().map(str::to_owned).collect();
        lines.sort_unstable();
        lines
    };
    make("install");
    let texts = TEXTS.iter().map(|path| format!("{path} 644"));
    let expected: Vec<String> = std::iter::once(format!("{PROGRAM} 755"))
        .chain(texts)
        .collect();
    assert_eq!(installed(), expected);
    for (path, name) in [
        ("usr/share/man/man1/etcd-gateway.1", "man"),
        ("usr/share/zsh/site-functions/_etcd-gateway", "zsh"),
        ("usr/lib/systemd/system/etcd-gateway.socket", "socket"),
        ("usr/lib/systemd/system/etcd-gateway.service", "unit"),
    ] {
        let content = std::fs::read_to_string(Path::new(root).join(path));
        // The unit starts what is installed, not what printed it.
        let directory = format!("\"{}/", Path::new(built).parent().unwrap().display());
        let expected = generated(name).replace(&directory, "\"/usr/bin/");
        assert_eq!(content.expect("read an installed file"), expected);
    }
    make("uninstall");
    assert_eq!(installed(), [""; 0]);
}
