//! What there is to say of the program beside its flags, once.
//!
//! The help, the man page and the completions are rendered from here and from [`FLAGS`];
//! each has its own markup, so this is plain text, wrapped where it is printed.
//!
//! [`FLAGS`]: super::flags::FLAGS

/// Something with a name, and what to know of it.
pub(super) type Entry = (&'static str, &'static str);

/// What the program is, in a line.
pub(super) const SUMMARY: &str = "TCP gateway in front of an etcd cluster";

/// What it does, in a paragraph.
pub(super) const LEAD: &str = "etcd-gateway forwards TCP connections to an etcd cluster. \
    Applications use one local address; the gateway knows the members, spreads connections over \
    them in turn, avoids those that fail or do not answer, and uses them again when they return. \
    It passes bytes through unread: TLS runs between the application and etcd, end to end.";

/// A command.
pub(super) struct Command {
    /// The word for it.
    pub(super) name: &'static str,
    /// What follows the word.
    pub(super) takes: &'static str,
    /// What it does, in a few words.
    pub(super) doc_short: &'static str,
    /// What else there is to know of it, in sentences.
    pub(super) doc_long: &'static str,
}

/// The commands, in the order of the help.
pub(super) static COMMANDS: [Command; 6] = [
    Command {
        name: "start",
        takes: "[flags]",
        doc_short: "start the gateway",
        doc_long: "gateway start, in the words of etcd, is the same. It serves until a signal ends it, and stays in \
            the foreground.",
    },
    Command {
        name: "check",
        takes: "[flags]",
        doc_short: "look at what start would find, and exit",
        doc_long: "Takes the flags of start. Names are resolved, every endpoint is dialled, authenticated and asked \
            for its health as start would do it, and one row per endpoint is printed, with a verdict below. Nothing \
            is listened on, so it can be run beside a gateway that serves. The exit status is 0 if start would \
            serve.",
    },
    Command {
        name: "config",
        takes: "[flags]",
        doc_short: "print the settings and their origins",
        doc_long: "Takes the flags of start. Each setting is printed with its value and where that came from: the \
            command line, the environment, a line of --config-file, or the default.",
    },
    Command {
        name: "generate",
        takes: "TEXT [NAME]",
        doc_short: "print a manual, completion or unit",
        doc_long: "TEXT is man, bash, zsh, fish, unit, socket or settings. man may be followed by the NAME of a page: \
            files, behaviour, operation, metrics, logs or security.",
    },
    Command {
        name: "help",
        takes: "[COMMAND]",
        doc_short: "print the help, of one command or of all",
        doc_long: "-h prints the short form of it, --help the long one.",
    },
    Command {
        name: "version",
        takes: "",
        doc_short: "print the version",
        doc_long: "",
    },
];

/// The command of this name.
pub(super) fn command(name: &str) -> Option<&'static Command> {
    COMMANDS.iter().find(|command| command.name == name)
}

/// The names of all commands.
pub(super) fn command_names() -> impl Iterator<Item = &'static str> {
    COMMANDS.iter().map(|command| command.name)
}

impl Command {
    /// How it is typed.
    pub(super) fn usage(&self) -> String {
        format!("{} {}", self.name, self.takes)
            .trim_end()
            .to_owned()
    }
}

/// What the name it is called by changes.
pub(super) const CALLED_ETCD: &str =
    "Called through a link named etcd, it understands `etcd gateway start [flags]`.";

/// What follows a sentence, and how that is typed: lines that continue have a backslash.
pub(super) const EXAMPLES: &[(&str, &[&str])] = &[
    (
        "Forward the local default address to three members:",
        &["etcd-gateway start --endpoints=10.0.0.1:2379,10.0.0.2:2379,10.0.0.3:2379"],
    ),
    (
        "Serve other hosts as well, and notice a returning member sooner:",
        &[
            "etcd-gateway start --listen-addr=:2379 --retry-delay=5s \\",
            "    --endpoints=etcd.example.com:2379",
        ],
    ),
    (
        "Find the members in DNS, and follow them there:",
        &[
            "etcd-gateway start --discovery-srv=example.com \\",
            "    --trusted-ca-file=/etc/etcd/ca.pem",
        ],
    ),
    (
        "See what that would find, without starting anything:",
        &[
            "etcd-gateway check --discovery-srv=example.com \\",
            "    --trusted-ca-file=/etc/etcd/ca.pem",
        ],
    ),
    (
        "Take the members from a file that may change, and show how they fare:",
        &[
            "etcd-gateway start --endpoints-file=/etc/etcd-gateway/endpoints \\",
            "    --metrics-addr=127.0.0.1:23791",
            "curl http://127.0.0.1:23791/endpoints",
        ],
    ),
    (
        "Ask each member how it is, and end connections to one that is not well:",
        &[
            "etcd-gateway start --endpoints=10.0.0.1:2379,10.0.0.2:2379,10.0.0.3:2379 \\",
            "    --health-check=http://:2381/readyz --close-unhealthy=15s",
        ],
    ),
    (
        "Read settings from a file, and see which are in effect and why:",
        &[
            "etcd-gateway start --config-file=/etc/default/etcd-gateway",
            "etcd-gateway config --config-file=/etc/default/etcd-gateway",
        ],
    ),
    (
        "Have systemd run this program, wherever it is, with the settings of the file:",
        &[
            "etcd-gateway generate unit >/etc/systemd/system/etcd-gateway.service",
            "echo ETCD_GATEWAY_ENDPOINTS=10.0.0.1:2379 >/etc/default/etcd-gateway",
        ],
    ),
    (
        "Name the members in the environment:",
        &["ETCD_GATEWAY_ENDPOINTS=etcd.example.com:2379 etcd-gateway start"],
    ),
];

