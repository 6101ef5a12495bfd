//! What discovery has trouble with. Status, page and metrics show it for as long as it lasts; the log
//! has one line when it begins, and one when it is over.
//!
//! That an endpoint is down, or is not authenticated, is not a matter of discovery: it is shown with
//! the endpoint.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::authorities::Authorities;
use super::members::MAX_ENDPOINTS;
use super::srv::{MAX_TARGETS, Services};
use super::{Discovery, Failed, Source};
use crate::log;

/// Why a record that promises no TLS is not used.
pub(crate) const INSECURE: &str = "an _etcd-client record says that it speaks no TLS, so it cannot be authenticated \
                        (--insecure-discovery would use it)";

const FAILED: &str = "SRV lookup failed, will try again";
/// What is said where nothing better is known than a part of an answer.
const PART: &str = "only a part of the records is known, using it";

/// What is said of the part.
fn in_use(is_part: bool, count: usize) -> String {
    match is_part {
        true => format!("; {count} records of an answer that was not complete are used"),
        false => String::new(),
    }
}

/// What trouble is with, in the order in which problems are shown.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Subject {
    /// A refresh panicked.
    Panic,
    /// Memory for a refresh.
    Memory,
    /// The call that waits.
    Poll,
    /// The endpoints file.
    File,
    Authorities,
    /// `--endpoints` serve because nothing else may.
    Fallback,
    /// SRV records, by their place among the services.
    Service(usize),
    /// Members that may not serve, because they speak no TLS.
    Insecure,
    /// The addresses of a name.
    Host(String),
    /// More SRV records than are used.
    Targets,
    /// More endpoints than are used.
    Endpoints,
    /// An endpoint that is this gateway.
    Loop(SocketAddr),
}

impl Subject {
    /// Whether it is a file that whoever asks is told of again.
    pub(super) fn is_on_disk(&self) -> bool {
        matches!(self, Self::File | Self::Authorities)
    }
}

/// Trouble with one subject.
#[derive(Debug)]
struct Trouble {
    message: &'static str,
    fields: Vec<(&'static str, log::Value)>,
    /// It is logged again when this changes.
    news: String,
    /// What status and page show.
    shown: Vec<String>,
}

/// All that there is trouble with at one time.
#[derive(Debug, Default)]
pub(super) struct Troubles(BTreeMap<Subject, Trouble>);

impl Troubles {
    fn add<const FIELDS: usize>(
        &mut self,
        subject: Subject,
        message: &'static str,
        fields: [(&'static str, log::Value); FIELDS],
        news: impl ToString,
        shown: Vec<String>,
    ) {
        let trouble = Trouble {
            message,
            fields: fields.into(),
            news: news.to_string(),
            shown,
        };
        self.0.insert(subject, trouble);
    }

    /// What has begun or changed since `before`, or is to be logged `again`.
    fn begun(&self, before: &Self, again: impl Fn(&Subject) -> bool) -> Vec<(&Subject, &Trouble)> {
        let is_known = |subject: &Subject, trouble: &Trouble| {
            let known = before.0.get(subject);
            known.is_some_and(|known| known.news == trouble.news)
        };
        let all = self.0.iter();
        all.filter(|(subject, trouble)| again(subject) || !is_known(subject, trouble))
            .collect()
    }
}

impl Discovery {
    /// Shows what there is trouble with now, and logs what has begun or is over since the last
    /// call, or is to be logged `again`.
    pub(super) fn report(&mut self, again: impl Fn(&Subject) -> bool) {
        let now = self.troubles();
        for (subject, trouble) in now.begun(&self.reported, again) {
            let log = match subject {
                Subject::Panic | Subject::Poll | Subject::File | Subject::Authorities => log::error,
                _ => log::warn,
            };
            log("discovery", trouble.message, &trouble.fields);
        }
        for (subject, trouble) in &self.reported.0 {
            if !now.0.contains_key(subject) {
                self.log_end(subject, trouble);
            }
        }
        let shown = now.0.values().flat_map(|trouble| &trouble.shown);
        self.refreshes.set_problems(shown.cloned().collect());
        self.reported = now;
    }

    /// Logs how a refresh went that an operator has asked for.
    pub(super) fn tell_outcome(&self, changed: bool, endpoints: usize) {
        /// The most problems that the line has, each of at most some hundred characters.
        const FEW: usize = 4;
        let authorities = self.authorities.as_ref();
        let files = [self.source.path(), authorities.map(Authorities::from)];
        let mut fields: Vec<(&str, log::Value)> = vec![
            ("endpoints", endpoints.into()),
            ("changed", if changed { "yes" } else { "no" }.into()),
            (
                "files",
                files.into_iter().flatten().collect::<Vec<_>>().into(),
            ),
        ];
        let mut problems = self.refreshes.problems();
        if problems.is_empty() {
            return log::info("discovery", "refreshed endpoints", &fields);
        }
        if problems.len() > FEW {
            let more = problems.split_off(FEW).len();
            problems.push(format!("and {more} more"));
        }
        fields.push(("problems", problems.into()));
        log::warn("discovery", "refreshed endpoints, with problems", &fields);
    }

    fn troubles(&self) -> Troubles {
        let mut troubles = Troubles::default();
        match &self.failed {
            None => {}
            Some(Failed::Panicked) => {
                let text = "a refresh panicked, which is a defect of the gateway; what is known stays in use";
                troubles.add(
                    Subject::Panic,
                    "a refresh panicked, will try again",
                    [],
                    "",
                    vec![text.to_owned()],
                );
            }
            Some(Failed::Refused(error)) => {
                troubles.add(
                    Subject::Memory,
                    "no memory for a refresh, will try again",
                    [("error", error.as_str().into())],
                    "",
                    vec![format!("a refresh: {error}; what is known stays in use")],
                );
            }
        }
        if let Some(error) = &self.poll_error {
            let shown = vec![format!("cannot poll: {error}")];
            let fields = [("error", error.as_str().into())];
            troubles.add(Subject::Poll, "cannot poll", fields, error, shown);
        }
        match &self.source {
            Source::List(_) => {}
            Source::File { file, members, .. } => {
                if let Some(error) = file.refused() {
                    troubles.add(
                        Subject::File,
                        "endpoints file is not usable, keeping the last good list",
                        [
                            ("error", error.into()),
                            ("endpoints_kept", members.len().into()),
                        ],
                        error,
                        vec![format!("{error}; the last good list stays in use")],
                    );
                }
            }
            Source::Srv { services, .. } => self.add_srv_troubles(services, &mut troubles),
        }
        if let Some(authorities) = &self.authorities
            && let Some(error) = authorities.refused()
        {
            troubles.add(
                Subject::Authorities,
                "authorities are not usable, keeping the last good ones",
                [
                    ("error", error.into()),
                    ("authorities_kept", authorities.trusted().now().len().into()),
                ],
                error,
                vec![format!("{error}; the last good authorities stay in use")],
            );
        }
        for (name, reason, count, is_part) in self.hosts.failed() {
            let (message, field) = match is_part {
                true => (PART, "addresses_used"),
                false => ("cannot resolve endpoint, will try again", "addresses_kept"),
            };
            troubles.add(
                Subject::Host(name.to_owned()),
                message,
                [
                    ("host", name.into()),
                    ("error", reason.into()),
                    (field, count.into()),
                ],
                message,
                vec![format!("{name}: {reason}{}", in_use(is_part, count))],
            );
        }
        if let Some(text) = self.surplus() {
            troubles.add(
                Subject::Endpoints,
                "too many endpoints; ignoring the rest",
                [("found", self.found.into()), ("used", MAX_ENDPOINTS.into())],
                self.found,
                vec![text],
            );
        }
        for endpoint in &self.looped {
            let (addr, name) = (endpoint.addr, endpoint.name.as_str());
            troubles.add(
                Subject::Loop(addr),
                "endpoint is this gateway itself; ignored",
                [("address", addr.into()), ("name", name.into())],
                name,
                vec![format!(
                    "{name}: {addr} is this gateway itself, so it is ignored"
                )],
            );
        }
        troubles
    }

    /// Adds what is wrong with SRV records and what they name.
    fn add_srv_troubles(&self, services: &Services, troubles: &mut Troubles) {
        if let Some(reason) = &self.falling_back {
            let text =
                "SRV records give no endpoint that may serve, using --endpoints until they do";
            troubles.add(
                Subject::Fallback,
                "SRV records give no endpoint; using --endpoints until they do",
                [("reason", reason.as_str().into())],
                "",
                [text.to_owned()]
                    .into_iter()
                    .chain(services.empty())
                    .collect(),
            );
        }
        for (index, error, count, is_part) in services.failed() {
            let (message, field, kept) = match (is_part, count) {
                (true, _) => (PART, "records_used", in_use(is_part, count)),
                (false, 0) => (FAILED, "records_kept", String::new()),
                (false, _) => {
                    let kept = format!("; records that stay in use: {count}");
                    (FAILED, "records_kept", kept)
                }
            };
            troubles.add(
                Subject::Service(index),
                message,
                [("error", error.to_string().into()), (field, count.into())],
                format!("{message} {}", error.class),
                vec![format!("{error}{kept}")],
            );
        }
        let insecure = self.insecure();
        if !insecure.is_empty() {
            let shown = insecure.iter();
            let shown = shown.map(|member| format!("{member}: {INSECURE}"));
            troubles.add(
                Subject::Insecure,
                "members without TLS are ignored",
                [("members", insecure.clone().into())],
                insecure.join(" "),
                shown.collect(),
            );
        }
        if let Some((found, text)) = services.surplus() {
            troubles.add(
                Subject::Targets,
                "too many SRV records; ignoring the rest",
                [("found", found.into()), ("used", MAX_TARGETS.into())],
                found,
                vec![text],
            );
        }
    }

    /// Members that records name and that may not serve, because they speak no TLS.
    pub(super) fn insecure(&self) -> Vec<String> {
        let Source::Srv { services, .. } = &self.source else {
            return Vec::new();
        };
        let (_, insecure) = services.members();
        insecure.iter().map(ToString::to_string).collect()
    }

    /// That more endpoints are found than are used, if so.
    pub(super) fn surplus(&self) -> Option<String> {
        let found = self.found;
        (found > MAX_ENDPOINTS)
            .then(|| format!("{found} endpoints are found, of which {MAX_ENDPOINTS} are used"))
    }

    /// Logs that trouble is over.
    fn log_end(&self, subject: &Subject, trouble: &Trouble) {
        match (subject, &self.source) {
            // Whoever looked at the file has logged what it says now.
            (Subject::File, _) => {}
            // Nor does it work again: it has been logged that the records are gone.
            (Subject::Service(index), Source::Srv { services, .. })
                if services.is_forgotten(*index) => {}
            (Subject::Service(index), Source::Srv { services, .. }) => {
                let (owner, records) = services.service(*index);
                let fields = [("name", owner.into()), ("records", records.into())];
                log::info("discovery", "SRV lookup works again", &fields);
            }
            (Subject::Host(name), _) if self.hosts.follows(name) => {
                let fields = [("host", name.as_str().into())];
                log::info("discovery", "resolved endpoint again", &fields);
            }
            _ => {
                let fields = [("problem", trouble.shown.clone().into())];
                log::info("discovery", "problem is over", &fields);
            }
        }
    }
}