/// What `check --output=json` has; what is of one endpoint begins with a dot.
pub(super) const CHECK: &[Entry] = &[
    (
        "would_serve",
        "Whether start would serve; the exit status says the same.",
    ),
    (
        "summary",
        "That in a sentence, with what to do. The table ends with it.",
    ),
    ("nothing", "Why there is no endpoint to look at, or null."),
    ("metrics", "Where metrics would be served, or null."),
    ("endpoints", "One object per endpoint:"),
    (
        "endpoints.address, .name",
        "Where it is dialled, and as it is configured.",
    ),
    (
        "endpoints.source",
        "What names it: endpoints, file or srv; fallback if it is one of --endpoints that would serve in place of \
         SRV records.",
    ),
    (
        "endpoints.priority, .weight, .drain",
        "As in the list, the file or the record.",
    ),
    (
        "endpoints.server_name",
        "The name that its certificate must have, or null if it is not authenticated.",
    ),
    (
        "endpoints.dial_seconds",
        "How long it took to answer, or null.",
    ),
    ("endpoints.tls", "Version and cipher suite, or null."),
    (
        "endpoints.certificate",
        "What it presented, or null: subject, issuer, sans, not_before, not_after, days_left.",
    ),
    (
        "endpoints.health",
        "Whether it is ok, and its answer to --health-check; null if it was not asked.",
    ),
    (
        "endpoints.verdict, .reason",
        "authenticated or reachable: it can be used. refused (it answered and cannot be used) or unreachable: the \
         reason says why.",
    ),
    (
        "insecure",
        "Targets of SRV records that speak no TLS, so that they cannot be authenticated.",
    ),
    (
        "unresolved",
        "Names without an address, each with the reason.",
    ),
    ("warnings", "What a start would log as warnings."),
];

/// What the process ends with.
pub(super) const EXIT_STATUS: &[Entry] = &[
    (
        "0",
        "ended in order, or printed what was asked for; check: start would serve",
    ),
    (
        "1",
        "failed at run time, or a second signal ended it at once",
    ),
    (
        "2",
        "refused the command line or a variable; nothing was bound",
    ),
];

/// Variables that are not a flag's.
pub(super) const ENVIRONMENT: &[Entry] = &[
    (
        "SSL_CERT_FILE, SSL_CERT_DIR",
        "Where the system's authorities are, if not in the usual places; read without \
         --trusted-ca-file only.",
    ),
    (
        "RES_OPTIONS, LOCALDOMAIN",
        "Override the options and the search list of /etc/resolv.conf, see resolv.conf(5).",
    ),
    (
        "NOTIFY_SOCKET, WATCHDOG_USEC, WATCHDOG_PID, SYSTEMD_EXEC_PID",
        "Set by systemd, which is told of readiness, state, reloads and end, see sd_notify(3).",
    ),
    (
        "JOURNAL_STREAM",
        "Set by systemd. If it names what stderr is, lines there begin with their priority for the \
         journal, see systemd.exec(5).",
    ),
    (
        "GATEWAY_HANDOVER",
        "Set by the program itself for a process that it starts in a reload. A process that finds it \
         and was not started so does not start.",
    ),
    (
        "LISTEN_FDS, LISTEN_PID, LISTEN_FDNAMES",
        "Set by a service manager that passes listening sockets, see sd_listen_fds(3); they take \
         the place of --listen-addr.",
    ),
];

/// Files that it reads, and the one that it writes.
pub(super) const FILES: &[Entry] = &[
    (
        "/etc/default/etcd-gateway",
        "The settings of the unit etcd-gateway.service, which names it with --config-file: one \
         NAME=value per line. Its transient user must be able to read it.",
    ),
    (
        "/etc/resolv.conf, /etc/hosts",
        "Name servers and names. Read again when they change. The C library's resolver and \
         nsswitch.conf(5) are not used.",
    ),
    (
        "/etc/ssl/certs/ca-certificates.crt",
        "The system's authorities, here or in the places other distributions have them in.",
    ),
    (
        "--access-log=PATH",
        "The only file that it writes, if it is asked to: appended to, created with mode 0640 less the umask, opened again at SIGHUP.",
    ),
    (
        "/proc, /sys/fs/cgroup",
        "The limits of the host, from which the default of --max-connections is derived. What \
         cannot be read does not limit.",
    ),
];

/// Signals that it acts on.
pub(super) const SIGNALS: &[Entry] = &[
    (
        "SIGTERM, SIGINT",
        "Stop: the listeners close at once, open connections get --drain-timeout to end. A second \
         one ends the program at once.",
    ),
    (
        "SIGHUP",
        "Ask for the endpoints again, and read --endpoints-file and the authorities, at once; open \
         --access-log anew.",
    ),
    ("SIGUSR1", "Log the status, whatever --log-level says."),
    (
        "SIGUSR2",
        "Reload: start the program that is in its place now, with the settings of now. It takes over \
         the listeners, and this process drains; if it cannot, this one continues. Where no systemd \
         watches, the process that was started stays, and passes signals on.",
    ),
    (
        "SIGCHLD",
        "A process that was started in a reload has ended: its exit status becomes that of the service.",
    ),
];

/// Other manual pages, as name and section.
pub(super) const SEE_ALSO: &[(&str, &str)] = &[
    ("etcd-gateway", "5"),
    ("etcd-gateway-behaviour", "7"),
    ("etcd-gateway-operation", "7"),
    ("etcd-gateway-metrics", "7"),
    ("etcd-gateway-logs", "7"),
    ("etcd-gateway-security", "7"),
    ("etcd", "1"),
    ("etcdctl", "1"),
    ("resolv.conf", "5"),
    ("systemd.service", "5"),
];
